#include "runtime/placer/placer.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "core/base/status.h"
#include "runtime/placer/placement.h"

namespace sluice {
namespace {

class Placer {
 public:
  Placer(Graph* graph, const std::vector<PlacerDevice>& devices, const PlacerOptions& options)
      : graph_(*graph), options_(options), nodes_(graph->nodes()), p_(*graph, devices, options) {
    for (const PlacerDevice& d : devices) {
      auto type = std::find(types_.begin(), types_.end(), d.type);
      type_of_.push_back(static_cast<int>(type - types_.begin()));
      if (type == types_.end()) types_.push_back(d.type);
    }
  }

  absl::StatusOr<std::string> Run() {
    if (p_.devices.empty()) return InvalidArgument("there are no devices to place nodes on");
    RETURN_IF_ERROR(RankDevices());
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_.TopologicalOrder());
    RETURN_IF_ERROR(GatherWishes());
    for (int g = 0; g < p_.groups.size(); ++g) RETURN_IF_ERROR(FindCandidates(g));
    if (options_.cost_aware) Simulate();
    // Sources last: they follow their consumers.
    for (const Node* n : order) {
      if (!IsFreeSource(*n)) Choose(*n);
    }
    for (auto it = order.rbegin(); it != order.rend(); ++it) Choose(**it);
    for (Node* n : nodes_) {
      const PlacerDevice& d = p_.devices[PlanOf(*n).device];
      n->set_assigned_device(d.name);
      if (options_.history == nullptr) continue;
      if (OwnsState(*n)) options_.history->Remember(n->name(), d.name);
      const ColocationGroups::BodyState* bodies = p_.groups.BodyStateOf(n);
      if (bodies == nullptr) continue;
      for (const auto& [name, owner] : *bodies) options_.history->Remember(name, d.name);
    }
    RETURN_IF_ERROR(CheckLooseResources());
    return options_.explain ? ExplainPlacement(p_) : std::string();
  }

 private:
  GroupPlacement& PlanOf(const Node& n) { return p_.plans[p_.groups.Of(&n)]; }

  absl::Status RankDevices() {
    DeviceName preferred = p_.devices[0].parsed;
    preferred.type.reset();
    preferred.index.reset();
    if (!options_.default_device.empty()) {
      ASSIGN_OR_RETURN(preferred, DeviceName::Parse(options_.default_device));
    }
    DeviceName task = preferred;
    task.type.reset();
    task.index.reset();
    for (const PlacerDevice& d : p_.devices) {
      nearness_.push_back(preferred.Matches(d.parsed) ? 2 : task.Matches(d.parsed) ? 1 : 0);
    }
    order_.resize(p_.devices.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(), [&](int a, int b) {
      if (nearness_[a] != nearness_[b]) return nearness_[a] > nearness_[b];
      return (p_.devices[a].type != kCpu) > (p_.devices[b].type != kCpu);
    });
    return absl::OkStatus();
  }

  // Owners of state speak before those who use it.
  absl::Status GatherWishes() {
    for (bool followers : {false, true}) {
      for (const Node* n : nodes_) {
        if (FollowsState(p_, *n) != followers) continue;
        ASSIGN_OR_RETURN(std::vector<Wish> bodies, BodyWishesOf(p_, *n));
        for (Wish& wish : bodies) RETURN_IF_ERROR(AddWish(*n, std::move(wish), followers));
        absl::StatusOr<Wish> wish = WishOf(p_, *n);
        if (!wish.ok()) return Annotate(wish.status(), absl::StrCat("cannot place ", n->info().Describe(), ": "));
        RETURN_IF_ERROR(AddWish(*n, *std::move(wish), followers));
      }
    }
    return absl::OkStatus();
  }

  absl::Status AddWish(const Node& n, Wish wish, bool follower) {
    if (wish.text.empty()) return absl::OkStatus();
    GroupPlacement& g = PlanOf(n);
    if (std::any_of(g.wishes.begin(), g.wishes.end(), [&](const Wish& w) { return w.name == wish.name; })) {
      return absl::OkStatus();
    }
    absl::StatusOr<DeviceName> both = DeviceName::Intersect(g.wanted, wish.name);
    if (both.ok()) {
      g.wanted = *std::move(both);
      g.wishes.push_back(std::move(wish));
      return absl::OkStatus();
    }
    if (wish.source != Wish::kAsked || !(follower || options_.soft_placement)) {
      return ExplainConflict(p_, p_.groups.Of(&n));
    }
    p_.overruled.emplace(&n, std::move(wish.text));
    return absl::OkStatus();
  }

  absl::Status FindCandidates(int group) {
    GroupPlacement& g = p_.plans[group];
    // Kernels: the sum of the priorities for each type, or the member that has none.
    std::vector<int64_t> priority(types_.size(), 0);
    std::vector<const Node*> lacks(types_.size(), nullptr);
    for (const Node* n : p_.groups.members(group)) {
      for (size_t t = 0; t < types_.size(); ++t) {
        if (lacks[t] != nullptr) continue;
        const KernelDef* kernel = options_.kernels->Find(n->info(), types_[t]);
        if (kernel == nullptr) {
          lacks[t] = n;
        } else {
          priority[t] += kernel->priority;
        }
      }
    }
    auto fit = [&](const DeviceName& wanted) {
      for (int d : order_) {
        if (!wanted.Matches(p_.devices[d].parsed)) continue;
        const int t = type_of_[d];
        if (lacks[t] == nullptr) {
          g.candidates.push_back(d);
        } else if (g.lacks == nullptr) {
          g.lacks = lacks[t];
          g.lacks_type = types_[t];
        }
      }
    };
    fit(g.wanted);
    if (g.candidates.empty() && options_.soft_placement && (g.wanted.type || g.wanted.index)) {
      g.softened = true;
      DeviceName task = g.wanted;
      task.type.reset();
      task.index.reset();
      fit(task);
    }
    if (g.candidates.empty()) return ExplainConflict(p_, group);
    if (std::all_of(priority.begin(), priority.end(), [&](int64_t v) { return v == priority[0]; })) {
      return absl::OkStatus();
    }
    const int before = g.candidates[0];
    std::stable_sort(g.candidates.begin(), g.candidates.end(), [&](int a, int b) {
      if (nearness_[a] != nearness_[b]) return nearness_[a] > nearness_[b];
      return priority[type_of_[a]] > priority[type_of_[b]];
    });
    g.by_priority = g.candidates[0] != before;
    return absl::OkStatus();
  }

  // A handle works in the process that made it.
  absl::Status CheckLooseResources() const {
    for (const auto& [user, owner] : p_.groups.loose()) {
      DeviceName a = p_.devices[p_.plans[p_.groups.Of(user)].device].parsed;
      const DeviceName& b = p_.devices[p_.plans[p_.groups.Of(owner)].device].parsed;
      if (a.job == b.job && a.replica == b.replica && a.task == b.task) continue;
      return InvalidArgument("cannot place ", user->info().Describe(), " on ", user->assigned_device(),
                             ": its functions use the resource of ", owner->info().Describe(), ", which is on ",
                             owner->assigned_device(),
                             "; functions use resources of one task: read the value outside and capture that");
    }
    return absl::OkStatus();
  }

  bool IsAlone(const Node& n) const { return p_.groups.members(p_.groups.Of(&n)).size() == 1; }
  bool IsFreeSource(const Node& n) {
    return n.num_inputs() == 0 && n.num_outputs() > 0 && IsAlone(n) && PlanOf(n).wishes.empty() && !OwnsState(n);
  }

  void Simulate() {
    std::vector<SimulatedDevice> devices;
    for (const PlacerDevice& d : p_.devices) devices.push_back({d.parsed, d.type});
    std::vector<SimulatedGroup> groups(p_.plans.size());
    std::vector<int> group_of(graph_.num_node_ids(), 0);
    for (size_t g = 0; g < groups.size(); ++g) {
      groups[g].candidates = p_.plans[g].candidates;
      if (groups[g].candidates.size() == 1) groups[g].device = groups[g].candidates[0];
    }
    for (const Node* n : nodes_) {
      const int g = group_of[n->id()] = p_.groups.Of(n);
      // State must be found again by steps that are placed without this one.
      if (OwnsState(*n) || FollowsState(p_, *n)) groups[g].device = groups[g].candidates[0];
    }
    const CostModel estimates;
    const Topology nearness;
    Simulation(graph_, devices, options_.costs != nullptr ? *options_.costs : estimates,
               options_.topology != nullptr ? *options_.topology : nearness, std::move(group_of), &groups)
        .Run();
    for (size_t g = 0; g < groups.size(); ++g) {
      GroupPlacement& plan = p_.plans[g];
      if (groups[g].follows != nullptr) {
        plan.device = groups[g].device;
        plan.why = GroupPlacement::kInput;
        plan.other = groups[g].follows;
      } else if (groups[g].decided_by != nullptr) {
        plan.device = groups[g].device;
        plan.why = GroupPlacement::kCost;
        plan.simulated = std::move(groups[g]);
      }
    }
  }

  void Choose(const Node& n) {
    GroupPlacement& g = PlanOf(n);
    if (g.device >= 0) return;
    g.device = g.candidates[0];
    if (g.candidates.size() == 1 || !g.wishes.empty() || !IsAlone(n) || OwnsState(n)) return;
    // Avoid copies between devices where the choice is free.
    auto allowed = [&](int d) { return std::find(g.candidates.begin(), g.candidates.end(), d) != g.candidates.end(); };
    if (n.num_inputs() == 0) {
      int common = -1;
      for (const OutEdge& e : n.out_edges()) {
        const int d = PlanOf(*e.to).device;
        if (d < 0 || (common >= 0 && d != common)) return;
        common = d;
      }
      if (common < 0 || !allowed(common)) return;
      g.device = common;
      g.why = GroupPlacement::kConsumers;
    } else if (n.Is(kMayAlias | kCheap) || (n.Is(kCheap) && n.Is(kNotDifferentiable)) || n.num_outputs() == 0) {
      const int d = PlanOf(*n.input(0).node).device;
      if (d < 0 || !allowed(d)) return;
      g.device = d;
      g.why = GroupPlacement::kInput;
      g.other = n.input(0).node;
    }
  }

  Graph& graph_;
  const PlacerOptions& options_;
  const std::vector<Node*> nodes_;
  Placement p_;
  std::vector<std::string> types_;  // of the devices, each once
  std::vector<int> type_of_;        // by device: in types_
  std::vector<int> nearness_;       // by device: to the default one
  std::vector<int> order_;          // devices, the preferred first
};

}  // namespace

absl::StatusOr<PlacerDevice> MakePlacerDevice(const std::string& full_name) {
  PlacerDevice device;
  device.name = full_name;
  ASSIGN_OR_RETURN(device.parsed, DeviceName::Parse(full_name));
  if (!device.parsed.IsFull()) return InvalidArgument("'", full_name, "' is not the full name of a device");
  device.type = *device.parsed.type;
  return device;
}

bool FollowsState(const Placement& p, const Node& node) {
  if (p.groups.BodyStateOf(&node) != nullptr) return true;
  for (int i = 0; i < node.num_inputs(); ++i) {
    if (IsRefType(node.input_type(i))) return true;
    if (node.input_type(i) == DType::kResource && node.input(i).node->op().name != "_Arg") return true;
  }
  return false;
}

absl::StatusOr<Wish> WishOf(const Placement& p, const Node& node) {
  Wish wish;
  wish.node = &node;
  if (!node.assigned_device().empty()) {
    wish.source = Wish::kAssigned;
    wish.text = node.assigned_device();
  } else if (p.options.history != nullptr && OwnsState(node)) {
    wish.source = Wish::kRemembered;
    wish.text = p.options.history->Find(node.name());
  }
  if (wish.text.empty()) {
    wish.source = Wish::kAsked;
    wish.text = node.info().device;
  }
  if (wish.text.empty()) return wish;
  ASSIGN_OR_RETURN(wish.name, DeviceName::Parse(wish.text));
  if (node.Is(kHostOnly) && wish.name.type && *wish.name.type != kCpu) {
    wish.name.type = kCpu;
    wish.name.index.reset();
  }
  return wish;
}

std::string Placement::WishTextOf(const Node& node) const {
  if (!node.assigned_device().empty()) return node.assigned_device();
  std::string remembered = options.history != nullptr && OwnsState(node) ? options.history->Find(node.name()) : "";
  return remembered.empty() ? node.info().device : remembered;
}

absl::StatusOr<std::vector<Wish>> BodyWishesOf(const Placement& p, const Node& node) {
  std::vector<Wish> wishes;
  const ColocationGroups::BodyState* state = p.groups.BodyStateOf(&node);
  if (state == nullptr) return wishes;
  for (const auto& [name, owner] : *state) {
    Wish wish;
    wish.node = &node;
    wish.source = Wish::kBody;
    wish.of = name;
    if (p.options.history != nullptr) wish.text = p.options.history->Find(name);
    if (wish.text.empty()) wish.text = owner->info().device;
    if (wish.text.empty()) continue;
    ASSIGN_OR_RETURN(wish.name, DeviceName::Parse(wish.text));
    wishes.push_back(std::move(wish));
  }
  return wishes;
}

absl::StatusOr<std::string> PlaceGraph(Graph* graph, const std::vector<PlacerDevice>& devices,
                                       const PlacerOptions& options) {
  return Placer(graph, devices, options).Run();
}

}  // namespace sluice
