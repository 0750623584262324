// A cluster whose tasks are servers of the test's process and talk over real connections.
#ifndef SLUICE_TESTS_DISTRIBUTED_SERVER_FIXTURE_H_
#define SLUICE_TESTS_DISTRIBUTED_SERVER_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/base/status.h"
#include "core/graph/text.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/server/server.h"
#include "runtime/c_api/environment.h"
#include "tests/distributed/free_port.h"

namespace sluice {

inline std::string Text(const absl::StatusOr<std::vector<Tensor>>& results) {
  if (!results.ok()) return results.status().ToString();
  std::string out;
  for (const Tensor& t : *results) absl::StrAppend(&out, out.empty() ? "" : "; ", t.ToString());
  return out;
}

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() : graph_(&GetProcessEnvironment().ops) {
    EXPECT_TRUE(GetProcessEnvironment().status.ok()) << GetProcessEnvironment().status;
    options_.environment = GetProcessEnvironment().view();
    options_.join_timeout = absl::Seconds(5);
  }

  // One parameter server and `workers` workers. Another process may take a port between its choice and its use: then
  // all is tried again.
  void Cluster(int workers) {
    absl::Status failed;
    for (int attempt = 0; attempt < 5; ++attempt) {
      failed = TryCluster(workers);
      if (failed.ok()) return;
    }
    FAIL() << failed;
  }

  absl::StatusOr<std::unique_ptr<Server>> Make(const std::string& job, int task) {
    proto::ServerDef def;
    *def.mutable_cluster() = cluster_;
    def.set_job_name(job);
    def.set_task_index(task);
    def.set_protocol("grpc");
    ASSIGN_OR_RETURN(std::unique_ptr<Server> server, Server::Make(def, options_));
    server->Start();
    return server;
  }

  std::unique_ptr<Server> Start(const std::string& job, int task) {
    auto server = Make(job, task);
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }

  void Build(absl::string_view text) {
    absl::MutexLock lock(&graph_.mu());
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
  }

  std::unique_ptr<SessionBase> Session(const Server& server, const std::string& config = "") {
    auto session = NewRemoteSession(server.target(), config, &graph_);
    EXPECT_TRUE(session.ok()) << session.status();
    return *std::move(session);
  }

  proto::WorkerStateResponse StateOf(const Server& server) {
    auto transport = *DefaultTransport();
    auto channel = *transport->Connect(server.address());
    auto state = Ask<proto::WorkerStateResponse>(*channel, "/sluice.proto.WorkerService/WorkerState",
                                                 proto::WorkerStateRequest(), absl::Seconds(10));
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? *state : proto::WorkerStateResponse();
  }

  proto::ClusterDef cluster_;
  ServerOptions options_;
  Graph graph_;
  std::unique_ptr<Server> ps_;
  std::vector<std::unique_ptr<Server>> workers_;

 private:
  absl::Status TryCluster(int workers) {
    cluster_.Clear();
    ps_.reset();
    workers_.clear();
    auto add = [&](const char* job, int tasks) {
      auto* j = cluster_.add_job();
      j->set_name(job);
      for (int t = 0; t < tasks; ++t) (*j->mutable_tasks())[t] = absl::StrCat("localhost:", FreePort());
    };
    add("ps", 1);
    add("worker", workers);
    ASSIGN_OR_RETURN(ps_, Make("ps", 0));
    for (int t = 0; t < workers; ++t) {
      ASSIGN_OR_RETURN(std::unique_ptr<Server> worker, Make("worker", t));
      workers_.push_back(std::move(worker));
    }
    return absl::OkStatus();
  }
};

}  // namespace sluice

#endif  // SLUICE_TESTS_DISTRIBUTED_SERVER_FIXTURE_H_
