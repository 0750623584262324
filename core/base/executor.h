// Where work goes that its caller does not want to do on its own thread: threads of a pool, or, in the simulation, the
// queue of one thread that does everything.
#ifndef SLUICE_CORE_BASE_EXECUTOR_H_
#define SLUICE_CORE_BASE_EXECUTOR_H_

#include <functional>

namespace sluice {

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs `work` later, never on the caller's stack. It may take its time.
  virtual void Schedule(std::function<void()> work) = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_BASE_EXECUTOR_H_
