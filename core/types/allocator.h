// Where the bytes of tensors come from. Each device has one; statistics tell who holds what.
//
// Threads: any method from any thread.
#ifndef SLUICE_CORE_TYPES_ALLOCATOR_H_
#define SLUICE_CORE_TYPES_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice {

inline constexpr size_t kBufferAlignment = 64;

struct AllocatorStats {
  int64_t live_bytes = 0;      // handed out now
  int64_t peak_bytes = 0;      // most ever handed out at once
  int64_t reserved_bytes = 0;  // held from the system
  int64_t num_allocations = 0;
  int64_t largest_bytes = 0;
  int64_t limit_bytes = 0;  // 0 when unlimited
};

class Allocator {
 public:
  virtual ~Allocator() = default;
  virtual std::string name() const = 0;
  // Aligned to kBufferAlignment. Null when memory or the limit is exhausted.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Deallocate(void* p, size_t bytes) = 0;
  virtual AllocatorStats stats() const = 0;
};

// The process-wide allocator of host memory: size-class caches, pages never given back between steps.
Allocator* HostAllocator();

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_ALLOCATOR_H_
