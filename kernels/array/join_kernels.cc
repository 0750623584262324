// Tensors put together along an axis.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The values are inputs [first_, first_ + n); the axis is the one input that is left.
class ConcatKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const ArgRange range, p.InputRange("values"));
    first_ = range.begin;
    axis_input_ = first_ == 0 ? range.end : 0;
    end_ = range.end;
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const int64_t axis_value, ReadIntScalar(c.input(axis_input_), "the axis", true));
    const Shape& first = c.input(first_).shape();
    if (first.rank() == 0) return InvalidArgument("cannot concatenate scalars; Pack makes a vector of them");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(axis_value, first.rank()));
    int64_t total = 0;
    for (int i = first_; i < end_; ++i) {
      const Shape& s = c.input(i).shape();
      bool fits = s.rank() == first.rank();
      for (int d = 0; fits && d < s.rank(); ++d) fits = d == axis || s.dim(d) == first.dim(d);
      if (!fits) {
        return InvalidArgument("value ", i - first_, " of shape ", s.ToString(), " does not fit value 0 of shape ",
                               first.ToString(), ": they may differ in dimension ", axis, " only");
      }
      if (__builtin_add_overflow(total, s.dim(axis), &total)) return InvalidArgument("the result is too large");
    }
    IntList sizes(first.dims().begin(), first.dims().end());
    sizes[axis] = total;
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const int64_t outer = SizeOfDims(shape, 0, axis), inner = SizeOfDims(shape, axis + 1, shape.rank());
    int64_t at = 0;
    for (int i = first_; i < end_; ++i) {
      const Tensor& in = c.input(i);
      const int64_t run = in.dim(axis) * inner;
      StridedCopy(c, in.dtype(), ElementAt(*out, at), in.raw_data(), {{outer, total * inner, run}, {run, 1, 1}});
      at += run;
    }
    return absl::OkStatus();
  }

 private:
  int first_ = 0, end_ = 0, axis_input_ = 0;
};

class ConcatOffsetKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const int64_t dim, ReadIntScalar(c.input(0), "concat_dim"));
    const Tensor& first = c.input(1);
    if (first.rank() != 1) return InvalidArgument("shape must be a vector, found ", first.shape().ToString());
    const int rank = static_cast<int>(first.num_elements());
    ASSIGN_OR_RETURN(const int axis, CheckAxis(dim, rank));
    int64_t at = 0;
    for (int i = 1; i < c.num_inputs(); ++i) {
      const Tensor& shape = c.input(i);
      if (shape.shape() != first.shape()) {
        return InvalidArgument("shape ", i - 1, " has ", shape.num_elements(), " sizes, shape 0 has ", rank);
      }
      for (int d = 0; d < rank; ++d) {
        if (d != axis && shape.IntAt(d) != first.IntAt(d)) {
          return InvalidArgument("shape ", i - 1, " has size ", shape.IntAt(d), " in dimension ", d, ", shape 0 has ",
                                 first.IntAt(d), ": they may differ in dimension ", axis, " only");
        }
      }
      ASSIGN_OR_RETURN(Tensor * out, c.Allocate(i - 1, first.shape()));
      std::fill_n(out->data<int32_t>(), rank, 0);
      if (at > INT32_MAX || at < INT32_MIN) return InvalidArgument("the offset ", at, " does not fit int32");
      out->data<int32_t>()[axis] = static_cast<int32_t>(at);
      at += shape.IntAt(axis);
    }
    return absl::OkStatus();
  }
};

class PackKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(axis_, p.Attr<int64_t>("axis"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Shape& first = c.input(0).shape();
    if (first.rank() >= kMaxRank)
      return InvalidArgument("the values have ", first.rank(), " dimensions, the most there can be");
    ASSIGN_OR_RETURN(const int axis, CheckAxis(axis_, first.rank() + 1));
    const int n = c.num_inputs();
    for (int i = 1; i < n; ++i) {
      if (c.input(i).shape() != first) {
        return InvalidArgument("all values must have one shape; value ", i, " is ", c.input(i).shape().ToString(),
                               ", value 0 ", first.ToString());
      }
    }
    IntList sizes(first.dims().begin(), first.dims().end());
    sizes.insert(sizes.begin() + axis, n);
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    const int64_t outer = SizeOfDims(first, 0, axis), inner = SizeOfDims(first, axis, first.rank());
    for (int i = 0; i < n; ++i) {
      StridedCopy(c, out->dtype(), ElementAt(*out, i * inner), c.input(i).raw_data(),
                  {{outer, n * inner, inner}, {inner, 1, 1}});
    }
    return absl::OkStatus();
  }

 private:
  int64_t axis_ = 0;
};

}  // namespace

void AddJoinKernels(KernelRegistry& k) {
  k.Add("Concat", kCpu, KernelDef().Make<ConcatKernel>());
  k.Add("ConcatV2", kCpu, KernelDef().Make<ConcatKernel>());
  k.Add("ConcatOffset", kCpu, KernelDef().Make<ConcatOffsetKernel>());
  k.Add("Pack", kCpu, KernelDef().Make<PackKernel>());
}

}  // namespace sluice
