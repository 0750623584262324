#include "core/types/buffer.h"

#include <exception>
#include <string>
#include <vector>

#include "core/types/numeric_types.h"
#include "core/types/resource_handle.h"
#include "core/types/variant.h"

namespace sluice {
namespace {

class AllocatedBuffer final : public Buffer {
 public:
  AllocatedBuffer(Allocator* allocator, void* data, size_t size) : Buffer(data, size), allocator_(allocator) {}
  // From the thread's cache, so that a warm step does not touch the heap.
  static void* operator new(size_t bytes) { return HostAllocator()->Allocate(bytes); }
  static void operator delete(void* p, size_t bytes) { HostAllocator()->Deallocate(p, bytes); }

 private:
  ~AllocatedBuffer() override { allocator_->Deallocate(data_, size_); }
  Allocator* allocator_;
};

class BorrowedBuffer final : public Buffer {
 public:
  BorrowedBuffer(void* data, size_t size, std::function<void()> release)
      : Buffer(data, size), release_(std::move(release)) {
    writable_ = false;
  }
  static void* operator new(size_t bytes) { return HostAllocator()->Allocate(bytes); }
  static void operator delete(void* p, size_t bytes) { HostAllocator()->Deallocate(p, bytes); }

 private:
  ~BorrowedBuffer() override {
    if (release_) release_();
  }
  std::function<void()> release_;
};

template <typename T>
class ElementBuffer final : public Buffer {
 public:
  explicit ElementBuffer(int64_t count) : Buffer(nullptr, count * sizeof(T)), elements_(count) {
    data_ = elements_.data();
  }

 private:
  std::vector<T> elements_;
};

}  // namespace

RefPtr<Buffer> Buffer::Allocate(Allocator* allocator, size_t bytes) {
  void* data = allocator->Allocate(bytes);
  if (data == nullptr) return nullptr;
  return MakeRef<AllocatedBuffer>(allocator, data, bytes);
}

RefPtr<Buffer> Buffer::Borrow(const void* data, size_t bytes, std::function<void()> release) {
  return MakeRef<BorrowedBuffer>(const_cast<void*>(data), bytes, std::move(release));
}

RefPtr<Buffer> Buffer::MakeElements(DType dtype, int64_t count) {
  // These elements come from the general heap, which has no limit of its own: it shares the host's.
  const int64_t limit = HostAllocator()->stats().limit_bytes;
  if (limit > 0 && count > limit / static_cast<int64_t>(ElementSize(dtype))) return nullptr;
  try {
    switch (dtype) {
      case DType::kString:
        return MakeRef<ElementBuffer<std::string>>(count);
      case DType::kVariant:
        return MakeRef<ElementBuffer<Variant>>(count);
      default:  // resources, and references, which are handles too
        return MakeRef<ElementBuffer<ResourceHandle>>(count);
    }
  } catch (const std::exception&) {  // bad_alloc, length_error
    return nullptr;
  }
}

}  // namespace sluice
