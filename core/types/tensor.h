// A typed, shaped view of a Buffer. Copies share the bytes.
//
//   ASSIGN_OR_RETURN(Tensor t, Tensor::Make(DType::kFloat, Shape({2, 3})));
//   absl::Span<float> v = t.flat<float>();
//
// Tensors are dense and row-major. A Tensor without a buffer (default-constructed) has type kInvalid and IsValid() is
// false.
#ifndef SLUICE_CORE_TYPES_TENSOR_H_
#define SLUICE_CORE_TYPES_TENSOR_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/base/ref_counted.h"
#include "core/types/buffer.h"
#include "core/types/cpp_types.h"
#include "core/types/dtype.h"
#include "core/types/shape.h"

namespace sluice {

class Tensor {
 public:
  Tensor() = default;
  // Views `buffer` from byte `offset`. REQUIRES: it is large enough.
  Tensor(DType dtype, Shape shape, RefPtr<Buffer> buffer, size_t offset = 0)
      : dtype_(dtype),
        shape_(std::move(shape)),
        buffer_(std::move(buffer)),
        data_(buffer_ ? static_cast<char*>(buffer_->data()) + offset : nullptr) {}

  // Uninitialised elements (plain types) or default-constructed ones. RESOURCE_EXHAUSTED when memory runs out.
  static absl::StatusOr<Tensor> Make(DType dtype, const Shape& shape, Allocator* allocator = HostAllocator());

  template <typename T>
  static Tensor Scalar(T value) {
    Tensor t = MakeOrDie(kDTypeOf<T>, Shape());
    *t.data<T>() = std::move(value);
    return t;
  }
  template <typename T>
  static Tensor Vector(absl::Span<const T> values) {
    return FromValues<T>(Shape({static_cast<int64_t>(values.size())}), values);
  }
  // REQUIRES: as many values as the shape has elements. For tests and small constants.
  template <typename T>
  static Tensor FromValues(const Shape& shape, absl::Span<const T> values) {
    Tensor t = MakeOrDie(kDTypeOf<T>, shape);
    std::copy(values.begin(), values.end(), t.data<T>());
    return t;
  }

  bool IsValid() const { return dtype_ != DType::kInvalid; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_.dim(i); }
  int64_t num_elements() const { return shape_.num_elements(); }
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * ElementSize(dtype_); }

  // REQUIRES: T is the C++ type of dtype() (not checked when optimised).
  template <typename T>
  T* data() const {
    return static_cast<T*>(data_);
  }
  void* raw_data() const { return data_; }
  template <typename T>
  absl::Span<T> flat() const {
    return absl::Span<T>(data<T>(), static_cast<size_t>(num_elements()));
  }
  template <typename T>
  T& scalar() const {
    return *data<T>();
  }
  // Any integer type, element i as int64. REQUIRES: dtype() is an integer type.
  int64_t IntAt(int64_t i) const;

  Buffer* buffer() const { return buffer_.get(); }
  const RefPtr<Buffer>& buffer_ref() const { return buffer_; }
  // The bytes may be kept beyond the step that made them.
  bool IsTransient() const { return buffer_ && buffer_->transient(); }
  // Nobody else sees the bytes and they may be written.
  bool IsUniqueAndWritable() const {
    return buffer_ && buffer_->IsUnique() && buffer_->writable() && !buffer_->transient();
  }

  // The same bytes under another shape. REQUIRES: the same number of elements.
  Tensor WithShape(Shape shape) const;
  // The same bytes read as another type. REQUIRES: the same number of bytes.
  Tensor Bitcast(DType dtype, Shape shape) const;
  // Rows [begin, end) of dimension 0, sharing the bytes. REQUIRES: within range, rank >= 1.
  Tensor SliceRows(int64_t begin, int64_t end) const;
  // A copy with bytes of its own.
  absl::StatusOr<Tensor> Clone(Allocator* allocator = HostAllocator()) const;

  // "float [2,3] 1 2 3 ..." with at most `limit` elements.
  std::string ToString(int limit = 8) const;

  // For the executor: exchanges what the view points at without touching the reference count of unrelated buffers.
  void set_shape(Shape shape) { shape_ = std::move(shape); }

 private:
  static Tensor MakeOrDie(DType dtype, const Shape& shape);

  DType dtype_ = DType::kInvalid;
  Shape shape_;
  RefPtr<Buffer> buffer_;
  void* data_ = nullptr;
};

// Bytes and types equal; floats compare bit by bit.
bool IdenticalTensors(const Tensor& a, const Tensor& b);

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_TENSOR_H_
