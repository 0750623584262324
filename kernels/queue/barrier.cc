#include "kernels/queue/barrier.h"

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "kernels/queue/rows.h"

namespace sluice {

struct Barrier::Attempt : public WaitingResource::Attempt {
  Barrier* barrier = nullptr;
  int64_t wanted = 0;
  bool allow_small = false;
  bool wait_for_incomplete = false;
  std::vector<Tuple> tuples;
  Barrier::Deliver deliver;

  absl::Status Deliver() override {
    ASSIGN_OR_RETURN(Batch batch, barrier->Stack(tuples));
    return deliver(std::move(batch));
  }
};

Barrier::Barrier(Options options) : options_(std::move(options)) {}
Barrier::~Barrier() = default;

absl::StatusOr<RefPtr<Barrier>> Barrier::Make(Options o) {
  if (!o.shapes.empty() && o.shapes.size() != o.types.size()) {
    return InvalidArgument("Barrier '", o.name, "' needs a shape for each component or none, found ", o.shapes.size(),
                           " shapes for ", o.types.size(), " components");
  }
  for (const PartialShape& s : o.shapes) {
    if (!s.IsFullyKnown()) {
      return InvalidArgument("Barrier '", o.name, "': the shapes of components must be fully known, found ",
                             s.ToString());
    }
  }
  return RefPtr<Barrier>::Adopt(new Barrier(std::move(o)));
}

absl::Status Barrier::CheckSame(const Options& w) const {
  if (options_.types == w.types && options_.shapes == w.shapes) return absl::OkStatus();
  return InvalidArgument("shared barrier '", options_.name, "' has other component types or shapes than asked for");
}

absl::Status Barrier::Insert(const Tensor& keys, const Tensor& values, int64_t index) {
  if (index < 0 || index >= static_cast<int64_t>(options_.types.size())) {
    return InvalidArgument("component_index ", index, " is outside of the ", options_.types.size(), " components of ",
                           Title());
  }
  const size_t part = static_cast<size_t>(index);
  if (keys.rank() != 1 || values.rank() < 1 || keys.dim(0) != values.dim(0)) {
    return InvalidArgument("a barrier takes a vector of keys and a row of values for each; keys are ",
                           keys.shape().ToString(), ", values ", values.shape().ToString());
  }
  if (values.dtype() != options_.types[part]) {
    return InvalidArgument("component ", index, " of ", Title(), " is ", DTypeName(options_.types[part]), ", found ",
                           DTypeName(values.dtype()));
  }
  const Shape row(values.shape().dims().subspan(1));
  if (!options_.shapes.empty() && !options_.shapes[part].IsCompatibleWith(row)) {
    return InvalidArgument("component ", index, " of ", Title(), " has shape ", options_.shapes[part].ToString(),
                           ", found ", row.ToString());
  }
  return Change([&]() -> absl::Status {
    const std::string* key = keys.data<std::string>();
    absl::flat_hash_set<absl::string_view> seen;
    for (int64_t i = 0; i < keys.dim(0); ++i) {
      auto it = incomplete_.find(key[i]);
      if (!seen.insert(key[i]).second || (it != incomplete_.end() && it->second.parts[part].IsValid())) {
        return InvalidArgument("key '", key[i], "' already has a value for component ", index, " in ", Title());
      }
      if (it == incomplete_.end() ? closed_ : cancelled_) {
        return absl::CancelledError(absl::StrCat(Title(), " is closed: it takes no ",
                                                 it == incomplete_.end() ? "new keys" : "more components", ", found '",
                                                 key[i], "'"));
      }
    }
    for (int64_t i = 0; i < keys.dim(0); ++i) {
      auto [it, is_new] = incomplete_.try_emplace(key[i]);
      Tuple& tuple = it->second;
      if (is_new) {
        tuple.place = next_place_++;
        tuple.key = key[i];
        tuple.parts.resize(options_.types.size());
        tuple.missing = tuple.parts.size();
      }
      ASSIGN_OR_RETURN(tuple.parts[part], values.SliceRows(i, i + 1).WithShape(row).Clone());
      if (--tuple.missing > 0) continue;
      ready_.emplace(tuple.place, std::move(tuple));
      incomplete_.erase(it);
    }
    return absl::OkStatus();
  });
}

void Barrier::Take(int64_t n, bool allow_small_batch, bool wait_for_incomplete, CancellationToken* token,
                   int64_t timeout_ms, Deliver deliver, Done done) {
  if (n < 0) return done(InvalidArgument("num_elements must be at least 0, found ", n));
  RefPtr<Attempt> attempt = MakeRef<Attempt>();
  attempt->barrier = this;  // which Begin keeps alive
  attempt->wanted = n;
  attempt->allow_small = allow_small_batch;
  attempt->wait_for_incomplete = wait_for_incomplete;
  attempt->deliver = std::move(deliver);
  Begin(std::move(attempt), token, timeout_ms, std::move(done));
}

absl::Status Barrier::Close(bool cancel_pending_enqueues) {
  return Change([&]() -> absl::Status {
    if (closed_ && (cancelled_ || !cancel_pending_enqueues)) {
      return absl::CancelledError(absl::StrCat(Title(), " is already closed"));
    }
    closed_ = true;
    if (cancel_pending_enqueues) {
      cancelled_ = true;
      incomplete_.clear();
    }
    return absl::OkStatus();
  });
}

int64_t Barrier::ready_size() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(ready_.size());
}

int64_t Barrier::incomplete_size() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(incomplete_.size());
}

std::string Barrier::Title() const { return absl::StrCat("Barrier '", options_.name, "'"); }

std::string Barrier::DebugString() const {
  return absl::StrCat("Barrier with ", ready_size(), " complete and ", incomplete_size(), " incomplete tuples");
}

void Barrier::List(const RefPtr<WaitingResource::Attempt>& attempt) {
  takes_.push_back(RefPtr<Attempt>::Share(static_cast<Attempt*>(attempt.get())));
}

void Barrier::Unlist(const RefPtr<WaitingResource::Attempt>& attempt) {
  takes_.remove_if([&](const RefPtr<Attempt>& a) { return a.get() == attempt.get(); });
}

void Barrier::Advance() {
  while (!takes_.empty()) {
    Attempt& take = *takes_.front();
    int64_t ready = static_cast<int64_t>(ready_.size()), n = take.wanted;
    absl::Status status;
    if (ready < n) {
      if (!closed_) return;
      // A small batch comes at once, unless the caller rather waits for what may still become complete.
      const bool hopeful = !incomplete_.empty() && (take.wait_for_incomplete || !take.allow_small);
      const int64_t possible = ready + (hopeful ? static_cast<int64_t>(incomplete_.size()) : 0);
      const int64_t goal = take.allow_small ? std::min(n, possible) : n;
      if (goal > 0 && goal <= possible) {
        if (ready < goal) return;
        n = goal;
      } else {
        status = OutOfRange(Title(), " is closed and has insufficient elements (requested ", take.wanted,
                            ", total size ", ready, ")");
      }
    }
    if (status.ok()) {
      for (; n > 0; --n) {
        take.tuples.push_back(std::move(ready_.begin()->second));
        ready_.erase(ready_.begin());
      }
    }
    Complete(std::move(takes_.front()), std::move(status));
    takes_.pop_front();
  }
}

absl::StatusOr<Barrier::Batch> Barrier::Stack(const std::vector<Tuple>& tuples) const {
  const int64_t n = static_cast<int64_t>(tuples.size());
  Batch b;
  ASSIGN_OR_RETURN(b.indices, Tensor::Make(DType::kInt64, Shape({n})));
  ASSIGN_OR_RETURN(b.keys, Tensor::Make(DType::kString, Shape({n})));
  for (int64_t i = 0; i < n; ++i) {
    b.indices.data<int64_t>()[i] = tuples[i].place;
    b.keys.data<std::string>()[i] = tuples[i].key;
  }
  for (size_t p = 0; p < options_.types.size(); ++p) {
    Shape shape = n > 0 ? tuples[0].parts[p].shape() : options_.shapes.empty() ? Shape() : options_.shapes[p].ToShape();
    const Shape row = shape;
    shape.InsertDim(0, n);
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(options_.types[p], shape));
    for (int64_t i = 0; i < n; ++i) {
      if (tuples[i].parts[p].shape() != row) {
        return InvalidArgument("component ", p, " has shapes ", row.ToString(), " and ",
                               tuples[i].parts[p].shape().ToString(), " in one batch of ", Title());
      }
      CopyIntoRow(tuples[i].parts[p], i, &t);
    }
    b.values.push_back(std::move(t));
  }
  return b;
}

}  // namespace sluice
