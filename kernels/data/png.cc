// DecodePng and EncodePng.
#include <utility>

#include "core/base/status.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"
#include "kernels/data/png_codec.h"

namespace sluice {
namespace {

class DecodePngKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(channels_, p.Attr<int64_t>("channels"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string contents, StringInput(c, 0, "contents"));
    ASSIGN_OR_RETURN(Tensor image,
                     DecodePng(contents, static_cast<int>(channels_), BaseType(c.node().output_types[0])));
    c.SetOutput(0, std::move(image));
    return absl::OkStatus();
  }

 private:
  int64_t channels_ = 0;
};

class EncodePngKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(compression_, p.Attr<int64_t>("compression"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(std::string file, EncodePng(c.input(0), static_cast<int>(compression_)));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    out->scalar<std::string>() = std::move(file);
    return absl::OkStatus();
  }

 private:
  int64_t compression_ = -1;
};

}  // namespace

void AddPngKernels(KernelRegistry& k) {
  k.Add("DecodePng", kCpu, KernelDef().Make<DecodePngKernel>());
  k.Add("EncodePng", kCpu, KernelDef().Make<EncodePngKernel>());
}

}  // namespace sluice
