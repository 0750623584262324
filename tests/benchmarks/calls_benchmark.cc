// What warm training steps take from the heap, how many locks, and how often they wait for a thread (B04): counts for
// each step, of the thread that runs it, on a pool of one thread.
//
//   bazel run //tests/benchmarks:calls_benchmark          one line of JSON for each model
#include <cstdio>
#include <memory>

#include "runtime/session/call_counter.h"
#include "tests/benchmarks/steps.h"

int main() {
  constexpr int kSteps = 20;
  for (const char* name : {"mlp", "lenet"}) {
    const std::unique_ptr<sluice::MeasuredStep> step = sluice::MeasuredStep::Make(name, 1);
    const sluice::CallCounts before = sluice::CallsOfThisThread();
    for (int i = 0; i < kSteps; ++i) step->Run();
    const sluice::CallCounts calls = sluice::CallsOfThisThread() - before;
    std::printf("{\"model\": \"%s\", \"heap\": %g, \"locks\": %g, \"waits\": %g}\n", name, 1.0 * calls.heap / kSteps,
                1.0 * calls.locks / kSteps, 1.0 * calls.waits / kSteps);
  }
  return 0;
}
