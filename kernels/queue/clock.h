// The clocks of several workers: how many steps each has finished, and a wait for the slowest of them. This is what
// bounded staleness is made of: a worker at clock c may read once everybody has reached c - s.
//
//   clock->Set(worker, 5);                         // worker has finished 5 steps; may also go back, after a restore
//   clock->Wait(5 - s, token, -1, deliver, done);  // until the least clock is 5 - s
//
// Threads, blocking: see waiting.h.
#ifndef SLUICE_KERNELS_QUEUE_CLOCK_H_
#define SLUICE_KERNELS_QUEUE_CLOCK_H_

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/queue/waiting.h"

namespace sluice {

class WorkerClock : public WaitingResource {
 public:
  struct Options {
    std::string name;
    int64_t num_workers = 1;
  };
  using Deliver = std::function<absl::Status(int64_t least)>;

  static absl::StatusOr<RefPtr<WorkerClock>> Make(Options options);
  absl::Status CheckSame(const Options& wanted) const;
  absl::Status Set(int64_t worker, int64_t clock);
  void Wait(int64_t at_least, CancellationToken* token, int64_t timeout_ms, Deliver deliver, Done done);
  std::vector<int64_t> Read() const;
  // Names the workers that are behind, since a wait is for them.
  std::string Title() const override;
  std::string DebugString() const override;

 protected:
  ~WorkerClock() override;

 private:
  struct Attempt;
  explicit WorkerClock(Options options);
  int64_t Least() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void List(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unlist(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Advance() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  std::vector<int64_t> clocks_ ABSL_GUARDED_BY(mu_);
  std::list<RefPtr<Attempt>> waits_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_CLOCK_H_
