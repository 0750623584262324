// A session whose graph runs in a cluster: sends the graph to a master, whatever was added to it before each step, and
// the feeds of a step; gets the fetches.
//
// Threads, errors: as SessionBase. ABORTED or UNAVAILABLE: the session is lost or the master cannot be reached; a new
// session may be created.
// Lifetime: the graph must outlive it.
#ifndef SLUICE_DISTRIBUTED_CLIENT_REMOTE_SESSION_H_
#define SLUICE_DISTRIBUTED_CLIENT_REMOTE_SESSION_H_

#include <memory>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "distributed/rpc/transport.h"
#include "runtime/session/session_base.h"

namespace sluice {

// `config` is a serialised ConfigProto. The master is asked when something is first wanted of it.
std::unique_ptr<SessionBase> MakeRemoteSession(std::shared_ptr<Channel> master, std::string config, Graph* graph);

// Frees the containers (all when empty) on the tasks that match the filters (all when empty).
absl::Status ResetCluster(Channel& master, const std::vector<std::string>& containers,
                          const std::vector<std::string>& device_filters);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_CLIENT_REMOTE_SESSION_H_
