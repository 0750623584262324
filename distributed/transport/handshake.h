// The first words on a connection: each side says who it is before anything else is read.
//
// The client names the version and a token that it was given out of band; the listener compares it in constant time,
// and says why when it refuses. Peers on UNIX sockets must also run as the same user. If the client asks, the two
// exchange the arenas of shared memory.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_HANDSHAKE_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_HANDSHAKE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "distributed/transport/arena.h"

namespace sluice {

struct HandshakeOptions {
  std::string token;         // at most 256 bytes
  uint64_t arena_bytes = 0;  // of the arena to send from; 0: none
  absl::Duration timeout = absl::Seconds(5);
};

// Null when the peers have no shared memory.
struct Arenas {
  std::unique_ptr<SendArena> out;
  std::shared_ptr<ReceiveArena> in;
};

// PERMISSION_DENIED when the listener refuses; UNAVAILABLE when there is no answer. With `want_arenas`, a machine that
// gives no shared memory leaves them null.
absl::StatusOr<Arenas> ClientHandshake(int fd, const HandshakeOptions& options, bool want_arenas);
// `is_unix`: descriptors can be passed, and the peer's user is checked.
absl::StatusOr<Arenas> ServerHandshake(int fd, const HandshakeOptions& options, bool is_unix);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_HANDSHAKE_H_
