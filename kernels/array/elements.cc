#include "kernels/array/elements.h"

#include "core/base/status.h"

namespace sluice {

void CopyElements(DType t, void* to, const void* from, int64_t n) {
  if (IsPlain(t)) {
    if (n > 0) std::memcpy(to, from, n * ElementSize(t));
    return;
  }
  DispatchUnit(t, [&](auto tag) {
    using U = typename decltype(tag)::type;
    CopyRun(static_cast<U*>(to), static_cast<const U*>(from), n);
  });
}

void FillTensor(const KernelContext& c, Tensor* t, const void* value) {
  DispatchUnit(t->dtype(), [&](auto tag) {
    using U = typename decltype(tag)::type;
    const U element = *static_cast<const U*>(value);
    U* to = t->data<U>();
    c.ParallelFor(t->num_elements(), 0.1 * sizeof(U),
                  [&](int64_t begin, int64_t end) { std::fill(to + begin, to + end, element); });
  });
}

void ZeroTensor(const KernelContext& c, Tensor* t) {
  if (IsPlain(t->dtype())) {
    char* to = static_cast<char*>(t->raw_data());
    c.ParallelFor(
        t->num_bytes(), 0.05, [&](int64_t begin, int64_t end) { std::memset(to + begin, 0, end - begin); }, 64);
    return;
  }
  DispatchUnit(t->dtype(), [&](auto tag) {
    using U = typename decltype(tag)::type;
    std::fill_n(t->data<U>(), t->num_elements(), U());
  });
}

IntList ReadInts(const Tensor& t) {
  IntList list(t.num_elements());
  for (size_t i = 0; i < list.size(); ++i) list[i] = t.IntAt(i);
  return list;
}

absl::StatusOr<IntList> ReadIntVector(const Tensor& t, absl::string_view name) {
  if (t.rank() != 1) return InvalidArgument(name, " must be a vector, found shape ", t.shape().ToString());
  return ReadInts(t);
}

absl::StatusOr<int64_t> ReadIntScalar(const Tensor& t, absl::string_view name, bool or_one) {
  if (t.rank() == 0 || (or_one && t.rank() == 1 && t.num_elements() == 1)) return t.IntAt(0);
  return InvalidArgument(name, " must be a scalar, found shape ", t.shape().ToString());
}

absl::StatusOr<int> CheckAxis(int64_t axis, int rank) {
  if (axis < -rank || axis >= rank) return InvalidArgument("axis ", axis, " is not in [", -rank, ", ", rank, ")");
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

int64_t SizeOfDims(const Shape& shape, int begin, int end) {
  int64_t size = 1;
  for (int i = begin; i < end; ++i) size *= shape.dim(i);
  return size;
}

}  // namespace sluice
