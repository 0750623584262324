// Slices dealt out to several tensors by index, and put together again.
#include "core/base/status.h"
#include "kernels/array/coordinates.h"
#include "kernels/array/elements.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

class DynamicPartitionKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& data = c.input(0);
    const Tensor& partitions = c.input(1);
    const int parts = c.num_outputs(), k = partitions.rank();
    bool fits = data.rank() >= k;
    for (int i = 0; fits && i < k; ++i) fits = data.dim(i) == partitions.dim(i);
    if (!fits) {
      return InvalidArgument("the shape of data ", data.shape().ToString(), " must begin with that of partitions ",
                             partitions.shape().ToString());
    }
    RETURN_IF_ERROR(CheckIndices(partitions, parts, "partitions"));
    const int32_t* to = partitions.data<int32_t>();
    const int64_t n = partitions.num_elements(), row = SizeOfDims(data.shape(), k, data.rank());
    IntList counts(parts, 0);
    for (int64_t i = 0; i < n; ++i) ++counts[to[i]];
    for (int p = 0; p < parts; ++p) {
      Shape shape({counts[p]});
      for (int i = k; i < data.rank(); ++i) shape.AddDim(data.dim(i));
      RETURN_IF_ERROR(c.Allocate(p, shape).status());
    }
    if (row == 0) return absl::OkStatus();
    DispatchUnit(data.dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      absl::InlinedVector<U*, 8> ends(parts);
      for (int p = 0; p < parts; ++p) ends[p] = c.output(p)->data<U>();
      const U* from = data.data<U>();
      for (int64_t i = 0; i < n; ++i, from += row) {
        CopyRun(ends[to[i]], from, row);
        ends[to[i]] += row;
      }
    });
    return absl::OkStatus();
  }
};

class DynamicStitchKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const int n = c.num_inputs() / 2;
    int64_t largest = -1, places = 0;
    Shape row;
    for (int i = 0; i < n; ++i) {
      const Tensor& indices = c.input(i);
      const Tensor& data = c.input(n + i);
      bool fits = data.rank() >= indices.rank();
      for (int d = 0; fits && d < indices.rank(); ++d) fits = data.dim(d) == indices.dim(d);
      if (!fits) {
        return InvalidArgument("the shape of data[", i, "] ", data.shape().ToString(),
                               " must begin with that of indices[", i, "] ", indices.shape().ToString());
      }
      const Shape rest(data.shape().dims().subspan(indices.rank()));
      if (i == 0) row = rest;
      if (rest != row) {
        return InvalidArgument("the slices of data[", i, "] have shape ", rest.ToString(), ", those of data[0] ",
                               row.ToString());
      }
      RETURN_IF_ERROR(CheckIndices(indices, int64_t{1} << 31, absl::StrCat("indices[", i, "]")));
      for (int32_t v : indices.flat<int32_t>()) largest = std::max<int64_t>(largest, v);
      places += indices.num_elements();
    }
    IntList sizes(row.dims().begin(), row.dims().end());
    sizes.insert(sizes.begin(), largest + 1);
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    if (MayHaveGaps(c, n, largest + 1, places)) ZeroTensor(c, out);
    DispatchUnit(out->dtype(), [&](auto tag) {
      using U = typename decltype(tag)::type;
      const int64_t run = row.num_elements();
      for (int i = 0; i < n; ++i) {
        const U* from = c.input(n + i).data<U>();
        for (int32_t at : c.input(i).flat<int32_t>()) {
          CopyRun(out->data<U>() + at * run, from, run);
          from += run;
        }
      }
    });
    return absl::OkStatus();
  }

 private:
  static bool MayHaveGaps(const KernelContext& c, int n, int64_t size, int64_t places) {
    if (places < size) return true;
    std::vector<bool> seen(size, false);
    int64_t count = 0;
    for (int i = 0; i < n; ++i) {
      for (int32_t at : c.input(i).flat<int32_t>()) {
        count += !seen[at];
        seen[at] = true;
      }
    }
    return count < size;
  }
};

}  // namespace

void AddPartitionKernels(KernelRegistry& k) {
  k.Add("DynamicPartition", kCpu, KernelDef().Make<DynamicPartitionKernel>());
  k.Add("DynamicStitch", kCpu, KernelDef().Make<DynamicStitchKernel>());
  k.Add("ParallelDynamicStitch", kCpu, KernelDef().Make<DynamicStitchKernel>());
}

}  // namespace sluice
