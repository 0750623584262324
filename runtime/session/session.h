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

namespace sluice {

// What every session of a process shares. Made by the assembly points (python/native, servers, tests).
struct Environment {
  const OpRegistry* ops = nullptr;
  const KernelRegistry* kernels = nullptr;
  std::vector<std::shared_ptr<const Pass>> passes;  // the compiler's, in order; may be empty
};

struct SessionOptions {
  int cpu_devices = 1;    // ConfigProto.device_count["CPU"]
  int parallelism = 0;    // threads for work inside and between ops; 0: the CPUs this process may use
  bool own_pool = false;  // threads of its own instead of the process's
  bool soft_placement = false;
  bool log_placement = false;
  bool optimise = true;
  std::vector<std::string> disabled_passes;  // by name
  bool dump_passes = false;                  // before/after text of each pass that changed something, to stderr
  int64_t operation_timeout_ms = 0;          // 0: none
  std::string job = "localhost";
};

// A step's view of time and place, for RunMetadata and traces.
struct NodeStats {
  std::string name;
  std::string op;
  int64_t start_ns = 0;  // since the step began
  int64_t end_ns = 0;
  int64_t scheduled_ns = 0;
  int64_t thread = 0;
  int64_t output_bytes = 0;
  std::vector<std::string> outputs;  // "float [2,3]"
};
struct DeviceStats {
  std::string device;
  std::vector<NodeStats> nodes;
  AllocatorStats memory;
};
struct StepStats {
  int64_t start_unix_micros = 0;
  std::vector<DeviceStats> devices;
};

struct RunOptions {
  bool trace = false;
  bool partition_graphs = false;
  int64_t timeout_ms = 0;                     // 0: the session's
  CancellationToken* cancellation = nullptr;  // cancelled by the caller, e.g. on Ctrl-C
};
struct RunMetadata {
  StepStats stats;
  std::vector<std::string> partition_graphs;  // text form, one for each device
};

struct CallableSpec {
  std::vector<std::string> feeds;  // "name:index"
  std::vector<std::string> fetches;
  std::vector<std::string> targets;  // node names, run and not fetched
};

// A resolved signature: no names are looked up when it runs.
class Callable;

class Session {
 public:
  Session(const Environment& environment, const SessionOptions& options, Graph* graph);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                                          const std::vector<std::string>& fetches,
                                          const std::vector<std::string>& targets, const RunOptions& options = {},
                                          RunMetadata* metadata = nullptr);

  // Cached by the spec: asking again returns the same. Its plan is made by the first step, and again after the graph's
  // existing nodes changed.
  absl::StatusOr<std::shared_ptr<Callable>> MakeCallable(const CallableSpec& spec);
  // `feeds` in the order of the spec. The fast path: no names, no locks, no allocation of its own when warm.
  absl::Status RunCallable(Callable& callable, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                           const RunOptions& options = {}, RunMetadata* metadata = nullptr);

  std::vector<DeviceAttributes> ListDevices() const;
  // Why every node of the last plan is where it is, a line each.
  absl::StatusOr<std::string> ExplainPlacement(const CallableSpec& spec);
  // The plan in text: tier of each partition and why, instructions, memory.
  absl::StatusOr<std::string> DumpPlan(const CallableSpec& spec);
  // Cancels running steps; later calls fail. Waits for running steps to end.
  absl::Status Close();
  // Frees the resources of containers (all when empty).
  absl::Status Reset(const std::vector<std::string>& containers);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_SESSION_H_
