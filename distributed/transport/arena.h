// Memory that two processes of one machine share, so that a tensor crosses with one copy: the sender copies it into its
// arena, the receiver's tensor borrows the bytes there and gives the block back when the last reference goes.
//
// Each connection has one arena for each direction: a memory file that only the two processes hold. It cannot change
// its size (sealed), it takes pages only as they are used, and it goes with the last process that maps it, however that
// ends.
//
// Threads: any method from any thread.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_ARENA_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_ARENA_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/recycled_memory.h"
#include "core/types/buffer.h"

namespace sluice {

// Ranges of [0, bytes), first fit, so that a little use touches few pages.
class RangeAllocator {
 public:
  explicit RangeAllocator(uint64_t bytes) { free_.emplace(0, bytes); }
  bool Allocate(uint64_t bytes, uint64_t* offset);
  void Free(uint64_t offset, uint64_t bytes);

 private:
  // offset -> bytes; neighbours are merged
  std::map<uint64_t, uint64_t, std::less<uint64_t>, RecyclingAllocator<std::pair<const uint64_t, uint64_t>>> free_;
};

struct ArenaBlock {
  uint64_t offset = 0;
  uint32_t slot = 0;
};

class SendArena {
 public:
  // UNAVAILABLE when the system gives no memory file.
  static absl::StatusOr<std::unique_ptr<SendArena>> Make(uint64_t bytes);
  ~SendArena();

  // False when there is no room now: the caller sends another way.
  bool Put(const void* data, uint64_t bytes, ArenaBlock* block);
  // A block that was not sent after all.
  void TakeBack(const ArenaBlock& block);
  int fd() const { return fd_; }
  uint64_t bytes() const { return bytes_; }
  // Bytes that receivers have not given back.
  uint64_t used();

 private:
  SendArena(int fd, void* base, uint64_t bytes);
  void Reap() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  struct Lent {
    uint32_t slot;
    uint64_t offset, bytes;
  };
  const int fd_;
  char* const base_;
  const uint64_t bytes_;
  absl::Mutex mu_;
  RangeAllocator ranges_ ABSL_GUARDED_BY(mu_);
  std::vector<uint32_t> free_slots_ ABSL_GUARDED_BY(mu_);
  std::vector<Lent> lent_ ABSL_GUARDED_BY(mu_);
  uint64_t used_ ABSL_GUARDED_BY(mu_) = 0;
};

class ReceiveArena : public std::enable_shared_from_this<ReceiveArena> {
 public:
  // Takes `fd`. INVALID_ARGUMENT when the file is not an arena of `bytes` that cannot shrink.
  static absl::StatusOr<std::shared_ptr<ReceiveArena>> Map(int fd, uint64_t bytes);
  ~ReceiveArena();

  // A buffer over a block that the sender named; it keeps the arena mapped.
  absl::StatusOr<RefPtr<Buffer>> Borrow(const ArenaBlock& block, uint64_t bytes);

 private:
  ReceiveArena(void* control, void* data, uint64_t bytes) : control_(control), data_(data), bytes_(bytes) {}
  void* const control_;
  void* const data_;
  const uint64_t bytes_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_ARENA_H_
