#include "distributed/transport/connection.h"

#include <poll.h>
#include <sched.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "core/base/clock.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr size_t kReadBuffer = 64 << 10;
// Smaller tensors are copied behind the descriptors: an iovec of their own costs more.
constexpr uint64_t kInlineBytes = 512;
constexpr size_t kMaxPieces = 64;  // for one system call
// Large tensors: bytes for one system call, and how often a thread looks again before it sleeps.
constexpr uint64_t kChunk = 256 << 10;
constexpr int kPatience = 50;
constexpr uint64_t kDirectChunk = 16 << 20;
constexpr uint64_t kSpareQueue = 16 << 20;  // for frames that are not calls or answers

}  // namespace

Connection::Connection(Socket socket, std::unique_ptr<SendArena> out, std::shared_ptr<ReceiveArena> in,
                       const ConnectionOptions& options)
    : socket_(std::move(socket)),
      out_arena_(std::move(out)),
      in_arena_(std::move(in)),
      options_(options),
      buffer_(kReadBuffer) {}

Connection::~Connection() { shutdown(socket_.fd(), SHUT_RDWR); }  // before anything that was lent goes

absl::Status Connection::Send(FrameKind kind, uint64_t call, absl::Duration timeout, absl::string_view method,
                              Message message) {
  auto out = std::make_unique<Outgoing>();
  FrameHeader header;
  header.kind = kind;
  header.call = call;
  header.timeout_ns = timeout == absl::InfiniteDuration() ? 0 : absl::ToInt64Nanoseconds(timeout);
  header.method_bytes = static_cast<uint32_t>(method.size());
  header.tensors = static_cast<uint32_t>(message.tensors.size());
  header.body_bytes = message.body.size();
  if (method.size() > options_.limits.method_bytes || message.body.size() > options_.limits.body_bytes ||
      message.tensors.size() > options_.limits.tensors) {
    return ResourceExhausted("a message with a body of ", message.body.size(), " bytes and ", message.tensors.size(),
                             " tensors is beyond the transport's limits (", options_.limits.body_bytes, " bytes, ",
                             options_.limits.tensors, " tensors)");
  }
  out->message = std::move(message);
  Bytes descriptors, small;
  Pieces raw;
  std::vector<ArenaBlock, RecyclingAllocator<ArenaBlock>> blocks;
  Lent lent;
  bool direct = false;
  if (kind == FrameKind::kRequest || kind == FrameKind::kReply) {
    absl::MutexLock lock(&mu_);
    direct = peer_reads_;
  }
  const auto refuse = [&](absl::Status status) {
    for (const ArenaBlock& b : blocks) out_arena_->TakeBack(b);
    return status;
  };
  for (const Tensor& t : out->message.tensors) {
    TensorPlace place;
    const uint64_t bytes = t.IsValid() && IsPlain(t.dtype()) ? t.num_bytes() : 0;
    place.form = TensorPlace::kRaw;
    ArenaBlock block;
    if (out_arena_ && bytes >= options_.arena_threshold && out_arena_->Put(t.raw_data(), bytes, &block)) {
      place.form = TensorPlace::kArena;
      place.offset = block.offset;
      place.slot = block.slot;
      blocks.push_back(block);
    } else if (direct && bytes >= options_.direct_threshold) {
      place.form = TensorPlace::kRemote;
      place.offset = reinterpret_cast<uintptr_t>(t.raw_data());
      lent.tensors.push_back(t);
      lent.bytes += bytes;
    }
    absl::Status described = AppendTensorPlace(t, place, &descriptors);
    if (!described.ok()) return refuse(std::move(described));
    if (place.form != TensorPlace::kRaw || bytes == 0) continue;
    header.raw_bytes += bytes;
    if (raw.empty() && bytes <= kInlineBytes) {
      small.append(static_cast<const char*>(t.raw_data()), bytes);
    } else {
      raw.push_back({t.raw_data(), bytes});
    }
  }
  header.descriptor_bytes = descriptors.size();
  if (header.raw_bytes > options_.limits.raw_bytes) {
    return refuse(ResourceExhausted("a message of ", header.raw_bytes, " bytes is beyond the limit of ",
                                    options_.limits.raw_bytes));
  }
  out->head.resize(kFrameHeaderBytes);
  EncodeFrameHeader(header, &out->head[0]);
  const bool body_in_head = out->message.body.size() <= kReadBuffer / 2;
  out->head.append(method.data(), method.size());
  if (body_in_head) {
    out->head.append(out->message.body).append(descriptors).append(small);
    out->pieces.push_back({&out->head[0], out->head.size()});
  } else {
    const size_t before = out->head.size();
    out->head.append(descriptors).append(small);
    out->pieces.push_back({&out->head[0], before});
    out->pieces.push_back({&out->message.body[0], out->message.body.size()});
    out->pieces.push_back({&out->head[before], out->head.size() - before});
  }
  out->pieces.insert(out->pieces.end(), raw.begin(), raw.end());
  for (const iovec& p : out->pieces) out->bytes += p.iov_len;

  {
    absl::MutexLock lock(&mu_);
    if (closed_) return refuse(why_);
    // What tells a peer of a refusal, or gives memory back, must still find room.
    const bool data = kind == FrameKind::kRequest || kind == FrameKind::kReply;
    const uint64_t most = options_.max_queued_bytes + (data ? 0 : kSpareQueue);
    if ((!queue_.empty() || !lent_.empty()) && queued_bytes_ + out->bytes + lent.bytes > most) {
      return refuse(ResourceExhausted("the peer reads too slowly: ", queued_bytes_, " bytes wait for it already"));
    }
    queued_bytes_ += out->bytes + lent.bytes;
    if (lent.bytes > 0) lent_[call] = std::move(lent);
    queue_.push_back(std::move(out));
    if (writing_) return absl::OkStatus();
    writing_ = true;
  }
  absl::Status error;
  const bool all = WriteSome(&error);
  absl::MutexLock again(&mu_);
  if (!error.ok()) {
    Fail(error);
  } else if (!all) {
    writer_turn_ = true;
    changed_.SignalAll();
    if (!writer_started_) {
      writer_started_ = true;
      std::thread([self = shared_from_this()] { self->WriterThread(); }).detach();
    }
  }
  return absl::OkStatus();
}

bool Connection::WriteSome(absl::Status* error) {
  while (true) {
    Outgoing* out = nullptr;
    std::unique_ptr<Outgoing> written;  // freed without the lock
    {
      absl::MutexLock lock(&mu_);
      while (!queue_.empty() && queue_.front()->first == queue_.front()->pieces.size()) {
        queued_bytes_ -= queue_.front()->bytes;
        written = std::move(queue_.front());
        queue_.pop_front();
      }
      if (queue_.empty() || closed_) {
        writing_ = writer_turn_ = false;
        changed_.SignalAll();
        return true;
      }
      out = queue_.front().get();
    }
    msghdr message = {};
    message.msg_iov = &out->pieces[out->first];
    message.msg_iovlen = std::min(out->pieces.size() - out->first, kMaxPieces);
    ssize_t n = sendmsg(socket_.fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return false;
      *error = absl::UnavailableError(absl::StrCat("the connection broke: ", std::strerror(errno)));
      return false;
    }
    while (out->first < out->pieces.size()) {
      iovec& p = out->pieces[out->first];
      const size_t step = std::min<size_t>(p.iov_len, static_cast<size_t>(n));
      p.iov_base = static_cast<char*>(p.iov_base) + step;
      p.iov_len -= step;
      n -= static_cast<ssize_t>(step);
      if (p.iov_len > 0) break;
      ++out->first;
    }
  }
}

void Connection::WriterThread() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      while (!writer_turn_ && !closed_) changed_.Wait(&mu_);
      if (closed_) return;
    }
    absl::Status error;
    bool all = false;
    for (int patience = kPatience; patience > 0 && !all && error.ok(); --patience) {
      sched_yield();
      all = WriteSome(&error);
    }
    pollfd p = {socket_.fd(), POLLOUT, 0};
    if (!all && error.ok() && poll(&p, 1, 1000) > 0) WriteSome(&error);
    absl::MutexLock lock(&mu_);
    if (!error.ok()) Fail(error);
  }
}

void Connection::Fail(const absl::Status& status) {
  if (closed_) return;
  closed_ = true;
  why_ = status;
  changed_.SignalAll();
  shutdown(socket_.fd(), SHUT_RDWR);
}

void Connection::Flush(absl::Duration timeout) {
  const absl::Duration end = SystemClock()->Now() + timeout;
  absl::MutexLock lock(&mu_);
  while ((!queue_.empty() || !lent_.empty()) && !closed_) {
    const absl::Duration left = end - SystemClock()->Now();
    if (left <= absl::ZeroDuration()) return;
    changed_.WaitWithTimeout(&mu_, left);
  }
}

void Connection::Close() {
  absl::MutexLock lock(&mu_);
  Fail(absl::UnavailableError("the connection was closed"));
}

absl::Status Connection::Fill(size_t wanted) {
  if (end_ - begin_ >= wanted) return absl::OkStatus();
  std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  bool spinning = options_.spin > absl::ZeroDuration() && end_ == 0;
  const absl::Duration stop = spinning ? SystemClock()->Now() + options_.spin : absl::ZeroDuration();
  while (end_ < wanted) {
    const ssize_t n = recv(socket_.fd(), buffer_.data() + end_, buffer_.size() - end_, spinning ? MSG_DONTWAIT : 0);
    if (n > 0) {
      end_ += static_cast<size_t>(n);
    } else if (n == 0) {
      return absl::UnavailableError("the task closed the connection");
    } else if (errno == EAGAIN) {
      spinning = spinning && SystemClock()->Now() < stop;
    } else if (errno != EINTR) {
      return absl::UnavailableError(absl::StrCat("the connection broke: ", std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

absl::Status Connection::Read(void* to, uint64_t bytes) {
  char* at = static_cast<char*>(to);
  const size_t there = std::min<uint64_t>(bytes, end_ - begin_);
  std::memcpy(at, buffer_.data() + begin_, there);
  begin_ += there;
  at += there;
  bytes -= there;
  int patience = kPatience;
  while (bytes >= kReadBuffer / 2) {  // straight to its place
    // More is under way: sleeping for each packet would cost more than the packet.
    const ssize_t n = recv(socket_.fd(), at, std::min<uint64_t>(bytes, kChunk), patience > 0 ? MSG_DONTWAIT : 0);
    if (n == 0) return absl::UnavailableError("the task closed the connection");
    if (n > 0) patience = kPatience;
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        --patience;
        sched_yield();
        continue;
      }
      return absl::UnavailableError(absl::StrCat("the connection broke: ", std::strerror(errno)));
    }
    at += n;
    bytes -= static_cast<uint64_t>(n);
  }
  if (bytes == 0) return absl::OkStatus();
  RETURN_IF_ERROR(Fill(bytes));
  std::memcpy(at, buffer_.data() + begin_, bytes);
  begin_ += bytes;
  return absl::OkStatus();
}

absl::Status Connection::ReadString(uint64_t bytes, Bytes* out) {
  // Grows with what comes, not with what was announced.
  while (bytes > 0) {
    const uint64_t step = std::min<uint64_t>(bytes, std::max<uint64_t>(1 << 20, out->size()));
    const size_t before = out->size();
    out->resize(before + step);
    RETURN_IF_ERROR(Read(&(*out)[before], step));
    bytes -= step;
  }
  return absl::OkStatus();
}

absl::Status Connection::Skip(uint64_t bytes) {
  std::string waste;
  while (bytes > 0) {
    waste.resize(std::min<uint64_t>(bytes, 1 << 20));
    RETURN_IF_ERROR(Read(&waste[0], waste.size()));
    bytes -= waste.size();
  }
  return absl::OkStatus();
}

// --- The peer's memory ---

namespace {

struct PeerMemory {
  uint64_t address = 0;  // of a nonce
  char nonce[16];
};

bool ReadProcess(pid_t pid, uint64_t address, void* to, size_t bytes) {
  for (size_t done = 0; done < bytes;) {
    iovec here = {static_cast<char*>(to) + done, bytes - done};
    iovec there = {reinterpret_cast<void*>(address + done), bytes - done};
    const ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    if (n <= 0) return false;
    done += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace

void Connection::OfferMemory() {
  int domain = 0;
  socklen_t size = sizeof domain;
  if (!options_.direct || getsockopt(socket_.fd(), SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX ||
      getrandom(nonce_, sizeof nonce_, 0) != sizeof nonce_) {
    return;
  }
  PeerMemory offer;
  offer.address = reinterpret_cast<uintptr_t>(nonce_);
  std::memcpy(offer.nonce, nonce_, sizeof nonce_);
  const absl::string_view bytes(reinterpret_cast<const char*>(&offer), sizeof offer);
  Send(FrameKind::kMemory, 0, absl::ZeroDuration(), "", Message(bytes)).IgnoreError();
}

void Connection::LookAtMemory(absl::string_view bytes) {
  PeerMemory offer;
  ucred peer = {};
  socklen_t size = sizeof peer;
  char found[sizeof offer.nonce];
  if (!options_.direct || bytes.size() != sizeof offer ||
      getsockopt(socket_.fd(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid <= 0) {
    return;
  }
  std::memcpy(&offer, bytes.data(), sizeof offer);
  // Not allowed here, or the number means another process where the peer lives: the socket it is.
  if (!ReadProcess(peer.pid, offer.address, found, sizeof found) ||
      std::memcmp(found, offer.nonce, sizeof found) != 0) {
    return;
  }
  peer_pid_ = peer.pid;
  Send(FrameKind::kReads, 0, absl::ZeroDuration(), "", Message()).IgnoreError();
}

bool Connection::OnOwnFrame(const IncomingFrame& frame) {
  if (frame.header.kind < FrameKind::kMemory) return false;
  if (frame.header.kind == FrameKind::kMemory) {
    if (frame.message.ok()) LookAtMemory({frame.message->body.data(), frame.message->body.size()});
    return true;
  }
  Lent taken;  // its tensors go without the lock
  absl::MutexLock lock(&mu_);
  if (frame.header.kind == FrameKind::kReads) {
    peer_reads_ = true;
    return true;
  }
  auto it = lent_.find(frame.header.call);
  if (it == lent_.end()) return true;
  taken = std::move(it->second);
  lent_.erase(it);
  queued_bytes_ -= taken.bytes;
  changed_.SignalAll();
  return true;
}

absl::Status Connection::ReadPeer(uint64_t address, void* to, uint64_t bytes) {
  if (peer_pid_ == 0) return InvalidArgument("a tensor in memory that this task cannot read");
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t step = std::min<uint64_t>(bytes - done, kDirectChunk);
    const bool read = ReadProcess(peer_pid_, address + done, static_cast<char*>(to) + done, step);
    pollfd p = {socket_.fd(), POLLRDHUP, 0};
    if (poll(&p, 1, 0) > 0) return absl::UnavailableError("the task closed the connection");
    if (!read) return absl::UnavailableError("the task's memory cannot be read any more");
    done += step;
  }
  return absl::OkStatus();
}

absl::Status Connection::ReadFrame(IncomingFrame* frame) {
  RETURN_IF_ERROR(Fill(kFrameHeaderBytes));
  ASSIGN_OR_RETURN(frame->header, DecodeFrameHeader(buffer_.data() + begin_, options_.limits));
  begin_ += kFrameHeaderBytes;
  Message message;
  Bytes descriptors;
  RETURN_IF_ERROR(ReadString(frame->header.method_bytes, &frame->method));
  RETURN_IF_ERROR(ReadString(frame->header.body_bytes, &message.body));
  RETURN_IF_ERROR(ReadString(frame->header.descriptor_bytes, &descriptors));
  ASSIGN_OR_RETURN(TensorPlaces places, ParseTensorPlaces(descriptors, frame->header.tensors, frame->header.raw_bytes));
  absl::Status no_memory;
  bool direct = false;
  message.tensors.reserve(places.size());
  for (TensorPlace& place : places) {
    switch (place.form) {
      case TensorPlace::kNone:
        message.tensors.emplace_back();
        break;
      case TensorPlace::kEncoded:
        message.tensors.push_back(std::move(place.value));
        break;
      case TensorPlace::kArena: {
        if (!in_arena_) return InvalidArgument("a tensor in shared memory that this connection does not have");
        ASSIGN_OR_RETURN(RefPtr<Buffer> bytes, in_arena_->Borrow({place.offset, place.slot}, place.bytes));
        message.tensors.emplace_back(place.dtype, std::move(place.shape), std::move(bytes));
        break;
      }
      case TensorPlace::kRemote:
      case TensorPlace::kRaw: {
        const bool remote = place.form == TensorPlace::kRemote;
        direct = direct || remote;
        auto t = no_memory.ok() ? Tensor::Make(place.dtype, place.shape) : absl::StatusOr<Tensor>(no_memory);
        if (!t.ok()) {
          no_memory = t.status();
          if (!remote) RETURN_IF_ERROR(Skip(place.bytes));
          break;
        }
        RETURN_IF_ERROR(remote ? ReadPeer(place.offset, t->raw_data(), place.bytes) : Read(t->raw_data(), place.bytes));
        message.tensors.push_back(*std::move(t));
        break;
      }
    }
  }
  if (direct) RETURN_IF_ERROR(Send(FrameKind::kTaken, frame->header.call, absl::ZeroDuration(), "", Message()));
  if (no_memory.ok()) {
    frame->message = std::move(message);
  } else {
    frame->message = no_memory;
  }
  return absl::OkStatus();
}

absl::Status Connection::ReadLoop(const std::function<void(IncomingFrame)>& on_frame) {
  OfferMemory();
  absl::Status status;
  while (status.ok()) {
    IncomingFrame frame;
    frame.message = Message();
    status = ReadFrame(&frame);
    if (status.ok() && !OnOwnFrame(frame)) on_frame(std::move(frame));
  }
  absl::MutexLock lock(&mu_);
  Fail(status);
  return why_;
}

}  // namespace sluice
