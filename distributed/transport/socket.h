// Stream sockets by address, with time limits and without signals.
//
//   "tcp:host:port"   port 0: any free one
//   "unix:/path"      "unix:@name": a name that needs no file and goes with its process
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_H_

#include <sys/types.h>

#include <functional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace sluice {

// Closes its descriptor.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int fd) : fd_(fd) {}
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Socket();
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

struct BoundSocket {
  Socket socket;
  std::string address;  // with the port that was bound
};

// INVALID_ARGUMENT for the wrong form.
absl::Status CheckSocketAddress(const std::string& address);
// tcp: on a host that other machines reach.
bool IsReachableFromOutside(const std::string& address);
// ALREADY_EXISTS when another process has it, with the cure. The file of a process that is gone is replaced.
absl::StatusOr<BoundSocket> BindAndListen(const std::string& address);
// UNAVAILABLE when nobody answers within `timeout`, or `give_up` says so.
absl::StatusOr<Socket> ConnectTo(const std::string& address, absl::Duration timeout,
                                 const std::function<bool()>& give_up);
// Small messages leave at once; a peer whose machine vanished is noticed within about ten seconds.
void TuneStream(int fd, bool tcp);
// The peer of a UNIX socket is this user or root.
bool PeerIsSameUser(int fd);

// Whole messages with a time limit, and one descriptor beside them (-1: none). For handshakes.
absl::Status SendAll(int fd, const void* data, size_t bytes, int pass_fd, absl::Duration timeout);
absl::Status ReceiveAll(int fd, void* data, size_t bytes, int* passed_fd, absl::Duration timeout);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_H_
