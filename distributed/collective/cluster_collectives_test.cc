// The same collectives over every way between tasks: each member has an object, a listener and a channel of its own.
#include "distributed/collective/cluster_collectives.h"

#include <unistd.h>

#include <atomic>
#include <cstring>
#include <numeric>

#include "absl/strings/strip.h"
#include "absl/synchronization/blocking_counter.h"
#include "core/types/numeric_types.h"
#include "distributed/cluster/cluster.h"
#include "distributed/transport/inproc_transport.h"
#include "distributed/transport/socket_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/collective/merge.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kPrefix[] = "/sluice.proto.WorkerService/";
constexpr absl::Duration kDeadline = absl::Seconds(60);

class PoolExecutor final : public Executor {
 public:
  explicit PoolExecutor(ThreadPool* pool) : pool_(pool) {}
  void Schedule(std::function<void()> work) override { pool_->ScheduleBlocking(std::move(work)); }

 private:
  ThreadPool* const pool_;
};

std::string Task(int i) { return TaskName("worker", i); }
std::string Device(int i) { return Task(i) + "/device:CPU:0"; }

// A task: its collectives behind a listener.
struct Node {
  RefPtr<ClusterCollectives> collectives;
  std::unique_ptr<Listener> listener;
  absl::Mutex mu;
  std::map<std::string, std::shared_ptr<Channel>> channels;
  std::atomic<int64_t> received{0};  // bytes of tensors
};

struct Group {
  Group(const std::string& way, int n, absl::Duration timeout = kDeadline) {
    static std::atomic<int> count{0};
    transport = way == "inproc" ? MakeInprocTransport() : MakeSocketTransport(SocketOptions());
    std::vector<std::string> tasks;
    for (int i = 0; i < n; ++i) tasks.push_back(Task(i));
    for (int i = 0; i < n; ++i) nodes.push_back(std::make_shared<Node>());
    for (int i = 0; i < n; ++i) {
      std::shared_ptr<Node> node = nodes[i];  // late replies come after the test
      ClusterCollectivesOptions o;
      o.task = Task(i);
      o.leader = Task(0);
      o.tasks = tasks;
      if (way == "memory") o.host = "here";
      if (way == "hosts") o.host = absl::StrCat("host ", i / 2);  // two tasks on each
      o.timeout = timeout;
      o.clock = SystemClock();
      o.executor = &executor;
      o.pool = &pool;
      o.call = [this, weak = std::weak_ptr<Node>(node)](const std::string& task, const std::string& method,
                                                        Message request, absl::Duration limit, Reply done) {
        std::shared_ptr<Node> node = weak.lock();
        Connect(*node, task)
            ->Call(kPrefix + method, std::move(request), limit, [node, done](absl::StatusOr<Message> reply) {
              if (reply.ok() && !reply->tensors.empty()) {
                node->received += reply->tensors[0].num_bytes();
              }
              done(std::move(reply));
            });
      };
      node->collectives = MakeRef<ClusterCollectives>(std::move(o));
      const std::string unique = absl::StrCat("sluice_collectives_", getpid(), "_", count++);
      const std::string address = way == "memory" || way == "hosts" ? "unix:@" + unique
                                  : way == "inproc"                 ? "inproc:" + unique
                                  : way == "tcp"                    ? "tcp:localhost:0"
                                                                    : absl::StrCat(way, ":@", unique);
      auto listener =
          transport->Listen(address, [node = node.get()](const IncomingCall& call, Message request, Reply reply) {
            absl::string_view method = call.method;
            absl::ConsumePrefix(&method, kPrefix);
            node->collectives->Handle(method, request, std::move(reply));
          });
      EXPECT_TRUE(listener.ok()) << listener.status();
      node->listener = *std::move(listener);
    }
  }
  ~Group() {
    for (auto& node : nodes) node->collectives->Shutdown(absl::UnavailableError("the test is over"));
    for (auto& node : nodes) node->channels.clear();
    for (auto& node : nodes) node->listener.reset();
  }
  std::shared_ptr<Channel> Connect(Node& from, const std::string& task) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (Task(i) != task) continue;
      absl::MutexLock lock(&from.mu);
      std::shared_ptr<Channel>& channel = from.channels[task];
      if (!channel) channel = *transport->Connect(nodes[i]->listener->address());
      return channel;
    }
    return nullptr;
  }
  // Ends the listener of a task, as its death would.
  void Kill(int i) {
    nodes[i]->collectives->Shutdown(absl::UnavailableError("killed"));
    nodes[i]->listener.reset();
  }

  ThreadPool pool{2};
  PoolExecutor executor{&pool};
  std::unique_ptr<Transport> transport;
  std::vector<std::shared_ptr<Node>> nodes;
};

template <typename T>
CollectiveRequest Ask(int member, int members, const std::vector<T>& in, std::vector<T>* out) {
  CollectiveRequest r;
  r.group_size = members;
  r.group_key = 3;
  r.instance_key = 1;
  r.device = Device(member);
  r.node = "CollectiveReduce 'x'";
  r.dtype = kDTypeOf<T>;
  r.shape = Shape({static_cast<int64_t>(in.size())});
  r.input = in.empty() ? nullptr : in.data();
  r.output = out->data();
  return r;
}

// `meanwhile` runs when all have begun.
std::vector<absl::Status> RunAll(
    Group& group, const std::vector<std::pair<int, CollectiveRequest>>& requests,
    const std::function<void()>& meanwhile = [] {}) {
  std::vector<absl::Status> ended(requests.size());
  absl::BlockingCounter left(static_cast<int>(requests.size()));
  for (size_t i = 0; i < requests.size(); ++i) {
    group.nodes[requests[i].first]->collectives->Start(requests[i].second, [&ended, &left, i](absl::Status s) {
      ended[i] = std::move(s);
      left.DecrementCount();
    });
  }
  meanwhile();
  left.Wait();
  return ended;
}

std::vector<float> Numbers(int member, int64_t count, int run = 0) {
  std::vector<float> v(count);
  uint32_t x = 12345u + 977u * member + 31u * run;
  for (float& f : v) {
    x = x * 1664525u + 1013904223u;
    f = static_cast<float>(static_cast<int32_t>(x)) * (member % 2 ? 1e-6f : 1e-3f);
  }
  return v;
}

class CollectivesTest : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Ways, CollectivesTest, testing::Values("inproc", "unix", "shm", "tcp", "memory", "hosts"),
                         [](const auto& info) { return info.param; });

TEST_P(CollectivesTest, ReduceGivesEveryMemberTheSameBitsInEveryRun) {
  for (int n : {2, 3, 4}) {
    Group group(GetParam(), n);
    for (int64_t count : {0, 1, 5, 1000, 4097, 300'001}) {
      std::vector<std::vector<float>> first;
      for (int run = 0; run < 2; ++run) {
        std::vector<std::vector<float>> in, out(n, std::vector<float>(count));
        std::vector<std::pair<int, CollectiveRequest>> requests;
        for (int i = 0; i < n; ++i) in.push_back(Numbers(i, count));
        // The last member reduces in place.
        for (int i = 0; i < n; ++i) requests.emplace_back(i, Ask(i, n, in[i], i == n - 1 ? &in[i] : &out[i]));
        std::vector<double> wanted(count);
        for (const auto& v : in) {
          for (int64_t k = 0; k < count; ++k) wanted[k] += v[k];
        }
        for (const absl::Status& s : RunAll(group, requests)) ASSERT_TRUE(s.ok()) << s;
        out[n - 1] = in[n - 1];
        for (int64_t k = 0; k < count; ++k) ASSERT_NEAR(out[0][k], wanted[k], 1e-6 * 3e6) << k;
        for (int i = 1; i < n; ++i) ASSERT_EQ(out[i], out[0]) << i << " of " << n << ", " << count;
        if (run == 0) first = out;
        ASSERT_EQ(out, first);
      }
    }
  }
}

TEST_P(CollectivesTest, RingMovesTwiceTheTensorLessAPart) {
  if (GetParam() == "memory" || GetParam() == "hosts") GTEST_SKIP() << "members of a host send nothing";
  const int n = 4;
  const int64_t count = 1 << 20;
  Group group(GetParam(), n);
  std::vector<std::vector<float>> in, out(n, std::vector<float>(count));
  std::vector<std::pair<int, CollectiveRequest>> requests;
  for (int i = 0; i < n; ++i) in.push_back(Numbers(i, count));
  for (int i = 0; i < n; ++i) requests.emplace_back(i, Ask(i, n, in[i], &out[i]));
  for (const absl::Status& s : RunAll(group, requests)) ASSERT_TRUE(s.ok()) << s;
  const double wanted = 2.0 * (n - 1) / n * static_cast<double>(count * sizeof(float));
  for (const auto& node : group.nodes) EXPECT_NEAR(static_cast<double>(node->received), wanted, 0.001 * wanted);
}

TEST_P(CollectivesTest, MeanMaxAndIntegers) {
  Group group(GetParam(), 3);
  for (int64_t count : {3, 50'000}) {
    std::vector<std::vector<int64_t>> in, out(3, std::vector<int64_t>(count));
    for (int i = 0; i < 3; ++i) {
      in.emplace_back(count);
      std::iota(in[i].begin(), in[i].end(), int64_t{1} << (40 + i));
    }
    for (bool max : {true, false}) {
      std::vector<std::pair<int, CollectiveRequest>> requests;
      for (int i = 0; i < 3; ++i) {
        CollectiveRequest r = Ask(i, 3, in[i], &out[i]);
        r.instance_key = max ? 5 : 6;
        r.merge = max ? MergeOp::kMax : MergeOp::kAdd;
        r.divide = !max;
        requests.emplace_back(i, r);
      }
      for (const absl::Status& s : RunAll(group, requests)) ASSERT_TRUE(s.ok()) << s;
      for (int64_t k = 0; k < count; ++k) {
        const int64_t wanted = max ? in[2][k] : (in[0][k] + in[1][k] + in[2][k]) / 3;
        for (int i = 0; i < 3; ++i) ASSERT_EQ(out[i][k], wanted) << i << " " << k;
      }
    }
  }
}

TEST_P(CollectivesTest, GatherAndBroadcast) {
  for (int n : {2, 4}) {
    Group group(GetParam(), n);
    for (int64_t count : {0, 7, 300'001}) {
      std::vector<std::vector<float>> in, all(n, std::vector<float>(count * n)), got(n, std::vector<float>(count));
      std::vector<float> joined;
      std::vector<std::pair<int, CollectiveRequest>> gather, broadcast;
      for (int i = 0; i < n; ++i) in.push_back(Numbers(i, count));
      for (int i = 0; i < n; ++i) {
        joined.insert(joined.end(), in[i].begin(), in[i].end());
        gather.emplace_back(i, Ask(i, n, in[i], &all[i]));
        gather[i].second.kind = CollectiveKind::kGather;
        broadcast.emplace_back(i, Ask(i, n, in[i], &got[i]));
        broadcast[i].second.kind = CollectiveKind::kBroadcast;
        broadcast[i].second.instance_key = 2;
        broadcast[i].second.is_source = i == 1;
        if (i != 1) broadcast[i].second.input = nullptr;
      }
      for (const absl::Status& s : RunAll(group, gather)) ASSERT_TRUE(s.ok()) << s;
      for (const absl::Status& s : RunAll(group, broadcast)) ASSERT_TRUE(s.ok()) << s;
      for (int i = 0; i < n; ++i) {
        ASSERT_EQ(all[i], joined);
        ASSERT_EQ(got[i], in[1]);
      }
    }
  }
}

TEST_P(CollectivesTest, ManyInstancesAtOnceInAnyOrder) {
  const int n = 2, many = 12;
  Group group(GetParam(), n);
  std::vector<std::vector<float>> in, out;
  std::vector<std::pair<int, CollectiveRequest>> requests;
  for (int k = 0; k < many * n; ++k) {
    in.push_back(Numbers(k % n, 1000 * (1 + k / n)));
    out.emplace_back(in[k].size());
  }
  for (int k = 0; k < many; ++k) {
    for (int i = 0; i < n; ++i) {
      const int at = (i == 0 ? k : many - 1 - k) * n + i;  // member 1 begins with the last
      requests.emplace_back(i, Ask(i, n, in[at], &out[at]));
      requests.back().second.instance_key = at / n;
    }
  }
  for (const absl::Status& s : RunAll(group, requests)) ASSERT_TRUE(s.ok()) << s;
  for (int k = 0; k < many; ++k) {
    ASSERT_EQ(out[k * n], out[k * n + 1]);
    ASSERT_EQ(out[k * n][7], in[k * n][7] + in[k * n + 1][7]);
  }
}

TEST_P(CollectivesTest, DisagreementEndsAllAndNamesBothSidesAndTheGroupFormsAgain) {
  Group group(GetParam(), 3);
  std::vector<std::vector<float>> in(3, std::vector<float>(70'000, 1)), out = in;
  for (const auto& [shape, message] : std::vector<std::pair<Shape, std::string>>{
           {Shape({69'999}), "float [69999]"}, {Shape({7, 10'000}), "float [7,10000]"}, {Shape({10}), "float [10]"}}) {
    std::vector<std::pair<int, CollectiveRequest>> requests;
    for (int i = 0; i < 3; ++i) requests.emplace_back(i, Ask(i, 3, in[i], &out[i]));
    requests[1].second.shape = shape;
    for (auto& r : requests) r.second.step_id = shape.num_elements();
    for (const absl::Status& s : RunAll(group, requests)) {
      EXPECT_EQ(s.code(), absl::StatusCode::kInvalidArgument) << s;
      EXPECT_THAT(s.ToString(), AllOf(HasSubstr("float [70000]"), HasSubstr(message), HasSubstr("rank 1"),
                                      HasSubstr("CollectiveReduce 'x'"), HasSubstr("group 3 of 3, instance 1")));
    }
  }
  std::vector<std::pair<int, CollectiveRequest>> requests;
  for (int i = 0; i < 3; ++i) requests.emplace_back(i, Ask(i, 3, in[i], &out[i]));
  for (const absl::Status& s : RunAll(group, requests)) EXPECT_TRUE(s.ok()) << s;
}

TEST_P(CollectivesTest, MissingMemberIsNamedWhenTheTimeIsOver) {
  Group group(GetParam(), 3, absl::Milliseconds(300));
  std::vector<std::vector<float>> in(3, std::vector<float>(10, 1)), out = in;
  std::vector<std::pair<int, CollectiveRequest>> two{{0, Ask(0, 3, in[0], &out[0])}, {1, Ask(1, 3, in[1], &out[1])}};
  for (const absl::Status& s : RunAll(group, two)) {
    EXPECT_EQ(s.code(), absl::StatusCode::kDeadlineExceeded) << s;
    EXPECT_THAT(s.ToString(), AllOf(HasSubstr("nothing from"), HasSubstr("/job:worker/replica:0/task:2")));
  }
  // The group forms; then a member does not come to one run.
  auto three = two;
  three.emplace_back(2, Ask(2, 3, in[2], &out[2]));
  for (auto& r : three) r.second.step_id = 1;
  for (const absl::Status& s : RunAll(group, three)) ASSERT_TRUE(s.ok()) << s;
  for (auto& r : two) r.second.step_id = 2;
  bool named = false;
  for (const absl::Status& s : RunAll(group, two)) {
    EXPECT_FALSE(s.ok());
    named |= s.code() == absl::StatusCode::kDeadlineExceeded;
    EXPECT_THAT(s.ToString(), HasSubstr(" (/job:worker/replica:0/task:2/device:CPU:0)"));
  }
  EXPECT_TRUE(named);
}

TEST_P(CollectivesTest, CancelledStepEndsTheOthersWithItsReason) {
  Group group(GetParam(), 3);
  CancellationToken token;
  std::vector<std::vector<float>> in(3, std::vector<float>(200'000, 1)), out = in;
  std::vector<std::pair<int, CollectiveRequest>> all;
  for (int i = 0; i < 3; ++i) all.emplace_back(i, Ask(i, 3, in[i], &out[i]));
  for (const absl::Status& s : RunAll(group, all)) ASSERT_TRUE(s.ok()) << s;
  all.pop_back();  // the third does not come
  all[0].second.cancellation = &token;
  for (auto& r : all) r.second.step_id = 1;
  std::vector<absl::Status> ended = RunAll(group, all, [&] { token.Cancel(absl::CancelledError("lost patience")); });
  EXPECT_EQ(ended[0].code(), absl::StatusCode::kCancelled) << ended[0];
  EXPECT_EQ(ended[1].code(), absl::StatusCode::kAborted) << ended[1];
  EXPECT_THAT(ended[1].ToString(), AllOf(HasSubstr("task:0"), HasSubstr("lost patience")));
  // What else that step asks for ends with the same error; the next step of all three works.
  EXPECT_THAT(RunAll(group, {{1, all[1].second}})[0].ToString(), HasSubstr("lost patience"));
  std::vector<std::pair<int, CollectiveRequest>> next;
  for (int i = 0; i < 3; ++i) next.emplace_back(i, Ask(i, 3, in[i], &out[i]));
  for (auto& r : next) r.second.step_id = 2;
  // The third may not have heard that its group is over: then its step fails too, and the one after it works.
  absl::BlockingCounter left(3);
  std::function<void(int)> start = [&](int i) {
    group.nodes[i]->collectives->Start(next[i].second, [&, i](absl::Status s) {
      EXPECT_TRUE(s.ok() || s.code() == absl::StatusCode::kAborted) << s;
      ++next[i].second.step_id;
      if (s.ok()) {
        left.DecrementCount();
      } else {
        start(i);
      }
    });
  };
  for (int i = 0; i < 3; ++i) start(i);
  left.Wait();
}

TEST_P(CollectivesTest, MemberBetweenTwoStepsFailsTheNextAndThenTheGroupFormsAgain) {
  Group group(GetParam(), 2);
  CancellationToken token;
  std::vector<std::vector<float>> in(2, std::vector<float>(10, 1)), out = in;
  std::vector<std::pair<int, CollectiveRequest>> all;
  for (int i = 0; i < 2; ++i) all.emplace_back(i, Ask(i, 2, in[i], &out[i]));
  for (const absl::Status& s : RunAll(group, all)) ASSERT_TRUE(s.ok()) << s;
  for (auto& r : all) r.second.step_id = 1;
  CollectiveRequest cancelled = all[1].second;
  cancelled.cancellation = &token;
  EXPECT_EQ(RunAll(group, {{1, cancelled}}, [&] { token.Cancel(absl::CancelledError("lost patience")); })[0].code(),
            absl::StatusCode::kCancelled);
  const absl::Status missed = RunAll(group, {all[0]})[0];
  EXPECT_EQ(missed.code(), absl::StatusCode::kAborted) << missed;
  EXPECT_THAT(missed.ToString(), AllOf(HasSubstr("task:1"), HasSubstr("lost patience")));
  for (auto& r : all) r.second.step_id = 2;
  for (const absl::Status& s : RunAll(group, all)) EXPECT_TRUE(s.ok()) << s;
}

TEST_P(CollectivesTest, LostMemberEndsTheOthersAndIsNamed) {
  for (int64_t count : {10, 400'000}) {
    Group group(GetParam(), 3);
    std::vector<std::vector<float>> in(3, std::vector<float>(count, 1)), out = in;
    std::vector<std::pair<int, CollectiveRequest>> all;
    for (int i = 0; i < 3; ++i) all.emplace_back(i, Ask(i, 3, in[i], &out[i]));
    for (const absl::Status& s : RunAll(group, all)) ASSERT_TRUE(s.ok()) << s;
    all.pop_back();
    for (auto& r : all) r.second.step_id = 1;
    for (const absl::Status& s : RunAll(group, all, [&] { group.Kill(2); })) {
      EXPECT_FALSE(s.ok());
      EXPECT_THAT(s.ToString(), HasSubstr(" (/job:worker/replica:0/task:2/device:CPU:0)"));
    }
  }
}

TEST_P(CollectivesTest, MemberThatJoinsAnewEndsTheOldGroup) {
  Group group(GetParam(), 2);
  std::vector<std::vector<float>> in(2, std::vector<float>(50'000, 1)), out = in;
  std::vector<std::pair<int, CollectiveRequest>> all;
  for (int i = 0; i < 2; ++i) all.emplace_back(i, Ask(i, 2, in[i], &out[i]));
  for (const absl::Status& s : RunAll(group, all)) ASSERT_TRUE(s.ok()) << s;
  proto::JoinGroupRequest anew;
  anew.set_group_key(3);
  anew.set_group_size(2);
  anew.set_timeout_ms(60'000);
  anew.mutable_member()->set_device(Device(1));
  anew.mutable_member()->set_id(99);
  all.pop_back();
  all[0].second.step_id = 1;
  const absl::Status ended = RunAll(group, all, [&] {
    group.nodes[0]->collectives->Handle("JoinGroup", Message(anew.SerializeAsString()), [](absl::StatusOr<Message>) {});
  })[0];
  EXPECT_EQ(ended.code(), absl::StatusCode::kAborted) << ended;
  EXPECT_THAT(ended.ToString(), HasSubstr("task:1/device:CPU:0 has joined group 3 anew"));
}

TEST_P(CollectivesTest, OneTooManyAndAnotherSizeAreRefused) {
  Group group(GetParam(), 3);
  std::vector<std::vector<float>> in(3, std::vector<float>(10, 1)), out = in;
  std::vector<std::pair<int, CollectiveRequest>> two{{0, Ask(0, 2, in[0], &out[0])}, {1, Ask(1, 2, in[1], &out[1])}};
  for (const absl::Status& s : RunAll(group, two)) ASSERT_TRUE(s.ok()) << s;
  EXPECT_THAT(RunAll(group, {{2, Ask(2, 2, in[2], &out[2])}})[0].ToString(),
              HasSubstr("task:2/device:CPU:0 is one too many"));
  std::vector<std::pair<int, CollectiveRequest>> differ{{0, Ask(0, 2, in[0], &out[0])}, {1, Ask(1, 3, in[1], &out[1])}};
  for (auto& r : differ) r.second.group_key = 4;
  for (const absl::Status& s : RunAll(group, differ)) {
    EXPECT_THAT(s.ToString(), AllOf(HasSubstr(" members for /job:worker"), HasSubstr("group 4")));
  }
}

}  // namespace
}  // namespace sluice
