// A cluster that exists only in one thread: time, a network and processes that can be killed, made from a seed.
//
//   World world(seed);
//   Process* p = world.Start("ps0");            // has a clock, an executor and a transport of its own
//   world.After(p, absl::Seconds(1), [] { ... });
//   while (world.Step()) { }
//
// The same seed gives the same history: an event's delay is a hash of the seed and of what the event is (who calls whom
// for what, for the how-manieth time), never of an address or of the order of a hash table.
//
// Threads: one.
#ifndef SLUICE_TESTS_SIMULATION_WORLD_H_
#define SLUICE_TESTS_SIMULATION_WORLD_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "distributed/rpc/transport.h"
#include "distributed/testing/history.h"

namespace sluice::simulation {

// What may go wrong, and how often.
struct Weather {
  double lose = 0;       // of calls: the connection breaks before the request or before the reply arrives
  double duplicate = 0;  // of calls: the request arrives twice
  double slow = 0;       // of messages: a hundred times slower than the others
  bool skew = false;     // clocks of processes begin anywhere within hours and go up to a tenth too fast or too slow
};

// What the weather did, and cuts.
struct Damage {
  int64_t lost = 0;
  int64_t duplicated = 0;
  int64_t slowed = 0;
  int64_t reordered = 0;  // requests that arrived after one that was sent later
  int64_t cut = 0;        // messages that a cut swallowed
  int64_t skewed = 0;     // processes
};

class World;

// A process: everything it does happens in events that die with it.
class Process {
 public:
  Process(World* world, std::string name, int life);
  ~Process();

  const std::string& name() const { return name_; }
  int life() const { return life_; }
  bool alive() const { return alive_; }
  // By its own clock.
  absl::Duration now() const;
  absl::Duration TrueLength(absl::Duration own) const { return own / clock_rate_; }
  Clock* clock();
  Executor* executor();
  Transport* transport();

 private:
  friend class World;
  struct Parts;
  World* const world_;
  const std::string name_;
  const int life_;  // how often a process of this name was started before
  bool alive_ = true;
  double clock_rate_ = 1;
  absl::Duration clock_offset_;
  std::unique_ptr<Parts> parts_;
};

class World {
 public:
  explicit World(uint64_t seed);
  ~World();

  Weather weather;
  uint64_t seed() const { return seed_; }
  absl::Duration now() const { return now_; }

  // A new life of the process.
  std::shared_ptr<Process> Start(const std::string& name);
  // kill -9: its events, calls and listeners are gone; peers see broken connections.
  void Kill(const std::shared_ptr<Process>& process);
  // Between these it does nothing, and what reaches it waits.
  void Pause(const std::string& name);
  void Resume(const std::string& name);
  // Messages from the first to the second are lost without a word until it is healed; those back are not.
  void Cut(const std::string& from, const std::string& to);
  void Heal(const std::string& from, const std::string& to);

  // `work` runs unless the process has died by then; null: of nobody, always.
  int64_t After(const std::shared_ptr<Process>& process, absl::Duration delay, std::function<void()> work);
  void Forget(int64_t event);
  // Runs the next event; false when there is none.
  bool Step();

  // A number in [0, 1) for the n-th time that `what` is asked.
  double Chance(const std::string& what);
  // One line of the history, part of its hash.
  void Note(const std::string& line);
  uint64_t history() const { return history_; }
  const std::vector<std::string>& lines() const { return lines_; }
  int64_t events() const { return events_; }
  int64_t messages() const { return messages_; }
  const Damage& damage() const { return damage_; }
  // An event for the invariants (invariants.h); the time is put in here.
  void Record(Event event);
  const std::vector<Event>& recorded() const { return recorded_; }

 private:
  friend class Process;
  friend class SimChannel;
  friend class SimListener;
  struct Work {
    std::weak_ptr<Process> owner;
    bool of_nobody = false;
    std::function<void()> work;
  };
  struct Address {
    std::weak_ptr<Process> process;
    Handler handler;
  };

  // A call in the hands of a peer.
  struct Watch {
    Watch(const std::shared_ptr<Process>& p, std::function<void()> b, std::weak_ptr<void> s)
        : peer(p), broken(std::move(b)), state(std::move(s)) {}
    std::weak_ptr<Process> peer;
    std::function<void()> broken;
    std::weak_ptr<void> state;  // of the call: gone when it is over
  };

  bool IsCut(const std::string& a, const std::string& b) const;
  absl::Duration Delay(const std::string& what);

  const uint64_t seed_;
  std::vector<std::shared_ptr<Process>> dead_;  // their clocks are used until the last closure is gone
  absl::Duration now_;
  int64_t next_event_ = 1;
  int64_t events_ = 0;
  int64_t messages_ = 0;
  Damage damage_;
  std::map<std::string, std::pair<int64_t, int64_t>> order_;  // caller>callee -> requests sent, the latest that arrived
  std::vector<Event> recorded_;
  uint64_t history_ = 0;
  std::vector<std::string> lines_;
  std::map<std::pair<absl::Duration, int64_t>, Work> queue_;
  std::map<int64_t, absl::Duration> due_;
  std::map<std::string, int64_t> counts_;
  std::map<std::string, int> lives_;
  std::map<std::string, std::weak_ptr<Process>> processes_;
  std::map<std::string, Address> addresses_;
  std::set<std::string> paused_;
  std::map<std::string, std::vector<Work>> held_;  // of paused processes
  std::set<std::pair<std::string, std::string>> cuts_;
  std::vector<Watch> watch_;
};

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_WORLD_H_
