// Runs a plan of several lanes: each lane is a fixed sequence of instructions, and threads take lanes.
//
//   lane 0:  a  c  e!           e needs what d made: it waits until lane 1's progress word says 2
//   lane 1:  b  d  f
//
// A thread that has a lane runs it as far as it goes. A wait spins shortly; then the thread leaves the lane where it is
// and takes another one that can go on. The caller's thread stays until all lanes have ended, and can run them all if
// nobody else comes, so a busy pool costs speed and nothing else. Threads of the pool that find no lane go back to the
// pool, where they help loops within kernels; they are asked to come again when a lane can go on that nobody has.
//
// Threads:  a frame belongs to one run at a time. Between lanes nothing is counted: one store for what another lane
//           waits for, one load for a wait.
// Blocking: only the caller's thread sleeps, and only while a thread of the pool is within a kernel.
// Errors:   the first one ends all lanes before their next instruction; so do cancellation and the deadline.
#ifndef SLUICE_RUNTIME_EXECUTOR_LANES_H_
#define SLUICE_RUNTIME_EXECUTOR_LANES_H_

#include <memory>

#include "absl/status/status.h"
#include "runtime/executor/step.h"

namespace sluice {

std::unique_ptr<LanesMemory, DeleteLanesMemory> MakeLanesMemory(int lanes);

// Runs a partition in which no kernel waits: one lane on the calling thread, several with the help of the pool. Returns
// the first error, after everything that was started has ended.
absl::Status RunLanes(Frame& frame, const StepCall& call);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_LANES_H_
