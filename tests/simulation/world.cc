#include "tests/simulation/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace sluice::simulation {
namespace {

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t HashOf(uint64_t seed, absl::string_view text) {
  uint64_t h = Mix(seed);
  for (unsigned char c : text) h = (h ^ c) * 0x100000001b3;
  return Mix(h);
}

absl::Status Broken(absl::string_view peer, absl::string_view how) {
  absl::Status status = absl::UnavailableError(absl::StrCat(peer, ": ", how));
  status.SetPayload(kTransportPayload, absl::Cord("simulated"));
  return status;
}

}  // namespace

class SimClock final : public Clock {
 public:
  SimClock(World* world, std::function<std::shared_ptr<Process>()> owner) : world_(world), owner_(std::move(owner)) {}
  absl::Duration Now() const override {
    std::shared_ptr<Process> owner = owner_();
    return owner ? owner->now() : world_->now();
  }
  TimerId RunAfter(absl::Duration delay, std::function<void()> work) override {
    std::shared_ptr<Process> owner = owner_();
    return owner ? world_->After(owner, owner->TrueLength(delay), std::move(work)) : -1;
  }
  void CancelTimer(TimerId id) override { world_->Forget(id); }

 private:
  World* const world_;
  const std::function<std::shared_ptr<Process>()> owner_;
};

class SimExecutor final : public Executor {
 public:
  SimExecutor(World* world, std::function<std::shared_ptr<Process>()> owner)
      : world_(world), owner_(std::move(owner)) {}
  void Schedule(std::function<void()> work) override {
    if (std::shared_ptr<Process> owner = owner_()) world_->After(owner, absl::Microseconds(1), std::move(work));
  }

 private:
  World* const world_;
  const std::function<std::shared_ptr<Process>()> owner_;
};

// A call is two messages. It ends once: by reply, broken connection, or its time.
class SimChannel final : public Channel {
 public:
  SimChannel(World* world, std::weak_ptr<Process> from, std::string to)
      : world_(world), from_(std::move(from)), to_(std::move(to)) {}

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    std::shared_ptr<Process> from = from_.lock();
    if (!from || !from->alive()) return done(absl::CancelledError("the process has ended"));
    struct State {
      Reply done;
      int64_t timer = 0;
      bool over = false;
      bool delivered = false;
    };
    auto state = std::make_shared<State>();
    state->done = std::move(done);
    World* world = world_;
    auto finish = [world, state](absl::StatusOr<Message> reply) {
      if (state->over) return;
      state->over = true;
      world->Forget(state->timer);
      Reply done = std::move(state->done);
      done(std::move(reply));
    };
    const std::string to = to_;
    const std::string what = absl::StrCat(from->name(), ">", to, method.substr(method.rfind('/')));
    state->timer = world->After(from, from->TrueLength(timeout), [finish, what, timeout] {
      absl::Status late =
          absl::DeadlineExceededError(absl::StrCat(what, " had no answer in ", absl::FormatDuration(timeout)));
      late.SetPayload(kTransportPayload, absl::Cord("simulated"));
      finish(late);
    });
    ++world->messages_;
    const double luck = world->Chance(what + " luck");
    const bool lost_there = luck < world->weather.lose / 2;
    const bool lost_back = !lost_there && luck < world->weather.lose;
    const absl::Duration there = world->Delay(what + " there");
    const absl::Duration back = world->Delay(what + " back");
    // The connection belongs to this life of the peer: when that ends the caller sees it break.
    auto broken = [world, from_weak = from_, finish, back](absl::Status why) {
      if (auto alive = from_weak.lock()) world->After(alive, back, [finish, why] { finish(why); });
    };
    if (world->IsCut(from->name(), to)) {  // nothing arrives, nothing breaks: the time must end it
      ++world->damage_.cut;
      return;
    }
    if (lost_there || lost_back) ++world->damage_.lost;
    if (lost_there) return broken(Broken(to, "the connection broke"));
    const std::string edge = absl::StrCat(from->name(), ">", to);
    const int64_t number = ++world->order_[edge].first;
    auto deliver = [world, state, from_weak = from_, to, method, timeout, finish, back, broken, lost_back, edge,
                    number](Message request) {
      int64_t& latest = world->order_[edge].second;
      if (number < latest) ++world->damage_.reordered;
      latest = std::max(latest, number);
      auto it = world->addresses_.find(to);
      std::shared_ptr<Process> peer = it == world->addresses_.end() ? nullptr : it->second.process.lock();
      if (!peer || !peer->alive()) return broken(Broken(to, "connection refused"));
      const Handler handler = it->second.handler;
      // Of two copies the first one's answer finds its way back.
      const bool answered = !state->delivered;
      state->delivered = true;
      world->After(peer, absl::ZeroDuration(), [=, request = std::move(request)]() mutable {
        IncomingCall call;
        call.method = method;
        call.timeout = timeout;
        handler(call, std::move(request), [=](absl::StatusOr<Message> reply) {
          if (!answered) return;
          ++world->messages_;
          auto caller = from_weak.lock();
          if (!caller || !peer->alive()) return;
          if (world->IsCut(peer->name(), caller->name())) {
            ++world->damage_.cut;
            return;
          }
          if (lost_back) reply = Broken(to, "the connection broke");
          world->After(caller, back, [finish, reply = std::move(reply)]() mutable { finish(std::move(reply)); });
        });
      });
      // A peer that dies with the call in its hands breaks the connection.
      if (answered)
        world->watch_.emplace_back(
            peer, [broken, to] { broken(Broken(to, "connection reset by peer")); }, state);
    };
    world->After(nullptr, there, [deliver, request] { deliver(request); });
    if (world->Chance(what + " twice") < world->weather.duplicate) {
      ++world->damage_.duplicated;
      world->After(nullptr, there + world->Delay(what + " again"), [deliver, request] { deliver(request); });
    }
  }

  std::string Describe() const override { return absl::StrCat("simulated ", to_); }

 private:
  World* const world_;
  const std::weak_ptr<Process> from_;
  const std::string to_;
};

class SimListener final : public Listener {
 public:
  SimListener(World* world, std::string address) : world_(world), address_(std::move(address)) {}
  ~SimListener() override { world_->addresses_.erase(address_); }
  const std::string& address() const override { return address_; }

 private:
  World* const world_;
  const std::string address_;
};

class SimTransport final : public Transport {
 public:
  SimTransport(World* world, std::function<std::shared_ptr<Process>()> owner,
               std::function<void(const std::string&, std::shared_ptr<Process>, Handler)> listen)
      : world_(world), owner_(std::move(owner)), listen_(std::move(listen)) {}
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    listen_(address, owner_(), std::move(handler));
    return std::unique_ptr<Listener>(new SimListener(world_, address));
  }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    return std::shared_ptr<Channel>(new SimChannel(world_, owner_(), address));
  }

 private:
  World* const world_;
  const std::function<std::shared_ptr<Process>()> owner_;
  const std::function<void(const std::string&, std::shared_ptr<Process>, Handler)> listen_;
};

struct Process::Parts {
  std::unique_ptr<SimClock> clock;
  std::unique_ptr<SimExecutor> executor;
  std::unique_ptr<SimTransport> transport;
};

Process::Process(World* world, std::string name, int life)
    : world_(world), name_(std::move(name)), life_(life), parts_(std::make_unique<Parts>()) {}
Process::~Process() = default;
absl::Duration Process::now() const { return clock_offset_ + world_->now() * clock_rate_; }
Clock* Process::clock() { return parts_->clock.get(); }
Executor* Process::executor() { return parts_->executor.get(); }
Transport* Process::transport() { return parts_->transport.get(); }

World::World(uint64_t seed) : seed_(seed) {}
World::~World() {
  // Destroying a closure may make or forget events.
  while (!queue_.empty() || !held_.empty() || !watch_.empty()) {
    std::map<std::pair<absl::Duration, int64_t>, Work> queue;
    queue.swap(queue_);
    due_.clear();
    std::map<std::string, std::vector<Work>> held;
    held.swap(held_);
    std::vector<Watch> watch;
    watch.swap(watch_);
  }
}

std::shared_ptr<Process> World::Start(const std::string& name) {
  auto process = std::make_shared<Process>(this, name, lives_[name]++);
  std::weak_ptr<Process> weak = process;
  auto owner = [weak] { return weak.lock(); };
  if (weather.skew) {
    ++damage_.skewed;
    process->clock_rate_ = 0.9 + 0.2 * Chance(name + " clock rate");
    process->clock_offset_ = absl::Hours(24) * (Chance(name + " clock offset") - 0.5);
  }
  process->parts_->clock = std::make_unique<SimClock>(this, owner);
  process->parts_->executor = std::make_unique<SimExecutor>(this, owner);
  process->parts_->transport = std::make_unique<SimTransport>(
      this, owner, [this](const std::string& address, std::shared_ptr<Process> p, Handler handler) {
        addresses_[address] = {p, std::move(handler)};
      });
  processes_[name] = process;
  return process;
}

void World::Kill(const std::shared_ptr<Process>& process) {
  process->alive_ = false;
  dead_.push_back(process);
  paused_.erase(process->name());
  held_.erase(process->name());
  std::vector<Watch> watch;
  watch.swap(watch_);
  for (Watch& w : watch) {
    if (w.state.expired()) continue;
    if (w.peer.lock() == process) {
      w.broken();
    } else {
      watch_.push_back(std::move(w));
    }
  }
}

void World::Pause(const std::string& name) { paused_.insert(name); }

void World::Resume(const std::string& name) {
  paused_.erase(name);
  std::vector<Work> held;
  held.swap(held_[name]);
  for (Work& e : held) {
    const int64_t id = next_event_++;
    queue_.emplace(std::make_pair(now_, id), std::move(e));
    due_[id] = now_;
  }
}

void World::Cut(const std::string& from, const std::string& to) { cuts_.insert({from, to}); }

void World::Heal(const std::string& from, const std::string& to) { cuts_.erase({from, to}); }

bool World::IsCut(const std::string& from, const std::string& to) const { return cuts_.count({from, to}) > 0; }

void World::Record(Event event) {
  event.at = now_;
  recorded_.push_back(std::move(event));
}

int64_t World::After(const std::shared_ptr<Process>& process, absl::Duration delay, std::function<void()> work) {
  const int64_t id = next_event_++;
  const absl::Duration due = now_ + std::max(delay, absl::ZeroDuration());
  Work event;
  event.owner = process;
  event.of_nobody = process == nullptr;
  event.work = std::move(work);
  queue_.emplace(std::make_pair(due, id), std::move(event));
  due_[id] = due;
  return id;
}

void World::Forget(int64_t event) {
  auto it = due_.find(event);
  if (it == due_.end()) return;
  auto queued = queue_.find({it->second, event});
  std::function<void()> work = std::move(queued->second.work);  // destroyed when the tables are whole again
  queue_.erase(queued);
  due_.erase(it);
}

bool World::Step() {
  if (queue_.empty()) return false;
  auto first = queue_.begin();
  now_ = first->first.first;
  due_.erase(first->first.second);
  Work event = std::move(first->second);
  queue_.erase(first);
  if (!event.of_nobody) {
    std::shared_ptr<Process> owner = event.owner.lock();
    if (!owner || !owner->alive()) return true;
    if (paused_.count(owner->name()) > 0) {
      held_[owner->name()].push_back(std::move(event));
      return true;
    }
  }
  ++events_;
  event.work();
  return true;
}

double World::Chance(const std::string& what) {
  const uint64_t h = HashOf(seed_, absl::StrCat(what, "#", counts_[what]++));
  return static_cast<double>(h >> 11) * 0x1p-53;
}

absl::Duration World::Delay(const std::string& what) {
  const double u = Chance(what);
  double micros = 50 - 100 * std::log(1 - u);  // at least 50 us, 150 us on average
  if (Chance(what + " slow") < weather.slow) {
    micros *= 100;
    ++damage_.slowed;
  }
  return absl::Nanoseconds(static_cast<int64_t>(micros * 1000));
}

void World::Note(const std::string& line) {
  history_ = HashOf(history_, absl::StrCat(absl::ToInt64Nanoseconds(now_), " ", line));
  lines_.push_back(absl::StrCat(absl::FormatDuration(now_), " ", line));
}

}  // namespace sluice::simulation
