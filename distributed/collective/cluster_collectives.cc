#include "distributed/collective/cluster_collectives.h"

#include <algorithm>
#include <random>
#include <thread>

#include "absl/strings/cord.h"
#include "core/base/status.h"
#include "distributed/cluster/cluster.h"
#include "distributed/rendezvous/remote_tensor.h"
#include "distributed/rpc/call.h"
#include "runtime/collective/local_collectives.h"

namespace sluice {
namespace {

constexpr size_t kEndedKept = 256;
constexpr size_t kDeadStepsKept = 64;
constexpr absl::Duration kTellTimeout = absl::Seconds(10);
constexpr absl::Duration kVoteTimeout = absl::Seconds(30);
constexpr absl::Duration kGrace = absl::Seconds(3);  // for runs that need nothing more from a member that has gone
constexpr int kWatchAll = 16;
constexpr absl::Duration kFetchTimeout = absl::Hours(24);  // runs have limits of their own

uint64_t RandomId() {
  std::random_device random;
  uint64_t id = 0;
  while (id == 0) id = (uint64_t{random()} << 32) | random();
  return id;
}

// An engine may lose its last user on its own thread, which cannot wait for itself.
std::shared_ptr<SharedEngine> MakeEngine(std::unique_ptr<SharedSegment> segment, int rank,
                                         std::vector<std::string> devices, SharedEngine::Counters counters) {
  return std::shared_ptr<SharedEngine>(
      new SharedEngine(std::move(segment), rank, std::move(devices), std::move(counters)), [](SharedEngine* e) {
        if (!e->OnOwnThread()) return delete e;
        std::thread([e] { delete e; }).detach();
      });
}

absl::Status Derived(absl::Status status) {
  status.SetPayload(kDerivedPayload, absl::Cord("1"));
  return status;
}

// What the others get: their own steps can be tried again unless the members do not agree.
absl::Status ForOthers(const std::string& device, const absl::Status& why) {
  const bool keep = why.code() == absl::StatusCode::kInvalidArgument || why.code() == absl::StatusCode::kUnavailable;
  return absl::Status(keep ? why.code() : absl::StatusCode::kAborted, absl::StrCat("of ", device, ": ", why.message()));
}

}  // namespace

struct ClusterCollectives::Run {
  CollectiveRequest request;
  Done done;
  int64_t callback = 0;  // at the cancellation token
  Clock::TimerId timer = 0;
  // Guarded by mu_ of the collectives.
  absl::Status cancelled;
  absl::Status own;  // why it failed here
  int64_t generation = 0;
  std::function<void(absl::Status)> fail;  // once begun
  MemberKey key() const { return {request.group_key, request.device}; }
};

struct ClusterCollectives::Generation {
  int64_t number = 0;
  int64_t group_key = 0;
  std::vector<proto::GroupMember> members;
  RefPtr<StepRendezvous> rendezvous;

  int RankOf(const std::string& device) const {
    for (size_t r = 0; r < members.size(); ++r) {
      if (members[r].device() == device) return static_cast<int>(r);
    }
    return 0;
  }
  std::string Key(int from, absl::string_view what, int to) const {
    return absl::StrCat(members[from].device(), ";", absl::Hex(number), ";", what, ";", to);
  }
  // Ranks of the members that are on the host of this one.
  std::vector<int> OnHostOf(int rank) const {
    std::vector<int> here;
    for (size_t r = 0; r < members.size(); ++r) {
      if (members[r].host() == members[rank].host()) here.push_back(static_cast<int>(r));
    }
    return here;
  }
  // The first members of all hosts.
  std::vector<int> Firsts() const {
    std::vector<int> firsts;
    for (size_t r = 0; r < members.size(); ++r) {
      if (OnHostOf(static_cast<int>(r))[0] == static_cast<int>(r)) firsts.push_back(static_cast<int>(r));
    }
    return firsts;
  }
  // Every member offers memory, and some could use another's.
  bool MayShare() const {
    for (const auto& m : members) {
      if (m.host().empty() || m.memory().empty()) return false;
    }
    return Firsts().size() < members.size();
  }
};

struct ClusterCollectives::Member {
  enum State { kIdle, kJoining, kVoting, kReady };
  State state = kIdle;
  uint64_t id = 0;
  std::shared_ptr<Generation> generation;
  GroupView view;
  std::unique_ptr<SharedSegment> offered;  // while it joins
  bool shares = false;                     // else all goes by messages
  HostView host;
  int votes_left = 0;
  bool all_can = true;
  Runs waiting;  // for the group to form
  Runs active;
  std::map<int64_t, int64_t> runs;  // of each instance, in this generation
  // Steps that saw a generation end: what else they ask for gets the same error.
  std::deque<std::pair<int64_t, absl::Status>> dead_steps;
  // Why a generation ended between two runs. The next step fails with it: others may have gone back to a checkpoint,
  // and a step that went on would wait for them while they wait for it.
  absl::Status missed;
  bool failed = false;  // a run of this generation has failed, which its step knows
};

ClusterCollectives::ClusterCollectives(ClusterCollectivesOptions options)
    : options_(std::move(options)), registry_(std::make_shared<GroupRegistry>(options_.tasks, options_.clock)) {}

void ClusterCollectives::Start(CollectiveRequest request, Done done) {
  if (request.group_size == 1) return done(RunCollective({&request}, options_.pool));
  auto run = std::make_shared<Run>();
  run->request = std::move(request);
  run->done = std::move(done);
  const CollectiveRequest& r = run->request;
  if (r.cancellation != nullptr) {
    run->callback = r.cancellation->Register([self = Self(), run, token = r.cancellation] {
      self->options_.executor->Schedule([self, run, why = token->status()] { self->Cancelled(run, why); });
    });
    if (run->callback == 0) {
      StepFailed({r.group_key}, r.cancellation->status());
      return run->done(r.cancellation->status());
    }
  }
  absl::Status refused;
  bool ready = false;
  uint64_t join = 0;
  {
    absl::MutexLock lock(&mu_);
    refused = closed_.ok() ? run->cancelled : closed_;
    std::unique_ptr<Member>& member = members_[run->key()];
    if (!member) member = std::make_unique<Member>();
    for (const auto& [step, why] : member->dead_steps) {
      if (step == r.step_id && refused.ok()) refused = why;
    }
    if (refused.ok() && !member->missed.ok()) {
      refused = std::exchange(member->missed, absl::OkStatus());
      member->dead_steps.emplace_back(r.step_id, refused);
      if (member->dead_steps.size() > kDeadStepsKept) member->dead_steps.pop_front();
    }
    if (refused.ok()) {
      ready = member->state == Member::kReady;
      (ready ? member->active : member->waiting).push_back(run);
      if (member->state == Member::kIdle) {
        member->state = Member::kJoining;
        join = member->id = RandomId();
        ++joining_;
      }
    }
  }
  if (!refused.ok()) return EndRun(*run, refused);
  if (join != 0) Join(run->key(), join, r.group_size);
  if (ready) Begin(run);
}

void ClusterCollectives::Call(const std::string& task, const char* method, Message request, absl::Duration timeout,
                              Reply done) {
  absl::Status closed;
  {
    absl::MutexLock lock(&mu_);
    closed = closed_;
    if (closed.ok()) ++calling_;
  }
  if (!closed.ok()) return done(closed);
  options_.call(task, method, std::move(request), timeout, std::move(done));
  absl::MutexLock lock(&mu_);
  --calling_;
}

void ClusterCollectives::Join(const MemberKey& key, uint64_t id, int64_t size) {
  proto::JoinGroupRequest request;
  request.set_group_key(key.first);
  request.set_group_size(size);
  request.mutable_member()->set_device(key.second);
  request.mutable_member()->set_id(id);
  if (!options_.host.empty() && size <= SharedSegment::kMaxMembers) {
    absl::StatusOr<std::unique_ptr<SharedSegment>> segment = SharedSegment::Make(static_cast<int>(size));
    if (segment.ok()) {
      request.mutable_member()->set_host(options_.host);
      request.mutable_member()->set_memory((*segment)->offer());
      absl::MutexLock lock(&mu_);
      members_[key]->offered = *std::move(segment);
    }
  }
  request.set_timeout_ms(absl::ToInt64Milliseconds(options_.timeout));
  // The leader's answer, which names who is missing, comes before this call's own end.
  Call(options_.leader, "JoinGroup", Pack(request), options_.timeout + kTellTimeout,
       [self = Self(), key, id](absl::StatusOr<Message> reply) {
         proto::JoinGroupResponse response;
         absl::Status status = reply.status();
         if (status.ok()) status = Unpack(*reply, &response);
         if (!status.ok()) {
           return self->Joined(key, id, status);
         }
         self->Joined(key, id, std::move(response));
       });
}

void ClusterCollectives::Joined(const MemberKey& key, uint64_t id, absl::StatusOr<proto::JoinGroupResponse> response) {
  Runs failed;
  std::shared_ptr<Generation> joined;
  std::vector<RefPtr<StepRendezvous>> orphans;
  absl::Status why = response.status();
  int64_t over = 0;
  {
    absl::MutexLock lock(&mu_);
    --joining_;
    Member& m = *members_[key];
    if (m.id == id && m.state == Member::kJoining && response.ok()) {
      const int64_t number = response->generation();
      std::shared_ptr<Generation>& generation = generations_[number];
      if (!generation) {
        generation = std::make_shared<Generation>();
        generation->number = number;
        generation->group_key = key.first;
        generation->members.assign(response->member().begin(), response->member().end());
        auto early = early_.find(number);
        if (early != early_.end()) {
          generation->rendezvous = std::move(early->second);
          early_.erase(early);
        } else {
          generation->rendezvous = MakeRendezvous(number);
        }
      }
      m.state = Member::kVoting;
      m.generation = joined = generation;
      m.shares = false;
      m.host = HostView();
      m.runs.clear();
      m.view = GroupView();
      m.view.generation = number;
      m.view.rendezvous = generation->rendezvous.get();
      m.view.executor = options_.executor;
      for (const auto& g : generation->members) {
        if (g.device() == key.second) m.view.rank = m.view.size();
        m.view.devices.push_back(g.device());
      }
      for (const auto& [g, status] : ended_) {
        if (g == number) over = number, why = status;
      }
    } else if (m.id == id && m.state == Member::kJoining) {
      failed = Detach(m, why);
    }
    if (joining_ == 0) {
      for (auto& [g, rendezvous] : early_) orphans.push_back(std::move(rendezvous));
      early_.clear();
    }
  }
  for (auto& r : orphans) r->Abort(absl::AbortedError(absl::StrCat(options_.task, " is in no such group")));
  if (over != 0) return EndGeneration(over, why, false);
  for (const auto& run : failed) EndRun(*run, why);
  if (!joined) return;
  WatchOthers(key, joined);
  joined->MayShare() ? Vote(key, joined) : Ready(key, joined);
}

void ClusterCollectives::Vote(const MemberKey& key, const std::shared_ptr<Generation>& generation) {
  const int n = static_cast<int>(generation->members.size());
  const int rank = generation->RankOf(key.second);
  const std::vector<int> here = generation->OnHostOf(rank);
  std::unique_ptr<SharedSegment> segment;
  {
    absl::MutexLock lock(&mu_);
    Member& m = *members_[key];
    if (m.generation != generation) return;
    segment = std::move(m.offered);
    m.votes_left = n - 1;
    m.all_can = true;
  }
  if (rank != here[0]) {
    absl::StatusOr<std::unique_ptr<SharedSegment>> opened =
        SharedSegment::Open(generation->members[here[0]].memory(), n);
    segment = opened.ok() ? *std::move(opened) : nullptr;
  }
  const bool can = segment != nullptr;
  {
    absl::MutexLock lock(&mu_);
    Member& m = *members_[key];
    if (m.generation != generation) return;
    m.offered = std::move(segment);
    m.all_can = can;
  }
  for (int r = 0; r < n; ++r) {
    if (r != rank) {
      (void)generation->rendezvous->Send(generation->Key(rank, "vote", r),
                                         {Tensor::Scalar<int32_t>(can ? 1 : 0), false});
    }
  }
  // The others are there, or were a moment ago: what takes so long is lost.
  options_.clock->RunAfter(kVoteTimeout, [self = Self(), key, generation] {
    {
      absl::MutexLock lock(&self->mu_);
      Member& m = *self->members_[key];
      if (m.generation != generation || m.state != Member::kVoting) return;
    }
    self->EndGeneration(generation->number, absl::AbortedError("the members did not agree on the way between them"),
                        true);
  });
  for (int r = 0; r < n; ++r) {
    if (r == rank) continue;
    generation->rendezvous->RecvAsync(generation->Key(r, "vote", rank), [self = Self(), key, generation, rank](
                                                                            absl::StatusOr<Rendezvous::Value> value) {
      if (!value.ok()) return self->Lost(generation->number, value.status());
      {
        absl::MutexLock lock(&self->mu_);
        Member& m = *self->members_[key];
        if (m.generation != generation) return;
        const Tensor& vote = value->tensor;
        m.all_can &= vote.dtype() == DType::kInt32 && vote.num_elements() == 1 && *vote.data<int32_t>() == 1;
        if (--m.votes_left > 0) return;
        std::unique_ptr<SharedSegment> segment = std::move(m.offered);
        m.shares = m.all_can;
        if (m.shares) m.host = self->ViewOfHost(*generation, rank, m.view, std::move(segment));
      }
      self->Ready(key, generation);
    });
  }
}

HostView ClusterCollectives::ViewOfHost(const Generation& generation, int rank, const GroupView& all,
                                        std::unique_ptr<SharedSegment> segment) const {
  HostView view;
  const std::vector<int> here = generation.OnHostOf(rank);
  std::vector<std::string> devices;
  SharedEngine::Counters counters;
  for (int r : here) {
    if (r == rank) view.rank = static_cast<int>(devices.size());
    devices.push_back(all.devices[r]);
    counters.push_back(options_.wire ? options_.wire->Of(TaskOfDevice(all.devices[r])) : nullptr);
  }
  view.size = static_cast<int>(here.size());
  view.hosts = all;
  view.hosts.devices.clear();
  for (int r : generation.Firsts()) {
    if (r == here[0]) view.hosts.rank = view.hosts.size();
    view.hosts.devices.push_back(all.devices[r]);
  }
  if (view.size > 1) view.engine = MakeEngine(std::move(segment), view.rank, std::move(devices), std::move(counters));
  return view;
}

void ClusterCollectives::Ready(const MemberKey& key, const std::shared_ptr<Generation>& generation) {
  Runs begun;
  {
    absl::MutexLock lock(&mu_);
    Member& m = *members_[key];
    if (m.generation != generation) return;
    m.offered.reset();
    m.state = Member::kReady;
    begun.swap(m.waiting);
    m.active.insert(m.active.end(), begun.begin(), begun.end());
  }
  for (const auto& run : begun) Begin(run);
}

void ClusterCollectives::WatchOthers(const MemberKey& key, const std::shared_ptr<Generation>& generation) {
  const int n = static_cast<int>(generation->members.size());
  const int rank = generation->RankOf(key.second);
  for (int r = 0; r < n; ++r) {
    const bool neighbour = r == (rank + 1) % n || r == (rank + n - 1) % n;
    if (r == rank || (n > kWatchAll && !neighbour)) continue;
    const std::string name = absl::StrCat("rank ", r, " (", generation->members[r].device(), "): ");
    generation->rendezvous->RecvAsync(
        generation->Key(r, "alive", rank),
        [self = Self(), number = generation->number, name](absl::StatusOr<Rendezvous::Value> value) {
          if (!value.ok()) self->Lost(number, Annotate(value.status(), name));
        });
  }
}

void ClusterCollectives::Lost(int64_t number, const absl::Status& why) {
  bool busy = false, tell = false;
  {
    absl::MutexLock lock(&mu_);
    auto it = generations_.find(number);
    if (it == generations_.end() || !closed_.ok()) return;
    // Where all watch all, each decides for itself: another member may be about to finish its last run.
    tell = it->second->members.size() > kWatchAll;
    for (const auto& [key, m] : members_) busy |= m->generation == it->second && !m->active.empty();
  }
  if (!busy && !tell) return EndGeneration(number, why, false);
  options_.clock->RunAfter(kGrace, [self = Self(), number, why, tell] { self->EndGeneration(number, why, tell); });
}

void ClusterCollectives::Begin(const std::shared_ptr<Run>& run) {
  RefPtr<Exchange> exchange;
  RefPtr<TwoLevel> two_level;
  std::shared_ptr<SharedEngine> engine;
  int64_t count = 0;
  absl::Status cancelled;
  {
    absl::MutexLock lock(&mu_);
    Member& m = *members_[run->key()];
    if (std::find(m.active.begin(), m.active.end(), run) == m.active.end()) return;  // ended meanwhile
    cancelled = run->cancelled;
    count = m.runs[run->request.instance_key]++;
    run->generation = m.generation->number;
    std::function<std::string()> waits_for;
    const bool reduces = run->request.kind == CollectiveKind::kReduce;
    auto finished = [self = Self(), run](absl::Status status) { self->Finished(run, status); };
    if (m.shares && m.host.hosts.size() > 1 && reduces) {
      two_level = MakeRef<TwoLevel>(m.host, m.generation, run->request, count, finished);
      run->fail = [two_level, device = run->request.device](absl::Status why) {
        two_level->Fail(ForOthers(device, why));
      };
      waits_for = [two_level] { return two_level->WaitsFor(); };
    } else if (m.shares && m.host.hosts.size() == 1) {
      engine = m.host.engine;
      run->fail = [engine, device = run->request.device](absl::Status why) { engine->Fail(ForOthers(device, why)); };
      waits_for = [engine, instance = run->request.instance_key, count] { return engine->WaitsFor(instance, count); };
    } else {
      exchange = MakeRef<Exchange>(m.view, m.generation, run->request, count, finished);
      run->fail = [exchange](absl::Status why) { exchange->Fail(std::move(why)); };
      waits_for = [exchange] { return exchange->WaitsFor(); };
    }
    run->timer =
        options_.clock->RunAfter(options_.timeout, [self = Self(), run, waits_for, timeout = options_.timeout] {
          self->FailRun(run, absl::DeadlineExceededError(
                                 absl::StrCat("waited ", absl::FormatDuration(timeout), " for ", waits_for())));
        });
  }
  if (engine != nullptr) {
    engine->Start(run->request, count, [self = Self(), run](absl::Status status) { self->Finished(run, status); });
    if (!cancelled.ok()) FailRun(run, cancelled);
    return;
  }
  if (!cancelled.ok()) FailRun(run, cancelled);
  if (two_level) return two_level->Start();
  exchange->Start();
}

void ClusterCollectives::FailRun(const std::shared_ptr<Run>& run, const absl::Status& why) {
  std::function<void(absl::Status)> fail;
  {
    absl::MutexLock lock(&mu_);
    fail = run->fail;
    if (fail && run->own.ok()) run->own = why;
  }
  if (fail) fail(why);
}

void ClusterCollectives::Cancelled(const std::shared_ptr<Run>& run, const absl::Status& why) {
  Runs failed;
  uint64_t left = 0;
  {
    absl::MutexLock lock(&mu_);
    run->cancelled = why;  // for a run that is about to begin
    auto it = members_.find(run->key());
    if (!run->fail && it != members_.end() && it->second->state == Member::kJoining) {
      Member& m = *it->second;
      if (std::find(m.waiting.begin(), m.waiting.end(), run) != m.waiting.end()) {
        left = m.id;
        failed = Detach(m, why);
      }
    }
  }
  FailRun(run, why);
  if (left != 0) TellLeader(run->request.group_key, 0, left, ForOthers(run->request.device, why));
  for (const auto& r : failed) EndRun(*r, why);
}

void ClusterCollectives::Finished(const std::shared_ptr<Run>& run, absl::Status status) {
  int64_t generation = 0;
  std::function<void(absl::Status)> fail;  // goes without the lock: it may hold the engine
  {
    absl::MutexLock lock(&mu_);
    Member& m = *members_[run->key()];
    m.active.erase(std::remove(m.active.begin(), m.active.end(), run), m.active.end());
    generation = run->generation;
    fail.swap(run->fail);
    if (!status.ok() && !run->own.ok()) status = run->own;
    if (!status.ok()) {
      m.failed = true;
      m.dead_steps.emplace_back(run->request.step_id, status);
      if (m.dead_steps.size() > kDeadStepsKept) m.dead_steps.pop_front();
    }
  }
  if (!status.ok()) EndGeneration(generation, ForOthers(run->request.device, status), true);
  EndRun(*run, status);
}

void ClusterCollectives::EndRun(Run& run, absl::Status status) {
  const CollectiveRequest& r = run.request;
  if (run.callback != 0) r.cancellation->Unregister(run.callback);
  if (run.timer != 0) options_.clock->CancelTimer(run.timer);
  if (!status.ok()) {
    status = Annotate(status, absl::StrCat(r.node, " on ", r.device, " (group ", r.group_key, " of ", r.group_size,
                                           ", instance ", r.instance_key, "): "));
  }
  Done done;
  done.swap(run.done);
  if (done) done(std::move(status));
}

ClusterCollectives::Runs ClusterCollectives::Detach(Member& m, const absl::Status& why) {
  Runs runs;
  runs.swap(m.waiting);
  for (const auto& r : runs) m.dead_steps.emplace_back(r->request.step_id, why);
  for (const auto& r : m.active) m.dead_steps.emplace_back(r->request.step_id, why);
  while (m.dead_steps.size() > kDeadStepsKept) m.dead_steps.pop_front();
  m.state = Member::kIdle;
  m.id = 0;
  m.failed = false;
  m.generation.reset();
  m.host.engine.reset();
  m.offered.reset();
  return runs;
}

void ClusterCollectives::EndGeneration(int64_t number, const absl::Status& why, bool tell) {
  const absl::Status derived = Derived(why);
  std::shared_ptr<Generation> generation;
  Runs waiting, active;
  std::vector<std::shared_ptr<SharedEngine>> engines;  // go without the lock
  uint64_t teller = 0;
  {
    absl::MutexLock lock(&mu_);
    const bool known = std::any_of(ended_.begin(), ended_.end(), [&](const auto& e) { return e.first == number; });
    if (!known) ended_.emplace_back(number, derived);
    if (ended_.size() > kEndedKept) ended_.pop_front();
    auto it = generations_.find(number);
    if (it == generations_.end()) return;
    generation = std::move(it->second);
    generations_.erase(it);
    for (auto& [key, m] : members_) {
      if (m->generation != generation) continue;
      teller = m->id;
      if (m->active.empty() && m->waiting.empty() && !m->failed) m->missed = derived;
      for (const auto& r : m->active) {
        if (r->fail) active.push_back(r);
      }
      // Those that have not begun will not: they end here.
      auto begun = std::stable_partition(m->active.begin(), m->active.end(), [](const auto& r) { return !!r->fail; });
      Runs idle(begun, m->active.end());
      for (const auto& r : idle) m->dead_steps.emplace_back(r->request.step_id, derived);
      m->active.erase(begun, m->active.end());
      engines.push_back(m->host.engine);
      Runs more = Detach(*m, derived);
      waiting.insert(waiting.end(), idle.begin(), idle.end());
      waiting.insert(waiting.end(), more.begin(), more.end());
    }
  }
  generation->rendezvous->Abort(derived);
  for (const auto& e : engines) {
    if (e) e->Leave(derived);
  }
  for (const auto& r : active) FailRun(r, derived);
  for (const auto& r : waiting) EndRun(*r, derived);
  if (tell && teller != 0) TellLeader(generation->group_key, number, teller, why);
}

void ClusterCollectives::TellLeader(int64_t group_key, int64_t generation, uint64_t member, const absl::Status& why) {
  proto::EndGroupRequest request;
  request.set_group_key(group_key);
  request.set_generation(generation);
  request.set_member(member);
  request.set_status_code(static_cast<int>(why.code()));
  request.set_status_message(std::string(why.message()));
  Call(options_.leader, "EndGroup", Pack(request), kTellTimeout, [](absl::StatusOr<Message>) {});
}

// A message that does not arrive costs time only: who waits for a member that has left the generation is told when it
// asks.
void ClusterCollectives::TellMembers(int64_t group_key, const GroupRegistry::Ended& ended) {
  proto::EndGroupRequest request;
  request.set_group_key(group_key);
  request.set_generation(ended.generation);
  request.set_status_code(static_cast<int>(ended.why.code()));
  request.set_status_message(std::string(ended.why.message()));
  std::set<std::string> tasks;
  for (const std::string& d : ended.devices) tasks.emplace(TaskOfDevice(d));
  for (const std::string& task : tasks) {
    Call(task, "EndGroup", Pack(request), kTellTimeout, [](absl::StatusOr<Message>) {});
  }
}

void ClusterCollectives::StepFailed(const std::vector<int64_t>& groups, const absl::Status& why) {
  std::vector<std::pair<int64_t, absl::Status>> ending;
  {
    absl::MutexLock lock(&mu_);
    for (int64_t group : groups) {
      for (auto m = members_.lower_bound({group, ""}); m != members_.end() && m->first.first == group; ++m) {
        if (!m->second->generation) continue;
        ending.emplace_back(m->second->generation->number, ForOthers(m->first.second, why));
      }
    }
  }
  for (const auto& [generation, status] : ending) EndGeneration(generation, status, true);
}

bool ClusterCollectives::Handles(absl::string_view method) {
  return method == "RecvCollective" || method == "JoinGroup" || method == "EndGroup";
}

void ClusterCollectives::Handle(absl::string_view method, const Message& message, Reply reply) {
  if (method == "RecvCollective") {
    proto::RecvTensorRequest request;
    absl::Status valid = Unpack(message, &request);
    if (!valid.ok()) return reply(valid);
    return Pull(request.step_id(), request.rendezvous_key(), AnswerWithTensor(std::move(reply)));
  }
  if (method == "JoinGroup") {
    proto::JoinGroupRequest request;
    absl::Status valid = Unpack(message, &request);
    return valid.ok() ? JoinGroup(request, std::move(reply)) : reply(valid);
  }
  proto::EndGroupRequest request;
  absl::Status valid = Unpack(message, &request);
  if (!valid.ok()) return reply(valid);
  EndGroup(request);
  reply(Pack(proto::EndGroupResponse()));
}

RefPtr<StepRendezvous> ClusterCollectives::MakeRendezvous(int64_t generation) {
  return MakeRef<StepRendezvous>(
      options_.task, generation,
      [this](absl::string_view task, int64_t number, const Rendezvous::Key& key, Rendezvous::Callback done) {
        Fetch(std::string(task), number, key, std::move(done));
      });
}

void ClusterCollectives::Fetch(const std::string& task, int64_t generation, const std::string& key,
                               Rendezvous::Callback done) {
  proto::RecvTensorRequest request;
  request.set_step_id(generation);
  request.set_rendezvous_key(key);
  Call(task, "RecvCollective", Pack(request), kFetchTimeout, [done = std::move(done)](absl::StatusOr<Message> reply) {
    if (!reply.ok()) return done(reply.status());
    done(TensorOfAnswer(*std::move(reply)));
  });
}

void ClusterCollectives::JoinGroup(const proto::JoinGroupRequest& request, Reply reply) {
  auto ended = registry_->Join(request, [reply = std::move(reply)](absl::StatusOr<proto::JoinGroupResponse> response) {
    if (!response.ok()) return reply(response.status());
    reply(Pack(*response));
  });
  if (ended) TellMembers(request.group_key(), *ended);
}

void ClusterCollectives::EndGroup(const proto::EndGroupRequest& request) {
  absl::Status why(static_cast<absl::StatusCode>(request.status_code()), request.status_message());
  if (why.ok()) why = absl::AbortedError("the group has ended");
  if (request.member() == 0) return EndGeneration(request.generation(), why, false);
  auto ended = registry_->End(request.group_key(), request.member(), why);
  if (ended) TellMembers(request.group_key(), *ended);
}

void ClusterCollectives::Pull(int64_t generation, const std::string& key, Rendezvous::Callback done) {
  RefPtr<StepRendezvous> rendezvous;
  absl::Status refused = absl::AbortedError(absl::StrCat(
      options_.task, " is in no group of generation ", absl::Hex(generation), ": it was started again or has left it"));
  {
    absl::MutexLock lock(&mu_);
    if (!closed_.ok()) refused = closed_;
    for (const auto& [g, why] : ended_) {
      if (g == generation) refused = why;
    }
    auto it = generations_.find(generation);
    if (it != generations_.end()) {
      rendezvous = it->second->rendezvous;
    } else if (joining_ > 0 && closed_.ok() && !refused.GetPayload(kDerivedPayload)) {
      RefPtr<StepRendezvous>& early = early_[generation];
      if (!early) early = MakeRendezvous(generation);
      rendezvous = early;
    }
  }
  if (!rendezvous) return done(refused);
  rendezvous->RecvForPeer(key, std::move(done));
}

void ClusterCollectives::Shutdown(const absl::Status& why) {
  std::vector<int64_t> generations;
  std::vector<RefPtr<StepRendezvous>> orphans;
  Runs waiting;
  {
    absl::MutexLock lock(&mu_);
    if (!closed_.ok()) return;
    closed_ = why;
    for (auto& [g, rendezvous] : early_) orphans.push_back(std::move(rendezvous));
    early_.clear();
    for (const auto& [g, generation] : generations_) generations.push_back(g);
    for (auto& [key, m] : members_) {
      if (m->state != Member::kJoining) continue;
      Runs runs = Detach(*m, why);
      waiting.insert(waiting.end(), runs.begin(), runs.end());
    }
  }
  for (auto& r : orphans) r->Abort(why);
  for (int64_t g : generations) EndGeneration(g, why, false);
  for (const auto& r : waiting) EndRun(*r, why);
  registry_->Shutdown(why);
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(
      +[](int* calling) { return *calling == 0; }, &calling_));
}

}  // namespace sluice
