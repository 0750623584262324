#include "runtime/executor/state_order.h"

#include <map>
#include <string>

#include "runtime/executor/schedule.h"

namespace sluice {
namespace {

bool CallsFunctions(const Node& node) {
  for (const auto& [name, value] : node.attrs()) {
    if (value.As<FuncRef>() != nullptr || value.As<std::vector<FuncRef>>() != nullptr) return true;
  }
  return false;
}

bool IsStateType(DType t) { return IsRefType(t) || t == DType::kResource; }

bool OnlyMakesHandles(const Node& node) {
  if (node.num_inputs() > 0 || node.num_outputs() == 0) return false;
  for (int o = 0; o < node.num_outputs(); ++o) {
    if (!IsStateType(node.output_type(o))) return false;
  }
  return true;
}

class Orderer {
 public:
  Orderer(const Graph& graph, const std::vector<Node*>& order)
      : order_(order), visited_(graph.num_node_ids(), false), after_(graph.num_node_ids()) {}

  std::vector<std::vector<const Node*>> Run() {
    FindUnknownOwners();
    for (const Node* n : order_) {
      Visit(*n);
      visited_[n->id()] = true;
    }
    return std::move(after_);
  }

 private:
  struct Users {
    const Node* writer = nullptr;
    std::vector<const Node*> readers;  // since
  };

  // What names a resource, which several nodes may make; "" when that is not known.
  static std::string NameOf(const Node& owner) {
    absl::StatusOr<std::string> name = owner.info().Attr<std::string>("shared_name");
    if (!name.ok()) return "";
    return name->empty() ? owner.name() : *name;
  }

  // A resource that is handed in could be any other.
  void FindUnknownOwners() {
    for (const Node* n : order_) {
      for (int i = 0; i < n->num_inputs() && !one_group_; ++i) {
        const Node* owner = StateOwner(*n, i);
        one_group_ = owner != nullptr && NameOf(*owner).empty();
      }
    }
  }

  void Visit(const Node& n) {
    if (n.Is(kConstant) || n.op().name == "_Arg" || n.op().name == "_Retval" || OnlyMakesHandles(n)) return;
    bool touches = false;
    for (int i = 0; i < n.num_inputs(); ++i) touches = touches || StateOwner(n, i) != nullptr;
    if (touches && n.Is(kIdentity)) return;
    const bool reads = n.Is(kReadsState), writes = n.Is(kWritesState);
    const bool stateful = n.Is(kStateful) || n.Is(kSideEffect) || n.Is(kBlocking) || reads || writes;
    if (!touches) {
      if (n.Is(kRandom)) {
        Write(n, &users_["random numbers"]);
      } else if (stateful) {
        Barrier(n);
      }
      return;
    }
    if (CallsFunctions(n) || (stateful && !reads && !writes)) return Barrier(n);
    for (int i = 0; i < n.num_inputs(); ++i) {
      const Node* owner = StateOwner(n, i);
      if (owner == nullptr) continue;
      Users* users = &users_["resource " + (one_group_ ? std::string() : NameOf(*owner))];
      if (reads && !writes) {
        Read(n, users);
      } else {
        Write(n, users);
      }
    }
  }

  void Touch(const Node& n) {
    if (barrier_ != nullptr && (since_.empty() || since_.back() != &n)) after_[n.id()].push_back(barrier_);
    if (since_.empty() || since_.back() != &n) since_.push_back(&n);
  }

  void Read(const Node& n, Users* users) {
    Touch(n);
    if (users->writer != nullptr && users->writer != &n) after_[n.id()].push_back(users->writer);
    if (users->readers.empty() || users->readers.back() != &n) users->readers.push_back(&n);
  }

  void Write(const Node& n, Users* users) {
    Touch(n);
    std::vector<const Node*>& mine = after_[n.id()];
    if (users->writer != nullptr && users->writer != &n) mine.push_back(users->writer);
    for (const Node* reader : users->readers) {
      if (reader == &n) continue;
      mine.push_back(reader);
      for (const OutEdge& e : reader->out_edges()) {
        if (visited_[e.to->id()] && e.to != &n) mine.push_back(e.to);
      }
    }
    *users = {&n, {}};
  }

  void Barrier(const Node& n) {
    std::vector<const Node*>& mine = after_[n.id()];
    mine = since_;
    if (since_.empty() && barrier_ != nullptr) mine.push_back(barrier_);
    since_.clear();
    users_.clear();
    barrier_ = &n;
  }

  const std::vector<Node*>& order_;
  std::vector<bool> visited_;  // by id
  std::vector<std::vector<const Node*>> after_;
  std::map<std::string, Users> users_;  // since the last barrier
  std::vector<const Node*> since_;      // all that touched state since then
  const Node* barrier_ = nullptr;
  bool one_group_ = false;
};

}  // namespace

std::vector<std::vector<const Node*>> LaneStateOrder(const Graph& graph, const std::vector<Node*>& order) {
  return Orderer(graph, order).Run();
}

}  // namespace sluice
