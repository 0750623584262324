#include "distributed/collective/exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_join.h"
#include "core/base/status.h"
#include "runtime/collective/merge.h"

namespace sluice {
namespace {

constexpr int64_t kWindow = 16;            // lanes at once; at least two for each member
constexpr size_t kInlineBytes = 32 << 10;  // more is merged on a thread of its own
constexpr int kGreetAll = 16;              // members up to which everybody greets everybody
constexpr size_t kAlign = 64;
constexpr size_t kPrefix = 8;  // length of the signature, role

size_t PayloadBytes(const Tensor& packet, size_t header) { return packet.num_bytes() - header; }

}  // namespace

Exchange::Exchange(GroupView group, std::shared_ptr<void> keep, CollectiveRequest request, int64_t run,
                   Collectives::Done done)
    : group_(std::move(group)),
      keep_(std::move(keep)),
      request_(std::move(request)),
      run_(run),
      element_(static_cast<int64_t>(ElementSize(request_.dtype))),
      small_(request_.num_bytes() <= kSmallBytes),
      greet_all_(small_ || group_.size() <= kGreetAll || request_.kind == CollectiveKind::kBroadcast),
      signature_(request_.Signature()),
      done_(std::move(done)),
      hellos_(group_.size()),
      greeted_(group_.size()) {
  const uint32_t length = static_cast<uint32_t>(signature_.size());
  header_.assign((kPrefix + length + kAlign - 1) / kAlign * kAlign, '\0');
  std::memcpy(&header_[0], &length, 4);
  header_[4] = request_.is_source ? 1 : 0;
  std::memcpy(&header_[kPrefix], signature_.data(), length);
  chunk_ = std::max<int64_t>(16, static_cast<int64_t>(kChunkBytes) / element_ / 16 * 16);
  const int64_t count = request_.num_elements();
  const int64_t n = group_.size();
  const bool reduce = request_.kind == CollectiveKind::kReduce;
  const int64_t part = reduce ? ((count + 15) / 16 + n - 1) / n * 16 : count;  // the longest
  const int64_t parts = request_.kind == CollectiveKind::kBroadcast ? 1 : n;
  if (!small_) lanes_ = (part + chunk_ - 1) / chunk_ * parts;
  left_ = small_ ? 1 : lanes_;
  hellos_left_ = greet_all_ ? group_.size() - 1 : 1;
}

bool Exchange::Enter() {
  absl::MutexLock lock(&mu_);
  if (over_) return false;
  ++active_;
  return true;
}

void Exchange::Leave(const absl::Status& status) {
  mu_.Lock();
  --active_;
  if (!status.ok() && !over_) {
    status_ = status;
    over_ = true;
  }
  if (Complete()) over_ = true;
  ReportIfOver();
}

// May run wherever a transport drops what it has written, so it only hands over.
void Exchange::Taken() {
  absl::MutexLock lock(&mu_);
  --untaken_;
  if (over_ || active_ > 0 || !Complete()) return;
  over_ = true;
  group_.executor->Schedule([self = RefPtr<Exchange>::Share(this)] {
    self->mu_.Lock();
    self->ReportIfOver();
  });
}

void Exchange::Fail(absl::Status why) {
  mu_.Lock();
  if (!over_) {
    status_ = std::move(why);
    over_ = true;
  }
  ReportIfOver();
}

void Exchange::ReportIfOver() {
  Collectives::Done done;
  // Packets of others keep their exchanges, in one process, and theirs may keep this one: a run that failed gives them
  // back too.
  std::vector<Tensor> others;
  if (over_ && active_ == 0) {
    done.swap(done_);
    others.swap(hellos_);
  }
  const absl::Status status = status_;
  mu_.Unlock();
  others.clear();
  if (done) done(status);
}

std::string Exchange::WaitsFor() const {
  absl::MutexLock lock(&mu_);
  std::vector<std::string> ranks;
  auto add = [&](int r) { ranks.push_back(absl::StrCat("rank ", r, " (", group_.devices[r], ")")); };
  for (int r = 0; r < group_.size(); ++r) {
    if (r != group_.rank && greet_all_ && !greeted_[r]) add(r);
  }
  if (ranks.empty()) add(Previous());
  return absl::StrJoin(ranks, ", ");
}

void Exchange::Start() {
  if (!Enter()) return;
  const bool gives = small_ && request_.input != nullptr;
  absl::StatusOr<Tensor> hello = MakePacket(request_.input, gives ? request_.num_bytes() : 0);
  if (!hello.ok()) return Leave(hello.status());
  for (int i = 1; i < group_.size(); ++i) {
    const int to = (group_.rank + i) % group_.size();
    if (greet_all_ || i == 1) Send(kHello, 0, to, *hello);
  }
  for (int i = 1; i < group_.size(); ++i) {
    const int from = (group_.rank + group_.size() - i) % group_.size();
    if (greet_all_ || i == 1) Receive(kHello, 0, from, &Exchange::OnHello);
  }
  if (request_.kind != CollectiveKind::kBroadcast) Advance();
  Leave(absl::OkStatus());
}

std::string Exchange::Key(Phase phase, int64_t lane, int from, int to) const {
  return absl::StrCat(group_.devices[from], ";", absl::Hex(group_.generation), ";", request_.instance_key, ";", run_,
                      ";", absl::string_view(reinterpret_cast<const char*>(&phase), 1), ";", lane, ";", to);
}

void Exchange::Send(Phase phase, int64_t lane, int to, Tensor packet) {
  {
    absl::MutexLock lock(&mu_);
    ++untaken_;
  }
  const void* data = packet.raw_data();
  const Shape shape = packet.shape();
  RefPtr<Buffer> lent =
      Buffer::Borrow(data, packet.num_bytes(), [self = RefPtr<Exchange>::Share(this), packet]() mutable {
        packet = Tensor();
        self->Taken();
      });
  packet = Tensor();
  absl::Status sent = group_.rendezvous->Send(Key(phase, lane, group_.rank, to),
                                              {Tensor(DType::kUint8, shape, std::move(lent)), false});
  if (!sent.ok()) Fail(sent);
}

void Exchange::Receive(Phase phase, int64_t lane, int from,
                       absl::Status (Exchange::*handle)(int64_t lane, int from, Tensor)) {
  group_.rendezvous->RecvAsync(Key(phase, lane, from, group_.rank), [self = RefPtr<Exchange>::Share(this), lane, from,
                                                                     handle](absl::StatusOr<Rendezvous::Value> value) {
    if (!value.ok()) {
      return self->Fail(
          Annotate(value.status(), absl::StrCat("waiting for rank ", from, " (", self->group_.devices[from], "): ")));
    }
    Tensor packet = std::move(value->tensor);
    if (packet.num_bytes() <= kInlineBytes) {
      if (self->Enter()) self->Leave(((*self).*handle)(lane, from, std::move(packet)));
      return;
    }
    self->group_.executor->Schedule([self, lane, from, handle, packet = std::move(packet)] {
      if (self->Enter()) self->Leave(((*self).*handle)(lane, from, packet));
    });
  });
}

absl::StatusOr<Tensor> Exchange::MakePacket(const void* payload, size_t bytes) const {
  ASSIGN_OR_RETURN(Tensor packet, Tensor::Make(DType::kUint8, Shape({static_cast<int64_t>(header_.size() + bytes)})));
  std::memcpy(packet.raw_data(), header_.data(), header_.size());
  if (payload != nullptr && bytes > 0) std::memcpy(packet.data<char>() + header_.size(), payload, bytes);
  return packet;
}

absl::Status Exchange::CheckPacket(const Tensor& packet, int from, size_t bytes) const {
  const std::string rank = absl::StrCat("rank ", from, " (", group_.devices[from], ")");
  if (packet.dtype() != DType::kUint8 || packet.num_bytes() < kPrefix) return Internal(rank, " sent no packet");
  uint32_t length = 0;
  std::memcpy(&length, packet.raw_data(), 4);
  if (length > packet.num_bytes() - kPrefix || length > 4096) return Internal(rank, " sent no packet");
  const absl::string_view theirs(packet.data<char>() + kPrefix, length);
  if (theirs != signature_) {
    return InvalidArgument("the members do not agree: ", rank, " runs ", theirs, ", this one (rank ", group_.rank, ", ",
                           group_.devices[group_.rank], ") runs ", signature_);
  }
  if (packet.num_bytes() < header_.size() || PayloadBytes(packet, header_.size()) != bytes) {
    return Internal(rank, " sent a packet of ", packet.num_bytes(), " bytes, wanted ", header_.size() + bytes);
  }
  return absl::OkStatus();
}

absl::Status Exchange::OnHello(int64_t, int from, Tensor packet) {
  const bool broadcast = request_.kind == CollectiveKind::kBroadcast;
  const bool source = packet.num_bytes() >= kPrefix && packet.data<char>()[4] != 0;
  const bool gives = small_ && (!broadcast || source);
  RETURN_IF_ERROR(CheckPacket(packet, from, gives ? request_.num_bytes() : 0));
  std::vector<Tensor> all;
  {
    absl::MutexLock lock(&mu_);
    hellos_[from] = std::move(packet);
    greeted_[from] = true;
    if (--hellos_left_ > 0) return absl::OkStatus();
    all.swap(hellos_);  // what others sent is given back before this run ends
  }
  if (broadcast) {
    std::vector<int> sources;
    for (int r = 0; r < group_.size(); ++r) {
      if (r == group_.rank ? request_.is_source : all[r].data<char>()[4] != 0) sources.push_back(r);
    }
    if (sources.size() != 1) {
      return InvalidArgument("ranks [", absl::StrJoin(sources, ", "), "] send (CollectiveBcastSend); one must");
    }
    source_ = sources[0];
  }
  if (small_) return FinishSmall(all);
  if (broadcast) Advance();
  return absl::OkStatus();
}

absl::Status Exchange::FinishSmall(const std::vector<Tensor>& all) {
  const size_t bytes = request_.num_bytes();
  auto input = [&](int r) { return r == group_.rank ? static_cast<const char*>(request_.input) : Payload(all[r]); };
  char* out = Out(0);
  if (bytes > 0 && request_.kind == CollectiveKind::kReduce) {
    alignas(kAlign) char sum[kSmallBytes];
    std::memcpy(sum, input(0), bytes);
    for (int r = 1; r < group_.size(); ++r) {
      Merge(request_.dtype, request_.merge, sum, input(r), sum, request_.num_elements());
    }
    if (request_.divide) DivideBy(request_.dtype, group_.size(), sum, request_.num_elements());
    std::memcpy(out, sum, bytes);
  } else if (bytes > 0 && request_.kind == CollectiveKind::kGather) {
    for (int r = 0; r < group_.size(); ++r) std::memcpy(out + r * bytes, input(r), bytes);
  } else if (bytes > 0 && out != input(source_)) {
    std::memcpy(out, input(source_), bytes);
  }
  absl::MutexLock lock(&mu_);
  left_ = 0;
  return absl::OkStatus();
}

Exchange::Lane Exchange::LaneAt(int64_t i) const {
  Lane lane;
  const int64_t count = request_.num_elements();
  const int64_t n = group_.size();
  int64_t lo = 0, hi = count;
  if (request_.kind == CollectiveKind::kBroadcast) {
    lane.part = source_;
    lo = i * chunk_;
  } else {
    lane.part = static_cast<int>(i % n);
    if (request_.kind == CollectiveKind::kReduce) {
      lo = PartBegin(count, n, lane.part);
      hi = PartBegin(count, n, lane.part + 1);
    } else {
      lane.out = lane.part * count;
    }
    lo += i / n * chunk_;
  }
  lane.begin = lo;
  lane.count = std::min(chunk_, hi - lo);
  lane.out += lo;
  return lane;
}

void Exchange::Advance() {
  const int64_t window = std::max<int64_t>(kWindow, 2 * group_.size());
  while (true) {
    int64_t lane = 0;
    {
      absl::MutexLock lock(&mu_);
      if (over_ || next_lane_ == lanes_ || open_ >= window) return;
      lane = next_lane_++;
      ++open_;
    }
    if (absl::Status started = StartLane(lane); !started.ok()) return Fail(started);
  }
}

void Exchange::LaneDone() {
  absl::MutexLock lock(&mu_);
  --open_;
  --left_;
}

absl::Status Exchange::StartLane(int64_t i) {
  const Lane lane = LaneAt(i);
  if (lane.count <= 0) {
    LaneDone();
    return absl::OkStatus();
  }
  const int n = group_.size();
  const size_t bytes = static_cast<size_t>(lane.count * element_);
  const bool reduce = request_.kind == CollectiveKind::kReduce;
  const bool starts = reduce ? (lane.part + 1) % n == group_.rank : lane.part == group_.rank;
  if (starts) {
    ASSIGN_OR_RETURN(Tensor packet, MakePacket(In(lane.begin), bytes));
    if (!reduce && Out(lane.out) != In(lane.begin)) std::memcpy(Out(lane.out), In(lane.begin), bytes);
    Send(reduce ? kMerging : kHanding, i, Next(), std::move(packet));
  } else if (reduce) {
    Receive(kMerging, i, Previous(), &Exchange::OnMerging);
  }
  if (request_.kind == CollectiveKind::kGather && starts) {
    LaneDone();
  } else if (!reduce || lane.part != group_.rank) {
    Receive(kHanding, i, Previous(), &Exchange::OnHanding);
  }
  return absl::OkStatus();
}

absl::Status Exchange::OnMerging(int64_t i, int from, Tensor packet) {
  const Lane lane = LaneAt(i);
  const size_t bytes = static_cast<size_t>(lane.count * element_);
  RETURN_IF_ERROR(CheckPacket(packet, from, bytes));
  ASSIGN_OR_RETURN(Tensor merged, MakePacket(nullptr, bytes));
  char* to = merged.data<char>() + header_.size();
  Merge(request_.dtype, request_.merge, Payload(packet), In(lane.begin), to, lane.count);
  if (lane.part != group_.rank) {
    Send(kMerging, i, Next(), std::move(merged));
    return absl::OkStatus();
  }
  if (request_.divide) DivideBy(request_.dtype, group_.size(), to, lane.count);
  std::memcpy(Out(lane.out), to, bytes);
  Send(kHanding, i, Next(), std::move(merged));
  LaneDone();
  Advance();
  return absl::OkStatus();
}

absl::Status Exchange::OnHanding(int64_t i, int from, Tensor packet) {
  const Lane lane = LaneAt(i);
  const size_t bytes = static_cast<size_t>(lane.count * element_);
  // The source of a broadcast hears from the last member that the chunk has gone round: this is what bounds memory.
  const bool back = request_.kind == CollectiveKind::kBroadcast && request_.is_source;
  RETURN_IF_ERROR(CheckPacket(packet, from, back ? 0 : bytes));
  if (!back) {
    std::memcpy(Out(lane.out), Payload(packet), bytes);
    if (Next() != lane.part) {
      Send(kHanding, i, Next(), std::move(packet));
    } else if (request_.kind == CollectiveKind::kBroadcast) {
      ASSIGN_OR_RETURN(Tensor heard, MakePacket(nullptr, 0));
      Send(kHanding, i, Next(), std::move(heard));
    }
  }
  LaneDone();
  Advance();
  return absl::OkStatus();
}

}  // namespace sluice
