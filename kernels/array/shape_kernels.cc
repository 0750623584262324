// Shapes as tensors, and views under another shape or type.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

absl::Status WriteInts(KernelContext& c, int output, const Shape& shape, absl::Span<const int64_t> values) {
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(output, shape));
  if (out->dtype() == DType::kInt64) {
    std::copy(values.begin(), values.end(), out->data<int64_t>());
    return absl::OkStatus();
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] > INT32_MAX)
      return InvalidArgument("the size ", values[i], " does not fit out_type int32; ask for int64");
    out->data<int32_t>()[i] = static_cast<int32_t>(values[i]);
  }
  return absl::OkStatus();
}

class ShapeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    for (int i = 0; i < c.num_outputs(); ++i) {
      const Shape& s = c.input(i).shape();
      RETURN_IF_ERROR(WriteInts(c, i, Shape({s.rank()}), s.dims()));
    }
    return absl::OkStatus();
  }
};

class SizeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return WriteInts(c, 0, Shape(), {c.input(0).num_elements()}); }
};

class RankKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return WriteInts(c, 0, Shape(), {c.input(0).rank()}); }
};

class ReshapeKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(IntList sizes, ReadIntVector(c.input(1), "shape"));
    int inferred = -1;
    int64_t known = 1;
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] == -1) {
        if (inferred >= 0) return InvalidArgument("only one size may be -1, found two: ", inferred, " and ", i);
        inferred = static_cast<int>(i);
        continue;
      }
      if (sizes[i] < 0) return InvalidArgument("size ", i, " of the shape is ", sizes[i], ", it must not be negative");
      if (__builtin_mul_overflow(known, sizes[i], &known)) return InvalidArgument("the shape has too many elements");
    }
    if (inferred >= 0) {
      // An empty tensor says nothing of the size; the sizes that are not zero do.
      int64_t count = in.num_elements();
      if (known == 0 && count == 0) {
        known = count = 1;
        for (int64_t d : sizes) known *= d > 0 && MultiplyWithoutOverflow(known, d) > 0 ? d : 1;
        for (int64_t d : in.shape().dims()) count = d > 0 && MultiplyWithoutOverflow(count, d) > 0 ? count * d : count;
      } else if (known == 0) {
        return InvalidArgument("cannot infer size ", inferred, " of the shape since another size is zero");
      }
      if (count % known != 0) {
        return InvalidArgument("cannot reshape ", in.shape().ToString(), " with ", in.num_elements(),
                               " elements: not a multiple of ", known);
      }
      sizes[inferred] = count / known;
    }
    ASSIGN_OR_RETURN(Shape shape, Shape::Make(sizes));
    if (shape.num_elements() != in.num_elements()) {
      return InvalidArgument("cannot reshape ", in.shape().ToString(), " with ", in.num_elements(), " elements to ",
                             shape.ToString(), " with ", shape.num_elements());
    }
    c.SetOutput(0, in.WithShape(std::move(shape)));
    return absl::OkStatus();
  }
};

class EnsureShapeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(wanted_, p.Attr<PartialShape>("shape"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (!wanted_.IsCompatibleWith(c.input(0).shape())) {
      return InvalidArgument("the tensor has shape ", c.input(0).shape().ToString(), ", wanted ", wanted_.ToString());
    }
    c.SetOutput(0, c.input(0));
    return absl::OkStatus();
  }

 private:
  PartialShape wanted_;
};

class ExpandDimsKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (c.input(1).num_elements() != 1) {
      return InvalidArgument("dim must have one element, found shape ", c.input(1).shape().ToString());
    }
    if (in.rank() >= kMaxRank)
      return InvalidArgument("the input has ", in.rank(), " dimensions, the most there can be");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(c.input(1).IntAt(0), in.rank() + 1));
    Shape shape = in.shape();
    shape.InsertDim(axis, 1);
    c.SetOutput(0, in.WithShape(std::move(shape)));
    return absl::OkStatus();
  }
};

class SqueezeKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(axes_, p.Attr<std::vector<int64_t>>("squeeze_dims"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    absl::InlinedVector<bool, 8> drop(in.rank(), axes_.empty());
    for (int64_t a : axes_) {
      ASSIGN_OR_RETURN(const int axis, CheckAxis(a, in.rank()));
      if (in.dim(axis) != 1) {
        return InvalidArgument("can not squeeze dim[", axis, "], expected a dimension of 1, found shape ",
                               in.shape().ToString());
      }
      drop[axis] = true;
    }
    Shape shape;
    for (int i = 0; i < in.rank(); ++i) {
      if (!drop[i] || in.dim(i) != 1) shape.AddDim(in.dim(i));
    }
    c.SetOutput(0, in.WithShape(std::move(shape)));
    return absl::OkStatus();
  }

 private:
  std::vector<int64_t> axes_;
};

class BitcastKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    to_ = p.output_type(0);
    from_size_ = ElementSize(p.input_type(0));
    to_size_ = ElementSize(to_);
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    Shape shape = in.shape();
    if (from_size_ > to_size_) {
      if (shape.rank() >= kMaxRank)
        return InvalidArgument("the input has ", shape.rank(), " dimensions, the most there can be");
      IntList sizes(shape.dims().begin(), shape.dims().end());
      sizes.push_back(from_size_ / to_size_);
      ASSIGN_OR_RETURN(shape, Shape::Make(sizes));
    } else if (from_size_ < to_size_) {
      const int64_t ratio = to_size_ / from_size_;
      if (shape.rank() == 0 || shape.dim(shape.rank() - 1) != ratio) {
        return InvalidArgument("cannot bitcast ", shape.ToString(), " from ", DTypeName(in.dtype()), " to ",
                               DTypeName(to_), ": the last dimension must be ", ratio);
      }
      shape.RemoveDim(shape.rank() - 1);
    }
    c.SetOutput(0, in.Bitcast(to_, std::move(shape)));
    return absl::OkStatus();
  }

 private:
  DType to_ = DType::kInvalid;
  int64_t from_size_ = 1, to_size_ = 1;
};

class BroadcastToKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const IntList sizes, ReadIntVector(c.input(1), "shape"));
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    const int shift = shape.rank() - in.rank();
    bool fits = shift >= 0;
    for (int i = 0; fits && i < in.rank(); ++i) fits = in.dim(i) == 1 || in.dim(i) == shape.dim(i + shift);
    if (!fits) return InvalidArgument("cannot broadcast ", in.shape().ToString(), " to ", shape.ToString());
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const IntList to = RowMajorStrides(shape), from = RowMajorStrides(in.shape());
    CopyDims dims;
    for (int i = 0; i < shape.rank(); ++i) {
      const bool repeats = i < shift || in.dim(i - shift) == 1;
      dims.push_back({shape.dim(i), to[i], repeats ? 0 : from[i - shift]});
    }
    StridedCopy(c, in.dtype(), out->raw_data(), in.raw_data(), dims);
    return absl::OkStatus();
  }
};

}  // namespace

void AddShapeKernels(KernelRegistry& k) {
  k.Add("Shape", kCpu, KernelDef().Make<ShapeKernel>());
  k.Add("ShapeN", kCpu, KernelDef().Make<ShapeKernel>());
  k.Add("Size", kCpu, KernelDef().Make<SizeKernel>());
  k.Add("Rank", kCpu, KernelDef().Make<RankKernel>());
  k.Add("Reshape", kCpu, KernelDef().Make<ReshapeKernel>());
  k.Add("EnsureShape", kCpu, KernelDef().Make<EnsureShapeKernel>());
  k.Add("ExpandDims", kCpu, KernelDef().Make<ExpandDimsKernel>());
  k.Add("Squeeze", kCpu, KernelDef().Make<SqueezeKernel>());
  k.Add("Bitcast", kCpu, KernelDef().Make<BitcastKernel>());
  k.Add("BroadcastTo", kCpu, KernelDef().Make<BroadcastToKernel>());
}

}  // namespace sluice
