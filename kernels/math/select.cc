// Choosing between tensors by a condition. Loops depend on the size of elements alone.
#include <cstring>

#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/common/with_simd.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

struct Bytes16 {
  uint64_t a, b;
};
using Loop = void (*)(const bool* condition, int64_t cs, const void* t, int64_t ts, const void* e, int64_t es,
                      void* out, int64_t n);

template <class T>
void SelectLoop(const bool* condition, int64_t cs, const void* tp, int64_t ts, const void* ep, int64_t es, void* outp,
                int64_t n) {
  const T *t = static_cast<const T*>(tp), *e = static_cast<const T*>(ep);
  T* out = static_cast<T*>(outp);
  if (cs == 1 && ts == 1 && es == 1) {
    if constexpr (std::is_integral_v<T>) {
      // A mask of the width of T, which compilers make vectors of.
      const auto* c = reinterpret_cast<const uint8_t*>(condition);
      WithSimd([=]() SLUICE_INLINE_LOOP {
#pragma GCC ivdep
        for (int64_t i = 0; i < n; ++i) {
          const T mask = static_cast<T>(-static_cast<T>(c[i]));
          out[i] = static_cast<T>((t[i] & mask) | (e[i] & static_cast<T>(~mask)));
        }
      });
    } else {
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) {
        const T a = t[i], b = e[i];
        out[i] = condition[i] ? a : b;
      }
    }
    return;
  }
  for (int64_t i = 0; i < n; ++i) out[i] = condition[i * cs] ? t[i * ts] : e[i * es];
}

Loop LoopFor(DType dtype) {
  if (dtype == DType::kString) return &SelectLoop<std::string>;
  if (dtype == DType::kResource) return &SelectLoop<ResourceHandle>;
  if (dtype == DType::kVariant) return &SelectLoop<Variant>;
  switch (ElementSize(dtype)) {
    case 1:
      return &SelectLoop<uint8_t>;
    case 2:
      return &SelectLoop<uint16_t>;
    case 4:
      return &SelectLoop<uint32_t>;
    case 8:
      return &SelectLoop<uint64_t>;
    case 16:
      return &SelectLoop<Bytes16>;
    default:
      return nullptr;
  }
}

class SelectBase : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    bytes_ = ElementSize(p.input_type(1));
    loop_ = LoopFor(p.input_type(1));
    return loop_ == nullptr ? Unimplemented("no choice between tensors of ", DTypeName(p.input_type(1)))
                            : absl::OkStatus();
  }

 protected:
  absl::Status RunPlan(KernelContext& c, const BroadcastPlan& plan, const Shape& shape) const {
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    const int64_t n = shape.num_elements();
    if (n == 0) return absl::OkStatus();
    const bool* condition = c.input(0).data<bool>();
    const char *t = static_cast<const char*>(c.input(1).raw_data()),
               *e = static_cast<const char*>(c.input(2).raw_data());
    char* z = static_cast<char*>(out->raw_data());
    c.ParallelFor(
        n, 0.5 + 5.0 / static_cast<double>(plan.run()),
        [&](int64_t begin, int64_t end) {
          plan.ForEachRun(begin, end, [&](const int64_t* offset, int64_t at, int64_t count) {
            loop_(condition + offset[0], plan.step(0), t + offset[1] * bytes_, plan.step(1), e + offset[2] * bytes_,
                  plan.step(2), z + at * bytes_, count);
          });
        },
        64);
    return absl::OkStatus();
  }

  int64_t bytes_ = 0;
  Loop loop_ = nullptr;
};

class SelectV2Kernel : public SelectBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(BroadcastPlan plan,
                     BroadcastPlan::Make({&c.input(0).shape(), &c.input(1).shape(), &c.input(2).shape()}));
    return RunPlan(c, plan, plan.output());
  }
};

class SelectKernel : public SelectBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Shape condition = c.input(0).shape(), shape = c.input(1).shape();
    if (c.input(2).shape() != shape) {
      return InvalidArgument("t and e must have one shape, found ", shape.ToString(), " and ",
                             c.input(2).shape().ToString());
    }
    Shape spread = condition;
    if (condition.rank() == 1 && shape.rank() != 1) {
      // One element for each row.
      if (shape.rank() == 0 || shape.dim(0) != condition.dim(0)) return Mismatch(condition, shape);
      for (int i = 1; i < shape.rank(); ++i) spread.AddDim(1);
    } else if (condition.rank() != 0 && condition != shape) {
      return Mismatch(condition, shape);
    }
    ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&spread, &shape, &shape}));
    return RunPlan(c, plan, shape);
  }

 private:
  static absl::Status Mismatch(const Shape& condition, const Shape& shape) {
    return InvalidArgument(
        "the condition must be a scalar, a vector of the number of rows, or have the shape of the tensors ",
        shape.ToString(), ", found ", condition.ToString());
  }
};

}  // namespace

void AddSelectKernels(KernelRegistry& k) {
  k.Add("Select", kCpu, KernelDef().Types("T", kAllTypes).Make<SelectKernel>());
  k.Add("SelectV2", kCpu, KernelDef().Types("T", kAllTypes).Make<SelectV2Kernel>());
}

}  // namespace sluice
