#include "core/base/recycled_memory.h"

#include <algorithm>
#include <new>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SLUICE_NO_RECYCLING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SLUICE_NO_RECYCLING 1
#endif
#endif

namespace sluice {
namespace {

constexpr size_t kSmallest = 64;
constexpr int kClasses = 11;  // 64 bytes to 64 KiB
static_assert(kSmallest << (kClasses - 1) == kMaxRecycledBytes, "the last class holds the largest block");
constexpr size_t kKeptBytes = 1 << 20;  // of each class

struct Spare {
  Spare* next;
};

struct alignas(64) Class {
  absl::Mutex mu;
  Spare* first ABSL_GUARDED_BY(mu) = nullptr;
  size_t count ABSL_GUARDED_BY(mu) = 0;
};

Class* Classes() {
  static Class* classes = new Class[kClasses];  // outlives every thread
  return classes;
}

int ClassOf(size_t bytes) {
  if (bytes <= kSmallest) return 0;
  return 64 - __builtin_clzll((bytes - 1) / kSmallest);
}

constexpr bool Recycles(size_t bytes) {
#ifdef SLUICE_NO_RECYCLING
  (void)bytes;
  return false;
#else
  return bytes <= kMaxRecycledBytes;
#endif
}

}  // namespace

void* TakeRecycled(size_t bytes) {
  if (!Recycles(bytes)) return ::operator new(bytes);
  const int index = ClassOf(bytes);
  {
    Class& c = Classes()[index];
    absl::MutexLock lock(&c.mu);
    if (Spare* spare = c.first) {
      c.first = spare->next;
      --c.count;
      return spare;
    }
  }
  return ::operator new(kSmallest << index);
}

void GiveRecycled(void* block, size_t bytes) {
  if (!Recycles(bytes)) return ::operator delete(block);
  const int index = ClassOf(bytes);
  {
    Class& c = Classes()[index];
    absl::MutexLock lock(&c.mu);
    if (c.count < std::max<size_t>(16, kKeptBytes / (kSmallest << index))) {
      c.first = new (block) Spare{c.first};
      ++c.count;
      return;
    }
  }
  ::operator delete(block);
}

}  // namespace sluice
