#include "kernels/image/pixels.h"

#include "core/base/status.h"
#include "core/types/numeric_types.h"

namespace sluice {
namespace {

// Calls `visit` with a pointer to the elements of `t`.
template <typename Visit>
void VisitElements(const Tensor& t, const Visit& visit) {
  switch (t.dtype()) {
    case DType::kFloat:
      return visit(t.data<float>());
    case DType::kDouble:
      return visit(t.data<double>());
    case DType::kHalf:
      return visit(t.data<half>());
    case DType::kBfloat16:
      return visit(t.data<bfloat16>());
    case DType::kUint8:
      return visit(t.data<uint8_t>());
    case DType::kInt8:
      return visit(t.data<int8_t>());
    case DType::kUint16:
      return visit(t.data<uint16_t>());
    case DType::kInt16:
      return visit(t.data<int16_t>());
    case DType::kInt32:
      return visit(t.data<int32_t>());
    case DType::kInt64:
      return visit(t.data<int64_t>());
    default:
      SLUICE_CHECK(false);  // the registry admits the types above
  }
}

}  // namespace

absl::StatusOr<Tensor> PixelsAsFloat(const Tensor& t) {
  if (t.dtype() == DType::kFloat) return t;
  ASSIGN_OR_RETURN(Tensor out, Tensor::Make(DType::kFloat, t.shape()));
  VisitElements(t, [&](const auto* from) {
    for (int64_t i = 0; i < t.num_elements(); ++i) out.data<float>()[i] = static_cast<float>(from[i]);
  });
  return out;
}

void PixelsFromFloat(absl::Span<const float> from, Tensor* to) {
  VisitElements(*to, [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    for (size_t i = 0; i < from.size(); ++i) out[i] = static_cast<T>(from[i]);
  });
}

}  // namespace sluice
