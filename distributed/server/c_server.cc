// Servers and sessions of other masters, at the C boundary.
#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/base/status.h"
#include "core/proto/tensorflow_server.pb.h"
#include "distributed/client/remote_session.h"
#include "distributed/master/master.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/server/server.h"
#include "distributed/stats/effective_time.h"
#include "distributed/worker/worker.h"
#include "runtime/c_api/internal.h"
#include "runtime/c_api/sluice.h"

struct SL_Server {
  std::unique_ptr<sluice::Server> server;
};

SL_Server* SL_NewServer(const void* server_def, size_t size, SL_Status* status) {
  sluice::proto::ServerDef def;
  if (!def.ParseFromArray(server_def, static_cast<int>(size))) {
    status->Set(sluice::InvalidArgument("these bytes are not a serialised ServerDef"));
    return nullptr;
  }
  sluice::ProcessEnvironment& environment = sluice::GetProcessEnvironment();
  status->Set(environment.status);
  if (!environment.status.ok()) return nullptr;
  sluice::ServerOptions options;
  options.environment = environment.view();
  auto server = sluice::Server::Make(def, std::move(options));
  status->Set(server.status());
  return server.ok() ? new SL_Server{*std::move(server)} : nullptr;
}

void SL_StartServer(SL_Server* server) { server->server->Start(); }
void SL_StopServer(SL_Server* server) { server->server->Stop(); }
int SL_JoinServer(SL_Server* server, double timeout_seconds) {
  return server->server->Join(absl::Seconds(timeout_seconds)) ? 1 : 0;
}
const char* SL_ServerTarget(const SL_Server* server) { return server->server->target().c_str(); }
void SL_DeleteServer(SL_Server* server) { delete server; }
void SL_ServeMetrics(SL_Server* server, const char* address, SL_Status* status) {
  status->Set(server->server->ServeMetrics(address).status());
}
SL_Buffer* SL_ServerMetricsAddress(const SL_Server* server) { return new SL_Buffer{server->server->metrics_address()}; }

SL_Session* SL_NewSessionWithTarget(SL_Graph* graph, const char* target, const void* config, size_t size,
                                    SL_Status* status) {
  const std::string name = target;
  if (name.empty() || name == "local") return SL_NewSession(graph, config, size, status);
  status->Set(sluice::GetProcessEnvironment().status);
  if (status->code != 0) return nullptr;
  std::string bytes = config == nullptr ? std::string() : std::string(static_cast<const char*>(config), size);
  auto made = sluice::NewRemoteSession(name, std::move(bytes), graph->graph.get());
  status->Set(made.status());
  if (!made.ok()) return nullptr;
  auto* session = new SL_Session;
  session->graph = graph->graph;
  session->session = *std::move(made);
  return session;
}

SL_Buffer* SL_TaskState(const char* target, double timeout_seconds, SL_Status* status) {
  auto channel = sluice::ConnectToMaster(target);
  status->Set(channel.status());
  if (!channel.ok()) return nullptr;
  const absl::Time end = absl::Now() + absl::Seconds(timeout_seconds);
  auto state = sluice::CallAndWait(**channel, absl::StrCat(sluice::Worker::kService, "WorkerState"),
                                   sluice::Message(""), absl::Seconds(timeout_seconds));
  status->Set(state.status());
  if (!state.ok()) return nullptr;
  // What the master of the task sees, when it answers in what time is left.
  auto view = sluice::Ask<sluice::proto::MasterView>(**channel, absl::StrCat(sluice::Master::kService, "MasterState"),
                                                     sluice::proto::MasterStateRequest(),
                                                     std::max(end - absl::Now(), absl::Milliseconds(10)));
  sluice::proto::WorkerStateResponse more;
  if (view.ok()) *more.mutable_master() = *std::move(view);
  // Two messages in a row are one message.
  return new SL_Buffer{absl::StrCat(state->body, more.SerializeAsString())};
}

void SL_SetEffectiveTime(const void* effective_time, size_t size) {
  sluice::SetEffectiveTime(std::string(static_cast<const char*>(effective_time), size));
}

void SL_ResetTarget(const char* target, const char* const* containers, int count, SL_Status* status) {
  auto channel = sluice::ConnectToMaster(target);
  status->Set(channel.status());
  if (!channel.ok()) return;
  status->Set(sluice::ResetCluster(**channel, std::vector<std::string>(containers, containers + count), {}));
}
