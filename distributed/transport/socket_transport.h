// Calls over framed sockets: quicker than gRPC between our own tasks, and with shared memory on one machine.
//
//   "tcp:host:port"   "unix:/path" or "unix:@name"   "shm:/path" or "shm:@name"
//
// "shm:" is a UNIX socket beside which large tensors cross through memory that both processes map: one copy in all.
// When that memory is full they take the socket. One listener serves both; the side that connects chooses.
//
// Elements go from where they lie to an aligned buffer of their own. A peer that goes ends its calls at once; the next
// call connects again. A listener on addresses that other machines reach needs `insecure_bind`: nothing is encrypted.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_TRANSPORT_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_TRANSPORT_H_

#include <functional>
#include <memory>
#include <string>

#include "distributed/rpc/transport.h"
#include "distributed/transport/connection.h"

namespace sluice {

struct SocketOptions {
  // Who does not know it is refused. Empty: anybody (on UNIX sockets: of the same user).
  std::string token;
  // Whom a channel leads to, for errors: the address by which users know the task. Empty: that of the socket.
  std::string peer;
  bool insecure_bind = false;
  ConnectionOptions connection;
  // For each direction of each connection; pages are taken as they are used.
  uint64_t arena_bytes = uint64_t{1} << 30;
  absl::Duration connect_timeout = absl::Seconds(5);
  absl::Duration handshake_timeout = absl::Seconds(5);
  int max_connections = 4096;
};

std::unique_ptr<Transport> MakeSocketTransport(SocketOptions options);

// As Connect of such a transport. `on_lost` runs whenever an established connection ends, before its calls do.
absl::StatusOr<std::shared_ptr<Channel>> ConnectSocket(const std::string& address, SocketOptions options,
                                                       std::function<void()> on_lost);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_SOCKET_TRANSPORT_H_
