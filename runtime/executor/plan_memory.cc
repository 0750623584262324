#include "runtime/executor/plan_memory.h"

#include <algorithm>
#include <numeric>

#include "runtime/memory/packing.h"

namespace sluice {
namespace {

constexpr int64_t kArenaAlignment = 128;  // of a lane's part: no two lanes write to one pair of lines

// A lifetime ends where every use has ended: by lane, how many of its entries these are ("needs").
class LaneMemory {
 public:
  LaneMemory(const LaneClocks& clocks, PartitionPlan* plan)
      : p_(*plan), clocks_(clocks), n_(static_cast<int>(plan->slots.size())), lanes_(clocks.lanes()) {
    group_.resize(n_);
    std::iota(group_.begin(), group_.end(), 0);
    maker_.assign(n_, -1);
    needs_.assign(n_ * lanes_, 0);
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
    Merge(&group_needs_[b * lanes_], &group_needs_[a * lanes_]);
    escapes_[a] = escapes_[a] || escapes_[b];
  }

  void Merge(const uint32_t* from, uint32_t* to) const {
    for (size_t l = 0; l < lanes_; ++l) to[l] = std::max(to[l], from[l]);
  }
  void Use(uint32_t s, uint32_t k) {
    uint32_t& need = needs_[s * lanes_ + clocks_.Lane(k)];
    need = std::max(need, clocks_.Position(k) + 1);
  }
  // Whether nobody uses the bytes after k, one of their users.
  bool GroupEndsAt(int s, uint32_t k) { return clocks_.HasEnded(&group_needs_[Group(s) * lanes_], k, true); }
  bool SlotEndsAt(int s, uint32_t k) const { return clocks_.HasEnded(&needs_[s * lanes_], k, true); }

  void FindLifetimes() {
    for (uint32_t k = 0; k < static_cast<uint32_t>(p_.instructions.size()); ++k) {
      const Instruction& i = p_.instructions[k];
      for (uint32_t j = 0; j < i.num_inputs; ++j) Use(Input(i, j), k);
      for (uint32_t j = 0; j < i.num_outputs; ++j) {
        maker_[Output(i, j)] = static_cast<int>(k);
        Use(Output(i, j), k);
      }
    }
    group_needs_ = needs_;
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
        const uint32_t at = static_cast<uint32_t>(k);
        if (GroupIsPlanned(s) ? GroupEndsAt(s, at) : SlotEndsAt(s, at)) i.last_use |= uint64_t{1} << j;
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
      if (!planned_[s] || Group(s) == Group(out) || !GroupEndsAt(s, static_cast<uint32_t>(k))) continue;
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
    // What is made first at a place is made by the lane in whose part of the arena it lies, so that its place is free
    // again at a moment which that lane knows.
    std::vector<uint32_t> needs = needs_;  // of places
    for (int s = 0; s < n_; ++s) {
      if (planned_[s]) Merge(&group_needs_[Group(s) * lanes_], &needs[place[s] * lanes_]);
    }
    for (uint32_t lane = 0; lane < lanes_; ++lane) {
      std::vector<int> roots;
      std::vector<Region> regions;
      for (int s = 0; s < n_; ++s) {
        if (!planned_[s] || place[s] != s || clocks_.Lane(static_cast<uint32_t>(maker_[s])) != lane) continue;
        roots.push_back(s);
        const uint32_t begin = clocks_.Position(static_cast<uint32_t>(maker_[s]));
        const uint32_t end = clocks_.FirstAfter(&needs[s * lanes_], lane, false);
        regions.push_back({p_.slots[s].bytes, static_cast<int>(begin), static_cast<int>(end) - 1});
      }
      if (regions.empty()) continue;
      p_.arena_bytes = (p_.arena_bytes + kArenaAlignment - 1) / kArenaAlignment * kArenaAlignment;
      const Packing packing = PackRegions(regions);
      for (size_t r = 0; r < roots.size(); ++r) p_.slots[roots[r]].offset = p_.arena_bytes + packing.offsets[r];
      p_.arena_bytes += packing.total;
      p_.arena_lower_bound += packing.lower_bound;
    }
    for (int s = 0; s < n_; ++s) {
      if (!planned_[s]) continue;
      p_.slots[s].kind = Slot::kArena;
      p_.slots[s].offset = p_.slots[place[s]].offset;
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
      if ((slot.kind != Slot::kDynamic && slot.kind != Slot::kArgument) || slot.is_result) continue;
      const uint32_t* needs = &needs_[s * lanes_];
      if (std::all_of(needs, needs + lanes_, [](uint32_t need) { return need == 0; })) continue;
      // The first instruction, in whichever lane, with which every use has ended.
      uint32_t first = static_cast<uint32_t>(at.size());
      for (uint32_t lane = 0; lane < lanes_; ++lane) {
        const uint32_t position = clocks_.FirstAfter(needs, lane, true);
        if (position < clocks_.Count(lane)) first = std::min(first, clocks_.At(lane, position));
      }
      (first < at.size() ? at[first] : p_.final_releases).push_back(static_cast<uint32_t>(s));
    }
    for (size_t k = 0; k < at.size(); ++k) {
      p_.instructions[k].release_begin = static_cast<uint32_t>(p_.releases.size());
      p_.releases.insert(p_.releases.end(), at[k].begin(), at[k].end());
      p_.instructions[k].release_end = static_cast<uint32_t>(p_.releases.size());
    }
  }

  PartitionPlan& p_;
  const LaneClocks& clocks_;
  const int n_;
  const size_t lanes_;
  std::vector<int> group_;
  std::vector<int> maker_;             // instruction of each slot, or -1
  std::vector<uint32_t> needs_;        // of the slot itself, then by lane
  std::vector<uint32_t> group_needs_;  // of the group at its representative
  std::vector<bool> planned_, escapes_, planned_groups_;
};

}  // namespace

void PlanLaneMemory(const LaneClocks& clocks, PartitionPlan* plan) { LaneMemory(clocks, plan).Run(); }

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
