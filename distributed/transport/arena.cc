#include "distributed/transport/arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "distributed/transport/stream_copy.h"

namespace sluice {
namespace {

// The file begins with one word for each block that is lent: the receiver clears it, the sender looks. So giving back a
// block costs neither a message nor a system call.
constexpr uint32_t kSlots = 4096;
constexpr uint64_t kControlBytes = kSlots * sizeof(uint32_t);
constexpr uint64_t kPage = 4096;

using Slot = std::atomic<uint32_t>;
static_assert(sizeof(Slot) == sizeof(uint32_t) && Slot::is_always_lock_free, "shared between processes");

Slot* SlotAt(void* control, uint32_t slot) { return reinterpret_cast<Slot*>(control) + slot; }

uint64_t Rounded(uint64_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

bool RangeAllocator::Allocate(uint64_t bytes, uint64_t* offset) {
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < bytes) continue;
    *offset = it->first;
    const uint64_t left = it->second - bytes;
    free_.erase(it);
    if (left > 0) free_.emplace(*offset + bytes, left);
    return true;
  }
  return false;
}

void RangeAllocator::Free(uint64_t offset, uint64_t bytes) {
  auto next = free_.upper_bound(offset);
  if (next != free_.end() && offset + bytes == next->first) {
    bytes += next->second;
    next = free_.erase(next);
  }
  if (next != free_.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  free_.emplace(offset, bytes);
}

absl::StatusOr<std::unique_ptr<SendArena>> SendArena::Make(uint64_t bytes) {
  bytes = Rounded(bytes);
  const int fd = memfd_create("sluice-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return absl::UnavailableError(absl::StrCat("no memory file for an arena: ", std::strerror(errno)));
  void* base = MAP_FAILED;
  if (ftruncate(fd, static_cast<off_t>(kControlBytes + bytes)) == 0 &&
      fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0) {
    base = mmap(nullptr, kControlBytes + bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  }
  if (base == MAP_FAILED) {
    const int error = errno;
    close(fd);
    return absl::UnavailableError(absl::StrCat("no arena of ", bytes, " bytes: ", std::strerror(error)));
  }
  madvise(static_cast<char*>(base) + kControlBytes, bytes, MADV_HUGEPAGE);
  return std::unique_ptr<SendArena>(new SendArena(fd, base, bytes));
}

SendArena::SendArena(int fd, void* base, uint64_t bytes)
    : fd_(fd), base_(static_cast<char*>(base)), bytes_(bytes), ranges_(bytes) {
  free_slots_.reserve(kSlots);
  lent_.reserve(256);
  for (uint32_t s = kSlots; s > 0; --s) free_slots_.push_back(s - 1);
}

SendArena::~SendArena() {
  munmap(base_, kControlBytes + bytes_);
  close(fd_);
}

void SendArena::Reap() {
  for (size_t i = 0; i < lent_.size();) {
    if (SlotAt(base_, lent_[i].slot)->load(std::memory_order_acquire) != 0) {
      ++i;
      continue;
    }
    ranges_.Free(lent_[i].offset, lent_[i].bytes);
    free_slots_.push_back(lent_[i].slot);
    used_ -= lent_[i].bytes;
    lent_[i] = lent_.back();
    lent_.pop_back();
  }
}

bool SendArena::Put(const void* data, uint64_t bytes, ArenaBlock* block) {
  if (bytes > bytes_) return false;
  const uint64_t rounded = Rounded(bytes);
  {
    absl::MutexLock lock(&mu_);
    Reap();
    if (free_slots_.empty() || !ranges_.Allocate(rounded, &block->offset)) return false;
    block->slot = free_slots_.back();
    free_slots_.pop_back();
    SlotAt(base_, block->slot)->store(1, std::memory_order_relaxed);
    lent_.push_back({block->slot, block->offset, rounded});
    used_ += rounded;
  }
  StreamCopy(base_ + kControlBytes + block->offset, data, bytes);
  return true;
}

void SendArena::TakeBack(const ArenaBlock& block) { SlotAt(base_, block.slot)->store(0, std::memory_order_release); }

uint64_t SendArena::used() {
  absl::MutexLock lock(&mu_);
  Reap();
  return used_;
}

absl::StatusOr<std::shared_ptr<ReceiveArena>> ReceiveArena::Map(int fd, uint64_t bytes) {
  struct stat found = {};
  const int seals = fcntl(fd, F_GET_SEALS);
  const bool right = bytes <= (uint64_t{1} << 40) && fstat(fd, &found) == 0 &&
                     static_cast<uint64_t>(found.st_size) == kControlBytes + bytes && seals >= 0 &&
                     (seals & F_SEAL_SHRINK) != 0;
  void* control = MAP_FAILED;
  void* data = MAP_FAILED;
  if (right) {
    control = mmap(nullptr, kControlBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    data = mmap(nullptr, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, kControlBytes);
  }
  close(fd);
  if (control == MAP_FAILED || data == MAP_FAILED) {
    if (control != MAP_FAILED) munmap(control, kControlBytes);
    if (data != MAP_FAILED) munmap(data, bytes);
    return InvalidArgument("the peer's shared memory is not an arena of ", bytes, " bytes, or cannot be mapped");
  }
  return std::shared_ptr<ReceiveArena>(new ReceiveArena(control, data, bytes));
}

ReceiveArena::~ReceiveArena() {
  munmap(control_, kControlBytes);
  munmap(data_, bytes_);
}

absl::StatusOr<RefPtr<Buffer>> ReceiveArena::Borrow(const ArenaBlock& block, uint64_t bytes) {
  if (block.slot >= kSlots || block.offset % kPage != 0 || bytes > bytes_ || block.offset > bytes_ - bytes) {
    return InvalidArgument("a block outside the arena: ", bytes, " bytes at ", block.offset);
  }
  return Buffer::Borrow(static_cast<const char*>(data_) + block.offset, bytes,
                        SharedFunction<void()>::ExactlyOnce([arena = shared_from_this(), slot = block.slot] {
                          SlotAt(arena->control_, slot)->store(0, std::memory_order_release);
                        }));
}

}  // namespace sluice
