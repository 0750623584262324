// What a client needs of a session, whether its graph runs in this process (session.h) or in a cluster
// (distributed/client).
//
// Threads: any method from any thread.
// Errors:  the first error of a step ends it and is returned, naming the node; the session stays usable.
#ifndef SLUICE_RUNTIME_SESSION_SESSION_BASE_H_
#define SLUICE_RUNTIME_SESSION_SESSION_BASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "core/base/cancellation.h"
#include "core/device/device.h"
#include "core/types/tensor.h"

namespace sluice {

// A step's view of time and place, for RunMetadata and traces.
struct NodeStats {
  std::string name;
  std::string op;
  int64_t start_ns = 0;  // since the step began
  int64_t end_ns = 0;
  int64_t scheduled_ns = 0;
  int64_t thread = 0;
  int64_t output_bytes = 0;
  std::vector<std::string> inputs;   // "node:output", those of the plan
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
  std::vector<std::string> partition_graphs;  // serialised GraphDefs, one for each device
  // Of a step in a cluster: the serialised proto::RunMetadata as the master made it, which says more.
  std::string message;
};

struct CallableSpec {
  std::vector<std::string> feeds;  // "name:index"
  std::vector<std::string> fetches;
  std::vector<std::string> targets;  // node names, run and not fetched
  bool partial = false;              // feeds come and fetches go while the step runs (SetUpPartialRun)
};

// Partial runs: how long one stays open when nobody goes on with it, and how many may be open in a session.
inline constexpr absl::Duration kPartialRunLimit = absl::Minutes(10);
inline constexpr int kMaxPartialRuns = 100;

// A resolved signature: no names are looked up when it runs.
class Callable {
 public:
  virtual ~Callable() = default;
};

class SessionBase {
 public:
  virtual ~SessionBase() = default;

  // Cached by the spec: asking again returns the same. Its plan is made by the first step, and again after the graph's
  // existing nodes changed.
  virtual absl::StatusOr<std::shared_ptr<Callable>> MakeCallable(const CallableSpec& spec) = 0;
  // `feeds` in the order of the spec. REQUIRES: the callable is one of this session.
  virtual absl::Status RunCallable(Callable& callable, absl::Span<const Tensor> feeds, std::vector<Tensor>* fetches,
                                   const RunOptions& options = {}, RunMetadata* metadata = nullptr) = 0;

  // Starts a step that is run in parts, and gives its handle. It is one step: each of its nodes runs once, as soon as
  // what it needs has been fed. It ends when every fetch was taken and every feed that it needs was given; by an error,
  // cancellation or time limit of one of its parts; when the session closes; or when it is left alone for
  // kPartialRunLimit. Any number may be open, up to a limit.
  virtual absl::StatusOr<std::string> SetUpPartialRun(const CallableSpec& spec) = 0;
  // One part: gives feeds and waits for fetches; each at most once in a partial run. An error in the request (a fetch
  // that depends on feeds that were not given) changes nothing; another one ends the partial run.
  virtual absl::Status PartialRun(const std::string& handle, absl::Span<const std::pair<std::string, Tensor>> feeds,
                                  absl::Span<const std::string> fetches, std::vector<Tensor>* results,
                                  const RunOptions& options = {}) = 0;

  virtual absl::StatusOr<std::vector<DeviceAttributes>> ListDevices() = 0;
  // Why every node of a plan is where it is, a line each.
  virtual absl::StatusOr<std::string> ExplainPlacement(const CallableSpec& spec) = 0;
  // The plan in text: tier of each partition and why, instructions, memory.
  virtual absl::StatusOr<std::string> DumpPlan(const CallableSpec& spec) = 0;
  // Cancels running steps; later calls fail. Waits for running steps to end.
  virtual absl::Status Close() = 0;
  // Frees the resources of containers (all when empty).
  virtual absl::Status Reset(const std::vector<std::string>& containers) = 0;

  // MakeCallable and RunCallable in one, with names.
  absl::StatusOr<std::vector<Tensor>> Run(const std::vector<std::pair<std::string, Tensor>>& feeds,
                                          const std::vector<std::string>& fetches,
                                          const std::vector<std::string>& targets, const RunOptions& options = {},
                                          RunMetadata* metadata = nullptr);
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_SESSION_BASE_H_
