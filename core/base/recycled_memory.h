// Memory of objects that live for one call or one step, kept for the next one: a warm path takes nothing from the heap.
//
//   std::shared_ptr<Call> call = MakeRecycled<Call>(args);
//   std::map<int64_t, Reply, std::less<int64_t>, RecyclingAllocator<std::pair<const int64_t, Reply>>> calls;
//
// Blocks up to kMaxRecycledBytes come in powers of two. What was given back is kept, at most about a megabyte of each
// size; larger blocks, and everything in a program under a sanitizer (which would not see that a block is gone), go to
// the heap.
//
// Threads: any function from any thread; a block may be given back by another thread than the one that took it.
#ifndef SLUICE_CORE_BASE_RECYCLED_MEMORY_H_
#define SLUICE_CORE_BASE_RECYCLED_MEMORY_H_

#include <cstddef>
#include <memory>
#include <utility>

namespace sluice {

inline constexpr size_t kMaxRecycledBytes = 64 << 10;

// Aligned as operator new aligns. Throws std::bad_alloc as it does.
void* TakeRecycled(size_t bytes);
// REQUIRES: `block` is from TakeRecycled(bytes).
void GiveRecycled(void* block, size_t bytes);

template <typename T>
struct RecyclingAllocator {
  using value_type = T;
  static_assert(alignof(T) <= alignof(std::max_align_t), "blocks are aligned as those of the heap");

  RecyclingAllocator() = default;
  template <typename U>
  RecyclingAllocator(const RecyclingAllocator<U>&) {}  // NOLINT: allocators convert

  T* allocate(size_t n) { return static_cast<T*>(TakeRecycled(n * sizeof(T))); }
  void deallocate(T* p, size_t n) { GiveRecycled(p, n * sizeof(T)); }
  friend bool operator==(RecyclingAllocator, RecyclingAllocator) { return true; }
  friend bool operator!=(RecyclingAllocator, RecyclingAllocator) { return false; }
};

template <typename T, typename... Args>
std::shared_ptr<T> MakeRecycled(Args&&... args) {
  return std::allocate_shared<T>(RecyclingAllocator<T>(), std::forward<Args>(args)...);
}

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_RECYCLED_MEMORY_H_
