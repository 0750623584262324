#include "core/types/tensor_proto.h"

#include <algorithm>
#include <complex>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "core/base/status.h"
#include "core/proto/resource_handle.pb.h"
#include "core/proto/tensor.pb.h"
#include "core/proto/tensor_shape.pb.h"
#include "core/types/numeric_types.h"
#include "core/types/resource_handle.h"

namespace sluice {
namespace {

using proto::ResourceHandleProto;
using proto::TensorProto;

absl::Status TooMany(int64_t found, const Tensor& t) {
  return InvalidArgument("a tensor message has ", found, " values for shape ", t.shape().ToString(), " of ",
                         DTypeName(t.dtype()));
}

// Plain elements, from a list whose elements convert to T.
template <typename T, typename List>
absl::Status FromList(const List& list, Tensor* t) {
  const absl::Span<T> to = t->flat<T>();
  const size_t n = static_cast<size_t>(list.size());
  if (n > to.size()) return TooMany(list.size(), *t);
  for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(list.Get(static_cast<int>(i)));
  std::fill(to.begin() + n, to.end(), n > 0 ? to[n - 1] : T());
  return absl::OkStatus();
}

template <typename Real, typename List>
absl::Status ComplexFromList(const List& list, Tensor* t) {
  const absl::Span<std::complex<Real>> to = t->flat<std::complex<Real>>();
  if (list.size() % 2 != 0) return InvalidArgument("a complex tensor message has an odd number of values");
  const size_t n = static_cast<size_t>(list.size() / 2);
  if (n > to.size()) return TooMany(list.size() / 2, *t);
  for (size_t i = 0; i < n; ++i) to[i] = {list.Get(static_cast<int>(2 * i)), list.Get(static_cast<int>(2 * i + 1))};
  std::fill(to.begin() + n, to.end(), n > 0 ? to[n - 1] : std::complex<Real>());
  return absl::OkStatus();
}

absl::Status HandleFromProto(const ResourceHandleProto& message, ResourceHandle* handle) {
  handle->device = message.device();
  handle->container = message.container();
  handle->name = message.name();
  handle->type_name = message.maybe_type_name();
  for (const auto& value : message.dtypes_and_shapes()) {
    ASSIGN_OR_RETURN(const DType dtype, DTypeFromProto(value.dtype()));
    ASSIGN_OR_RETURN(PartialShape shape, ShapeFromProto(value.shape()));
    handle->dtypes.push_back(dtype);
    handle->shapes.push_back(std::move(shape));
  }
  return absl::OkStatus();
}

void HandleToProto(const ResourceHandle& handle, ResourceHandleProto* message) {
  message->set_device(handle.device);
  message->set_container(handle.container);
  message->set_name(handle.name);
  message->set_maybe_type_name(handle.type_name);
  for (size_t i = 0; i < handle.dtypes.size() && i < handle.shapes.size(); ++i) {
    auto* value = message->add_dtypes_and_shapes();
    value->set_dtype(static_cast<proto::DataType>(handle.dtypes[i]));
    ShapeToProto(handle.shapes[i], value->mutable_shape());
  }
}

absl::Status FillFromLists(const TensorProto& m, Tensor* t) {
  switch (t->dtype()) {
    case DType::kFloat:
      return FromList<float>(m.float_val(), t);
    case DType::kDouble:
      return FromList<double>(m.double_val(), t);
    case DType::kInt32:
    case DType::kQint32:
      return FromList<int32_t>(m.int_val(), t);
    case DType::kUint8:
    case DType::kQuint8:
      return FromList<uint8_t>(m.int_val(), t);
    case DType::kInt8:
    case DType::kQint8:
      return FromList<int8_t>(m.int_val(), t);
    case DType::kInt16:
    case DType::kQint16:
      return FromList<int16_t>(m.int_val(), t);
    case DType::kUint16:
    case DType::kQuint16:
      return FromList<uint16_t>(m.int_val(), t);
    case DType::kHalf:
    case DType::kBfloat16:
      return FromList<uint16_t>(m.half_val(), t);  // the bits
    case DType::kInt64:
      return FromList<int64_t>(m.int64_val(), t);
    case DType::kUint32:
      return FromList<uint32_t>(m.uint32_val(), t);
    case DType::kUint64:
      return FromList<uint64_t>(m.uint64_val(), t);
    case DType::kBool:
      return FromList<bool>(m.bool_val(), t);
    case DType::kComplex64:
      return ComplexFromList<float>(m.scomplex_val(), t);
    case DType::kComplex128:
      return ComplexFromList<double>(m.dcomplex_val(), t);
    case DType::kString:
      return FromList<std::string>(m.string_val(), t);
    case DType::kResource: {
      const absl::Span<ResourceHandle> to = t->flat<ResourceHandle>();
      const int n = m.resource_handle_val_size();
      if (n > static_cast<int64_t>(to.size())) return TooMany(n, *t);
      for (int i = 0; i < n; ++i) RETURN_IF_ERROR(HandleFromProto(m.resource_handle_val(i), &to[i]));
      for (size_t i = n; n > 0 && i < to.size(); ++i) to[i] = to[n - 1];
      return absl::OkStatus();
    }
    default:
      return Unimplemented("a tensor message of type ", DTypeName(t->dtype()), " cannot be read");
  }
}

// The number of leading elements after which the last one only repeats.
template <typename T>
int64_t LengthWithoutTail(absl::Span<const T> v) {
  size_t n = v.size();
  while (n > 1 && std::memcmp(&v[n - 1], &v[n - 2], sizeof(T)) == 0) --n;
  return static_cast<int64_t>(n);
}

template <typename T, typename List>
void ToList(const Tensor& t, List* list) {
  const absl::Span<const T> from = t.flat<T>();
  const int64_t n = LengthWithoutTail(from);
  list->Reserve(static_cast<int>(n));
  for (int64_t i = 0; i < n; ++i) list->Add(from[i]);
}

template <typename Real, typename List>
void ComplexToList(const Tensor& t, List* list) {
  const absl::Span<const std::complex<Real>> from = t.flat<std::complex<Real>>();
  const int64_t n = LengthWithoutTail(from);
  for (int64_t i = 0; i < n; ++i) {
    list->Add(from[i].real());
    list->Add(from[i].imag());
  }
}

absl::Status ToLists(const Tensor& t, TensorProto* m) {
  switch (t.dtype()) {
    case DType::kFloat:
      ToList<float>(t, m->mutable_float_val());
      break;
    case DType::kDouble:
      ToList<double>(t, m->mutable_double_val());
      break;
    case DType::kInt32:
    case DType::kQint32:
      ToList<int32_t>(t, m->mutable_int_val());
      break;
    case DType::kUint8:
    case DType::kQuint8:
      ToList<uint8_t>(t, m->mutable_int_val());
      break;
    case DType::kInt8:
    case DType::kQint8:
      ToList<int8_t>(t, m->mutable_int_val());
      break;
    case DType::kInt16:
    case DType::kQint16:
      ToList<int16_t>(t, m->mutable_int_val());
      break;
    case DType::kUint16:
    case DType::kQuint16:
      ToList<uint16_t>(t, m->mutable_int_val());
      break;
    case DType::kHalf:
    case DType::kBfloat16:
      ToList<uint16_t>(t, m->mutable_half_val());
      break;
    case DType::kInt64:
      ToList<int64_t>(t, m->mutable_int64_val());
      break;
    case DType::kUint32:
      ToList<uint32_t>(t, m->mutable_uint32_val());
      break;
    case DType::kUint64:
      ToList<uint64_t>(t, m->mutable_uint64_val());
      break;
    case DType::kBool:
      ToList<bool>(t, m->mutable_bool_val());
      break;
    case DType::kComplex64:
      ComplexToList<float>(t, m->mutable_scomplex_val());
      break;
    case DType::kComplex128:
      ComplexToList<double>(t, m->mutable_dcomplex_val());
      break;
    case DType::kString:
      for (const std::string& s : t.flat<std::string>()) m->add_string_val(s);
      break;
    case DType::kResource:
      for (const ResourceHandle& h : t.flat<ResourceHandle>()) HandleToProto(h, m->add_resource_handle_val());
      break;
    default:
      return Unimplemented("a tensor of type ", DTypeName(t.dtype()), " has no form outside the process");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DType> DTypeFromProto(int number) {
  if (number != 0 && IsValidDType(number)) return static_cast<DType>(number);
  const std::string& name = proto::DataType_Name(static_cast<proto::DataType>(number));
  if (number == 0) return InvalidArgument("a type is missing (DT_INVALID)");
  if (name.empty()) return InvalidArgument("there is no element type ", number);
  return Unimplemented("element type ", name, " is not supported");
}

absl::StatusOr<PartialShape> ShapeFromProto(const proto::TensorShapeProto& message) {
  if (message.unknown_rank()) {
    if (message.dim_size() > 0)
      return InvalidArgument("a shape of unknown rank has ", message.dim_size(), " dimensions");
    return PartialShape();
  }
  std::vector<int64_t> dims;
  dims.reserve(message.dim_size());
  for (const auto& dim : message.dim()) dims.push_back(dim.size());
  return PartialShape::Make(dims);
}

absl::StatusOr<Shape> FullShapeFromProto(const proto::TensorShapeProto& message) {
  if (message.unknown_rank()) return InvalidArgument("the shape of a tensor has no rank");
  std::vector<int64_t> dims;
  dims.reserve(message.dim_size());
  for (const auto& dim : message.dim()) dims.push_back(dim.size());
  return Shape::Make(dims);
}

void ShapeToProto(const PartialShape& shape, proto::TensorShapeProto* message) {
  message->Clear();
  message->set_unknown_rank(!shape.known_rank());
  if (!shape.known_rank()) return;
  for (int64_t dim : shape.dims()) message->add_dim()->set_size(dim);
}

absl::StatusOr<Tensor> TensorFromProto(const proto::TensorProto& message, Allocator* allocator, uint64_t max_bytes) {
  ASSIGN_OR_RETURN(const DType dtype, DTypeFromProto(message.dtype()));
  if (IsRefType(dtype)) return InvalidArgument("a tensor message has reference type ", DTypeName(dtype));
  ASSIGN_OR_RETURN(const Shape shape, FullShapeFromProto(message.tensor_shape()));
  const uint64_t count = static_cast<uint64_t>(shape.num_elements());
  const uint64_t size = ElementSize(dtype);
  if (count > max_bytes / size) {
    return ResourceExhausted("a tensor message of shape ", shape.ToString(), " and type ", DTypeName(dtype),
                             " needs over ", max_bytes, " bytes");
  }
  const std::string& content = message.tensor_content();
  if (!content.empty()) {
    if (!IsPlain(dtype)) {
      return Unimplemented("a tensor message of type ", DTypeName(dtype), " with tensor_content cannot be read");
    }
    if (content.size() != count * size) {
      return InvalidArgument("a tensor message of shape ", shape.ToString(), " and type ", DTypeName(dtype), " has ",
                             content.size(), " bytes, wanted ", count * size);
    }
  }
  ASSIGN_OR_RETURN(Tensor t, Tensor::Make(dtype, shape, allocator));
  if (content.empty()) {
    RETURN_IF_ERROR(FillFromLists(message, &t));
  } else if (dtype == DType::kBool) {
    std::transform(content.begin(), content.end(), t.data<bool>(), [](char c) { return c != 0; });
  } else {
    std::memcpy(t.raw_data(), content.data(), content.size());
  }
  return t;
}

absl::Status TensorToProto(const Tensor& tensor, proto::TensorProto* message, TensorEncoding encoding) {
  message->Clear();
  if (!tensor.IsValid()) return InvalidArgument("a tensor without a value cannot be written");
  message->set_dtype(static_cast<proto::DataType>(tensor.dtype()));
  ShapeToProto(tensor.shape(), message->mutable_tensor_shape());
  const bool single = tensor.num_elements() == 1 && encoding == TensorEncoding::kCompact;
  if (encoding == TensorEncoding::kReadable || !IsPlain(tensor.dtype()) || single) {
    return ToLists(tensor, message);
  }
  message->set_tensor_content(tensor.raw_data(), tensor.num_bytes());
  return absl::OkStatus();
}

}  // namespace sluice
