// A warm step of a cluster takes nothing from the heap: not the client, not the master, not a worker, on no thread,
// whatever way the calls take. Client, master and workers are in one process, so every allocation of it is seen.
//
// gRPC allocates within its library, which is counted and printed, and held below a bound.
#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/graph/text.h"
#include "distributed/client/remote_session.h"
#include "distributed/server/server.h"
#include "distributed/transport/negotiate.h"
#include "runtime/c_api/environment.h"
#include "runtime/session/call_counter.h"
#include "tests/distributed/free_port.h"

namespace sluice {
namespace {

constexpr int kMostRecords = 20000;
constexpr int kDepth = 32;
constexpr int kOwnFrames = 3;  // Watch, the counter, malloc
constexpr int kWindows = 15;
constexpr int kSteps = 20;  // of a window

// Where each allocation of a window came from.
struct Record {
  int depth = 0;
  void* frames[kDepth];
};
Record records[kMostRecords];
std::atomic<int> next_record{0};

void Watch(size_t) {
  const int k = next_record.fetch_add(1);
  if (k < kMostRecords) records[k].depth = backtrace(records[k].frames, kDepth);
}

struct Place {
  std::string module, function;
};

const Place& PlaceOf(void* address) {
  static auto* known = new std::map<void*, Place>;
  auto [it, fresh] = known->emplace(address, Place{"?", "?"});
  Place& place = it->second;
  if (!fresh) return place;
  Dl_info info = {};
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return place;
  place.function = info.dli_sname == nullptr ? "?" : info.dli_sname;
  int status = 0;
  if (char* plain = abi::__cxa_demangle(place.function.c_str(), nullptr, nullptr, &status)) {
    place.function = plain;
    free(plain);
  }
  if (place.function.size() > 150) place.function.resize(150);
  const std::string path = info.dli_fname;
  place.module = path.substr(path.rfind('/') + 1);
  return place;
}

// Whose the allocation is: the first of gRPC's frames and ours, from the inside, tells.
bool IsOfGrpc(const Record& record, std::string* trace) {
  int verdict = -1;
  for (int i = kOwnFrames; i < record.depth; ++i) {
    const auto& [module, function] = PlaceOf(record.frames[i]);
    const bool grpc = absl::StartsWith(module, "libgrpc") || absl::StartsWith(module, "libgpr") ||
                      absl::StartsWith(module, "libaddress_sorting");
    const bool neutral = absl::StartsWith(module, "libc.") || absl::StartsWith(module, "libstdc++") ||
                         absl::StartsWith(module, "libabsl") || absl::StartsWith(module, "libprotobuf");
    if (verdict < 0 && grpc) verdict = 1;
    if (verdict < 0 && !neutral) verdict = 0;
    if (i < 18) absl::StrAppend(trace, "      ", function, " (", module, ")\n");
  }
  return verdict == 1;
}

struct Count {
  int ours = 0;
  int grpc = 0;
};

class WarmClusterTest : public ::testing::TestWithParam<const char*> {
 protected:
  WarmClusterTest() : graph_(&GetProcessEnvironment().ops) {
    void* frames[1];
    backtrace(frames, 1);  // loads what it needs
    TransportSetOptions set;
    set.force = Way() == "function call" ? "inproc" : Way();
    transport_ = MakeTransportSet(set);
    for (int attempt = 0; attempt < 10 && servers_.size() < 2; ++attempt) StartServers();
    EXPECT_EQ(servers_.size(), 2u);
    for (auto& server : servers_) server->Start();
  }
  ~WarmClusterTest() override { session_.reset(); }

  // Fewer than two when somebody was quicker to take a port that was free.
  void StartServers() {
    servers_.clear();
    proto::ClusterDef cluster;
    for (const char* job : {"ps", "worker"}) {
      auto* j = cluster.add_job();
      j->set_name(job);
      (*j->mutable_tasks())[0] = absl::StrCat("localhost:", FreePort());
    }
    for (const char* job : {"ps", "worker"}) {
      proto::ServerDef def;
      *def.mutable_cluster() = cluster;
      def.set_job_name(job);
      ServerOptions options;
      options.environment = GetProcessEnvironment().view();
      options.transport = transport_;
      auto server = Server::Make(def, options);
      if (!server.ok()) return;
      servers_.push_back(*std::move(server));
    }
  }

  std::string Way() const { return GetParam(); }

  void Build(absl::string_view text) {
    absl::Status s = ParseGraphText(text, &graph_);
    ASSERT_TRUE(s.ok()) << s;
    Server& master = *servers_[1];
    if (Way() == "function call") {
      session_ = *NewRemoteSession(master.target(), "", &graph_);
    } else {
      session_ = MakeRemoteSession(*transport_->Connect(master.address()), "", &graph_);
    }
  }

  // Of a step: the middle of many windows, since heartbeats of a second's period fall into some.
  Count Allocations(const CallableSpec& spec, const Tensor& feed) {
    auto callable = session_->MakeCallable(spec);
    EXPECT_TRUE(callable.ok()) << callable.status();
    std::vector<Tensor> feeds(spec.feeds.size(), feed), fetches;
    auto run = [&](int steps) {
      for (int i = 0; i < steps; ++i) {
        absl::Status s = session_->RunCallable(**callable, feeds, &fetches, RunOptions(), nullptr);
        ASSERT_TRUE(s.ok()) << s;
      }
    };
    run(600);  // tables grow, threads start
    std::vector<int> ours, grpc;
    std::map<std::string, int> traces;
    for (int w = 0; w < kWindows; ++w) {
      next_record = 0;
      WatchAllocations(Watch);
      run(kSteps);
      WatchAllocations(nullptr);
      EXPECT_LT(next_record.load(), kMostRecords);
      Count count;
      for (int k = 0; k < std::min(next_record.load(), kMostRecords); ++k) {
        std::string trace;
        if (IsOfGrpc(records[k], &trace)) {
          ++count.grpc;
        } else {
          ++count.ours;
          ++traces[trace];
        }
      }
      ours.push_back(count.ours);
      grpc.push_back(count.grpc);
    }
    std::sort(ours.begin(), ours.end());
    std::sort(grpc.begin(), grpc.end());
    const Count middle = {ours[kWindows / 2], grpc[kWindows / 2]};
    if (middle.ours > 0) {
      int shown = 0;
      for (const auto& [trace, times] : traces) {
        if (times >= kWindows && ++shown <= 12) std::printf("    %d times:\n%s", times, trace.c_str());
      }
    }
    std::printf("  %s: %.2f allocations a step of ours, %.2f of gRPC's\n", GetParam(), middle.ours / double{kSteps},
                middle.grpc / double{kSteps});
    return middle;
  }

  std::shared_ptr<Transport> transport_;
  std::vector<std::unique_ptr<Server>> servers_;
  Graph graph_;
  std::unique_ptr<SessionBase> session_;
};

constexpr int kGrpcBound = 400;  // within libgrpc, of a step of two tasks: three calls there and back

TEST_P(WarmClusterTest, AStepOnOneTask) {
  Build("x = Placeholder(dtype=float, shape=[?]) @/job:worker/task:0; y = Neg(x) @/job:worker/task:0");
  const Count small = Allocations({{"x:0"}, {"y:0"}, {}}, Tensor::FromValues<float>(Shape({4}), {1, 2, 3, 4}));
  EXPECT_EQ(small.ours, 0);
  EXPECT_LE(small.grpc, (Way() == "grpc" ? kGrpcBound : 0) * kSteps);
}

TEST_P(WarmClusterTest, AStepOverTwoTasks) {
  Build(R"(
    x = Placeholder(dtype=float, shape=[?]) @/job:worker/task:0
    n = Neg(x) @/job:ps/task:0
    y = Add(n, x) @/job:worker/task:0)");
  const Count large = Allocations({{"x:0"}, {"y:0", "n:0"}, {}},
                                  Tensor::FromValues<float>(Shape({20000}), std::vector<float>(20000, 1)));
  EXPECT_EQ(large.ours, 0);
  EXPECT_LE(large.grpc, (Way() == "grpc" ? kGrpcBound : 0) * kSteps);
}

INSTANTIATE_TEST_SUITE_P(Ways, WarmClusterTest,
                         ::testing::Values("function call", "inproc", "shm", "unix", "tcp", "grpc"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

}  // namespace
}  // namespace sluice
