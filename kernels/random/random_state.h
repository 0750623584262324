// The state behind a random op: its generator, which moves on with every run and lives as long as the session's
// resources.
#ifndef SLUICE_KERNELS_RANDOM_RANDOM_STATE_H_
#define SLUICE_KERNELS_RANDOM_RANDOM_STATE_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/philox.h"
#include "core/kernel/kernel.h"
#include "core/types/resource_handle.h"

namespace sluice {

class RandomState : public Resource {
 public:
  // Both seeds 0: a key from the system, different each time.
  RandomState(int64_t seed, int64_t seed2);
  // The state of a node, made when it is first prepared. Reads the attributes seed and seed2.
  static absl::StatusOr<RefPtr<RandomState>> Of(PrepareContext& p);

  // The generator as it stands, and moves it on by `blocks`.
  Philox4x32 Reserve(uint64_t blocks);
  // For `outputs` numbers of any distribution: 256 blocks each, as TensorFlow does.
  Philox4x32 ReserveOutputs(int64_t outputs) { return Reserve(static_cast<uint64_t>(outputs) * 256); }
  std::string DebugString() const override;

 private:
  mutable absl::Mutex mu_;
  Philox4x32 gen_ ABSL_GUARDED_BY(mu_);
  uint64_t reserved_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_RANDOM_STATE_H_
