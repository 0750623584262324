// One instruction of a lane: the part that the tiers of one lane and of several share.
#ifndef SLUICE_RUNTIME_EXECUTOR_RUN_INSTRUCTION_H_
#define SLUICE_RUNTIME_EXECUTOR_RUN_INSTRUCTION_H_

#include "absl/base/attributes.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "runtime/executor/step.h"

namespace sluice {

// kCounted tells how the step gets on; kSlow also watches the clock and records.
enum LaneMode { kFast, kCounted, kSlow };

inline LaneMode ModeOf(const StepCall& call) {
  if (call.trace != nullptr || call.deadline != absl::InfiniteFuture()) return kSlow;
  return call.progress != nullptr ? kCounted : kFast;
}

// `plan` is the frame's. False after an error, which names the node, in `error`.
template <LaneMode kMode>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline bool RunInstruction(Frame& frame, const PartitionPlan& plan, const StepCall& call,
                                                        size_t k, KernelContext* context, absl::Status* error) {
  const Instruction& i = plan.instructions[k];
  int64_t start = 0;
  if constexpr (kMode == kSlow) {
    if (absl::Now() >= call.deadline) {
      *error =
          absl::DeadlineExceededError(absl::StrCat("the step ran out of time before ", plan.nodes[k]->info().Describe(),
                                                   " (node ", k, " of ", plan.instructions.size(), ")"));
      return false;
    }
    start = StepTrace::Now();
  }
  if constexpr (kMode != kFast) {
    if (call.progress != nullptr) call.progress->Running(plan.nodes[k]);
  }
  absl::Status status = i.kernel->Run(*context);
  if constexpr (kMode != kFast) {
    if (call.progress != nullptr) call.progress->Completed();
  }
  if (ABSL_PREDICT_FALSE(!status.ok())) {
    *error = DescribeFailure(frame, k, status);
    return false;
  }
  if ((i.flags & kCheckOutputs) != 0) {
    for (uint32_t at = i.first_operand + i.num_inputs, o = 0; o < i.num_outputs; ++o) {
      if (ABSL_PREDICT_FALSE(frame.operands[at + o]->buffer() != frame.planned[at + o].arena)) {
        status = CheckOutputs(frame, k);
        if (status.ok()) break;
        *error = DescribeFailure(frame, k, status);
        return false;
      }
    }
  }
  if constexpr (kMode == kSlow) {
    if (call.trace != nullptr) Trace(frame, k, start, start, call.trace);
  }
  for (uint32_t r = i.release_begin; r < i.release_end; ++r) frame.slots[plan.releases[r]] = Tensor();
  return true;
}

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_RUN_INSTRUCTION_H_
