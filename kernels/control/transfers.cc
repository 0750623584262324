// The two halves of an edge between devices.
#include <memory>

#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "kernels/control/control_kernels.h"

namespace sluice {
namespace {

absl::StatusOr<Rendezvous::Key> KeyOf(const PrepareContext& p) {
  ASSIGN_OR_RETURN(std::string edge, p.Attr<std::string>("tensor_name"));
  ASSIGN_OR_RETURN(std::string from, p.Attr<std::string>("send_device"));
  ASSIGN_OR_RETURN(std::string to, p.Attr<std::string>("recv_device"));
  ASSIGN_OR_RETURN(int64_t incarnation, p.Attr<int64_t>("send_device_incarnation"));
  return Rendezvous::MakeKey(from, static_cast<uint64_t>(incarnation), to, edge);
}

class SendKernel final : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(key_, KeyOf(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (c.rendezvous() == nullptr) return Internal("there is no rendezvous for this step");
    ASSIGN_OR_RETURN(Tensor value, c.TakeInput(0));
    return c.rendezvous()->Send(key_, {std::move(value), false});
  }

 private:
  Rendezvous::Key key_;
};

class RecvKernel final : public AsyncKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(key_, KeyOf(p));
    ASSIGN_OR_RETURN(shape_, p.Attr<PartialShape>("shape"));
    return absl::OkStatus();
  }
  void Start(KernelContext& c, Done done) const override {
    if (c.rendezvous() == nullptr) return done(Internal("there is no rendezvous for this step"));
    using Received = SharedFunction<void(absl::StatusOr<Rendezvous::Value>)>;
    c.rendezvous()->RecvAsync(
        key_, Received::ExactlyOnce([this, &c, done = std::move(done)](absl::StatusOr<Rendezvous::Value> value) {
          if (!value.ok()) return done(Annotate(value.status(), absl::StrCat("waiting for ", key_, ": ")));
          if (value->tensor.dtype() != BaseType(c.node().output_types[0])) {
            return done(InvalidArgument("received ", DTypeName(value->tensor.dtype()), ", wanted ",
                                        DTypeName(c.node().output_types[0])));
          }
          // Kernels and memory were prepared for this shape; another task may send anything.
          if (!shape_.IsCompatibleWith(value->tensor.shape())) {
            return done(InvalidArgument("received ", value->tensor.shape().ToString(), ", wanted ", shape_.ToString()));
          }
          c.SetOutput(0, std::move(value->tensor));
          done(absl::OkStatus());
        }));
  }

 private:
  Rendezvous::Key key_;
  PartialShape shape_;
};

}  // namespace

void AddTransferKernelsCpu(KernelRegistry& k) {
  for (const char* op : {"_Send", "_HostSend"}) k.Add(op, kCpu, KernelDef().Make<SendKernel>());
  for (const char* op : {"_Recv", "_HostRecv"}) k.Add(op, kCpu, KernelDef().Make<RecvKernel>());
}

}  // namespace sluice
