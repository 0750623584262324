// What placing and splitting a graph costs. Both should take linear time.
//
//   bazel run //runtime/partition:partition_benchmark
//
//   Place/N, PlaceByCost/N, Split/N     N nodes on four devices: layers of work, constants, control edges across
//   devices,
//                                       colocation groups, and one source that everybody reads; items/s is nodes/s
#include <benchmark/benchmark.h>

#include <random>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/testing/test_ops.h"
#include "kernels/control/control_kernels.h"
#include "ops/control/control_ops.h"
#include "runtime/partition/partition.h"
#include "runtime/placer/placer.h"

namespace sluice {
namespace {

constexpr int kDevices = 4;

struct World {
  World() {
    DefineControlOps(ops);
    DefineTestOps(ops);
    SLUICE_CHECK(ops.Finish().ok());
    AddControlKernelsCpu(kernels);
    AddTestKernels(kernels);
    for (int d = 0; d < kDevices; ++d) {
      devices.push_back(*MakePlacerDevice(absl::StrCat("/job:a/replica:0/task:0/device:CPU:", d)));
    }
    options.kernels = &kernels;
  }
  OpRegistry ops;
  KernelRegistry kernels;
  std::vector<PlacerDevice> devices;
  PlacerOptions options;
};

std::unique_ptr<Graph> Build(const World& world, int nodes, bool devices) {
  std::mt19937 random(1);
  std::vector<std::string> lines = {"n0 = Placeholder(dtype=float, shape=[16,16])"};
  for (int i = 1; i < nodes; ++i) {
    auto before = [&] { return std::max<int>(0, i - 1 - static_cast<int>(random() % 64)); };
    std::string where = devices && i % 10 != 0 ? absl::StrCat(" @/cpu:", (i / 16) % kDevices) : "";
    if (i % 8 == 0) {
      lines.push_back(absl::StrCat("n", i, " = Const(value=float[16,16]{1})", where));
    } else if (i % 8 == 1) {
      lines.push_back(absl::StrCat("n", i, " = TestCount(n", before(), ", ^n", before(), ", ^n", before(), ")", where));
    } else if (i % 10 == 0) {
      lines.push_back(
          absl::StrCat("n", i, " = TestAdd(n", before(), ", n", before(), ", _class=['loc:@n", i - 1, "'])"));
    } else {
      lines.push_back(absl::StrCat("n", i, " = TestAdd(n", before(), ", n0)", where));
    }
  }
  auto graph = std::make_unique<Graph>(&world.ops);
  absl::Status s = ParseGraphText(absl::StrJoin(lines, "\n"), graph.get());
  SLUICE_CHECK(s.ok());
  return graph;
}

std::unique_ptr<Graph> Copy(const Graph& graph) {
  return *graph.Clone([](const Node&) { return true; });
}

void RunPlace(benchmark::State& state, bool by_cost) {
  World world;
  world.options.cost_aware = by_cost;
  const std::unique_ptr<Graph> graph = Build(world, static_cast<int>(state.range(0)), !by_cost);
  for (auto _ : state) {
    state.PauseTiming();
    std::unique_ptr<Graph> copy = Copy(*graph);
    state.ResumeTiming();
    auto report = PlaceGraph(copy.get(), world.devices, world.options);
    SLUICE_CHECK(report.ok());
    state.PauseTiming();
    copy = nullptr;
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

void BM_Place(benchmark::State& state) { RunPlace(state, false); }
void BM_PlaceByCost(benchmark::State& state) { RunPlace(state, true); }

void BM_Split(benchmark::State& state) {
  World world;
  const std::unique_ptr<Graph> graph = Build(world, static_cast<int>(state.range(0)), true);
  SLUICE_CHECK(PlaceGraph(graph.get(), world.devices, world.options).ok());
  PartitionOptions options;
  options.late_receive_bytes = 0;
  for (auto _ : state) {
    state.PauseTiming();
    std::unique_ptr<Graph> copy = Copy(*graph);
    state.ResumeTiming();
    auto parts = PartitionGraph(
        std::move(copy), [](const std::string&) { return uint64_t{1}; }, options);
    SLUICE_CHECK(parts.ok() && parts->size() == kDevices);
    state.PauseTiming();
    parts->clear();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK(BM_Place)->Name("Place")->Arg(1000)->Arg(10000)->Arg(100000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_PlaceByCost)->Name("PlaceByCost")->Arg(1000)->Arg(10000)->Arg(100000)->Unit(benchmark::kMillisecond);
BENCHMARK(BM_Split)->Name("Split")->Arg(1000)->Arg(10000)->Arg(100000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
