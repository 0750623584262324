// Replies that are too large for one message of gRPC, in parts that the caller fetches.
#include <algorithm>
#include <random>

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

uint64_t NewId() {
  thread_local std::mt19937_64 random{std::random_device()()};
  return random();
}

}  // namespace

absl::Status ParkedReplies::Park(WireForm reply) {
  proto::PartsOffer offer;
  offer.set_id(NewId());
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
    first = parked_.empty();
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
    if (it == parked_.end()) return NotFound("no reply waits under this number: it was fetched, or nobody did for too long");
    const uint64_t bytes = it->second->reply.bytes;
    if (part.bytes() == 0 || part.bytes() > part_bytes_ || part.offset() >= bytes || part.bytes() > bytes - part.offset()) {
      return InvalidArgument("a part of ", part.bytes(), " bytes at ", part.offset(), " of ", bytes);
    }
    parked = it->second;
    parked->used = SystemClock()->Now();
    parked->taken += part.bytes();
    if (parked->taken >= bytes) parked_.erase(it);
  }
  Slices slices;
  uint64_t at = 0, begin = part.offset(), end = part.offset() + part.bytes();
  for (const grpc::Slice& s : parked->reply.slices) {
    const uint64_t from = std::max(begin, at), to = std::min(end, at + s.size());
    if (from < to) slices.push_back(s.sub(from - at, to - at));
    at += s.size();
  }
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
  if (parked_.empty()) return;
  SystemClock()->RunAfter(kParkedTime / 4, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Sweep();
  });
}

}  // namespace grpc_internal
}  // namespace sluice
