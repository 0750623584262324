// Errors between tasks: code, message and payloads as bytes.
#ifndef SLUICE_DISTRIBUTED_RPC_STATUS_CODEC_H_
#define SLUICE_DISTRIBUTED_RPC_STATUS_CODEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace sluice {

// Longer messages are cut in the middle; payloads beyond kMaxStatusPayloadBytes in all are left out.
inline constexpr size_t kMaxStatusMessageBytes = 4096;
inline constexpr size_t kMaxStatusPayloadBytes = 16384;

std::string ShortenStatusMessage(absl::string_view message);

// REQUIRES: !status.ok().
std::string EncodeStatus(const absl::Status& status);
// False when the bytes are no error.
bool DecodeStatus(absl::string_view bytes, absl::Status* status);

// An error that a transport itself found, with kTransportPayload.
absl::Status TransportError(absl::StatusCode code, absl::string_view message);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_STATUS_CODEC_H_
