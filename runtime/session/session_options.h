// What a ConfigProto says about a session.
#ifndef SLUICE_RUNTIME_SESSION_SESSION_OPTIONS_H_
#define SLUICE_RUNTIME_SESSION_SESSION_OPTIONS_H_

#include "absl/status/statusor.h"
#include "runtime/session/session.h"

namespace sluice {

namespace proto {
class ConfigProto;  // core/proto/config.pb.h
}  // namespace proto

// Errors name the field, what was found and wanted.
absl::StatusOr<SessionOptions> SessionOptionsFromProto(const proto::ConfigProto& config);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_SESSION_OPTIONS_H_
