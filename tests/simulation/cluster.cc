#include "tests/simulation/cluster.h"

#include <utility>

#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"
#include "distributed/rpc/watched_channel.h"
#include "distributed/testing/call_recorder.h"
#include "runtime/c_api/environment.h"
#include "tests/simulation/step_driver.h"

namespace sluice::simulation {

// A task's process and address have its full name.
SimCluster::SimCluster(World* world, int ps, int workers) : world_(world) {
  for (int i = 0; i < ps; ++i) cluster_.addresses[TaskName("ps", i)] = TaskName("ps", i);
  for (int i = 0; i < workers; ++i) cluster_.addresses[TaskName("worker", i)] = TaskName("worker", i);
  for (const std::string& task : tasks()) Start(task);
}

SimCluster::~SimCluster() {
  for (const std::string& task : tasks()) {
    if (IsUp(task)) Kill(task);
  }
}

std::shared_ptr<Process> SimCluster::process(const std::string& task) const {
  auto it = tasks_.find(task);
  return it == tasks_.end() ? nullptr : it->second->process;
}

std::shared_ptr<Channel> SimCluster::MasterOf(const std::shared_ptr<Process>& from, const std::string& task) {
  return *from->transport()->Connect(task);
}

void SimCluster::Start(const std::string& task) {
  auto t = std::make_unique<Task>();
  t->process = world_->Start(task);
  world_->Note(absl::StrCat("start ", task));
  t->driver = MakeEventDriver();
  Process* process = t->process.get();
  auto connect = [process](const std::string& to) {
    WatchOptions watch;
    watch.name = to;
    return ConnectWatched(*process->transport(), to, process->clock(), std::move(watch));
  };
  WorkerOptions worker;
  worker.task = task;
  worker.environment = GetProcessEnvironment().view();
  worker.session.parallelism = 1;
  worker.connect = connect;
  worker.clock = process->clock();
  worker.executor = process->executor();
  worker.driver = t->driver.get();
  t->worker = std::make_unique<Worker>(std::move(worker));
  MasterOptions master;
  master.task = task;
  master.cluster = cluster_;
  master.environment = GetProcessEnvironment().view();
  master.session.parallelism = 1;
  master.local_device = t->worker->first_device();
  master.connect = connect;
  master.clock = process->clock();
  master.executor = process->executor();
  master.wire = t->worker->wire();
  master.client_ttl = absl::Minutes(2);
  t->master = std::make_unique<Master>(std::move(master));
  Worker* w = t->worker.get();
  Master* m = t->master.get();
  Handler handler = [w, m](const IncomingCall& call, Message request, Reply reply) {
    absl::string_view method = call.method;
    if (absl::ConsumePrefix(&method, Worker::kService)) {
      return w->Handle(method, call.timeout, std::move(request), std::move(reply), call.way);
    }
    if (absl::ConsumePrefix(&method, Master::kService)) {
      return m->Handle(method, call.timeout, std::move(request), std::move(reply));
    }
    reply(Unimplemented(call.method));
  };
  auto sink = [world = world_, weak = std::weak_ptr<Process>(t->process), task](Event event) {
    auto alive = weak.lock();
    if (!alive || !alive->alive()) return;  // what is freed with a dead process is heard by nobody
    event.task = task;
    event.life = absl::StrCat(alive->life());
    world->Record(std::move(event));
  };
  t->listener = *process->transport()->Listen(task, RecordCalls(std::move(handler), std::move(sink)));
  tasks_[task] = std::move(t);
}

void SimCluster::Kill(const std::string& task) {
  auto it = tasks_.find(task);
  std::unique_ptr<Task> t = std::move(it->second);
  tasks_.erase(it);
  world_->Note(absl::StrCat("kill ", task));
  world_->Kill(t->process);
  // Nothing below is heard by anybody: the process is dead, this is its memory being freed.
  t->listener.reset();
  t->master.reset();
  t->worker.reset();
}

std::string SimCluster::Leftovers(const std::string& task) {
  std::string found;
  tasks_[task]->worker->Handle("WorkerState", absl::Seconds(1), Pack(proto::WorkerStateRequest()),
                               [&](absl::StatusOr<Message> reply) {
                                 proto::WorkerStateResponse state;
                                 if (!reply.ok() || !Unpack(*reply, &state).ok()) return;
                                 for (const auto& s : state.session())
                                   absl::StrAppend(&found, "session ", s.handle(), " ");
                                 for (const auto& s : state.step()) absl::StrAppend(&found, "step ", s.step_id(), " ");
                               });
  return found;
}

}  // namespace sluice::simulation
