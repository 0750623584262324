// The tasks of a simulated cluster: the production's masters and workers in simulated processes, killed and started
// again by a script that a seed writes.
#ifndef SLUICE_TESTS_SIMULATION_CLUSTER_H_
#define SLUICE_TESTS_SIMULATION_CLUSTER_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "distributed/cluster/cluster.h"
#include "distributed/master/master.h"
#include "distributed/worker/worker.h"
#include "tests/simulation/world.h"

namespace sluice::simulation {

class SimCluster {
 public:
  SimCluster(World* world, int ps, int workers);
  ~SimCluster();

  World& world() { return *world_; }
  std::vector<std::string> tasks() const { return cluster_.tasks(); }
  std::shared_ptr<Process> process(const std::string& task) const;
  // The way of `from`'s process to the master of `task`.
  std::shared_ptr<Channel> MasterOf(const std::shared_ptr<Process>& from, const std::string& task);

  void Start(const std::string& task);
  // Kills the task's process.
  void Kill(const std::string& task);
  bool IsUp(const std::string& task) const { return tasks_.count(task) > 0; }
  // What the task's worker still holds, in words; empty when nothing.
  std::string Leftovers(const std::string& task);

 private:
  struct Task {
    std::shared_ptr<Process> process;
    std::unique_ptr<StepDriver> driver;
    std::unique_ptr<Worker> worker;
    std::unique_ptr<Master> master;
    std::unique_ptr<Listener> listener;
  };

  World* const world_;
  Cluster cluster_;
  std::map<std::string, std::unique_ptr<Task>> tasks_;
};

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_CLUSTER_H_
