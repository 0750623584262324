// Counts the calls that a server answers: on their way, ended by method and code, their times, the bytes of tensors.
//
//   auto calls = std::make_shared<CallMetrics>(metrics, {"/sluice.proto.WorkerService/RunGraph", ...});
//   reply = calls->Count(call.method, request, std::move(reply));
//
// Threads:  any method from any thread; no locks.
// Lifetime: replies hold it, since some come after the server has gone.
#ifndef SLUICE_DISTRIBUTED_METRICS_CALL_METRICS_H_
#define SLUICE_DISTRIBUTED_METRICS_CALL_METRICS_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "core/base/metrics.h"
#include "distributed/metrics/step_metrics.h"
#include "distributed/rpc/transport.h"

namespace sluice {

class CallMetrics : public std::enable_shared_from_this<CallMetrics> {
 public:
  // Methods that are not among `methods` count as "other".
  CallMetrics(std::shared_ptr<Metrics> metrics, const std::vector<std::string>& methods);

  // The reply to use instead.
  Reply Count(absl::string_view method, const Message& request, Reply reply) const;

 private:
  struct Method {
    Gauge* open = nullptr;
    std::array<Counter*, kStatusCodes> ended = {};
    Histogram* seconds = nullptr;
    Counter* received = nullptr;
    Counter* sent = nullptr;
  };
  static Method MethodOf(Metrics* metrics, const std::string& name);

  const std::shared_ptr<Metrics> metrics_;
  absl::flat_hash_map<std::string, Method> methods_;
  Method other_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_METRICS_CALL_METRICS_H_
