#include "distributed/transport/socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "core/base/clock.h"
#include "core/base/status.h"

namespace sluice {
namespace {

absl::Status Errno(absl::StatusCode code, absl::string_view what) {
  return absl::Status(code, absl::StrCat(what, ": ", std::strerror(errno)));
}

struct HostPort {
  std::string host, port;
};

HostPort Split(absl::string_view tcp) {
  absl::ConsumePrefix(&tcp, "tcp:");
  const size_t colon = tcp.rfind(':');
  absl::string_view host = tcp.substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return {std::string(host), std::string(tcp.substr(colon + 1))};
}

sockaddr_un UnixAddress(absl::string_view address, socklen_t* size) {
  absl::ConsumePrefix(&address, "unix:");
  sockaddr_un out = {};
  out.sun_family = AF_UNIX;
  std::memcpy(out.sun_path, address.data(), address.size());
  if (address[0] == '@') out.sun_path[0] = '\0';
  *size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size() + (address[0] == '@' ? 0 : 1));
  return out;
}

using Resolved = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

absl::StatusOr<Resolved> Resolve(const std::string& address, int flags) {
  const HostPort at = Split(address);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(at.host.c_str(), at.port.c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("the host name of ", address, " does not resolve: ", gai_strerror(error)));
  }
  return Resolved(found, freeaddrinfo);
}

// Waits until `events` are there. False: the time is over.
bool WaitFor(int fd, short events, absl::Duration end) {
  while (true) {
    const absl::Duration left = end - SystemClock()->Now();
    if (left <= absl::ZeroDuration()) return false;
    pollfd p = {fd, events, 0};
    const int n = poll(&p, 1, static_cast<int>(std::min<int64_t>(absl::ToInt64Milliseconds(left) + 1, 1000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

absl::StatusOr<Socket> ConnectOne(int family, const sockaddr* to, socklen_t size, const std::string& address,
                                  absl::Duration end, const std::function<bool()>& give_up) {
  Socket s(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (s.fd() < 0) return Errno(absl::StatusCode::kUnavailable, "no socket");
  if (connect(s.fd(), to, size) != 0) {
    if (errno != EINPROGRESS && errno != EAGAIN) {
      return Errno(absl::StatusCode::kUnavailable, absl::StrCat("cannot connect to ", address));
    }
    while (true) {
      const absl::Duration now = SystemClock()->Now();
      if (now >= end || give_up()) {
        return absl::UnavailableError(absl::StrCat("cannot connect to ", address, ": no answer in time"));
      }
      if (WaitFor(s.fd(), POLLOUT, std::min(end, now + absl::Milliseconds(100)))) break;
    }
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(s.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) {
      errno = error;
      return Errno(absl::StatusCode::kUnavailable, absl::StrCat("cannot connect to ", address));
    }
  }
  fcntl(s.fd(), F_SETFL, fcntl(s.fd(), F_GETFL) & ~O_NONBLOCK);
  return s;
}

absl::StatusOr<BoundSocket> BindUnix(const std::string& address) {
  socklen_t size = 0;
  const sockaddr_un at = UnixAddress(address, &size);
  for (int attempt = 0; attempt < 2; ++attempt) {
    BoundSocket out{Socket(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), address};
    if (out.socket.fd() < 0) return Errno(absl::StatusCode::kUnavailable, "no socket");
    if (bind(out.socket.fd(), reinterpret_cast<const sockaddr*>(&at), size) == 0) {
      if (at.sun_path[0] != '\0') chmod(at.sun_path, 0600);
      if (listen(out.socket.fd(), 512) != 0) return Errno(absl::StatusCode::kUnavailable, "cannot listen");
      return out;
    }
    if (errno != EADDRINUSE)
      return Errno(absl::StatusCode::kInvalidArgument, absl::StrCat("cannot listen on ", address));
    // Somebody's, or left by a process that is gone?
    Socket probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (at.sun_path[0] == '\0' || connect(probe.fd(), reinterpret_cast<const sockaddr*>(&at), size) == 0 ||
        errno != ECONNREFUSED) {
      break;
    }
    unlink(at.sun_path);
  }
  return absl::AlreadyExistsError(
      absl::StrCat("cannot listen on ", address, ": another process listens there; stop it or choose another path"));
}

}  // namespace

Socket::~Socket() {
  if (fd_ >= 0) close(fd_);
}

absl::Status CheckSocketAddress(const std::string& address) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (rest.empty() || rest == "@" || rest.size() > 100 || (rest[0] != '/' && rest[0] != '@')) {
      return InvalidArgument("address '", address,
                             "' is not of the form unix:/path or unix:@name, of at most 100 bytes");
    }
    return absl::OkStatus();
  }
  int port = -1;
  const size_t colon = rest.rfind(':');
  if (!absl::ConsumePrefix(&rest, "tcp:") || rest.rfind(':') == absl::string_view::npos || rest[0] == ':' ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 || port > 65535) {
    return InvalidArgument("address '", address, "' is not of the form tcp:host:port");
  }
  return absl::OkStatus();
}

bool IsReachableFromOutside(const std::string& address) {
  if (!absl::StartsWith(address, "tcp:")) return false;
  const std::string host = Split(address).host;
  return host != "localhost" && host != "::1" && !absl::StartsWith(host, "127.");
}

absl::StatusOr<BoundSocket> BindAndListen(const std::string& address) {
  RETURN_IF_ERROR(CheckSocketAddress(address));
  if (absl::StartsWith(address, "unix:")) return BindUnix(address);
  ASSIGN_OR_RETURN(Resolved found, Resolve(address, AI_PASSIVE));
  // The IPv4 address first: "localhost" is bound once.
  const addrinfo* a = found.get();
  for (const addrinfo* i = a; i != nullptr; i = i->ai_next) {
    if (i->ai_family == AF_INET) {
      a = i;
      break;
    }
  }
  BoundSocket out{Socket(socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)), ""};
  const int on = 1;
  setsockopt(out.socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(out.socket.fd(), a->ai_addr, a->ai_addrlen) != 0 || listen(out.socket.fd(), 512) != 0) {
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError(absl::StrCat("cannot listen on ", address,
                                                   ": the port is in use by another process; ",
                                                   "stop that one, or choose another port (0 takes any free one)"));
    }
    return Errno(absl::StatusCode::kInvalidArgument, absl::StrCat("cannot listen on ", address));
  }
  sockaddr_storage bound = {};
  socklen_t size = sizeof bound;
  getsockname(out.socket.fd(), reinterpret_cast<sockaddr*>(&bound), &size);
  const int port = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                                     : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  out.address = absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
  return out;
}

absl::StatusOr<Socket> ConnectTo(const std::string& address, absl::Duration timeout,
                                 const std::function<bool()>& give_up) {
  RETURN_IF_ERROR(CheckSocketAddress(address));
  const absl::Duration end = SystemClock()->Now() + timeout;
  if (absl::StartsWith(address, "unix:")) {
    socklen_t size = 0;
    const sockaddr_un to = UnixAddress(address, &size);
    return ConnectOne(AF_UNIX, reinterpret_cast<const sockaddr*>(&to), size, address, end, give_up);
  }
  ASSIGN_OR_RETURN(Resolved found, Resolve(address, 0));
  absl::Status status;
  // IPv4 first, as listeners bind: the same port of the other family may be another process's.
  for (const bool v4 : {true, false}) {
    for (const addrinfo* a = found.get(); a != nullptr; a = a->ai_next) {
      if ((a->ai_family == AF_INET) != v4) continue;
      auto s = ConnectOne(a->ai_family, a->ai_addr, a->ai_addrlen, address, end, give_up);
      if (s.ok()) return s;
      if (status.ok()) status = s.status();
    }
  }
  return status;
}

void TuneStream(int fd, bool tcp) {
  const auto set = [fd](int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof value); };
  if (!tcp) {
    set(SOL_SOCKET, SO_SNDBUF, 1 << 20);
    return;
  }
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 4);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, 10000);
}

bool PeerIsSameUser(int fd) {
  ucred peer = {};
  socklen_t size = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == geteuid() || peer.uid == 0;
}

absl::Status SendAll(int fd, const void* data, size_t bytes, int pass_fd, absl::Duration timeout) {
  const absl::Duration end = SystemClock()->Now() + timeout;
  const char* at = static_cast<const char*>(data);
  while (bytes > 0) {
    iovec piece = {const_cast<char*>(at), bytes};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    if (pass_fd >= 0) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* c = CMSG_FIRSTHDR(&message);
      c->cmsg_level = SOL_SOCKET;
      c->cmsg_type = SCM_RIGHTS;
      c->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(c), &pass_fd, sizeof pass_fd);
    }
    const ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      at += n;
      bytes -= static_cast<size_t>(n);
      pass_fd = -1;
    } else if (n < 0 && errno == EAGAIN) {
      if (!WaitFor(fd, POLLOUT, end)) return absl::UnavailableError("the peer does not read");
    } else if (n < 0 && errno != EINTR) {
      return Errno(absl::StatusCode::kUnavailable, "the connection broke");
    }
  }
  return absl::OkStatus();
}

absl::Status ReceiveAll(int fd, void* data, size_t bytes, int* passed_fd, absl::Duration timeout) {
  const absl::Duration end = SystemClock()->Now() + timeout;
  char* at = static_cast<char*>(data);
  while (bytes > 0) {
    iovec piece = {at, bytes};
    msghdr message = {};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n == 0) return absl::UnavailableError("the peer closed the connection");
    if (n < 0) {
      if (errno == EAGAIN) {
        if (!WaitFor(fd, POLLIN, end)) return absl::UnavailableError("the peer does not answer the handshake");
      } else if (errno != EINTR) {
        return Errno(absl::StatusCode::kUnavailable, "the connection broke");
      }
      continue;
    }
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int passed = -1;
        std::memcpy(&passed, CMSG_DATA(c) + i * sizeof(int), sizeof passed);
        if (passed_fd != nullptr && *passed_fd < 0) {
          *passed_fd = passed;
        } else {
          close(passed);
        }
      }
    }
    at += n;
    bytes -= static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace sluice
