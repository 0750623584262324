// The parts of the gRPC transport: credentials, bytes, channel, listener.
#ifndef SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
#define SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "distributed/rpc/grpc_transport.h"

namespace sluice {
namespace grpc_internal {

// Errors name what is wrong with a certificate (unreadable, expired, not yet valid) and the cure.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientCredentials(const GrpcOptions& options);
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const GrpcOptions& options);

// Elements stay where they are: each slice holds a reference to its tensor.
absl::StatusOr<grpc::ByteBuffer> ToByteBuffer(const Message& message);
absl::StatusOr<Message> FromByteBuffer(grpc::ByteBuffer* buffer);

// Errors of handlers travel whole in the status' details.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The calls that a listener has not answered.
class OpenCalls {
 public:
  // Ends the call unless it has ended; may run when the call is gone.
  using End = std::function<void(const grpc::Status&)>;

  // False when the listener is closing.
  bool Add(const grpc::ServerGenericBidiReactor* call, End end);
  void Remove(const grpc::ServerGenericBidiReactor* call);
  // Ends all: nobody waits for a task that goes.
  void Close();

 private:
  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  std::unordered_map<const grpc::ServerGenericBidiReactor*, End> calls_ ABSL_GUARDED_BY(mu_);
};

// On the monotonic clock: setting the wall clock neither ends nor lengthens a call.
gpr_timespec DeadlineAfter(absl::Duration timeout);

grpc::Status ShuttingDown();

bool IsReflectionMethod(const std::string& method);
// gRPC owns it. `services` are full names of services whose descriptors are linked in.
grpc::ServerGenericBidiReactor* MakeReflectionCall(OpenCalls* open, const std::vector<std::string>* services);

// INVALID_ARGUMENT for addresses of the wrong form.
absl::Status CheckAddress(const std::string& address);

absl::StatusOr<std::shared_ptr<Channel>> MakeChannel(const std::string& address, const GrpcOptions& options);
absl::StatusOr<std::unique_ptr<Listener>> MakeListener(const std::string& address, const GrpcOptions& options,
                                                       Handler handler);

}  // namespace grpc_internal
}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
