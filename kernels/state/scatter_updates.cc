// Gathers from variables, and updates of some of their rows or slices. Duplicate indices are applied in order, so
// results are repeatable; an index out of range changes nothing.
#include <cstring>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/kernel/variable.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/state/state_kernels.h"

namespace sluice {
namespace {

struct Assign {
  template <typename T>
  static T Of(const T&, const T& u) {
    return u;
  }
};
struct Plus {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return static_cast<T>(x + u);
  }
};
struct Minus {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return static_cast<T>(x - u);
  }
};
struct Times {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return static_cast<T>(x * u);
  }
};
struct Over {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return static_cast<T>(x / u);
  }
};
struct Least {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return u < x ? u : x;
  }
};
struct Most {
  template <typename T>
  static T Of(const T& x, const T& u) {
    return x < u ? u : x;
  }
};

template <typename F>
constexpr uint32_t kTypesOf = kArithmeticTypes.bits();
template <>
constexpr uint32_t kTypesOf<Assign> = kAllTypes.bits();
template <>
constexpr uint32_t kTypesOf<Least> = kRealTypes.bits();
template <>
constexpr uint32_t kTypesOf<Most> = kRealTypes.bits();

// Where each slice begins, in elements; an error names the first index out of range.
absl::Status RowOffsets(const Tensor& indices, int64_t rows, int64_t row_size, std::vector<int64_t>* offsets) {
  offsets->resize(indices.num_elements());
  for (int64_t i = 0; i < indices.num_elements(); ++i) {
    int64_t at = indices.IntAt(i);
    if (at < 0 || at >= rows) return InvalidArgument("indices[", i, "] = ", at, " is not in [0, ", rows, ")");
    (*offsets)[i] = at * row_size;
  }
  return absl::OkStatus();
}

absl::Status NdOffsets(const Tensor& indices, const Shape& shape, int depth, std::vector<int64_t>* offsets) {
  std::vector<int64_t> strides(depth);
  int64_t stride = shape.num_elements();
  if (stride == 0) {
    // No element can be addressed; the strides below would be zero.
    for (int k = 0; k < depth; ++k) strides[k] = 0;
  } else {
    for (int k = 0; k < depth; ++k) strides[k] = stride /= shape.dim(k);
  }
  int64_t count = depth == 0 ? 0 : indices.num_elements() / depth;
  offsets->assign(count, 0);
  for (int64_t i = 0; i < count; ++i) {
    for (int k = 0; k < depth; ++k) {
      int64_t at = indices.IntAt(i * depth + k);
      if (at < 0 || at >= shape.dim(k)) {
        std::vector<int64_t> tuple;
        for (int j = 0; j < depth; ++j) tuple.push_back(indices.IntAt(i * depth + j));
        return InvalidArgument("indices[", i, "] = [", absl::StrJoin(tuple, ","), "] is not in a tensor of shape ",
                               shape.ToString());
      }
      (*offsets)[i] += at * strides[k];
    }
  }
  return absl::OkStatus();
}

// Applies F to the slices at `offsets`, each of `size` elements; `scalar`: one update for all.
template <typename F>
absl::Status Apply(Variable& v, const std::vector<int64_t>& offsets, int64_t size, const Tensor& updates, bool scalar,
                   Allocator* allocator) {
  if (offsets.empty() || size == 0) return absl::OkStatus();
  if constexpr (std::is_same_v<F, Over>) {
    if (IsInteger(updates.dtype())) {
      for (int64_t i = 0; i < updates.num_elements(); ++i) {
        if (updates.IntAt(i) == 0) return InvalidArgument("integer division by zero: updates[", i, "] is 0");
      }
    }
  }
  ASSIGN_OR_RETURN(Tensor * value, v.MutableValue(allocator));
  bool known = Dispatch<kTypesOf<F>>(updates.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* base = value->data<T>();
    const T* u = updates.data<T>();
    for (int64_t offset : offsets) {
      T* row = base + offset;
      for (int64_t k = 0; k < size; ++k) row[k] = F::Of(row[k], scalar ? *u : u[k]);
      if (!scalar) u += size;
    }
  });
  if (!known) return Unimplemented("there is no such update of ", DTypeName(updates.dtype()), " values");
  return absl::OkStatus();
}

absl::Status CheckType(const Variable& v, const Tensor& updates) {
  if (v.dtype() == updates.dtype()) return absl::OkStatus();
  return InvalidArgument("variable ", v.name(), " is ", DTypeName(v.dtype()), ", updates are ",
                         DTypeName(updates.dtype()));
}

template <typename F>
class ScatterKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    const Tensor& indices = c.input(1);
    const Tensor& updates = c.input(2);
    RETURN_IF_ERROR(CheckType(*v, updates));
    VariableLocks lock({v.get()});
    RETURN_IF_ERROR(v->CheckInitialized());
    const Shape& shape = v->value().shape();
    if (shape.rank() < 1) return InvalidArgument("variable ", v->name(), " is a scalar and has no rows");
    Shape wanted = indices.shape();
    for (int i = 1; i < shape.rank(); ++i) wanted.AddDim(shape.dim(i));
    bool scalar = updates.rank() == 0;
    if (!scalar && updates.shape() != wanted) {
      return InvalidArgument("updates must have shape ", wanted.ToString(), " for indices ", indices.shape().ToString(),
                             " and variable ", v->name(), " of shape ", shape.ToString(), ", found ",
                             updates.shape().ToString());
    }
    int64_t row = 1;
    for (int i = 1; i < shape.rank(); ++i) row *= shape.dim(i);
    std::vector<int64_t> offsets;
    RETURN_IF_ERROR(RowOffsets(indices, shape.dim(0), row, &offsets));
    RETURN_IF_ERROR(Apply<F>(*v, offsets, row, updates, scalar, c.device()->allocator()));
    if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }
};

// Splits a variable's shape at the depth of the indices.
absl::StatusOr<int> NdDepth(const Tensor& indices, const Shape& shape) {
  if (indices.rank() < 1) return InvalidArgument("indices must have rank 1 or more");
  int64_t depth = indices.dim(indices.rank() - 1);
  if (depth > shape.rank()) {
    return InvalidArgument("indices of ", depth, " parts address a variable of shape ", shape.ToString());
  }
  return static_cast<int>(depth);
}

template <typename F>
class ScatterNdKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    const Tensor& indices = c.input(1);
    const Tensor& updates = c.input(2);
    RETURN_IF_ERROR(CheckType(*v, updates));
    VariableLocks lock({v.get()});
    RETURN_IF_ERROR(v->CheckInitialized());
    const Shape& shape = v->value().shape();
    ASSIGN_OR_RETURN(int depth, NdDepth(indices, shape));
    Shape wanted(indices.shape().dims().subspan(0, indices.rank() - 1));
    int64_t size = 1;
    for (int i = depth; i < shape.rank(); ++i) {
      wanted.AddDim(shape.dim(i));
      size *= shape.dim(i);
    }
    if (updates.shape() != wanted) {
      return InvalidArgument("updates must have shape ", wanted.ToString(), ", found ", updates.shape().ToString());
    }
    std::vector<int64_t> offsets;
    RETURN_IF_ERROR(NdOffsets(indices, shape, depth, &offsets));
    if (depth == 0)
      offsets.assign(indices.num_elements() == 0 ? wanted.num_elements() / std::max<int64_t>(size, 1) : 0, 0);
    RETURN_IF_ERROR(Apply<F>(*v, offsets, size, updates, false, c.device()->allocator()));
    if (c.num_outputs() > 0) c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }
};

// The value of a variable, whose type must be the one that the node yields.
absl::StatusOr<Tensor> ReadAs(const Variable& v, const KernelContext& c) {
  ASSIGN_OR_RETURN(Tensor value, v.Read());
  if (value.dtype() == c.node().output_types[0]) return value;
  return InvalidArgument("variable ", v.name(), " is ", DTypeName(value.dtype()), ", attribute 'dtype' says ",
                         DTypeName(c.node().output_types[0]));
}

// Copies `size` elements from each offset.
absl::Status CopySlices(const Tensor& from, const std::vector<int64_t>& offsets, int64_t size, Tensor* to) {
  if (IsPlain(from.dtype())) {
    size_t bytes = size * ElementSize(from.dtype());
    for (size_t i = 0; i < offsets.size() && bytes > 0; ++i) {
      std::memcpy(to->data<char>() + i * bytes, from.data<char>() + offsets[i] * ElementSize(from.dtype()), bytes);
    }
    return absl::OkStatus();
  }
  bool known = Dispatch<(kAllTypes - kPlainTypes).bits()>(from.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (size_t i = 0; i < offsets.size(); ++i)
      std::copy_n(from.data<T>() + offsets[i], size, to->data<T>() + i * size);
  });
  return known ? absl::OkStatus() : Unimplemented("cannot gather ", DTypeName(from.dtype()));
}

// Rows of a variable; with batch_dims the leading dimensions of both go along, and rows are those of the next one.
class GatherKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(batch_dims_, p.Attr<int64_t>("batch_dims"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    ASSIGN_OR_RETURN(Tensor value, ReadAs(*v, c));
    const Tensor& indices = c.input(1);
    if (value.rank() < 1) return InvalidArgument("variable ", v->name(), " is a scalar and has no rows");
    if (batch_dims_ < 0 || batch_dims_ >= value.rank() || batch_dims_ > indices.rank()) {
      return InvalidArgument("batch_dims ", batch_dims_, " does not fit indices ", indices.shape().ToString(),
                             " and variable ", v->name(), " ", value.shape().ToString());
    }
    const int batch_dims = static_cast<int>(batch_dims_);
    int64_t batches = 1, row = 1;
    for (int i = 0; i < batch_dims; ++i) {
      if (indices.dim(i) != value.dim(i)) {
        return InvalidArgument("indices ", indices.shape().ToString(), " and variable ", v->name(), " ",
                               value.shape().ToString(), " differ within batch_dims ", batch_dims);
      }
      batches *= value.dim(i);
    }
    Shape shape = indices.shape();
    for (int i = batch_dims + 1; i < value.rank(); ++i) {
      shape.AddDim(value.dim(i));
      row *= value.dim(i);
    }
    std::vector<int64_t> offsets;
    RETURN_IF_ERROR(RowOffsets(indices, value.dim(batch_dims), row, &offsets));
    for (size_t i = 0; i < offsets.size() && batches > 1; ++i) {
      offsets[i] += static_cast<int64_t>(i) / (indices.num_elements() / batches) * value.dim(batch_dims) * row;
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    return CopySlices(value, offsets, row, out);
  }

 private:
  int64_t batch_dims_ = 0;
};

class GatherNdKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Variable> v, FindVariable(c.input(0), *c.resources()));
    ASSIGN_OR_RETURN(Tensor value, ReadAs(*v, c));
    const Tensor& indices = c.input(1);
    ASSIGN_OR_RETURN(int depth, NdDepth(indices, value.shape()));
    Shape shape(indices.shape().dims().subspan(0, indices.rank() - 1));
    int64_t count = shape.num_elements(), size = 1;
    for (int i = depth; i < value.rank(); ++i) {
      shape.AddDim(value.dim(i));
      size *= value.dim(i);
    }
    std::vector<int64_t> offsets;
    RETURN_IF_ERROR(NdOffsets(indices, value.shape(), depth, &offsets));
    if (depth == 0) offsets.assign(count, 0);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    return CopySlices(value, offsets, size, out);
  }
};

}  // namespace

void AddScatterUpdateKernelsCpu(KernelRegistry& k) {
  for (const char* prefix : {"", "Resource"}) {
    auto add = [&](const char* op, KernelDef def) { k.Add(absl::StrCat(prefix, op), kCpu, std::move(def)); };
    add("ScatterUpdate", KernelDef().Make<ScatterKernel<Assign>>());
    add("ScatterAdd", KernelDef().Make<ScatterKernel<Plus>>());
    add("ScatterSub", KernelDef().Make<ScatterKernel<Minus>>());
    add("ScatterMul", KernelDef().Make<ScatterKernel<Times>>());
    add("ScatterDiv", KernelDef().Make<ScatterKernel<Over>>());
    add("ScatterMin", KernelDef().Make<ScatterKernel<Least>>());
    add("ScatterMax", KernelDef().Make<ScatterKernel<Most>>());
    add("ScatterNdUpdate", KernelDef().Make<ScatterNdKernel<Assign>>());
    add("ScatterNdAdd", KernelDef().Make<ScatterNdKernel<Plus>>());
    add("ScatterNdSub", KernelDef().Make<ScatterNdKernel<Minus>>());
  }
  k.Add("ResourceGather", kCpu, KernelDef().Make<GatherKernel>());
  k.Add("ResourceGatherNd", kCpu, KernelDef().Make<GatherNdKernel>());
}

}  // namespace sluice
