// Runs a graph: feeds in, fetches out, any number of steps at once.
//
//   Session session(options, &graph);                       // the graph may keep growing; changes are seen by the next
//   step ASSIGN_OR_RETURN(auto callable, session.MakeCallable({.feeds = {"x:0"}, .fetches = {"y:0"}}));
//   ASSIGN_OR_RETURN(std::vector<Tensor> y, session.RunCallable(*callable, {x}));
//
// One plan is made for each (graph, feeds, fetches, targets) and kept; it is immutable and shared by concurrent steps.
//
// Threads:  any method from any thread; the graph is guarded by graph->mu().
// Errors:   the first error of a step cancels it and is returned, naming the node; the session stays usable.
// Lifetime: the graph, the environment and the devices must outlive the session; Close cancels what runs and waits for
// it.
#ifndef SLUICE_RUNTIME_SESSION_SESSION_H_
#define SLUICE_RUNTIME_SESSION_SESSION_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/device/device.h"
#include "core/graph/graph.h"
#include "core/graph/pass.h"
#include "core/kernel/kernel_registry.h"
#include "core/types/tensor.h"
#include "runtime/session/session_base.h"

namespace sluice {

// What every session of a process shares. Made by the assembly points (python/native, servers, tests).
struct Environment {
  const OpRegistry* ops = nullptr;
  const KernelRegistry* kernels = nullptr;
  std::vector<std::shared_ptr<const Pass>> passes;         // the compiler's, in order; may be empty
  std::vector<std::shared_ptr<const Pass>> device_passes;  // those that see what one device runs
};

struct SessionOptions {
  int cpu_devices = 1;    // ConfigProto.device_count["CPU"]
  int parallelism = 0;    // threads for work inside and between ops; 0: the CPUs this process may use
  bool own_pool = false;  // threads of its own instead of the process's
  bool soft_placement = false;
  bool cost_aware_placement = false;  // see runtime/placer/README.md
  bool bfloat16_transfers = false;    // floats between devices lose half their bits
  bool late_receives = false;         // large tensors of other devices are received when they are wanted
  bool log_placement = false;
  bool optimise = true;
  int static_lanes = 0;                      // see PlanEnvironment::lanes
  std::vector<std::string> disabled_passes;  // by name
  bool dump_passes = false;                  // before/after text of each pass that changed something, to stderr
  int64_t operation_timeout_ms = 0;          // 0: none
  absl::Duration partial_run_limit = kPartialRunLimit;
  std::string job = "localhost";
};

class Session final : public SessionBase {
 public:
  Session(const Environment& environment, const SessionOptions& options, Graph* graph);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  absl::StatusOr<std::shared_ptr<Callable>> MakeCallable(const CallableSpec& spec) override;
  // The fast path: no names, no locks, no allocation of its own when warm.
  absl::Status RunCallable(Callable& callable, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                           const RunOptions& options = {}, RunMetadata* metadata = nullptr) override;
  absl::StatusOr<std::string> SetUpPartialRun(const CallableSpec& spec) override;
  absl::Status PartialRun(const std::string& handle, absl::Span<const std::pair<std::string, Tensor>> feeds,
                          absl::Span<const std::string> fetches, std::vector<Tensor>* results,
                          const RunOptions& options = {}) override;
  absl::StatusOr<std::vector<DeviceAttributes>> ListDevices() override;
  absl::StatusOr<std::string> ExplainPlacement(const CallableSpec& spec) override;
  absl::StatusOr<std::string> DumpPlan(const CallableSpec& spec) override;
  absl::Status Close() override;
  absl::Status Reset(const std::vector<std::string>& containers) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_SESSION_H_
