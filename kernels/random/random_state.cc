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

// Both seeds 0 ask for a key of its own.
Philox4x32 MakeGenerator(int64_t seed, int64_t seed2) {
  if (seed == 0 && seed2 == 0) return Philox4x32(SystemSeed(), SystemSeed());
  return Philox4x32(static_cast<uint64_t>(seed), static_cast<uint64_t>(seed2));
}

}  // namespace

RandomState::RandomState(int64_t seed, int64_t seed2) : gen_(MakeGenerator(seed, seed2)) {}

absl::StatusOr<RefPtr<RandomState>> RandomState::Of(PrepareContext& p) {
  ASSIGN_OR_RETURN(const int64_t seed, p.Attr<int64_t>("seed"));
  ASSIGN_OR_RETURN(const int64_t seed2, p.Attr<int64_t>("seed2"));
  if (p.resources == nullptr) return MakeRef<RandomState>(seed, seed2);
  const std::string name = absl::StrCat("_random/", p.node().name, "/", seed, "/", seed2);
  // Where several sessions share a store, each has its states in a container of its own.
  const absl::StatusOr<std::string> scope = p.Attr<std::string>("_random_scope");
  return p.resources->FindOrMake<RandomState>(
      scope.ok() ? absl::string_view(*scope) : absl::string_view(ResourceStore::kDefaultContainer), name,
      [&]() -> absl::StatusOr<RefPtr<RandomState>> { return MakeRef<RandomState>(seed, seed2); });
}

Philox4x32 RandomState::Reserve(uint64_t blocks) {
  absl::MutexLock lock(&mu_);
  const Philox4x32 now = gen_;
  gen_.Skip(blocks);
  reserved_ += blocks;
  return now;
}

std::string RandomState::DebugString() const {
  absl::MutexLock lock(&mu_);
  return absl::StrCat("random state at block ", reserved_);
}

}  // namespace sluice
