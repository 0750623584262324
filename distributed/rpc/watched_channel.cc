#include "distributed/rpc/watched_channel.h"

#include <functional>
#include <map>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/synchronization/mutex.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"

namespace sluice {
namespace {

const std::string& StatusMethod() {
  static const std::string* method = new std::string("/sluice.proto.WorkerService/GetStatus");
  return *method;
}

using Replies = std::map<int64_t, Reply, std::less<int64_t>, RecyclingAllocator<std::pair<const int64_t, Reply>>>;

class WatchedChannel final : public Channel, public std::enable_shared_from_this<WatchedChannel> {
 public:
  WatchedChannel(std::shared_ptr<Channel> channel, std::shared_ptr<Channel> questions, Clock* clock,
                 WatchOptions options)
      : channel_(std::move(channel)), questions_(std::move(questions)), clock_(clock), options_(std::move(options)) {}

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    int64_t id = 0;
    {
      absl::MutexLock lock(&mu_);
      id = next_++;
      calls_.emplace(id, std::move(done));
      if (!watching_ && timeout > options_.period) {
        watching_ = true;
        ScheduleQuestion();
      }
    }
    channel_->Call(method, std::move(request), timeout, [self = shared_from_this(), id](absl::StatusOr<Message> reply) {
      if (Reply waiting = self->Take(id)) waiting(std::move(reply));
    });
  }

  std::string Describe() const override { return channel_->Describe(); }
  Way way() const override { return channel_->way(); }

 private:
  Reply Take(int64_t id) {
    absl::MutexLock lock(&mu_);
    auto it = calls_.find(id);
    if (it == calls_.end()) return nullptr;
    Reply done = std::move(it->second);
    calls_.erase(it);
    return done;
  }

  void ScheduleQuestion() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    clock_->RunAfter(options_.period, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->Ask();
    });
  }

  void Ask() {
    int64_t before = 0;
    {
      absl::MutexLock lock(&mu_);
      if (calls_.empty()) {
        watching_ = false;
        return;
      }
      before = next_;
    }
    questions_->Call(StatusMethod(), Message(), options_.timeout,
                     [weak = weak_from_this(), before](absl::StatusOr<Message> reply) {
                       if (auto self = weak.lock()) self->Answered(before, reply.status());
                     });
  }

  void Answered(int64_t before, const absl::Status& status) {
    const bool silent = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
    Replies lost;
    {
      absl::MutexLock lock(&mu_);
      if (silent) {
        auto end = calls_.lower_bound(before);
        while (calls_.begin() != end) lost.insert(calls_.extract(calls_.begin()));
      }
      ScheduleQuestion();
    }
    if (lost.empty()) return;
    absl::Status gone = absl::UnavailableError(
        absl::StrCat(options_.name, " does not answer over ", channel_->Describe(), " (", status.message(), ")"));
    gone.SetPayload(kTransportPayload, absl::Cord("silent"));
    for (auto& [id, done] : lost) done(gone);
  }

  const std::shared_ptr<Channel> channel_;
  const std::shared_ptr<Channel> questions_;
  Clock* const clock_;
  const WatchOptions options_;
  absl::Mutex mu_;
  int64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  bool watching_ ABSL_GUARDED_BY(mu_) = false;
  Replies calls_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

std::shared_ptr<Channel> MakeWatchedChannel(std::shared_ptr<Channel> channel, std::shared_ptr<Channel> questions,
                                            Clock* clock, WatchOptions options) {
  return std::make_shared<WatchedChannel>(std::move(channel), std::move(questions), clock, std::move(options));
}

absl::StatusOr<std::shared_ptr<Channel>> ConnectWatched(Transport& transport, const std::string& address, Clock* clock,
                                                        WatchOptions options) {
  ASSIGN_OR_RETURN(std::shared_ptr<Channel> channel, transport.Connect(address));
  ASSIGN_OR_RETURN(std::shared_ptr<Channel> questions, transport.Connect(address));
  return MakeWatchedChannel(std::move(channel), std::move(questions), clock, std::move(options));
}

}  // namespace sluice
