// The tier for steps in which kernels wait: an instruction runs as soon as its inputs are there.
//
// The calling thread drives all partitions of the step; lanes among them run first (they never wait). A wait that
// completes on another thread only tells the driver. When expensive instructions pile up, threads of the pool help.
#ifndef SLUICE_RUNTIME_EXECUTOR_DATAFLOW_H_
#define SLUICE_RUNTIME_EXECUTOR_DATAFLOW_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "runtime/executor/step.h"

namespace sluice {

// What a run leaves for the next one of the same step, so that a warm one takes nothing from the heap.
std::unique_ptr<DataflowMemory, DeleteDataflowMemory> MakeDataflowMemory();

// Returns the first error, after everything that was started has ended. DEADLINE_EXCEEDED names what was waited for.
absl::Status RunDataflow(absl::Span<Frame* const> frames, const StepCall& call, DataflowMemory* memory);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_DATAFLOW_H_
