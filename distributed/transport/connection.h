// One stream between two tasks: frames go out from any thread, come in on the thread that runs ReadLoop.
//
// Threads:  Send and Close from any thread; ReadLoop once.
// Blocking: Send never waits: it writes what the socket takes, a thread of the connection writes the rest.
// Memory:   tensors that wait to be written or read are held by reference, up to max_queued_bytes.
//
// On a UNIX socket the two sides find out whether they can read each other's memory (process_vm_readv). Then a large
// tensor is not written: its place is named, and the receiver copies it from there to where it belongs, one copy in
// all. The sender keeps it until it hears that it was taken. A sender lets go of nothing before it has shut the socket
// down, and a receiver believes what it read only when the socket is still open after it: so it never hands on bytes
// that have become another's.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_CONNECTION_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_CONNECTION_H_

#include <sys/types.h>
#include <sys/uio.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "core/base/recycled_memory.h"
#include "distributed/rpc/message.h"
#include "distributed/transport/arena.h"
#include "distributed/transport/frame.h"
#include "distributed/transport/socket.h"

namespace sluice {

struct ConnectionOptions {
  FrameLimits limits;
  uint64_t max_queued_bytes = uint64_t{8} << 30;
  // Tensors from this size on go through the arena, when there is one.
  uint64_t arena_threshold = 16 << 10;
  // Tensors from this size on that found no place in an arena are read from the sender's memory, where that is
  // possible.
  uint64_t direct_threshold = 128 << 10;
  bool direct = true;
  // How long a reader looks for the next frame before it sleeps.
  absl::Duration spin;
};

struct IncomingFrame {
  FrameHeader header;
  Bytes method;
  absl::StatusOr<Message> message;  // an error when there was no memory for it; the stream goes on
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  // The arenas may be null.
  Connection(Socket socket, std::unique_ptr<SendArena> out, std::shared_ptr<ReceiveArena> in,
             const ConnectionOptions& options);
  ~Connection();

  // UNAVAILABLE when it is closed, RESOURCE_EXHAUSTED when the peer reads too slowly, UNIMPLEMENTED for variants.
  absl::Status Send(FrameKind kind, uint64_t call, absl::Duration timeout, absl::string_view method, Message message);
  // Hands over frames until the stream ends, and says why it ended.
  absl::Status ReadLoop(const std::function<void(IncomingFrame)>& on_frame);
  // Waits until everything is written, at most `timeout`.
  void Flush(absl::Duration timeout);
  // Ends ReadLoop.
  void Close();

 private:
  using Pieces = std::vector<iovec, RecyclingAllocator<iovec>>;
  struct Outgoing {
    static void* operator new(size_t bytes) { return TakeRecycled(bytes); }
    static void operator delete(void* p, size_t bytes) { GiveRecycled(p, bytes); }
    Bytes head;
    Message message;  // keeps the elements
    Pieces pieces;    // what is left to write
    size_t first = 0;
    uint64_t bytes = 0;
  };

  // Writes from the head of the queue without waiting; false when the socket is full.
  bool WriteSome(absl::Status* error);
  void WriterThread();
  void Fail(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Status Fill(size_t wanted);
  absl::Status Read(void* to, uint64_t bytes);
  absl::Status ReadString(uint64_t bytes, Bytes* out);
  absl::Status Skip(uint64_t bytes);
  absl::Status ReadFrame(IncomingFrame* frame);
  // Frames between the two connections; false for others.
  bool OnOwnFrame(const IncomingFrame& frame);
  void OfferMemory();
  void LookAtMemory(absl::string_view offer);
  absl::Status ReadPeer(uint64_t address, void* to, uint64_t bytes);

  const Socket socket_;
  const std::unique_ptr<SendArena> out_arena_;
  const std::shared_ptr<ReceiveArena> in_arena_;
  const ConnectionOptions options_;

  absl::Mutex mu_;
  absl::CondVar changed_;  // of what follows
  std::deque<std::unique_ptr<Outgoing>, RecyclingAllocator<std::unique_ptr<Outgoing>>> queue_ ABSL_GUARDED_BY(mu_);
  uint64_t queued_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;      // some thread writes; it alone touches the head of the queue
  bool writer_turn_ ABSL_GUARDED_BY(mu_) = false;  // that thread is the connection's own
  bool writer_started_ ABSL_GUARDED_BY(mu_) = false;
  struct Lent {
    TensorList tensors;
    uint64_t bytes = 0;
  };
  std::map<uint64_t, Lent, std::less<uint64_t>, RecyclingAllocator<std::pair<const uint64_t, Lent>>> lent_
      ABSL_GUARDED_BY(mu_);  // by call: what the peer reads in our memory
  bool peer_reads_ ABSL_GUARDED_BY(mu_) = false;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status why_ ABSL_GUARDED_BY(mu_);

  // Of the reading thread.
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  pid_t peer_pid_ = 0;  // not 0: its memory can be read

  char nonce_[16];  // the peer reads it to see whether it can
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_CONNECTION_H_
