// Clusters whose tasks live in one process and talk over gRPC.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/match.h"
#include "core/proto/config.pb.h"
#include "distributed/client/remote_session.h"
#include "distributed/cluster/cluster.h"
#include "distributed/proto/master.pb.h"
#include "tests/distributed/server_fixture.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(ServerTest, StepOverTwoTasks) {
  Cluster(1);
  Build(R"(
    x = Placeholder(dtype=float, shape=[?]) @/job:worker/task:0
    n = Neg(x) @/job:ps/task:0
    y = Add(n, x) @/job:worker/task:0
    z = Mul(n, n) @/job:ps/task:0)");
  auto session = Session(*workers_[0]);
  const std::vector<float> v = {1, 2, 3};
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Text(session->Run({{"x:0", Tensor::Vector<float>(v)}}, {"y:0", "z:0", "n:0"}, {})),
              "float [3] 0 0 0; float [3] 1 4 9; float [3] -1 -2 -3");
  }
  auto devices = session->ListDevices();
  ASSERT_TRUE(devices.ok());
  ASSERT_EQ(devices->size(), 2);
  EXPECT_EQ((*devices)[0].name, "/job:worker/replica:0/task:0/device:CPU:0");
  EXPECT_EQ((*devices)[1].name, "/job:ps/replica:0/task:0/device:CPU:0");
  EXPECT_THAT(*session->ExplainPlacement({{"x:0"}, {"y:0"}, {}}), HasSubstr("/job:ps/replica:0/task:0/device:CPU:0"));
  EXPECT_THAT(*session->DumpPlan({{"x:0"}, {"y:0"}, {}}), HasSubstr("# /job:ps/replica:0/task:0"));
  session.reset();
  EXPECT_EQ(StateOf(*ps_).session_size(), 0);
  EXPECT_EQ(StateOf(*ps_).step_size(), 0);
}

TEST_F(ServerTest, PartitionGraphsComeBackWhenTheyAreWanted) {
  Cluster(1);
  Build(R"(
    x = Placeholder(dtype=float, shape=[?]) @/job:worker/task:0
    n = Neg(x) @/job:ps/task:0
    y = Add(n, x) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  auto callable = session->MakeCallable({{"x:0"}, {"y:0"}, {}});
  ASSERT_TRUE(callable.ok());
  std::vector<Tensor> fetches;
  RunOptions run;
  run.partition_graphs = true;
  RunMetadata metadata;
  const absl::Status ran = session->RunCallable(**callable, {Tensor::Vector<float>({1})}, &fetches, run, &metadata);
  ASSERT_TRUE(ran.ok()) << ran;
  EXPECT_THAT(metadata.partition_graphs, ::testing::UnorderedElementsAre(AllOf(HasSubstr("Neg"), HasSubstr("_Send")),
                                                                         AllOf(HasSubstr("Add"), HasSubstr("_Recv"))));
  EXPECT_TRUE(metadata.stats.devices.empty()) << "no trace was wanted";
}

TEST_F(ServerTest, EachSessionDrawsItsRandomNumbersFromTheBeginning) {
  Cluster(1);
  Build(R"(
    n = Const(value=int32[1]{2})
    r = RandomUniform(n, dtype=float, seed=7, seed2=9) @/job:ps/task:0)");
  auto draw = [](SessionBase& session) { return Text(session.Run({}, {"r:0"}, {})); };
  auto first = Session(*workers_[0]);
  const std::string one = draw(*first), two = draw(*first);
  EXPECT_NE(one, two);
  auto second = Session(*workers_[0]);
  EXPECT_EQ(draw(*second), one) << "a session of its own";
  EXPECT_EQ(draw(*second), two);
  first.reset();
  auto third = Session(*workers_[0]);
  EXPECT_EQ(draw(*third), one);
}

TEST_F(ServerTest, ASessionIsMadeWithinTheTimeOfTheStepThatWantsIt) {
  Cluster(1);
  ps_.reset();  // so that a session waits for it
  Build("one = Const(value=float[]{1})");
  auto session = Session(*workers_[0]);
  auto callable = session->MakeCallable({{}, {"one:0"}, {}});
  ASSERT_TRUE(callable.ok());
  std::vector<Tensor> fetches;
  RunOptions run;
  run.timeout_ms = 100;
  EXPECT_EQ(session->RunCallable(**callable, {}, &fetches, run, nullptr).code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ServerTest, VariablesOutliveSessionsAndGraphsGrow) {
  Cluster(2);
  Build(R"(
    v = VarHandleOp(dtype=float, shape=[], shared_name='v') @/job:ps/task:0
    one = Const(value=float[]{1})
    init = AssignVariableOp(v, one)
    add = AssignAddVariableOp(v, one))");
  auto first = Session(*workers_[0]);
  EXPECT_EQ(Text(first->Run({}, {}, {"init"})), "");
  EXPECT_EQ(Text(first->Run({}, {}, {"add"})), "");
  {
    absl::MutexLock lock(&graph_.mu());
    NodeSpec read;
    read.op = "ReadVariableOp";
    read.name = "r";
    read.inputs = {{graph_.Find("v"), 0}};
    read.attrs.Set("dtype", DType::kFloat);
    ASSERT_TRUE(graph_.AddNode(std::move(read)).ok());
  }
  EXPECT_EQ(Text(first->Run({}, {"r:0"}, {})), "float [] 2");
  auto second = Session(*workers_[1]);
  EXPECT_EQ(Text(second->Run({}, {"r:0"}, {"add"})).substr(0, 8), "float []");
  first.reset();
  EXPECT_EQ(Text(second->Run({}, {"r:0"}, {})), "float [] 3");
  EXPECT_TRUE(second->Reset({}).ok());
  EXPECT_THAT(Text(second->Run({}, {"r:0"}, {})), HasSubstr("ABORTED"));
  auto third = Session(*workers_[1]);
  EXPECT_THAT(Text(third->Run({}, {"r:0"}, {})), HasSubstr("FAILED_PRECONDITION"));
}

TEST_F(ServerTest, ErrorNamesNodeAndTaskAndSessionStaysUsable) {
  Cluster(1);
  Build(R"(
    x = Placeholder(dtype=float, shape=?) @/job:worker/task:0
    c = CheckNumerics(x, message='bad') @/job:ps/task:0
    y = Neg(c) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::string failed = Text(session->Run({{"x:0", Tensor::Scalar<float>(nan)}}, {"y:0"}, {}));
  EXPECT_THAT(failed, AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("bad"), HasSubstr("/job:ps/replica:0/task:0")));
  EXPECT_EQ(Text(session->Run({{"x:0", Tensor::Scalar<float>(2)}}, {"y:0"}, {})), "float [] -2");
  EXPECT_THAT(Text(session->Run({{"x:0", Tensor::Scalar<int32_t>(2)}}, {"y:0"}, {})), HasSubstr("cannot feed 'x:0'"));
  EXPECT_EQ(StateOf(*ps_).steps_failed(), 1);
}

TEST_F(ServerTest, RestartedTaskEndsTheSessionAndANewOneWorks) {
  Cluster(1);
  Build(R"(
    x = Placeholder(dtype=float, shape=[]) @/job:worker/task:0
    n = Exp(x) @/job:ps/task:0
    y = Neg(n) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  auto run = [&] { return Text(session->Run({{"x:0", Tensor::Scalar<float>(0)}}, {"y:0"}, {})); };
  EXPECT_EQ(run(), "float [] -1");
  ps_.reset();
  EXPECT_THAT(run(), AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("/job:ps/replica:0/task:0")));
  ps_ = Start("ps", 0);
  std::string lost;
  for (int i = 0; i < 100; ++i) {  // the channel connects again within a second or so
    lost = run();
    if (!absl::StrContains(lost, "UNAVAILABLE")) break;
    absl::SleepFor(absl::Milliseconds(100));
  }
  EXPECT_THAT(lost, HasSubstr("ABORTED"));
  session = Session(*workers_[0]);
  EXPECT_EQ(run(), "float [] -1");
}

TEST_F(ServerTest, MissingTaskIsNamedWithinTheTime) {
  Cluster(1);
  ps_.reset();
  Build("c = Const(value=float[]{1})");
  auto session = Session(*workers_[0]);
  EXPECT_THAT(
      Text(session->Run({}, {"c:0"}, {})),
      AllOf(HasSubstr("UNAVAILABLE"), HasSubstr("missing: /job:ps/replica:0/task:0"), HasSubstr("device_filters")));
}

TEST_F(ServerTest, TasksMastersAndClientsOfAnotherVersionAreNamed) {
  Cluster(1);
  Build("c = Const(value=float[]{1})");
  // A task of a later version in the place of the parameter server.
  const std::string address = ps_->address();
  ps_.reset();
  proto::GetStatusResponse later;
  later.set_protocol_version(kProtocolVersion + 1);
  auto listener =
      (*DefaultTransport())->Listen(address, [&](const IncomingCall&, Message, Reply reply) { reply(Pack(later)); });
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_THAT(Text(Session(*workers_[0])->Run({}, {"c:0"}, {})),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("/job:ps/replica:0/task:0"),
                    HasSubstr("speaks version 2"), HasSubstr("speaks 1"), HasSubstr("install the same version")));
  auto channel = *(*DefaultTransport())->Connect(workers_[0]->address());
  proto::CreateSessionRequest client;
  client.set_protocol_version(7);
  EXPECT_THAT(CallAndWait(*channel, "/sluice.proto.MasterService/CreateSession", Pack(client), absl::Seconds(20))
                  .status()
                  .ToString(),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("the client speaks version 7"),
                    HasSubstr("/job:worker/replica:0/task:0")));
  proto::CreateWorkerSessionRequest master;
  master.set_session_handle("h");
  EXPECT_THAT(CallAndWait(*channel, "/sluice.proto.WorkerService/CreateWorkerSession", Pack(master), absl::Seconds(20))
                  .status()
                  .ToString(),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("speaks version 0")));
  // A master that does not say its version is an older one.
  auto old =
      (*DefaultTransport())->Listen("localhost:0", [](const IncomingCall&, Message, Reply reply) { reply(Message()); });
  auto session = MakeRemoteSession(*(*DefaultTransport())->Connect((*old)->address()), "", &graph_);
  EXPECT_THAT(Text(session->Run({}, {"c:0"}, {})),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("speaks version 0"), HasSubstr("this client 1")));
}

TEST_F(ServerTest, TwoClustersThatDifferAreFoundOut) {
  Cluster(2);
  // This one thinks that worker 1 is where the parameter server is.
  proto::ClusterDef wrong = cluster_;
  auto& tasks = *wrong.mutable_job(1)->mutable_tasks();
  tasks[1] = absl::StrCat("localhost:", FreePort());
  std::swap(tasks[1], (*wrong.mutable_job(0)->mutable_tasks())[0]);
  workers_[0].reset();
  cluster_ = wrong;
  workers_[0] = Start("worker", 0);
  Build("c = Const(value=float[]{1})");
  EXPECT_THAT(Text(Session(*workers_[0])->Run({}, {"c:0"}, {})),
              AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr("belongs to a task that calls its device"),
                    HasSubstr("the cluster specifications of the two differ")));
}

TEST_F(ServerTest, StepTimeoutSaysWhatItWaitsFor) {
  Cluster(1);
  Build(R"(
    q = FIFOQueueV2(component_types=[float], shared_name='q') @/job:ps/task:0
    d = QueueDequeueV2(q, component_types=[float]) @/job:ps/task:0
    y = Neg(d) @/job:worker/task:0)");
  auto session = Session(*workers_[0]);
  RunOptions options;
  options.timeout_ms = 200;
  EXPECT_THAT(Text(session->Run({}, {"y:0"}, {}, options)), AllOf(HasSubstr("DEADLINE_EXCEEDED"), HasSubstr("'d")));
  CancellationToken cancel;
  options.timeout_ms = 0;
  options.cancellation = &cancel;
  std::thread canceller([&] {
    while (StateOf(*ps_).step_size() == 0) absl::SleepFor(absl::Milliseconds(10));
    cancel.Cancel(absl::CancelledError("enough"));
  });
  EXPECT_THAT(Text(session->Run({}, {"y:0"}, {}, options)), HasSubstr("CANCELLED"));
  canceller.join();
  while (StateOf(*ps_).step_size() != 0) absl::SleepFor(absl::Milliseconds(10));
}

// Word that a step is over may overtake word of why: what still runs of it ends all the same.
TEST_F(ServerTest, WhatStillRunsOfAStepThatIsOverEnds) {
  Cluster(1);
  Build(R"(
    q = FIFOQueueV2(component_types=[float], shared_name='q') @/job:ps/task:0
    d = QueueDequeueV2(q, component_types=[float]) @/job:ps/task:0)");
  auto session = Session(*workers_[0]);
  std::string ended;
  std::thread waiting([&] { ended = Text(session->Run({}, {"d:0"}, {})); });
  while (StateOf(*ps_).step_size() == 0) absl::SleepFor(absl::Milliseconds(10));
  proto::CleanupGraphRequest over;
  over.set_step_id(StateOf(*ps_).step(0).step_id());
  auto channel = *(*DefaultTransport())->Connect(ps_->address());
  EXPECT_TRUE(CallAndWait(*channel, "/sluice.proto.WorkerService/CleanupGraph", Pack(over), absl::Seconds(10)).ok());
  waiting.join();
  EXPECT_THAT(ended, AllOf(HasSubstr("ABORTED"), HasSubstr("has ended on /job:ps/replica:0/task:0")));
}

TEST_F(ServerTest, NewerEpochEndsWhatTheOlderLeftRunningAndRefusesIt) {
  Cluster(1);
  Build(R"(
    q = FIFOQueueV2(component_types=[float], shared_name='q') @/job:ps/task:0
    d = QueueDequeueV2(q, component_types=[float]) @/job:ps/task:0
    one = Const(value=float[]{1}) @/job:ps/task:0)");
  auto config = [](int64_t epoch) {
    proto::ConfigProto c;
    c.mutable_experimental()->mutable_session_metadata()->set_name("/checkpoints");
    c.mutable_experimental()->mutable_session_metadata()->set_version(epoch);
    return c.SerializeAsString();
  };
  auto old = *NewRemoteSession(workers_[0]->target(), config(3), &graph_);
  std::string ended;
  std::thread waiting([&] { ended = Text(old->Run({}, {"d:0"}, {})); });
  while (StateOf(*ps_).step_size() == 0) absl::SleepFor(absl::Milliseconds(10));
  auto fresh = *NewRemoteSession(workers_[0]->target(), config(4), &graph_);
  EXPECT_EQ(Text(fresh->Run({}, {"one:0"}, {})), "float [] 1");
  EXPECT_EQ(StateOf(*ps_).session_size(), 1);
  waiting.join();
  EXPECT_THAT(ended, AllOf(HasSubstr("ABORTED"), HasSubstr("epoch 4 of /checkpoints has taken over")));
  EXPECT_THAT(Text(old->Run({}, {"one:0"}, {})), HasSubstr("ABORTED"));
  auto zombie = *NewRemoteSession(workers_[0]->target(), config(3), &graph_);
  EXPECT_THAT(Text(zombie->Run({}, {"one:0"}, {})), AllOf(HasSubstr("ABORTED"), HasSubstr("refuses")));
}

TEST_F(ServerTest, ManyClientsAtOnce) {
  Cluster(2);
  Build(R"(
    x = Placeholder(dtype=float, shape=[]) @/job:worker/task:0
    n = Square(x) @/job:ps/task:0
    y = Neg(n) @/job:worker/task:1)");
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      auto session = Session(*workers_[t % 2]);
      for (int i = 0; i < 50; ++i) {
        const float v = static_cast<float>(t * 10 + i % 10);
        EXPECT_EQ(Text(session->Run({{"x:0", Tensor::Scalar<float>(v)}}, {"y:0"}, {})),
                  absl::StrCat("float [] ", -v * v));
      }
    });
  }
  for (auto& t : threads) t.join();
}

TEST_F(ServerTest, PortInUseAndWrongTaskAreErrors) {
  Cluster(1);
  proto::ServerDef def;
  *def.mutable_cluster() = cluster_;
  def.set_job_name("ps");
  ServerOptions options;
  options.environment = GetProcessEnvironment().view();
  EXPECT_THAT(std::string(Server::Make(def, options).status().message()), HasSubstr("/job:ps/replica:0/task:0"));
  def.set_task_index(3);
  EXPECT_THAT(std::string(Server::Make(def, options).status().message()), HasSubstr("the cluster has no task"));
}

}  // namespace
}  // namespace sluice
