// A kernel that makes one element from each element of input 0.
//
//   k.Add("StringUpper", kCpu, MapElements<std::string, std::string>([](PrepareContext& p) {
//     return Mapper<std::string, std::string>([](const std::string& in, std::string* out) { ...; return
//     absl::OkStatus(); });
//   }));
#ifndef SLUICE_KERNELS_STRING_MAP_H_
#define SLUICE_KERNELS_STRING_MAP_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "core/base/status.h"
#include "core/kernel/kernel_registry.h"

namespace sluice {

template <typename In, typename Out>
using Mapper = std::function<absl::Status(const In&, Out*)>;

template <typename In, typename Out>
using MakeMapper = std::function<absl::StatusOr<Mapper<In, Out>>(PrepareContext&)>;

// Applies `map` to every element of `in`, in parallel; the first error wins.
template <typename In, typename Out>
absl::Status RunMapper(const Mapper<In, Out>& map, const Tensor& in, Tensor* out, const KernelContext& c) {
  constexpr double kNanosecondsEach = 150;
  absl::Mutex mu;
  absl::Status first;
  c.ParallelFor(in.num_elements(), kNanosecondsEach, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      absl::Status status = map(in.data<In>()[i], out->data<Out>() + i);
      if (ABSL_PREDICT_TRUE(status.ok())) continue;
      absl::MutexLock lock(&mu);
      first.Update(Annotate(status, absl::StrCat("element ", i, ": ")));
      return;
    }
  });
  return first;
}

template <typename In, typename Out>
class MapKernel : public Kernel {
 public:
  explicit MapKernel(MakeMapper<In, Out> make) : make_(std::move(make)) {}
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(map_, make_(p));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, c.input(0).shape()));
    return RunMapper<In, Out>(map_, c.input(0), out, c);
  }

 private:
  const MakeMapper<In, Out> make_;
  Mapper<In, Out> map_;
};

template <typename In, typename Out>
KernelDef MapElements(MakeMapper<In, Out> make) {
  return KernelDef().Factory(
      [make = std::move(make)](const NodeInfo&) { return std::make_unique<MapKernel<In, Out>>(make); });
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_STRING_MAP_H_
