// What can be seen of a cluster: traces of steps on one clock though the tasks' clocks differ, transfers, times,
// stragglers, and steps that stand still.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/graph/text.h"
#include "core/proto/config.pb.h"
#include "core/proto/tensorflow_server.pb.h"
#include "distributed/proto/master.pb.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/server/server.h"
#include "runtime/c_api/environment.h"
#include "tests/distributed/free_port.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A machine whose clock started at another time.
class SkewedClock final : public Clock {
 public:
  explicit SkewedClock(absl::Duration skew) : skew_(skew) {}
  absl::Duration Now() const override { return SystemClock()->Now() + skew_; }
  TimerId RunAfter(absl::Duration delay, std::function<void()> work) override {
    return SystemClock()->RunAfter(delay, std::move(work));
  }
  void CancelTimer(TimerId id) override { SystemClock()->CancelTimer(id); }

 private:
  const absl::Duration skew_;
};

class TraceTest : public ::testing::Test {
 protected:
  TraceTest() : graph_(&GetProcessEnvironment().ops) {
    EXPECT_TRUE(GetProcessEnvironment().status.ok()) << GetProcessEnvironment().status;
  }

  // A parameter server and `workers` workers, whose clocks are ahead by so many hours.
  void Start(int workers, const std::map<std::string, int>& hours) {
    auto add = [&](const char* job, int tasks) {
      auto* j = cluster_.add_job();
      j->set_name(job);
      for (int t = 0; t < tasks; ++t) (*j->mutable_tasks())[t] = absl::StrCat("localhost:", FreePort());
    };
    add("ps", 1);
    add("worker", workers);
    for (int t = -1; t < workers; ++t) {
      proto::ServerDef def;
      *def.mutable_cluster() = cluster_;
      def.set_job_name(t < 0 ? "ps" : "worker");
      def.set_task_index(std::max(t, 0));
      def.set_protocol("grpc");
      const auto ahead = hours.find(absl::StrCat(def.job_name(), "/", def.task_index()));
      clocks_.push_back(std::make_unique<SkewedClock>(absl::Hours(ahead == hours.end() ? 0 : ahead->second)));
      ServerOptions options;
      options.environment = GetProcessEnvironment().view();
      options.clock = clocks_.back().get();
      options.watchdog_timeout = absl::Seconds(1);
      auto server = Server::Make(def, options);
      ASSERT_TRUE(server.ok()) << server.status();
      (*server)->Start();
      servers_.push_back(*std::move(server));
    }
  }

  void Build(absl::string_view text) {
    absl::MutexLock lock(&graph_.mu());
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
  }

  Server& master() { return *servers_[1]; }  // worker 0

  proto::WorkerStateResponse StateOf(const Server& server) {
    auto channel = *(*DefaultTransport())->Connect(server.address());
    auto state = Ask<proto::WorkerStateResponse>(*channel, "/sluice.proto.WorkerService/WorkerState",
                                                 proto::WorkerStateRequest(), absl::Seconds(10));
    EXPECT_TRUE(state.ok()) << state.status();
    return *std::move(state);
  }
  proto::MasterView ViewOf(const Server& server) {
    auto channel = *(*DefaultTransport())->Connect(server.address());
    auto view = Ask<proto::MasterView>(*channel, "/sluice.proto.MasterService/MasterState", proto::MasterStateRequest(),
                                       absl::Seconds(10));
    EXPECT_TRUE(view.ok()) << view.status();
    return *std::move(view);
  }

  proto::ClusterDef cluster_;
  Graph graph_;
  std::vector<std::unique_ptr<SkewedClock>> clocks_;
  std::vector<std::unique_ptr<Server>> servers_;
};

struct Span {
  int64_t start = 0, end = 0;
};

TEST_F(TraceTest, StepsOfTasksWithOtherClocksAreAlignedWithinTheBound) {
  Start(2, {{"worker/0", 3}, {"ps/0", 1}, {"worker/1", 8}});
  Build(R"(
    x = Placeholder(dtype=float, shape=[1000]) @/job:worker/task:0
    n = Neg(x) @/job:ps/task:0
    a = Square(n) @/job:worker/task:0
    b = Exp(n) @/job:worker/task:1
    y = Add(a, b) @/job:ps/task:0)");
  auto session = *NewRemoteSession(master().target(), "", &graph_);
  RunOptions options;
  options.trace = true;
  options.partition_graphs = true;
  for (int step = 0; step < 3; ++step) {
    RunMetadata got;
    auto result =
        session->Run({{"x:0", Tensor::Vector<float>(std::vector<float>(1000, 1))}}, {"y:0"}, {}, options, &got);
    ASSERT_TRUE(result.ok()) << result.status();
    proto::RunMetadata metadata;
    ASSERT_TRUE(metadata.ParseFromString(got.message));
    EXPECT_EQ(metadata.partition_graphs_size(), 3);
    std::map<std::string, int64_t> error;         // by task
    std::map<std::string, Span> sends, receives;  // by "edge from to"
    int transfers = 0, parts = 0;
    for (const auto& device : metadata.step_stats().dev_stats()) {
      for (const auto& n : device.node_stats()) {
        const std::string& label = n.timeline_label();
        const Span span{n.all_start_nanos(), n.all_start_nanos() + n.all_end_rel_nanos()};
        EXPECT_NEAR(1e-9 * static_cast<double>(span.start), absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()), 60)
            << label;
        if (n.node_name() == "clock") {
          const std::vector<std::string> words = absl::StrSplit(label, ' ');  // offset N ns within M ns
          int64_t bound = 0, offset = 0;
          ASSERT_TRUE(absl::SimpleAtoi(words[1], &offset) && absl::SimpleAtoi(words[4], &bound)) << label;
          error[device.device().substr(0, device.device().find("/rpc"))] = bound;
          EXPECT_LT(bound, 50'000'000);
          const bool own = absl::StartsWith(device.device(), "/job:worker/replica:0/task:0");
          const int ahead = own ? 0 : absl::StartsWith(device.device(), "/job:ps") ? -2 : 5;
          EXPECT_LE(std::abs(offset - ahead * int64_t{3'600'000'000'000}), bound) << label;
        } else if (n.node_name() == "RecvTensor") {
          ++transfers;
          EXPECT_THAT(label, AllOf(HasSubstr("[4000 B over "), HasSubstr(" from /job:"), HasSubstr(" to /job:")));
          EXPECT_EQ(n.output(0).tensor_description().allocation_description().requested_bytes(), 4000);
        } else if (n.node_name() == "RunGraph") {
          ++parts;
        } else if (const size_t at = label.find('@'); at != std::string::npos) {
          const bool send = absl::StrContains(label, " = _Send(");
          const std::string edge = label.substr(label.find('(') + 1, at - label.find('(') - 1);
          const std::string other = label.substr(at + 1, label.size() - at - 2);
          const std::string key = send ? absl::StrCat(edge, device.device(), " > ", other)
                                       : absl::StrCat(edge, other, " > ", device.device());
          (send ? sends : receives)[key] = span;
        }
      }
    }
    EXPECT_EQ(error.size(), 3);
    EXPECT_EQ(parts, 3);
    EXPECT_EQ(transfers, 5);  // x or n, twice; a and b
    ASSERT_EQ(receives.size(), sends.size());
    for (const auto& [key, receive] : receives) {
      ASSERT_EQ(sends.count(key), 1) << key;
      int64_t bound = 0;
      for (const auto& [task, e] : error) bound += absl::StrContains(key, task) ? e : 0;
      EXPECT_GE(receive.end + bound, sends[key].start) << key;
      EXPECT_LE(receive.start, receive.end) << key;
    }
  }
  const proto::WorkerStateResponse state = StateOf(master());
  EXPECT_NE(state.incarnation(), 0);
  int64_t bytes = 0, messages = 0;
  for (const auto& p : state.peer()) {
    bytes += p.received_bytes();
    messages += p.received_tensors();
    EXPECT_GT(p.wait_seconds(), 0);
  }
  EXPECT_EQ(bytes, messages * 4000);
  EXPECT_EQ(messages % 3, 0);
  const proto::MasterView view = ViewOf(master());
  ASSERT_EQ(view.session_size(), 1);
  EXPECT_EQ(view.session(0).steps_done(), 3);
  ASSERT_EQ(view.session(0).task_size(), 3);
  for (const auto& t : view.session(0).task()) {
    EXPECT_GT(t.busy_p50(), 0) << t.name();
    EXPECT_LT(t.heard_seconds(), 60) << t.name();
  }
  EXPECT_EQ(view.straggler_size(), 0);
}

TEST_F(TraceTest, AStepThatStandsStillIsReportedWithWhoWaitsForWhat) {
  Start(1, {});
  Build(R"(
    q = FIFOQueueV2(component_types=[float], shared_name='q') @/job:ps/task:0
    d = QueueDequeueV2(q, component_types=[float]) @/job:ps/task:0
    x = Placeholder(dtype=float, shape=[]) @/job:worker/task:0
    e = QueueEnqueueV2(q, x) @/job:ps/task:0
    y = Neg(d) @/job:worker/task:0)");
  auto session = *NewRemoteSession(master().target(), "", &graph_);
  std::string result;
  std::thread waiting([&] {
    auto got = session->Run({}, {"y:0"}, {});
    result = got.ok() ? (*got)[0].ToString() : got.status().ToString();
  });
  std::string stuck;
  for (int i = 0; i < 600 && stuck.empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(100));
    const proto::MasterView view = ViewOf(master());
    if (view.session_size() > 0) stuck = view.session(0).stuck();
  }
  EXPECT_THAT(stuck, AllOf(HasSubstr("has completed no operation for"),
                           HasSubstr("/job:ps/replica:0/task:0 waits in QueueDequeueV2 'd'"),
                           HasSubstr("/job:worker/replica:0/task:0 waits for "),
                           HasSubstr(" from /job:ps/replica:0/task:0 (to its device:CPU:0)")));
  const proto::WorkerStateResponse state = StateOf(*servers_[0]);
  ASSERT_EQ(state.step_size(), 1);
  EXPECT_THAT(state.step(0).waiting_node(0), HasSubstr("QueueDequeueV2 'd'"));
  auto fed = session->Run({{"x:0", Tensor::Scalar<float>(2)}}, {}, {"e"});
  EXPECT_TRUE(fed.ok()) << fed.status();
  waiting.join();
  EXPECT_EQ(result, "float [] -2");
}

}  // namespace
}  // namespace sluice
