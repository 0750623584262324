#include "kernels/queue/rows.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "core/base/status.h"
#include "core/types/resource_handle.h"
#include "core/types/variant.h"

namespace sluice {
namespace {

template <typename T>
void CopyTyped(const Tensor& from, int64_t from_at, int64_t count, Tensor* to, int64_t to_at) {
  std::copy_n(from.data<T>() + from_at, count, to->data<T>() + to_at);
}

void CopyCorner(const Tensor& from, int dim, int64_t from_at, Tensor* to, int64_t to_at) {
  if (dim >= from.rank() - 1) {
    CopyElements(from, from_at, from.rank() == 0 ? 1 : from.dim(dim), to, to_at);
    return;
  }
  int64_t from_stride = 1, to_stride = 1;
  for (int i = dim + 1; i < from.rank(); ++i) {
    from_stride *= from.dim(i);
    to_stride *= to->dim(i + 1);
  }
  for (int64_t i = 0; i < from.dim(dim); ++i) {
    CopyCorner(from, dim + 1, from_at + i * from_stride, to, to_at + i * to_stride);
  }
}

}  // namespace

void CopyElements(const Tensor& from, int64_t from_at, int64_t count, Tensor* to, int64_t to_at) {
  if (count == 0) return;
  const size_t size = ElementSize(from.dtype());
  switch (from.dtype()) {
    case DType::kString:
      return CopyTyped<std::string>(from, from_at, count, to, to_at);
    case DType::kResource:
      return CopyTyped<ResourceHandle>(from, from_at, count, to, to_at);
    case DType::kVariant:
      return CopyTyped<Variant>(from, from_at, count, to, to_at);
    default:
      std::memcpy(static_cast<char*>(to->raw_data()) + to_at * size,
                  static_cast<const char*>(from.raw_data()) + from_at * size, count * size);
  }
}

void ClearElements(Tensor* t) {
  if (IsPlain(t->dtype()) && t->num_elements() > 0) std::memset(t->raw_data(), 0, t->num_bytes());
}

void CopyIntoRow(const Tensor& from, int64_t row, Tensor* to) {
  if (from.num_elements() == 0) return;
  int64_t stride = 1;
  for (int i = 1; i < to->rank(); ++i) stride *= to->dim(i);
  CopyCorner(from, 0, 0, to, row * stride);
}

}  // namespace sluice
