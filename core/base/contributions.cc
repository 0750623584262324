#include "core/base/contributions.h"

#include <cstdio>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"

namespace sluice {
namespace {

constexpr size_t kRememberedSteps = 16;

}  // namespace

Contributions& Contributions::Process() {
  static Contributions* all = [] {
    auto* made = new Contributions;
    made->print_ = true;
    return made;
  }();
  return *all;
}

void Contributions::StepBegan(int64_t step, absl::Duration now) {
  absl::MutexLock lock(&mu_);
  if (step == step_) return;
  if (step == step_ + 1) {
    Finish();
  } else {  // another training, or one that went back to a checkpoint
    began_.clear();
    for (Replica& r : replicas_) r.seconds = r.late = -1;
  }
  step_ = step;
  began_[step] = now;
  if (began_.size() > kRememberedSteps) began_.erase(began_.begin());
}

void Contributions::Arrived(int64_t step, int64_t replica, absl::Duration now) {
  if (replica < 0 || replica >= kMostReplicas) return;
  absl::MutexLock lock(&mu_);
  auto began = began_.find(step);
  if (began == began_.end()) return;
  if (replica >= static_cast<int64_t>(replicas_.size())) {
    replicas_.resize(replica + 1);
    std::vector<std::string> names;
    for (size_t r = 0; r < replicas_.size(); ++r) names.push_back(absl::StrCat("replica ", r));
    stragglers_ = std::make_unique<Stragglers>(std::move(names));
  }
  const double seconds = absl::ToDoubleSeconds(now - began->second);
  (step == step_ ? replicas_[replica].seconds : replicas_[replica].late) = seconds;
}

void Contributions::Finish() {
  absl::InlinedVector<double, 16> seconds;
  for (Replica& r : replicas_) {
    const double s = r.seconds >= 0 ? r.seconds : r.late;
    if (s >= 0) r.times->Add(s);
    seconds.push_back(s);
    r.seconds = r.late = -1;
  }
  if (stragglers_ == nullptr || stragglers_->Add(seconds) == 0 || !print_) return;
  for (const Stragglers::Straggler& s : stragglers_->Named()) {
    std::fprintf(stderr, "%s\n", Describe(s, "its share of a step").c_str());
  }
}

std::vector<Stragglers::Straggler> Contributions::Named() const {
  absl::MutexLock lock(&mu_);
  return stragglers_ == nullptr ? std::vector<Stragglers::Straggler>() : stragglers_->Named();
}

std::vector<TimeCounts> Contributions::Times() const {
  absl::MutexLock lock(&mu_);
  std::vector<TimeCounts> all;
  for (const Replica& r : replicas_) all.push_back(r.times->Counts());
  return all;
}

}  // namespace sluice
