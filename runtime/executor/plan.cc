#include "runtime/executor/plan.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "core/base/status.h"
#include "runtime/executor/lane_clocks.h"
#include "runtime/executor/node_work.h"
#include "runtime/executor/plan_lanes.h"
#include "runtime/executor/plan_memory.h"
#include "runtime/executor/schedule.h"

namespace sluice {
namespace {

constexpr int64_t kWorthSharingBytes = 64 << 10;
constexpr double kWorthSharingNs = 2e3;
constexpr double kLargeNs = 10e3;  // taken for what has many bytes, or nobody knows how many
// Memory that lanes may take beyond twice that of one.
constexpr int64_t kSpareArenaBytes = 64 << 20;

absl::Status AtNode(const Node& node, const absl::Status& s) {
  if (s.ok()) return s;
  std::string who = node.info().Describe();
  if (absl::StrContains(s.message(), who)) return s;
  return Annotate(s, absl::StrCat(who, ": "));
}

class Builder {
 public:
  explicit Builder(PartitionPlan* plan)
      : p_(*plan),
        work_(plan->environment.measured, 1),
        kernels_(p_.graph->num_node_ids()),
        first_slot_(p_.graph->num_node_ids(), kNone),
        instruction_of_(p_.graph->num_node_ids(), kNone) {}

  absl::Status Build() {
    absl::StatusOr<std::vector<Node*>> order = LaneOrder(*p_.graph);
    if (!order.ok()) return order.status();
    for (Node* n : *order) RETURN_IF_ERROR(AtNode(*n, MakeKernel(n)));
    ChooseTier(&*order);
    for (Node* n : *order) RETURN_IF_ERROR(AtNode(*n, AddNode(n)));
    FinishResults();
    switch (p_.tier) {
      case Tier::kLane:
        PlanLaneMemory(LaneClocks(p_.instructions.size()), &p_);
        break;
      case Tier::kLanes:
        PlanLaneMemory(LayOutLanes(division_, instruction_of_, &p_), &p_);
        break;
      case Tier::kDataflow:
        AddSuccessors(*order);
        PlanDataflowMemory(&p_);
    }
    return absl::OkStatus();
  }

 private:
  static bool IsArg(const Node& n) { return n.op().name == "_Arg"; }
  static bool IsRetval(const Node& n) { return n.op().name == "_Retval"; }
  static bool IsOrderOnly(const Node& n) {
    return n.num_inputs() == 0 && n.num_outputs() == 0 && n.op().traits == kCheap;
  }
  static bool IsPlainIdentity(const Node& n) {
    return n.Is(kIdentity) && n.num_inputs() == 1 && n.num_outputs() == 1 && n.input_type(0) == n.output_type(0) &&
           !IsRefType(n.output_type(0));
  }
  bool HasInstruction(const Node& n) const {
    if (IsArg(n) || IsRetval(n) || n.Is(kConstant)) return false;
    if (p_.tier != Tier::kDataflow && (IsOrderOnly(n) || IsPlainIdentity(n))) return false;
    return true;
  }

  absl::Status MakeKernel(Node* n) {
    if (IsArg(*n) || IsRetval(*n) || n->Is(kConstant)) return absl::OkStatus();
    const PlanEnvironment& e = p_.environment;
    ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, e.kernels->MakeKernel(n->info(), e.device->type()));
    PrepareContext context;
    context.info = &n->info();
    context.device = e.device;
    context.resources = e.resources;
    context.functions = e.functions;
    for (int i = 0; i < n->num_inputs(); ++i) {
      const Endpoint& in = n->input(i);
      context.input_shapes.push_back(in.node->output_shape(in.index));
      context.constant_inputs.push_back(ConstantOf(*in.node));
    }
    for (int i = 0; i < n->num_outputs(); ++i) context.output_shapes.push_back(n->output_shape(i));
    RETURN_IF_ERROR(kernel->Prepare(context));
    kernels_[n->id()] = std::move(kernel);
    return absl::OkStatus();
  }

  static const Tensor* ConstantOf(const Node& n) {
    if (!n.Is(kConstant)) return nullptr;
    const AttrValue* value = n.attrs().Find("value");
    return value == nullptr ? nullptr : value->As<Tensor>();
  }

  // For lanes also changes the order.
  void ChooseTier(std::vector<Node*>* order) {
    p_.tier_reason = "no kernel waits";
    for (size_t id = 0; id < kernels_.size(); ++id) {
      if (kernels_[id] == nullptr || !kernels_[id]->IsAsync()) continue;
      p_.tier = Tier::kDataflow;
      p_.tier_reason = absl::StrCat(p_.graph->FindById(static_cast<int>(id))->info().Describe(), " may wait");
      return;
    }
    ConsiderLanes(order);
  }

  void ConsiderLanes(std::vector<Node*>* order) {
    division_ = DivideIntoLanes(p_, *order, [this](const Node& n) { return HasInstruction(n); });
    if (!division_.reason.empty()) absl::StrAppend(&p_.tier_reason, "; ", division_.reason);
    if (division_.lanes == 1) return;
    p_.tier = Tier::kLanes;
    *order = division_.order;
  }

  uint32_t NewSlot(const Node* node, int output, Slot::Kind kind) {
    Slot slot;
    slot.kind = kind;
    slot.node = node;
    slot.output = output;
    p_.slots.push_back(std::move(slot));
    uint32_t s = static_cast<uint32_t>(p_.slots.size() - 1);
    if (output == 0) first_slot_[node->id()] = s;  // those of the others follow
    return s;
  }
  uint32_t SlotOf(const Endpoint& e) const { return first_slot_[e.node->id()] + static_cast<uint32_t>(e.index); }

  absl::Status AddNode(Node* n) {
    if (IsArg(*n)) {
      ASSIGN_OR_RETURN(int64_t index, n->info().Attr<int64_t>("index"));
      p_.arguments.push_back({static_cast<int>(index), NewSlot(n, 0, Slot::kArgument), false});
      return absl::OkStatus();
    }
    if (n->Is(kConstant)) {
      const Tensor* value = ConstantOf(*n);
      if (value == nullptr) return InvalidArgument("a constant needs the attribute 'value'");
      p_.slots[NewSlot(n, 0, Slot::kConstant)].constant = *value;
      return absl::OkStatus();
    }
    if (IsRetval(*n)) {
      ASSIGN_OR_RETURN(int64_t index, n->info().Attr<int64_t>("index"));
      p_.results.push_back({static_cast<int>(index), SlotOf(n->input(0)), false});
      return absl::OkStatus();
    }
    if (!HasInstruction(*n)) {
      if (n->num_outputs() == 1) first_slot_[n->id()] = SlotOf(n->input(0));
      return absl::OkStatus();
    }
    Instruction i;
    std::unique_ptr<Kernel>& kernel = kernels_[n->id()];
    i.kernel = kernel.get();
    i.first_operand = static_cast<uint32_t>(p_.operands.size());
    i.num_inputs = static_cast<uint32_t>(n->num_inputs());
    i.num_outputs = static_cast<uint32_t>(n->num_outputs());
    if (kernel->IsAsync()) i.flags |= kAsyncInstruction;
    if (p_.tier == Tier::kDataflow) i.work_ns = static_cast<float>(WorkToShare(*n));
    if (i.work_ns > 0) i.flags |= kWorthSharing;
    const uint32_t me = static_cast<uint32_t>(p_.instructions.size());
    last_reader_.resize(p_.slots.size(), kNone);
    for (const Endpoint& in : n->inputs()) {
      uint32_t s = SlotOf(in);
      p_.operands.push_back(s);
      if (last_reader_[s] == me) continue;  // reads it twice
      last_reader_[s] = me;
      ++p_.slots[s].readers;
    }
    for (int o = 0; o < n->num_outputs(); ++o) p_.operands.push_back(NewSlot(n, o, Slot::kDynamic));
    instruction_of_[n->id()] = me;
    p_.instructions.push_back(i);
    p_.nodes.push_back(n);
    p_.kernels.push_back(std::move(kernel));
    return absl::OkStatus();
  }

  // 0 for what is done sooner than another thread has it.
  double WorkToShare(const Node& n) const {
    if (n.Is(kCheap)) return 0;
    const double ns = work_.Ns(n);
    if (IsLarge(n)) return std::max(ns, kLargeNs);
    return ns >= kWorthSharingNs ? ns : 0;
  }

  static bool IsLarge(const Node& n) {
    int64_t bytes = 0;
    for (int i = 0; i < n.num_outputs(); ++i) {
      int64_t count = n.output_shape(i).num_elements();
      if (count < 0) return !n.Is(kElementwise);
      if (count >= kWorthSharingBytes) return true;  // a shape may have more elements than bytes can be counted
      bytes += count * static_cast<int64_t>(ElementSize(BaseType(n.output_type(i))));
    }
    for (const Endpoint& in : n.inputs()) {
      int64_t count = in.node->output_shape(in.index).num_elements();
      if (count >= kWorthSharingBytes) return true;
      if (count > 0) bytes += count * static_cast<int64_t>(ElementSize(BaseType(in.node->output_type(in.index))));
    }
    return bytes >= kWorthSharingBytes;
  }

  void FinishResults() {
    for (Binding& r : p_.results) p_.slots[r.slot].is_result = true;
    for (size_t a = 0; a < p_.results.size(); ++a) {
      Binding& r = p_.results[a];
      bool last = true;
      for (size_t b = a + 1; b < p_.results.size(); ++b) last = last && p_.results[b].slot != r.slot;
      r.move = last && p_.slots[r.slot].kind == Slot::kDynamic;
    }
  }

  // Users of one resource run in the order of the lane, so that results do not depend on timing. Nodes behind a wait
  // are left out: what they wait for may itself need the resource.
  std::vector<std::vector<const Node*>> StateOrder(const std::vector<Node*>& order) const {
    struct Users {
      const Node* writer = nullptr;
      std::vector<const Node*> readers;  // since
    };
    std::vector<std::vector<const Node*>> after(p_.graph->num_node_ids());
    std::vector<bool> waits(after.size(), false);
    absl::flat_hash_map<const Node*, Users> users;
    for (const Node* n : order) {
      const uint32_t k = instruction_of_[n->id()];
      const bool async = k != kNone && p_.instructions[k].kernel->IsAsync();
      bool behind = async;
      for (const Endpoint& in : n->inputs()) behind = behind || waits[in.node->id()];
      for (const Node* c : n->control_inputs()) behind = behind || waits[c->id()];
      waits[n->id()] = behind;
      if (k == kNone || async) continue;
      for (int i = 0; i < n->num_inputs(); ++i) {
        const Node* owner = StateOwner(*n, i);
        if (owner == nullptr) continue;
        Users& u = users[owner];
        std::vector<const Node*>& mine = after[n->id()];
        if (u.writer != nullptr && u.writer != n) mine.push_back(u.writer);
        if (n->Is(kWritesState)) {
          mine.insert(mine.end(), u.readers.begin(), u.readers.end());
          if (!behind) u = {n, {}};
        } else if (!behind) {
          u.readers.push_back(n);
        }
      }
    }
    return after;
  }

  // Edges between instructions; nodes without one pass on what they depend on.
  void AddSuccessors(const std::vector<Node*>& order) {
    const std::vector<std::vector<const Node*>> state_order = StateOrder(order);
    std::vector<std::vector<uint32_t>> before(p_.graph->num_node_ids());
    std::vector<std::vector<uint32_t>> after(p_.instructions.size());
    for (Node* n : order) {
      std::vector<uint32_t>& mine = before[n->id()];
      auto depend = [&](const Node* on) {
        const uint32_t k = instruction_of_[on->id()];
        if (k != kNone) {
          mine.push_back(k);
        } else {
          mine.insert(mine.end(), before[on->id()].begin(), before[on->id()].end());
        }
      };
      for (const Endpoint& in : n->inputs()) depend(in.node);
      for (Node* c : n->control_inputs()) depend(c);
      for (const Node* earlier : state_order[n->id()]) depend(earlier);
      std::sort(mine.begin(), mine.end());
      mine.erase(std::unique(mine.begin(), mine.end()), mine.end());
      const uint32_t k = instruction_of_[n->id()];
      if (k == kNone) continue;
      p_.instructions[k].num_predecessors = static_cast<uint32_t>(mine.size());
      if (mine.empty()) p_.initial.push_back(k);
      for (uint32_t b : mine) after[b].push_back(k);
    }
    for (size_t k = 0; k < after.size(); ++k) {
      p_.instructions[k].successor_begin = static_cast<uint32_t>(p_.successors.size());
      for (uint32_t a : after[k]) {
        const Instruction& i = p_.instructions[a];
        p_.successors.push_back(a | (i.num_predecessors == 1 ? kOnlyPredecessor : 0u) |
                                ((i.flags & kAsyncInstruction) != 0 ? kSuccessorWaits : 0u) |
                                ((i.flags & kWorthSharing) != 0 ? kSuccessorIsHeavy : 0u));
      }
      p_.instructions[k].successor_end = static_cast<uint32_t>(p_.successors.size());
    }
  }

  PartitionPlan& p_;
  const NodeWork work_;
  static constexpr uint32_t kNone = kNoInstruction;
  // By the id of a node.
  std::vector<std::unique_ptr<Kernel>> kernels_;
  std::vector<uint32_t> first_slot_, instruction_of_;
  std::vector<uint32_t> last_reader_;  // of a slot
  LaneDivision division_;
};

// Lanes that would take much more memory than one are not worth their time.
bool TakesTooMuch(const PartitionPlan& plan, int64_t bytes_of_one) {
  return plan.arena_bytes > 2 * bytes_of_one + kSpareArenaBytes;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PartitionPlan>> PartitionPlan::Make(std::unique_ptr<Graph> graph,
                                                                   const PlanEnvironment& environment) {
  auto plan = std::make_unique<PartitionPlan>();
  plan->graph = std::move(graph);
  plan->environment = environment;
  RETURN_IF_ERROR(environment.passes.Run(plan->graph.get(), PassContext()));
  RETURN_IF_ERROR(Builder(plan.get()).Build());
  if (plan->tier != Tier::kLanes || environment.lanes > 1 || plan->arena_bytes <= kSpareArenaBytes) return plan;
  auto one = std::make_unique<PartitionPlan>();
  one->environment = environment;
  one->environment.lanes = 1;
  one->graph = std::move(plan->graph);
  RETURN_IF_ERROR(Builder(one.get()).Build());
  if (TakesTooMuch(*plan, one->arena_bytes)) {
    absl::StrAppendFormat(&one->tier_reason, "; %d lanes would take %d bytes instead of %d", plan->num_lanes(),
                          plan->arena_bytes, one->arena_bytes);
    return one;
  }
  plan->graph = std::move(one->graph);
  return plan;
}

std::string PartitionPlan::Dump() const {
  const char* name = tier == Tier::kLane ? "static lane" : tier == Tier::kLanes ? "static lanes" : "dataflow";
  std::string out = absl::StrFormat("%s: %s (%s), %d instructions, %d slots\n", environment.device->name(), name,
                                    tier_reason, instructions.size(), slots.size());
  std::vector<std::string> place(instructions.size());
  for (int l = 0; tier == Tier::kLanes && l < num_lanes(); ++l) {
    for (uint32_t e = lane_begin[l]; e < lane_begin[l + 1]; ++e) {
      const LaneEntry& entry = lane_entries[e];
      std::string& text = place[entry.instruction];
      text = absl::StrCat(" lane ", l, "[", e - lane_begin[l], "]");
      for (uint32_t w = entry.wait_begin; w < entry.wait_end; ++w) {
        absl::StrAppend(&text, w == entry.wait_begin ? " after " : ", ", lane_waits[w].lane, "[",
                        lane_waits[w].progress - 1, "]");
      }
    }
  }
  if (tier != Tier::kDataflow) {
    absl::StrAppendFormat(&out, "memory: arena %d bytes (lower bound %d, without reuse %d), %d in place\n", arena_bytes,
                          arena_lower_bound, unshared_bytes, in_place);
  }
  auto slot_name = [&](uint32_t s) {
    const Slot& slot = slots[s];
    std::string text = absl::StrCat(slot.node->name(), ":", slot.output);
    switch (slot.kind) {
      case Slot::kArena:
        absl::StrAppendFormat(&text, "@%d+%d", slot.offset, slot.bytes);
        break;
      case Slot::kConstant:
        text += "(constant)";
        break;
      case Slot::kArgument:
        text += "(fed)";
        break;
      case Slot::kDynamic:
        break;
    }
    return text;
  };
  for (size_t k = 0; k < instructions.size(); ++k) {
    const Instruction& i = instructions[k];
    absl::StrAppendFormat(&out, "%4d %s '%s'", k, nodes[k]->op().name, nodes[k]->name());
    for (uint32_t j = 0; j < i.num_inputs; ++j) {
      bool dies = j < 64 && ((i.last_use >> j) & 1) != 0;
      absl::StrAppend(&out, j == 0 ? " (" : ", ", slot_name(operands[i.first_operand + j]), dies ? "!" : "");
    }
    if (i.num_inputs > 0) out += ")";
    for (uint32_t j = 0; j < i.num_outputs; ++j) {
      absl::StrAppend(&out, j == 0 ? " -> " : ", ", slot_name(operands[i.first_operand + i.num_inputs + j]));
    }
    if ((i.flags & kAsyncInstruction) != 0) out += " async";
    out += place[k];
    out += "\n";
  }
  return out;
}

}  // namespace sluice
