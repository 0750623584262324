// Calls between tasks, whatever carries them: gRPC, a socket, shared memory, a function call in one process, or the
// simulation's network. Masters and workers know this interface only.
//
//   ASSIGN_OR_RETURN(auto listener, transport->Listen("localhost:0", handler));
//   ASSIGN_OR_RETURN(auto channel, transport->Connect(listener->address()));
//   channel->Call("/sluice.proto.WorkerService/GetStatus", Message(), absl::Seconds(5), [](absl::StatusOr<Message>
//   reply) { });
//
// Threads:  any method from any thread. Handlers and callbacks run on threads of the transport: they must not block.
// Blocking: nothing blocks but Listen and the destructors.
// Errors:   a call always ends: with the reply, with the error that the handler gave (code, message and payloads), with
//           DEADLINE_EXCEEDED after its time, or with UNAVAILABLE when the peer cannot be reached or went away. An
//           error that the transport itself found carries the payload kTransportPayload, whose text says what was
//           tried.
#ifndef SLUICE_DISTRIBUTED_RPC_TRANSPORT_H_
#define SLUICE_DISTRIBUTED_RPC_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "core/base/shared_function.h"
#include "distributed/rpc/message.h"

namespace sluice {

inline constexpr char kTransportPayload[] = "sluice/transport";

// Runs once.
using Reply = SharedFunction<void(absl::StatusOr<Message>)>;

// What carries a call, for statistics.
enum class Way : uint8_t { kOther, kGrpc, kSharedMemory, kUnixSocket, kTcp, kInProcess };
inline constexpr int kWays = 6;
inline constexpr const char* kWayNames[kWays] = {"other", "grpc", "shm", "unix", "tcp", "inproc"};

struct IncomingCall {
  absl::string_view method;  // "/sluice.proto.WorkerService/RunGraph"; valid during the handler only
  absl::Duration timeout = absl::InfiniteDuration();  // what the caller will wait
  Way way = Way::kOther;                              // by which it came
};
// `reply` may run during the handler or later, from any thread.
using Handler = std::function<void(const IncomingCall& call, Message request, Reply reply)>;

// The way to one task. Dropping it ends its calls with CANCELLED.
class Channel {
 public:
  virtual ~Channel() = default;
  // REQUIRES: timeout is finite: nothing waits forever.
  virtual void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) = 0;
  // "grpc 10.0.0.2:2222"
  virtual std::string Describe() const = 0;
  // Of a call that is made now.
  virtual Way way() const { return Way::kOther; }
};

// Takes calls until it is destroyed, which refuses new ones and waits for handlers that run (not for replies).
class Listener {
 public:
  virtual ~Listener() = default;
  virtual const std::string& address() const = 0;  // with the port that was really bound
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) = 0;
  // Does not wait for the peer to be there.
  virtual absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) = 0;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_TRANSPORT_H_
