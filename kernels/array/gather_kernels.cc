// Reads by index.
#include "core/base/status.h"
#include "kernels/array/coordinates.h"
#include "kernels/array/elements.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The source is [groups, places, row], the output [groups, count, row]; group g takes indices[g / outer * count ...].
struct GatherPlan {
  int64_t groups, outer, places, count, row;
};

template <typename U, typename I, int64_t kRow>
void GatherRange(const GatherPlan& p, const U* from, const I* indices, U* to, int64_t begin, int64_t end) {
  const int64_t row = kRow > 0 ? kRow : p.row;
  int64_t g = begin / p.count, i = begin % p.count;
  while (begin < end) {
    const I* list = indices + g / p.outer * p.count;
    const U* group = from + g * p.places * row;
    const int64_t stop = std::min(p.count, i + end - begin);
    U* target = to + begin * row;
    begin += stop - i;
    for (; i < stop; ++i, target += row) CopyRun(target, group + static_cast<int64_t>(list[i]) * row, row);
    i = 0;
    ++g;
  }
}

template <typename U>
void GatherRows(const KernelContext& c, const GatherPlan& p, const Tensor& params, const Tensor& indices, Tensor* out) {
  const bool small = indices.dtype() == DType::kInt32;
  const U* from = params.data<U>();
  U* to = out->data<U>();
  c.ParallelFor(p.groups * p.count, 3 + 0.1 * p.row * sizeof(U), [&](int64_t begin, int64_t end) {
    if (small && p.row == 1) {
      GatherRange<U, int32_t, 1>(p, from, indices.data<int32_t>(), to, begin, end);
    } else if (small) {
      GatherRange<U, int32_t, 0>(p, from, indices.data<int32_t>(), to, begin, end);
    } else if (p.row == 1) {
      GatherRange<U, int64_t, 1>(p, from, indices.data<int64_t>(), to, begin, end);
    } else {
      GatherRange<U, int64_t, 0>(p, from, indices.data<int64_t>(), to, begin, end);
    }
  });
}

absl::Status GatherAlong(KernelContext& c, int64_t axis_value, int64_t batch_dims) {
  const Tensor& params = c.input(0);
  const Tensor& indices = c.input(1);
  if (params.rank() < 1) return InvalidArgument("params must have a dimension, found a scalar");
  ASSIGN_OR_RETURN(const int axis, CheckAxis(axis_value, params.rank()));
  if (batch_dims < 0) batch_dims += indices.rank();
  if (batch_dims < 0 || batch_dims > indices.rank() || batch_dims > axis) {
    return InvalidArgument("batch_dims ", batch_dims, " must be at most the rank of indices ",
                           indices.shape().ToString(), " and axis ", axis);
  }
  const int batch = static_cast<int>(batch_dims);
  IntList sizes;
  for (int i = 0; i < axis; ++i) {
    if (i < batch && params.dim(i) != indices.dim(i)) {
      return InvalidArgument("params ", params.shape().ToString(), " and indices ", indices.shape().ToString(),
                             " differ in batch dimension ", i);
    }
    sizes.push_back(params.dim(i));
  }
  for (int i = batch; i < indices.rank(); ++i) sizes.push_back(indices.dim(i));
  for (int i = axis + 1; i < params.rank(); ++i) sizes.push_back(params.dim(i));
  ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
  RETURN_IF_ERROR(CheckIndices(indices, params.dim(axis)));
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
  if (out->num_elements() == 0) return absl::OkStatus();
  GatherPlan p;
  p.outer = SizeOfDims(params.shape(), batch, axis);
  p.groups = SizeOfDims(params.shape(), 0, axis);
  p.places = params.dim(axis);
  p.count = SizeOfDims(indices.shape(), batch, indices.rank());
  p.row = SizeOfDims(params.shape(), axis + 1, params.rank());
  DispatchUnit(params.dtype(), [&](auto tag) { GatherRows<typename decltype(tag)::type>(c, p, params, indices, out); });
  return absl::OkStatus();
}

class GatherKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override { return GatherAlong(c, 0, 0); }
};

class GatherV2Kernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(batch_dims_, p.Attr<int64_t>("batch_dims"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const int64_t axis, ReadIntScalar(c.input(2), "axis", true));
    return GatherAlong(c, axis, batch_dims_);
  }

 private:
  int64_t batch_dims_ = 0;
};

class GatherNdKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& params = c.input(0);
    const Tensor& indices = c.input(1);
    ASSIGN_OR_RETURN(const SliceOffsets slices, FindSlices(indices, params.shape(), "params"));
    IntList sizes(indices.shape().dims().begin(), indices.shape().dims().end() - 1);
    for (int i = static_cast<int>(indices.dim(indices.rank() - 1)); i < params.rank(); ++i)
      sizes.push_back(params.dim(i));
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    const int64_t row = slices.slice_elements;
    DispatchUnit(params.dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      const U* from = params.data<U>();
      U* to = out->data<U>();
      c.ParallelFor(slices.offsets.size(), 3 + 0.1 * row * sizeof(U), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) CopyRun(to + i * row, from + slices.offsets[i], row);
      });
    });
    return absl::OkStatus();
  }
};

}  // namespace

void AddGatherKernels(KernelRegistry& k) {
  k.Add("Gather", kCpu, KernelDef().Make<GatherKernel>());
  k.Add("GatherV2", kCpu, KernelDef().Make<GatherV2Kernel>());
  k.Add("GatherNd", kCpu, KernelDef().Make<GatherNdKernel>());
}

}  // namespace sluice
