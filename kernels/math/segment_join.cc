#include <cmath>
#include <cstring>
#include <limits>

#include "core/base/status.h"
#include "kernels/common/element_wise.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/common/with_simd.h"
#include "kernels/math/scalar.h"
#include "kernels/math/segment.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

template <class T>
T EmptyValue(EmptySegment empty) {
  switch (empty) {
    case EmptySegment::kZero:
      return T(0);
    case EmptySegment::kOne:
      return T(1);
    case EmptySegment::kLowest:
      return std::numeric_limits<T>::lowest();
    case EmptySegment::kHighest:
      return std::numeric_limits<T>::max();
  }
  return T(0);
}

BinaryLoop LoopFor(SegmentOp op, DType dtype) {
  switch (op) {
    case SegmentOp::kProd:
      return ProductLoop(dtype);
    case SegmentOp::kMax:
      return MaximumLoop(dtype);
    case SegmentOp::kMin:
      return MinimumLoop(dtype);
    default:
      return SumLoop(dtype);
  }
}

// Sums of rows of floats for the segments [begin, end). Rows of one segment that follow each other are added in
// registers.
void SumRows(const float* x, absl::Span<const int64_t> rows, absl::Span<const int64_t> ids, int64_t inner,
             int64_t begin, int64_t end, double* counts, float* y) {
  const int64_t n = static_cast<int64_t>(ids.size());
  WithSimd([=]() SLUICE_INLINE_LOOP {
    constexpr int64_t kWidth = 16;
    typedef float Lanes __attribute__((vector_size(kWidth * sizeof(float))));
    auto row = [=](int64_t i) SLUICE_INLINE_LOOP { return x + (rows.empty() ? i : rows[i]) * inner; };
    int64_t next;
    for (int64_t i = 0; i < n; i = next) {
      const int64_t s = ids[i];
      next = i + 1;
      if (s < begin || s >= end) continue;
      while (next < n && ids[next] == s) ++next;
      const bool first = counts[s] == 0;
      counts[s] += static_cast<double>(next - i);
      float* to = y + s * inner;
      int64_t j = 0;
      for (; j + kWidth <= inner; j += kWidth) {
        Lanes sum, other;
        std::memcpy(&sum, first ? row(i) + j : to + j, sizeof(sum));
        for (int64_t k = first ? i + 1 : i; k < next; ++k) {
          std::memcpy(&other, row(k) + j, sizeof(other));
          sum += other;
        }
        std::memcpy(to + j, &sum, sizeof(sum));
      }
      for (; j < inner; ++j) {
        float sum = first ? row(i)[j] : to[j];
        for (int64_t k = first ? i + 1 : i; k < next; ++k) sum += row(k)[j];
        to[j] = sum;
      }
    }
  });
}

template <class From, class To>
void ConvertLoop(const Tensor& x, Tensor* y) {
  for (int64_t i = 0; i < x.num_elements(); ++i) y->data<To>()[i] = static_cast<To>(x.data<From>()[i]);
}

}  // namespace

std::vector<int64_t> Integers(const Tensor& t) {
  std::vector<int64_t> v(static_cast<size_t>(t.num_elements()));
  Dispatch<kIndexTypes.bits()>(t.dtype(), [&](auto tag) {
    const auto* x = t.data<typename decltype(tag)::type>();
    std::copy(x, x + v.size(), v.begin());
  });
  return v;
}

absl::StatusOr<Tensor> MakeCounts(int64_t segments) {
  ASSIGN_OR_RETURN(Tensor counts, Tensor::Make(DType::kDouble, Shape({segments})));
  std::fill_n(counts.data<double>(), segments, 0.0);
  return counts;
}

absl::StatusOr<Tensor> ConvertFloats(const Tensor& x, DType to) {
  ASSIGN_OR_RETURN(Tensor y, Tensor::Make(to, x.shape()));
  if (to == DType::kFloat) {
    x.dtype() == DType::kHalf ? ConvertLoop<half, float>(x, &y) : ConvertLoop<bfloat16, float>(x, &y);
  } else {
    to == DType::kHalf ? ConvertLoop<float, half>(x, &y) : ConvertLoop<float, bfloat16>(x, &y);
  }
  return y;
}

void DivideRows(Tensor* x, int64_t inner, absl::Span<const double> divisors) {
  Dispatch<(kArithmeticTypes - DTypeSet{DType::kHalf, DType::kBfloat16}).bits()>(x->dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t r = 0; r < divisors.size(); ++r) {
      if (divisors[r] == 0 || divisors[r] == 1) continue;
      T* row = x->data<T>() + static_cast<int64_t>(r) * inner;
      if constexpr (scalar::kIsComplex<T>) {
        for (int64_t j = 0; j < inner; ++j) row[j] /= static_cast<typename T::value_type>(divisors[r]);
      } else {
        const T d = static_cast<T>(divisors[r]);
        if (d == T(0)) continue;
        for (int64_t j = 0; j < inner; ++j) row[j] = scalar::Div(row[j], d);
      }
    }
  });
}

absl::Status JoinSegments(KernelContext& c, SegmentOp op, EmptySegment empty, const Tensor& data,
                          absl::Span<const int64_t> rows, absl::Span<const int64_t> ids, int64_t inner,
                          const Shape& shape) {
  if (data.dtype() == DType::kHalf || data.dtype() == DType::kBfloat16) {
    ASSIGN_OR_RETURN(Tensor wide, ConvertFloats(data, DType::kFloat));
    // The float result takes the place of the output until it is rounded.
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const Tensor narrow = *out;
    ASSIGN_OR_RETURN(*out, Tensor::Make(DType::kFloat, shape));
    const int64_t segments = inner == 0 ? 0 : shape.num_elements() / inner;
    ASSIGN_OR_RETURN(Tensor counted, MakeCounts(segments));
    double* counts = counted.data<double>();
    const BinaryLoop loop = LoopFor(op, DType::kFloat);
    const unsigned char f[kMaxFunctionBytes] = {};
    float* y = out->data<float>();
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] < 0 || inner == 0) continue;
      const float* x = wide.data<float>() + (rows.empty() ? static_cast<int64_t>(i) : rows[i]) * inner;
      if (counts[ids[i]]++ == 0) {
        std::memcpy(y + ids[i] * inner, x, inner * sizeof(float));
      } else {
        loop(f, y + ids[i] * inner, 1, x, 1, y + ids[i] * inner, inner);
      }
    }
    for (int64_t s = 0; s < segments; ++s) {
      float value = EmptyValue<float>(empty);
      if (empty == EmptySegment::kLowest || empty == EmptySegment::kHighest) {
        const float most =
            data.dtype() == DType::kHalf ? 65504.f : static_cast<float>(std::numeric_limits<bfloat16>::max());
        value = empty == EmptySegment::kLowest ? -most : most;
      }
      if (counts[s] == 0) std::fill_n(y + s * inner, inner, value);
      if (op == SegmentOp::kSqrtN) counts[s] = std::sqrt(counts[s]);
    }
    if (op == SegmentOp::kMean || op == SegmentOp::kSqrtN) DivideRows(out, inner, counted.flat<double>());
    ASSIGN_OR_RETURN(Tensor rounded, ConvertFloats(*out, data.dtype()));
    if (shape.num_elements() > 0) std::memcpy(narrow.raw_data(), rounded.raw_data(), rounded.num_bytes());
    *out = narrow;
    return absl::OkStatus();
  }

  const BinaryLoop loop = LoopFor(op, data.dtype());
  if (loop == nullptr) return Unimplemented("no segments of ", DTypeName(data.dtype()));
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
  if (shape.num_elements() == 0) return absl::OkStatus();
  const int64_t segments = shape.num_elements() / inner;
  const int64_t row_bytes = inner * static_cast<int64_t>(ElementSize(data.dtype()));
  const char* x = static_cast<const char*>(data.raw_data());
  char* y = static_cast<char*>(out->raw_data());
  ASSIGN_OR_RETURN(Tensor counted, MakeCounts(segments));
  double* counts = counted.data<double>();
  // Each thread has segments of its own and passes over all rows, so the order within a segment is that of the rows.
  const double cost =
      static_cast<double>(ids.size()) * (2 + 0.3 * static_cast<double>(inner)) / static_cast<double>(segments) +
      0.1 * static_cast<double>(inner);
  c.ParallelFor(segments, cost, [&](int64_t begin, int64_t end) {
    const unsigned char f[kMaxFunctionBytes] = {};
    const bool sums_floats =
        data.dtype() == DType::kFloat && (op == SegmentOp::kSum || op == SegmentOp::kMean || op == SegmentOp::kSqrtN);
    if (sums_floats) SumRows(data.data<float>(), rows, ids, inner, begin, end, counts, out->data<float>());
    for (size_t i = 0; i < ids.size() && !sums_floats; ++i) {
      const int64_t s = ids[i];
      if (s < begin || s >= end) continue;
      const char* from = x + (rows.empty() ? static_cast<int64_t>(i) : rows[i]) * row_bytes;
      if (counts[s]++ == 0) {
        std::memcpy(y + s * row_bytes, from, row_bytes);
      } else {
        loop(f, y + s * row_bytes, 1, from, 1, y + s * row_bytes, inner);
      }
    }
    Dispatch<kArithmeticTypes.bits()>(data.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      for (int64_t s = begin; s < end; ++s) {
        if (counts[s] == 0) std::fill_n(reinterpret_cast<T*>(y) + s * inner, inner, EmptyValue<T>(empty));
      }
    });
  });
  if (op == SegmentOp::kSqrtN) {
    for (int64_t s = 0; s < segments; ++s) counts[s] = std::sqrt(counts[s]);
  }
  if (op == SegmentOp::kMean || op == SegmentOp::kSqrtN) DivideRows(out, inner, counted.flat<double>());
  return absl::OkStatus();
}

}  // namespace sluice
