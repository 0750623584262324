// The largest, the n-th, and the place of an element.
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/order_keys.h"
#include "kernels/array/topics.h"
#include "kernels/string/fingerprint.h"

namespace sluice {
namespace {

struct Candidate {
  int64_t key;
  int32_t column;
  // The larger key first; of equal keys the lower column.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.key != b.key ? a.key > b.key : a.column < b.column;
  }
};

// The k first candidates of a row in order. Keeps at most 2k of them: what does not beat the k-th so far is dropped at
// once.
void SelectTop(const int64_t* keys, int64_t n, int64_t k, std::vector<Candidate>* top) {
  top->clear();
  int64_t threshold = INT64_MIN;  // keys above it may be among the first k
  bool full = false;
  for (int64_t i = 0; i < n; ++i) {
    if (full && keys[i] <= threshold) continue;
    top->push_back({keys[i], static_cast<int32_t>(i)});
    if (static_cast<int64_t>(top->size()) == 2 * k) {
      std::nth_element(top->begin(), top->begin() + (k - 1), top->end());
      threshold = (*top)[k - 1].key;
      full = true;
      top->resize(k);
    }
  }
  std::partial_sort(top->begin(), top->begin() + k, top->end());
  top->resize(k);
}

// All columns in the order of candidates, by distributing keys of 32 bits three times over 2048 places (a radix sort
// from the lowest digit; stable, so columns of equal keys stay in order).
class RadixSorter {
 public:
  // The columns of `n` keys, each of which fits into int32 or is the key of a NaN.
  const std::vector<uint64_t>& Sort(const int64_t* keys, int64_t n) {
    items_.resize(n);
    other_.resize(n);
    std::vector<uint32_t> count(3 * kPlaces, 0);
    for (int64_t i = 0; i < n; ++i) {
      const auto key = static_cast<int32_t>(std::min<int64_t>(keys[i], INT32_MAX));
      // Larger keys first.
      const uint32_t digits = ~(static_cast<uint32_t>(key) ^ 0x80000000u);
      items_[i] = static_cast<uint64_t>(digits) << 32 | static_cast<uint64_t>(i);
      for (int d = 0; d < 3; ++d) ++count[d * kPlaces + (digits >> (kBits * d)) % kPlaces];
    }
    for (int d = 0; d < 3; ++d) {
      uint32_t* places = &count[d * kPlaces];
      uint32_t begin = 0;
      bool all_equal = false;
      for (int p = 0; p < kPlaces; ++p) {
        all_equal |= places[p] == n;
        begin += std::exchange(places[p], begin);
      }
      if (all_equal) continue;
      for (uint64_t item : items_) other_[places[(item >> (32 + kBits * d)) % kPlaces]++] = item;
      items_.swap(other_);
    }
    return items_;
  }

 private:
  static constexpr int kBits = 11, kPlaces = 1 << kBits;
  std::vector<uint64_t> items_, other_;  // the digits, then the column
};

// The k first of n are cheaper to pick out one by one while they are few.
bool WorthSorting(DType t, int64_t n, int64_t k) {
  const bool narrow = t != DType::kDouble && t != DType::kInt64 && t != DType::kUint64 && t != DType::kUint32;
  return narrow && n >= 512 && k >= n / 16 && n < (int64_t{1} << 31);
}

class TopKKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    if (p.num_inputs() == 1) {
      ASSIGN_OR_RETURN(k_, p.Attr<int64_t>("k"));
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    int64_t k = k_;
    if (c.num_inputs() > 1) {
      ASSIGN_OR_RETURN(k, ReadIntScalar(c.input(1), "k"));
    }
    if (k < 0) return InvalidArgument("k must be non-negative, found ", k);
    if (in.rank() < 1) return InvalidArgument("the input must have a dimension, found a scalar");
    const int64_t columns = in.dim(in.rank() - 1);
    if (columns < k) return InvalidArgument("input ", in.shape().ToString(), " must have at least k = ", k, " columns");
    if (columns > INT32_MAX) return InvalidArgument("rows of ", columns, " elements have columns beyond int32");
    Shape shape = in.shape();
    shape.SetDim(in.rank() - 1, k);
    ASSIGN_OR_RETURN(Tensor * values, c.Allocate(0, shape));
    ASSIGN_OR_RETURN(Tensor * indices, c.Allocate(1, shape));
    if (shape.num_elements() == 0) return absl::OkStatus();
    const int64_t rows = shape.num_elements() / k, size = ElementSize(in.dtype());
    c.ParallelFor(rows, 50 + 2.0 * columns, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> keys(columns);
      std::vector<Candidate> top;
      RadixSorter sorter;
      for (int64_t r = begin; r < end; ++r) {
        const char* row = ElementAt(in, r * columns);
        OrderKeys(in.dtype(), row, columns, keys.data());
        if (WorthSorting(in.dtype(), columns, k)) {
          const std::vector<uint64_t>& sorted = sorter.Sort(keys.data(), columns);
          for (int64_t i = 0; i < k; ++i) {
            const auto column = static_cast<int32_t>(sorted[i]);
            indices->data<int32_t>()[r * k + i] = column;
            std::memcpy(ElementAt(*values, r * k + i), row + column * size, size);
          }
          continue;
        }
        if (k == 1) {
          const int64_t best = std::max_element(keys.begin(), keys.end()) - keys.begin();
          top.assign(1, {keys[best], static_cast<int32_t>(best)});
        } else {
          SelectTop(keys.data(), columns, k, &top);
        }
        for (int64_t i = 0; i < k; ++i) {
          indices->data<int32_t>()[r * k + i] = top[i].column;
          std::memcpy(ElementAt(*values, r * k + i), row + top[i].column * size, size);
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  int64_t k_ = 0;
};

class InTopKKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    if (p.num_inputs() == 2) {
      ASSIGN_OR_RETURN(k_, p.Attr<int64_t>("k"));
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& predictions = c.input(0);
    const Tensor& targets = c.input(1);
    int64_t k = k_;
    if (c.num_inputs() > 2) {
      ASSIGN_OR_RETURN(k, ReadIntScalar(c.input(2), "k"));
    }
    if (predictions.rank() != 2 || targets.rank() != 1 || predictions.dim(0) != targets.dim(0)) {
      return InvalidArgument("predictions ", predictions.shape().ToString(),
                             " must be a matrix with a row for each of the targets ", targets.shape().ToString());
    }
    const int64_t rows = predictions.dim(0), classes = predictions.dim(1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, targets.shape()));
    c.ParallelFor(rows, 5 + classes, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        out->data<bool>()[r] = IsAmongTop(predictions.data<float>() + r * classes, classes, targets.IntAt(r), k);
      }
    });
    return absl::OkStatus();
  }

 private:
  // False when a prediction is not finite: then the order says nothing.
  static bool IsAmongTop(const float* row, int64_t classes, int64_t target, int64_t k) {
    if (target < 0 || target >= classes || !std::isfinite(row[target])) return false;
    int64_t larger = 0;
    for (int64_t i = 0; i < classes; ++i) {
      if (!std::isfinite(row[i])) return false;
      larger += row[i] > row[target];
    }
    return larger < k;
  }
  int64_t k_ = 0;
};

class NthElementKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(reverse_, p.Attr<bool>("reverse"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(int64_t n, ReadIntScalar(c.input(1), "n"));
    if (in.rank() < 1) return InvalidArgument("the input must have a dimension, found a scalar");
    const int64_t columns = in.dim(in.rank() - 1);
    if (n < 0 || n >= columns)
      return InvalidArgument("n = ", n, " is not in [0, ", columns, ") for input ", in.shape().ToString());
    if (reverse_) n = columns - 1 - n;
    Shape shape = in.shape();
    shape.RemoveDim(in.rank() - 1);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const int64_t size = ElementSize(in.dtype());
    c.ParallelFor(shape.num_elements(), 50 + 5.0 * columns, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> keys(columns), sorted;
      for (int64_t r = begin; r < end; ++r) {
        const char* row = ElementAt(in, r * columns);
        OrderKeys(in.dtype(), row, columns, keys.data());
        sorted = keys;
        std::nth_element(sorted.begin(), sorted.begin() + n, sorted.end());
        const int64_t at = std::find(keys.begin(), keys.end(), sorted[n]) - keys.begin();
        std::memcpy(ElementAt(*out, r), row + at * size, size);
      }
    });
    return absl::OkStatus();
  }

 private:
  bool reverse_ = false;
};

template <bool kUpper>
class BoundKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& sorted = c.input(0);
    const Tensor& values = c.input(1);
    if (sorted.rank() != 2 || values.rank() != 2 || sorted.dim(0) != values.dim(0)) {
      return InvalidArgument("sorted_inputs and values must be matrices of as many rows, found shapes ",
                             sorted.shape().ToString(), " and ", values.shape().ToString());
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, values.shape()));
    const int64_t n = sorted.dim(1), m = values.dim(1);
    if (out->dtype() == DType::kInt32 && n > INT32_MAX)
      return InvalidArgument("places beyond int32; ask for out_type int64");
    c.ParallelFor(sorted.dim(0), 50.0 + n + 20.0 * m, [&](int64_t begin, int64_t end) {
      std::vector<int64_t> keys(n), wanted(m);
      for (int64_t r = begin; r < end; ++r) {
        OrderKeys(sorted.dtype(), ElementAt(sorted, r * n), n, keys.data());
        OrderKeys(values.dtype(), ElementAt(values, r * m), m, wanted.data());
        for (int64_t i = 0; i < m; ++i) {
          const auto at = kUpper ? std::upper_bound(keys.begin(), keys.end(), wanted[i])
                                 : std::lower_bound(keys.begin(), keys.end(), wanted[i]);
          const int64_t place = at - keys.begin();
          if (out->dtype() == DType::kInt32) {
            out->data<int32_t>()[r * m + i] = static_cast<int32_t>(place);
          } else {
            out->data<int64_t>()[r * m + i] = place;
          }
        }
      }
    });
    return absl::OkStatus();
  }
};

// Eight bytes for each slice along dimension 0: the fingerprint of its bytes, or of its strings' fingerprints.
class FingerprintKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& data = c.input(0);
    if (data.rank() < 1) return InvalidArgument("data must have a dimension, found a scalar");
    if (c.input(1).rank() != 0 || c.input(1).scalar<std::string>() != "farmhash64") {
      return InvalidArgument("method must be the scalar 'farmhash64', found ", c.input(1).ToString());
    }
    const int64_t rows = data.dim(0), row = SizeOfDims(data.shape(), 1, data.rank());
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({rows, 8})));
    c.ParallelFor(rows, 20.0 + row, [&](int64_t begin, int64_t end) {
      std::vector<uint64_t> of_strings(row);
      for (int64_t r = begin; r < end; ++r) {
        absl::string_view bytes(ElementAt(data, r * row), row * ElementSize(data.dtype()));
        if (data.dtype() == DType::kString && data.rank() == 1) {
          bytes = data.data<std::string>()[r];
        } else if (data.dtype() == DType::kString) {
          for (int64_t i = 0; i < row; ++i) of_strings[i] = Fingerprint64(data.data<std::string>()[r * row + i]);
          bytes = absl::string_view(reinterpret_cast<const char*>(of_strings.data()), row * sizeof(uint64_t));
        }
        const uint64_t fingerprint = Fingerprint64(bytes);
        for (int i = 0; i < 8; ++i) out->data<uint8_t>()[r * 8 + i] = static_cast<uint8_t>(fingerprint >> (8 * i));
      }
    });
    return absl::OkStatus();
  }
};

}  // namespace

void AddSelectionKernels(KernelRegistry& k) {
  k.Add("TopK", kCpu, KernelDef().Types("T", kRealTypes).Make<TopKKernel>());
  k.Add("TopKV2", kCpu, KernelDef().Types("T", kRealTypes).Make<TopKKernel>());
  k.Add("InTopK", kCpu, KernelDef().Make<InTopKKernel>());
  k.Add("InTopKV2", kCpu, KernelDef().Make<InTopKKernel>());
  k.Add("NthElement", kCpu, KernelDef().Types("T", kRealTypes).Make<NthElementKernel>());
  k.Add("LowerBound", kCpu, KernelDef().Types("T", kRealTypes).Make<BoundKernel<false>>());
  k.Add("Fingerprint", kCpu, KernelDef().Types("T", kPlainTypes | DTypeSet{DType::kString}).Make<FingerprintKernel>());
  k.Add("UpperBound", kCpu, KernelDef().Types("T", kRealTypes).Make<BoundKernel<true>>());
}

}  // namespace sluice
