// Runs a worker's part of a step in the thread that plays the world: real plans and kernels, instruction by instruction
// as their inputs come.
#ifndef SLUICE_TESTS_SIMULATION_STEP_DRIVER_H_
#define SLUICE_TESTS_SIMULATION_STEP_DRIVER_H_

#include <memory>

#include "distributed/worker/worker.h"

namespace sluice::simulation {

std::unique_ptr<StepDriver> MakeEventDriver();

}  // namespace sluice::simulation

#endif  // SLUICE_TESTS_SIMULATION_STEP_DRIVER_H_
