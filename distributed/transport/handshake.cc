#include "distributed/transport/handshake.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "core/base/status.h"
#include "distributed/transport/frame.h"
#include "distributed/transport/socket.h"

namespace sluice {
namespace {

constexpr size_t kMaxToken = 256;
constexpr size_t kMaxText = 1024;

// Hello and welcome: a frame whose body is the size of the arena (0: none) and a text (token, or reason of a refusal).
absl::Status SendGreeting(int fd, FrameKind kind, const SendArena* arena, absl::string_view text,
                          absl::Duration timeout) {
  const uint64_t bytes = arena ? arena->bytes() : 0;
  FrameHeader header;
  header.kind = kind;
  header.body_bytes = sizeof bytes + text.size();
  std::string out(kFrameHeaderBytes, '\0');
  EncodeFrameHeader(header, &out[0]);
  out.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
  out.append(text.data(), text.size());
  return SendAll(fd, out.data(), out.size(), arena ? arena->fd() : -1, timeout);
}

struct Greeting {
  FrameKind kind = FrameKind::kHello;
  uint64_t arena_bytes = 0;
  std::string text;
  int fd = -1;
  Greeting() = default;
  Greeting(Greeting&& other) noexcept
      : kind(other.kind),
        arena_bytes(other.arena_bytes),
        text(std::move(other.text)),
        fd(std::exchange(other.fd, -1)) {}
  ~Greeting() {
    if (fd >= 0) close(fd);
  }
};

absl::StatusOr<Greeting> ReceiveGreeting(int fd, size_t max_text, absl::Duration timeout) {
  Greeting g;
  char bytes[kFrameHeaderBytes];
  RETURN_IF_ERROR(ReceiveAll(fd, bytes, sizeof bytes, &g.fd, timeout));
  FrameLimits limits;
  limits.method_bytes = limits.descriptor_bytes = limits.raw_bytes = limits.tensors = 0;
  limits.body_bytes = sizeof g.arena_bytes + max_text;
  ASSIGN_OR_RETURN(const FrameHeader header, DecodeFrameHeader(bytes, limits));
  if (header.body_bytes < sizeof g.arena_bytes) return InvalidArgument("a greeting is cut off");
  g.kind = header.kind;
  g.text.resize(header.body_bytes - sizeof g.arena_bytes);
  RETURN_IF_ERROR(ReceiveAll(fd, &g.arena_bytes, sizeof g.arena_bytes, &g.fd, timeout));
  RETURN_IF_ERROR(ReceiveAll(fd, &g.text[0], g.text.size(), &g.fd, timeout));
  return g;
}

bool SameToken(absl::string_view a, absl::string_view b) {
  unsigned different = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i) different |= static_cast<unsigned char>(a[i] ^ b[b.empty() ? 0 : i % b.size()]);
  return different == 0;
}

}  // namespace

absl::StatusOr<Arenas> ClientHandshake(int fd, const HandshakeOptions& options, bool want_arenas) {
  Arenas arenas;
  if (want_arenas && options.arena_bytes > 0) {
    auto made = SendArena::Make(options.arena_bytes);
    if (made.ok()) arenas.out = *std::move(made);
  }
  RETURN_IF_ERROR(SendGreeting(fd, FrameKind::kHello, arenas.out.get(), options.token, options.timeout));
  ASSIGN_OR_RETURN(Greeting answer, ReceiveGreeting(fd, kMaxText, options.timeout));
  if (answer.kind == FrameKind::kRefused) {
    return absl::PermissionDeniedError(absl::StrCat("the task refused the connection: ", answer.text));
  }
  if (answer.kind != FrameKind::kWelcome) return InvalidArgument("the peer did not greet");
  if (answer.arena_bytes == 0 || answer.fd < 0) {
    arenas.out = nullptr;
    return arenas;
  }
  ASSIGN_OR_RETURN(arenas.in, ReceiveArena::Map(std::exchange(answer.fd, -1), answer.arena_bytes));
  return arenas;
}

absl::StatusOr<Arenas> ServerHandshake(int fd, const HandshakeOptions& options, bool is_unix) {
  const auto refuse = [&](absl::string_view why) {
    SendGreeting(fd, FrameKind::kRefused, nullptr, why, options.timeout).IgnoreError();
    return absl::PermissionDeniedError(why);
  };
  absl::StatusOr<Greeting> greeting = ReceiveGreeting(fd, kMaxToken, options.timeout);
  // A peer of another version learns which; what is no greeting at all gets nothing.
  if (absl::StrContains(greeting.status().message(), "speaks version")) return refuse(greeting.status().message());
  if (!greeting.ok()) return greeting.status();
  Greeting& hello = *greeting;
  if (hello.kind != FrameKind::kHello) return InvalidArgument("the peer did not greet");
  if (is_unix && !PeerIsSameUser(fd)) return refuse("it belongs to another user");
  if (!SameToken(hello.text, options.token)) {
    return refuse("wrong token (the task was started again, or it is another task)");
  }
  Arenas arenas;
  if (is_unix && hello.arena_bytes > 0 && hello.fd >= 0 && options.arena_bytes > 0) {
    auto in = ReceiveArena::Map(std::exchange(hello.fd, -1), hello.arena_bytes);
    if (!in.ok()) return refuse(in.status().message());
    auto out = SendArena::Make(options.arena_bytes);
    if (out.ok()) {
      arenas.in = *std::move(in);
      arenas.out = *std::move(out);
    }
  }
  RETURN_IF_ERROR(SendGreeting(fd, FrameKind::kWelcome, arenas.out.get(), "", options.timeout));
  return arenas;
}

}  // namespace sluice
