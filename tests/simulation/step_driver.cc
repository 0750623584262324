#include "tests/simulation/step_driver.h"

#include <deque>
#include <utility>

#include "core/base/status.h"

namespace sluice::simulation {
namespace {

class EventRun : public std::enable_shared_from_this<EventRun> {
 public:
  EventRun(StepPlan& plan, const StepCall& call, TensorList& arguments, TensorList& results,
           SharedFunction<void(absl::Status)> done)
      : plan_(plan), call_(call), arguments_(arguments), results_(results), done_(std::move(done)) {
    for (const auto& p : plan.partitions()) frames_.push_back(std::make_unique<Frame>(*p));
  }

  void Start() {
    for (auto& frame : frames_) {
      frame->context.step_id = call_.step_id;
      frame->context.cancellation = call_.cancellation;
      frame->context.rendezvous = call_.rendezvous;
      for (const Binding& a : frame->plan.arguments) frame->slots[a.slot] = arguments_[a.index];
    }
    auto self = shared_from_this();
    callback_ = call_.cancellation->Register([self] {
      self->callback_ = 0;
      self->Fail(self->call_.cancellation->status());
      self->Go();
    });
    if (callback_ == 0) Fail(call_.cancellation->status());
    for (auto& frame : frames_) {
      if (frame->plan.tier != Tier::kDataflow) {
        lanes_.push_back(frame.get());
        continue;
      }
      for (size_t k = 0; k < frame->plan.instructions.size(); ++k) {
        frame->pending[k].store(static_cast<int32_t>(frame->plan.instructions[k].num_predecessors));
      }
      for (uint32_t k : frame->plan.initial) ready_.push_back({frame.get(), k});
    }
    Go();
  }

 private:
  struct Ready {
    Frame* frame;
    uint32_t k;
  };

  void Go() {
    if (going_) return;  // the loop below sees what was added
    going_ = true;
    while (status_.ok() && !lanes_.empty()) {
      Frame* lane = lanes_.front();
      lanes_.pop_front();
      absl::Status s = RunLane(*lane, call_);
      if (!s.ok()) Fail(s);
    }
    while (!ready_.empty()) {
      Ready r = ready_.front();
      ready_.pop_front();
      if (status_.ok()) Execute(r);
    }
    going_ = false;
    if (waiting_ == 0 && !over_) Finish();
  }

  void Execute(const Ready& r) {
    const Instruction& i = r.frame->plan.instructions[r.k];
    KernelContext& context = r.frame->contexts[r.k];
    if ((i.flags & kAsyncInstruction) == 0) return Finished(r, i.kernel->Run(context));
    ++waiting_;
    i.kernel->Start(context, [self = shared_from_this(), r](absl::Status status) {
      --self->waiting_;
      self->Finished(r, std::move(status));
      self->Go();
    });
  }

  void Finished(const Ready& r, absl::Status status) {
    if (!status.ok()) return Fail(DescribeFailure(*r.frame, r.k, status));
    const PartitionPlan& plan = r.frame->plan;
    const Instruction& i = plan.instructions[r.k];
    for (uint32_t n = i.successor_begin; n < i.successor_end; ++n) {
      const uint32_t next = plan.successors[n] & kSuccessor;
      if (r.frame->pending[next].fetch_sub(1) == 1) ready_.push_back({r.frame, next});
    }
  }

  void Fail(absl::Status status) {
    if (!status_.ok()) return;
    status_ = status;
    // What this wakes must not finish the step before both have been told; the caller goes on.
    const bool going = going_;
    going_ = true;
    call_.rendezvous->Abort(status);
    call_.cancellation->Cancel(status);
    going_ = going;
  }

  void Finish() {
    over_ = true;
    if (callback_ != 0) call_.cancellation->Unregister(callback_);
    if (status_.ok()) {
      for (auto& frame : frames_) {
        for (const Binding& r : frame->plan.results) results_[r.index] = frame->slots[r.slot];
      }
    }
    if (call_.progress != nullptr) call_.progress->Over();
    frames_.clear();
    SharedFunction<void(absl::Status)> done = std::move(done_);
    done(status_);
  }

  StepPlan& plan_;
  const StepCall& call_;
  TensorList& arguments_;
  TensorList& results_;
  SharedFunction<void(absl::Status)> done_;
  std::vector<std::unique_ptr<Frame>> frames_;
  std::deque<Frame*> lanes_;
  std::deque<Ready> ready_;
  absl::Status status_;
  int64_t callback_ = 0;
  int waiting_ = 0;
  bool going_ = false;
  bool over_ = false;
};

class EventDriver final : public StepDriver {
 public:
  void Run(StepPlan& plan, const StepCall& call, TensorList& arguments, TensorList& results, bool,
           SharedFunction<void(absl::Status)> done) override {
    std::make_shared<EventRun>(plan, call, arguments, results, std::move(done))->Start();
  }
};

}  // namespace

std::unique_ptr<StepDriver> MakeEventDriver() { return std::make_unique<EventDriver>(); }

}  // namespace sluice::simulation
