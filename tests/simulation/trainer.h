// A training program on a simulated cluster: a chief that creates sessions, restores, steps, saves, and does all that
// again when a session is lost.
//
// The model is exact: integers modulo a prime, `ps` variables updated from what every worker makes of them and of the
// step's number. So the state after each step is known beforehand, and one wrong, lost, repeated or stale update shows
// in the next checkpoint.
#ifndef SLUICE_TESTS_SIMULATION_TRAINER_H_
#define SLUICE_TESTS_SIMULATION_TRAINER_H_

#include <memory>
#include <string>
#include <vector>

#include "core/graph/graph.h"
#include "distributed/rpc/transport.h"
#include "tests/simulation/cluster.h"

namespace sluice::simulation {

// The folder of checkpoints, which outlives processes. A commit is refused when a newer epoch was taken; it may lose
// the newest checkpoint, and then the one before is restored.
struct Disk {
  static constexpr char kFolder[] = "/checkpoints";
  struct Checkpoint {
    int64_t step = 0;
    std::vector<int64_t> values;
  };
  int64_t epoch = 0;
  std::vector<Checkpoint> committed;
  int refused = 0;
};

struct Model {
  int ps = 0;
  int workers = 0;
  // The state after `steps` steps: what every checkpoint must hold.
  std::vector<int64_t> After(int64_t steps) const;
};

class Trainer {
 public:
  struct Settings {
    int64_t steps = 60;
    int64_t save_every = 10;
    absl::Duration step_timeout = absl::Seconds(20);
    int max_sessions = 1000;
  };
  // Runs in the process of `task`, whose master it asks.
  Trainer(SimCluster* cluster, std::string task, Model model, Settings settings, Disk* disk);
  ~Trainer();

  void Start();
  bool done() const;
  // Set when another chief has taken over.
  bool superseded() const;
  // The first broken promise, empty when there is none.
  const std::string& broken() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_TRAINER_H_
