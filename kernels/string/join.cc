// Kernels that join strings.
#include <vector>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/op/shape_context.h"
#include "kernels/string/string_kernels.h"

namespace sluice {
namespace {

class StringJoinKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(separator_, p.Attr<std::string>("separator"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    Shape shape;
    bool found = false;
    for (int i = 0; i < c.num_inputs(); ++i) {
      const Shape& s = c.input(i).shape();
      if (s.IsScalar()) continue;
      if (found && s != shape) {
        return InvalidArgument("inputs must be scalars or have one shape, found ", shape.ToString(), " and ",
                               s.ToString());
      }
      shape = s;
      found = true;
    }
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, shape));
    for (int64_t e = 0; e < shape.num_elements(); ++e) {
      std::string& joined = out->data<std::string>()[e];
      joined.clear();
      for (int i = 0; i < c.num_inputs(); ++i) {
        if (i > 0) joined += separator_;
        joined += c.input(i).data<std::string>()[c.input(i).shape().IsScalar() ? 0 : e];
      }
    }
    return absl::OkStatus();
  }

 private:
  std::string separator_;
};

// The axes are joined in the order given: the first one varies fastest.
class ReduceJoinKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(separator_, p.Attr<std::string>("separator"));
    ASSIGN_OR_RETURN(keep_dims_, p.Attr<bool>("keep_dims"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    std::vector<int> axes;
    std::vector<bool> reduced(in.rank(), false);
    for (int64_t i = 0; i < c.input(1).num_elements(); ++i) {
      ASSIGN_OR_RETURN(const int axis, ShapeContext::Axis(c.input(1).IntAt(i), in.rank()));
      if (reduced[axis]) return InvalidArgument("axis ", axis, " is given twice");
      reduced[axis] = true;
      axes.push_back(axis);
    }
    std::vector<int64_t> stride(in.rank(), 1);
    for (int d = in.rank() - 2; d >= 0; --d) stride[d] = stride[d + 1] * in.dim(d + 1);
    Shape shape;
    std::vector<int> kept;
    for (int d = 0; d < in.rank(); ++d) {
      if (!reduced[d]) {
        kept.push_back(d);
        shape.AddDim(in.dim(d));
      } else if (keep_dims_) {
        shape.AddDim(1);
      }
    }
    int64_t joined = 1;
    for (int axis : axes) joined *= in.dim(axis);
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, shape));
    std::vector<absl::string_view> parts(joined);
    for (int64_t e = 0; e < shape.num_elements(); ++e) {
      int64_t base = 0;
      int64_t rest = e;
      for (int k = static_cast<int>(kept.size()) - 1; k >= 0; --k) {
        base += rest % in.dim(kept[k]) * stride[kept[k]];
        rest /= in.dim(kept[k]);
      }
      for (int64_t j = 0; j < joined; ++j) {
        int64_t at = base;
        int64_t r = j;
        for (int axis : axes) {
          at += r % in.dim(axis) * stride[axis];
          r /= in.dim(axis);
        }
        parts[j] = in.data<std::string>()[at];
      }
      out->data<std::string>()[e] = absl::StrJoin(parts, separator_);
    }
    return absl::OkStatus();
  }

 private:
  std::string separator_;
  bool keep_dims_ = false;
};

}  // namespace

void AddStringJoinKernels(KernelRegistry& k) {
  k.Add("StringJoin", kCpu, KernelDef().Make<StringJoinKernel>());
  k.Add("ReduceJoin", kCpu, KernelDef().Make<ReduceJoinKernel>());
}

}  // namespace sluice
