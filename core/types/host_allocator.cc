// The allocator of host memory: size classes with a cache for each thread, over memory that is never given back between
// steps.
//
// Fresh pages cost microseconds each, a cached block costs nanoseconds, so what a step frees waits for the next step.
// Small blocks (up to kMostCached) go through the thread's own lists without a lock; the lists exchange batches with
// central ones. Larger blocks are kept by class under a lock, but for the few of each class that were freed last, which
// are left and taken by one exchange. Four classes for each power of two bound the waste to a quarter.
//
// SLUICE_HOST_MEMORY_LIMIT (bytes, or with K, M, G) limits what is reserved; the default
// is nine tenths of the machine's memory. At the limit unused large blocks go back to the
// system before a request fails.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/types/allocator.h"

namespace sluice {
namespace {

constexpr size_t kSmallStep = 64;  // classes up to kStepped are multiples of it
constexpr size_t kStepped = 512;
constexpr size_t kMostCached = 64 << 10;  // larger blocks bypass the threads' lists
constexpr size_t kSlab = 1 << 20;         // small blocks are cut from slabs of this size
constexpr size_t kHugePage = 2 << 20;
constexpr int64_t kCachedBytesOfClass = 128 << 10;  // a thread's list beyond it gives half back
constexpr int kRecent = 4;                          // large blocks of a class that are to be had without the lock
constexpr int64_t kReportBytes = 64 << 10;  // a thread's change of live bytes beyond it goes to the shared counter
constexpr int kSteppedClasses = kStepped / kSmallStep;
constexpr int kClasses = kSteppedClasses + 4 * 40;

struct Block {
  Block* next;
};

int ClassOf(size_t bytes) {
  if (bytes <= kStepped) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / kSmallStep);
  // bytes in (2^p, 2^(p+1)], cut in four.
  int p = 63 - __builtin_clzll(bytes - 1);
  size_t quarter = size_t{1} << (p - 2);
  int q = static_cast<int>((bytes - 1 - (size_t{1} << p)) / quarter);
  return kSteppedClasses + (p - 9) * 4 + q;
}

size_t SizeOfClass(int c) {
  if (c < kSteppedClasses) return (c + 1) * kSmallStep;
  int p = (c - kSteppedClasses) / 4 + 9, q = (c - kSteppedClasses) % 4;
  return (size_t{1} << p) + (q + 1) * (size_t{1} << (p - 2));
}

// Nine tenths of the machine's memory: beyond it Linux would end the process instead of refusing an allocation.
int64_t DefaultLimit() { return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE) / 10 * 9; }

int64_t LimitFromEnvironment() {
  const char* text = std::getenv("SLUICE_HOST_MEMORY_LIMIT");
  if (text == nullptr || *text == '\0') return DefaultLimit();
  char* end = nullptr;
  double value = std::strtod(text, &end);
  switch (*end) {
    case 'k':
    case 'K':
      value *= 1024.0;
      break;
    case 'm':
    case 'M':
      value *= 1024.0 * 1024;
      break;
    case 'g':
    case 'G':
      value *= 1024.0 * 1024 * 1024;
      break;
    default:
      break;
  }
  return value > 0 ? static_cast<int64_t>(value) : 0;
}

class CachingAllocator;

// One thread's free blocks and counts. Only its thread changes it; the counts are read by others.
struct ThreadCache {
  explicit ThreadCache(CachingAllocator* o) : owner(o) {}
  ~ThreadCache();
  CachingAllocator* const owner;
  Block* free[kClasses] = {};
  int count[kClasses] = {};
  std::atomic<int64_t> live_change{0};  // not yet in the shared counter
  std::atomic<int64_t> allocations{0};
};

class CachingAllocator final : public Allocator {
 public:
  CachingAllocator() : limit_(LimitFromEnvironment()) {}
  std::string name() const override { return "host"; }

  void* Allocate(size_t bytes) override {
    const int c = ClassOf(bytes);
    if (c >= kClasses) return nullptr;
    ThreadCache* cache = Cache();
    void* p = bytes <= kMostCached ? AllocateSmall(cache, c) : AllocateLarge(c, bytes);
    if (p != nullptr) Account(cache, static_cast<int64_t>(SizeOfClass(c)), bytes);
    return p;
  }

  void Deallocate(void* p, size_t bytes) override {
    if (p == nullptr) return;
    const int c = ClassOf(bytes);
    ThreadCache* cache = Cache();
    if (bytes > kMostCached) {
      if (MayBeBorrowed(p) || !LeaveRecent(c, p)) {
        absl::MutexLock lock(&mu_);
        FreeLarge(p, c);
      }
    } else if (cache == nullptr) {
      absl::MutexLock lock(&mu_);
      Push(c, p);
    } else {
      auto* b = static_cast<Block*>(p);
      b->next = cache->free[c];
      cache->free[c] = b;
      if (static_cast<int64_t>(++cache->count[c]) * static_cast<int64_t>(SizeOfClass(c)) > kCachedBytesOfClass &&
          cache->count[c] > 1) {
        GiveBack(cache, c, cache->count[c] / 2);
      }
    }
    Change(cache, -static_cast<int64_t>(SizeOfClass(c)));
  }

  AllocatorStats stats() const override {
    AllocatorStats s;
    s.limit_bytes = limit_;
    absl::MutexLock lock(&mu_);
    s.live_bytes = live_.load(std::memory_order_relaxed);
    s.num_allocations = allocations_.load(std::memory_order_relaxed);
    for (const ThreadCache* t : caches_) {
      s.live_bytes += t->live_change.load(std::memory_order_relaxed);
      s.num_allocations += t->allocations.load(std::memory_order_relaxed);
    }
    s.peak_bytes = std::max(peak_.load(std::memory_order_relaxed), s.live_bytes);
    s.reserved_bytes = reserved_;
    s.largest_bytes = largest_.load(std::memory_order_relaxed);
    return s;
  }

  // At the end of a thread.
  void Retire(ThreadCache* cache) {
    for (int c = 0; c < kClasses; ++c) {
      if (cache->count[c] > 0) GiveBack(cache, c, cache->count[c]);
    }
    absl::MutexLock lock(&mu_);
    AddLive(cache->live_change.load(std::memory_order_relaxed));
    allocations_.fetch_add(cache->allocations.load(std::memory_order_relaxed), std::memory_order_relaxed);
    caches_.erase(std::remove(caches_.begin(), caches_.end(), cache), caches_.end());
  }

 private:
  // Null while the thread ends, after its cache is gone.
  ThreadCache* Cache() {
    struct Holder {
      ThreadCache* cache = nullptr;
      bool gone = false;
      ~Holder() {
        gone = true;
        delete std::exchange(cache, nullptr);
      }
    };
    thread_local Holder holder;
    if (holder.cache == nullptr && !holder.gone) {
      holder.cache = new ThreadCache(this);
      absl::MutexLock lock(&mu_);
      caches_.push_back(holder.cache);
    }
    return holder.cache;
  }

  void* AllocateSmall(ThreadCache* cache, int c) {
    if (cache != nullptr && cache->free[c] != nullptr) {
      Block* b = cache->free[c];
      cache->free[c] = b->next;
      --cache->count[c];
      return b;
    }
    absl::MutexLock lock(&mu_);
    if (cache != nullptr) {
      // A batch, so that the next ones need no lock.
      int batch =
          static_cast<int>(std::min<int64_t>(32, kCachedBytesOfClass / 2 / static_cast<int64_t>(SizeOfClass(c))));
      for (int i = 0; i < batch && central_[c] != nullptr; ++i) {
        Block* b = central_[c];
        central_[c] = b->next;
        b->next = cache->free[c];
        cache->free[c] = b;
        ++cache->count[c];
      }
      if (Block* b = cache->free[c]) {
        cache->free[c] = b->next;
        --cache->count[c];
        return b;
      }
    } else if (Block* b = central_[c]) {
      central_[c] = b->next;
      return b;
    }
    return CutFromSlab(SizeOfClass(c));
  }

  void* CutFromSlab(size_t size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (slab_left_ < size) {
      void* slab = Reserve(kSlab);
      if (slab == nullptr) return nullptr;
      slab_ = static_cast<char*>(slab);  // what is left of the old one is smaller than a block and is given up
      slab_left_ = kSlab;
    }
    char* p = slab_;
    slab_ += size;
    slab_left_ -= size;
    return p;
  }

  // A block that was freed lately, without the lock. Who takes it sees what who left it wrote (acquire, release).
  void* TakeRecent(int c) {
    for (std::atomic<void*>& entry : recent_[c]) {
      if (entry.load(std::memory_order_relaxed) == nullptr) continue;
      if (void* p = entry.exchange(nullptr, std::memory_order_acquire)) return p;
    }
    return nullptr;
  }
  bool LeaveRecent(int c, void* p) {
    for (std::atomic<void*>& entry : recent_[c]) {
      void* none = nullptr;
      if (entry.load(std::memory_order_relaxed) == nullptr &&
          entry.compare_exchange_strong(none, p, std::memory_order_release, std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }
  // False for certain when no borrowed block has an address like this one's. Whoever frees a block has it from whoever
  // allocated it, so the count that was made then is seen.
  static size_t Filter(const void* p) { return (reinterpret_cast<uintptr_t>(p) >> 12) % kFilter; }
  bool MayBeBorrowed(const void* p) const { return borrowed_like_[Filter(p)].load(std::memory_order_relaxed) != 0; }

  void* AllocateLarge(int c, size_t bytes) {
    if (void* p = TakeRecent(c)) return p;
    absl::MutexLock lock(&mu_);
    // Also from slightly larger classes: a block that exists beats fresh pages.
    for (int k = c; k < std::min(c + 4, kClasses); ++k) {
      void* p = central_[k];
      if (p != nullptr) {
        central_[k] = central_[k]->next;
      } else if ((p = TakeRecent(k)) == nullptr) {
        continue;
      }
      if (k != c) {
        borrowed_[p] = k;
        borrowed_like_[Filter(p)].fetch_add(1, std::memory_order_relaxed);
      }
      return p;
    }
    void* p = Reserve(SizeOfClass(c));
    if (p == nullptr && ReleaseLarge()) p = Reserve(SizeOfClass(c));
    // Not to the end of the class: a huge page there would be memory that nobody asked for.
    if (p != nullptr && bytes >= kHugePage) madvise(p, bytes, MADV_HUGEPAGE);
    return p;
  }

  void FreeLarge(void* p, int c) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    auto it = borrowed_.find(p);
    if (it != borrowed_.end()) {
      c = it->second;
      borrowed_.erase(it);
      borrowed_like_[Filter(p)].fetch_sub(1, std::memory_order_relaxed);
    }
    Push(c, p);
  }

  void Push(int c, void* p) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    auto* b = static_cast<Block*>(p);
    b->next = central_[c];
    central_[c] = b;
  }

  void GiveBack(ThreadCache* cache, int c, int count) {
    absl::MutexLock lock(&mu_);
    for (int i = 0; i < count; ++i) {
      Block* b = cache->free[c];
      cache->free[c] = b->next;
      b->next = central_[c];
      central_[c] = b;
    }
    cache->count[c] -= count;
  }

  void* Reserve(size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (limit_ > 0 && reserved_ + static_cast<int64_t>(bytes) > limit_) return nullptr;
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return nullptr;
    reserved_ += static_cast<int64_t>(bytes);
    return p;
  }

  // Gives every unused large block back to the system. False when there is none.
  bool ReleaseLarge() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    bool any = false;
    for (int c = ClassOf(kMostCached + 1); c < kClasses; ++c) {
      while (void* p = TakeRecent(c)) Push(c, p);
      while (Block* b = central_[c]) {
        central_[c] = b->next;
        munmap(b, SizeOfClass(c));
        reserved_ -= static_cast<int64_t>(SizeOfClass(c));
        any = true;
      }
    }
    return any;
  }

  // --- Counts: a thread reports its changes when they have grown, so that counting needs no shared write ---

  void Account(ThreadCache* cache, int64_t size, size_t bytes) {
    if (cache != nullptr) {
      cache->allocations.store(cache->allocations.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    } else {
      allocations_.fetch_add(1, std::memory_order_relaxed);
    }
    int64_t largest = largest_.load(std::memory_order_relaxed);
    while (static_cast<int64_t>(bytes) > largest &&
           !largest_.compare_exchange_weak(largest, static_cast<int64_t>(bytes), std::memory_order_relaxed)) {
    }
    Change(cache, size);
  }

  void Change(ThreadCache* cache, int64_t bytes) {
    if (cache == nullptr) return AddLive(bytes);
    int64_t change = cache->live_change.load(std::memory_order_relaxed) + bytes;
    if (change > kReportBytes || change < -kReportBytes) {
      cache->live_change.store(0, std::memory_order_relaxed);
      AddLive(change);
    } else {
      cache->live_change.store(change, std::memory_order_relaxed);
    }
  }

  void AddLive(int64_t bytes) {
    int64_t live = live_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    int64_t peak = peak_.load(std::memory_order_relaxed);
    while (live > peak && !peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
  }

  static constexpr size_t kFilter = 1021;
  const int64_t limit_;
  std::atomic<void*> recent_[kClasses][kRecent] = {};
  std::atomic<uint32_t> borrowed_like_[kFilter] = {};  // how many blocks of borrowed_ have such an address
  std::atomic<int64_t> live_{0}, peak_{0}, allocations_{0}, largest_{0};
  mutable absl::Mutex mu_;
  Block* central_[kClasses] ABSL_GUARDED_BY(mu_) = {};
  char* slab_ ABSL_GUARDED_BY(mu_) = nullptr;
  size_t slab_left_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t reserved_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<void*, int> borrowed_
      ABSL_GUARDED_BY(mu_);  // large blocks in use for a smaller class than their own
  std::vector<ThreadCache*> caches_ ABSL_GUARDED_BY(mu_);
};

ThreadCache::~ThreadCache() { owner->Retire(this); }

#if defined(__SANITIZE_ADDRESS__)
// AddressSanitizer must see every block by itself to find reads past its end or after its release.
class PlainAllocator final : public Allocator {
 public:
  std::string name() const override { return "host"; }
  void* Allocate(size_t bytes) override {
    int64_t limit = LimitFromEnvironment();
    if (bytes > size_t{1} << 40 || (limit > 0 && live_.load() + static_cast<int64_t>(bytes) > limit)) return nullptr;
    void* p = nullptr;
    if (posix_memalign(&p, kBufferAlignment, bytes == 0 ? 1 : bytes) != 0) return nullptr;
    int64_t live = live_.fetch_add(static_cast<int64_t>(bytes)) + static_cast<int64_t>(bytes);
    int64_t peak = peak_.load();
    while (live > peak && !peak_.compare_exchange_weak(peak, live)) {
    }
    count_.fetch_add(1);
    return p;
  }
  void Deallocate(void* p, size_t bytes) override {
    live_.fetch_sub(static_cast<int64_t>(bytes));
    std::free(p);
  }
  AllocatorStats stats() const override {
    AllocatorStats s;
    s.live_bytes = s.reserved_bytes = live_.load();
    s.peak_bytes = peak_.load();
    s.num_allocations = count_.load();
    s.limit_bytes = LimitFromEnvironment();
    return s;
  }

 private:
  std::atomic<int64_t> live_{0}, peak_{0}, count_{0};
};
#endif

}  // namespace

Allocator* HostAllocator() {
#if defined(__SANITIZE_ADDRESS__)
  static Allocator* allocator = new PlainAllocator;
#else
  static Allocator* allocator = new CachingAllocator;  // outlives every tensor
#endif
  return allocator;
}

}  // namespace sluice
