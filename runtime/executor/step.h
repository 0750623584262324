// The plan of a whole step, and the state of a step that runs it.
//
//   StepPlan      the partitions of one signature, and a pool of steps
//   Step          a frame for each partition (slots, contexts, arena), the rendezvous between them, the first error
//
// A warm step takes a Step from the pool, binds arguments, runs, moves results out and gives the Step back: no lock, no
// memory from the heap.
//
// Threads: a StepPlan is shared by concurrent steps. A Step belongs to the thread that runs it, which drives
//          everything; pool threads help when there is expensive work to share or there are several lanes, and threads
//          that complete a wait only queue what became ready.
#ifndef SLUICE_RUNTIME_EXECUTOR_STEP_H_
#define SLUICE_RUNTIME_EXECUTOR_STEP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/cancellation.h"
#include "core/kernel/kernel.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/progress.h"
#include "runtime/executor/trace.h"
#include "runtime/rendezvous/local_rendezvous.h"

namespace sluice {

class Step;
struct DataflowMemory;  // dataflow.h
struct DeleteDataflowMemory {
  void operator()(DataflowMemory* memory) const;
};
struct LanesMemory;  // lanes.h
struct DeleteLanesMemory {
  void operator()(LanesMemory* memory) const;
};

class StepPlan {
 public:
  StepPlan(std::vector<std::unique_ptr<PartitionPlan>> partitions, int num_arguments, int num_results);
  ~StepPlan();
  StepPlan(const StepPlan&) = delete;
  StepPlan& operator=(const StepPlan&) = delete;

  const std::vector<std::unique_ptr<PartitionPlan>>& partitions() const { return partitions_; }
  int num_arguments() const { return num_arguments_; }
  int num_results() const { return num_results_; }
  // Some kernel may wait for something outside the step.
  bool MayBlock() const;
  std::string Dump() const;

  Step* Take();
  void GiveBack(Step* step);
  // Cancels every step of this plan that runs; for the end of a session, after which none is taken.
  void CancelAll(const absl::Status& why);

 private:
  static constexpr int kPooled = 8;
  const std::vector<std::unique_ptr<PartitionPlan>> partitions_;
  const int num_arguments_;
  const int num_results_;
  std::atomic<Step*> pool_[kPooled];
  absl::Mutex mu_;
  std::vector<std::unique_ptr<Step>> steps_ ABSL_GUARDED_BY(mu_);  // all that exist
  std::vector<Step*> spare_ ABSL_GUARDED_BY(mu_);                  // given back when the pool was full
};

// How one step runs.
struct StepCall {
  int64_t step_id = 0;
  absl::Time deadline = absl::InfiniteFuture();
  CancellationToken* cancellation = nullptr;  // the caller's; cancelling it ends the step
  Rendezvous* rendezvous = nullptr;           // instead of the step's own, for steps that span processes
  StepTrace* trace = nullptr;
  StepProgress* progress = nullptr;     // is told how the step gets on
  const StepContext* parent = nullptr;  // of the kernel that calls a function
  int depth = 0;                        // of calls within calls
};

// One partition's mutable part.
struct Frame {
  explicit Frame(const PartitionPlan& plan);
  ~Frame();
  absl::Status ReserveArena();  // no-op when it is there
  void Clear();                 // drops every tensor of the step

  const PartitionPlan& plan;
  StepContext context;
  std::vector<Tensor> slots;
  std::vector<Tensor*> operands;
  std::vector<PlannedOutput> planned;   // parallel to operands
  std::vector<KernelContext> contexts;  // one for each instruction
  std::vector<RefPtr<Buffer>> views;    // of the arena
  void* arena = nullptr;
  std::atomic<bool> dirty{false};                         // an arena slot holds something else
  std::unique_ptr<LanesMemory, DeleteLanesMemory> lanes;  // Tier::kLanes
  // dataflow
  std::unique_ptr<std::atomic<int32_t>[]> pending;  // predecessors that have not run, by instruction
  std::unique_ptr<std::atomic<int32_t>[]> readers;  // that have not run, by slot
  bool counters_are_set = false;                    // both are as a step finds them
  std::vector<uint32_t> waiting_at;                 // by instruction: its place among those that wait now
  std::vector<int64_t> ready_ns;                    // by instruction, of steps that are traced
  void* dataflow = nullptr;                         // the run
};

class Step {
 public:
  explicit Step(const StepPlan& plan);
  ~Step();

  // `arguments` by index; their tensors are copied (shared), or moved out of `movable` when given. `results` has
  // num_results().
  absl::Status Run(const StepCall& call, absl::Span<const Tensor> arguments, Tensor* movable, Tensor* results);

  CancellationToken& cancellation() { return cancellation_; }

 private:
  absl::Status RunPartitions(const StepCall& call);

  const StepPlan& plan_;
  std::vector<std::unique_ptr<Frame>> frames_;
  CancellationToken cancellation_;
  LocalRendezvous rendezvous_;
  std::unique_ptr<DataflowMemory, DeleteDataflowMemory> dataflow_;  // null when all are lanes
};

// Runs a partition in lanes, all of them from the first to the last instruction on the calling thread.
absl::Status RunLane(Frame& frame, const StepCall& call);

// Makes outputs of instruction k safe that are not where the plan put them: bytes of the arena that a kernel passed on
// although its op does not say kMayAlias are copied to where they belong.
absl::Status CheckOutputs(Frame& frame, size_t k);

// Records instruction k.
void Trace(const Frame& frame, size_t k, int64_t scheduled_ns, int64_t start_ns, StepTrace* trace);

// `status` of instruction k of a plan, with the node, its device and its inputs; the node's name is also its payload
// kNodePayload.
absl::Status DescribeFailure(const Frame& frame, size_t k, const absl::Status& status);
inline constexpr char kNodePayload[] = "sluice/node";
inline constexpr char kOpPayload[] = "sluice/op";

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_STEP_H_
