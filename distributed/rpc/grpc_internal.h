// The parts of the gRPC transport: credentials, bytes, channel, listener.
#ifndef SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
#define SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/recycled_memory.h"
#include "core/base/shared_function.h"
#include "distributed/rpc/grpc_transport.h"

namespace sluice {
namespace grpc_internal {

// Errors name what is wrong with a certificate (unreadable, expired, not yet valid) and the cure.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> ClientCredentials(const GrpcOptions& options);
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> ServerCredentials(const GrpcOptions& options);

// The wire form of a message. Elements stay where they are: each slice holds a reference to its tensor.
using Slices = absl::InlinedVector<grpc::Slice, 8>;
struct WireForm {
  Slices slices;
  size_t bytes = 0;
  grpc::ByteBuffer ToByteBuffer() const { return grpc::ByteBuffer(slices.data(), slices.size()); }
};
absl::StatusOr<WireForm> ToWireForm(const Message& message);
absl::StatusOr<Message> FromByteBuffer(grpc::ByteBuffer* buffer);
absl::StatusOr<Message> FromSlices(absl::Span<const grpc::Slice> slices);

// Errors of handlers travel whole in the status' details.
grpc::Status ToGrpcStatus(const absl::Status& status);

// Replies that are too large for one message, each until its caller has fetched it. They hold their tensors by
// reference.
//
// The call ends with RESOURCE_EXHAUSTED, which tells our own channels (payload kPartsPayload) how to fetch the reply
// and other clients what happened. What nobody fetches any more is dropped after kParkedTime.
class ParkedReplies : public std::enable_shared_from_this<ParkedReplies> {
 public:
  explicit ParkedReplies(size_t part_bytes) : part_bytes_(part_bytes) {}
  absl::Status Park(WireForm reply);
  // The part that `request` (a PartRequest) names.
  absl::StatusOr<grpc::ByteBuffer> Take(grpc::ByteBuffer* request);

 private:
  struct Parked {
    WireForm reply;
    uint64_t taken = 0;  // bytes; it goes when all were
    absl::Duration used;
  };
  void Sweep();

  const size_t part_bytes_;
  absl::Mutex mu_;
  std::unordered_map<uint64_t, std::shared_ptr<Parked>> parked_ ABSL_GUARDED_BY(mu_);
  bool sweeping_ ABSL_GUARDED_BY(mu_) = false;
};

// Requests that are too large for one message, each until it is whole: they come in parts, in any order, and then one
// call says which method they are of. So a request runs at most once, as every other one.
//
// Memory grows with what came, not with what was announced. What nobody goes on with is dropped after kParkedTime.
class IncomingRequests : public std::enable_shared_from_this<IncomingRequests> {
 public:
  absl::Status Add(grpc::ByteBuffer* part);
  // The request that `call` (a WholeRequest) names, and its method. INVALID_ARGUMENT when parts of it are missing.
  absl::StatusOr<Message> Take(grpc::ByteBuffer* call, std::string* method);

 private:
  struct Request {
    uint64_t bytes = 0;  // when it is whole
    uint64_t came = 0;
    std::map<uint64_t, std::vector<grpc::Slice>> parts;  // by offset
    std::map<uint64_t, uint64_t> ends;                   // of each part, by its offset
    absl::Duration used;
  };
  void Sweep();  // drops what nobody goes on with, again and again until nothing is left

  absl::Mutex mu_;
  uint64_t held_ ABSL_GUARDED_BY(mu_) = 0;  // bytes of all
  std::unordered_map<uint64_t, Request> requests_ ABSL_GUARDED_BY(mu_);
  bool sweeping_ ABSL_GUARDED_BY(mu_) = false;
};

// A part as Add takes it: it refers to the request's tensors.
grpc::ByteBuffer PartOfRequest(const WireForm& request, uint64_t id, uint64_t offset, uint64_t bytes);
uint64_t NewPartsId();

inline constexpr size_t kPartBytes = 64 << 20;
inline constexpr char kPartMethod[] = "/sluice.Transport/Part";
inline constexpr char kGiveMethod[] = "/sluice.Transport/Give";
inline constexpr char kWholeMethod[] = "/sluice.Transport/Whole";
inline constexpr char kPartsPayload[] = "sluice/parts";

// The calls that a listener has not answered.
class OpenCalls {
 public:
  // Ends the call unless it has ended; may run when the call is gone.
  using End = SharedFunction<void(const grpc::Status&)>;

  // False when the listener is closing.
  bool Add(const grpc::ServerGenericBidiReactor* call, End end);
  void Remove(const grpc::ServerGenericBidiReactor* call);
  // Ends all: nobody waits for a task that goes.
  void Close();

 private:
  absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  using Call = const grpc::ServerGenericBidiReactor*;
  std::unordered_map<Call, End, std::hash<Call>, std::equal_to<Call>, RecyclingAllocator<std::pair<const Call, End>>>
      calls_ ABSL_GUARDED_BY(mu_);
};

// On the monotonic clock: setting the wall clock neither ends nor lengthens a call.
gpr_timespec DeadlineAfter(absl::Duration timeout);

grpc::Status ShuttingDown();

bool IsReflectionMethod(const std::string& method);
// gRPC owns it. `services` are full names of services whose descriptors are linked in.
grpc::ServerGenericBidiReactor* MakeReflectionCall(OpenCalls* open, const std::vector<std::string>* services);

// What gRPC would print reaches callers as errors.
void KeepGrpcQuiet();

// INVALID_ARGUMENT for addresses of the wrong form.
absl::Status CheckAddress(const std::string& address);

absl::StatusOr<std::shared_ptr<Channel>> MakeChannel(const std::string& address, const GrpcOptions& options);
absl::StatusOr<std::unique_ptr<Listener>> MakeListener(const std::string& address, const GrpcOptions& options,
                                                       Handler handler);

}  // namespace grpc_internal
}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_GRPC_INTERNAL_H_
