#include "kernels/queue/clock.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/status.h"

namespace sluice {

struct WorkerClock::Attempt : public WaitingResource::Attempt {
  int64_t at_least = 0;
  int64_t least = 0;
  WorkerClock::Deliver deliver;
  absl::Status Deliver() override { return deliver(least); }
};

WorkerClock::WorkerClock(Options options)
    : options_(std::move(options)), clocks_(static_cast<size_t>(options_.num_workers), 0) {}
WorkerClock::~WorkerClock() = default;

absl::StatusOr<RefPtr<WorkerClock>> WorkerClock::Make(Options o) {
  constexpr int64_t kMost = 1 << 20;
  if (o.num_workers < 1 || o.num_workers > kMost) {
    return InvalidArgument("WorkerClock '", o.name, "': num_workers must be 1 to ", kMost, ", found ", o.num_workers);
  }
  return RefPtr<WorkerClock>::Adopt(new WorkerClock(std::move(o)));
}

absl::Status WorkerClock::CheckSame(const Options& w) const {
  if (options_.num_workers == w.num_workers) return absl::OkStatus();
  return InvalidArgument("shared clock '", options_.name, "' is of ", options_.num_workers, " workers, but one of ",
                         w.num_workers, " is asked for");
}

absl::Status WorkerClock::Set(int64_t worker, int64_t clock) {
  if (worker < 0 || worker >= options_.num_workers) {
    return InvalidArgument("worker ", worker, " is not one of the ", options_.num_workers, " of WorkerClock '",
                           options_.name, "'");
  }
  return Change([&] {
    clocks_[worker] = clock;
    return absl::OkStatus();
  });
}

void WorkerClock::Wait(int64_t at_least, CancellationToken* token, int64_t timeout_ms, Deliver deliver, Done done) {
  RefPtr<Attempt> attempt = MakeRef<Attempt>();
  attempt->at_least = at_least;
  attempt->deliver = std::move(deliver);
  Begin(std::move(attempt), token, timeout_ms, std::move(done));
}

std::vector<int64_t> WorkerClock::Read() const {
  absl::MutexLock lock(&mu_);
  return clocks_;
}

std::string WorkerClock::Title() const {
  std::vector<int64_t> clocks = Read();
  const int64_t least = *std::min_element(clocks.begin(), clocks.end());
  std::vector<std::string> behind;
  for (size_t i = 0; i < clocks.size() && behind.size() < 8; ++i) {
    if (clocks[i] == least) behind.push_back(absl::StrCat(i));
  }
  return absl::StrCat("WorkerClock '", options_.name, "': the least clock is ", least, ", of worker ",
                      absl::StrJoin(behind, ", "));
}

std::string WorkerClock::DebugString() const {
  return absl::StrCat("WorkerClock of ", options_.num_workers, " workers");
}

int64_t WorkerClock::Least() const { return *std::min_element(clocks_.begin(), clocks_.end()); }

void WorkerClock::List(const RefPtr<WaitingResource::Attempt>& attempt) {
  waits_.push_back(RefPtr<Attempt>::Share(static_cast<Attempt*>(attempt.get())));
}

void WorkerClock::Unlist(const RefPtr<WaitingResource::Attempt>& attempt) {
  waits_.remove_if([&](const RefPtr<Attempt>& a) { return a.get() == attempt.get(); });
}

void WorkerClock::Advance() {
  const int64_t least = Least();
  for (auto it = waits_.begin(); it != waits_.end();) {
    if ((*it)->at_least > least) {
      ++it;
      continue;
    }
    (*it)->least = least;
    Complete(std::move(*it), absl::OkStatus());
    it = waits_.erase(it);
  }
}

}  // namespace sluice
