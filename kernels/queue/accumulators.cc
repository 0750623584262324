// Kernels of gradient accumulators.
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "kernels/queue/accumulator.h"
#include "kernels/queue/handle.h"
#include "kernels/queue/queue_kernels.h"

namespace sluice {
namespace {

template <bool kSparse>
class AccumulatorHandleKernel final : public HandleKernel<Accumulator> {
  absl::StatusOr<Accumulator::Options> ReadOptions(PrepareContext& p) const override {
    Accumulator::Options o;
    o.sparse = kSparse;
    ASSIGN_OR_RETURN(o.dtype, p.Attr<DType>("dtype"));
    ASSIGN_OR_RETURN(o.shape, p.Attr<PartialShape>("shape"));
    ASSIGN_OR_RETURN(std::string reduction, p.Attr<std::string>("reduction_type"));
    o.mean = reduction == "MEAN";
    return o;
  }
  void Describe(const Accumulator::Options& o, ResourceHandle* handle) const override {
    handle->type_name = "ConditionalAccumulator";
    handle->dtypes = {o.dtype};
    handle->shapes = {o.shape};
  }
};

absl::StatusOr<RefPtr<Accumulator>> FindAccumulator(const KernelContext& c, bool sparse) {
  ASSIGN_OR_RETURN(RefPtr<Accumulator> a,
                   FindByHandle<Accumulator>(c.input(0), *c.resources(), "a gradient accumulator"));
  if (a->options().sparse != sparse) {
    return InvalidArgument(a->DebugString(), " takes ", sparse ? "dense" : "sparse", " gradients");
  }
  return a;
}

absl::StatusOr<int64_t> ScalarAt(const KernelContext& c, int i, const char* name) {
  if (!c.input(i).shape().IsScalar()) {
    return InvalidArgument(name, " must be a scalar, found shape ", c.input(i).shape().ToString());
  }
  return c.input(i).IntAt(0);
}

template <bool kSparse>
class ApplyKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    if (p.node().attrs.Find("_replica") != nullptr) {
      ASSIGN_OR_RETURN(replica_, p.Attr<int64_t>("_replica"));
      if (replica_ < 0) return InvalidArgument("attribute _replica must not be negative, found ", replica_);
    }
    if (kSparse) {
      ASSIGN_OR_RETURN(known_shape_, p.Attr<bool>("has_known_shape"));
    }
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Accumulator> a, FindAccumulator(c, kSparse));
    ASSIGN_OR_RETURN(int64_t step, ScalarAt(c, 1, "local_step"));
    if (!kSparse) {
      ASSIGN_OR_RETURN(Tensor gradient, c.TakeInput(2));
      return a->Apply(step, replica_, std::move(gradient));
    }
    PartialShape shape;
    const Tensor& given = c.input(4);
    if (known_shape_ && given.num_elements() > 0) {
      if (given.rank() != 1) {
        return InvalidArgument("gradient_shape must be a vector, found shape ", given.shape().ToString());
      }
      ASSIGN_OR_RETURN(shape, PartialShape::Make(given.flat<int64_t>()));
    }
    return a->ApplyRows(step, replica_, c.input(2), c.input(3), shape);
  }

 private:
  int64_t replica_ = Accumulator::kNoReplica;
  bool known_shape_ = false;
};

// The rows of a sum: indices, values and the whole shape (-1 for sizes that nobody knows).
absl::Status SetRows(KernelContext& c, const PartialShape& whole, Gradient g) {
  const int64_t n = static_cast<int64_t>(g.indices.size());
  ASSIGN_OR_RETURN(Tensor * indices, c.Allocate(0, Shape({n})));
  std::copy(g.indices.begin(), g.indices.end(), indices->data<int64_t>());
  ASSIGN_OR_RETURN(Tensor * shape, c.Allocate(2, Shape({g.values.rank()})));
  for (int i = 0; i < g.values.rank(); ++i) {
    shape->data<int64_t>()[i] = i > 0 ? g.values.dim(i) : whole.rank() > 0 ? whole.dim(0) : kUnknownDim;
  }
  c.SetOutput(1, std::move(g.values));
  return absl::OkStatus();
}

template <bool kSparse>
class TakeKernel final : public AsyncKernel {
 public:
  void Start(KernelContext& c, Done done) const override {
    absl::StatusOr<RefPtr<Accumulator>> found = FindAccumulator(c, kSparse);
    if (!found.ok()) return done(found.status());
    Accumulator* a = found->get();
    if (a->options().dtype != c.node().output_types[kSparse ? 1 : 0]) {
      return done(InvalidArgument(a->DebugString(), " does not have the type that is to be taken"));
    }
    auto deliver = [&c, a](Gradient g) -> absl::Status {
      if (kSparse) return SetRows(c, a->options().shape, std::move(g));
      c.SetOutput(0, std::move(g.values));
      return absl::OkStatus();
    };
    const Tensor& required = c.input(1);
    if (required.rank() > 1) {
      return done(InvalidArgument("num_required must be a number or a vector of replicas, found shape ",
                                  required.shape().ToString()));
    }
    if (required.rank() == 0) return a->Take(required.IntAt(0), c.cancellation(), std::move(deliver), std::move(done));
    std::vector<int64_t> replicas;
    for (int64_t i = 0; i < required.num_elements(); ++i) replicas.push_back(required.IntAt(i));
    a->Take(std::move(replicas), c.cancellation(), std::move(deliver), std::move(done));
  }
};

class NumAccumulatedKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Accumulator> a,
                     FindByHandle<Accumulator>(c.input(0), *c.resources(), "a gradient accumulator"));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    out->scalar<int32_t>() = static_cast<int32_t>(a->num_accumulated());
    return absl::OkStatus();
  }
};

class SetGlobalStepKernel final : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(RefPtr<Accumulator> a,
                     FindByHandle<Accumulator>(c.input(0), *c.resources(), "a gradient accumulator"));
    ASSIGN_OR_RETURN(int64_t step, ScalarAt(c, 1, "new_global_step"));
    return a->SetGlobalStep(step);
  }
};

}  // namespace

void AddAccumulatorKernelsCpu(KernelRegistry& k) {
  for (const char* prefix : {"", "Resource"}) {
    auto add = [&](const char* op, KernelDef def) { k.Add(absl::StrCat(prefix, op), kCpu, std::move(def)); };
    add("ConditionalAccumulator", KernelDef().Make<AccumulatorHandleKernel<false>>());
    add("AccumulatorApplyGradient", KernelDef().Types("dtype", kArithmeticTypes).Make<ApplyKernel<false>>());
    add("AccumulatorTakeGradient", KernelDef().Types("dtype", kArithmeticTypes).Make<TakeKernel<false>>());
    add("AccumulatorNumAccumulated", KernelDef().Make<NumAccumulatedKernel>());
    add("AccumulatorSetGlobalStep", KernelDef().Make<SetGlobalStepKernel>());
  }
  k.Add("SparseConditionalAccumulator", kCpu, KernelDef().Make<AccumulatorHandleKernel<true>>());
  k.Add("SparseAccumulatorApplyGradient", kCpu, KernelDef().Types("dtype", kArithmeticTypes).Make<ApplyKernel<true>>());
  k.Add("SparseAccumulatorTakeGradient", kCpu, KernelDef().Types("dtype", kArithmeticTypes).Make<TakeKernel<true>>());
}

}  // namespace sluice
