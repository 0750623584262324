#include "runtime/rendezvous/local_rendezvous.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"

namespace sluice {

LocalRendezvous::~LocalRendezvous() { Abort(absl::CancelledError("the step has ended")); }

absl::Status LocalRendezvous::Send(const Key& key, Value value) {
  Callback waiter;
  {
    absl::MutexLock lock(&mu_);
    if (!aborted_.ok()) return aborted_;
    auto [it, fresh] = items_.try_emplace(absl::string_view(key));
    Item& item = it->second;
    if (fresh) {
      item.sent = true;
      item.value = std::move(value);
      return absl::OkStatus();
    }
    if (item.sent) return Internal("sent twice in one step without a receive: ", key);
    waiter = std::move(item.waiter);
    items_.erase(it);
  }
  waiter(std::move(value));
  return absl::OkStatus();
}

void LocalRendezvous::RecvAsync(const Key& key, Callback done) {
  Value value;
  absl::Status failed;
  {
    absl::MutexLock lock(&mu_);
    if (aborted_.ok()) {
      auto [it, fresh] = items_.try_emplace(absl::string_view(key));
      Item& item = it->second;
      if (fresh) {
        item.waiter = std::move(done);
        return;
      }
      if (item.sent) {
        value = std::move(item.value);
        items_.erase(it);
      } else {
        failed = Internal("two receivers in one step wait for ", key);
      }
    } else {
      failed = aborted_;
    }
  }
  if (!failed.ok()) {
    done(failed);
  } else {
    done(std::move(value));
  }
}

void LocalRendezvous::Abort(absl::Status why) {
  Items items;
  {
    absl::MutexLock lock(&mu_);
    if (!aborted_.ok()) return;
    aborted_ = why;
    if (items_.empty()) return;
    items.swap(items_);
  }
  for (auto& [key, item] : items) {
    if (item.waiter) item.waiter(why);
  }
}

void LocalRendezvous::Reset() {
  Items items;  // its tensors go when the lock has been given up
  absl::MutexLock lock(&mu_);
  if (!items_.empty()) items.swap(items_);
  aborted_ = absl::OkStatus();
}

bool LocalRendezvous::HoldsValues() const {
  absl::MutexLock lock(&mu_);
  for (const auto& [key, item] : items_) {
    if (item.sent) return true;
  }
  return false;
}

std::vector<std::string> LocalRendezvous::Waiting() const {
  std::vector<std::string> keys;
  absl::MutexLock lock(&mu_);
  for (const auto& [key, item] : items_) {
    if (item.waiter) keys.emplace_back(key);
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace sluice
