#include "runtime/placer/placer.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"

namespace sluice {
namespace {

// Accelerators first, then by name, so that GPU:0 comes before GPU:1.
bool Before(const Device* a, const Device* b) {
  bool a_host = a->IsHost(), b_host = b->IsHost();
  if (a_host != b_host) return b_host;
  const DeviceName &x = a->parsed_name(), &y = b->parsed_name();
  return std::tie(*x.job, *x.replica, *x.task, *x.type, *x.index) < std::tie(*y.job, *y.replica, *y.task, *y.type, *y.index);
}

std::string Names(const std::vector<Device*>& devices) {
  return absl::StrJoin(devices, ", ", [](std::string* out, const Device* d) { out->append(d->name()); });
}

struct Group {
  std::vector<Node*> members;
  DeviceName request;             // of all members together
  const Node* asked_by = nullptr; // the first member with a request
};

class Placer {
 public:
  Placer(Graph* graph, const std::vector<Device*>& devices, const KernelRegistry& kernels, const PlacerOptions& options)
      : graph_(graph), devices_(devices), kernels_(kernels), options_(options), parent_(graph->num_node_ids()) {
    std::iota(parent_.begin(), parent_.end(), 0);
    std::sort(devices_.begin(), devices_.end(), Before);
  }

  absl::StatusOr<std::vector<std::string>> Run() {
    if (devices_.empty()) return FailedPrecondition("there is no device to place nodes on");
    ASSIGN_OR_RETURN(std::vector<Node*> order, graph_->TopologicalOrder());
    for (Node* n : order) RETURN_IF_ERROR(Tie(n));
    std::map<int, Group> groups;
    for (Node* n : order) groups[Root(n->id())].members.push_back(n);
    for (auto& [root, group] : groups) RETURN_IF_ERROR(Gather(&group));
    // In order of the graph, so that a pass-through node finds its producer placed.
    std::vector<std::string> lines;
    for (Node* n : order) {
      Group& group = groups[Root(n->id())];
      if (n->assigned_device().empty()) RETURN_IF_ERROR(Place(group));
      lines.push_back(absl::StrCat(n->info().Describe(), " -> ", n->assigned_device(), ": ", why_[Root(n->id())]));
    }
    return lines;
  }

 private:
  int Root(int id) {
    while (parent_[id] != id) id = parent_[id] = parent_[parent_[id]];
    return id;
  }
  void Union(const Node* a, const Node* b) {
    int x = Root(a->id()), y = Root(b->id());
    if (x != y) parent_[std::max(x, y)] = std::min(x, y);
  }

  absl::Status Tie(Node* n) {
    for (int i = 0; i < n->num_inputs(); ++i) {
      DType t = n->input_type(i);
      if (IsRefType(t) || t == DType::kResource) Union(n, n->input(i).node);
    }
    const AttrValue* v = n->attrs().Find("_class");
    const auto* list = v ? v->As<std::vector<std::string>>() : nullptr;
    if (list == nullptr) return absl::OkStatus();
    for (absl::string_view s : *list) {
      if (!absl::ConsumePrefix(&s, "loc:@")) continue;
      // What the plan does not contain has no say.
      if (Node* other = graph_->Find(s)) Union(n, other);
    }
    return absl::OkStatus();
  }

  absl::Status Gather(Group* group) {
    for (Node* n : group->members) {
      if (n->info().device.empty()) continue;
      absl::StatusOr<DeviceName> asked = DeviceName::Parse(n->info().device);
      if (!asked.ok()) return Annotate(asked.status(), absl::StrCat(n->info().Describe(), ": "));
      absl::StatusOr<DeviceName> both = DeviceName::Intersect(group->request, *asked);
      if (!both.ok()) {
        if (options_.soft_placement) continue;  // the first request wins
        return InvalidArgument(n->info().Describe(), " asks for device '", n->info().device, "', but must be with ",
                               group->asked_by->info().Describe(), ", which asks for '", group->asked_by->info().device, "'");
      }
      group->request = *both;
      if (group->asked_by == nullptr) group->asked_by = n;
    }
    return absl::OkStatus();
  }

  bool HasKernel(const Node& n, const Device& d) const {
    if (n.Is(kHostOnly) && !d.IsHost()) return false;
    return kernels_.Find(n.info(), d.type()) != nullptr;
  }

  std::vector<Device*> WithKernels(const Group& group) const {
    std::vector<Device*> fit;
    for (Device* d : devices_) {
      if (std::all_of(group.members.begin(), group.members.end(), [&](Node* n) { return HasKernel(*n, *d); })) fit.push_back(d);
    }
    return fit;
  }

  absl::Status NoKernel(const Group& group) const {
    for (Node* n : group.members) {
      bool any = std::any_of(devices_.begin(), devices_.end(), [&](Device* d) { return HasKernel(*n, *d); });
      if (any) continue;
      absl::Status detail = kernels_.Get(n->info(), devices_.front()->type()).status();
      for (Device* d : devices_) {
        if (d->IsHost()) detail = kernels_.Get(n->info(), d->type()).status();
      }
      return Annotate(detail, absl::StrCat("no device can run it (", Names(devices_), "): "));
    }
    return InvalidArgument(group.members[0]->info().Describe(), " and what must be with it (",
                           absl::StrJoin(group.members, ", ", [](std::string* out, Node* n) { out->append(n->name()); }),
                           ") have no device in common that can run all of them");
  }

  absl::Status Place(Group& group) {
    std::string& why = why_[Root(group.members[0]->id())];
    std::vector<Device*> able = WithKernels(group);
    if (able.empty()) return NoKernel(group);
    std::vector<Device*> fit;
    for (Device* d : able) {
      if (group.request.Matches(d->parsed_name())) fit.push_back(d);
    }
    if (group.asked_by != nullptr) {
      why = absl::StrCat("'", group.asked_by->info().device, "' was asked for",
                         group.members.size() > 1 ? absl::StrCat(" by ", group.asked_by->name()) : "");
    }
    if (fit.empty() && options_.soft_placement) {
      DeviceName soft = group.request;
      soft.index.reset();
      for (Device* d : able) {
        if (soft.Matches(d->parsed_name())) fit.push_back(d);
      }
      if (fit.empty()) fit = able;
      absl::StrAppend(&why, ", which cannot be; soft placement chose another");
    }
    if (fit.empty()) {
      bool exists = std::any_of(devices_.begin(), devices_.end(), [&](Device* d) { return group.request.Matches(d->parsed_name()); });
      if (exists) {
        return InvalidArgument(group.asked_by->info().Describe(), " asks for device '", group.asked_by->info().device,
                               "', where it (or what must be with it) has no kernel; it can run on: ", Names(able),
                               "; allow_soft_placement=True moves it there");
      }
      return InvalidArgument(group.asked_by->info().Describe(), " asks for device '", group.asked_by->info().device,
                             "', which does not exist; there are: ", Names(devices_),
                             "; allow_soft_placement=True takes one of them");
    }
    Device* chosen = fit.front();
    if (group.asked_by == nullptr) {
      why = fit.size() == 1 ? "the only device that can run it" : "the first device that can run it";
      Node* n = group.members[0];
      if (group.members.size() == 1 && n->Is(kMayAlias) && n->num_inputs() >= 1) {
        for (Device* d : fit) {
          if (d->name() == n->input(0).node->assigned_device()) {
            chosen = d;
            why = "with what it passes on";
          }
        }
      }
      if (group.members.size() > 1) absl::StrAppend(&why, " and ", group.members.size() - 1, " nodes tied to it");
    }
    for (Node* n : group.members) n->set_assigned_device(chosen->name());
    return absl::OkStatus();
  }

  Graph* graph_;
  std::vector<Device*> devices_;
  const KernelRegistry& kernels_;
  const PlacerOptions& options_;
  std::vector<int> parent_;
  std::map<int, std::string> why_;
};

}  // namespace

absl::StatusOr<std::vector<std::string>> PlaceGraph(Graph* graph, const std::vector<Device*>& devices,
                                                    const KernelRegistry& kernels, const PlacerOptions& options) {
  return Placer(graph, devices, kernels, options).Run();
}

}  // namespace sluice
