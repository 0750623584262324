// The rendezvous of one step in one process: whoever comes first, sender or receiver, waits in a table for the other.
//
// Threads: any method from any thread. Callbacks run outside the lock.
#ifndef SLUICE_RUNTIME_RENDEZVOUS_LOCAL_RENDEZVOUS_H_
#define SLUICE_RUNTIME_RENDEZVOUS_LOCAL_RENDEZVOUS_H_

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/synchronization/mutex.h"
#include "core/base/recycled_memory.h"
#include "core/kernel/rendezvous.h"

namespace sluice {

class LocalRendezvous final : public Rendezvous {
 public:
  ~LocalRendezvous() override;
  absl::Status Send(const Key& key, Value value) override;
  void RecvAsync(const Key& key, Callback done) override;
  void Abort(absl::Status why) override;
  // Forgets values that nobody received, and the reason of an abort: ready for the next step. REQUIRES: nobody waits.
  void Reset();
  // Something was sent that nobody has received.
  bool HoldsValues() const;
  // Keys that somebody waits for, for messages about steps that do not end.
  std::vector<std::string> Waiting() const;

 private:
  struct Item {
    bool sent = false;
    Value value;
    Callback waiter;
  };
  // Keys take recycled memory, and the table keeps its own from step to step: a warm step takes nothing from the heap.
  using OwnKey = std::basic_string<char, std::char_traits<char>, RecyclingAllocator<char>>;
  struct KeyHash {
    using is_transparent = void;
    size_t operator()(absl::string_view key) const { return absl::HashOf(key); }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(absl::string_view a, absl::string_view b) const { return a == b; }
  };
  using Items = absl::flat_hash_map<OwnKey, Item, KeyHash, KeyEqual>;

  mutable absl::Mutex mu_;
  Items items_ ABSL_GUARDED_BY(mu_);
  absl::Status aborted_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_RENDEZVOUS_LOCAL_RENDEZVOUS_H_
