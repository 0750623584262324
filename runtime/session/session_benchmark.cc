// What a step costs beside its kernels.
//
//   bazel run //runtime/session:session_benchmark
//
//   NullOps/chain, /layers, /independent   10,000 nodes that do nothing; items/s is nodes/s (B01)
//   Step/N                                 y = x + 1 on float[1] with N feeds, one fetch; ns for a step (B03)
#include <benchmark/benchmark.h>

#include <random>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/session/session.h"

namespace sluice {
namespace {

struct World {
  World() : graph(&Ops()) {
    environment.ops = &Ops();
    environment.kernels = &Kernels();
  }
  static OpRegistry& Ops() {
    static OpRegistry* ops = [] {
      auto* r = new OpRegistry;
      DefineControlOps(*r);
      DefineTestOps(*r);
      SLUICE_CHECK(r->Finish().ok());
      return r;
    }();
    return *ops;
  }
  static KernelRegistry& Kernels() {
    static KernelRegistry* kernels = [] {
      auto* r = new KernelRegistry;
      AddControlKernelsCpu(*r);
      AddTestKernels(*r);
      return r;
    }();
    return *kernels;
  }
  void Build(const std::vector<std::string>& lines) {
    absl::Status s = ParseGraphText(absl::StrJoin(lines, "\n"), &graph);
    SLUICE_CHECK(s.ok());
  }
  Environment environment;
  Graph graph;
};

constexpr int kNodes = 10000;

std::vector<std::string> Chain() {
  std::vector<std::string> lines = {"n0 = TestNull()"};
  for (int i = 1; i < kNodes; ++i) lines.push_back(absl::StrCat("n", i, " = TestNull(^n", i - 1, ")"));
  return lines;
}

std::vector<std::string> Layers() {
  std::mt19937 random(1);
  std::vector<std::string> lines;
  for (int layer = 0; layer < 100; ++layer) {
    for (int i = 0; i < 100; ++i) {
      std::string inputs;
      if (layer > 0) {
        int a = (layer - 1) * 100 + static_cast<int>(random() % 100),
            b = (layer - 1) * 100 + static_cast<int>(random() % 100);
        inputs = a == b ? absl::StrCat("^n", a) : absl::StrCat("^n", a, ", ^n", b);
      }
      lines.push_back(absl::StrCat("n", layer * 100 + i, " = TestNull(", inputs, ")"));
    }
  }
  return lines;
}

std::vector<std::string> Independent() {
  std::vector<std::string> lines;
  for (int i = 0; i < kNodes; ++i) lines.push_back(absl::StrCat("n", i, " = TestNull()"));
  return lines;
}

void RunNullOps(benchmark::State& state, const std::vector<std::string>& lines) {
  World w;
  w.Build(lines);
  CallableSpec spec;
  for (int i = 0; i < kNodes; ++i) spec.targets.push_back(absl::StrCat("n", i));
  Session session(w.environment, {}, &w.graph);
  auto callable = *session.MakeCallable(spec);
  std::vector<Tensor> none;
  for (auto _ : state) {
    absl::Status s = session.RunCallable(*callable, {}, &none);
    if (!s.ok()) state.SkipWithError(std::string(s.message()).c_str());
  }
  state.SetItemsProcessed(state.iterations() * kNodes);
}
void NullChain(benchmark::State& state) { RunNullOps(state, Chain()); }
void NullLayers(benchmark::State& state) { RunNullOps(state, Layers()); }
void NullIndependent(benchmark::State& state) { RunNullOps(state, Independent()); }
BENCHMARK(NullChain)->Name("NullOps/chain");
BENCHMARK(NullLayers)->Name("NullOps/layers");
BENCHMARK(NullIndependent)->Name("NullOps/independent");

void StepOverhead(benchmark::State& state) {
  World w;
  const int feeds = static_cast<int>(state.range(0));
  std::vector<std::string> lines = {"one = Const(value=float[1]{1})"}, names;
  CallableSpec spec;
  std::vector<Tensor> xs;
  for (int i = 0; i < feeds; ++i) {
    lines.push_back(absl::StrCat("x", i, " = Placeholder(dtype=float, shape=[1])"));
    names.push_back(absl::StrCat("x", i));
    spec.feeds.push_back(absl::StrCat("x", i, ":0"));
    xs.push_back(Tensor::FromValues<float>(Shape({1}), {1.0f}));
  }
  lines.push_back(feeds == 1 ? "y = TestAdd(x0, one)"
                             : absl::StrCat("y = TestMix(", absl::StrJoin(names, ", "), ", N=", feeds, ")"));
  w.Build(lines);
  spec.fetches = {"y:0"};
  Session session(w.environment, {}, &w.graph);
  auto callable = *session.MakeCallable(spec);
  std::vector<Tensor> y;
  for (auto _ : state) {
    absl::Status s = session.RunCallable(*callable, xs, &y);
    if (!s.ok()) state.SkipWithError(std::string(s.message()).c_str());
  }
}
BENCHMARK(StepOverhead)->Name("Step")->Arg(1)->Arg(10)->Arg(100);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
