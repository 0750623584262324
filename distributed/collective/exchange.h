// One run of a collective for one member, by messages: works over every transport, and in the simulation.
//
// Members first tell each other what they are about to do (hello), so that a disagreement ends the run with both sides
// named. Small tensors travel with the hello, to everybody, and each member merges them in the order of members. Large
// ones go round a ring: the tensor is cut into a part for each member, a part into chunks; chunk c of part s starts at
// member s + 1, each member on the way merges its own numbers, member s has the result and passes it round once more:
//
//     part 0:  1 --> 2 --> 0 ==> 1 ==> 2        --> merges,  ==> hands on
//     part 1:  2 --> 0 --> 1 ==> 2 ==> 0
//     part 2:  0 --> 1 --> 2 ==> 0 ==> 1
//
// So each member sends 2 (n-1)/n of the tensor, chunks follow each other closely, and the order of merging depends on
// the part alone. Several chunks are on their way at once, and no more than that: memory is bounded.
//
// A run is over for a member when others have taken all that it sent: a task may end after its last one.
//
// Threads:  any method from any thread. `done` runs once, when nothing touches the request's buffers any more.
// Blocking: none.
#ifndef SLUICE_DISTRIBUTED_COLLECTIVE_EXCHANGE_H_
#define SLUICE_DISTRIBUTED_COLLECTIVE_EXCHANGE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "core/base/executor.h"
#include "core/base/ref_counted.h"
#include "core/kernel/collectives.h"
#include "core/kernel/rendezvous.h"

namespace sluice {

// A group as one of its members sees it.
struct GroupView {
  int64_t generation = 0;
  int rank = 0;
  std::vector<std::string> devices;  // of all members, by rank
  Rendezvous* rendezvous = nullptr;  // keys begin with the device that sends
  Executor* executor = nullptr;
  int size() const { return static_cast<int>(devices.size()); }
};

class Exchange final : public RefCounted {
 public:
  // `run` counts the runs of this instance. `keep` lives as long as the exchange.
  Exchange(GroupView group, std::shared_ptr<void> keep, CollectiveRequest request, int64_t run, Collectives::Done done);
  void Start();
  void Fail(absl::Status why);
  // "rank 1 (/job:worker/replica:0/task:1/device:CPU:0)": whom this member waits for now.
  std::string WaitsFor() const;

  static constexpr size_t kSmallBytes = 16 << 10;
  static constexpr size_t kChunkBytes = 512 << 10;

 private:
  struct Lane {
    int part = 0;
    int64_t begin = 0;  // in the input, in elements
    int64_t count = 0;
    int64_t out = 0;  // in the output
  };
  enum Phase : char { kHello = 'h', kMerging = 'm', kHanding = 'g' };

  // Work on the buffers goes on between the two. False: the run is over.
  bool Enter();
  void Leave(const absl::Status& status);
  void ReportIfOver() ABSL_UNLOCK_FUNCTION(mu_);
  bool Complete() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return hellos_left_ == 0 && left_ == 0 && untaken_ == 0; }

  std::string Key(Phase phase, int64_t lane, int from, int to) const;
  void Send(Phase phase, int64_t lane, int to, Tensor packet);
  void Receive(Phase phase, int64_t lane, int from, absl::Status (Exchange::*handle)(int64_t lane, int from, Tensor));
  absl::StatusOr<Tensor> MakePacket(const void* payload, size_t bytes) const;
  absl::Status CheckPacket(const Tensor& packet, int from, size_t bytes) const;
  const char* Payload(const Tensor& packet) const { return packet.data<char>() + header_.size(); }

  absl::Status OnHello(int64_t lane, int from, Tensor packet);
  absl::Status OnMerging(int64_t lane, int from, Tensor packet);
  absl::Status OnHanding(int64_t lane, int from, Tensor packet);
  absl::Status FinishSmall(const std::vector<Tensor>& hellos);
  void Taken();  // a packet that was sent
  Lane LaneAt(int64_t i) const;
  void Advance();  // starts lanes as far as the window goes
  absl::Status StartLane(int64_t i);
  void LaneDone();

  const char* In(int64_t element) const { return static_cast<const char*>(request_.input) + element * element_; }
  char* Out(int64_t element) const { return static_cast<char*>(request_.output) + element * element_; }
  int Next() const { return (group_.rank + 1) % group_.size(); }
  int Previous() const { return (group_.rank + group_.size() - 1) % group_.size(); }

  const GroupView group_;
  const std::shared_ptr<void> keep_;
  const CollectiveRequest request_;
  const int64_t run_;
  const int64_t element_;  // bytes
  const bool small_;
  const bool greet_all_;
  std::string signature_;
  std::string header_;
  int64_t chunk_ = 0;  // elements
  int64_t lanes_ = 0;
  int source_ = 0;  // of a broadcast

  mutable absl::Mutex mu_;
  Collectives::Done done_ ABSL_GUARDED_BY(mu_);
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  int active_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<Tensor> hellos_ ABSL_GUARDED_BY(mu_);
  std::vector<bool> greeted_ ABSL_GUARDED_BY(mu_);
  int untaken_ ABSL_GUARDED_BY(mu_) = 0;
  int hellos_left_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t next_lane_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t open_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t left_ ABSL_GUARDED_BY(mu_) = 0;  // lanes, or the one small result
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_COLLECTIVE_EXCHANGE_H_
