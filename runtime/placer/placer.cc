#include "runtime/placer/placer.h"

#include <algorithm>
#include <numeric>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// What is known of the nodes that must be together; kept at the group's representative.
struct Group {
  DeviceName wanted;
  const Node* wanted_by = nullptr;  // the first member that asked for something
  std::vector<Node*> members;
  int device = -1;
  std::string why;
};

class Placer {
 public:
  Placer(Graph* graph, const std::vector<PlacerDevice>& devices, const PlacerOptions& options)
      : graph_(*graph), devices_(devices), options_(options), nodes_(graph->nodes()) {
    parent_.resize(graph->num_node_ids());
    std::iota(parent_.begin(), parent_.end(), 0);
    because_.resize(parent_.size());
    order_.resize(devices.size());
    std::iota(order_.begin(), order_.end(), 0);
    std::stable_sort(order_.begin(), order_.end(),
                     [&](int a, int b) { return (devices_[a].type != kCpu) > (devices_[b].type != kCpu); });
  }

  absl::StatusOr<std::string> Run() {
    if (devices_.empty()) return InvalidArgument("there are no devices to place nodes on");
    JoinColocated();
    JoinStateEdges();
    RETURN_IF_ERROR(GatherWishes());
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_.TopologicalOrder());
    // Sources last: they follow their consumers.
    for (Node* n : order) {
      if (!IsFreeSource(n)) RETURN_IF_ERROR(Place(n));
    }
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      if (IsFreeSource(*it)) RETURN_IF_ERROR(Place(*it));
    }
    return Explain();
  }

 private:
  int Root(int id) {
    while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
    return id;
  }
  void Join(const Node* a, const Node* b, std::string why) {
    int x = Root(a->id()), y = Root(b->id());
    if (because_[b->id()].empty()) because_[b->id()] = std::move(why);
    if (x == y) return;
    parent_[std::max(x, y)] = std::min(x, y);
  }
  Group& GroupOf(const Node* n) { return groups_[Root(n->id())]; }

  void JoinColocated() {
    absl::flat_hash_map<std::string, Node*> first;  // of each class, also when its namesake is not in this graph
    for (Node* n : nodes_) {
      const AttrValue* v = n->attrs().Find("_class");
      const auto* classes = v == nullptr ? nullptr : v->As<std::vector<std::string>>();
      if (classes == nullptr) continue;
      for (absl::string_view c : *classes) {
        if (!absl::ConsumePrefix(&c, "loc:@")) continue;
        std::string why = absl::StrCat("colocated with '", c, "'");
        Node* with = graph_.Find(c);
        if (with != nullptr) Join(with, n, why);
        auto [it, fresh] = first.emplace(std::string(c), n);
        if (!fresh) Join(it->second, n, why);
      }
    }
  }

  void JoinStateEdges() {
    for (Node* n : nodes_) {
      for (int i = 0; i < n->num_inputs(); ++i) {
        const Endpoint& in = n->input(i);
        bool ref = IsRefType(n->input_type(i)), resource = n->input_type(i) == DType::kResource;
        if (!ref && !resource) continue;
        // A fed or returned handle may come from anywhere.
        if (resource && in.node->op().name == "_Arg") continue;
        Join(in.node, n, absl::StrCat("it uses the ", ref ? "reference" : "resource", " of '", in.node->name(), "'"));
      }
    }
  }

  absl::Status GatherWishes() {
    ASSIGN_OR_RETURN(DeviceName fill, DeviceName::Parse(options_.default_device));
    groups_.resize(parent_.size());
    for (Node* n : nodes_) {
      Group& g = GroupOf(n);
      g.members.push_back(n);
      const std::string& asked = n->assigned_device().empty() ? n->info().device : n->assigned_device();
      if (asked.empty()) continue;
      absl::StatusOr<DeviceName> name = DeviceName::Parse(asked);
      if (!name.ok()) return Annotate(name.status(), absl::StrCat("cannot place ", n->info().Describe(), ": "));
      if (n->Is(kHostOnly) && name->type && *name->type != kCpu) {
        name->type = kCpu;
        name->index.reset();
      }
      absl::StatusOr<DeviceName> both = DeviceName::Intersect(g.wanted, *name);
      if (both.ok()) {
        g.wanted = *both;
        if (g.wanted_by == nullptr) g.wanted_by = n;
      } else if (!options_.soft_placement) {
        return InvalidArgument("cannot place ", n->info().Describe(), " on '", asked,
                               "': it must be on one device with ", g.wanted_by->info().Describe(), ", which is on '",
                               g.wanted_by->info().device, "' (", Reason(n, g),
                               "); allow_soft_placement lets it follow");
      }
    }
    for (Group& g : groups_) g.wanted = DeviceName::Override(fill, g.wanted);
    return absl::OkStatus();
  }

  // How a node came to be with the others of its group.
  std::string Reason(const Node* n, const Group& g) const {
    if (!because_[n->id()].empty()) return because_[n->id()];
    for (const Node* m : g.members) {
      if (!because_[m->id()].empty()) return absl::StrCat("'", m->name(), "': ", because_[m->id()]);
    }
    return "they share state";
  }

  bool IsFreeSource(const Node* n) {
    const Group& g = GroupOf(n);
    return g.members.size() == 1 && g.wanted_by == nullptr && n->num_inputs() == 0 && n->num_outputs() > 0;
  }

  const char* MissingKernel(const Group& g, const std::string& type) const {
    for (const Node* n : g.members) {
      if (options_.kernels->Find(n->info(), type) == nullptr) return n->name().c_str();
    }
    return nullptr;
  }

  std::vector<int> Candidates(const Group& g, const DeviceName& wanted) const {
    std::vector<int> fit;
    for (int d : order_) {
      if (!wanted.Matches(devices_[d].parsed)) continue;
      if (MissingKernel(g, devices_[d].type) == nullptr) fit.push_back(d);
    }
    return fit;
  }

  absl::Status Place(Node* n) {
    Group& g = GroupOf(n);
    if (g.device >= 0) return absl::OkStatus();
    std::vector<int> fit = Candidates(g, g.wanted);
    g.why = g.wanted_by != nullptr
                ? absl::StrCat("'", g.wanted_by->name(), "' asks for '", g.wanted_by->info().device, "'")
                : "it is the default";
    if (fit.empty() && options_.soft_placement) {
      DeviceName task = g.wanted;
      task.type.reset();
      task.index.reset();
      fit = Candidates(g, task);
      g.why = absl::StrCat("'", g.wanted.ToString(), "' cannot be had, and placement is soft");
    }
    if (fit.empty()) return CannotPlace(n, g);
    g.device = fit[0];
    if (fit.size() > 1) Prefer(n, fit, &g);
    return absl::OkStatus();
  }

  // Avoids copies between devices where the choice is free.
  void Prefer(const Node* n, const std::vector<int>& fit, Group* g) {
    if (g->wanted_by != nullptr || g->members.size() != 1) return;
    auto allowed = [&](int d) { return std::find(fit.begin(), fit.end(), d) != fit.end(); };
    if (n->num_inputs() == 0) {
      int common = -1;
      for (const OutEdge& e : n->out_edges()) {
        int d = GroupOf(e.to).device;
        if (d < 0 || (common >= 0 && d != common)) return;
        common = d;
      }
      if (common >= 0 && allowed(common)) {
        g->device = common;
        g->why = "its consumers are there";
      }
    } else if (n->Is(kMayAlias | kCheap) || n->num_outputs() == 0) {
      int d = GroupOf(n->input(0).node).device;
      if (d >= 0 && allowed(d)) {
        g->device = d;
        g->why = absl::StrCat("its input '", n->input(0).node->name(), "' is there");
      }
    }
  }

  absl::Status CannotPlace(const Node* n, const Group& g) const {
    const Node* who = g.wanted_by != nullptr ? g.wanted_by : n;
    std::vector<std::string> names, lacking;
    for (const PlacerDevice& d : devices_) {
      names.push_back(d.name);
      if (!g.wanted.Matches(d.parsed)) continue;
      if (const char* missing = MissingKernel(g, d.type)) {
        lacking.push_back(absl::StrCat(d.name, " (no kernel for '", missing, "')"));
      }
    }
    if (lacking.empty()) {
      return InvalidArgument("cannot place ", who->info().Describe(), ": it asks for '", g.wanted.ToString(),
                             "', but the devices are ", absl::StrJoin(names, ", "),
                             options_.soft_placement ? "" : "; allow_soft_placement takes another one instead");
    }
    // The registry knows which types it has kernels for.
    for (const Node* m : g.members) {
      for (const PlacerDevice& d : devices_) {
        if (!g.wanted.Matches(d.parsed)) continue;
        absl::Status s = options_.kernels->Get(m->info(), d.type).status();
        if (!s.ok()) return Annotate(s, absl::StrCat("cannot place ", who->info().Describe(), ": "));
      }
    }
    return InvalidArgument("cannot place ", who->info().Describe(),
                           ": no device will do: ", absl::StrJoin(lacking, ", "));
  }

  std::string Explain() {
    std::string text;
    for (Node* n : nodes_) {
      const Group& g = GroupOf(n);
      n->set_assigned_device(devices_[g.device].name);
      absl::StrAppend(&text, n->name(), " (", n->op().name, "): ", devices_[g.device].name, " because ", g.why);
      if (g.members.size() > 1) {
        absl::StrAppend(&text, "; ",
                        because_[n->id()].empty() ? absl::StrCat("together with ", g.members.size() - 1, " others")
                                                  : because_[n->id()]);
      }
      text += "\n";
    }
    return text;
  }

  Graph& graph_;
  const std::vector<PlacerDevice>& devices_;
  const PlacerOptions& options_;
  const std::vector<Node*> nodes_;
  std::vector<int> parent_;           // union-find over node ids
  std::vector<std::string> because_;  // why a node was joined to another
  std::vector<Group> groups_;         // by representative
  std::vector<int> order_;            // devices, the preferred first
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

absl::StatusOr<std::string> PlaceGraph(Graph* graph, const std::vector<PlacerDevice>& devices,
                                       const PlacerOptions& options) {
  return Placer(graph, devices, options).Run();
}

}  // namespace sluice
