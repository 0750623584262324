#include "runtime/executor/function_runtime.h"

#include <utility>

#include "core/base/status.h"
#include "runtime/executor/rewrites.h"

namespace sluice {
namespace {

constexpr int kMostParents = 200;  // deep recursion ends with an error, not with the stack

}  // namespace

FunctionRuntime::FunctionRuntime(const FunctionLibrary& library, const OpRegistry* ops, PlanEnvironment environment)
    : functions_(ops), environment_(std::move(environment)) {
  environment_.functions = this;
  (void)functions_.functions().AddAll(library);  // an empty library accepts all
}

absl::StatusOr<FunctionRunner::Handle> FunctionRuntime::Instantiate(const FuncRef& function) {
  auto it = by_name_.find(function.name);
  if (it != by_name_.end()) return it->second;
  const Function* f = functions_.functions().Find(function.name);
  if (f == nullptr) return NotFound("the graph has no function '", function.name, "'");
  const Handle handle = static_cast<Handle>(instances_.size());
  instances_.push_back(std::make_unique<Instance>());
  by_name_.emplace(function.name, handle);
  Instance* instance = instances_.back().get();
  instance->name = f->name;
  instance->num_args = static_cast<int>(f->args.size());
  instance->num_results = static_cast<int>(f->results.size());
  absl::Status planned = Plan(*f, instance);
  if (!planned.ok()) {
    by_name_.erase(function.name);
    return Annotate(planned, absl::StrCat("function '", f->name, "': "));
  }
  return handle;
}

absl::Status FunctionRuntime::Plan(const Function& f, Instance* instance) {
  ASSIGN_OR_RETURN(std::unique_ptr<Graph> body, f.body->Clone([](const Node&) { return true; }));
  RETURN_IF_ERROR(InsertReadRefs(body.get()));
  PruneTo(body.get(), [](const Node& n) { return n.Is(kSideEffect) || n.Is(kWritesState); });
  ASSIGN_OR_RETURN(std::unique_ptr<PartitionPlan> partition, PartitionPlan::Make(std::move(body), environment_));
  for (const Binding& a : partition->arguments) {
    if (a.index >= instance->num_args) return InvalidArgument("argument ", a.index, " of ", instance->num_args);
  }
  std::vector<bool> made(instance->num_results, false);
  for (const Binding& r : partition->results) {
    if (r.index >= instance->num_results) return InvalidArgument("result ", r.index, " of ", instance->num_results);
    made[r.index] = true;
  }
  for (int i = 0; i < instance->num_results; ++i) {
    if (!made[i]) return InvalidArgument("the body makes no result ", i);
  }
  std::vector<std::unique_ptr<PartitionPlan>> partitions;
  partitions.push_back(std::move(partition));
  instance->plan = std::make_unique<StepPlan>(std::move(partitions), instance->num_args, instance->num_results);
  return absl::OkStatus();
}

int FunctionRuntime::num_results(Handle handle) const { return instances_[handle]->num_results; }

bool FunctionRuntime::MayBlock(Handle handle) const {
  const Instance& i = *instances_[handle];
  return i.plan != nullptr && i.plan->MayBlock();
}

absl::Status FunctionRuntime::Run(Handle handle, KernelContext& caller, std::vector<Tensor> args,
                                  std::vector<Tensor>* results) {
  Instance& f = *instances_[handle];
  if (static_cast<int>(args.size()) != f.num_args) {
    return InvalidArgument("function '", f.name, "' takes ", f.num_args, " arguments, found ", args.size());
  }
  const auto* outer = static_cast<const StepCall*>(caller.step().runtime);
  StepCall call;
  call.step_id = caller.step_id();
  call.rendezvous = caller.rendezvous();
  call.parent = &caller.step();
  if (outer != nullptr) {
    call.deadline = outer->deadline;
    call.trace = outer->trace;
    call.progress = outer->progress;
    call.depth = outer->depth + 1;
    if (call.depth > kMostParents) {
      return ResourceExhausted("function '", f.name, "' is ", call.depth, " calls deep: does it recur without end?");
    }
  }
  results->assign(f.num_results, Tensor());
  Step* step = f.plan->Take();
  absl::Status status = step->Run(call, {}, args.data(), results->data());
  f.plan->GiveBack(step);
  return status;
}

std::string FunctionRuntime::Dump() const {
  std::string out;
  for (const auto& i : instances_) {
    if (i->plan) absl::StrAppend(&out, "function '", i->name, "': ", i->plan->Dump());
  }
  return out;
}

}  // namespace sluice
