// A reference-counted block of memory behind tensors.
//
// Kinds: owned by an allocator; borrowed from somebody who wants to hear when it is no longer used (a NumPy array, a
// mapped file); constructed elements (strings, handles); and transient: a piece of the arena of one step, which the
// step's plan reuses as soon as its last planned reader has run. A transient buffer must not be kept:
// KernelContext::TakeInput copies it.
#ifndef SLUICE_CORE_TYPES_BUFFER_H_
#define SLUICE_CORE_TYPES_BUFFER_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "core/base/ref_counted.h"
#include "core/types/allocator.h"
#include "core/types/dtype.h"

namespace sluice {

class Buffer : public RefCounted {
 public:
  // Null when the allocator has no more memory. A size of 0 is fine.
  static RefPtr<Buffer> Allocate(Allocator* allocator, size_t bytes);
  // `release` runs once, when the last reference goes, on the thread that drops it. Readers must not write to it.
  static RefPtr<Buffer> Borrow(const void* data, size_t bytes, std::function<void()> release);
  // `count` default-constructed elements of a type that is not plain.
  static RefPtr<Buffer> MakeElements(DType dtype, int64_t count);

  void* data() const { return data_; }
  size_t size() const { return size_; }
  bool transient() const { return transient_; }
  bool writable() const { return writable_; }

 protected:
  Buffer(void* data, size_t size) : data_(data), size_(size) {}
  ~Buffer() override = default;
  void* data_;
  size_t size_;
  bool transient_ = false;
  bool writable_ = true;
};

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_BUFFER_H_
