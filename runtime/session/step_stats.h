// Statistics of a traced step: from the executor's records, and as messages.
#ifndef SLUICE_RUNTIME_SESSION_STEP_STATS_H_
#define SLUICE_RUNTIME_SESSION_STEP_STATS_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/device/device.h"
#include "core/graph/graph.h"
#include "runtime/executor/trace.h"
#include "runtime/session/session_base.h"

namespace sluice {

namespace proto {
class StepStats;  // core/proto/step_stats.pb.h
}  // namespace proto

// Takes what was recorded of a step that began at `began`; `devices` add their memory.
StepStats CollectStats(StepTrace* trace, absl::Time began, const std::vector<Device*>& devices);

// A serialised GraphDef.
std::string SerializedGraph(const Graph& graph);

void StepStatsToProto(const StepStats& stats, proto::StepStats* proto);
// Times of day become times since the earliest node. Adds to what is there.
void StepStatsFromProto(const proto::StepStats& proto, StepStats* stats);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_STEP_STATS_H_
