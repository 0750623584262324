// Notes every call that reaches a task, and its answer, in a history.
//
//   handler = RecordCalls(std::move(handler), sink);     around the handler of a server, or of a simulated task
#ifndef SLUICE_DISTRIBUTED_TESTING_CALL_RECORDER_H_
#define SLUICE_DISTRIBUTED_TESTING_CALL_RECORDER_H_

#include <string>
#include <vector>

#include "core/proto/graph.pb.h"
#include "distributed/rpc/transport.h"
#include "distributed/testing/history.h"

namespace sluice {

// Heartbeats and questions about the task's state are left out. The sink puts in the time, the task and its life.
Handler RecordCalls(Handler handler, HistorySink sink);

// The variables that a graph changes from what they hold: `v += 1` and the ops of optimisers, but not `v = 1`.
std::vector<std::string> UpdatedVariables(const proto::GraphDef& graph);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TESTING_CALL_RECORDER_H_
