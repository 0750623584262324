#include "core/types/tensor.h"

#include <cstring>

#include "absl/strings/escaping.h"
#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "core/types/resource_handle.h"
#include "core/types/variant.h"

namespace sluice {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 46;  // beyond any machine: a shape this large is a mistake

template <typename T>
void AppendElement(std::string* out, const T& v) {
  if constexpr (std::is_same_v<T, std::string>) {
    absl::StrAppend(out, " '", absl::CEscape(v.substr(0, 40)), "'");
  } else if constexpr (std::is_same_v<T, ResourceHandle>) {
    absl::StrAppend(out, " ", v.container, "/", v.name);
  } else if constexpr (std::is_same_v<T, Variant>) {
    absl::StrAppend(out, " ", v.get() ? v.get()->TypeName() : "empty");
  } else if constexpr (std::is_same_v<T, complex64> || std::is_same_v<T, complex128>) {
    absl::StrAppend(out, " ", v.real(), "+", v.imag(), "j");
  } else if constexpr (std::is_same_v<T, half> || std::is_same_v<T, bfloat16>) {
    absl::StrAppend(out, " ", static_cast<float>(v));
  } else if constexpr (std::is_same_v<T, bool>) {
    absl::StrAppend(out, v ? " true" : " false");
  } else if constexpr (std::is_base_of_v<QuantizedInt<int8_t>, T> || std::is_base_of_v<QuantizedInt<uint8_t>, T> ||
                       std::is_base_of_v<QuantizedInt<int16_t>, T> || std::is_base_of_v<QuantizedInt<uint16_t>, T> ||
                       std::is_base_of_v<QuantizedInt<int32_t>, T>) {
    absl::StrAppend(out, " ", static_cast<int64_t>(v.value));
  } else if constexpr (sizeof(T) == 1) {
    absl::StrAppend(out, " ", static_cast<int>(v));
  } else {
    absl::StrAppend(out, " ", v);
  }
}

template <int kN = 1>
void AppendElements(const Tensor& t, int64_t count, std::string* out) {
  if constexpr (kN < kNumDTypes) {
    if (static_cast<int>(t.dtype()) == kN) {
      using T = CppType<static_cast<DType>(kN)>;
      for (int64_t i = 0; i < count; ++i) AppendElement(out, t.data<T>()[i]);
    } else {
      AppendElements<kN + 1>(t, count, out);
    }
  }
}

}  // namespace

absl::StatusOr<Tensor> Tensor::Make(DType dtype, const Shape& shape, Allocator* allocator) {
  int64_t count = shape.num_elements();
  int64_t bytes = MultiplyWithoutOverflow(count, static_cast<int64_t>(ElementSize(dtype)));
  if (ElementSize(dtype) == 0) return InvalidArgument("a tensor needs a type, found ", DTypeName(dtype));
  if (bytes < 0 || bytes > kMaxBytes) {
    return ResourceExhausted("a ", DTypeName(dtype), " tensor of shape ", shape.ToString(),
                             " is larger than any memory");
  }
  RefPtr<Buffer> buffer = IsPlain(dtype) ? Buffer::Allocate(allocator, bytes) : Buffer::MakeElements(dtype, count);
  if (!buffer) {
    AllocatorStats s = allocator->stats();
    return ResourceExhausted(allocator->name(), " has no ", bytes, " bytes for a ", DTypeName(dtype),
                             " tensor of shape ", shape.ToString(), ": ", s.live_bytes, " bytes are in use, limit ",
                             s.limit_bytes == 0 ? "none" : absl::StrCat(s.limit_bytes));
  }
  return Tensor(dtype, shape, std::move(buffer));
}

Tensor Tensor::MakeOrDie(DType dtype, const Shape& shape) {
  absl::StatusOr<Tensor> t = Make(dtype, shape);
  SLUICE_CHECK(t.ok());
  return *std::move(t);
}

int64_t Tensor::IntAt(int64_t i) const {
  switch (dtype_) {
    case DType::kInt32:
      return data<int32_t>()[i];
    case DType::kInt64:
      return data<int64_t>()[i];
    case DType::kInt16:
      return data<int16_t>()[i];
    case DType::kInt8:
      return data<int8_t>()[i];
    case DType::kUint8:
      return data<uint8_t>()[i];
    case DType::kUint16:
      return data<uint16_t>()[i];
    case DType::kUint32:
      return data<uint32_t>()[i];
    case DType::kUint64:
      return static_cast<int64_t>(data<uint64_t>()[i]);
    default:
      SLUICE_CHECK(false && "IntAt of a type that is no integer");
  }
  return 0;
}

Tensor Tensor::WithShape(Shape shape) const {
  SLUICE_CHECK(shape.num_elements() == num_elements());
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::Bitcast(DType dtype, Shape shape) const {
  SLUICE_CHECK(static_cast<size_t>(shape.num_elements()) * ElementSize(dtype) == num_bytes());
  Tensor t = *this;
  t.dtype_ = dtype;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::SliceRows(int64_t begin, int64_t end) const {
  SLUICE_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= dim(0));
  Tensor t = *this;
  size_t row = dim(0) == 0 ? 0 : num_bytes() / dim(0);
  t.shape_.SetDim(0, end - begin);
  t.data_ = static_cast<char*>(data_) + row * begin;
  return t;
}

absl::StatusOr<Tensor> Tensor::Clone(Allocator* allocator) const {
  if (!IsValid()) return Tensor();
  ASSIGN_OR_RETURN(Tensor t, Make(dtype_, shape_, allocator));
  if (IsPlain(dtype_)) {
    if (num_bytes() > 0) std::memcpy(t.data_, data_, num_bytes());
  } else if (dtype_ == DType::kString) {
    std::copy_n(data<std::string>(), num_elements(), t.data<std::string>());
  } else if (dtype_ == DType::kVariant) {
    std::copy_n(data<Variant>(), num_elements(), t.data<Variant>());
  } else {
    std::copy_n(data<ResourceHandle>(), num_elements(), t.data<ResourceHandle>());
  }
  return t;
}

std::string Tensor::ToString(int limit) const {
  if (!IsValid()) return "no tensor";
  std::string out = absl::StrCat(DTypeName(dtype_), " ", shape_.ToString());
  AppendElements(*this, std::min<int64_t>(limit, num_elements()), &out);
  if (num_elements() > limit) absl::StrAppend(&out, " ...");
  return out;
}

bool IdenticalTensors(const Tensor& a, const Tensor& b) {
  if (a.dtype() != b.dtype() || a.shape() != b.shape()) return false;
  if (!a.IsValid() || a.num_elements() == 0) return true;
  if (IsPlain(a.dtype())) return std::memcmp(a.raw_data(), b.raw_data(), a.num_bytes()) == 0;
  if (a.dtype() == DType::kString) {
    return std::equal(a.data<std::string>(), a.data<std::string>() + a.num_elements(), b.data<std::string>());
  }
  return a.raw_data() == b.raw_data();
}

}  // namespace sluice
