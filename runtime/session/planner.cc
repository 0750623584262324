#include "runtime/session/planner.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/graph/verifier.h"
#include "runtime/partition/partition.h"
#include "runtime/placer/placer.h"
#include "runtime/session/cut.h"
#include "runtime/session/evaluator.h"

namespace sluice {
namespace {

#ifdef NDEBUG
constexpr bool kVerifyPasses = false;
#else
constexpr bool kVerifyPasses = true;
#endif

absl::Status RunPasses(const PlannerSetup& setup, CutGraph* cut) {
  const SessionOptions& options = *setup.options;
  if (!options.optimise || setup.environment->passes.empty()) return absl::OkStatus();
  PassContext context;
  context.preserve = cut->preserve;
  context.evaluate = MakeEvaluator(setup.environment->kernels, setup.devices[0]);
  for (const auto& pass : setup.environment->passes) {
    const std::vector<std::string>& off = options.disabled_passes;
    if (std::find(off.begin(), off.end(), pass->name()) != off.end()) continue;
    std::string before = options.dump_passes ? GraphToText(*cut->graph) : "";
    absl::StatusOr<bool> changed = pass->Run(cut->graph.get(), context);
    if (!changed.ok()) return Annotate(changed.status(), absl::StrCat("pass ", pass->name(), ": "));
    if (*changed && options.dump_passes) {
      std::fprintf(stderr, "# before %s\n%s# after %s\n%s\n", pass->name().c_str(), before.c_str(),
                   pass->name().c_str(), GraphToText(*cut->graph).c_str());
    }
    if (kVerifyPasses) {
      absl::Status valid = VerifyGraph(*cut->graph);
      if (!valid.ok()) return Annotate(valid, absl::StrCat("pass ", pass->name(), " broke the graph: "));
    }
  }
  return absl::OkStatus();
}

int FindDevice(const PlannerSetup& setup, const std::string& name) {
  for (size_t d = 0; d < setup.devices.size(); ++d) {
    if (setup.devices[d]->name() == name) return static_cast<int>(d);
  }
  return -1;
}

absl::StatusOr<std::string> Place(const PlannerSetup& setup, Graph* graph) {
  std::vector<PlacerDevice> devices;
  for (Device* d : setup.devices) devices.push_back({d->name(), d->parsed_name(), d->type()});
  PlacerOptions options;
  options.kernels = setup.environment->kernels;
  options.soft_placement = setup.options->soft_placement;
  return PlaceGraph(graph, devices, options);
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

absl::StatusOr<std::unique_ptr<SessionPlan>> MakeSessionPlan(const PlannerSetup& setup, const Graph& graph,
                                                             const CallableSpec& spec) {
  auto plan = std::make_unique<SessionPlan>();
  CutGraph cut;
  {
    absl::ReaderMutexLock lock(&graph.mu());
    plan->mutations = graph.mutations();
    ASSIGN_OR_RETURN(cut, CutToSignature(graph, spec));
  }
  plan->feeds = cut.feeds;
  RETURN_IF_ERROR(RunPasses(setup, &cut));
  ASSIGN_OR_RETURN(plan->placement, Place(setup, cut.graph.get()));
  const std::unique_ptr<Graph> functions = std::make_unique<Graph>(&cut.graph->ops());
  RETURN_IF_ERROR(functions->functions().AddAll(cut.graph->functions()));
  ASSIGN_OR_RETURN(std::vector<Partition> parts, PartitionGraph(std::move(cut.graph), [&](const std::string& device) {
                     int d = FindDevice(setup, device);
                     return d < 0 ? 0 : setup.devices[d]->attributes().incarnation;
                   }));
  std::vector<std::unique_ptr<PartitionPlan>> partitions;
  for (Partition& part : parts) {
    const int d = std::max(0, FindDevice(setup, part.device));
    PlanEnvironment e;
    e.kernels = setup.environment->kernels;
    e.device = setup.devices[d];
    e.resources = setup.resources[d];
    plan->functions.push_back(
        std::make_unique<FunctionRuntime>(functions->functions(), &functions->ops(), e.kernels, e.device, e.resources));
    e.functions = plan->functions.back().get();
    ASSIGN_OR_RETURN(std::unique_ptr<PartitionPlan> partition, PartitionPlan::Make(std::move(part.graph), e));
    partitions.push_back(std::move(partition));
  }
  plan->step = std::make_unique<StepPlan>(std::move(partitions), static_cast<int>(spec.feeds.size()),
                                          static_cast<int>(spec.fetches.size()));
  return plan;
}

}  // namespace sluice
