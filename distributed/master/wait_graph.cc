#include "distributed/master/wait_graph.h"

#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "distributed/cluster/cluster.h"

namespace sluice {
namespace {

constexpr size_t kMostLines = 8;

using Edges = std::map<std::string, std::set<std::string>>;

// The tasks from `at` back to one of `path`, or nothing.
std::vector<std::string> CircleFrom(const std::string& at, const Edges& edges, std::vector<std::string>* path,
                                    std::set<std::string>* seen) {
  for (size_t i = 0; i < path->size(); ++i) {
    if ((*path)[i] != at) continue;
    std::vector<std::string> circle(path->begin() + static_cast<int64_t>(i), path->end());
    circle.push_back(at);
    return circle;
  }
  auto next = edges.find(at);
  if (next == edges.end() || !seen->insert(at).second) return {};
  path->push_back(at);
  for (const std::string& to : next->second) {
    std::vector<std::string> circle = CircleFrom(to, edges, path, seen);
    if (!circle.empty()) return circle;
  }
  path->pop_back();
  return {};
}

// Waits of one task.
std::vector<std::string> LinesOf(const TaskWaits& t, Edges* edges) {
  if (!t.error.empty()) return {absl::StrCat(t.task, " does not answer: ", t.error)};
  if (!t.known) return {absl::StrCat(t.task, " has nothing to do in it any more, or has not heard of it")};
  std::vector<std::string> lines;
  for (const std::string& text : t.step.waiting_for()) {
    const std::vector<std::string> key = absl::StrSplit(text, ';');  // "from;incarnation;to;edge;frame"
    // Keys that others ask for are listed by those who ask.
    if (key.size() < 4 || TaskOfDevice(key[2]) != t.task) continue;
    const std::string from(TaskOfDevice(key[0]));
    (*edges)[t.task].insert(from);
    lines.push_back(absl::StrCat(t.task, " waits for ", key[3], " from ", from, " (to its ",
                                 key[2].substr(key[2].rfind('/') + 1), ")"));
  }
  for (const std::string& node : t.step.waiting_node()) {
    if (absl::StartsWith(node, "_Recv ") || absl::StartsWith(node, "_HostRecv ")) continue;  // said above
    lines.push_back(absl::StrCat(t.task, " waits in ", node));
  }
  if (!t.step.running_node().empty()) lines.push_back(absl::StrCat(t.task, " runs ", t.step.running_node()));
  if (lines.empty()) lines.push_back(absl::StrCat(t.task, " waits for nothing of another task"));
  if (lines.size() > kMostLines) {
    lines.resize(kMostLines);
    lines.push_back(absl::StrCat(t.task, " waits for more"));
  }
  return lines;
}

}  // namespace

std::string DescribeWaits(const std::vector<TaskWaits>& tasks) {
  std::vector<std::string> lines;
  Edges edges;
  for (const TaskWaits& t : tasks) {
    for (std::string& line : LinesOf(t, &edges)) lines.push_back(std::move(line));
  }
  for (const auto& [task, to] : edges) {
    std::vector<std::string> path;
    std::set<std::string> seen;
    const std::vector<std::string> circle = CircleFrom(task, edges, &path, &seen);
    // Two tasks that both have tensors to come from each other are no deadlock as long as one of them works.
    if (circle.empty()) continue;
    lines.push_back(absl::StrCat("in a circle: ", absl::StrJoin(circle, " -> ")));
    break;
  }
  return absl::StrJoin(lines, "\n");
}

}  // namespace sluice
