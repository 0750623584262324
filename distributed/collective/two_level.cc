#include "distributed/collective/two_level.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "runtime/collective/merge.h"

namespace sluice {
namespace {

constexpr int64_t kBackInstance = int64_t{1} << 40;  // added to an instance's key for the way back

}  // namespace

TwoLevel::TwoLevel(HostView view, std::shared_ptr<void> keep, CollectiveRequest request, int64_t run,
                   Collectives::Done done)
    : view_(std::move(view)), keep_(std::move(keep)), request_(std::move(request)), run_(run), done_(std::move(done)) {}

CollectiveRequest TwoLevel::OnHost() const {
  CollectiveRequest r = request_;
  r.group_size = view_.size;
  r.divide = false;
  return r;
}

void TwoLevel::Start() {
  if (view_.size == 1) return BetweenHosts();
  view_.engine->Start(OnHost(), run_, [self = RefPtr<TwoLevel>::Share(this)](absl::Status status) {
    status.ok() ? self->BetweenHosts() : self->Ended(status);
  });
}

void TwoLevel::BetweenHosts() {
  if (view_.rank != 0) return BackToHost();
  CollectiveRequest r = request_;
  if (view_.size > 1) r.input = r.output;
  r.group_size = view_.hosts.size();
  r.divide = false;
  RefPtr<Exchange> exchange =
      MakeRef<Exchange>(view_.hosts, keep_, r, run_, [self = RefPtr<TwoLevel>::Share(this)](absl::Status status) {
        if (!status.ok()) return self->Ended(status);
        const CollectiveRequest& whole = self->request_;
        if (whole.divide) DivideBy(whole.dtype, whole.group_size, whole.output, whole.num_elements());
        self->BackToHost();
      });
  absl::Status failed;
  {
    absl::MutexLock lock(&mu_);
    exchange_ = exchange;
    failed = failed_;
  }
  failed.ok() ? exchange->Start() : exchange->Fail(failed);
}

void TwoLevel::BackToHost() {
  if (view_.size == 1) return Ended(absl::OkStatus());
  CollectiveRequest r = OnHost();
  r.kind = CollectiveKind::kBroadcast;
  r.instance_key += kBackInstance;
  r.is_source = view_.rank == 0;
  r.input = r.is_source ? r.output : nullptr;
  view_.engine->Start(r, run_, [self = RefPtr<TwoLevel>::Share(this)](absl::Status status) { self->Ended(status); });
}

void TwoLevel::Ended(const absl::Status& status) {
  Collectives::Done done;
  RefPtr<Exchange> exchange;  // goes without the lock
  {
    absl::MutexLock lock(&mu_);
    done.swap(done_);
    exchange.swap(exchange_);
  }
  if (done) done(status);
}

void TwoLevel::Fail(const absl::Status& why) {
  RefPtr<Exchange> exchange;
  {
    absl::MutexLock lock(&mu_);
    if (failed_.ok()) failed_ = why;
    exchange = exchange_;
  }
  if (view_.engine) view_.engine->Fail(why);
  if (exchange) exchange->Fail(why);
}

std::string TwoLevel::WaitsFor() const {
  RefPtr<Exchange> exchange;
  {
    absl::MutexLock lock(&mu_);
    exchange = exchange_;
  }
  if (exchange) return exchange->WaitsFor();
  std::string here = view_.engine ? view_.engine->WaitsFor(request_.instance_key, run_) : "";
  if (!here.empty()) return here;
  std::vector<std::string> others;
  for (int h = 0; h < view_.hosts.size(); ++h) {
    if (h != view_.hosts.rank) others.push_back(absl::StrCat("host ", h, " (", view_.hosts.devices[h], ")"));
  }
  return absl::StrJoin(others, ", ");
}

}  // namespace sluice
