#include "core/graph/builder.h"

#include "core/base/status.h"
#include "core/types/numeric_types.h"

namespace sluice {
namespace {

template <typename T>
Tensor Fill1(double value) {
  return Tensor::Scalar<T>(static_cast<T>(value));
}

absl::StatusOr<Tensor> ScalarTensor(DType dtype, double value) {
  switch (BaseType(dtype)) {
    case DType::kFloat:
      return Fill1<float>(value);
    case DType::kDouble:
      return Fill1<double>(value);
    case DType::kHalf:
      return Tensor::Scalar(half(static_cast<float>(value)));
    case DType::kBfloat16:
      return Tensor::Scalar(bfloat16(static_cast<float>(value)));
    case DType::kInt8:
      return Fill1<int8_t>(value);
    case DType::kInt16:
      return Fill1<int16_t>(value);
    case DType::kInt32:
      return Fill1<int32_t>(value);
    case DType::kInt64:
      return Fill1<int64_t>(value);
    case DType::kUint8:
      return Fill1<uint8_t>(value);
    case DType::kUint16:
      return Fill1<uint16_t>(value);
    case DType::kUint32:
      return Fill1<uint32_t>(value);
    case DType::kUint64:
      return Fill1<uint64_t>(value);
    case DType::kBool:
      return Tensor::Scalar(value != 0);
    case DType::kComplex64:
      return Tensor::Scalar(complex64(static_cast<float>(value)));
    case DType::kComplex128:
      return Tensor::Scalar(complex128(value));
    default:
      return InvalidArgument("there is no number of type ", DTypeName(dtype));
  }
}

}  // namespace

void GraphBuilder::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

Out GraphBuilder::Op(absl::string_view op, const std::vector<Out>& inputs, AttrMap attrs, absl::string_view name) {
  if (!status_.ok()) return Out(this, {});
  NodeSpec spec;
  spec.op = std::string(op);
  spec.name =
      scope_.empty() ? std::string(name.empty() ? op : name) : absl::StrCat(scope_, "/", name.empty() ? op : name);
  for (const Out& in : inputs) {
    if (!in.valid()) {
      Fail(Internal("an input of ", op, " in ", scope_, " was never made"));
      return Out(this, {});
    }
    spec.inputs.push_back(in.endpoint());
  }
  spec.attrs = std::move(attrs);
  spec.control_inputs = control_inputs_;
  spec.device = device_;
  spec.source = source_;
  if (!colocation_.empty()) spec.attrs.Set("_class", std::vector<std::string>{absl::StrCat("loc:@", colocation_)});
  absl::StatusOr<Node*> node = graph_->AddNodeUniqueName(std::move(spec));
  if (!node.ok()) {
    Fail(node.status());
    return Out(this, {});
  }
  return Out(this, {*node, 0});
}

Out GraphBuilder::Const(Tensor value, absl::string_view name) {
  DType dtype = value.dtype();
  return Op("Const", {}, {{"value", std::move(value)}, {"dtype", dtype}}, name);
}

Out GraphBuilder::Scalar(DType dtype, double value) {
  absl::StatusOr<Tensor> t = ScalarTensor(dtype, value);
  if (!t.ok()) {
    Fail(t.status());
    return Out(this, {});
  }
  return Const(*std::move(t));
}

Out GraphBuilder::Ints(std::vector<int64_t> values, DType dtype) {
  if (dtype == DType::kInt64) return Const(Tensor::Vector<int64_t>(values));
  std::vector<int32_t> narrow(values.begin(), values.end());
  return Const(Tensor::Vector<int32_t>(narrow));
}

Out GraphBuilder::Int(int64_t value, DType dtype) { return Scalar(dtype, static_cast<double>(value)); }

}  // namespace sluice
