// The report of a placement, and the errors of one that cannot be made.
#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "runtime/placer/conflict.h"
#include "runtime/placer/placement.h"

namespace sluice {
namespace {

std::string Micros(double ns) { return absl::StrFormat("%.1f us", ns / 1000); }

// "'v' asks for '/cpu:1'"
std::string WishText(const Wish& w, absl::string_view who) {
  switch (w.source) {
    case Wish::kAsked:
      return absl::StrCat(who, " asks for '", w.text, "'");
    case Wish::kAssigned:
      return absl::StrCat(who, " was assigned to '", w.text, "'");
    case Wish::kRemembered:
      return absl::StrCat(who, " is on '", w.text, "' since an earlier step");
    case Wish::kBody:
      return absl::StrCat(who, " calls a function that uses '", w.of, "' on '", w.text, "'");
  }
  return "";
}

std::string ChoiceText(const Placement& p, const GroupPlacement& g) {
  switch (g.why) {
    case GroupPlacement::kConsumers:
      return "its consumers are there";
    case GroupPlacement::kInput:
      return absl::StrCat("its input '", g.other->name(), "' is there");
    case GroupPlacement::kCost: {
      const SimulatedGroup& s = g.simulated;
      std::string text = absl::StrCat("'", s.decided_by->name(), "' would be done there after ", Micros(s.done_ns));
      if (s.runner_up >= 0) {
        absl::StrAppend(&text, " and on ", p.devices[s.runner_up].name, ", the next best, after ",
                        Micros(s.runner_up_ns));
      }
      return text;
    }
    case GroupPlacement::kFirst:
      break;
  }
  if (g.candidates.size() == 1) return "no other device fits";
  return absl::StrCat(g.by_priority ? "its kernel has the highest priority there" : "it is the default", " (of ",
                      g.candidates.size(), " devices that fit)");
}

// What is true of the whole group.
std::string GroupText(const Placement& p, int group) {
  const GroupPlacement& g = p.plans[group];
  const std::vector<Node*>& members = p.groups.members(group);
  std::string text;
  if (!g.wishes.empty()) {
    std::vector<std::string> wishes;
    for (const Wish& w : g.wishes) {
      wishes.push_back(WishText(w, members.size() == 1 ? "it" : absl::StrCat("'", w.node->name(), "'")));
    }
    text = absl::StrJoin(wishes, " and ");
    if (wishes.size() > 1) absl::StrAppend(&text, ", together '", g.wanted.ToString(), "'");
    if (g.softened) absl::StrAppend(&text, ", which cannot be had, and placement is soft");
    if (g.candidates.size() > 1 || g.why == GroupPlacement::kCost) absl::StrAppend(&text, "; ", ChoiceText(p, g));
  } else {
    text = ChoiceText(p, g);
  }
  if (g.lacks != nullptr) absl::StrAppend(&text, "; '", g.lacks->name(), "' has no kernel on ", g.lacks_type);
  return text;
}

std::string Others(const std::vector<Node*>& members, const Node* node) {
  std::vector<std::string> names;
  for (size_t i = 0; i < members.size() && names.size() < 3; ++i) {
    if (members[i] != node) names.push_back(absl::StrCat("'", members[i]->name(), "'"));
  }
  const size_t more = members.size() - 1 - names.size();
  return absl::StrCat(absl::StrJoin(names, ", "), more > 0 ? absl::StrCat(" and ", more, " more") : "");
}

// One reason why a device is out of the question.
struct Constraint {
  const Node* node = nullptr;
  bool kernel = false;
  Wish wish;
  std::vector<bool> allowed;  // by device
};

class ConflictText {
 public:
  ConflictText(const Placement& p, int group) : p_(p), members_(p.groups.members(group)) {}

  absl::Status Make() {
    RETURN_IF_ERROR(Gather());
    std::vector<std::vector<bool>> allowed;
    for (const Constraint& c : all_) allowed.push_back(c.allowed);
    const std::vector<int> smallest = SmallestConflict(allowed);
    if (smallest.empty()) return Internal("the group of ", members_[0]->info().Describe(), " fits some device");
    // Others may say the same: take those that are tied most closely.
    std::vector<const Constraint*> chosen;
    std::vector<const Tie*> ties;
    for (int c : smallest) {
      if (chosen.empty()) {
        chosen.push_back(&all_[c]);
        continue;
      }
      const Node *first = nullptr, *last = nullptr;
      std::vector<const Node*> from;
      if (chosen.size() == 1) from = Alike(*chosen[0]);
      for (const Constraint* earlier : chosen) from.push_back(earlier->node);
      const std::vector<const Tie*> chain = p_.groups.Chain(from, Alike(all_[c]), &first, &last);
      if (chosen.size() == 1) chosen[0] = Same(*chosen[0], first);
      chosen.push_back(Same(all_[c], last));
      for (const Tie* t : chain) {
        if (std::find(ties.begin(), ties.end(), t) == ties.end()) ties.push_back(t);
      }
    }
    const bool one =
        std::all_of(chosen.begin(), chosen.end(), [&](const Constraint* c) { return c->node == chosen[0]->node; });
    return one ? OneNode(chosen) : ManyNodes(chosen, ties);
  }

 private:
  absl::Status Gather() {
    const bool soft = p_.options.soft_placement;
    for (const Node* n : members_) {
      ASSIGN_OR_RETURN(std::vector<Wish> wishes, BodyWishesOf(p_, *n));
      ASSIGN_OR_RETURN(Wish own, WishOf(p_, *n));
      wishes.push_back(std::move(own));
      for (Wish& wish : wishes) {
        if (wish.text.empty()) continue;
        if (wish.source == Wish::kAsked) {
          if (p_.overruled.contains(n) || (FollowsState(p_, *n) && !IsGranted(wish))) continue;
          if (soft) {
            wish.name.type.reset();
            wish.name.index.reset();
          }
        }
        Constraint c;
        c.node = n;
        for (const PlacerDevice& d : p_.devices) c.allowed.push_back(wish.name.Matches(d.parsed));
        c.wish = std::move(wish);
        all_.push_back(std::move(c));
      }
    }
    for (const Node* n : members_) {
      Constraint c;
      c.node = n;
      c.kernel = true;
      for (const PlacerDevice& d : p_.devices) {
        c.allowed.push_back(p_.options.kernels->Find(n->info(), d.type) != nullptr);
      }
      all_.push_back(std::move(c));
    }
    return absl::OkStatus();
  }

  bool IsGranted(const Wish& wish) const {
    const auto& wishes = p_.plans[p_.groups.Of(wish.node)].wishes;
    return std::any_of(wishes.begin(), wishes.end(), [&](const Wish& w) { return w.name == wish.name; });
  }

  std::vector<const Node*> Alike(const Constraint& c) const {
    std::vector<const Node*> nodes;
    for (const Constraint& other : all_) {
      if (other.kernel == c.kernel && other.allowed == c.allowed) nodes.push_back(other.node);
    }
    return nodes;
  }
  const Constraint* Same(const Constraint& c, const Node* node) const {
    for (const Constraint& other : all_) {
      if (other.node == node && other.kernel == c.kernel && other.allowed == c.allowed) return &other;
    }
    return &c;
  }

  std::string Devices() const {
    std::vector<std::string> names;
    for (const PlacerDevice& d : p_.devices) {
      names.push_back(d.name);
      if (names.size() == 8 && p_.devices.size() > 9) {
        names.push_back(absl::StrCat("and ", p_.devices.size() - 8, " more"));
        break;
      }
    }
    return absl::StrJoin(names, ", ");
  }

  // What the registry has to say about the first device that the wishes allow.
  absl::Status NoKernel(const Node& node, const std::vector<const Constraint*>& chosen) const {
    for (size_t d = 0; d < p_.devices.size(); ++d) {
      bool wanted = true;
      for (const Constraint* c : chosen) wanted = wanted && (c->kernel || c->allowed[d]);
      if (!wanted) continue;
      absl::Status s = p_.options.kernels->Get(node.info(), p_.devices[d].type).status();
      if (!s.ok()) return s;
    }
    return Internal("no kernel for ", node.info().Describe());
  }

  absl::Status OneNode(const std::vector<const Constraint*>& chosen) const {
    const Node& node = *chosen[0]->node;
    const Wish* wish = nullptr;
    bool kernel = false;
    for (const Constraint* c : chosen) {
      if (c->kernel) {
        kernel = true;
      } else {
        wish = &c->wish;
      }
    }
    const std::string who = node.info().Describe();
    if (!kernel) {
      return InvalidArgument("cannot place ", who, ": ", WishText(*wish, "it"), ", but the devices are ", Devices(),
                             p_.options.soft_placement ? "" : "; allow_soft_placement takes another one instead");
    }
    return Annotate(NoKernel(node, chosen),
                    absl::StrCat("cannot place ", who, wish ? absl::StrCat(": ", WishText(*wish, "it")) : "", ": "));
  }

  absl::Status ManyNodes(const std::vector<const Constraint*>& chosen, const std::vector<const Tie*>& ties) const {
    std::vector<std::string> facts;
    bool asked = false;
    for (const Constraint* c : chosen) {
      const std::string who = c->node->info().Describe();
      if (!c->kernel) {
        facts.push_back(WishText(c->wish, who));
        asked = asked || c->wish.source == Wish::kAsked;
        continue;
      }
      std::vector<std::string> types;
      for (size_t d = 0; d < p_.devices.size(); ++d) {
        const std::string& type = p_.devices[d].type;
        if (c->allowed[d] && std::find(types.begin(), types.end(), type) == types.end()) types.push_back(type);
      }
      facts.push_back(absl::StrCat(who, " has a kernel on ", absl::StrJoin(types, " and "), " only"));
    }
    std::vector<std::string> why;
    for (const Tie* t : ties) why.push_back(t->Describe(t->b->info().Describe()));
    return InvalidArgument(
        "cannot place nodes that must be on one device: ", absl::StrJoin(facts, "; "), ". ", absl::StrJoin(why, "; "),
        ". The devices are ", Devices(),
        asked && !p_.options.soft_placement ? "; allow_soft_placement lets those that ask follow the others" : "");
  }

  const Placement& p_;
  const std::vector<Node*>& members_;
  std::vector<Constraint> all_;
};

}  // namespace

std::string ExplainPlacement(const Placement& p) {
  std::vector<std::string> texts(p.plans.size());
  std::string report;
  for (const Node* n : p.graph.nodes()) {
    const int group = p.groups.Of(n);
    std::string& text = texts[group];
    if (text.empty()) text = GroupText(p, group);
    absl::StrAppend(&report, n->name(), " (", n->op().name, "): ", n->assigned_device(), " because ", text);
    const std::vector<Node*>& members = p.groups.members(group);
    if (members.size() > 1) {
      const Tie* tie = p.groups.WhyJoined(n);
      absl::StrAppend(&report, "; ", tie != nullptr ? tie->Describe() : "it leads", ", together with ",
                      Others(members, n));
    }
    auto overruled = p.overruled.find(n);
    if (overruled != p.overruled.end()) {
      absl::StrAppend(&report, "; it asked for '", overruled->second, "' itself, which ",
                      FollowsState(p, *n) ? "gives way to the owner of what it uses" : "soft placement gave up");
    }
    report += "\n";
  }
  return report;
}

absl::Status ExplainConflict(const Placement& p, int group) { return ConflictText(p, group).Make(); }

}  // namespace sluice
