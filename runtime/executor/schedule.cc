#include "runtime/executor/schedule.h"

#include <functional>
#include <queue>

#include "absl/container/flat_hash_map.h"
#include "core/base/status.h"

namespace sluice {
namespace {

bool IsStateType(DType t) { return IsRefType(t) || t == DType::kResource; }

class Scheduler {
 public:
  explicit Scheduler(const Graph& graph) : nodes_(graph.nodes()) {
    hard_.assign(graph.num_node_ids(), 0);
    soft_.assign(graph.num_node_ids(), 0);
    done_.assign(graph.num_node_ids(), false);
    after_.resize(graph.num_node_ids());
  }

  std::vector<Node*> Order() {
    for (Node* n : nodes_) hard_[n->id()] = n->num_inputs() + static_cast<int>(n->control_inputs().size());
    AddSoftEdges();
    for (Node* n : nodes_) Consider(n);
    std::vector<Node*> order;
    order.reserve(nodes_.size());
    while (order.size() < nodes_.size()) {
      Node* n = Next();
      if (n == nullptr) break;  // a cycle, which TopologicalOrder has reported
      done_[n->id()] = true;
      order.push_back(n);
      for (const OutEdge& e : n->out_edges()) Satisfy(e.to, &hard_);
      for (Node* to : n->control_outputs()) Satisfy(to, &hard_);
      for (Node* to : after_[n->id()]) Satisfy(to, &soft_);
    }
    return order;
  }

 private:
  struct Later {
    bool operator()(const Node* a, const Node* b) const { return a->id() > b->id(); }
  };
  using Queue = std::priority_queue<Node*, std::vector<Node*>, Later>;

  void Consider(Node* n) {
    if (hard_[n->id()] != 0) return;
    (soft_[n->id()] == 0 ? ready_ : waiting_).push(n);
  }

  void Satisfy(Node* n, std::vector<int>* counts) {
    if (--(*counts)[n->id()] == 0 && !done_[n->id()]) Consider(n);
  }

  // The first ready node; when only nodes with unmet wishes are left, the first of those.
  Node* Next() {
    for (Queue* queue : {&ready_, &waiting_}) {
      while (!queue->empty()) {
        Node* n = queue->top();
        queue->pop();
        if (!done_[n->id()] && (queue == &ready_ || soft_[n->id()] > 0)) return n;
      }
    }
    return nullptr;
  }

  void AddSoftEdges() {
    absl::flat_hash_map<const Node*, std::vector<Node*>> users;  // of each resource
    std::vector<Node*> writers;
    for (Node* n : nodes_) {
      bool uses = false;
      for (int i = 0; i < n->num_inputs(); ++i) {
        const Node* owner = StateOwner(*n, i);
        if (owner == nullptr) continue;
        users[owner].push_back(n);
        uses = true;
      }
      if (uses && n->Is(kWritesState)) writers.push_back(n);
    }
    std::vector<int> mark(after_.size(), -1);
    for (size_t w = 0; w < writers.size(); ++w) {
      Node* writer = writers[w];
      MarkDescendants(writer, static_cast<int>(w), &mark);
      auto wish = [&](Node* first) {
        if (first == writer || mark[first->id()] == static_cast<int>(w)) return;
        after_[first->id()].push_back(writer);
        ++soft_[writer->id()];
      };
      for (int i = 0; i < writer->num_inputs(); ++i) {
        const Node* owner = StateOwner(*writer, i);
        if (owner == nullptr) continue;
        for (Node* user : users[owner]) {
          if (user->Is(kWritesState)) continue;
          wish(user);
          for (const OutEdge& e : user->out_edges()) {
            if (!IsStateType(user->output_type(e.output))) wish(e.to);
          }
        }
      }
    }
  }

  static void MarkDescendants(Node* from, int mark, std::vector<int>* marks) {
    std::vector<Node*> stack = {from};
    auto visit = [&](Node* n) {
      if ((*marks)[n->id()] == mark) return;
      (*marks)[n->id()] = mark;
      stack.push_back(n);
    };
    while (!stack.empty()) {
      Node* n = stack.back();
      stack.pop_back();
      for (const OutEdge& e : n->out_edges()) visit(e.to);
      for (Node* to : n->control_outputs()) visit(to);
    }
  }

  std::vector<Node*> nodes_;
  std::vector<int> hard_, soft_;           // dependencies and wishes not met yet, by id
  std::vector<std::vector<Node*>> after_;  // who wishes to run after a node
  std::vector<bool> done_;
  Queue ready_, waiting_;
};

}  // namespace

const Node* StateOwner(const Node& node, int input) {
  Endpoint e = node.input(input);
  if (!IsStateType(e.node->output_type(e.index))) return nullptr;
  while (e.node->Is(kIdentity) && e.node->num_inputs() == 1) e = e.node->input(0);
  return e.node;
}

absl::StatusOr<std::vector<Node*>> LaneOrder(const Graph& graph) {
  absl::StatusOr<std::vector<Node*>> any = graph.TopologicalOrder();
  if (!any.ok()) return any.status();
  return Scheduler(graph).Order();
}

}  // namespace sluice
