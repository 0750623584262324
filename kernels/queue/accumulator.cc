#include "kernels/queue/accumulator.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/base/clock.h"
#include "core/base/contributions.h"
#include "core/base/status.h"

namespace sluice {

struct Accumulator::Attempt : public WaitingResource::Attempt {
  Accumulator* accumulator = nullptr;
  int64_t num_required = 0;  // unless replicas are named
  std::vector<int64_t> replicas;
  std::vector<Gradient> gradients;  // to be added in order
  int64_t count = 0;
  Accumulator::Deliver deliver;

  absl::Status Deliver() override {
    Gradient sum = std::move(gradients[0]);
    for (size_t i = 1; i < gradients.size(); ++i) RETURN_IF_ERROR(accumulator->Sum(&sum, std::move(gradients[i])));
    if (accumulator->options_.mean) {
      RETURN_IF_ERROR(accumulator->options_.sparse ? DivideRows(&sum) : DivideDense(&sum, count));
    }
    return deliver(std::move(sum));
  }
};

Accumulator::Accumulator(Options options) : options_(std::move(options)) {}
Accumulator::~Accumulator() = default;

absl::StatusOr<RefPtr<Accumulator>> Accumulator::Make(Options options) {
  return MakeRef<Accumulator>(std::move(options));
}

absl::Status Accumulator::CheckSame(const Options& w) const {
  const Options& o = options_;
  if (o.sparse == w.sparse && o.dtype == w.dtype && o.shape == w.shape && o.mean == w.mean) return absl::OkStatus();
  auto text = [](const Options& a) {
    return absl::StrCat(a.sparse ? "sparse " : "", a.mean ? "MEAN" : "SUM", " of ", DTypeName(a.dtype), " ",
                        a.shape.ToString());
  };
  return InvalidArgument("shared accumulator '", o.name, "' is a ", text(o), ", but a ", text(w), " is asked for");
}

absl::Status Accumulator::Apply(int64_t local_step, int64_t replica, Tensor gradient) {
  if (gradient.dtype() != options_.dtype) {
    return InvalidArgument(Title(), " adds ", DTypeName(options_.dtype), ", found ", DTypeName(gradient.dtype()));
  }
  if (!options_.shape.IsCompatibleWith(gradient.shape())) {
    return InvalidArgument("a gradient of shape ", gradient.shape().ToString(), " does not fit ", Title(), " of shape ",
                           options_.shape.ToString());
  }
  Gradient g;
  g.values = std::move(gradient);
  return Add(local_step, replica, std::move(g));
}

absl::Status Accumulator::ApplyRows(int64_t local_step, int64_t replica, const Tensor& indices, const Tensor& values,
                                    const PartialShape& shape) {
  if (values.dtype() != options_.dtype) {
    return InvalidArgument(Title(), " adds ", DTypeName(options_.dtype), ", found ", DTypeName(values.dtype()));
  }
  if (indices.rank() != 1 || values.rank() < 1 || values.dim(0) != indices.dim(0)) {
    return InvalidArgument("a sparse gradient needs a vector of indices and a row of values for each; indices are ",
                           indices.shape().ToString(), ", values ", values.shape().ToString());
  }
  if (!options_.shape.IsCompatibleWith(shape)) {
    return InvalidArgument("a gradient of shape ", shape.ToString(), " does not fit ", Title(), " of shape ",
                           options_.shape.ToString());
  }
  const PartialShape& whole = shape.known_rank() ? shape : options_.shape;
  if (whole.known_rank() && whole.rank() > 0) {
    PartialShape rows(values.shape());
    rows.SetDim(0, kUnknownDim);
    if (!whole.IsCompatibleWith(rows)) {
      return InvalidArgument("rows of shape ", values.shape().ToString(), " do not fit a gradient of shape ",
                             whole.ToString());
    }
    for (int64_t i = 0; i < indices.dim(0); ++i) {
      int64_t index = indices.data<int64_t>()[i];
      if (index < 0 || (whole.dim(0) >= 0 && index >= whole.dim(0))) {
        return InvalidArgument("index ", index, " is outside of a gradient of shape ", whole.ToString());
      }
    }
  }
  ASSIGN_OR_RETURN(Gradient g, SortRows(indices, values));
  return Add(local_step, replica, std::move(g));
}

absl::Status Accumulator::Add(int64_t local_step, int64_t replica, Gradient g) {
  if (replica >= 0) Contributions::Process().Arrived(local_step, replica, SystemClock()->Now());
  return Change([&]() -> absl::Status {
    if (local_step < step_) return absl::OkStatus();
    if (replica < 0) {
      if (!by_replica_.empty()) {
        return InvalidArgument(Title(), " has gradients with a replica: one without cannot be added to them");
      }
      RETURN_IF_ERROR(Sum(&sum_, std::move(g)));
      ++count_;
      return absl::OkStatus();
    }
    if (count_ > 0) {
      return InvalidArgument(Title(), " has gradients without a replica: one of replica ", replica,
                             " cannot be added to them");
    }
    // Of each replica at most one of this step and one of a later one, the step that it is at now.
    for (auto it = by_replica_.begin(); it != by_replica_.end();) {
      const auto [step, whose] = it->first;
      bool keep = whose != replica || step == local_step || (step == step_ && step < local_step);
      it = keep ? std::next(it) : by_replica_.erase(it);
    }
    auto [it, first] = by_replica_.try_emplace({local_step, replica});
    if (first) it->second = Contribution{arrivals_++, std::move(g)};  // else it came twice and counts once
    return absl::OkStatus();
  });
}

void Accumulator::Take(int64_t num_required, CancellationToken* token, Deliver deliver, Done done) {
  if (num_required <= 0) return done(InvalidArgument("num_required must be positive, found ", num_required));
  RefPtr<Attempt> attempt = MakeRef<Attempt>();
  attempt->num_required = num_required;
  StartTake(std::move(attempt), token, std::move(deliver), std::move(done));
}

void Accumulator::Take(std::vector<int64_t> replicas, CancellationToken* token, Deliver deliver, Done done) {
  std::vector<int64_t> sorted = replicas;
  std::sort(sorted.begin(), sorted.end());
  if (sorted.empty() || sorted[0] < 0 || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return done(InvalidArgument("the replicas to take must be distinct and not negative, found [",
                                absl::StrJoin(replicas, ", "), "]"));
  }
  RefPtr<Attempt> attempt = MakeRef<Attempt>();
  attempt->replicas = std::move(replicas);
  StartTake(std::move(attempt), token, std::move(deliver), std::move(done));
}

void Accumulator::StartTake(RefPtr<Attempt> attempt, CancellationToken* token, Deliver deliver, Done done) {
  attempt->accumulator = this;  // which Begin keeps alive
  attempt->deliver = std::move(deliver);
  Begin(std::move(attempt), token, -1, std::move(done));
}

absl::Status Accumulator::SetGlobalStep(int64_t step) {
  return Change([&] {
    ended_ = step == INT64_MAX;
    if (ended_) return absl::OkStatus();
    step_ = step;
    Contributions::Process().StepBegan(step, SystemClock()->Now());
    // Those of later steps too: whoever goes back to an earlier step undoes what followed it.
    for (auto it = by_replica_.begin(); it != by_replica_.end();) {
      it = it->first.first == step ? std::next(it) : by_replica_.erase(it);
    }
    return absl::OkStatus();
  });
}

int64_t Accumulator::num_accumulated() const {
  absl::MutexLock lock(&mu_);
  return count_ + static_cast<int64_t>(OfThisStep().size());
}

std::string Accumulator::Title() const {
  return absl::StrCat(options_.sparse ? "SparseConditionalAccumulator '" : "ConditionalAccumulator '", options_.name,
                      "'");
}

std::string Accumulator::DebugString() const {
  return absl::StrCat(options_.sparse ? "SparseConditionalAccumulator " : "ConditionalAccumulator ",
                      DTypeName(options_.dtype), " ", options_.shape.ToString(), " with ", num_accumulated(),
                      " gradients");
}

void Accumulator::List(const RefPtr<WaitingResource::Attempt>& attempt) {
  takes_.push_back(RefPtr<Attempt>::Share(static_cast<Attempt*>(attempt.get())));
}

void Accumulator::Unlist(const RefPtr<WaitingResource::Attempt>& attempt) {
  takes_.remove_if([&](const RefPtr<Attempt>& a) { return a.get() == attempt.get(); });
}

std::vector<std::pair<uint64_t, int64_t>> Accumulator::OfThisStep() const {
  std::vector<std::pair<uint64_t, int64_t>> arrived;
  for (const auto& [key, c] : by_replica_) {
    if (key.first == step_) arrived.emplace_back(c.arrival, key.second);
  }
  return arrived;
}

std::vector<int64_t> Accumulator::Chosen(const Attempt& attempt) const {
  if (!attempt.replicas.empty()) {
    for (int64_t r : attempt.replicas) {
      if (by_replica_.count({step_, r}) == 0) return {};
    }
    return attempt.replicas;
  }
  std::vector<std::pair<uint64_t, int64_t>> arrived = OfThisStep();
  if (static_cast<int64_t>(arrived.size()) < attempt.num_required) return {};
  std::sort(arrived.begin(), arrived.end());
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < attempt.num_required; ++i) chosen.push_back(arrived[i].second);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

void Accumulator::Advance() {
  while (!takes_.empty()) {
    if (ended_) {
      Complete(std::move(takes_.front()), OutOfRange(Title(), " has ended (its global step was set to the last)"));
      takes_.pop_front();
      continue;
    }
    Attempt& take = *takes_.front();
    if (take.replicas.empty() && count_ >= take.num_required) {
      take.gradients.push_back(std::move(sum_));
      take.count = count_;
    } else {
      std::vector<int64_t> chosen = Chosen(take);
      if (chosen.empty()) return;
      for (int64_t r : chosen) take.gradients.push_back(std::move(by_replica_.at({step_, r}).gradient));
      take.count = static_cast<int64_t>(chosen.size());
      Contributions::Process().StepBegan(step_ + 1, SystemClock()->Now());
    }
    sum_ = Gradient();
    count_ = 0;
    ++step_;
    by_replica_.erase(by_replica_.begin(), by_replica_.lower_bound({step_, INT64_MIN}));
    Complete(std::move(takes_.front()), absl::OkStatus());
    takes_.pop_front();
  }
}

}  // namespace sluice
