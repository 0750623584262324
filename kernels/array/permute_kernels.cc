// The same elements in another order: transposes, reversals, rolls.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

template <typename T>
void Conjugate(const KernelContext& c, T* x, int64_t n) {
  c.ParallelFor(n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[i] = std::conj(x[i]);
  });
}

template <bool kConjugate>
class TransposeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(IntList perm, ReadIntVector(c.input(1), "perm"));
    const int rank = in.rank();
    if (static_cast<int>(perm.size()) != rank) {
      return InvalidArgument("perm has ", perm.size(), " entries for x of shape ", in.shape().ToString());
    }
    absl::InlinedVector<bool, 8> seen(rank, false);
    Shape shape;
    for (int i = 0; i < rank; ++i) {
      const int64_t given = perm[i];
      if (given < 0) perm[i] += rank;
      if (perm[i] < 0 || perm[i] >= rank || seen[perm[i]]) {
        return InvalidArgument("perm[", i, "] = ", given, ": perm must hold each of [0, ", rank, ") once");
      }
      seen[perm[i]] = true;
      shape.AddDim(in.dim(perm[i]));
    }
    const IntList to = RowMajorStrides(shape), from = RowMajorStrides(in.shape());
    CopyDims dims;
    for (int i = 0; i < rank; ++i) dims.push_back({shape.dim(i), to[i], from[perm[i]]});
    const bool conjugates = kConjugate && IsComplex(in.dtype());
    if (!conjugates && IsOneRun(dims)) {
      c.SetOutput(0, in.WithShape(std::move(shape)));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    StridedCopy(c, in.dtype(), out->raw_data(), in.raw_data(), dims);
    if (conjugates && in.dtype() == DType::kComplex64) Conjugate(c, out->data<complex64>(), out->num_elements());
    if (conjugates && in.dtype() == DType::kComplex128) Conjugate(c, out->data<complex128>(), out->num_elements());
    return absl::OkStatus();
  }
};

class InvertPermutationKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList perm, ReadIntVector(c.input(0), "x"));
    const int64_t n = perm.size();
    absl::InlinedVector<bool, 8> seen(n, false);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, c.input(0).shape()));
    for (int64_t i = 0; i < n; ++i) {
      if (perm[i] < 0 || perm[i] >= n || seen[perm[i]]) {
        return InvalidArgument("x[", i, "] = ", perm[i], ": x must hold each of [0, ", n, ") once");
      }
      seen[perm[i]] = true;
      if (out->dtype() == DType::kInt32) {
        out->data<int32_t>()[perm[i]] = static_cast<int32_t>(i);
      } else {
        out->data<int64_t>()[perm[i]] = i;
      }
    }
    return absl::OkStatus();
  }
};

absl::Status ReverseAxes(KernelContext& c, absl::Span<const bool> reversed) {
  const Tensor& in = c.input(0);
  const IntList strides = RowMajorStrides(in.shape());
  CopyDims dims;
  int64_t start = 0;
  bool any = false;
  for (int i = 0; i < in.rank(); ++i) {
    const bool reverse = reversed[i] && in.dim(i) > 1;
    any = any || reverse;
    if (reverse) start += (in.dim(i) - 1) * strides[i];
    dims.push_back({in.dim(i), strides[i], reverse ? -strides[i] : strides[i]});
  }
  if (!any || in.num_elements() == 0) {
    c.SetOutput(0, in);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, in.shape()));
  StridedCopy(c, in.dtype(), out->raw_data(), ElementAt(in, start), dims);
  return absl::OkStatus();
}

class ReverseKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& dims = c.input(1);
    if (dims.rank() != 1 || dims.num_elements() != c.input(0).rank()) {
      return InvalidArgument("dims must have an entry for each of the ", c.input(0).rank(), " dimensions, found shape ",
                             dims.shape().ToString());
    }
    return ReverseAxes(c, dims.flat<bool>());
  }
};

class ReverseV2Kernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList axes, ReadIntVector(c.input(1), "axis"));
    absl::InlinedVector<bool, 8> reversed(c.input(0).rank(), false);
    for (int64_t a : axes) {
      ASSIGN_OR_RETURN(const int axis, CheckAxis(a, c.input(0).rank()));
      if (reversed[axis]) return InvalidArgument("axis ", axis, " is given twice");
      reversed[axis] = true;
    }
    return ReverseAxes(c, reversed);
  }
};

class ReverseSequenceKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(seq_dim_, p.Attr<int64_t>("seq_dim"));
    ASSIGN_OR_RETURN(batch_dim_, p.Attr<int64_t>("batch_dim"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const IntList lengths, ReadIntVector(c.input(1), "seq_lengths"));
    const int64_t rank = in.rank();
    if (seq_dim_ < 0 || seq_dim_ >= rank || batch_dim_ < 0 || batch_dim_ >= rank || seq_dim_ == batch_dim_) {
      return InvalidArgument("seq_dim ", seq_dim_, " and batch_dim ", batch_dim_,
                             " must be two dimensions of the input ", in.shape().ToString());
    }
    const int64_t batch = in.dim(batch_dim_), places = in.dim(seq_dim_);
    if (static_cast<int64_t>(lengths.size()) != batch) {
      return InvalidArgument("seq_lengths has ", lengths.size(), " entries for a batch of ", batch);
    }
    for (int64_t b = 0; b < batch; ++b) {
      if (lengths[b] < 0 || lengths[b] > places) {
        return InvalidArgument("seq_lengths[", b, "] = ", lengths[b], " is not in [0, ", places, "]");
      }
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, in.shape()));
    if (out->num_elements() == 0) return absl::OkStatus();
    const IntList strides = RowMajorStrides(in.shape());
    CopyDims dims;
    for (int i = 0; i < rank; ++i) dims.push_back({i == batch_dim_ ? 1 : in.dim(i), strides[i], strides[i]});
    const int64_t step = strides[seq_dim_];
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t base = b * strides[batch_dim_], length = lengths[b];
      if (length > 0) {
        dims[seq_dim_] = {length, step, -step};
        StridedCopy(c, in.dtype(), ElementAt(*out, base), ElementAt(in, base + (length - 1) * step), dims);
      }
      dims[seq_dim_] = {places - length, step, step};
      StridedCopy(c, in.dtype(), ElementAt(*out, base + length * step), ElementAt(in, base + length * step), dims);
    }
    return absl::OkStatus();
  }

 private:
  int64_t seq_dim_ = 0, batch_dim_ = 0;
};

class RollKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (c.input(1).rank() > 1 || c.input(2).rank() > 1)
      return InvalidArgument("shift and axis must be scalars or vectors");
    if (in.rank() < 1) return InvalidArgument("the input must have a dimension");
    const IntList shifts = ReadInts(c.input(1)), axes = ReadInts(c.input(2));
    if (shifts.size() != axes.size()) {
      return InvalidArgument("shift has ", shifts.size(), " entries, axis ", axes.size());
    }
    IntList shift(in.rank(), 0);  // in [0, size)
    for (size_t i = 0; i < axes.size(); ++i) {
      ASSIGN_OR_RETURN(const int axis, CheckAxis(axes[i], in.rank()));
      const int64_t size = std::max<int64_t>(in.dim(axis), 1);
      shift[axis] = ((shift[axis] + shifts[i] % size) % size + size) % size;
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, in.shape()));
    if (out->num_elements() == 0) return absl::OkStatus();
    const IntList strides = RowMajorStrides(in.shape());
    CopyDims dims;
    for (int i = 0; i < in.rank(); ++i) dims.push_back({in.dim(i), strides[i], strides[i]});
    CopyBoxes(c, in, out, strides, shift, 0, 0, 0, &dims);
    return absl::OkStatus();
  }

 private:
  // Each rolled dimension is two boxes: what stays in front of the end, and what comes in at the start.
  void CopyBoxes(const KernelContext& c, const Tensor& in, Tensor* out, const IntList& strides, const IntList& shift,
                 int axis, int64_t from, int64_t to, CopyDims* dims) const {
    while (axis < in.rank() && shift[axis] == 0) ++axis;
    if (axis == in.rank()) {
      StridedCopy(c, in.dtype(), ElementAt(*out, to), ElementAt(in, from), *dims);
      return;
    }
    const int64_t size = in.dim(axis), s = shift[axis];
    (*dims)[axis].size = size - s;
    CopyBoxes(c, in, out, strides, shift, axis + 1, from, to + s * strides[axis], dims);
    (*dims)[axis].size = s;
    CopyBoxes(c, in, out, strides, shift, axis + 1, from + (size - s) * strides[axis], to, dims);
    (*dims)[axis].size = size;
  }
};

}  // namespace

void AddPermuteKernels(KernelRegistry& k) {
  k.Add("Transpose", kCpu, KernelDef().Make<TransposeKernel<false>>());
  k.Add("ConjugateTranspose", kCpu, KernelDef().Make<TransposeKernel<true>>());
  k.Add("InvertPermutation", kCpu, KernelDef().Make<InvertPermutationKernel>());
  k.Add("Reverse", kCpu, KernelDef().Make<ReverseKernel>());
  k.Add("ReverseV2", kCpu, KernelDef().Make<ReverseV2Kernel>());
  k.Add("ReverseSequence", kCpu, KernelDef().Make<ReverseSequenceKernel>());
  k.Add("Roll", kCpu, KernelDef().Make<RollKernel>());
}

}  // namespace sluice
