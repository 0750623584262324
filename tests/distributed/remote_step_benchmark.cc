// How long a step of one scalar takes on a task of another process, for each way that the calls may take. The ways take
// turns round by round; a row shows the median, the best and the tenth slowest of a hundred.
//
//   ./dev bench remote_step      or      bazel run //tests/distributed:remote_step_benchmark -- --rounds=10 --way=grpc
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "core/graph/text.h"
#include "distributed/client/remote_session.h"
#include "distributed/server/server.h"
#include "distributed/transport/negotiate.h"
#include "runtime/c_api/environment.h"

namespace sluice {
namespace {

const char* const kWays[] = {"shm", "unix", "tcp", "grpc"};

// A cluster of one task.
int Serve() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  proto::ServerDef def;
  auto* job = def.mutable_cluster()->add_job();
  job->set_name("worker");
  (*job->mutable_tasks())[0] = "localhost:0";
  def.set_job_name("worker");
  ServerOptions options;
  options.environment = GetProcessEnvironment().view();
  auto server = Server::Make(def, options);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 1;
  }
  (*server)->Start();
  std::printf("%s\n", (*server)->address().c_str());
  std::fflush(stdout);
  pause();
  return 0;
}

std::string StartServer(pid_t* pid) {
  int fds[2];
  if (pipe(fds) != 0) return "";
  *pid = fork();
  if (*pid == 0) {
    dup2(fds[1], STDOUT_FILENO);
    close(fds[0]);
    execl("/proc/self/exe", "serve", "--serve", nullptr);
    _exit(127);
  }
  close(fds[1]);
  char line[256] = {};
  FILE* in = fdopen(fds[0], "r");
  if (std::fgets(line, sizeof line, in) == nullptr) line[0] = '\0';
  std::fclose(in);
  line[std::strcspn(line, "\n")] = '\0';
  return line;
}

struct Client {
  std::string way;
  std::shared_ptr<Transport> transport;
  std::unique_ptr<SessionBase> session;
  std::shared_ptr<Callable> callable;
  std::vector<double> us;

  // False when a step fails or gives another number than it should.
  bool Run(int steps, bool timed) {
    std::vector<Tensor> fetches;
    for (int i = 0; i < steps; ++i) {
      const std::vector<Tensor> feeds = {Tensor::Scalar<float>(static_cast<float>(i))};
      const absl::Time began = absl::Now();
      absl::Status status = session->RunCallable(*callable, feeds, &fetches, RunOptions(), nullptr);
      if (timed) us.push_back(absl::ToDoubleMicroseconds(absl::Now() - began));
      if (!status.ok() || fetches[0].scalar<float>() != static_cast<float>(i) + 1) {
        std::fprintf(stderr, "%s: %s\n", way.c_str(), status.ok() ? "a wrong number" : status.ToString().c_str());
        return false;
      }
    }
    return true;
  }
};

int Run(int rounds, const std::string& only) {
  pid_t server = -1;
  const std::string address = StartServer(&server);
  if (address.empty()) {
    std::fprintf(stderr, "the server did not start\n");
    return 1;
  }
  Graph graph(&GetProcessEnvironment().ops);
  absl::Status parsed =
      ParseGraphText("x = Placeholder(dtype=float, shape=[]); one = Const(value=float[]{1}); y = Add(x, one)", &graph);
  if (!parsed.ok()) {
    std::fprintf(stderr, "%s\n", parsed.ToString().c_str());
    return 1;
  }
  std::vector<Client> clients;
  for (const char* way : kWays) {
    if (!only.empty() && only != way) continue;
    Client c;
    c.way = way;
    TransportSetOptions set;
    set.force = way;
    c.transport = MakeTransportSet(set);
    auto channel = c.transport->Connect(address);
    if (!channel.ok()) {
      std::fprintf(stderr, "%s: %s\n", way, channel.status().ToString().c_str());
      return 1;
    }
    c.session = MakeRemoteSession(*channel, "", &graph);
    auto callable = c.session->MakeCallable({{"x:0"}, {"y:0"}, {}});
    if (!callable.ok()) return 1;
    c.callable = *callable;
    clients.push_back(std::move(c));
  }
  for (Client& c : clients) {
    if (!c.Run(200, false)) return 1;
  }
  for (int round = 0; round < rounds; ++round) {
    for (Client& c : clients) {
      if (!c.Run(300, true)) return 1;
    }
  }
  std::printf("%-8s %12s %12s %12s\n", "way", "median us", "best us", "p90 us");
  for (Client& c : clients) {
    std::sort(c.us.begin(), c.us.end());
    std::printf("%-8s %12.1f %12.1f %12.1f\n", c.way.c_str(), c.us[c.us.size() / 2], c.us[0],
                c.us[c.us.size() * 9 / 10]);
    c.session.reset();
  }
  kill(server, SIGKILL);
  waitpid(server, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace sluice

int main(int argc, char** argv) {
  int rounds = 10;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    if (arg == "--serve") return sluice::Serve();
    if (absl::StartsWith(arg, "--way=")) only = arg.substr(6);
    if (absl::StartsWith(arg, "--rounds=") && (!absl::SimpleAtoi(arg.substr(9), &rounds) || rounds < 1)) return 2;
  }
  return sluice::Run(rounds, only);
}
