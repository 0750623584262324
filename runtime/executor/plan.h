// The immutable plan of one partition (one device's share of a step): prepared kernels in order, where each tensor
// lives, and when it goes. Concurrent steps share a plan; what changes lives in their frames.
//
//   graph (its nodes on one device)  ->  instructions over slots
//
// A slot holds one tensor. `_Arg` nodes, constants and identities become slots without an instruction; `_Retval` nodes
// become results. Three tiers run a plan:
//   lane      one thread runs the instructions in order: no counters, and static shapes live in one arena laid out here
//   lanes     the instructions are divided among threads when planned, each runs its own in order; a lane that needs
//             another one's output waits for that lane's progress word. Memory is laid out here as for one lane
//   dataflow  instructions run when their inputs are there; for partitions in which a kernel waits (receive, dequeue)
#ifndef SLUICE_RUNTIME_EXECUTOR_PLAN_H_
#define SLUICE_RUNTIME_EXECUTOR_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/graph/graph.h"
#include "core/kernel/kernel_registry.h"
#include "runtime/executor/pass_list.h"

namespace sluice {

class MeasuredCosts;

enum class Tier { kLane, kLanes, kDataflow };

enum InstructionFlags : uint32_t {
  kAsyncInstruction = 1,  // Start instead of Run
  kPlannedOutputs = 2,    // some output lives in the arena
  kCheckOutputs = 8,      // a kernel that passed on bytes of the arena would break its promise
  kWorthSharing = 4,      // expensive enough to be offered to another thread
};

// What a successor is and what is known of it without looking at it.
enum Successor : uint32_t {
  kSuccessor = (1u << 29) - 1,   // its instruction
  kOnlyPredecessor = 1u << 29,   // it waits for nobody else, and has no counter
  kSuccessorWaits = 1u << 30,    // kAsyncInstruction
  kSuccessorIsHeavy = 1u << 31,  // kWorthSharing
};

struct Instruction {
  const Kernel* kernel = nullptr;
  uint64_t last_use = 0;       // bit i: input i dies here
  uint32_t first_operand = 0;  // in PartitionPlan::operands: the inputs, then the outputs
  uint32_t num_inputs = 0;
  uint32_t num_outputs = 0;
  uint32_t release_begin = 0;  // lanes: slots to empty afterwards; dataflow: slots others read too. In releases
  uint32_t release_end = 0;
  uint32_t drop_end = 0;         // dataflow: slots to empty afterwards, from release_end. In releases
  uint32_t successor_begin = 0;  // dataflow: in PartitionPlan::successors
  uint32_t successor_end = 0;
  uint32_t num_predecessors = 0;
  uint32_t flags = 0;
  float work_ns = 0;  // dataflow: of what is worth sharing, as estimated
};

// The instruction at one place of a lane.
struct LaneEntry {
  uint32_t instruction = 0;
  uint32_t wait_begin = 0;  // in PartitionPlan::lane_waits: how far other lanes must have come
  uint32_t wait_end = 0;
  bool publish = false;  // some lane waits until this one has come so far
  float ahead_ns = 0;    // estimated work of the lane from here on
};
// Until `lane` has run its first `progress` entries.
struct LaneWait {
  uint32_t lane = 0;
  uint32_t progress = 0;
};

struct Slot {
  enum Kind : uint8_t { kDynamic, kArgument, kConstant, kArena };
  Kind kind = kDynamic;
  bool is_result = false;
  uint32_t readers = 0;  // instructions that read it
  int64_t offset = 0;    // kArena
  int64_t bytes = 0;
  Tensor constant;
  const Node* node = nullptr;  // who makes it, for messages and dumps
  int output = 0;
};

// Argument or result `index` of the step.
struct Binding {
  int index = 0;
  uint32_t slot = 0;
  bool move = false;  // results: nobody else needs the slot
};

struct PlanEnvironment {
  const KernelRegistry* kernels = nullptr;
  Device* device = nullptr;
  ResourceStore* resources = nullptr;
  FunctionRunner* functions = nullptr;
  PassList passes;  // see a partition, or a function's body, before it is planned
  // 0: lanes for as many threads as the pool has, where the estimate promises a gain. 1: never more than one lane.
  // Other numbers: so many lanes whether they pay or not.
  int lanes = 0;
  const MeasuredCosts* measured = nullptr;  // times of nodes in traced steps; may be null
};

class PartitionPlan {
 public:
  // Errors name the node. The graph holds the device's nodes only and belongs to the plan.
  static absl::StatusOr<std::unique_ptr<PartitionPlan>> Make(std::unique_ptr<Graph> graph,
                                                             const PlanEnvironment& environment);

  Tier tier = Tier::kLane;
  std::string tier_reason;
  PlanEnvironment environment;
  std::unique_ptr<Graph> graph;
  std::vector<Instruction> instructions;
  std::vector<const Node*> nodes;  // of each instruction
  std::vector<std::unique_ptr<Kernel>> kernels;
  std::vector<uint32_t> operands;
  std::vector<uint32_t> releases;
  std::vector<uint32_t> successors;  // with the bits of Successor
  std::vector<uint32_t> initial;     // dataflow: instructions without predecessors
  std::vector<Slot> slots;
  std::vector<Binding> arguments;
  std::vector<Binding> results;
  int64_t arena_bytes = 0;
  int64_t arena_lower_bound = 0;
  int64_t unshared_bytes = 0;  // what the arena's tensors would take without reuse
  int in_place = 0;            // outputs that took over an input's place
  // Tier::kLanes. The order of `instructions` is one in which a single thread may run all lanes.
  std::vector<LaneEntry> lane_entries;  // of lane 0, then of lane 1 ...
  std::vector<uint32_t> lane_begin;     // of each lane in lane_entries, and the end of the last
  std::vector<LaneWait> lane_waits;
  std::vector<uint32_t> final_releases;  // slots to empty when all lanes have ended
  bool lanes_spin = false;               // there is a CPU for each
  float invite_ns = 0;                   // least work ahead for which a thread is asked to come

  int num_lanes() const { return lane_begin.empty() ? 1 : static_cast<int>(lane_begin.size()) - 1; }

  // Instructions, slots and memory in text.
  std::string Dump() const;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_PLAN_H_
