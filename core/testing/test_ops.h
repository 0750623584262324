// A few ops with kernels for tests of the runtime, which then need no family of real ops.
//
//   TestAdd(a, b)            a + b of one shape, element-wise (may run in place)
//   TestMix(N inputs)        1 + sum of the inputs; fills its output with rubbish before it reads, so overlap shows
//   TestReshape(x, shape)    x under the static shape `shape`, the same bytes
//   TestUnknown(x)           x + 1 whose shape nobody knows before it runs
//   TestFail()               an error with attribute `message`
//   TestBlock(x)             x, once the step is cancelled or ReleaseTestBlocks() was called; asynchronous
//   TestNull()               nothing, but it is run
//   TestCount(x)             x; counts its runs in TestCountRuns()
#ifndef SLUICE_CORE_TESTING_TEST_OPS_H_
#define SLUICE_CORE_TESTING_TEST_OPS_H_

#include "core/kernel/kernel_registry.h"
#include "core/op/op_registry.h"

namespace sluice {

void DefineTestOps(OpRegistry& ops);
void AddTestKernels(KernelRegistry& kernels, absl::string_view device_type = kCpu);

// Lets every TestBlock that runs now, and later ones, go on; `hold` makes later ones wait again.
void ReleaseTestBlocks();
void HoldTestBlocks();
// How many wait now.
int WaitingTestBlocks();
int TestCountRuns();

}  // namespace sluice

#endif  // SLUICE_CORE_TESTING_TEST_OPS_H_
