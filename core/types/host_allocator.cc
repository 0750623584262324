#include <atomic>
#include <cstdlib>

#include "core/types/allocator.h"

namespace sluice {
namespace {

class PlainHostAllocator final : public Allocator {
 public:
  std::string name() const override { return "host"; }
  void* Allocate(size_t bytes) override {
    void* p = nullptr;
    if (posix_memalign(&p, kBufferAlignment, bytes == 0 ? kBufferAlignment : bytes) != 0) return nullptr;
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
    s.live_bytes = live_.load();
    s.reserved_bytes = s.live_bytes;
    s.peak_bytes = peak_.load();
    s.num_allocations = count_.load();
    return s;
  }

 private:
  std::atomic<int64_t> live_{0}, peak_{0}, count_{0};
};

}  // namespace

Allocator* HostAllocator() {
  static Allocator* allocator = new PlainHostAllocator;  // outlives every tensor
  return allocator;
}

}  // namespace sluice
