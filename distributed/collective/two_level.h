// One all-reduce of a group that spans hosts, for one member: through memory within a host, by messages between hosts.
//
//     host a:  a0 + a1 + ..  -->  first of a  --ring-->  first of b ..  -->  / members  -->  all of a
//
// So what crosses the network does not grow with the members of a host. Order: members of a host in their order, then
// hosts round the ring.
//
// Threads, done: as Exchange.
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_TWO_LEVEL_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_TWO_LEVEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "distributed/collective/exchange.h"
#include "distributed/collective/shared_engine.h"

namespace sluice {

// The members of a group by host, as one of them sees it.
struct HostView {
  int rank = 0;     // among the members of this host
  int size = 1;     // of them
  GroupView hosts;  // the first members of all hosts, in the order of members; rank: of this host's
  std::shared_ptr<SharedEngine> engine;  // of this host; null when size is 1
};

class TwoLevel final : public RefCounted {
 public:
  // REQUIRES: a reduction.
  TwoLevel(HostView view, std::shared_ptr<void> keep, CollectiveRequest request, int64_t run, Collectives::Done done);
  void Start();
  void Fail(const absl::Status& why);
  std::string WaitsFor() const;

 private:
  void BetweenHosts();
  void BackToHost();
  void Ended(const absl::Status& status);
  CollectiveRequest OnHost() const;

  const HostView view_;
  const std::shared_ptr<void> keep_;
  const CollectiveRequest request_;
  const int64_t run_;
  mutable absl::Mutex mu_;
  Collectives::Done done_ ABSL_GUARDED_BY(mu_);
  RefPtr<Exchange> exchange_ ABSL_GUARDED_BY(mu_);
  absl::Status failed_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_TWO_LEVEL_H_
