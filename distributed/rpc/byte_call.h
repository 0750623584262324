// One call of a gRPC service that others wrote, in either direction as many messages as they like; messages are bytes.
//
//   ASSIGN_OR_RETURN(auto call, ByteCall::Start("localhost:2379", "/etcdserverpb.KV/Range", {}, absl::Seconds(5)));
//   RETURN_IF_ERROR(call->Send(request, true, absl::Seconds(5)));
//   ASSIGN_OR_RETURN(std::string response, call->Receive(absl::Seconds(5)));
//
// Threads:  one at a time; Cancel from any.
// Blocking: Send and Receive, at most for the time that they are given.
// Errors:   name the method and the address, and what is wrong with the TLS of the two. A service's own error keeps its
// code.
#ifndef SLUICE_DISTRIBUTED_RPC_BYTE_CALL_H_
#define SLUICE_DISTRIBUTED_RPC_BYTE_CALL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "distributed/rpc/grpc_transport.h"

namespace sluice {

class ByteCall {
 public:
  // `limit` is of the whole call.
  static absl::StatusOr<std::unique_ptr<ByteCall>> Start(const std::string& address, const std::string& method,
                                                         const GrpcOptions& options, absl::Duration limit);
  ~ByteCall();
  ByteCall(const ByteCall&) = delete;
  ByteCall& operator=(const ByteCall&) = delete;

  // `last`: no message follows.
  absl::Status Send(absl::string_view message, bool last, absl::Duration timeout);
  // The next message. DEADLINE_EXCEEDED when none came in time (it may still come), OUT_OF_RANGE after the last one.
  absl::StatusOr<std::string> Receive(absl::Duration timeout);
  void Cancel();

 private:
  ByteCall() = default;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_BYTE_CALL_H_
