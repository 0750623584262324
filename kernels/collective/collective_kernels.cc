#include "kernels/collective/collective_kernels.h"

#include <utility>

#include "core/base/status.h"
#include "core/kernel/collectives.h"
#include "core/kernel/kernel.h"

namespace sluice {
namespace {

class CollectiveKernel : public AsyncKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(request_.group_size, p.Attr<int64_t>("group_size"));
    ASSIGN_OR_RETURN(request_.group_key, p.Attr<int64_t>("group_key"));
    ASSIGN_OR_RETURN(request_.instance_key, p.Attr<int64_t>("instance_key"));
    if (request_.group_size < 1) return InvalidArgument("group_size is ", request_.group_size);
    request_.device = p.device->name();
    request_.node = absl::StrCat(p.node().op->name, " '", p.node().name, "'");
    request_.dtype = p.output_type(0);
    return PrepareKind(p);
  }

  void Start(KernelContext& c, Done done) const override {
    CollectiveRequest request = request_;
    request.step_id = c.step_id();
    request.cancellation = c.cancellation();
    absl::Status ready = Bind(c, &request);
    if (!ready.ok()) return done(ready);
    absl::StatusOr<RefPtr<Collectives>> collectives = Collectives::Of(*c.resources());
    if (!collectives.ok()) return done(collectives.status());
    (*collectives)->Start(std::move(request), std::move(done));
  }

 protected:
  virtual absl::Status PrepareKind(PrepareContext& p) = 0;
  // Sets shape, input and output.
  virtual absl::Status Bind(KernelContext& c, CollectiveRequest* request) const = 0;

  CollectiveRequest request_;
};

class ReduceKernel final : public CollectiveKernel {
  absl::Status PrepareKind(PrepareContext& p) override {
    request_.kind = CollectiveKind::kReduce;
    ASSIGN_OR_RETURN(std::string merge, p.Attr<std::string>("merge_op"));
    ASSIGN_OR_RETURN(std::string final_op, p.Attr<std::string>("final_op"));
    request_.merge = merge == "Add"   ? MergeOp::kAdd
                     : merge == "Mul" ? MergeOp::kMul
                     : merge == "Max" ? MergeOp::kMax
                                      : MergeOp::kMin;
    if (IsComplex(request_.dtype) && (request_.merge == MergeOp::kMax || request_.merge == MergeOp::kMin)) {
      return InvalidArgument("complex numbers have no ", merge);
    }
    request_.divide = final_op == "Div";
    return absl::OkStatus();
  }
  absl::Status Bind(KernelContext& c, CollectiveRequest* request) const override {
    request->shape = c.input(0).shape();
    request->input = c.input(0).raw_data();
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, request->shape));
    request->output = out->raw_data();
    return absl::OkStatus();
  }
};

class GatherKernel final : public CollectiveKernel {
  absl::Status PrepareKind(PrepareContext& p) override {
    request_.kind = CollectiveKind::kGather;
    ASSIGN_OR_RETURN(wanted_, p.Attr<PartialShape>("shape"));
    return absl::OkStatus();
  }
  absl::Status Bind(KernelContext& c, CollectiveRequest* request) const override {
    const Tensor& in = c.input(0);
    if (in.rank() == 0) return InvalidArgument("a scalar cannot be gathered along dimension 0");
    request->shape = in.shape();
    request->input = in.raw_data();
    Shape all = in.shape();
    all.SetDim(0, all.dim(0) * request->group_size);
    if (!wanted_.IsCompatibleWith(all)) {
      return InvalidArgument("shape is ", wanted_.ToString(), ", and ", request->group_size, " inputs of ",
                             in.shape().ToString(), " make ", all.ToString());
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, all));
    request->output = out->raw_data();
    return absl::OkStatus();
  }

  PartialShape wanted_;
};

class BroadcastKernel : public CollectiveKernel {
 public:
  explicit BroadcastKernel(bool is_source) { request_.is_source = is_source; }

 private:
  absl::Status PrepareKind(PrepareContext& p) override {
    request_.kind = CollectiveKind::kBroadcast;
    ASSIGN_OR_RETURN(wanted_, p.Attr<PartialShape>("shape"));
    if (!request_.is_source && !wanted_.IsFullyKnown()) {
      return InvalidArgument("shape is ", wanted_.ToString(), "; a receiver must know all of it");
    }
    return absl::OkStatus();
  }
  absl::Status Bind(KernelContext& c, CollectiveRequest* request) const override {
    if (!request_.is_source) {
      request->shape = wanted_.ToShape();
      ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, request->shape));
      request->output = out->raw_data();
      return absl::OkStatus();
    }
    request->shape = c.input(0).shape();
    if (!wanted_.IsCompatibleWith(request->shape)) {
      return InvalidArgument("shape is ", wanted_.ToString(), ", found ", request->shape.ToString());
    }
    request->input = c.input(0).raw_data();
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, request->shape));
    request->output = out->raw_data();
    return absl::OkStatus();
  }

  PartialShape wanted_;
};

}  // namespace

void AddCollectiveKernelsCpu(KernelRegistry& k) {
  k.Add("CollectiveReduce", kCpu, KernelDef().Make<ReduceKernel>());
  k.Add("CollectiveGather", kCpu, KernelDef().Make<GatherKernel>());
  k.Add("CollectiveBcastSend", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<BroadcastKernel>(true); }));
  k.Add("CollectiveBcastRecv", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<BroadcastKernel>(false); }));
}

}  // namespace sluice
