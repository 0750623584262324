// Collectives of the devices of one session: its members run in the same step, and whoever comes last does the work.
#ifndef SLUICE_RUNTIME_COLLECTIVE_LOCAL_COLLECTIVES_H_
#define SLUICE_RUNTIME_COLLECTIVE_LOCAL_COLLECTIVES_H_

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/clock.h"
#include "core/base/thread_pool.h"
#include "core/kernel/collectives.h"

namespace sluice {

class LocalCollectives final : public Collectives {
 public:
  // `devices` is how many there are: larger groups are refused at once.
  LocalCollectives(int devices, ThreadPool* pool, Clock* clock, absl::Duration timeout);
  void Start(CollectiveRequest request, Done done) override;
  std::string DebugString() const override { return "collectives of one session"; }

 private:
  using Key = std::tuple<int64_t, int64_t, int64_t>;  // step, group, instance
  struct Member {
    CollectiveRequest request;
    Done done;
    int64_t callback = 0;  // at its cancellation token
  };
  struct Meeting {
    std::vector<Member> members;
    Clock::TimerId timer = 0;
  };
  // Ends the meeting if it still waits.
  void Fail(const Key& key, int64_t meeting, absl::Status why);
  void Finish(Meeting& meeting, const absl::Status& status);
  absl::Status Run(std::vector<Member>& members);

  const int devices_;
  ThreadPool* const pool_;
  Clock* const clock_;
  const absl::Duration timeout_;
  absl::Mutex mu_;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<Key, std::pair<int64_t, std::unique_ptr<Meeting>>> meetings_ ABSL_GUARDED_BY(mu_);
};

// How long a member waits for the others: ten minutes, or as many seconds as SLUICE_COLLECTIVE_TIMEOUT says.
absl::Duration CollectiveTimeout();

// What all members ask for, given all inputs. The requests are in the order of members; outputs may be inputs.
absl::Status RunCollective(const std::vector<CollectiveRequest*>& members, ThreadPool* pool);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_COLLECTIVE_LOCAL_COLLECTIVES_H_
