// What the tasks of a cluster say that crossed between them is what the test sent: every tensor once, whatever call and
// whatever way it took, in the tasks' states, in Prometheus' page, and in the trace of a step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "core/proto/config.pb.h"
#include "distributed/stats/wire_stats.h"
#include "distributed/transport/negotiate.h"
#include "tests/distributed/server_fixture.h"

namespace sluice {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

constexpr char kPs[] = "/job:ps/replica:0/task:0";
constexpr char kFirst[] = "/job:worker/replica:0/task:0";  // whose master drives the steps
constexpr char kSecond[] = "/job:worker/replica:0/task:1";

// "ps > worker/0": {tensors, bytes}
struct Load {
  int64_t tensors = 0, bytes = 0;
  bool operator==(const Load& o) const { return tensors == o.tensors && bytes == o.bytes; }
  Load operator-(const Load& o) const { return {tensors - o.tensors, bytes - o.bytes}; }
  Load operator*(int n) const { return {tensors * n, bytes * n}; }
};
std::ostream& operator<<(std::ostream& out, const Load& l) {
  return out << l.tensors << " tensors, " << l.bytes << " bytes";
}
using Pairs = std::map<std::string, Load>;

std::string PairOf(absl::string_view from, absl::string_view to) { return absl::StrCat(from, " > ", to); }

Tensor Floats(int64_t n) { return Tensor::Vector<float>(std::vector<float>(static_cast<size_t>(n), 1)); }

class WireTest : public ServerTest, public ::testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    TransportSetOptions set;
    set.force = GetParam();
    options_.transport = MakeTransportSet(set);
    Cluster(2);
  }
  // The session goes before the servers that it talks to.
  void TearDown() override { session_.reset(); }

  std::vector<const Server*> Servers() const { return {ps_.get(), workers_[0].get(), workers_[1].get()}; }

  // What all tasks have received so far; only by the way of this test, or by `way`.
  Pairs Received(std::string way = GetParam()) {
    Pairs all;
    for (const Server* server : Servers()) {
      std::map<std::string, Load> page = FromPage(*server);
      const proto::WorkerStateResponse state = StateOf(*server);
      for (const auto& p : state.peer()) {
        const Load load = {p.received_tensors(), p.received_bytes()};
        EXPECT_EQ(page[absl::StrCat(PairOf(p.task(), server->task()), " over ", p.transport())], load) << p.task();
        page.erase(absl::StrCat(PairOf(p.task(), server->task()), " over ", p.transport()));
        if (p.transport() == way) {
          EXPECT_TRUE(all.emplace(PairOf(p.task(), server->task()), load).second) << "twice";
        } else {
          others_.insert(p.transport());
        }
      }
      EXPECT_TRUE(page.empty()) << page.begin()->first;
    }
    return all;
  }

  // The same as Prometheus reads it.
  static Pairs FromPage(const Server& server) {
    Pairs all;
    for (absl::string_view line : absl::StrSplit(server.MetricsText(), '\n')) {
      const bool tensors = absl::StartsWith(line, "sluice_received_tensors_total{");
      if (!tensors && !absl::StartsWith(line, "sluice_received_tensor_bytes_total{")) continue;
      const std::vector<std::string> parts = absl::StrSplit(line, '"');  // {from="A",to="B",transport="C"} N
      int64_t n = 0;
      EXPECT_TRUE(parts.size() == 7 && absl::SimpleAtoi(absl::string_view(parts[6]).substr(2), &n)) << line;
      Load& load = all[absl::StrCat(PairOf(parts[1], parts[3]), " over ", parts[5])];
      (tensors ? load.tensors : load.bytes) = n;
    }
    return all;
  }

  // The transfers in the trace of a step.
  static Pairs Traced(const RunMetadata& got) {
    proto::RunMetadata metadata;
    EXPECT_TRUE(metadata.ParseFromString(got.message));
    Pairs all;
    for (const auto& device : metadata.step_stats().dev_stats()) {
      for (const auto& n : device.node_stats()) {
        if (n.node_name() != "RecvTensor" && n.node_name() != "Feeds" && n.node_name() != "Fetches") continue;
        // [4000 B over tcp] feeds from /job:worker/replica:0/task:0 to /job:ps/replica:0/task:0/device:CPU:0
        const std::vector<std::string> words = absl::StrSplit(n.timeline_label(), ' ');
        int64_t bytes = 0;
        EXPECT_TRUE(words.size() == 9 && absl::SimpleAtoi(words[0].substr(1), &bytes)) << n.timeline_label();
        EXPECT_EQ(words[3], absl::StrCat(GetParam(), "]")) << n.timeline_label();
        EXPECT_EQ(n.output(0).tensor_description().allocation_description().requested_bytes(), bytes);
        const auto task = [](const std::string& name) { return name.substr(0, name.find("/device:")); };
        Load& load = all[PairOf(task(words[6]), task(words[8]))];
        load.tensors += 1;
        load.bytes += bytes;
      }
    }
    return all;
  }

  std::unique_ptr<SessionBase> session_;
  std::set<std::string> others_;  // ways other than the test's that carried something
};

TEST_P(WireTest, StepsAreCountedOnce) {
  Build(R"(
    x = Placeholder(dtype=float, shape=[?]) @/job:ps/task:0
    z = Placeholder(dtype=float, shape=[10]) @/job:worker/task:1
    w = Placeholder(dtype=float, shape=[7]) @/job:worker/task:0
    t = Placeholder(dtype=string, shape=[2]) @/job:ps/task:0
    n = Neg(x) @/job:ps/task:0
    a = Exp(n) @/job:worker/task:1
    c = Neg(z) @/job:worker/task:1
    e = Exp(c) @/job:ps/task:0
    d = Sqrt(n) @/job:worker/task:0
    v = Neg(w) @/job:worker/task:0
    u = Identity(t) @/job:ps/task:0)");
  session_ = Session(*workers_[0]);
  const CallableSpec spec = {{"x:0", "z:0", "w:0", "t:0"}, {"a:0", "e:0", "d:0", "v:0", "u:0"}, {}};
  auto callable = session_->MakeCallable(spec);
  ASSERT_TRUE(callable.ok()) << callable.status();
  const int64_t kLong = 100'003;  // beyond what any way copies on the side
  const Tensor text = Tensor::Vector<std::string>({"seven..", "eleven ...."});
  const std::vector<Tensor> feeds = {Floats(kLong), Floats(10), Floats(7), text};
  const auto run = [&](const RunOptions& options, RunMetadata* metadata) {
    std::vector<Tensor> fetches;
    absl::Status s = session_->RunCallable(**callable, feeds, &fetches, options, metadata);
    ASSERT_TRUE(s.ok()) << s;
    EXPECT_EQ(fetches[0].num_elements(), kLong);
  };
  // What the client and the master's own task exchange is no transfer between tasks.
  const Pairs step = {
      {PairOf(kFirst, kPs), {2, 4 * kLong + 18}},           // feeds: x, t
      {PairOf(kSecond, kPs), {1, 4 * 10}},                  // c
      {PairOf(kPs, kFirst), {3, 4 * kLong + 4 * 10 + 18}},  // n; fetches: e, u
      {PairOf(kSecond, kFirst), {1, 4 * kLong}},            // fetch: a
      {PairOf(kFirst, kSecond), {1, 4 * 10}},               // feed: z
      {PairOf(kPs, kSecond), {1, 4 * kLong}},               // n
  };
  constexpr int kSteps = 5;
  for (int i = 0; i < kSteps; ++i) run({}, nullptr);
  Pairs wanted;
  for (const auto& [pair, load] : step) wanted[pair] = load * kSteps;
  EXPECT_EQ(Received(), wanted);
  RunOptions options;
  options.trace = true;
  RunMetadata metadata;
  run(options, &metadata);
  for (auto& [pair, load] : wanted) load = step.at(pair) * (kSteps + 1);
  EXPECT_EQ(Received(), wanted);
  Pairs traced = Traced(metadata);
  EXPECT_EQ(traced.size(), step.size());
  for (const auto& [pair, load] : step) EXPECT_EQ(traced[pair].bytes, load.bytes) << pair;
  EXPECT_TRUE(others_.empty()) << *others_.begin();
}

TEST_P(WireTest, PartsOfAStepAreCountedOnce) {
  Build(R"(
    a = Placeholder(dtype=float, shape=[100]) @/job:ps/task:0
    b = Placeholder(dtype=float, shape=[100]) @/job:worker/task:0
    c = Placeholder(dtype=float, shape=[100]) @/job:worker/task:0
    r1 = Add(a, b) @/job:ps/task:0
    r2 = Mul(r1, c) @/job:worker/task:0)");
  session_ = Session(*workers_[0]);
  constexpr int kRuns = 4;
  for (int i = 0; i < kRuns; ++i) {
    auto handle = session_->SetUpPartialRun({{"a:0", "b:0", "c:0"}, {"r1:0", "r2:0"}, {}});
    ASSERT_TRUE(handle.ok()) << handle.status();
    std::vector<Tensor> results;
    const auto part = [&](std::vector<std::pair<std::string, Tensor>> feeds, std::vector<std::string> fetches) {
      absl::Status s = session_->PartialRun(*handle, feeds, fetches, &results);
      ASSERT_TRUE(s.ok()) << s;
    };
    part({{"a:0", Floats(100)}, {"b:0", Floats(100)}}, {"r1:0"});
    part({{"c:0", Floats(100)}}, {"r2:0"});
  }
  // The feed a in SendTensors, b from the worker; r1 as a fetch and for r2.
  EXPECT_THAT(Received(), ElementsAre(Pair(PairOf(kPs, kFirst), Load{2, 800} * kRuns),
                                      Pair(PairOf(kFirst, kPs), Load{2, 800} * kRuns)));
  EXPECT_TRUE(others_.empty()) << *others_.begin();
}

TEST_P(WireTest, AFailedStepCountsWhatCame) {
  Build(R"(
    x = Placeholder(dtype=float, shape=[50]) @/job:ps/task:0
    y = CheckNumerics(x, message='bad') @/job:ps/task:0)");
  session_ = Session(*workers_[0]);
  const Tensor bad = Tensor::Vector<float>(std::vector<float>(50, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_FALSE(session_->Run({{"x:0", bad}}, {"y:0"}, {}).ok());
  EXPECT_THAT(Received(), ElementsAre(Pair(PairOf(kFirst, kPs), Load{1, 200})));
}

INSTANTIATE_TEST_SUITE_P(Ways, WireTest, ::testing::Values("inproc", "shm", "unix", "tcp", "grpc"),
                         [](const auto& info) { return std::string(info.param); });

// Collectives: in shared memory by what each member reads of the other, by messages by what comes.
class CollectiveWireTest : public WireTest {
 protected:
  void SetUp() override {
    setenv("SLUICE_TRANSPORT", GetParam(), 1);  // "shm": members share memory
    WireTest::SetUp();
  }
  void TearDown() override {
    WireTest::TearDown();
    unsetenv("SLUICE_TRANSPORT");
  }
};

TEST_P(CollectiveWireTest, WhatMembersGetOfEachOtherIsCounted) {
  std::string graph;
  for (int w = 0; w < 2; ++w) {
    absl::StrAppend(&graph, "x", w, " = Placeholder(dtype=float, shape=[?]) @/job:worker/task:", w, "\n");
    absl::StrAppend(&graph, "s", w, " = CollectiveReduce(x", w,
                    ", group_size=2, group_key=1, instance_key=1, merge_op='Add', final_op='Id', subdiv_offsets=[0]) "
                    "@/job:worker/task:",
                    w, "\n");
  }
  Build(graph);
  session_ = Session(*workers_[0]);
  const int64_t kFloats = 300'000;
  const auto run = [&] {
    auto got = session_->Run({{"x0:0", Floats(kFloats)}, {"x1:0", Floats(kFloats)}}, {"s0:0"}, {"s1"});
    ASSERT_TRUE(got.ok()) << got.status();
  };
  run();  // the members find each other, and say whether they can share memory
  Pairs before = Received();
  run();
  run();
  Pairs after = Received();
  const Load to_first = after[PairOf(kSecond, kFirst)] - before[PairOf(kSecond, kFirst)];
  const Load to_second = after[PairOf(kFirst, kSecond)] - before[PairOf(kFirst, kSecond)];
  const Load feeds = {2, 2 * 4 * kFloats};  // of the second worker
  if (GetParam() == absl::string_view("shm")) {
    EXPECT_EQ(to_first, (Load{2, 2 * 4 * kFloats}));
    EXPECT_EQ(to_second - feeds, (Load{2, 2 * 4 * kFloats}));
    return;
  }
  for (const Load& load :
       {to_first, to_second - feeds}) {  // a ring of two: the whole in halves, there and back, with heads
    EXPECT_GE(load.bytes, 2 * 4 * kFloats);
    EXPECT_LE(load.bytes, 2 * 4 * kFloats + 512 * load.tensors);
    EXPECT_LE(load.tensors, 2 * 16);
  }
}

INSTANTIATE_TEST_SUITE_P(Ways, CollectiveWireTest, ::testing::Values("shm", "tcp", "grpc"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace sluice
