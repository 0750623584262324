// Resources that operations wait in (queues, accumulators, barriers), without holding a thread.
//
// An operation that cannot be done at once is an Attempt: it is listed, and completed by whoever makes it possible, in
// the order of arrival. It ends early when its step is cancelled or its time is over; what it took so far goes back.
//
//   class Counter : public WaitingResource {
//     void Wait(KernelContext& c, Done done) { Begin(MakeRef<Attempt>(), c.cancellation(), -1, std::move(done)); }
//     void Post() { Change([this] { ++count_; return absl::OkStatus(); }); }
//     void List(const RefPtr<Attempt>& a) override { waiting_.push_back(a); }
//     ...
//     void Advance() override { while (count_ > 0 && !waiting_.empty()) { --count_; Complete(pop(waiting_), Ok()); } }
//   };
//
// Threads:  any public method of a subclass from any thread.
// Blocking: none. `done` runs on the thread that makes completion possible, without locks held.
// Errors:   CANCELLED and the like from the step's token; DEADLINE_EXCEEDED names what was waited for.
#ifndef SLUICE_KERNELS_QUEUE_WAITING_H_
#define SLUICE_KERNELS_QUEUE_WAITING_H_

#include <functional>
#include <list>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "core/base/cancellation.h"
#include "core/types/resource_handle.h"
#include "kernels/queue/timer.h"

namespace sluice {

class WaitingResource : public Resource {
 public:
  using Done = std::function<void(absl::Status)>;

  class Attempt : public RefCounted {
   public:
    // Hands over the results of a completed attempt, outside of locks.
    virtual absl::Status Deliver() { return absl::OkStatus(); }

   private:
    friend class WaitingResource;
    enum State { kNew, kListed, kOver };
    State state_ = kNew;        // guarded by the resource
    absl::Status ended_early_;  // guarded by the resource: cancelled before it was listed
    CancellationToken* token_ = nullptr;
    int64_t callback_ = 0;
    bool timed_ = false;
    Timer::Id timer_;
    Done done_;
  };

 protected:
  // Starts an attempt: it is listed unless the step is over. timeout_ms < 0: no limit.
  void Begin(RefPtr<Attempt> attempt, CancellationToken* token, int64_t timeout_ms, Done done);
  // Changes the state under the lock, then completes what became possible.
  absl::Status Change(absl::FunctionRef<absl::Status()> change);

  // With the lock held: puts an attempt at the end of its line; takes it out and returns what it took so far; completes
  // every attempt that can be, by Complete.
  virtual void List(const RefPtr<Attempt>& attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  virtual void Unlist(const RefPtr<Attempt>& attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  virtual void Advance() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) = 0;
  // The attempt, which is in no line any more, has ended.
  void Complete(RefPtr<Attempt> attempt, absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What attempts wait in, for messages: "FIFOQueue 'q'".
  virtual std::string Title() const = 0;

  mutable absl::Mutex mu_;

 private:
  using Ended = std::vector<std::pair<RefPtr<Attempt>, absl::Status>>;
  void EndEarly(const RefPtr<Attempt>& attempt, absl::Status why);
  static void Settle(Ended ended);

  Ended ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_WAITING_H_
