// Distinct elements, differences of lists, places of non-zeros.
//
// Rows of elements are compared as strings of bytes. So that numbers compare as numbers, -0 is written as 0 first; a
// row with a NaN equals nothing, itself included.
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The bits of a floating-point type without its sign, and its infinity.
struct FloatBits {
  int words = 0;  // of `bytes` bytes each; 0 for other types
  int bytes = 0;
  uint64_t magnitude = 0, infinity = 0;
};
FloatBits FloatBitsOf(DType t) {
  switch (t) {
    case DType::kHalf:
      return {1, 2, 0x7fff, 0x7c00};
    case DType::kBfloat16:
      return {1, 2, 0x7fff, 0x7f80};
    case DType::kFloat:
      return {1, 4, 0x7fffffff, 0x7f800000};
    case DType::kComplex64:
      return {2, 4, 0x7fffffff, 0x7f800000};
    case DType::kDouble:
      return {1, 8, 0x7fffffffffffffff, 0x7ff0000000000000};
    case DType::kComplex128:
      return {2, 8, 0x7fffffffffffffff, 0x7ff0000000000000};
    default:
      return {};
  }
}

// The rows of a tensor as strings of bytes.
class RowKeys {
 public:
  // `rows` rows of `row` elements that lie one after the other.
  RowKeys(DType t, const void* data, int64_t rows, int64_t row) : rows_(rows) {
    if (t == DType::kString) {
      JoinStrings(static_cast<const std::string*>(data), rows, row);
      return;
    }
    bytes_ = row * ElementSize(t);
    data_ = static_cast<const char*>(data);
    const FloatBits bits = FloatBitsOf(t);
    if (bits.words > 0) Normalize(bits, row * bits.words);
  }
  int64_t size() const { return rows_; }
  absl::string_view operator[](int64_t i) const {
    return joined_.empty() ? absl::string_view(data_ + i * bytes_, bytes_) : absl::string_view(joined_[i]);
  }
  bool EqualsNothing(int64_t i) const { return !nan_.empty() && nan_[i]; }

 private:
  void JoinStrings(const std::string* strings, int64_t rows, int64_t row) {
    joined_.resize(rows);
    for (int64_t i = 0; i < rows * row; ++i) {
      std::string& key = joined_[i / row];
      if (row > 1) absl::StrAppend(&key, strings[i].size(), ":");
      key += strings[i];
    }
  }
  void Normalize(const FloatBits& bits, int64_t words) {
    copy_.assign(data_, rows_ * bytes_);
    nan_.resize(rows_);
    for (int64_t i = 0; i < rows_ * words; ++i) {
      char* at = &copy_[i * bits.bytes];
      uint64_t word = 0;
      std::memcpy(&word, at, bits.bytes);
      const uint64_t magnitude = word & bits.magnitude;
      if (magnitude == 0) std::memset(at, 0, bits.bytes);
      if (magnitude > bits.infinity) nan_[i / words] = true;
    }
    data_ = copy_.data();
  }
  int64_t rows_;
  int64_t bytes_ = 0;
  const char* data_ = nullptr;
  std::string copy_;
  std::vector<bool> nan_;
  std::vector<std::string> joined_;
};

void PutIndex(Tensor* t, int64_t i, int64_t value) {
  if (t->dtype() == DType::kInt32) {
    t->data<int32_t>()[i] = static_cast<int32_t>(value);
  } else {
    t->data<int64_t>()[i] = value;
  }
}

template <class T>
T ReadWord(absl::string_view bytes) {
  T word;
  std::memcpy(&word, bytes.data(), sizeof(word));
  return word;
}

class UniqueKernel : public Kernel {
 public:
  explicit UniqueKernel(bool has_axis) : has_axis_(has_axis) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor& x = c.input(0);
    int axis = 0;
    bool given = false;
    if (has_axis_) {
      ASSIGN_OR_RETURN(const IntList axes, ReadIntVector(c.input(1), "axis"));
      if (axes.size() > 1) return InvalidArgument("axis must be empty or hold one number, found ", axes.size());
      given = !axes.empty();
      if (given) {
        ASSIGN_OR_RETURN(axis, CheckAxis(axes[0], x.rank()));
      }
    }
    if (!given && x.rank() != 1) return InvalidArgument("x must be a vector, found shape ", x.shape().ToString());
    const int64_t n = x.dim(axis), outer = SizeOfDims(x.shape(), 0, axis),
                  inner = SizeOfDims(x.shape(), axis + 1, x.rank());
    Tensor rows = x;  // [n, outer * inner]
    if (outer > 1) {
      ASSIGN_OR_RETURN(rows, c.AllocateTemp(x.dtype(), x.shape()));
      StridedCopy(c, x.dtype(), rows.raw_data(), x.raw_data(),
                  {{n, outer * inner, inner}, {outer, inner, n * inner}, {inner, 1, 1}});
    }
    const RowKeys keys(x.dtype(), rows.raw_data(), n, outer * inner);
    ASSIGN_OR_RETURN(Tensor * idx, c.Allocate(1, Shape({n})));
    std::vector<int64_t> first;  // the row that each distinct one appears in first
    std::vector<int64_t> counts;
    auto find = [&](auto key_of) {
      absl::flat_hash_map<decltype(key_of(0)), int64_t> places;
      places.reserve(std::min<int64_t>(n, 1024));
      for (int64_t i = 0; i < n; ++i) {
        int64_t place = first.size();
        if (!keys.EqualsNothing(i)) place = places.try_emplace(key_of(i), place).first->second;
        if (place == static_cast<int64_t>(first.size())) {
          first.push_back(i);
          counts.push_back(0);
        }
        ++counts[place];
        PutIndex(idx, i, place);
      }
    };
    const int64_t word_bytes = x.dtype() == DType::kString ? 0 : outer * inner * ElementSize(x.dtype());
    if (word_bytes == 4) {
      find([&](int64_t i) { return ReadWord<uint32_t>(keys[i]); });
    } else if (word_bytes == 8) {
      find([&](int64_t i) { return ReadWord<uint64_t>(keys[i]); });
    } else {
      find([&](int64_t i) { return keys[i]; });
    }
    const int64_t distinct = first.size();
    Shape shape = x.shape();
    shape.SetDim(axis, distinct);
    ASSIGN_OR_RETURN(Tensor * y, c.Allocate(0, shape));
    for (int64_t o = 0; o < outer && y->num_elements() > 0; ++o) {
      for (int64_t i = 0; i < distinct; ++i) {
        CopyElements(x.dtype(), ElementAt(*y, (o * distinct + i) * inner), ElementAt(x, (o * n + first[i]) * inner),
                     inner);
      }
    }
    if (c.num_outputs() == 2) return absl::OkStatus();
    ASSIGN_OR_RETURN(Tensor * count, c.Allocate(2, Shape({distinct})));
    for (int64_t i = 0; i < distinct; ++i) PutIndex(count, i, counts[i]);
    return absl::OkStatus();
  }

 private:
  bool has_axis_;
};

class ListDiffKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& x = c.input(0);
    const Tensor& y = c.input(1);
    if (x.rank() != 1 || y.rank() != 1) {
      return InvalidArgument("x and y must be vectors, found shapes ", x.shape().ToString(), " and ",
                             y.shape().ToString());
    }
    const RowKeys x_keys(x.dtype(), x.raw_data(), x.num_elements(), 1),
        y_keys(y.dtype(), y.raw_data(), y.num_elements(), 1);
    absl::flat_hash_set<absl::string_view> in_y;
    for (int64_t i = 0; i < y_keys.size(); ++i) {
      if (!y_keys.EqualsNothing(i)) in_y.insert(y_keys[i]);
    }
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < x_keys.size(); ++i) {
      if (x_keys.EqualsNothing(i) || !in_y.contains(x_keys[i])) kept.push_back(i);
    }
    const Shape shape({static_cast<int64_t>(kept.size())});
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    ASSIGN_OR_RETURN(Tensor * idx, c.Allocate(1, shape));
    for (size_t i = 0; i < kept.size(); ++i) {
      CopyElements(x.dtype(), ElementAt(*out, i), ElementAt(x, kept[i]), 1);
      PutIndex(idx, i, kept[i]);
    }
    return absl::OkStatus();
  }
};

// Whether elements of unit U are zero: no bit of the mask is set.
template <typename U>
struct NonZero {
  U mask;
  bool operator()(U x) const { return (x & mask) != 0; }
};
template <>
struct NonZero<Bytes16> {
  Bytes16 mask;
  bool operator()(Bytes16 x) const { return ((x.low & mask.low) | (x.high & mask.high)) != 0; }
};

class WhereKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const DType t = c.input(0).dtype();
    const FloatBits bits = FloatBitsOf(t);
    const uint64_t all = ~uint64_t{0};
    switch (ElementSize(t)) {
      case 1:
        return Find<uint8_t>(c, {0xff});
      case 2:
        return Find<uint16_t>(c, {static_cast<uint16_t>(bits.words ? bits.magnitude : all)});
      case 4:
        return Find<uint32_t>(c, {static_cast<uint32_t>(bits.words ? bits.magnitude : all)});
      case 8: {
        const uint64_t mask = bits.words == 2   ? bits.magnitude << 32 | bits.magnitude
                              : bits.words == 1 ? bits.magnitude
                                                : all;
        return Find<uint64_t>(c, {mask});
      }
      default:
        return Find<Bytes16>(c, {{bits.magnitude, bits.magnitude}});
    }
  }

 private:
  template <typename U>
  static absl::Status Find(KernelContext& c, NonZero<U> is_set) {
    const Tensor& in = c.input(0);
    const U* x = in.data<U>();
    const int64_t n = in.num_elements(), rank = in.rank();
    int64_t count = 0;
    for (int64_t i = 0; i < n; ++i) count += is_set(x[i]);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape({count, rank})));
    int64_t* to = out->data<int64_t>();
    if (count == 0 || rank == 0) return absl::OkStatus();
    IntList at(rank, 0);
    const int64_t columns = in.dim(static_cast<int>(rank) - 1);
    for (int64_t row = 0; row < n; row += columns) {
      for (int64_t j = 0; j < columns; ++j) {
        if (!is_set(x[row + j])) continue;
        for (int64_t d = 0; d + 1 < rank; ++d) to[d] = at[d];
        to[rank - 1] = j;
        to += rank;
      }
      for (int64_t d = rank - 2; d >= 0 && ++at[d] == in.dim(static_cast<int>(d)); --d) at[d] = 0;
    }
    return absl::OkStatus();
  }
};

KernelDef Unique(bool has_axis) {
  return KernelDef().Types("T", kPlainTypes | DTypeSet{DType::kString}).Factory([has_axis](const NodeInfo&) {
    return std::make_unique<UniqueKernel>(has_axis);
  });
}

}  // namespace

void AddUniqueKernels(KernelRegistry& k) {
  k.Add("Unique", kCpu, Unique(false));
  k.Add("UniqueV2", kCpu, Unique(true));
  k.Add("UniqueWithCounts", kCpu, Unique(false));
  k.Add("UniqueWithCountsV2", kCpu, Unique(true));
  k.Add("ListDiff", kCpu, KernelDef().Types("T", kPlainTypes | DTypeSet{DType::kString}).Make<ListDiffKernel>());
  k.Add("Where", kCpu, KernelDef().Make<WhereKernel>());
}

}  // namespace sluice
