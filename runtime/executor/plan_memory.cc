#include "runtime/executor/plan_memory.h"

#include <algorithm>
#include <numeric>

#include "runtime/memory/packing.h"

namespace sluice {
namespace {

constexpr int kForever = INT32_MAX;

class LaneMemory {
 public:
  explicit LaneMemory(PartitionPlan* plan) : p_(*plan), n_(static_cast<int>(plan->slots.size())) {
    group_.resize(n_);
    std::iota(group_.begin(), group_.end(), 0);
    first_.assign(n_, 0);
    last_.assign(n_, -1);
    planned_.assign(n_, false);
    escapes_.assign(n_, false);
  }

  void Run() {
    FindLifetimes();
    FindGroups();
    ChoosePlanned();
    SetLastUse();
    Pack();
    SetReleases();
  }

 private:
  uint32_t Input(const Instruction& i, uint32_t k) const { return p_.operands[i.first_operand + k]; }
  uint32_t Output(const Instruction& i, uint32_t k) const { return p_.operands[i.first_operand + i.num_inputs + k]; }

  int Group(int s) {
    while (group_[s] != s) s = group_[s] = group_[group_[s]];
    return s;
  }
  // Joins the lifetimes and fates of two groups.
  void Join(int a, int b) {
    a = Group(a);
    b = Group(b);
    if (a == b) return;
    group_[b] = a;
    first_[a] = std::min(first_[a], first_[b]);
    last_[a] = std::max(last_[a], last_[b]);
    escapes_[a] = escapes_[a] || escapes_[b];
  }

  void FindLifetimes() {
    for (int k = 0; k < static_cast<int>(p_.instructions.size()); ++k) {
      const Instruction& i = p_.instructions[k];
      for (uint32_t j = 0; j < i.num_inputs; ++j) last_[Input(i, j)] = k;
      for (uint32_t j = 0; j < i.num_outputs; ++j) {
        first_[Output(i, j)] = k;
        last_[Output(i, j)] = std::max(last_[Output(i, j)], k);
      }
    }
    for (int s = 0; s < n_; ++s) {
      if (p_.slots[s].is_result) last_[s] = kForever;
    }
    own_last_ = last_;
    for (int s = 0; s < n_; ++s) escapes_[s] = p_.slots[s].is_result || p_.slots[s].kind != Slot::kDynamic;
  }

  void FindGroups() {
    for (size_t k = 0; k < p_.instructions.size(); ++k) {
      const Instruction& i = p_.instructions[k];
      const Node& node = *p_.nodes[k];
      if (node.Is(kKeepsInputs) || (i.flags & kAsyncInstruction) != 0) {
        for (uint32_t j = 0; j < i.num_inputs; ++j) escapes_[Group(Input(i, j))] = true;
      }
      if (!node.Is(kMayAlias)) continue;
      for (uint32_t j = 0; j < i.num_inputs; ++j) {
        for (uint32_t o = 0; o < i.num_outputs; ++o) Join(Input(i, j), Output(i, o));
      }
    }
  }

  static int64_t StaticBytes(const Node& node, int output) {
    const PartialShape& shape = node.output_shape(output);
    if (!IsPlain(node.output_type(output)) || !shape.IsFullyKnown()) return -1;
    return MultiplyWithoutOverflow(shape.num_elements(), static_cast<int64_t>(ElementSize(node.output_type(output))));
  }

  void ChoosePlanned() {
    constexpr int64_t kLargest = int64_t{1} << 40;  // beyond it the allocator gives the error, in the step
    for (size_t k = 0; k < p_.instructions.size(); ++k) {
      const Instruction& i = p_.instructions[k];
      const Node& node = *p_.nodes[k];
      bool passes_on = node.Is(kMayAlias) || node.Is(kBlocking) || node.Is(kReadsState) || node.Is(kKeepsInputs) ||
                       (node.Is(kStateful) && !node.Is(kRandom)) || (i.flags & kAsyncInstruction) != 0;
      if (passes_on || !p_.environment.device->IsHost()) continue;
      for (uint32_t o = 0; o < i.num_outputs; ++o) {
        int s = static_cast<int>(Output(i, o));
        int64_t bytes = StaticBytes(node, static_cast<int>(o));
        if (bytes <= 0 || bytes > kLargest || escapes_[Group(s)]) continue;
        planned_[s] = true;
        p_.slots[s].bytes = bytes;
        p_.unshared_bytes += bytes;
      }
    }
  }

  // Before places are shared: whose bytes nobody reads after an instruction.
  void SetLastUse() {
    for (int k = 0; k < static_cast<int>(p_.instructions.size()); ++k) {
      Instruction& i = p_.instructions[k];
      for (uint32_t j = 0; j < i.num_inputs && j < 64; ++j) {
        int s = static_cast<int>(Input(i, j));
        const Slot& slot = p_.slots[s];
        if (slot.kind == Slot::kConstant || slot.is_result || ReadTwice(i, j)) continue;
        // Outside the arena the reference count knows of other holders, so the slot's own end counts.
        if ((GroupIsPlanned(s) ? last_[Group(s)] : own_last_[s]) == k) i.last_use |= uint64_t{1} << j;
      }
    }
  }

  bool GroupIsPlanned(int s) {
    if (planned_groups_.empty()) {
      planned_groups_.assign(n_, false);
      for (int t = 0; t < n_; ++t) {
        if (planned_[t]) planned_groups_[Group(t)] = true;
      }
    }
    return planned_groups_[Group(s)];
  }

  bool ReadTwice(const Instruction& i, uint32_t j) const {
    for (uint32_t other = 0; other < i.num_inputs; ++other) {
      if (other != j && Input(i, other) == Input(i, j)) return true;
    }
    return false;
  }

  // An input of an element-wise op that dies here, in the arena, with as many elements of the same size as the output.
  int PlaceToTakeOver(int k, uint32_t o) {
    const Instruction& i = p_.instructions[k];
    const Node& node = *p_.nodes[k];
    if (!node.Is(kElementwise) && !node.Is(kAggregate)) return -1;
    if (i.num_outputs != 1) return -1;
    const int out = static_cast<int>(Output(i, o));
    uint32_t candidates = node.Is(kAggregate) ? 1 : i.num_inputs;
    for (uint32_t j = 0; j < candidates && j < i.num_inputs; ++j) {
      const int s = static_cast<int>(Input(i, j));
      if (!planned_[s] || last_[Group(s)] != k || Group(s) == Group(out)) continue;
      if (node.Is(kAggregate) && ReadTwice(i, j)) continue;
      const Slot& slot = p_.slots[s];
      if (slot.bytes != p_.slots[out].bytes) continue;
      if (!(slot.node->output_shape(slot.output) == node.output_shape(static_cast<int>(o)))) continue;
      if (ElementSize(slot.node->output_type(slot.output)) != ElementSize(node.output_type(static_cast<int>(o))))
        continue;
      return s;
    }
    return -1;
  }

  void Pack() {
    // In order, so that chains of element-wise ops share one place.
    std::vector<int> place(n_);
    std::iota(place.begin(), place.end(), 0);
    for (int k = 0; k < static_cast<int>(p_.instructions.size()); ++k) {
      const Instruction& i = p_.instructions[k];
      for (uint32_t o = 0; o < i.num_outputs; ++o) {
        int out = static_cast<int>(Output(i, o));
        if (!planned_[out]) continue;
        int from = PlaceToTakeOver(k, o);
        if (from < 0) continue;
        place[out] = place[from];
        ++p_.in_place;
      }
    }
    std::vector<Region> regions;
    std::vector<int> region_of(n_, -1);
    for (int s = 0; s < n_; ++s) {
      if (!planned_[s]) continue;
      int& r = region_of[place[s]];
      if (r < 0) {
        r = static_cast<int>(regions.size());
        regions.push_back({p_.slots[s].bytes, first_[Group(s)], last_[Group(s)]});
      }
      Region& region = regions[r];
      region.begin = std::min(region.begin, first_[s]);
      region.end = std::max(region.end, last_[Group(s)]);
    }
    Packing packing = PackRegions(regions);
    p_.arena_bytes = packing.total;
    p_.arena_lower_bound = packing.lower_bound;
    for (int s = 0; s < n_; ++s) {
      if (!planned_[s]) continue;
      p_.slots[s].kind = Slot::kArena;
      p_.slots[s].offset = packing.offsets[region_of[place[s]]];
    }
    for (size_t k = 0; k < p_.instructions.size(); ++k) {
      Instruction& i = p_.instructions[k];
      for (uint32_t o = 0; o < i.num_outputs; ++o) {
        if (planned_[Output(i, o)]) i.flags |= kPlannedOutputs;
        if (p_.arena_bytes > 0 && !p_.nodes[k]->Is(kMayAlias)) i.flags |= kCheckOutputs;
      }
    }
  }

  void SetReleases() {
    std::vector<std::vector<uint32_t>> at(p_.instructions.size());
    for (int s = 0; s < n_; ++s) {
      const Slot& slot = p_.slots[s];
      if ((slot.kind != Slot::kDynamic && slot.kind != Slot::kArgument) || own_last_[s] == kForever || own_last_[s] < 0)
        continue;
      at[own_last_[s]].push_back(static_cast<uint32_t>(s));
    }
    for (size_t k = 0; k < at.size(); ++k) {
      p_.instructions[k].release_begin = static_cast<uint32_t>(p_.releases.size());
      p_.releases.insert(p_.releases.end(), at[k].begin(), at[k].end());
      p_.instructions[k].release_end = static_cast<uint32_t>(p_.releases.size());
    }
  }

  PartitionPlan& p_;
  const int n_;
  std::vector<int> group_;
  std::vector<int> first_, last_;  // of the group at its representative
  std::vector<int> own_last_;      // of the slot itself
  std::vector<bool> planned_, escapes_, planned_groups_;
};

}  // namespace

void PlanLaneMemory(PartitionPlan* plan) { LaneMemory(plan).Run(); }

void PlanDataflowMemory(PartitionPlan* plan) {
  auto goes = [](const Slot& slot) { return slot.kind != Slot::kConstant && !slot.is_result; };
  std::vector<uint32_t> read;
  for (Instruction& i : plan->instructions) {
    auto first = plan->operands.begin() + i.first_operand;
    read.assign(first, first + i.num_inputs);
    std::sort(read.begin(), read.end());
    read.erase(std::unique(read.begin(), read.end()), read.end());
    i.release_begin = static_cast<uint32_t>(plan->releases.size());
    for (uint32_t s : read) {
      if (goes(plan->slots[s]) && plan->slots[s].readers > 1) plan->releases.push_back(s);
    }
    i.release_end = static_cast<uint32_t>(plan->releases.size());
    // What nobody else reads goes with the instruction, and so do outputs that nobody reads.
    for (uint32_t s : read) {
      if (goes(plan->slots[s]) && plan->slots[s].readers == 1) plan->releases.push_back(s);
    }
    for (uint32_t o = 0; o < i.num_outputs; ++o) {
      const uint32_t s = *(first + i.num_inputs + o);
      if (plan->slots[s].readers == 0 && !plan->slots[s].is_result) plan->releases.push_back(s);
    }
    i.drop_end = static_cast<uint32_t>(plan->releases.size());
    for (uint32_t j = 0; j < i.num_inputs && j < 64; ++j) {
      const Slot& slot = plan->slots[first[j]];
      // The only reader of a slot is also the last; with several the order is not known.
      if (slot.readers == 1 && std::count(first, first + i.num_inputs, first[j]) == 1 && goes(slot))
        i.last_use |= uint64_t{1} << j;
    }
  }
}

}  // namespace sluice
