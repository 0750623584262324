#include "distributed/worker/worker_session.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"
#include "core/graph/function.h"
#include "core/graph/graph_def.h"

namespace sluice {

namespace {

// Files and Python: quick as a rule, and now and then not.
bool WaitsOutside(const WorkerGraph& graph) {
  const auto waits = [](const Node* n) { return n->Is(kHostOnly); };
  for (const auto& part : graph.planned.step->partitions()) {
    if (std::any_of(part->nodes.begin(), part->nodes.end(), waits)) return true;
  }
  for (const Function* f : graph.functions->functions().List()) {
    const auto nodes = f->body->nodes();
    if (std::any_of(nodes.begin(), nodes.end(), waits)) return true;
  }
  return false;
}

}  // namespace

WorkerSession::WorkerSession(std::string handle, const Environment* environment, const SessionOptions* options,
                             std::vector<Device*> devices, std::vector<ResourceStore*> resources)
    : handle_(std::move(handle)) {
  setup_.environment = environment;
  setup_.options = options;
  setup_.devices = std::move(devices);
  setup_.resources = std::move(resources);
  while (setup_.resources.size() < setup_.devices.size()) {
    own_.push_back(std::make_unique<ResourceStore>());
    setup_.resources.push_back(own_.back().get());
  }
}

absl::StatusOr<std::shared_ptr<WorkerGraph>> WorkerSession::Register(const proto::RegisterGraphRequest& request) {
  constexpr int kMaxBindings = 1'000'000;
  if (request.num_arguments() < 0 || request.num_results() < 0 || request.num_arguments() > kMaxBindings ||
      request.num_results() > kMaxBindings) {
    return InvalidArgument("a graph with ", request.num_arguments(), " arguments and ", request.num_results(),
                           " results");
  }
  auto made = std::make_shared<WorkerGraph>();
  made->num_arguments = request.num_arguments();
  made->num_results = request.num_results();
  made->functions = std::make_unique<Graph>(setup_.environment->ops);
  std::vector<Partition> partitions;
  for (proto::PartitionDef def : request.partition()) {
    ScopeRandomStates(def.mutable_graph());
    const bool here =
        std::any_of(setup_.devices.begin(), setup_.devices.end(), [&](Device* d) { return d->name() == def.device(); });
    if (!here) return InvalidArgument("a graph for the device ", def.device(), ", which is not one of this task");
    Partition part;
    part.device = def.device();
    part.graph = std::make_unique<Graph>(setup_.environment->ops);
    ImportOptions import;
    import.validate_shapes = false;
    absl::StatusOr<ImportResult> imported = ImportGraphDef(def.graph(), import, part.graph.get());
    if (!imported.ok()) return imported.status();
    for (Node* n : part.graph->nodes()) {
      n->set_assigned_device(def.device());
      if (absl::StatusOr<int64_t> group = n->info().Attr<int64_t>("group_key"); group.ok())
        made->groups.push_back(*group);
      if (n->op().name == "_Retval" || n->op().name == "_Arg") {
        ASSIGN_OR_RETURN(int64_t index, n->info().Attr<int64_t>("index"));
        const bool result = n->op().name == "_Retval";
        if (index < 0 || index >= (result ? made->num_results : made->num_arguments))
          return InvalidArgument(n->info().Describe(), " has the number ", index);
        if (result) {
          made->results.push_back(static_cast<int>(index));
        } else {
          FeedCheck check{absl::StrCat("argument ", index), n->info().Describe(), n->output_type(0),
                          n->output_shape(0)};
          made->arguments.emplace_back(static_cast<int>(index), std::move(check));
        }
      }
    }
    RETURN_IF_ERROR(made->functions->functions().AddAll(part.graph->functions()));
    partitions.push_back(std::move(part));
  }
  if (partitions.empty()) return InvalidArgument("a graph without partitions");
  std::sort(made->results.begin(), made->results.end());
  std::sort(made->groups.begin(), made->groups.end());
  made->groups.erase(std::unique(made->groups.begin(), made->groups.end()), made->groups.end());
  ASSIGN_OR_RETURN(made->planned, PlanPartitions(setup_, std::move(partitions), *made->functions, made->num_arguments,
                                                 made->num_results));
  made->may_wait = made->planned.step->MayBlock() || WaitsOutside(*made);
  absl::MutexLock lock(&mu_);
  made->handle = absl::StrCat("graph_", next_++);
  graphs_[made->handle] = made;
  return made;
}

// Variables outlive a session, random states do not: a new session begins with the numbers that its seeds say. Both lie
// in the stores of the worker, so the states get a container of their own.
void WorkerSession::ScopeRandomStates(proto::GraphDef* graph) const {
  const auto scope = [this](proto::NodeDef* node) {
    if (node->attr().count("seed2") > 0) (*node->mutable_attr())["_random_scope"].set_s(RandomScope());
  };
  for (proto::NodeDef& node : *graph->mutable_node()) scope(&node);
  for (proto::FunctionDef& function : *graph->mutable_library()->mutable_function()) {
    for (proto::NodeDef& node : *function.mutable_node_def()) scope(&node);
  }
}

std::string WorkerSession::RandomScope() const { return absl::StrCat("_random/", handle_); }

WorkerSession::~WorkerSession() {
  for (ResourceStore* store : setup_.resources) store->EraseContainer(RandomScope());
}

absl::StatusOr<std::shared_ptr<WorkerGraph>> WorkerSession::Find(const std::string& graph_handle) const {
  absl::MutexLock lock(&mu_);
  auto it = graphs_.find(graph_handle);
  if (it == graphs_.end()) return absl::AbortedError(absl::StrCat("session ", handle_, " has no graph ", graph_handle));
  return it->second;
}

void WorkerSession::Deregister(const std::string& graph_handle) {
  std::shared_ptr<WorkerGraph> dropped;
  absl::MutexLock lock(&mu_);
  auto it = graphs_.find(graph_handle);
  if (it == graphs_.end()) return;
  dropped = std::move(it->second);
  graphs_.erase(it);
}

int WorkerSession::num_graphs() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int>(graphs_.size());
}

}  // namespace sluice
