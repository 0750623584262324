// Why two tasks do not understand each other's TLS, in words. gRPC only says that a handshake failed.
//
//   std::string why = DiagnoseTls("10.0.0.2:2222", options, absl::Seconds(2));
//   // "its certificate (CN=ps-0) expired on Jan  1 00:00:00 2026 GMT; renew it"
//
// It makes a connection of its own, shakes hands as a channel with these options would, and sends nothing.
//
// Blocking: up to `timeout`. Threads: any.
#ifndef SLUICE_DISTRIBUTED_RPC_TLS_DIAGNOSIS_H_
#define SLUICE_DISTRIBUTED_RPC_TLS_DIAGNOSIS_H_

#include <string>

#include "absl/time/time.h"
#include "distributed/rpc/grpc_transport.h"

namespace sluice {

// Empty when nothing is wrong with the TLS of either side, or nobody answers at the address.
std::string DiagnoseTls(const std::string& address, const GrpcOptions& options, absl::Duration timeout);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_TLS_DIAGNOSIS_H_
