#include "kernels/queue/queue.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "kernels/queue/rows.h"

namespace sluice {

struct Queue::Put : public Attempt {
  std::vector<Element> elements;
  size_t next = 0;
};

struct Queue::Take : public Attempt {
  Queue* queue = nullptr;
  int64_t wanted = 1;
  bool batch = false;
  bool up_to = false;
  std::vector<Entry> taken;
  std::function<absl::Status(Element)> deliver;

  absl::Status Deliver() override {
    if (!batch) return deliver(std::move(taken[0].parts));
    ASSIGN_OR_RETURN(Element stacked, queue->Stack(std::move(taken)));
    return deliver(std::move(stacked));
  }
};

namespace {

std::string ShapesText(const std::vector<PartialShape>& shapes) {
  return absl::StrCat(
      "[",
      absl::StrJoin(shapes, ", ", [](std::string* out, const PartialShape& s) { absl::StrAppend(out, s.ToString()); }),
      "]");
}
std::string TypesText(const std::vector<DType>& types) {
  return absl::StrCat(
      "[", absl::StrJoin(types, ", ", [](std::string* out, DType t) { absl::StrAppend(out, DTypeName(t)); }), "]");
}

}  // namespace

const char* Queue::KindName(Kind kind) {
  switch (kind) {
    case kFifo:
      return "FIFOQueue";
    case kShuffle:
      return "RandomShuffleQueue";
    case kPadding:
      return "PaddingFIFOQueue";
    case kPriority:
      return "PriorityQueue";
  }
  return "";
}

absl::StatusOr<RefPtr<Queue>> Queue::Make(Options o) {
  const char* kind = KindName(o.kind);
  if (o.capacity == 0) return InvalidArgument(kind, " '", o.name, "': a capacity of 0 holds nothing; -1 is no limit");
  if (!o.shapes.empty() && o.shapes.size() != o.types.size()) {
    return InvalidArgument(kind, " '", o.name, "' needs a shape for each component or none, found ", o.shapes.size(),
                           " shapes for ", o.types.size(), " components");
  }
  if (o.kind == kPadding && o.shapes.empty()) {
    return InvalidArgument(kind, " '", o.name, "' needs a shape for each component; unknown sizes are padded");
  }
  for (const PartialShape& s : o.shapes) {
    if (o.kind == kPadding ? !s.known_rank() : !s.IsFullyKnown()) {
      return InvalidArgument(kind, " '", o.name, "': the shapes of components must be ",
                             o.kind == kPadding ? "of known rank" : "fully known", ", found ", s.ToString());
    }
  }
  if (o.kind == kPriority && (o.types.empty() || o.types[0] != DType::kInt64)) {
    return InvalidArgument(kind, " '", o.name, "': the first component is the priority and must be int64");
  }
  if (o.min_after_dequeue < 0 || (o.capacity > 0 && o.min_after_dequeue >= o.capacity)) {
    return InvalidArgument(kind, " '", o.name, "': min_after_dequeue must be at least 0 and less than the capacity ",
                           o.capacity, ", found ", o.min_after_dequeue);
  }
  return RefPtr<Queue>::Adopt(new Queue(std::move(o)));
}

Queue::Queue(Options options) : options_(std::move(options)), random_(0) {
  uint64_t seed = static_cast<uint64_t>(options_.seed), seed2 = static_cast<uint64_t>(options_.seed2);
  if (options_.kind == kShuffle && seed == 0 && seed2 == 0) {
    std::random_device system;
    seed = (uint64_t{system()} << 32) | system();
    seed2 = (uint64_t{system()} << 32) | system();
  }
  random_ = Philox4x32(seed, seed2);
}

absl::Status Queue::CheckSame(const Options& w) const {
  const Options& o = options_;
  auto differ = [&](const char* what, const auto& have, const auto& want) {
    return InvalidArgument("shared queue '", o.name, "' has ", what, " ", have, ", but ", want, " is asked for");
  };
  if (o.kind != w.kind) return differ("kind", KindName(o.kind), KindName(w.kind));
  if (o.types != w.types) return differ("component types", TypesText(o.types), TypesText(w.types));
  if (o.shapes != w.shapes) return differ("component shapes", ShapesText(o.shapes), ShapesText(w.shapes));
  if (o.capacity != w.capacity) return differ("capacity", o.capacity, w.capacity);
  if (o.min_after_dequeue != w.min_after_dequeue) {
    return differ("min_after_dequeue", o.min_after_dequeue, w.min_after_dequeue);
  }
  if ((w.seed != 0 || w.seed2 != 0) && (o.seed != w.seed || o.seed2 != w.seed2)) {
    return differ("random seeds", absl::StrCat("(", o.seed, ", ", o.seed2, ")"),
                  absl::StrCat("(", w.seed, ", ", w.seed2, ")"));
  }
  return absl::OkStatus();
}

absl::Status Queue::CheckElement(const Element& element, bool batch) const {
  const Options& o = options_;
  if (element.size() != o.types.size()) {
    return InvalidArgument(Title(), " has ", o.types.size(), " components, found ", element.size());
  }
  for (size_t i = 0; i < element.size(); ++i) {
    const Tensor& t = element[i];
    if (t.dtype() != o.types[i]) {
      return InvalidArgument("type mismatch in tuple component ", i, ": expected ", DTypeName(o.types[i]), ", got ",
                             DTypeName(t.dtype()));
    }
    if (batch && (t.rank() == 0 || t.dim(0) != element[0].dim(0))) {
      return InvalidArgument("all components must have the same size in dimension 0; component 0 is ",
                             element[0].shape().ToString(), ", component ", i, " is ", t.shape().ToString());
    }
    if (o.shapes.empty()) continue;
    PartialShape row(batch ? t.shape().dims().subspan(1) : t.shape().dims());
    if (!o.shapes[i].IsCompatibleWith(row)) {
      return InvalidArgument("shape mismatch in tuple component ", i, ": expected ", batch ? "rows of " : "",
                             o.shapes[i].ToString(), ", got ", row.ToString());
    }
  }
  if (o.kind == kPriority && element[0].rank() != (batch ? 1 : 0)) {
    return InvalidArgument("the priority must be a scalar for each element, found shape ",
                           element[0].shape().ToString());
  }
  return absl::OkStatus();
}

void Queue::Enqueue(Element element, CancellationToken* token, int64_t timeout_ms, Done done) {
  absl::Status ok = CheckElement(element, /*batch=*/false);
  if (!ok.ok()) return done(ok);
  std::vector<Element> one;
  one.push_back(std::move(element));
  StartPut(std::move(one), token, timeout_ms, std::move(done));
}

void Queue::EnqueueMany(const Element& batch, CancellationToken* token, int64_t timeout_ms, Done done) {
  absl::Status ok = CheckElement(batch, /*batch=*/true);
  if (!ok.ok()) return done(ok);
  const int64_t n = batch[0].dim(0);
  std::vector<Element> rows(static_cast<size_t>(n));
  const bool in_order = options_.kind == kFifo || options_.kind == kPadding;
  for (int64_t r = 0; r < n; ++r) {
    for (const Tensor& t : batch) {
      Tensor row = t.SliceRows(r, r + 1).WithShape(Shape(t.shape().dims().subspan(1)));
      if (!in_order && n > 1) {  // else an old row could keep its whole batch
        absl::StatusOr<Tensor> own = row.Clone();
        if (!own.ok()) return done(own.status());
        row = *std::move(own);
      }
      rows[r].push_back(std::move(row));
    }
  }
  StartPut(std::move(rows), token, timeout_ms, std::move(done));
}

void Queue::StartPut(std::vector<Element> elements, CancellationToken* token, int64_t timeout_ms, Done done) {
  RefPtr<Put> put = MakeRef<Put>();
  put->elements = std::move(elements);
  Begin(put, token, timeout_ms, std::move(done));
}

void Queue::Dequeue(CancellationToken* token, int64_t timeout_ms, std::function<absl::Status(Element)> deliver,
                    Done done) {
  StartTake(1, false, false, token, timeout_ms, std::move(deliver), std::move(done));
}

void Queue::DequeueMany(int64_t n, bool up_to, CancellationToken* token, int64_t timeout_ms,
                        std::function<absl::Status(Element)> deliver, Done done) {
  if (n < 0) return done(InvalidArgument("n must be at least 0, found ", n));
  if (options_.shapes.empty()) {
    return done(InvalidArgument(Title(), " was made without component shapes: batches need them"));
  }
  StartTake(n, true, up_to, token, timeout_ms, std::move(deliver), std::move(done));
}

void Queue::StartTake(int64_t n, bool batch, bool up_to, CancellationToken* token, int64_t timeout_ms,
                      std::function<absl::Status(Element)> deliver, Done done) {
  RefPtr<Take> take = MakeRef<Take>();
  take->queue = this;  // which Begin keeps alive
  take->wanted = n;
  take->batch = batch;
  take->up_to = up_to;
  take->deliver = std::move(deliver);
  Begin(take, token, timeout_ms, std::move(done));
}

absl::Status Queue::ClosedError() const { return absl::CancelledError(absl::StrCat(Title(), " is closed")); }

absl::Status Queue::Close(bool cancel_pending_enqueues) {
  return Change([&]() -> absl::Status {
    if (closed_ && !cancel_pending_enqueues) {
      return absl::CancelledError(absl::StrCat(Title(), " is already closed"));
    }
    closed_ = true;
    if (!cancel_pending_enqueues) return absl::OkStatus();
    for (RefPtr<Put>& put : puts_) Complete(std::move(put), ClosedError());
    puts_.clear();
    return absl::OkStatus();
  });
}

bool Queue::IsClosed() const {
  absl::MutexLock lock(&mu_);
  return closed_;
}

int64_t Queue::size() const {
  absl::MutexLock lock(&mu_);
  return SizeLocked();
}

std::string Queue::Title() const { return absl::StrCat(KindName(options_.kind), " '", options_.name, "'"); }

std::string Queue::DebugString() const {
  return absl::StrCat(KindName(options_.kind), " ", TypesText(options_.types), " with ", size(), " elements");
}

void Queue::List(const RefPtr<Attempt>& attempt) {
  if (auto* take = dynamic_cast<Take*>(attempt.get())) {
    takes_.push_back(RefPtr<Take>::Share(take));
  } else if (closed_) {
    Complete(attempt, ClosedError());
  } else {
    puts_.push_back(RefPtr<Put>::Share(static_cast<Put*>(attempt.get())));
  }
}

void Queue::Unlist(const RefPtr<Attempt>& attempt) {
  auto is_it = [&](const auto& a) { return a.get() == attempt.get(); };
  puts_.remove_if(is_it);
  for (auto it = takes_.begin(); it != takes_.end(); ++it) {
    if (!is_it(*it)) continue;
    GiveBack(&(*it)->taken);
    takes_.erase(it);
    return;
  }
}

void Queue::Advance() {
  bool moved = true;
  while (moved) {
    moved = AdvanceTakes();
    moved = AdvancePuts() || moved;
  }
}

bool Queue::AdvancePuts() {
  bool moved = false;
  while (!puts_.empty()) {
    Put& put = *puts_.front();
    while (put.next < put.elements.size() && (options_.capacity < 0 || SizeLocked() < options_.capacity)) {
      Entry entry;
      entry.parts = std::move(put.elements[put.next++]);
      entry.arrival = arrivals_++;
      if (options_.kind == kPriority) entry.priority = entry.parts[0].scalar<int64_t>();
      Push(std::move(entry), false);
      moved = true;
    }
    if (put.next < put.elements.size()) return moved;
    Complete(std::move(puts_.front()), absl::OkStatus());
    puts_.pop_front();
    moved = true;
  }
  return moved;
}

bool Queue::AdvanceTakes() {
  bool moved = false;
  while (!takes_.empty()) {
    Take& take = *takes_.front();
    const bool ended = closed_ && puts_.empty();
    const int64_t stay = ended ? 0 : options_.min_after_dequeue;
    while (static_cast<int64_t>(take.taken.size()) < take.wanted && SizeLocked() > stay) {
      take.taken.push_back(Pop());
      moved = true;
    }
    const int64_t got = static_cast<int64_t>(take.taken.size());
    absl::Status status;
    if (got < take.wanted && !(ended && take.up_to && got > 0)) {
      if (!ended) return moved;
      GiveBack(&take.taken);
      status = OutOfRange(Title(), " is closed and has insufficient elements (requested ", take.wanted,
                          ", current size ", SizeLocked(), ")");
    }
    Complete(std::move(takes_.front()), std::move(status));
    takes_.pop_front();
    moved = true;
  }
  return moved;
}

int64_t Queue::SizeLocked() const {
  return static_cast<int64_t>(options_.kind == kPriority ? by_priority_.size() : line_.size());
}

void Queue::Push(Entry entry, bool back_to_its_place) {
  if (options_.kind == kPriority) {
    std::pair<int64_t, uint64_t> key(entry.priority, entry.arrival);
    by_priority_.emplace(key, std::move(entry));
  } else if (back_to_its_place && options_.kind != kShuffle) {
    line_.push_front(std::move(entry));
  } else {
    line_.push_back(std::move(entry));
  }
}

Queue::Entry Queue::Pop() {
  Entry entry;
  if (options_.kind == kPriority) {
    entry = std::move(by_priority_.begin()->second);
    by_priority_.erase(by_priority_.begin());
    return entry;
  }
  if (options_.kind == kShuffle) {
    std::swap(line_[NextRandom() % line_.size()], line_.back());
    entry = std::move(line_.back());
    line_.pop_back();
    return entry;
  }
  entry = std::move(line_.front());
  line_.pop_front();
  return entry;
}

void Queue::GiveBack(std::vector<Entry>* taken) {
  for (; !taken->empty(); taken->pop_back()) Push(std::move(taken->back()), true);
}

uint32_t Queue::NextRandom() {
  if (undrawn_ == 0) {
    drawn_ = random_.Next();
    undrawn_ = 4;
  }
  return drawn_[4 - undrawn_--];
}

// A batch of the entries, component by component.
absl::StatusOr<Queue::Element> Queue::Stack(std::vector<Entry> entries) const {
  Element out;
  const int64_t n = static_cast<int64_t>(entries.size());
  for (size_t i = 0; i < options_.types.size(); ++i) {
    PartialShape declared = options_.shapes[i];
    Shape shape({n});
    bool ragged = false;
    for (int d = 0; d < declared.rank(); ++d) {
      int64_t size = declared.dim(d);
      if (size < 0) {
        size = 0;
        for (const Entry& e : entries) {
          ragged = ragged || e.parts[i].dim(d) != entries[0].parts[i].dim(d);
          size = std::max(size, e.parts[i].dim(d));
        }
      }
      shape.AddDim(size);
    }
    // Neighbours of one batch in one piece: share its bytes.
    bool together = n > 0 && !ragged && entries[0].parts[i].buffer() != nullptr;
    for (int64_t r = 1; together && r < n; ++r) {
      const Tensor &a = entries[r - 1].parts[i], &b = entries[r].parts[i];
      together = a.buffer() == b.buffer() &&
                 static_cast<const char*>(a.raw_data()) + a.num_bytes() == static_cast<const char*>(b.raw_data());
    }
    if (together) {
      const Tensor& first = entries[0].parts[i];
      size_t offset = static_cast<const char*>(first.raw_data()) - static_cast<const char*>(first.buffer()->data());
      out.emplace_back(first.dtype(), shape, first.buffer_ref(), offset);
      continue;
    }
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(options_.types[i], shape));
    if (ragged) ClearElements(&t);
    for (int64_t r = 0; r < n; ++r) CopyIntoRow(entries[r].parts[i], r, &t);
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace sluice
