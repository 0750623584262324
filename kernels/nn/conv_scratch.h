// Memory for the time of one convolution, shared with the threads that help: the calling thread's own, which a warm
// step has without asking, up to a size; beyond it a temporary tensor of the device.
#ifndef SLUICE_KERNELS_NN_CONV_SCRATCH_H_
#define SLUICE_KERNELS_NN_CONV_SCRATCH_H_

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"
#include "core/base/status.h"
#include "core/kernel/kernel.h"

namespace sluice {

class ConvScratch {
 public:
  // Aligned to 64 bytes; valid as long as this object, of which a thread has one at a time.
  absl::StatusOr<float*> Get(KernelContext& c, int64_t floats) {
    constexpr int64_t kMostKept = 4 << 20;  // bytes
    struct Free {
      void operator()(float* p) const { std::free(p); }
    };
    thread_local std::unique_ptr<float, Free> kept;
    thread_local int64_t kept_bytes = 0;
    const int64_t bytes = (floats * int64_t{sizeof(float)} + 63) / 64 * 64;
    if (bytes > kMostKept) {
      ASSIGN_OR_RETURN(temporary_, c.AllocateTemp(DType::kFloat, Shape({floats + 16})));
      return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(temporary_.raw_data()) + 63) / 64 * 64);
    }
    if (bytes > kept_bytes) {
      kept.reset(static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(bytes))));
      kept_bytes = kept == nullptr ? 0 : bytes;
      if (kept == nullptr) return ResourceExhausted("no memory for ", bytes, " bytes of a convolution");
    }
    return kept.get();
  }

 private:
  Tensor temporary_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_SCRATCH_H_
