#include "distributed/transport/inproc_transport.h"

#include <atomic>
#include <functional>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "core/base/recycled_memory.h"
#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "core/base/thread_pool.h"
#include "distributed/rpc/pending_calls.h"

namespace sluice {
namespace {

// One listener. Calls hold it while their handler runs.
class Target : public std::enable_shared_from_this<Target> {
 public:
  explicit Target(Handler handler) : handler_(std::move(handler)) {}

  // The call `id` of `caller`. False when the listener has gone.
  bool Serve(const std::shared_ptr<PendingCalls>& caller, uint64_t id, absl::string_view method, absl::Duration timeout,
             Message request) {
    uint64_t here;
    {
      absl::MutexLock lock(&mu_);
      if (closed_) return false;
      ++running_;
      here = next_++;
      open_.emplace(here, std::make_pair(caller, id));
    }
    struct ReplyOnce {
      ~ReplyOnce() {
        if (!done) Run(Internal("the task dropped the call without an answer"));
      }
      void Run(absl::StatusOr<Message> reply) {
        if (done.exchange(true)) return;
        target->Forget(here);
        caller->End(id, std::move(reply));
      }
      std::shared_ptr<Target> target;
      std::shared_ptr<PendingCalls> caller;
      uint64_t here, id;
      std::atomic<bool> done{false};
    };
    auto reply = MakeRecycled<ReplyOnce>();
    reply->target = shared_from_this();
    reply->caller = caller;
    reply->here = here;
    reply->id = id;
    IncomingCall call;
    call.method = method;
    call.timeout = timeout;
    call.way = Way::kInProcess;
    handler_(call, std::move(request),
             [reply = std::move(reply)](absl::StatusOr<Message> answer) { reply->Run(std::move(answer)); });
    absl::MutexLock lock(&mu_);
    if (--running_ == 0) quiet_.SignalAll();
    return true;
  }

  void Close() {
    OpenCalls open;
    {
      absl::MutexLock lock(&mu_);
      closed_ = true;
      while (running_ > 0) quiet_.Wait(&mu_);
      open.swap(open_);
    }
    for (auto& [here, call] : open)
      call.first->FailLater(call.second, absl::StatusCode::kUnavailable, "the task shut down");
  }

  void Forget(uint64_t here) {
    absl::MutexLock lock(&mu_);
    open_.erase(here);
  }

 private:
  using Caller = std::pair<std::shared_ptr<PendingCalls>, uint64_t>;
  using OpenCalls = std::unordered_map<uint64_t, Caller, std::hash<uint64_t>, std::equal_to<uint64_t>,
                                       RecyclingAllocator<std::pair<const uint64_t, Caller>>>;
  const Handler handler_;
  absl::Mutex mu_;
  absl::CondVar quiet_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  int running_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  OpenCalls open_ ABSL_GUARDED_BY(mu_);
};

struct Process {
  absl::Mutex mu;
  std::map<std::string, std::shared_ptr<Target>, std::less<>> targets ABSL_GUARDED_BY(mu);
  uint64_t next_name ABSL_GUARDED_BY(mu) = 1;
  // A handler never runs within Call, whose caller may hold locks.
  ThreadPool pool{3};
};

Process* ThisProcess() {
  static auto* process = new Process;
  return process;
}

std::shared_ptr<Target> Find(absl::string_view address) {
  Process* p = ThisProcess();
  absl::MutexLock lock(&p->mu);
  auto it = p->targets.find(address);
  return it == p->targets.end() ? nullptr : it->second;
}

class InprocListener : public Listener {
 public:
  InprocListener(std::string address, std::shared_ptr<Target> target)
      : address_(std::move(address)), target_(std::move(target)) {}
  ~InprocListener() override {
    {
      absl::MutexLock lock(&ThisProcess()->mu);
      ThisProcess()->targets.erase(address_);
    }
    target_->Close();
  }
  const std::string& address() const override { return address_; }

 private:
  const std::string address_;
  const std::shared_ptr<Target> target_;
};

class InprocChannel : public Channel {
 public:
  explicit InprocChannel(std::string address)
      : address_(std::move(address)), calls_(std::make_shared<PendingCalls>(absl::StrCat("the task at ", address_))) {}
  ~InprocChannel() override { calls_->FailAllLater(absl::StatusCode::kCancelled, "the caller dropped the channel"); }

  void Call(const std::string& method, Message request, absl::Duration timeout, Reply done) override {
    const uint64_t id = calls_->Add(method, timeout, std::move(done));
    ThisProcess()->pool.Schedule(
        SharedFunction<void()>::ExactlyOnce([calls = calls_, id, address = Bytes(address_), method = Bytes(method),
                                             timeout, request = std::move(request)]() mutable {
          auto target = Find(address);
          if (!target || !target->Serve(calls, id, method, timeout, std::move(request))) {
            calls->Fail(id, absl::StatusCode::kUnavailable, "nobody listens there");
          }
        }));
  }
  std::string Describe() const override { return address_; }
  Way way() const override { return Way::kInProcess; }

 private:
  const std::string address_;
  const std::shared_ptr<PendingCalls> calls_;
};

class InprocTransport : public Transport {
 public:
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& wanted, Handler handler) override {
    if (!absl::StartsWith(wanted, "inproc:"))
      return InvalidArgument("address '", wanted, "' is not of the form inproc:name");
    auto target = std::make_shared<Target>(std::move(handler));
    Process* p = ThisProcess();
    absl::MutexLock lock(&p->mu);
    const std::string address = wanted == "inproc:" ? absl::StrCat(wanted, p->next_name++) : wanted;
    if (!p->targets.emplace(address, target).second) {
      return AlreadyExists("cannot listen on ", address, ": this process listens there already");
    }
    return std::make_unique<InprocListener>(address, std::move(target));
  }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    if (!absl::StartsWith(address, "inproc:"))
      return InvalidArgument("address '", address, "' is not of the form inproc:name");
    return std::make_shared<InprocChannel>(address);
  }
};

}  // namespace

std::unique_ptr<Transport> MakeInprocTransport() { return std::make_unique<InprocTransport>(); }

bool IsInprocListener(const std::string& address) { return Find(address) != nullptr; }

}  // namespace sluice
