// A tensor cut into pieces along an axis; pieces that lie together in memory are views.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// Output i of `c` becomes places [at, at + size) of dimension `axis`; the dimension goes away when `drop`.
absl::Status CutPiece(KernelContext& c, const Tensor& in, int axis, int64_t at, int64_t size, bool drop, int output) {
  Shape shape = in.shape();
  shape.SetDim(axis, size);
  const int64_t outer = SizeOfDims(shape, 0, axis), inner = SizeOfDims(shape, axis + 1, shape.rank());
  if (drop) shape.RemoveDim(axis);
  if (axis == 0 && MayViewAt(in, at * inner)) {
    c.SetOutput(output, in.SliceRows(at, at + size).WithShape(std::move(shape)));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(output, shape));
  if (out->num_elements() == 0) return absl::OkStatus();
  const int64_t run = size * inner;
  StridedCopy(c, in.dtype(), out->raw_data(), ElementAt(in, at * inner),
              {{outer, run, in.dim(axis) * inner}, {run, 1, 1}});
  return absl::OkStatus();
}

class UnpackKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(axis_, p.Attr<int64_t>("axis"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (in.rank() == 0) return InvalidArgument("cannot unpack a scalar");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(axis_, in.rank()));
    if (in.dim(axis) != c.num_outputs()) {
      return InvalidArgument("cannot unpack ", in.shape().ToString(), " along dimension ", axis, " into ",
                             c.num_outputs(), " tensors");
    }
    for (int i = 0; i < c.num_outputs(); ++i) RETURN_IF_ERROR(CutPiece(c, in, axis, i, 1, true, i));
    return absl::OkStatus();
  }

 private:
  int64_t axis_ = 0;
};

class SplitKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(1);
    ASSIGN_OR_RETURN(const int64_t dim, ReadIntScalar(c.input(0), "split_dim", true));
    if (in.rank() == 0) return InvalidArgument("cannot split a scalar");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(dim, in.rank()));
    const int n = c.num_outputs();
    if (in.dim(axis) % n != 0) {
      return InvalidArgument("cannot split ", in.shape().ToString(), " along dimension ", axis, " into ", n,
                             " equal parts");
    }
    const int64_t size = in.dim(axis) / n;
    for (int i = 0; i < n; ++i) RETURN_IF_ERROR(CutPiece(c, in, axis, i * size, size, false, i));
    return absl::OkStatus();
  }
};

class SplitVKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(IntList sizes, ReadIntVector(c.input(1), "size_splits"));
    ASSIGN_OR_RETURN(const int64_t dim, ReadIntScalar(c.input(2), "split_dim", true));
    const int n = c.num_outputs();
    if (static_cast<int>(sizes.size()) != n)
      return InvalidArgument("size_splits has ", sizes.size(), " sizes for ", n, " outputs");
    if (in.rank() == 0) return InvalidArgument("cannot split a scalar");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(dim, in.rank()));
    const int64_t total = in.dim(axis);
    int64_t sum = 0;
    int inferred = -1;
    for (int i = 0; i < n; ++i) {
      if (sizes[i] == -1 && inferred < 0) {
        inferred = i;
        continue;
      }
      if (sizes[i] < 0) return InvalidArgument("size_splits[", i, "] = ", sizes[i], ": only one may be -1, none less");
      if (__builtin_add_overflow(sum, sizes[i], &sum)) return InvalidArgument("size_splits add up to too much");
    }
    if (inferred < 0 ? sum != total : sum > total) {
      return InvalidArgument("size_splits add up to ", sum, ", dimension ", axis, " of ", in.shape().ToString(),
                             " has ", total);
    }
    if (inferred >= 0) sizes[inferred] = total - sum;
    int64_t at = 0;
    for (int i = 0; i < n; ++i) {
      RETURN_IF_ERROR(CutPiece(c, in, axis, at, sizes[i], false, i));
      at += sizes[i];
    }
    return absl::OkStatus();
  }
};

}  // namespace

void AddSplitKernels(KernelRegistry& k) {
  k.Add("Unpack", kCpu, KernelDef().Make<UnpackKernel>());
  k.Add("Split", kCpu, KernelDef().Make<SplitKernel>());
  k.Add("SplitV", kCpu, KernelDef().Make<SplitVKernel>());
}

}  // namespace sluice
