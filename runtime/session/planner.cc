#include "runtime/session/planner.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"
#include "runtime/executor/pass_list.h"
#include "runtime/partition/partition.h"
#include "runtime/placer/placer.h"
#include "runtime/session/cut.h"
#include "runtime/session/evaluator.h"

namespace sluice {
namespace {

absl::Status RunPasses(const PlannerSetup& setup, CutGraph* cut) {
  const SessionOptions& options = *setup.options;
  if (!options.optimise) return absl::OkStatus();
  PassContext context;
  context.preserve = cut->preserve;
  context.evaluate = MakeEvaluator(setup.environment->kernels, setup.devices[0]);
  PassList passes = PassList::Enabled(setup.environment->passes, options.disabled_passes);
  passes.dump = options.dump_passes;
  return passes.Run(cut->graph.get(), context);
}

int FindDevice(const PlannerSetup& setup, const std::string& name) {
  for (size_t d = 0; d < setup.devices.size(); ++d) {
    if (setup.devices[d]->name() == name) return static_cast<int>(d);
  }
  return -1;
}

absl::StatusOr<std::string> Place(const PlannerSetup& setup, Graph* graph) {
  std::vector<PlacerDevice> devices;
  if (setup.cluster.empty()) {
    for (Device* d : setup.devices) devices.push_back({d->name(), d->parsed_name(), d->type()});
  }
  for (const DeviceAttributes& d : setup.cluster) {
    ASSIGN_OR_RETURN(PlacerDevice device, MakePlacerDevice(d.name));
    devices.push_back(std::move(device));
  }
  PlacerOptions options;
  options.kernels = setup.environment->kernels;
  options.soft_placement = setup.options->soft_placement;
  options.history = setup.history;
  options.cost_aware = setup.options->cost_aware_placement;
  options.explain = setup.explain;
  const CostModel costs(setup.measured);
  options.costs = &costs;
  return PlaceGraph(graph, devices, options);
}

constexpr int64_t kLateReceiveBytes = 1 << 20;

PartitionOptions PartitionOptionsOf(const SessionOptions& options) {
  PartitionOptions o;
  o.bfloat16_transfers = options.bfloat16_transfers;
  if (options.late_receives) o.late_receive_bytes = kLateReceiveBytes;
  return o;
}

bool Fits(const PartialShape& wanted, const Shape& found) {
  if (!wanted.known_rank()) return true;
  if (wanted.rank() != found.rank()) return false;
  for (int i = 0; i < found.rank(); ++i) {
    if (wanted.dim(i) >= 0 && wanted.dim(i) != found.dim(i)) return false;
  }
  return true;
}

}  // namespace

absl::Status CheckFeed(const FeedCheck& wanted, const Tensor& found) {
  if (ABSL_PREDICT_TRUE(found.dtype() == wanted.dtype && Fits(wanted.shape, found.shape()))) return absl::OkStatus();
  return InvalidArgument(
      "cannot feed '", wanted.name, "': ", wanted.describe, " wants ", DTypeName(wanted.dtype), " ",
      wanted.shape.ToString(), ", found ",
      found.IsValid() ? absl::StrCat(DTypeName(found.dtype()), " ", found.shape().ToString()) : "no value");
}

std::string SessionPlan::Dump() const {
  std::string out = step->Dump();
  for (const auto& f : functions) out += f->Dump();
  return out;
}

absl::StatusOr<PlacedStep> PlaceStep(const PlannerSetup& setup, const Graph& graph, const CallableSpec& spec) {
  PlacedStep placed;
  CutGraph cut;
  {
    absl::ReaderMutexLock lock(&graph.mu());
    placed.mutations = graph.mutations();
    ASSIGN_OR_RETURN(cut, CutToSignature(graph, spec));
  }
  placed.feeds = cut.feeds;
  if (spec.partial) placed.partial.needs = FeedsOfFetches(*cut.graph, static_cast<int>(spec.fetches.size()));
  RETURN_IF_ERROR(RunPasses(setup, &cut));
  ASSIGN_OR_RETURN(placed.placement, Place(setup, cut.graph.get()));
  placed.functions = std::make_unique<Graph>(&cut.graph->ops());
  RETURN_IF_ERROR(placed.functions->functions().AddAll(cut.graph->functions()));
  const auto incarnation = [&](const std::string& device) {
    for (const DeviceAttributes& d : setup.cluster) {
      if (d.name == device) return d.incarnation;
    }
    int d = FindDevice(setup, device);
    return d < 0 ? 0 : setup.devices[d]->attributes().incarnation;
  };
  const CostModel costs(setup.measured);
  PartitionOptions options = PartitionOptionsOf(*setup.options);
  options.costs = &costs;
  // A receive that waits for another node could wait for a feed that comes only after the fetch that needs the receive.
  if (spec.partial) options.late_receive_bytes = -1;
  ASSIGN_OR_RETURN(placed.partitions, PartitionGraph(std::move(cut.graph), incarnation, options));
  if (spec.partial) {
    const std::string& first = setup.cluster.empty() ? setup.devices[0]->name() : setup.cluster[0].name;
    RETURN_IF_ERROR(OpenPorts(first, &placed.partitions, &placed.partial));
  }
  return placed;
}

absl::StatusOr<PlannedStep> PlanPartitions(const PlannerSetup& setup, std::vector<Partition> partitions,
                                           const Graph& functions, int num_arguments, int num_results) {
  PlannedStep planned;
  std::vector<std::unique_ptr<PartitionPlan>> plans;
  PassList passes;
  if (setup.options->optimise) {
    passes = PassList::Enabled(setup.environment->device_passes, setup.options->disabled_passes);
    passes.dump = setup.options->dump_passes;
  }
  for (Partition& part : partitions) {
    const int d = std::max(0, FindDevice(setup, part.device));
    PlanEnvironment e;
    e.kernels = setup.environment->kernels;
    e.device = setup.devices[d];
    e.resources = setup.resources[d];
    e.passes = passes;
    e.lanes = setup.options->static_lanes;
    e.measured = setup.measured;
    planned.functions.push_back(std::make_unique<FunctionRuntime>(functions.functions(), &functions.ops(), e));
    e.functions = planned.functions.back().get();
    ASSIGN_OR_RETURN(std::unique_ptr<PartitionPlan> plan, PartitionPlan::Make(std::move(part.graph), e));
    plans.push_back(std::move(plan));
  }
  planned.step = std::make_unique<StepPlan>(std::move(plans), num_arguments, num_results);
  return planned;
}

absl::StatusOr<std::unique_ptr<SessionPlan>> MakeSessionPlan(const PlannerSetup& setup, const Graph& graph,
                                                             const CallableSpec& spec) {
  ASSIGN_OR_RETURN(PlacedStep placed, PlaceStep(setup, graph, spec));
  ASSIGN_OR_RETURN(PlannedStep planned, PlanPartitions(setup, std::move(placed.partitions), *placed.functions,
                                                       spec.partial ? 0 : static_cast<int>(spec.feeds.size()),
                                                       spec.partial ? 0 : static_cast<int>(spec.fetches.size())));
  auto plan = std::make_unique<SessionPlan>();
  plan->mutations = placed.mutations;
  plan->feeds = std::move(placed.feeds);
  plan->placement = std::move(placed.placement);
  plan->partial = std::move(placed.partial);
  plan->functions = std::move(planned.functions);
  plan->step = std::move(planned.step);
  return plan;
}

}  // namespace sluice
