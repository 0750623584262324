// RandomShuffle: the rows in a random order (Fisher and Yates, from the front).
#include <cstring>
#include <numeric>

#include "core/base/status.h"
#include "core/types/variant.h"
#include "kernels/random/random_state.h"
#include "kernels/random/stream.h"
#include "kernels/random/topics.h"

namespace sluice {
namespace {

class ShuffleKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(state_, RandomState::Of(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor x = c.input(0);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, x.shape()));
    if (x.num_elements() == 0) return absl::OkStatus();
    const int64_t rows = x.rank() == 0 ? 1 : x.dim(0);
    std::vector<int64_t> order(static_cast<size_t>(rows));
    std::iota(order.begin(), order.end(), 0);
    if (rows > 1 && x.num_elements() > 1) {
      PhiloxStream stream(state_->Reserve(static_cast<uint64_t>((rows - 1 + 3) / 4)));
      for (int64_t i = 0; i + 1 < rows; ++i)
        std::swap(order[i], order[i + stream.Next() % static_cast<uint32_t>(rows - i)]);
    }
    const int64_t inner = x.num_elements() / rows;
    if (IsPlain(x.dtype())) {
      const int64_t bytes = inner * static_cast<int64_t>(ElementSize(x.dtype()));
      for (int64_t i = 0; i < rows; ++i) {
        std::memcpy(static_cast<char*>(out->raw_data()) + i * bytes,
                    static_cast<const char*>(x.raw_data()) + order[i] * bytes, bytes);
      }
      return absl::OkStatus();
    }
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < inner; ++j) {
        const int64_t to = i * inner + j, from = order[i] * inner + j;
        switch (x.dtype()) {
          case DType::kString:
            out->data<std::string>()[to] = x.data<std::string>()[from];
            break;
          case DType::kResource:
            out->data<ResourceHandle>()[to] = x.data<ResourceHandle>()[from];
            break;
          case DType::kVariant:
            out->data<Variant>()[to] = x.data<Variant>()[from];
            break;
          default:
            return Unimplemented("no shuffle of ", DTypeName(x.dtype()));
        }
      }
    }
    return absl::OkStatus();
  }

 private:
  RefPtr<RandomState> state_;
};

}  // namespace

void AddShuffleKernels(KernelRegistry& k) { k.Add("RandomShuffle", kCpu, KernelDef().Make<ShuffleKernel>()); }

}  // namespace sluice
