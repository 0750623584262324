#include "ops/math/math_ops.h"

#include "core/types/tensor.h"
#include "ops/math/topics.h"

namespace sluice {
namespace {

// Values are followed for tensors that can be shapes, not for tables that happen to be integers.
constexpr int64_t kMaxFollowed = 256;

std::optional<PartialValue> SmallValue(const ShapeContext& c, int i) {
  const int64_t n = c.input(i).num_elements();
  const DType type = c.input_type(i);
  if (n < 0 || n > kMaxFollowed || (type != DType::kInt32 && type != DType::kInt64)) return std::nullopt;
  return c.value(i);
}

// What does not fit the type wraps when it is computed: then nothing is known.
int64_t Fitting(std::optional<int64_t> v, DType type) {
  if (!v || (type == DType::kInt32 && *v != static_cast<int32_t>(*v))) return PartialValue::kUnknown;
  return *v;
}

}  // namespace

void DefineMathOps(OpRegistry& ops) {
  DefineUnaryOps(ops);
  DefineComplexOps(ops);
  DefineArithmeticOps(ops);
  DefineComparisonOps(ops);
  DefineSpecialFunctionOps(ops);
  DefineReductionOps(ops);
  DefineScanOps(ops);
  DefineSegmentOps(ops);
  DefineSparseSegmentOps(ops);
  DefineMatMulOps(ops);
  DefineMatrixOps(ops);
  DefineLinearAlgebraOps(ops);
  DefineSequenceOps(ops);
  DefineHistogramOps(ops);
}

const Tensor* ConstantValue(Out x) {
  if (!x.valid() || !x.node()->Is(kConstant)) return nullptr;
  const AttrValue* value = x.node()->attrs().Find("value");
  return value == nullptr ? nullptr : value->As<Tensor>();
}

std::optional<std::vector<int64_t>> ConstantInts(Out x) {
  const Tensor* t = ConstantValue(x);
  if (t == nullptr || !IsInteger(t->dtype())) return std::nullopt;
  std::vector<int64_t> values(static_cast<size_t>(t->num_elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = t->IntAt(static_cast<int64_t>(i));
  return values;
}

ValueRule UnaryValue(std::function<std::optional<int64_t>(int64_t)> f) {
  return [f = std::move(f)](ShapeContext& c) {
    std::optional<PartialValue> x = SmallValue(c, 0);
    if (!x) return;
    for (int64_t& e : x->elements) {
      if (e != PartialValue::kUnknown) e = Fitting(f(e), c.input_type(0));
    }
    c.SetOutputValue(0, *std::move(x));
  };
}

ValueRule BinaryValue(std::function<std::optional<int64_t>(int64_t, int64_t)> f) {
  return [f = std::move(f)](ShapeContext& c) {
    const std::optional<PartialValue> x = SmallValue(c, 0), y = SmallValue(c, 1);
    if (!x || !y) return;
    const size_t nx = x->elements.size(), ny = y->elements.size();
    if (nx != ny && nx != 1 && ny != 1) return;
    PartialValue z;
    z.scalar = x->scalar && y->scalar;
    z.elements.resize(nx == 0 || ny == 0 ? 0 : std::max(nx, ny));
    for (size_t i = 0; i < z.elements.size(); ++i) {
      const int64_t a = x->elements[nx == 1 ? 0 : i], b = y->elements[ny == 1 ? 0 : i];
      z.elements[i] = PartialValue::kUnknown;
      if (a != PartialValue::kUnknown && b != PartialValue::kUnknown) z.elements[i] = Fitting(f(a, b), c.input_type(0));
    }
    c.SetOutputValue(0, std::move(z));
  };
}

}  // namespace sluice
