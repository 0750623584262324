#include "runtime/executor/step.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "core/base/status.h"
#include "runtime/executor/dataflow.h"
#include "runtime/executor/lanes.h"
#include "runtime/executor/run_instruction.h"

namespace sluice {
namespace {

// A piece of a step's arena.
class ArenaView final : public Buffer {
 public:
  ArenaView(void* data, size_t size) : Buffer(data, size) { transient_ = true; }
};

}  // namespace

int64_t StepTrace::Now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// --- StepPlan ---

StepPlan::StepPlan(std::vector<std::unique_ptr<PartitionPlan>> partitions, int num_arguments, int num_results)
    : partitions_(std::move(partitions)), num_arguments_(num_arguments), num_results_(num_results) {
  for (auto& entry : pool_) entry.store(nullptr, std::memory_order_relaxed);
}

StepPlan::~StepPlan() = default;

bool StepPlan::MayBlock() const {
  for (const auto& p : partitions_) {
    if (p->tier == Tier::kDataflow) return true;
  }
  return false;
}

std::string StepPlan::Dump() const {
  std::string out;
  for (const auto& p : partitions_) out += p->Dump();
  return out;
}

Step* StepPlan::Take() {
  for (auto& entry : pool_) {
    if (entry.load(std::memory_order_relaxed) == nullptr) continue;
    if (Step* s = entry.exchange(nullptr, std::memory_order_acq_rel)) return s;
  }
  absl::MutexLock lock(&mu_);
  if (!spare_.empty()) {
    Step* s = spare_.back();
    spare_.pop_back();
    return s;
  }
  steps_.push_back(std::make_unique<Step>(*this));
  return steps_.back().get();
}

void StepPlan::GiveBack(Step* step) {
  for (auto& entry : pool_) {
    Step* empty = nullptr;
    if (entry.load(std::memory_order_relaxed) == nullptr &&
        entry.compare_exchange_strong(empty, step, std::memory_order_acq_rel)) {
      return;
    }
  }
  absl::MutexLock lock(&mu_);
  spare_.push_back(step);
}

void StepPlan::CancelAll(const absl::Status& why) {
  absl::MutexLock lock(&mu_);
  for (const auto& step : steps_) step->cancellation().Cancel(why);
}

// --- Frame ---

Frame::Frame(const PartitionPlan& p)
    : plan(p), slots(p.slots.size()), operands(p.operands.size()), planned(p.operands.size()) {
  for (size_t s = 0; s < slots.size(); ++s) {
    if (p.slots[s].kind == Slot::kConstant) slots[s] = p.slots[s].constant;
  }
  for (size_t o = 0; o < operands.size(); ++o) operands[o] = &slots[p.operands[o]];
  context.device = p.environment.device;
  context.pool = p.environment.device->pool();
  context.resources = p.environment.resources;
  context.functions = p.environment.functions;
  contexts.resize(p.instructions.size());
  for (size_t k = 0; k < contexts.size(); ++k) {
    const Instruction& i = p.instructions[k];
    Tensor** inputs = operands.data() + i.first_operand;
    contexts[k].Bind(&context, &p.nodes[k]->info(), inputs, static_cast<int>(i.num_inputs), inputs + i.num_inputs,
                     static_cast<int>(i.num_outputs),
                     (i.flags & kPlannedOutputs) != 0 ? planned.data() + i.first_operand + i.num_inputs : nullptr,
                     i.last_use);
  }
  if (p.tier == Tier::kLanes) lanes = MakeLanesMemory(p.num_lanes());
  if (p.tier == Tier::kDataflow) {
    pending = std::make_unique<std::atomic<int32_t>[]>(p.instructions.size());
    readers = std::make_unique<std::atomic<int32_t>[]>(p.slots.size());
    waiting_at.resize(p.instructions.size());
  }
}

Frame::~Frame() {
  Clear();
  views.clear();
  if (arena != nullptr) HostAllocator()->Deallocate(arena, static_cast<size_t>(plan.arena_bytes));
}

absl::Status Frame::ReserveArena() {
  if (arena != nullptr || plan.arena_bytes == 0) return absl::OkStatus();
  arena = HostAllocator()->Allocate(static_cast<size_t>(plan.arena_bytes));
  if (arena == nullptr) {
    return ResourceExhausted(context.device->name(), ": no ", plan.arena_bytes,
                             " bytes for the planned tensors of a step; ", HostAllocator()->stats().live_bytes,
                             " bytes are in use");
  }
  std::vector<Buffer*> view_of(plan.slots.size(), nullptr);
  for (size_t s = 0; s < plan.slots.size(); ++s) {
    const Slot& slot = plan.slots[s];
    if (slot.kind != Slot::kArena) continue;
    views.push_back(MakeRef<ArenaView>(static_cast<char*>(arena) + slot.offset, static_cast<size_t>(slot.bytes)));
    view_of[s] = views.back().get();
  }
  for (const Instruction& i : plan.instructions) {
    for (uint32_t o = 0; o < i.num_outputs; ++o) {
      uint32_t at = i.first_operand + i.num_inputs + o;
      uint32_t s = plan.operands[at];
      if (view_of[s] != nullptr) planned[at] = {view_of[s], plan.slots[s].bytes};
    }
  }
  return absl::OkStatus();
}

void Frame::Clear() {
  for (size_t s = 0; s < slots.size(); ++s) {
    if (plan.slots[s].kind != Slot::kConstant) slots[s] = Tensor();
  }
  dirty.store(false, std::memory_order_relaxed);
}

// --- Instructions ---

absl::Status DescribeFailure(const Frame& frame, size_t k, const absl::Status& status) {
  const Node& node = *frame.plan.nodes[k];
  if (status.GetPayload(kNodePayload).has_value()) return status;
  std::string message;
  std::string who = node.info().Describe();
  if (!absl::StrContains(status.message(), who)) absl::StrAppend(&message, who, ": ");
  absl::StrAppend(&message, status.message(), " [device ", frame.context.device->name());
  const KernelContext& c = frame.contexts[k];
  for (int i = 0; i < c.num_inputs() && i < 8; ++i) {
    const Tensor& t = c.input(i);
    absl::StrAppend(&message, i == 0 ? "; inputs " : ", ",
                    t.IsValid() ? absl::StrCat(DTypeName(t.dtype()), " ", t.shape().ToString()) : "none");
  }
  message += "]";
  absl::Status described(status.code(), message);
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) { described.SetPayload(url, value); });
  described.SetPayload(kNodePayload, absl::Cord(node.name()));
  described.SetPayload(kOpPayload, absl::Cord(node.op().name));
  return described;
}

absl::Status CheckOutputs(Frame& frame, size_t k) {
  const Instruction& i = frame.plan.instructions[k];
  for (uint32_t o = 0; o < i.num_outputs; ++o) {
    uint32_t at = i.first_operand + i.num_inputs + o;
    Tensor* t = frame.operands[at];
    Buffer* planned = frame.planned[at].arena;
    if (t->buffer() == planned || t->buffer() == nullptr) continue;
    if (t->IsTransient()) {
      const size_t bytes = t->num_bytes();
      if (planned != nullptr && bytes <= planned->size()) {
        // Often the same place already: an input passed on by an op that runs in place.
        std::memmove(planned->data(), t->raw_data(), bytes);
        *t = Tensor(t->dtype(), t->shape(), RefPtr<Buffer>::Share(planned));
        continue;
      }
      absl::StatusOr<Tensor> copy = t->Clone(frame.context.device->allocator());
      if (!copy.ok()) return copy.status();
      *t = std::move(*copy);
    }
    if (planned != nullptr) frame.dirty.store(true, std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

namespace {

// "edge @device": what a transfer moves, and its other end. Empty for other nodes.
std::string TransferOf(const Node& node) {
  const char* other = node.num_inputs() == 0 ? "send_device" : "recv_device";
  absl::StatusOr<std::string> edge = GetAttr<std::string>(node.attrs(), "tensor_name");
  absl::StatusOr<std::string> device = GetAttr<std::string>(node.attrs(), other);
  return edge.ok() && device.ok() ? absl::StrCat(*edge, " @", *device) : std::string();
}

}  // namespace

void Trace(const Frame& frame, size_t k, int64_t scheduled_ns, int64_t start_ns, StepTrace* trace) {
  const int64_t end_ns = StepTrace::Now();
  const Instruction& i = frame.plan.instructions[k];
  TracedNode n;
  n.device = frame.context.device->name();
  n.name = frame.plan.nodes[k]->name();
  n.op = frame.plan.nodes[k]->op().name;
  n.scheduled_ns = scheduled_ns;
  n.start_ns = start_ns;
  n.end_ns = end_ns;
  n.thread = syscall(SYS_gettid);
  for (uint32_t in = 0; in < i.num_inputs; ++in) {
    const Slot& slot = frame.plan.slots[frame.plan.operands[i.first_operand + in]];
    n.inputs.push_back(absl::StrCat(slot.node->name(), ":", slot.output));
  }
  if (std::string transfer = TransferOf(*frame.plan.nodes[k]); !transfer.empty()) n.inputs = {std::move(transfer)};
  for (uint32_t o = 0; o < i.num_outputs; ++o) {
    const Tensor& t = *frame.operands[i.first_operand + i.num_inputs + o];
    if (!t.IsValid()) continue;
    n.output_bytes += static_cast<int64_t>(t.num_bytes());
    n.outputs.push_back(absl::StrCat(DTypeName(t.dtype()), " ", t.shape().ToString()));
  }
  trace->Add(std::move(n));
}

namespace {

template <LaneMode kMode>
absl::Status LaneLoop(Frame& frame, const StepCall& call) {
  const PartitionPlan& plan = frame.plan;
  const CancellationToken& cancellation = *frame.context.cancellation;
  KernelContext* context = frame.contexts.data();
  const size_t count = plan.instructions.size();
  absl::Status status;  // the one that is returned
  for (size_t k = 0; k < count; ++k, ++context) {
    if (ABSL_PREDICT_FALSE(cancellation.cancelled())) {
      status = cancellation.status();
      return status;
    }
    if (ABSL_PREDICT_FALSE(!RunInstruction<kMode>(frame, plan, call, k, context, &status))) return status;
  }
  if constexpr (kMode == kSlow) {
    // The body of a loop may have no instruction at all.
    if (count == 0 && absl::Now() >= call.deadline) status = absl::DeadlineExceededError("the step ran out of time");
  }
  for (uint32_t s : plan.final_releases) frame.slots[s] = Tensor();
  return status;
}

}  // namespace

absl::Status RunLane(Frame& frame, const StepCall& call) {
  RETURN_IF_ERROR(frame.ReserveArena());
  switch (ModeOf(call)) {
    case kFast:
      return LaneLoop<kFast>(frame, call);
    case kCounted:
      return LaneLoop<kCounted>(frame, call);
    case kSlow:
      break;
  }
  return LaneLoop<kSlow>(frame, call);
}

// --- Step ---

Step::Step(const StepPlan& plan) : plan_(plan) {
  for (const auto& p : plan.partitions()) {
    frames_.push_back(std::make_unique<Frame>(*p));
    if (p->tier == Tier::kDataflow && dataflow_ == nullptr) dataflow_ = MakeDataflowMemory();
  }
}

Step::~Step() = default;

absl::Status Step::RunPartitions(const StepCall& call) {
  if (dataflow_ == nullptr) {
    for (auto& frame : frames_) {
      RETURN_IF_ERROR(frame->lanes == nullptr ? RunLane(*frame, call) : RunLanes(*frame, call));
    }
    return absl::OkStatus();
  }
  absl::InlinedVector<Frame*, 8> frames;
  for (auto& frame : frames_) frames.push_back(frame.get());
  return RunDataflow(frames, call, dataflow_.get());
}

absl::Status Step::Run(const StepCall& call, absl::Span<const Tensor> arguments, Tensor* movable, Tensor* results) {
  CancellationToken* token = call.parent != nullptr ? call.parent->cancellation : &cancellation_;
  if (token == nullptr) token = &cancellation_;
  Rendezvous* rendezvous = call.rendezvous != nullptr ? call.rendezvous : frames_.size() > 1 ? &rendezvous_ : nullptr;
  for (auto& frame : frames_) {
    StepContext& c = frame->context;
    c.step_id = call.step_id;
    c.cancellation = token;
    c.rendezvous = rendezvous;
    c.runtime = const_cast<StepCall*>(&call);
    for (const Binding& a : frame->plan.arguments) {
      if (movable != nullptr) {
        frame->slots[a.slot] = std::move(movable[a.index]);
      } else {
        frame->slots[a.slot] = arguments[a.index];
      }
    }
  }
  int64_t callback = 0;
  if (call.cancellation != nullptr) {
    callback = call.cancellation->Register([this, &call] { cancellation_.Cancel(call.cancellation->status()); });
    if (callback == 0) cancellation_.Cancel(call.cancellation->status());
  }
  absl::Status status = RunPartitions(call);
  if (call.progress != nullptr && call.parent == nullptr) call.progress->Over();
  if (callback != 0) call.cancellation->Unregister(callback);
  bool dirty = !status.ok();
  if (status.ok()) {
    for (auto& frame : frames_) {
      for (const Binding& r : frame->plan.results) {
        Tensor& slot = frame->slots[r.slot];
        if (r.move) {
          results[r.index] = std::move(slot);
          slot = Tensor();
        } else {
          results[r.index] = slot;
        }
      }
      for (const Binding& r : frame->plan.results) {
        if (!r.move && frame->plan.slots[r.slot].kind != Slot::kConstant) frame->slots[r.slot] = Tensor();
      }
      for (const Binding& a : frame->plan.arguments) {
        if (frame->plan.slots[a.slot].readers == 0) frame->slots[a.slot] = Tensor();
      }
      dirty = dirty || frame->dirty.load(std::memory_order_relaxed);
    }
  }
  if (ABSL_PREDICT_FALSE(dirty)) {
    for (auto& frame : frames_) frame->Clear();
  }
  if (rendezvous == &rendezvous_) rendezvous_.Reset();
  if (ABSL_PREDICT_FALSE(cancellation_.cancelled())) cancellation_.Reset();
  return status;
}

}  // namespace sluice
