// A partial run of a session in this process: a step on a thread of its own, which waits for feeds and hands out
// fetches.
//
// Threads:  any method from any thread.
// Lifetime: the devices and resources of the plan must live until `gone` has been called.
#ifndef SLUICE_RUNTIME_SESSION_PARTIAL_RUN_H_
#define SLUICE_RUNTIME_SESSION_PARTIAL_RUN_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "core/base/cancellation.h"
#include "core/base/clock.h"
#include "core/base/thread_pool.h"
#include "runtime/rendezvous/local_rendezvous.h"
#include "runtime/session/partial_book.h"
#include "runtime/session/planner.h"

namespace sluice {

class LocalPartialRun : public std::enable_shared_from_this<LocalPartialRun> {
 public:
  LocalPartialRun(std::string handle, CallableSpec spec, std::shared_ptr<SessionPlan> plan);
  ~LocalPartialRun();

  // Begins the step, which ends with DEADLINE_EXCEEDED when nobody runs a part of it for `limit`. `gone` is called when
  // its thread has let go of everything.
  void Start(int64_t step_id, ThreadPool* pool, absl::Duration limit, std::function<void()> gone);
  // See SessionBase::PartialRun. `timeout` zero: none.
  absl::Status Run(absl::Span<const std::pair<std::string, Tensor>> feeds, absl::Span<const std::string> fetches,
                   std::vector<Tensor>* results, absl::Duration timeout, CancellationToken* cancellation);
  // Ends the step with `why`.
  void End(const absl::Status& why);
  // The step does not run any more.
  bool over() const;
  // Over, and nothing is left to take.
  bool finished() const;

 private:
  void ScheduleLook(absl::Duration after) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Look();
  absl::Status Ended() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::string handle_;
  const CallableSpec spec_;
  const std::shared_ptr<SessionPlan> plan_;
  CancellationToken cancellation_;
  LocalRendezvous rendezvous_;
  absl::Duration limit_;
  mutable absl::Mutex mu_;
  PartialBook book_ ABSL_GUARDED_BY(mu_);
  absl::Status ended_ ABSL_GUARDED_BY(mu_);   // why End was called
  absl::Status status_ ABSL_GUARDED_BY(mu_);  // of the step when it is over
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  int calls_ ABSL_GUARDED_BY(mu_) = 0;  // parts that are running
  absl::Duration touched_ ABSL_GUARDED_BY(mu_);
  Clock::TimerId timer_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_SESSION_PARTIAL_RUN_H_
