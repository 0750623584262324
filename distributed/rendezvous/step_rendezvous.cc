#include "distributed/rendezvous/step_rendezvous.h"

#include <algorithm>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "distributed/cluster/cluster.h"

namespace sluice {

StepRendezvous::StepRendezvous(std::string task, int64_t step_id, Fetch fetch)
    : here_(std::move(task) + "/"), step_id_(step_id), fetch_(std::move(fetch)) {}

absl::Status StepRendezvous::Send(const Key& key, Value value) { return table_.Send(key, std::move(value)); }

void StepRendezvous::RecvForPeer(const Key& key, Callback done) { table_.RecvAsync(key, std::move(done)); }

void StepRendezvous::RecvAsync(const Key& key, Callback done) {
  if (absl::StartsWith(key, here_)) return table_.RecvAsync(key, std::move(done));
  int64_t id = 0;
  absl::Status failed;
  {
    absl::MutexLock lock(&mu_);
    failed = aborted_;
    if (failed.ok()) {
      id = next_++;
      Fetching& fetching = fetching_[id];
      fetching.key.assign(key.data(), key.size());
      fetching.done = std::move(done);
    }
  }
  if (!failed.ok()) return done(std::move(failed));
  using Fetched = SharedFunction<void(absl::StatusOr<Value>)>;
  fetch_(TaskOfDevice(key), step_id_, key,
         Fetched::ExactlyOnce([self = RefPtr<StepRendezvous>::Share(this), id](absl::StatusOr<Value> value) {
           Callback waiter;
           {
             absl::MutexLock lock(&self->mu_);
             auto it = self->fetching_.find(id);
             if (it == self->fetching_.end()) return;  // aborted meanwhile
             waiter = std::move(it->second.done);
             self->fetching_.erase(it);
           }
           if (!value.ok()) {
             absl::Status derived = value.status();
             derived.SetPayload(kDerivedPayload, absl::Cord("1"));
             value = std::move(derived);
           }
           waiter(std::move(value));
         }));
}

void StepRendezvous::Destroy() const {
  auto* self = const_cast<StepRendezvous*>(this);
  std::shared_ptr<StepRendezvousPool> pool = std::move(self->pool_);
  if (!pool) {
    delete this;
  } else {
    pool->GiveBack(self);
  }
}

StepRendezvousPool::StepRendezvousPool(std::string task, StepRendezvous::Fetch fetch)
    : task_(std::move(task)),
      fetch_(std::move(fetch)),
      over_(absl::CancelledError(absl::StrCat("the step has ended on ", task_))) {
  spare_.reserve(kMost);
}

StepRendezvousPool::~StepRendezvousPool() {
  for (StepRendezvous* r : spare_) delete r;
}

RefPtr<StepRendezvous> StepRendezvousPool::Take(int64_t step_id) {
  StepRendezvous* found = nullptr;
  {
    absl::MutexLock lock(&mu_);
    if (!spare_.empty()) {
      found = spare_.back();
      spare_.pop_back();
    }
  }
  if (found == nullptr) found = new StepRendezvous(task_, step_id, fetch_);
  if (found->ref_count() == 0) found->Ref();
  found->step_id_ = step_id;
  found->pool_ = shared_from_this();
  return RefPtr<StepRendezvous>::Adopt(found);
}

void StepRendezvousPool::GiveBack(StepRendezvous* r) {
  r->Abort(over_);
  r->table_.Reset();  // what nobody received goes now
  {
    absl::MutexLock lock(&r->mu_);
    r->aborted_ = absl::OkStatus();
  }
  {
    absl::MutexLock lock(&mu_);
    if (spare_.size() < kMost) {
      spare_.push_back(r);
      return;
    }
  }
  delete r;
}

void StepRendezvous::Abort(absl::Status why) {
  absl::flat_hash_map<int64_t, Fetching> fetching;
  {
    absl::MutexLock lock(&mu_);
    if (!aborted_.ok()) return;
    aborted_ = why;
    if (!fetching_.empty()) fetching.swap(fetching_);
  }
  table_.Abort(why);
  for (auto& [id, f] : fetching) f.done(why);
}

std::vector<std::string> StepRendezvous::Waiting() const {
  std::vector<std::string> keys = table_.Waiting();
  absl::MutexLock lock(&mu_);
  for (const auto& [id, f] : fetching_) keys.emplace_back(f.key);
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace sluice
