#include "tests/simulation/trainer.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "core/graph/graph_def.h"
#include "core/graph/text.h"
#include "distributed/proto/master.pb.h"
#include "distributed/rpc/call.h"
#include "runtime/c_api/environment.h"

namespace sluice::simulation {
namespace {

constexpr int64_t kPrime = 1'000'003;

int64_t Mod(int64_t x) { return ((x % kPrime) + kPrime) % kPrime; }

// `v<p>` on ps p; worker w makes g = v * (w + 2) + step; v becomes v * 3 + sum of g, modulo the prime.
std::string GraphText(int ps, int workers) {
  std::string text;
  auto device = [](const char* job, int task) { return absl::StrCat(" @/job:", job, "/task:", task, "\n"); };
  auto constant = [&](const std::string& name, int64_t value, const std::string& at) {
    absl::StrAppend(&text, name, " = Const(value=int64[]{", value, "})", at);
  };
  std::string updates;
  absl::StrAppend(&text, "s = VarHandleOp(dtype=int64, shape=[], shared_name='s')", device("ps", 0));
  absl::StrAppend(&text, "step = ReadVariableOp(s, dtype=int64)", device("ps", 0));
  absl::StrAppend(&text, "s_in = Placeholder(dtype=int64, shape=[])", device("ps", 0));
  absl::StrAppend(&text, "s_set = AssignVariableOp(s, s_in)", device("ps", 0));
  for (int p = 0; p < ps; ++p) {
    const std::string at = device("ps", p);
    const std::string v = absl::StrCat("v", p);
    absl::StrAppend(&text, v, " = VarHandleOp(dtype=int64, shape=[], shared_name='", v, "')", at);
    absl::StrAppend(&text, v, "_read = ReadVariableOp(", v, ", dtype=int64)", at);
    absl::StrAppend(&text, v, "_in = Placeholder(dtype=int64, shape=[])", at);
    absl::StrAppend(&text, v, "_set = AssignVariableOp(", v, ", ", v, "_in)", at);
    constant(v + "_three", 3, at);
    absl::StrAppend(&text, v, "_sum0 = Mul(", v, "_read, ", v, "_three)", at);
    for (int w = 0; w < workers; ++w) {
      const std::string g = absl::StrCat("g", p, "_", w);
      const std::string there = device("worker", w);
      constant(g + "_k", w + 2, there);
      absl::StrAppend(&text, g, "_m = Mul(", v, "_read, ", g, "_k)", there);
      absl::StrAppend(&text, g, " = Add(", g, "_m, step)", there);
      absl::StrAppend(&text, v, "_sum", w + 1, " = Add(", v, "_sum", w, ", ", g, ")", at);
    }
    constant(v + "_prime", kPrime, at);
    absl::StrAppend(&text, v, "_new = FloorMod(", v, "_sum", workers, ", ", v, "_prime)", at);
    absl::StrAppend(&text, v, "_update = AssignVariableOp(", v, ", ", v, "_new)", at);
    absl::StrAppend(&updates, ", ^", v, "_update");
  }
  constant("one", 1, device("ps", 0));
  absl::StrAppend(&text, "next = Add(step, one)", device("ps", 0));
  absl::StrAppend(&text, "train = AssignVariableOp(s, next", updates, ")", device("ps", 0));
  return text;
}

std::string Method(absl::string_view name) { return absl::StrCat(Master::kService, name); }

}  // namespace

std::vector<int64_t> Model::After(int64_t steps) const {
  std::vector<int64_t> v(ps);
  for (int p = 0; p < ps; ++p) v[p] = p + 1;
  for (int64_t s = 0; s < steps; ++s) {
    for (int64_t& x : v) {
      int64_t sum = x * 3;
      for (int w = 0; w < workers; ++w) sum += x * (w + 2) + s;
      x = Mod(sum);
    }
  }
  return v;
}

struct Trainer::State : public std::enable_shared_from_this<Trainer::State> {
  SimCluster* cluster = nullptr;
  World* world = nullptr;
  std::string task;
  std::shared_ptr<Process> process;
  std::shared_ptr<Channel> master;
  Model model;
  Settings settings;
  Disk* disk = nullptr;
  proto::GraphDef graph;
  std::string session;
  int64_t epoch = 0;
  int64_t step = 0;
  int64_t request = 1;
  int sessions = 0;
  bool done = false;
  bool superseded = false;
  bool dead = false;
  std::string broken;

  void Break(const std::string& what) {
    if (broken.empty()) broken = what;
    world->Note(absl::StrCat(task, " is broken"));  // not by what: its words may have numbers that are drawn anew
    dead = true;
  }

  // An event of the history that the invariants are checked on.
  void Record(EventKind kind, int64_t of_step) {
    Event event;
    event.kind = kind;
    event.task = task;
    event.life = absl::StrCat(process->life());
    event.lineage = Disk::kFolder;
    event.epoch = epoch;
    event.step = of_step;
    world->Record(std::move(event));
  }

  // `then` runs in the chief's process, unless this trainer is over.
  void Ask(const std::string& method, Message request, absl::Duration timeout,
           std::function<void(absl::StatusOr<Message>)> then) {
    master->Call(Method(method), std::move(request), timeout,
                 [self = shared_from_this(), then = std::move(then)](auto reply) {
                   if (!self->dead) then(std::move(reply));
                 });
  }

  void NewSession() {
    if (disk->epoch > epoch && epoch > 0) {
      superseded = dead = true;
      world->Note(absl::StrCat(task, " superseded"));
      return;
    }
    if (++sessions > settings.max_sessions) return Break("too many sessions");
    epoch = ++disk->epoch;
    Record(EventKind::kEpoch, 0);
    world->Note(absl::StrCat(task, " session of epoch ", epoch));
    proto::CreateSessionRequest create;
    *create.mutable_graph_def() = graph;
    create.mutable_config()->set_operation_timeout_in_ms(absl::ToInt64Milliseconds(settings.step_timeout));
    create.mutable_config()->mutable_experimental()->mutable_session_metadata()->set_name(Disk::kFolder);
    create.mutable_config()->mutable_experimental()->mutable_session_metadata()->set_version(epoch);
    Ask("CreateSession", Pack(create), absl::Minutes(2), [this](absl::StatusOr<Message> reply) {
      proto::CreateSessionResponse response;
      if (!reply.ok() || !Unpack(*reply, &response).ok()) return Again(reply.status());
      session = response.session_handle();
      Restore();
    });
  }

  // A session is lost or could not be made: close it and try again.
  void Again(const absl::Status& why) {
    world->Note(absl::StrCat(task, " lost: ", absl::StatusCodeToString(why.code())));
    if (!session.empty()) {
      proto::CloseSessionRequest close;
      close.set_session_handle(session);
      session.clear();
      // Whatever the answer is: the next session has a higher epoch.
      return Ask("CloseSession", Pack(close), absl::Seconds(15), [this](absl::StatusOr<Message>) { Wait(); });
    }
    Wait();
  }

  void Wait() {
    world->After(process, absl::Milliseconds(300), [self = shared_from_this()] {
      if (!self->dead) self->NewSession();
    });
  }

  void Run(const std::vector<std::pair<std::string, int64_t>>& feeds, const std::vector<std::string>& fetches,
           const std::vector<std::string>& targets, std::function<void(std::vector<int64_t>)> then) {
    proto::RunStepRequest run;
    run.set_session_handle(session);
    run.set_request_id(request++);
    Message message;
    for (const auto& [name, value] : feeds) {
      run.add_feed(name);
      message.tensors.push_back(Tensor::Scalar<int64_t>(value));
    }
    for (const std::string& f : fetches) run.add_fetch(f);
    for (const std::string& t : targets) run.add_target(t);
    message.body = Pack(run).body;
    Ask("RunStep", std::move(message), settings.step_timeout + absl::Seconds(30),
        [this, then = std::move(then)](absl::StatusOr<Message> reply) {
          if (!reply.ok()) {
            const absl::StatusCode code = reply.status().code();
            if (code != absl::StatusCode::kUnavailable && code != absl::StatusCode::kAborted &&
                code != absl::StatusCode::kDeadlineExceeded && code != absl::StatusCode::kCancelled) {
              return Break(absl::StrCat("a step failed with ", reply.status().ToString()));
            }
            return Again(reply.status());
          }
          std::vector<int64_t> values;
          for (const Tensor& t : reply->tensors) {
            if (!t.IsValid() || t.dtype() != DType::kInt64) return Break("a fetch came without its value");
            values.push_back(t.scalar<int64_t>());
          }
          then(std::move(values));
        });
  }

  void Restore() {
    Disk::Checkpoint from;
    from.values = model.After(0);
    if (!disk->committed.empty()) from = disk->committed.back();
    std::vector<std::pair<std::string, int64_t>> feeds = {{"s_in:0", from.step}};
    std::vector<std::string> targets = {"s_set"};
    for (int p = 0; p < model.ps; ++p) {
      feeds.emplace_back(absl::StrCat("v", p, "_in:0"), from.values[p]);
      targets.push_back(absl::StrCat("v", p, "_set"));
    }
    Run(feeds, {}, targets, [this, from](std::vector<int64_t>) {
      step = from.step;
      Record(EventKind::kRestore, step);
      world->Note(absl::StrCat(task, " restored step ", step));
      Next();
    });
  }

  void Next() {
    if (step == settings.steps) return Finish();
    Run({}, {}, {"train"}, [this](std::vector<int64_t>) {
      ++step;
      if (step % settings.save_every == 0 || step == settings.steps) return Save();
      Next();
    });
  }

  void Save() {
    std::vector<std::string> fetches = {"step:0"};
    for (int p = 0; p < model.ps; ++p) fetches.push_back(absl::StrCat("v", p, "_read:0"));
    Run({}, fetches, {}, [this](std::vector<int64_t> found) {
      if (disk->epoch != epoch) return Refuse();
      Disk::Checkpoint checkpoint;
      checkpoint.step = found[0];
      checkpoint.values.assign(found.begin() + 1, found.end());
      if (checkpoint.step != step) {
        return Break(absl::StrCat("I1: after step ", step, " the cluster's step is ", checkpoint.step));
      }
      const std::vector<int64_t> wanted = model.After(step);
      if (checkpoint.values != wanted) {
        return Break(absl::StrCat("I1: after step ", step, " the variables are ", absl::StrJoin(checkpoint.values, ","),
                                  ", wanted ", absl::StrJoin(wanted, ",")));
      }
      // The disk takes its time; who dies meanwhile has committed nothing.
      Record(EventKind::kCommitting, step);
      const absl::Duration time = absl::Milliseconds(5 * world->Chance("disk"));
      world->After(process, time, [self = shared_from_this(), checkpoint] {
        if (!self->dead) self->Commit(checkpoint);
      });
    });
  }

  void Refuse() {
    ++disk->refused;
    superseded = dead = true;
    Record(EventKind::kRefused, step);
    world->Note(absl::StrCat(task, " may not commit: epoch ", disk->epoch, " has taken over"));
  }

  void Commit(const Disk::Checkpoint& checkpoint) {
    if (disk->epoch != epoch) return Refuse();
    disk->committed.push_back(checkpoint);
    Record(EventKind::kCommit, step);
    world->Note(absl::StrCat(task, " committed step ", step));
    Next();
  }

  void Finish() {
    proto::CloseSessionRequest close;
    close.set_session_handle(session);
    Ask("CloseSession", Pack(close), absl::Seconds(15), [this](absl::StatusOr<Message>) {
      world->Note(absl::StrCat(task, " done"));
      done = true;
    });
  }
};

Trainer::Trainer(SimCluster* cluster, std::string task, Model model, Settings settings, Disk* disk)
    : state_(std::make_shared<State>()) {
  state_->cluster = cluster;
  state_->world = &cluster->world();
  state_->task = std::move(task);
  state_->model = model;
  state_->settings = settings;
  state_->disk = disk;
  state_->process = cluster->process(state_->task);
  state_->master = cluster->MasterOf(state_->process, state_->task);
  Graph graph(&GetProcessEnvironment().ops);
  absl::Status parsed = ParseGraphText(GraphText(model.ps, model.workers), &graph);
  if (!parsed.ok()) state_->broken = parsed.ToString();
  ExportGraphDef(graph, ExportOptions(), &state_->graph);
}

Trainer::~Trainer() { state_->dead = true; }

bool Trainer::done() const { return state_->done; }
bool Trainer::superseded() const { return state_->superseded; }
const std::string& Trainer::broken() const { return state_->broken; }

void Trainer::Start() {
  if (state_->broken.empty()) state_->NewSession();
}

}  // namespace sluice::simulation
