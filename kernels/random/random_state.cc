#include "kernels/random/random_state.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace sluice {
namespace {

uint64_t SystemSeed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

RandomState::RandomState(int64_t seed, int64_t seed2) {
  const bool drawn = seed == 0 && seed2 == 0;
  gen_ = Philox(drawn ? SystemSeed() : static_cast<uint64_t>(seed), drawn ? SystemSeed() : static_cast<uint64_t>(seed2));
}

absl::StatusOr<RefPtr<RandomState>> RandomState::Of(PrepareContext& p) {
  ASSIGN_OR_RETURN(const int64_t seed, p.Attr<int64_t>("seed"));
  ASSIGN_OR_RETURN(const int64_t seed2, p.Attr<int64_t>("seed2"));
  if (p.resources == nullptr) return MakeRef<RandomState>(seed, seed2);
  const std::string name = absl::StrCat("_random/", p.node().name, "/", seed, "/", seed2);
  return p.resources->FindOrMake<RandomState>(ResourceStore::kDefaultContainer, name,
                                              [&]() -> absl::StatusOr<RefPtr<RandomState>> { return MakeRef<RandomState>(seed, seed2); });
}

Philox RandomState::Reserve(uint64_t blocks) {
  absl::MutexLock lock(&mu_);
  const Philox now = gen_;
  gen_.Skip(blocks);
  return now;
}

std::string RandomState::DebugString() const {
  absl::MutexLock lock(&mu_);
  const Philox::Block& at = gen_.counter();
  return absl::StrCat("random state at ", static_cast<uint64_t>(at[1]) << 32 | at[0]);
}

}  // namespace sluice
