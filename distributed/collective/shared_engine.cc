#include "distributed/collective/shared_engine.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "runtime/collective/merge.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {
namespace {

using Segment = SharedSegment;

constexpr uint64_t kAhead = 2;             // chunks that are published before the first is merged
constexpr size_t kBlockBytes = 16 << 10;   // merged for all members before the next, so that sums stay in the cache
constexpr size_t kDivideBytes = 32 << 10;  // of a chunk: less is not worth a second meeting
constexpr size_t kStreamBytes = 6 << 20;   // results that large leave the caches alone
constexpr auto kSpin = std::chrono::microseconds(50);

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

SharedEngine::SharedEngine(std::unique_ptr<SharedSegment> segment, int rank, std::vector<std::string> devices,
                           Counters counters)
    : segment_(std::move(segment)),
      rank_(rank),
      devices_(std::move(devices)),
      members_(static_cast<int>(devices_.size())),
      counters_(std::move(counters)),
      thread_([this] { Loop(); }) {}

SharedEngine::~SharedEngine() {
  stop_.store(true);
  Fail(absl::AbortedError(absl::StrCat(NameOf(rank_), " has left the group")));
  thread_.join();
}

std::string SharedEngine::NameOf(int rank) const { return absl::StrCat("rank ", rank, " (", devices_[rank], ")"); }

void SharedEngine::Start(CollectiveRequest request, int64_t run, Collectives::Done done) {
  const Id id(static_cast<uint64_t>(request.instance_key), static_cast<uint64_t>(run));
  {
    absl::MutexLock lock(&mu_);
    pending_[id] = {std::move(request), std::move(done)};
    backlog_.push_back(id);
    Announce();
  }
  segment_->Ring(0);
  segment_->Ring(rank_);
}

void SharedEngine::Fail(const absl::Status& why) {
  segment_->Fail(why);
  segment_->Ring(rank_);
}

void SharedEngine::Leave(const absl::Status& why) { Fail(Annotate(why, absl::StrCat(NameOf(rank_), ": "))); }

void SharedEngine::Announce() {
  Segment::Member& me = segment_->member(rank_);
  while (!backlog_.empty()) {
    const uint64_t at = me.announced.load(std::memory_order_relaxed);
    if (at - segment_->header().seen[rank_].load(std::memory_order_acquire) >= Segment::kBoard) return;
    const Id id = backlog_.front();
    const CollectiveRequest& request = pending_[id].request;
    Segment::Entry& entry = segment_->entry(rank_, at);
    entry.instance = id.first;
    entry.run = id.second;
    entry.is_source = request.is_source ? 1 : 0;
    std::string signature = request.Signature();
    signature.resize(std::min(signature.size(), sizeof(entry.signature) - 1));
    std::memcpy(entry.signature, signature.c_str(), signature.size() + 1);
    backlog_.pop_front();
    me.announced.store(at + 1, std::memory_order_release);
  }
}

// Member 0: reads the boards and decides what runs next.
void SharedEngine::Schedule() {
  Segment::Header& h = segment_->header();
  for (int m = 0; m < members_; ++m) {
    const uint64_t announced = segment_->member(m).announced.load(std::memory_order_acquire);
    uint64_t seen = h.seen[m].load(std::memory_order_relaxed);
    if (announced - seen > Segment::kBoard) return segment_->Fail(Internal(NameOf(m), " broke the shared memory"));
    const bool full = announced - seen == Segment::kBoard;
    for (; seen < announced; ++seen) {
      Segment::Entry entry = segment_->entry(m, seen);
      entry.signature[sizeof(entry.signature) - 1] = '\0';
      auto& all = announced_[Id(entry.instance, entry.run)];
      all.resize(members_);
      all[m] = entry;
    }
    h.seen[m].store(seen, std::memory_order_release);
    if (full) segment_->Ring(m);
  }
  bool scheduled = false;
  for (auto it = announced_.begin(); it != announced_.end();) {
    const std::vector<Segment::Entry>& all = it->second;
    if (std::any_of(all.begin(), all.end(), [](const Segment::Entry& e) { return e.signature[0] == '\0'; })) {
      ++it;
      continue;
    }
    std::vector<int> sources;
    for (int m = 0; m < members_; ++m) {
      if (all[m].is_source != 0) sources.push_back(m);
      if (std::strcmp(all[m].signature, all[0].signature) != 0) {
        return segment_->Fail(InvalidArgument("the members do not agree: ", NameOf(0), " runs ", all[0].signature, ", ",
                                              NameOf(m), " runs ", all[m].signature));
      }
    }
    const bool broadcast = std::strncmp(all[0].signature, "CollectiveBcast", 15) == 0;
    if (broadcast && sources.size() != 1) {
      return segment_->Fail(
          InvalidArgument("ranks [", absl::StrJoin(sources, ", "), "] send (CollectiveBcastSend); one must"));
    }
    const uint64_t at = h.scheduled.load(std::memory_order_relaxed);
    for (int m = 0; m < members_; ++m) {
      if (at - segment_->member(m).done.load(std::memory_order_acquire) >= Segment::kBoard) return;
    }
    h.schedule[at % Segment::kBoard] = {it->first.first, it->first.second,
                                        broadcast ? static_cast<uint32_t>(sources[0]) : 0};
    h.scheduled.store(at + 1, std::memory_order_release);
    it = announced_.erase(it);
    scheduled = true;
  }
  if (scheduled) RingAll();
}

bool SharedEngine::Look() {
  {
    absl::MutexLock lock(&mu_);
    if (!backlog_.empty()) {
      Announce();
      segment_->Ring(0);
    }
  }
  if (rank_ == 0) Schedule();
  return segment_->header().scheduled.load(std::memory_order_acquire) > runs_;
}

void SharedEngine::Loop() {
  while (Wait([this] { return stop_.load(std::memory_order_relaxed) || Look(); })) {
    if (stop_.load()) break;
    const Segment::Scheduled next = segment_->header().schedule[runs_ % Segment::kBoard];
    Pending pending;
    {
      absl::MutexLock lock(&mu_);
      auto it = pending_.find(Id(next.instance, next.run));
      if (it != pending_.end()) {
        pending = std::move(it->second);
        pending_.erase(it);
      }
    }
    if (!pending.done) {
      segment_->Fail(Internal("an unknown run is scheduled: instance ", next.instance, ", run ", next.run));
      break;
    }
    const absl::Status status = Do(pending.request, static_cast<int>(next.source));
    ++runs_;
    Post(&Segment::Member::done, runs_);
    pending.done(status);
    if (!status.ok()) break;
  }
  // Whatever comes now ends with the group's reason.
  while (true) {
    std::map<Id, Pending> left;
    {
      absl::MutexLock lock(&mu_);
      left.swap(pending_);
      backlog_.clear();
    }
    const absl::Status why = segment_->failed() ? segment_->reason() : absl::AbortedError("the group has ended");
    for (auto& [id, p] : left) p.done(why);
    if (stop_.load()) return;
    const uint32_t bell = segment_->member(rank_).bell.load(std::memory_order_acquire);
    segment_->member(rank_).parked.store(1);
    bool more = false;
    {
      absl::MutexLock lock(&mu_);
      more = !pending_.empty();
    }
    if (!more && !stop_.load()) segment_->Sleep(rank_, bell);
    segment_->member(rank_).parked.store(0);
  }
}

bool SharedEngine::Wait(absl::FunctionRef<bool()> ready) {
  for (int i = 0; i < 100; ++i) {
    if (ready()) return true;
    Pause();
  }
  const auto until = std::chrono::steady_clock::now() + kSpin;
  do {
    // Another member may need this processor.
    sched_yield();
    for (int i = 0; i < 20; ++i) {
      if (ready()) return true;
      Pause();
    }
    if (segment_->failed()) return ready();
  } while (std::chrono::steady_clock::now() < until);
  Segment::Member& me = segment_->member(rank_);
  while (true) {
    const uint32_t bell = me.bell.load(std::memory_order_acquire);
    me.parked.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool now = ready();
    if (!now && !segment_->failed()) segment_->Sleep(rank_, bell);
    me.parked.store(0, std::memory_order_relaxed);
    if (now || ready()) return true;
    if (segment_->failed()) return false;
  }
}

bool SharedEngine::WaitAll(std::atomic<uint64_t> Segment::Member::*counter, uint64_t at_least) {
  int m = 0;
  return Wait([&] {
    while (m < members_ && (segment_->member(m).*counter).load(std::memory_order_acquire) >= at_least) ++m;
    return m == members_;
  });
}

void SharedEngine::Post(std::atomic<uint64_t> Segment::Member::*counter, uint64_t value) {
  (segment_->member(rank_).*counter).store(value, std::memory_order_release);
  RingAll();
}

void SharedEngine::RingAll() {
  for (int m = 0; m < members_; ++m) {
    if (m != rank_) segment_->Ring(m);
  }
}

absl::Status SharedEngine::Do(const CollectiveRequest& request, int source) {
  const bool divide = request.kind == CollectiveKind::kReduce && members_ > 2 && request.num_bytes() > kDivideBytes;
  const auto began = std::chrono::steady_clock::now();
  const absl::Status status = divide ? Divide(request) : Exchange(request, source);
  if (status.ok()) Count(request, source, divide, absl::FromChrono(std::chrono::steady_clock::now() - began));
  return status.ok() || !segment_->failed() ? status : segment_->reason();
}

void SharedEngine::Count(const CollectiveRequest& r, int source, bool divided, absl::Duration took) const {
  const size_t element = ElementSize(r.dtype);
  const int64_t per_chunk = static_cast<int64_t>(Segment::kSlotBytes / element);
  const int64_t whole = r.num_elements() / per_chunk, rest = r.num_elements() % per_chunk;
  // Of a tensor that is divided: the elements that a member merges.
  const auto part = [&](int m) {
    const auto of = [&](int64_t n) { return PartBegin(n, members_, m + 1) - PartBegin(n, members_, m); };
    return whole * of(per_chunk) + of(rest);
  };
  for (int m = 0; m < members_; ++m) {
    if (m == rank_ || !counters_[m]) continue;
    if (r.kind == CollectiveKind::kBroadcast && m != source) continue;
    // Divided: this member's part as the other one has it, and the other one's, merged.
    const int64_t read = divided ? part(rank_) + part(m) : r.num_elements();
    counters_[m]->Add(Way::kSharedMemory, {1, read * static_cast<int64_t>(element), absl::ToInt64Nanoseconds(took)});
  }
}

// Every member reads what every other one has published.
absl::Status SharedEngine::Exchange(const CollectiveRequest& r, int source) {
  const size_t element = ElementSize(r.dtype);
  const int64_t per_chunk = static_cast<int64_t>(Segment::kSlotBytes / element);
  const int64_t count = r.num_elements();
  const uint64_t chunks = static_cast<uint64_t>((count + per_chunk - 1) / per_chunk);
  const uint64_t first = chunks_;
  chunks_ += chunks;
  const char* in = static_cast<const char*>(r.input);
  char* out = static_cast<char*>(r.output);
  const bool stream = r.num_bytes() >= kStreamBytes;
  const absl::Status over = absl::AbortedError("the group has ended");
  auto merge = [&](uint64_t k) {
    const int64_t begin = static_cast<int64_t>(k) * per_chunk;
    const int64_t n = std::min(per_chunk, count - begin);
    char* to = out + begin * element;
    if (r.kind == CollectiveKind::kBroadcast) {
      const char* from = source == rank_ ? in + begin * element : segment_->slot(source, first + k);
      if (from != to) CopyOut(to, from, n * element, stream);
      return;
    }
    if (r.kind == CollectiveKind::kGather) {
      for (int m = 0; m < members_; ++m) {
        const char* from = m == rank_ ? in + begin * element : segment_->slot(m, first + k);
        CopyOut(out + (m * count + begin) * element, from, n * element, stream);
      }
      return;
    }
    const int64_t block = static_cast<int64_t>(kBlockBytes / element);
    for (int64_t b = 0; b < n; b += block) {
      const int64_t size = std::min(block, n - b);
      auto slot = [&](int m) { return segment_->slot(m, first + k) + b * element; };
      char* sum = to + b * element;
      const char* so_far = slot(0);
      for (int m = 1; m + 1 < members_; ++m, so_far = sum) Merge(r.dtype, r.merge, so_far, slot(m), sum, size);
      MergeLast(r.dtype, r.merge, so_far, slot(members_ - 1), sum, size, r.divide ? members_ : 1,
                stream && members_ == 2);
    }
  };
  for (uint64_t k = 0; k < chunks + kAhead; ++k) {
    if (k < chunks) {
      const uint64_t at = first + k;
      if (at >= Segment::kSlots && !WaitAll(&Segment::Member::consumed, at + 1 - Segment::kSlots)) return over;
      const int64_t begin = static_cast<int64_t>(k) * per_chunk;
      if (r.kind != CollectiveKind::kBroadcast || source == rank_) {
        std::memcpy(segment_->slot(rank_, at), in + begin * element, std::min(per_chunk, count - begin) * element);
      }
      Post(&Segment::Member::published, at + 1);
    }
    if (k < kAhead) continue;
    const uint64_t at = first + k - kAhead;
    if (!WaitAll(&Segment::Member::published, at + 1)) return over;
    merge(k - kAhead);
    // Both counters, so that either kind of run may follow.
    segment_->member(rank_).reduced.store(at + 1, std::memory_order_release);
    Post(&Segment::Member::consumed, at + 1);
  }
  return absl::OkStatus();
}

// Every member merges its part of each chunk.
absl::Status SharedEngine::Divide(const CollectiveRequest& r) {
  const size_t element = ElementSize(r.dtype);
  const int64_t per_chunk = static_cast<int64_t>(Segment::kSlotBytes / element);
  const int64_t count = r.num_elements();
  const uint64_t chunks = static_cast<uint64_t>((count + per_chunk - 1) / per_chunk);
  const uint64_t first = chunks_;
  chunks_ += chunks;
  const char* in = static_cast<const char*>(r.input);
  char* out = static_cast<char*>(r.output);
  const absl::Status over = absl::AbortedError("the group has ended");
  auto size_of = [&](uint64_t k) { return std::min(per_chunk, count - static_cast<int64_t>(k) * per_chunk); };
  auto publish = [&](uint64_t k) {
    const char* from = in + k * per_chunk * element;
    char* slot = segment_->slot(rank_, first + k);
    const int64_t n = size_of(k);
    // The own part is not sent; its place takes the result.
    const int64_t lo = PartBegin(n, members_, rank_) * element, hi = PartBegin(n, members_, rank_ + 1) * element;
    std::memcpy(slot, from, lo);
    std::memcpy(slot + hi, from + hi, n * element - hi);
  };
  auto reduce = [&](uint64_t k) {
    const int64_t n = size_of(k);
    const int64_t lo = PartBegin(n, members_, rank_), hi = PartBegin(n, members_, rank_ + 1);
    const int64_t block = static_cast<int64_t>(kBlockBytes / element);
    for (int64_t b = lo; b < hi; b += block) {
      const int64_t size = std::min(block, hi - b);
      auto part = [&](int m) {
        return (m == rank_ ? in + k * per_chunk * element : segment_->slot(m, first + k)) + b * element;
      };
      char* sum = segment_->slot(rank_, first + k) + b * element;
      const char* so_far = part(0);
      for (int m = 1; m + 1 < members_; ++m, so_far = sum) Merge(r.dtype, r.merge, so_far, part(m), sum, size);
      MergeLast(r.dtype, r.merge, so_far, part(members_ - 1), sum, size, r.divide ? members_ : 1, false);
    }
  };
  auto collect = [&](uint64_t k) {
    const int64_t n = size_of(k);
    char* to = out + k * per_chunk * element;
    for (int m = 0; m < members_; ++m) {
      const int64_t lo = PartBegin(n, members_, m) * element, hi = PartBegin(n, members_, m + 1) * element;
      CopyOut(to + lo, segment_->slot(m, first + k) + lo, hi - lo, r.num_bytes() >= kStreamBytes);
    }
  };
  for (uint64_t k = 0; k < chunks + 2; ++k) {
    if (k < chunks) {
      const uint64_t at = first + k;
      if (at >= Segment::kSlots && !WaitAll(&Segment::Member::consumed, at + 1 - Segment::kSlots)) return over;
      publish(k);
      Post(&Segment::Member::published, at + 1);
    }
    if (k >= 1 && k - 1 < chunks) {
      const uint64_t at = first + k - 1;
      if (!WaitAll(&Segment::Member::published, at + 1)) return over;
      reduce(k - 1);
      Post(&Segment::Member::reduced, at + 1);
    }
    if (k >= 2) {
      const uint64_t at = first + k - 2;
      if (!WaitAll(&Segment::Member::reduced, at + 1)) return over;
      collect(k - 2);
      Post(&Segment::Member::consumed, at + 1);
    }
  }
  return absl::OkStatus();
}

std::string SharedEngine::WaitsFor(int64_t instance, int64_t run) {
  std::vector<std::string> missing, behind;
  const uint64_t published = segment_->member(rank_).published.load();
  for (int m = 0; m < members_; ++m) {
    if (m == rank_) continue;
    bool there = false;
    const uint64_t announced = segment_->member(m).announced.load(std::memory_order_acquire);
    for (uint64_t i = announced; i > 0 && announced - i < Segment::kBoard && !there; --i) {
      const Segment::Entry& e = segment_->entry(m, i - 1);
      there = e.instance == static_cast<uint64_t>(instance) && e.run == static_cast<uint64_t>(run);
    }
    if (!there) missing.push_back(NameOf(m));
    if (segment_->member(m).published.load() < published) behind.push_back(NameOf(m));
  }
  if (missing.empty()) missing = behind;
  return absl::StrJoin(missing, ", ");
}

}  // namespace sluice
