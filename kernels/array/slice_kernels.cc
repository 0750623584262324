// Boxes and strided boxes of a tensor. What lies together in memory is taken as a view.
#include "core/base/status.h"
#include "core/op/slice_spec.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// What a plan with known sizes takes from a tensor with strides `of`: the first element and the walk, `packed` the
// other side's.
struct Walk {
  int64_t start = 0;
  IntList strides;
};
Walk WalkOf(const SlicePlan& plan, const Shape& shape) {
  Walk w;
  w.strides = RowMajorStrides(shape);
  for (int i = 0; i < shape.rank(); ++i) {
    w.start += plan.dims[i].begin * w.strides[i];
    w.strides[i] *= plan.dims[i].stride;
  }
  return w;
}

// Output 0 becomes what the plan takes of the input, in the shape `out_shape`.
absl::Status TakeSlice(KernelContext& c, const Tensor& in, const SlicePlan& plan, const Shape& out_shape) {
  const Shape taken = plan.TakenShape().ToShape();
  if (taken.num_elements() > 0) {
    const Walk w = WalkOf(plan, in.shape());
    const IntList packed = RowMajorStrides(taken);
    CopyDims dims;
    for (int i = 0; i < taken.rank(); ++i) dims.push_back({taken.dim(i), packed[i], w.strides[i]});
    if (IsOneRun(dims) && MayViewAt(in, w.start)) {
      // As elements in one dimension, so that the run can be cut out.
      c.SetOutput(0, in.WithShape(Shape({in.num_elements()}))
                         .SliceRows(w.start, w.start + taken.num_elements())
                         .WithShape(out_shape));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, out_shape));
    StridedCopy(c, in.dtype(), out->raw_data(), ElementAt(in, w.start), dims);
    return absl::OkStatus();
  }
  return c.Allocate(0, out_shape).status();
}

class SliceKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    const Tensor& begin = c.input(1);
    const Tensor& size = c.input(2);
    if (begin.rank() != 1 || size.rank() != 1 || begin.num_elements() != in.rank() ||
        size.num_elements() != in.rank()) {
      return InvalidArgument("begin and size must be vectors of ", in.rank(), " entries, found shapes ",
                             begin.shape().ToString(), " and ", size.shape().ToString(), " for an input of shape ",
                             in.shape().ToString());
    }
    SlicePlan plan;
    for (int i = 0; i < in.rank(); ++i) {
      const int64_t b = begin.IntAt(i), dim = in.dim(i);
      int64_t s = size.IntAt(i);
      if (b < 0 || b > dim) return InvalidArgument("begin[", i, "] = ", b, " is not in [0, ", dim, "]");
      if (s == -1) s = dim - b;
      if (s < 0 || s > dim - b)
        return InvalidArgument("size[", i, "] = ", s, " is not in [0, ", dim - b, "] after begin ", b);
      plan.dims.push_back({b, 1, s});
    }
    return TakeSlice(c, in, plan, plan.TakenShape().ToShape());
  }
};

class StridedSliceBase : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(masks_.begin_mask, p.Attr<int64_t>("begin_mask"));
    ASSIGN_OR_RETURN(masks_.end_mask, p.Attr<int64_t>("end_mask"));
    ASSIGN_OR_RETURN(masks_.ellipsis_mask, p.Attr<int64_t>("ellipsis_mask"));
    ASSIGN_OR_RETURN(masks_.new_axis_mask, p.Attr<int64_t>("new_axis_mask"));
    ASSIGN_OR_RETURN(masks_.shrink_axis_mask, p.Attr<int64_t>("shrink_axis_mask"));
    return absl::OkStatus();
  }

 protected:
  // The plan for a tensor of shape `shape`, with begin, end and strides from inputs 1, 2 and 3.
  absl::StatusOr<SlicePlan> Plan(const KernelContext& c, const Shape& shape) const {
    SliceSpec spec = masks_;
    std::vector<int64_t>* const lists[] = {&spec.begin, &spec.end, &spec.strides};
    const char* const names[] = {"begin", "end", "strides"};
    for (int i = 0; i < 3; ++i) {
      ASSIGN_OR_RETURN(const IntList ints, ReadIntVector(c.input(i + 1), names[i]));
      lists[i]->assign(ints.begin(), ints.end());
      // The least number means "unknown" to the plan; its neighbour is as far out of range.
      for (int64_t& v : *lists[i]) v = std::max(v, SliceSpec::kUnknown + 1);
    }
    return PlanSlice(shape, spec);
  }
  SliceSpec masks_;
};

class StridedSliceKernel : public StridedSliceBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const SlicePlan plan, Plan(c, in.shape()));
    const PartialShape out = plan.OutputShape();
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(out.dims()));
    return TakeSlice(c, in, plan, shape);
  }
};

// Writes `value` of the plan's output shape, or one that broadcasts to it, where the plan takes from `target`.
absl::Status PutSlice(const KernelContext& c, const SlicePlan& plan, const Tensor& value, bool broadcast,
                      Tensor* target) {
  const Shape taken = plan.TakenShape().ToShape(), wanted = plan.OutputShape().ToShape();
  const Shape& found = value.shape();
  const int shift = wanted.rank() - found.rank();
  bool fits = broadcast ? shift >= 0 : wanted == found;
  for (int i = 0; broadcast && fits && i < found.rank(); ++i)
    fits = found.dim(i) == 1 || found.dim(i) == wanted.dim(i + shift);
  if (!fits) return InvalidArgument("the slice has shape ", wanted.ToString(), ", the value ", found.ToString());
  if (taken.num_elements() == 0) return absl::OkStatus();
  const Walk w = WalkOf(plan, target->shape());
  const IntList value_strides = RowMajorStrides(found);
  // Strides of the value for each input dimension; dimensions that were dropped have size 1.
  IntList from(taken.rank(), 0);
  for (int i = 0; i < wanted.rank(); ++i) {
    if (plan.outputs[i] != SlicePlan::kNewAxis && i >= shift && found.dim(i - shift) != 1) {
      from[plan.outputs[i]] = value_strides[i - shift];
    }
  }
  CopyDims dims;
  for (int i = 0; i < taken.rank(); ++i) dims.push_back({taken.dim(i), w.strides[i], from[i]});
  StridedCopy(c, target->dtype(), ElementAt(*target, w.start), value.raw_data(), dims);
  return absl::OkStatus();
}

class StridedSliceGradKernel : public StridedSliceBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList sizes, ReadIntVector(c.input(0), "shape"));
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(const SlicePlan plan, Plan(c, shape));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (!plan.TakesEverything(shape)) ZeroTensor(c, out);
    return PutSlice(c, plan, c.input(4), false, out);
  }
};

class StridedSliceUpdateKernel : public StridedSliceBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const SlicePlan plan, Plan(c, in.shape()));
    const Tensor value = c.input(4);
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, in.shape()));
    if (out->raw_data() != in.raw_data()) CopyElements(in.dtype(), out->raw_data(), in.raw_data(), in.num_elements());
    return PutSlice(c, plan, value, true, out);
  }
};

}  // namespace

void AddSliceKernels(KernelRegistry& k) {
  k.Add("Slice", kCpu, KernelDef().Make<SliceKernel>());
  k.Add("StridedSlice", kCpu, KernelDef().Make<StridedSliceKernel>());
  k.Add("StridedSliceGrad", kCpu, KernelDef().Make<StridedSliceGradKernel>());
  k.Add("TensorStridedSliceUpdate", kCpu, KernelDef().Make<StridedSliceUpdateKernel>());
}

}  // namespace sluice
