// The arithmetic of accumulators: sums and averages of dense gradients and of rows.
#include <algorithm>
#include <numeric>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/queue/accumulator.h"
#include "kernels/queue/rows.h"

namespace sluice {
namespace {

constexpr uint32_t kTypes = kArithmeticTypes.bits();

absl::Status NoSum(DType t) { return Unimplemented("there is no sum of ", DTypeName(t), " gradients"); }

template <typename T>
void AddSpan(const T* x, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(y[i] + x[i]);
}
template <typename T>
void DivideSpan(int64_t by, int64_t n, T* y) {
  const T divisor = static_cast<T>(static_cast<float>(by));
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(y[i] / divisor);
}

// Bytes that may be written: the value's own when nobody else has them.
absl::Status MakeWritable(Tensor* t) {
  if (t->IsUniqueAndWritable()) return absl::OkStatus();
  ASSIGN_OR_RETURN(*t, t->Clone());
  return absl::OkStatus();
}

int64_t RowSize(const Tensor& values) {
  int64_t n = 1;
  for (int i = 1; i < values.rank(); ++i) n *= values.dim(i);
  return n;
}

absl::StatusOr<Tensor> MakeRows(const Tensor& like, int64_t rows) {
  Shape shape = like.shape();
  shape.SetDim(0, rows);
  return Tensor::Make(like.dtype(), shape);
}

void AddRow(const Tensor& from, int64_t from_row, int64_t size, Tensor* to, int64_t to_row) {
  Dispatch<kTypes>(from.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    AddSpan(from.data<T>() + from_row * size, size, to->data<T>() + to_row * size);
  });
}

}  // namespace

absl::Status AddDense(Gradient* sum, Gradient g) {
  if (!sum->values.IsValid()) {
    *sum = std::move(g);
    return absl::OkStatus();
  }
  if (sum->values.shape() != g.values.shape()) {
    return InvalidArgument("a gradient of shape ", g.values.shape().ToString(), " cannot be added to one of shape ",
                           sum->values.shape().ToString());
  }
  RETURN_IF_ERROR(MakeWritable(&sum->values));
  bool known = Dispatch<kTypes>(g.values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    AddSpan(g.values.data<T>(), g.values.num_elements(), sum->values.data<T>());
  });
  return known ? absl::OkStatus() : NoSum(g.values.dtype());
}

absl::Status DivideDense(Gradient* sum, int64_t count) {
  if (count == 1) return absl::OkStatus();
  RETURN_IF_ERROR(MakeWritable(&sum->values));
  bool known = Dispatch<kTypes>(sum->values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    DivideSpan(count, sum->values.num_elements(), sum->values.data<T>());
  });
  return known ? absl::OkStatus() : NoSum(sum->values.dtype());
}

absl::StatusOr<Gradient> SortRows(const Tensor& indices, const Tensor& values) {
  const int64_t n = indices.num_elements(), size = RowSize(values);
  const int64_t* index = indices.data<int64_t>();
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return index[a] < index[b]; });
  Gradient g;
  for (int64_t i : order) {
    if (g.indices.empty() || g.indices.back() != index[i]) g.indices.push_back(index[i]);
  }
  g.counts.assign(g.indices.size(), 1);
  ASSIGN_OR_RETURN(g.values, MakeRows(values, static_cast<int64_t>(g.indices.size())));
  int64_t row = -1;
  for (int64_t i = 0; i < n; ++i) {
    bool again = i > 0 && index[order[i]] == index[order[i - 1]];
    if (again) {
      AddRow(values, order[i], size, &g.values, row);
    } else {
      CopyElements(values, order[i] * size, size, &g.values, ++row * size);
    }
  }
  return g;
}

absl::Status AddRows(Gradient* sum, Gradient g) {
  if (!sum->values.IsValid()) {
    *sum = std::move(g);
    return absl::OkStatus();
  }
  if (sum->values.rank() != g.values.rank() || RowSize(sum->values) != RowSize(g.values)) {
    return InvalidArgument("rows of a gradient of shape ", g.values.shape().ToString(),
                           " cannot be added to those of shape ", sum->values.shape().ToString());
  }
  Gradient out;
  std::set_union(sum->indices.begin(), sum->indices.end(), g.indices.begin(), g.indices.end(),
                 std::back_inserter(out.indices));
  out.counts.resize(out.indices.size());
  ASSIGN_OR_RETURN(out.values, MakeRows(sum->values, static_cast<int64_t>(out.indices.size())));
  const int64_t size = RowSize(out.values);
  size_t a = 0, b = 0;
  for (size_t i = 0; i < out.indices.size(); ++i) {
    const bool in_sum = a < sum->indices.size() && sum->indices[a] == out.indices[i];
    const bool in_g = b < g.indices.size() && g.indices[b] == out.indices[i];
    const int64_t row = static_cast<int64_t>(i);
    if (in_sum) {
      CopyElements(sum->values, static_cast<int64_t>(a) * size, size, &out.values, row * size);
      if (in_g) AddRow(g.values, static_cast<int64_t>(b), size, &out.values, row);
    } else {
      CopyElements(g.values, static_cast<int64_t>(b) * size, size, &out.values, row * size);
    }
    out.counts[i] = (in_sum ? sum->counts[a++] : 0) + (in_g ? g.counts[b++] : 0);
  }
  *sum = std::move(out);
  return absl::OkStatus();
}

absl::Status DivideRows(Gradient* sum) {
  RETURN_IF_ERROR(MakeWritable(&sum->values));
  const int64_t size = RowSize(sum->values);
  bool known = Dispatch<kTypes>(sum->values.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t i = 0; i < sum->counts.size(); ++i) {
      if (sum->counts[i] > 1) DivideSpan(sum->counts[i], size, sum->values.data<T>() + static_cast<int64_t>(i) * size);
    }
  });
  return known ? absl::OkStatus() : NoSum(sum->values.dtype());
}

}  // namespace sluice
