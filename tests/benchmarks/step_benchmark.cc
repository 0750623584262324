// What a step costs beside its kernels: B01, B02 and B03; and what lanes gain (tests/benchmarks/steps.h describes the
// steps).
//
//   bazel run //tests/benchmarks:step_benchmark -- --benchmark_filter=null_
//
// NAME/THREADS; an item is a node, an addition or a step.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>

#include "tests/benchmarks/steps.h"

namespace sluice {
namespace {

void Measure(benchmark::State& state, const std::string& name) {
  const std::unique_ptr<MeasuredStep> step = MeasuredStep::Make(name, static_cast<int>(state.range(0)));
  for (auto _ : state) step->Run();
  if (!step->ResultIsRight()) state.SkipWithError("the step makes something else than it should");
  state.SetItemsProcessed(state.iterations() * step->parts());
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  for (const char* name :
       {"null_chain", "null_layers", "null_layers_dataflow", "null_independent", "adds", "two_chains",
        "two_chains_one_lane", "two_chains_dataflow", "feeds_1", "feeds_10", "feeds_100"}) {
    benchmark::RegisterBenchmark(name, [name](benchmark::State& state) { sluice::Measure(state, name); })
        ->Arg(1)
        ->Arg(2)
        ->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
