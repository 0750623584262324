// The parts of the gRPC transport: credentials, bytes, channel, listener.
#ifndef SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
#define SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
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

// INVALID_ARGUMENT for addresses of the wrong form.
absl::Status CheckAddress(const std::string& address);

absl::StatusOr<std::shared_ptr<Channel>> MakeChannel(const std::string& address, const GrpcOptions& options);
absl::StatusOr<std::unique_ptr<Listener>> MakeListener(const std::string& address, const GrpcOptions& options,
                                                       Handler handler);

}  // namespace grpc_internal
}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
