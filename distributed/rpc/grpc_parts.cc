// What is too large for one message of gRPC: replies in parts that the caller fetches, requests in parts that it sends.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <random>
#include <utility>

#include "absl/strings/cord.h"
#include "core/base/clock.h"
#include "core/base/status.h"
#include "distributed/rpc/call.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/status.pb.h"
#include "distributed/rpc/status_codec.h"

namespace sluice {
namespace grpc_internal {
namespace {

constexpr absl::Duration kParkedTime = absl::Seconds(60);
constexpr size_t kMostParked = 256;

constexpr size_t kMostIncoming = 256;

// Before the bytes of a part of a request. Both sides are of one byte order, as tensors are.
struct PartHeader {
  uint64_t id = 0;
  uint64_t bytes = 0;  // of the whole request
  uint64_t offset = 0;
};

void AppendPart(const Slices& from, uint64_t begin, uint64_t end, Slices* to) {
  uint64_t at = 0;
  for (const grpc::Slice& s : from) {
    const uint64_t first = std::max(begin, at), last = std::min(end, at + s.size());
    if (first < last) to->push_back(s.sub(first - at, last - at));
    at += s.size();
  }
}

}  // namespace

uint64_t NewPartsId() {
  thread_local std::mt19937_64 random{std::random_device()()};
  return random();
}

absl::Status ParkedReplies::Park(WireForm reply) {
  proto::PartsOffer offer;
  offer.set_id(NewPartsId());
  offer.set_bytes(reply.bytes);
  offer.set_part_bytes(part_bytes_);
  absl::Status status = TransportError(
      absl::StatusCode::kResourceExhausted,
      absl::StrCat("a reply of ", reply.bytes, " bytes is too large for one message: it waits to be fetched in parts"));
  auto parked = std::make_shared<Parked>();
  parked->reply = std::move(reply);
  parked->used = SystemClock()->Now();
  bool first = false;
  {
    absl::MutexLock lock(&mu_);
    if (parked_.size() >= kMostParked) {
      return TransportError(absl::StatusCode::kResourceExhausted,
                            absl::StrCat(kMostParked, " large replies wait to be fetched already"));
    }
    first = !std::exchange(sweeping_, true);
    parked_.emplace(offer.id(), std::move(parked));
  }
  if (first) Sweep();
  status.SetPayload(kPartsPayload, absl::Cord(offer.SerializeAsString()));
  return status;
}

absl::StatusOr<grpc::ByteBuffer> ParkedReplies::Take(grpc::ByteBuffer* request) {
  ASSIGN_OR_RETURN(Message message, FromByteBuffer(request));
  proto::PartRequest part;
  RETURN_IF_ERROR(Unpack(message, &part));
  std::shared_ptr<Parked> parked;
  {
    absl::MutexLock lock(&mu_);
    auto it = parked_.find(part.id());
    if (it == parked_.end())
      return NotFound("no reply waits under this number: it was fetched, or nobody did for too long");
    const uint64_t bytes = it->second->reply.bytes;
    if (part.bytes() == 0 || part.bytes() > part_bytes_ || part.offset() >= bytes ||
        part.bytes() > bytes - part.offset()) {
      return InvalidArgument("a part of ", part.bytes(), " bytes at ", part.offset(), " of ", bytes);
    }
    parked = it->second;
    parked->used = SystemClock()->Now();
    parked->taken += part.bytes();
    if (parked->taken >= bytes) parked_.erase(it);
  }
  Slices slices;
  AppendPart(parked->reply.slices, part.offset(), part.offset() + part.bytes(), &slices);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

void ParkedReplies::Sweep() {
  std::vector<std::shared_ptr<Parked>> gone;
  absl::MutexLock lock(&mu_);
  const absl::Duration now = SystemClock()->Now();
  for (auto it = parked_.begin(); it != parked_.end();) {
    if (now - it->second->used < kParkedTime) {
      ++it;
      continue;
    }
    gone.push_back(std::move(it->second));
    it = parked_.erase(it);
  }
  sweeping_ = !parked_.empty();
  if (!sweeping_) return;
  SystemClock()->RunAfter(kParkedTime / 4, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Sweep();
  });
}

grpc::ByteBuffer PartOfRequest(const WireForm& request, uint64_t id, uint64_t offset, uint64_t bytes) {
  const PartHeader header = {id, request.bytes, offset};
  Slices slices;
  slices.emplace_back(&header, sizeof header);
  AppendPart(request.slices, offset, offset + bytes, &slices);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

absl::Status IncomingRequests::Add(grpc::ByteBuffer* buffer) {
  std::vector<grpc::Slice> slices;
  if (!buffer->Valid() || !buffer->Dump(&slices).ok())
    return InvalidArgument("a part of a request that cannot be read");
  PartHeader header;
  size_t read = 0;
  while (read < sizeof header && !slices.empty()) {
    const size_t n = std::min(sizeof header - read, slices[0].size());
    std::memcpy(reinterpret_cast<char*>(&header) + read, slices[0].begin(), n);
    read += n;
    if (n == slices[0].size()) {
      slices.erase(slices.begin());
    } else {
      slices[0] = slices[0].sub(n, slices[0].size());
    }
  }
  uint64_t bytes = 0;
  for (const grpc::Slice& s : slices) bytes += s.size();
  if (read < sizeof header || bytes == 0 || header.bytes > kMaxMessageBytes || header.offset >= header.bytes ||
      bytes > header.bytes - header.offset) {
    return InvalidArgument("a part of ", bytes, " bytes at ", header.offset, " of a request of ", header.bytes);
  }
  const uint64_t end = header.offset + bytes;
  bool first = false;
  {
    absl::MutexLock lock(&mu_);
    if ((requests_.size() >= kMostIncoming && requests_.count(header.id) == 0) || bytes > kMaxMessageBytes - held_) {
      return TransportError(
          absl::StatusCode::kResourceExhausted,
          absl::StrCat(requests_.size(), " large requests with ", held_, " bytes are on their way already"));
    }
    first = !std::exchange(sweeping_, true);
    Request& r = requests_[header.id];
    if (r.came == 0) r.bytes = header.bytes;
    const auto after = r.ends.upper_bound(header.offset);
    if (r.bytes != header.bytes || (after != r.ends.end() && after->first < end) ||
        (after != r.ends.begin() && std::prev(after)->second > header.offset)) {
      return InvalidArgument("parts of a request overlap");
    }
    r.ends[header.offset] = end;
    r.parts[header.offset] = std::move(slices);
    r.came += bytes;
    r.used = SystemClock()->Now();
    held_ += bytes;
  }
  if (first) Sweep();
  return absl::OkStatus();
}

absl::StatusOr<Message> IncomingRequests::Take(grpc::ByteBuffer* call, std::string* method) {
  ASSIGN_OR_RETURN(Message message, FromByteBuffer(call));
  proto::WholeRequest whole;
  RETURN_IF_ERROR(Unpack(message, &whole));
  Request request;
  {
    absl::MutexLock lock(&mu_);
    auto it = requests_.find(whole.id());
    if (it == requests_.end()) {
      return NotFound("no parts of this request came, or nobody went on with it for ",
                      absl::FormatDuration(kParkedTime));
    }
    if (it->second.came != whole.bytes() || it->second.bytes != whole.bytes()) {
      return InvalidArgument("of a request of ", whole.bytes(), " bytes ", it->second.came, " came");
    }
    request = std::move(it->second);
    requests_.erase(it);
    held_ -= request.came;
  }
  *method = whole.method();
  std::vector<grpc::Slice> slices;
  for (auto& [offset, part] : request.parts) std::move(part.begin(), part.end(), std::back_inserter(slices));
  return FromSlices(slices);
}

void IncomingRequests::Sweep() {
  std::vector<Request> gone;
  absl::MutexLock lock(&mu_);
  const absl::Duration now = SystemClock()->Now();
  for (auto it = requests_.begin(); it != requests_.end();) {
    if (now - it->second.used < kParkedTime) {
      ++it;
      continue;
    }
    held_ -= it->second.came;
    gone.push_back(std::move(it->second));
    it = requests_.erase(it);
  }
  sweeping_ = !requests_.empty();
  if (!sweeping_) return;
  SystemClock()->RunAfter(kParkedTime / 4, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Sweep();
  });
}

}  // namespace grpc_internal
}  // namespace sluice
