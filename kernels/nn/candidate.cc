// Candidate samplers and ComputeAccidentalHits.
//
// How many blocks of random numbers an op has drawn is a resource of its session, named for the node, so plans that
// share the node go on where the last one stopped.
#include <atomic>
#include <cfloat>
#include <cmath>
#include <random>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "core/base/philox.h"
#include "core/base/status.h"
#include "core/kernel/kernel_registry.h"
#include "kernels/nn/nn_kernels.h"

namespace sluice {
namespace {

constexpr int64_t kMaxSamples = int64_t{1} << 30;
constexpr uint64_t kBlocksPerSample = 512;  // set aside for each candidate; rejection rarely needs as many
constexpr int64_t kTriesBetweenChecks = 1 << 20;

class DrawnBlocks : public Resource {
 public:
  explicit DrawnBlocks(uint64_t seed, uint64_t seed2) : seed(seed), seed2(seed2) {}
  std::string DebugString() const override { return "state of a candidate sampler"; }
  const uint64_t seed, seed2;
  std::atomic<uint64_t> blocks{0};
};

// Numbers one by one from the blocks of a generator.
class Draws {
 public:
  explicit Draws(Philox4x32 generator) : generator_(generator) {}
  uint32_t Next32() {
    if (used_ == 4) {
      block_ = generator_.Next();
      used_ = 0;
    }
    return block_[used_++];
  }
  uint64_t Next64() {
    const uint64_t low = Next32();
    return low | uint64_t{Next32()} << 32;
  }
  // In [0, 1), of 52 bits.
  double NextDouble() {
    const uint64_t high = Next32() & 0xfffff;
    return std::ldexp(static_cast<double>(high << 32 | Next32()), -52);
  }
  // In [0, n), without bias.
  uint64_t Below(uint64_t n) {
    if ((n & (n - 1)) == 0) return Next64() & (n - 1);
    const uint64_t rest = ~uint64_t{0} % n + 1;
    uint64_t x;
    do {
      x = Next64();
    } while (x > ~uint64_t{0} - rest);
    return x % n;
  }

 private:
  Philox4x32 generator_;
  std::array<uint32_t, 4> block_ = {};
  int used_ = 4;
};

class CandidateSamplerKernel : public Kernel {
 public:
  explicit CandidateSamplerKernel(bool log_uniform) : log_uniform_(log_uniform) {}

  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(num_true_, p.Attr<int64_t>("num_true"));
    ASSIGN_OR_RETURN(num_sampled_, p.Attr<int64_t>("num_sampled"));
    ASSIGN_OR_RETURN(unique_, p.Attr<bool>("unique"));
    ASSIGN_OR_RETURN(range_, p.Attr<int64_t>("range_max"));
    ASSIGN_OR_RETURN(int64_t seed, p.Attr<int64_t>("seed"));
    ASSIGN_OR_RETURN(int64_t seed2, p.Attr<int64_t>("seed2"));
    if (num_sampled_ < 1 || num_sampled_ > kMaxSamples || range_ < 1 || (unique_ && num_sampled_ > range_)) {
      return InvalidArgument("num_sampled=", num_sampled_, " and range_max=", range_, ", wanted 1 to ", kMaxSamples,
                             " samples, and no more than the range when they are unique");
    }
    auto make = [&]() -> absl::StatusOr<RefPtr<DrawnBlocks>> {
      if (seed != 0 || seed2 != 0) return MakeRef<DrawnBlocks>(seed, seed2);
      std::random_device entropy;
      return MakeRef<DrawnBlocks>(uint64_t{entropy()} << 32 | entropy(), uint64_t{entropy()} << 32 | entropy());
    };
    if (p.resources == nullptr) {
      ASSIGN_OR_RETURN(drawn_, make());
    } else {
      ASSIGN_OR_RETURN(drawn_, p.resources->FindOrMake<DrawnBlocks>("_candidate_samplers", p.node().name, make));
    }
    log_range_ = std::log1p(static_cast<double>(range_));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& classes = c.input(0);
    if (classes.rank() != 2 || classes.dim(1) != num_true_) {
      return InvalidArgument("true_classes is ", classes.shape().ToString(), ", wanted [batch,", num_true_, "]");
    }
    ASSIGN_OR_RETURN(Tensor * sampled, c.Allocate(0, Shape({num_sampled_})));
    ASSIGN_OR_RETURN(Tensor * true_counts, c.Allocate(1, classes.shape()));
    ASSIGN_OR_RETURN(Tensor * sampled_counts, c.Allocate(2, Shape({num_sampled_})));
    const uint64_t blocks = kBlocksPerSample * static_cast<uint64_t>(num_sampled_);
    Philox4x32 generator(drawn_->seed, drawn_->seed2);
    generator.Skip(drawn_->blocks.fetch_add(blocks));
    Draws draws(generator);
    ASSIGN_OR_RETURN(int64_t tries, Draw(c, draws, sampled->data<int64_t>()));
    for (int64_t i = 0; i < num_sampled_; ++i)
      sampled_counts->data<float>()[i] = Expected(sampled->data<int64_t>()[i], tries);
    for (int64_t i = 0; i < classes.num_elements(); ++i) {
      true_counts->data<float>()[i] = Expected(classes.data<int64_t>()[i], tries);
    }
    return absl::OkStatus();
  }

 private:
  int64_t DrawOne(Draws& draws) const {
    if (!log_uniform_) return static_cast<int64_t>(draws.Below(static_cast<uint64_t>(range_)));
    return (static_cast<int64_t>(std::exp(draws.NextDouble() * log_range_)) - 1) % range_;
  }
  double Probability(int64_t k) const {
    if (!log_uniform_) return 1.0 / static_cast<double>(range_);
    return std::log((static_cast<double>(k) + 2) / (static_cast<double>(k) + 1)) / log_range_;
  }
  // How often a class is expected among the candidates, after so many draws.
  float Expected(int64_t k, int64_t tries) const {
    if (k < 0 || k >= range_) return 0;
    const double p = Probability(k);
    if (!unique_) return static_cast<float>(p * static_cast<double>(num_sampled_));
    return static_cast<float>(-std::expm1(static_cast<double>(tries) * std::log1p(-p)));
  }
  absl::StatusOr<int64_t> Draw(KernelContext& c, Draws& draws, int64_t* sampled) const {
    if (!unique_) {
      for (int64_t i = 0; i < num_sampled_; ++i) sampled[i] = DrawOne(draws);
      return num_sampled_;
    }
    absl::flat_hash_set<int64_t> seen;
    int64_t tries = 0;
    for (int64_t i = 0; i < num_sampled_; ++tries) {
      if (tries % kTriesBetweenChecks == 0 && c.cancellation() != nullptr && c.cancellation()->cancelled()) {
        return c.cancellation()->status();
      }
      const int64_t k = DrawOne(draws);
      if (seen.insert(k).second) sampled[i++] = k;
    }
    return tries;
  }

  const bool log_uniform_;
  int64_t num_true_ = 0, num_sampled_ = 0, range_ = 0;
  bool unique_ = false;
  double log_range_ = 0;
  RefPtr<DrawnBlocks> drawn_;
};

class AccidentalHitsKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(num_true_, p.Attr<int64_t>("num_true"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor &classes = c.input(0), &sampled = c.input(1);
    if (classes.rank() != 2 || classes.dim(1) != num_true_ || sampled.rank() != 1) {
      return InvalidArgument("true_classes is ", classes.shape().ToString(), " and sampled_candidates is ",
                             sampled.shape().ToString(), ", wanted [batch,", num_true_, "] and a vector");
    }
    absl::flat_hash_map<int64_t, int64_t> position;
    for (int64_t i = 0; i < sampled.num_elements(); ++i) position[sampled.data<int64_t>()[i]] = i;
    std::vector<std::pair<int32_t, int64_t>> hits;
    for (int64_t i = 0; i < classes.num_elements(); ++i) {
      const auto found = position.find(classes.data<int64_t>()[i]);
      if (found != position.end()) hits.emplace_back(static_cast<int32_t>(i / num_true_), found->second);
    }
    const Shape shape({static_cast<int64_t>(hits.size())});
    ASSIGN_OR_RETURN(Tensor * indices, c.Allocate(0, shape));
    ASSIGN_OR_RETURN(Tensor * ids, c.Allocate(1, shape));
    ASSIGN_OR_RETURN(Tensor * weights, c.Allocate(2, shape));
    for (size_t i = 0; i < hits.size(); ++i) {
      indices->data<int32_t>()[i] = hits[i].first;
      ids->data<int64_t>()[i] = hits[i].second;
      weights->data<float>()[i] = -FLT_MAX;
    }
    return absl::OkStatus();
  }

 private:
  int64_t num_true_ = 0;
};

}  // namespace

void AddCandidatesCpu(KernelRegistry& k) {
  k.Add("UniformCandidateSampler", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<CandidateSamplerKernel>(false); }));
  k.Add("LogUniformCandidateSampler", kCpu,
        KernelDef().Factory([](const NodeInfo&) { return std::make_unique<CandidateSamplerKernel>(true); }));
  k.Add("ComputeAccidentalHits", kCpu, KernelDef().Make<AccidentalHitsKernel>());
}

}  // namespace sluice
