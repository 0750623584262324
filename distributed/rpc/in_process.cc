#include "distributed/rpc/in_process.h"

#include <atomic>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/synchronization/mutex.h"
#include "core/base/recycled_memory.h"
#include "core/base/status.h"

namespace sluice {

// Longer limits are left to whoever answers: both live in one process.
constexpr absl::Duration kTimedBelow = absl::Hours(1);

struct InProcessServer::Shared {
  std::string name;
  Handler handler;
  Clock* clock = nullptr;
  absl::Mutex mu;
  bool closed ABSL_GUARDED_BY(mu) = false;
  int running ABSL_GUARDED_BY(mu) = 0;
};

namespace {

absl::Status Gone(const std::string& name) {
  absl::Status status = absl::UnavailableError(absl::StrCat("the server ", name, " of this process was stopped"));
  status.SetPayload(kTransportPayload, absl::Cord("in process"));
  return status;
}

}  // namespace

InProcessServer::InProcessServer(std::string name, Handler handler, Clock* clock)
    : shared_(std::make_shared<Shared>()) {
  shared_->name = std::move(name);
  shared_->handler = std::move(handler);
  shared_->clock = clock;
}

InProcessServer::~InProcessServer() {
  absl::MutexLock lock(&shared_->mu);
  shared_->closed = true;
  auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(shared_->mu) { return shared_->running == 0; };
  shared_->mu.Await(absl::Condition(&idle));
}

std::shared_ptr<Channel> InProcessServer::Connect() {
  class InProcessChannel final : public Channel {
   public:
    explicit InProcessChannel(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

    void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
      bool closed = false;
      {
        absl::MutexLock lock(&shared_->mu);
        closed = shared_->closed;
        if (!closed) ++shared_->running;
      }
      if (closed) return done(Gone(shared_->name));
      IncomingCall call;
      call.method = method;
      call.timeout = timeout;
      call.way = Way::kInProcess;
      if (timeout >= kTimedBelow) {
        shared_->handler(call, std::move(request), std::move(done));
      } else {
        auto race = MakeRecycled<Race>();
        race->done = std::move(done);
        race->clock = shared_->clock;
        shared_->handler(call, std::move(request),
                         [race](absl::StatusOr<Message> reply) { race->Answer(std::move(reply)); });
        if (!race->over) StartTimer(std::move(race), method, timeout);
      }
      absl::MutexLock lock(&shared_->mu);
      --shared_->running;
    }

    std::string Describe() const override { return absl::StrCat("in process ", shared_->name); }
    Way way() const override { return Way::kInProcess; }

   private:
    // Whichever comes first: the reply or the timer, which a reply within the call never needs.
    struct Race {
      void Answer(absl::StatusOr<Message> reply) {
        if (over.exchange(true)) return;
        StopTimer();
        done(std::move(reply));
      }
      // A timer that lost finds `over`; it is only taken out of the clock's list here.
      void StopTimer() {
        if (const Clock::TimerId id = timer.exchange(0)) clock->CancelTimer(id);
      }
      std::atomic<bool> over{false};
      std::atomic<Clock::TimerId> timer{0};
      Clock* clock = nullptr;
      Reply done;
    };

    static void StartTimer(std::shared_ptr<Race> race, const std::string& method, absl::Duration timeout) {
      const Clock::TimerId timer = race->clock->RunAfter(timeout, [race, method, timeout] {
        if (race->over.exchange(true)) return;
        absl::Status late =
            absl::DeadlineExceededError(absl::StrCat(method, " had no answer within ", absl::FormatDuration(timeout)));
        late.SetPayload(kTransportPayload, absl::Cord("in process"));
        race->done(late);
      });
      race->timer = timer;
      if (race->over) race->StopTimer();
    }

    const std::shared_ptr<Shared> shared_;
  };
  return std::make_shared<InProcessChannel>(shared_);
}

}  // namespace sluice
