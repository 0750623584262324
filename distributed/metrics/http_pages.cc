#include "distributed/metrics/http_pages.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "core/base/status.h"

namespace sluice {
namespace {

std::string Respond(absl::string_view status, absl::string_view type, absl::string_view body, bool head,
                    absl::string_view more = "") {
  std::string out = absl::StrCat("HTTP/1.1 ", status, "\r\nContent-Type: ", type, "\r\nContent-Length: ", body.size(),
                                 "\r\nConnection: close\r\nX-Content-Type-Options: nosniff\r\n", more, "\r\n");
  if (!head) absl::StrAppend(&out, body);
  return out;
}

std::string Refuse(absl::string_view status, absl::string_view why, absl::string_view more = "") {
  return Respond(status, "text/plain; charset=utf-8", absl::StrCat(why, "\n"), false, more);
}

bool IsToken(absl::string_view text) {
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isalnum(c) && std::strchr("!#$%&'*+-.^_`|~", c) == nullptr) return false;
  }
  return true;
}

// Empty when they are as they must be.
std::string CheckHeaders(const std::vector<absl::string_view>& lines, bool needs_host) {
  int hosts = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const size_t colon = lines[i].find(':');
    if (colon == absl::string_view::npos || !IsToken(lines[i].substr(0, colon))) {
      return Refuse("400 Bad Request", "a header is not of the form name: value");
    }
    for (char c : lines[i].substr(colon + 1)) {
      if (static_cast<unsigned char>(c) < 0x20 && c != '\t')
        return Refuse("400 Bad Request", "a header has control characters");
    }
    hosts += absl::EqualsIgnoreCase(lines[i].substr(0, colon), "host") ? 1 : 0;
  }
  if (hosts > 1 || (needs_host && hosts == 0)) return Refuse("400 Bad Request", "wanted one Host header");
  return "";
}

}  // namespace

std::string AnswerHttp(const std::string& received, const std::map<std::string, HttpPage>& pages, size_t limit) {
  // Something else than HTTP is not waited for: the first line must begin like one.
  const size_t line_end = received.find("\r\n");
  const absl::string_view line = absl::string_view(received).substr(0, std::min(line_end, received.size()));
  for (size_t i = 0; i < line.size(); ++i) {
    if (static_cast<unsigned char>(line[i]) >= 0x20 && line[i] != 0x7f) continue;
    // The second byte of a line's end may still be on its way.
    if (line[i] == '\r' && i + 1 == received.size()) continue;
    return Refuse("400 Bad Request", "this is not HTTP");
  }
  const size_t end = received.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (received.size() < limit) return "";
    return Refuse("431 Request Header Fields Too Large", absl::StrCat("the request has more than ", limit, " bytes"));
  }
  if (end > limit)
    return Refuse("431 Request Header Fields Too Large", absl::StrCat("the request has more than ", limit, " bytes"));
  const std::vector<absl::string_view> lines = absl::StrSplit(absl::string_view(received).substr(0, end), "\r\n");
  const std::vector<absl::string_view> words = absl::StrSplit(lines[0], ' ');
  if (words.size() != 3 || !IsToken(words[0]) || words[1].empty()) {
    return Refuse("400 Bad Request", "the first line is not METHOD TARGET VERSION");
  }
  if (!absl::StartsWith(words[2], "HTTP/")) return Refuse("400 Bad Request", "the version is not of HTTP");
  if (words[2] != "HTTP/1.1" && words[2] != "HTTP/1.0") {
    return Refuse("505 HTTP Version Not Supported", "wanted HTTP/1.1");
  }
  std::string wrong = CheckHeaders(lines, words[2] == "HTTP/1.1");
  if (!wrong.empty()) return wrong;
  absl::string_view path = words[1].substr(0, words[1].find('?'));
  auto page = pages.find(std::string(path));
  if (page == pages.end()) {
    std::string list;
    for (const auto& [at, p] : pages) absl::StrAppend(&list, " ", at);
    return Refuse("404 Not Found", absl::StrCat("there is no such page; there are:", list));
  }
  if (words[0] != "GET" && words[0] != "HEAD") {
    return Refuse("405 Method Not Allowed", "wanted GET or HEAD", "Allow: GET, HEAD\r\n");
  }
  return Respond("200 OK", page->second.content_type, page->second.make(), words[0] == "HEAD");
}

// A connection reads until an answer is known, writes it, says that nothing comes any more, and reads what the peer
// still sends, since closing at once would make the peer's system throw the answer away.
struct HttpPages::Impl {
  struct Connection {
    int fd = -1;
    absl::Time until;
    std::string in;
    std::string out;
    size_t written = 0;
    bool draining = false;
  };

  ~Impl() {
    for (const Connection& c : connections) close(c.fd);
    if (listening >= 0) close(listening);
    if (wake >= 0) close(wake);
  }

  void Loop() {
    while (true) {
      std::vector<pollfd> fds = {{wake, POLLIN, 0}, {listening, POLLIN, 0}};
      absl::Time until = absl::InfiniteFuture();
      for (const Connection& c : connections) {
        fds.push_back({c.fd, static_cast<short>(c.out.empty() || c.draining ? POLLIN : POLLOUT), 0});
        until = std::min(until, c.until);
      }
      int wait = -1;
      if (until != absl::InfiniteFuture()) {
        wait = static_cast<int>(absl::ToInt64Milliseconds(std::max(absl::ZeroDuration(), until - absl::Now()))) + 1;
      }
      if (poll(fds.data(), fds.size(), wait) < 0 && errno != EINTR) return;
      if (fds[0].revents != 0) return;
      size_t i = 2;
      const absl::Time now = absl::Now();
      for (auto c = connections.begin(); c != connections.end(); ++i) {
        bool goes_on = now < c->until;
        if (!goes_on && c->out.empty()) Send(&*c, Refuse("408 Request Timeout", "the request took too long"));
        if (goes_on && fds[i].revents != 0) goes_on = Go(&*c);
        if (goes_on) {
          ++c;
          continue;
        }
        close(c->fd);
        c = connections.erase(c);
      }
      if (fds[1].revents != 0) Accept();
    }
  }

  void Accept() {
    const int fd = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      // Out of descriptors: those that are open end soon.
      if (errno == EMFILE || errno == ENFILE) usleep(10'000);
      return;
    }
    if (connections.size() >= static_cast<size_t>(std::max(1, limits.connections))) {
      close(connections.front().fd);
      connections.pop_front();
    }
    connections.emplace_back();
    connections.back().fd = fd;
    connections.back().until = absl::Now() + limits.time;
  }

  // What the socket takes now.
  bool Send(Connection* c, std::string answer) {
    c->out = std::move(answer);
    return Write(c);
  }

  bool Write(Connection* c) {
    while (c->written < c->out.size()) {
      const ssize_t n = send(c->fd, c->out.data() + c->written, c->out.size() - c->written, MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      c->written += static_cast<size_t>(n);
    }
    c->out.clear();
    c->out.shrink_to_fit();
    c->draining = true;
    c->until = std::min(c->until, absl::Now() + absl::Seconds(1));
    return shutdown(c->fd, SHUT_WR) == 0;
  }

  // False when the connection is over.
  bool Go(Connection* c) {
    if (!c->out.empty()) return Write(c);
    char buffer[4096];
    const ssize_t n = recv(c->fd, buffer, sizeof(buffer), 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return false;
    if (c->draining) return true;
    c->in.append(buffer, static_cast<size_t>(n));
    std::string answer = AnswerHttp(c->in, pages, limits.request_bytes);
    return answer.empty() || Send(c, std::move(answer));
  }

  HttpLimits limits;
  std::map<std::string, HttpPage> pages;
  std::string address;
  int listening = -1;
  int wake = -1;
  std::list<Connection> connections;  // the oldest first
  std::thread thread;
};

absl::StatusOr<std::unique_ptr<HttpPages>> HttpPages::Listen(const std::string& address,
                                                             std::map<std::string, HttpPage> pages,
                                                             const HttpLimits& limits) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 || !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return InvalidArgument("'", address, "' is not host:port");
  }
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints = {}, *found = nullptr;
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const int failed = getaddrinfo(host.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (failed != 0) return InvalidArgument("the host of '", address, "' is not known: ", gai_strerror(failed));
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  const addrinfo* chosen = found;
  for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
    if (a->ai_family == AF_INET) {
      chosen = a;
      break;
    }
  }
  bool loopback = false;
  if (chosen->ai_family == AF_INET) {
    loopback = (ntohl(reinterpret_cast<sockaddr_in*>(chosen->ai_addr)->sin_addr.s_addr) >> 24) == 127;
  } else {
    loopback = IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<sockaddr_in6*>(chosen->ai_addr)->sin6_addr) != 0;
  }
  if (!loopback && !limits.insecure_bind) {
    return FailedPrecondition(
        "pages at ", address,
        " could be read by other machines, without encryption or password; bind to localhost, or set "
        "SLUICE_INSECURE_BIND=1 on a network that you trust");
  }
  auto impl = std::make_unique<Impl>();
  impl->limits = limits;
  impl->pages = std::move(pages);
  impl->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  impl->listening = socket(chosen->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (impl->wake < 0 || impl->listening < 0)
    return ResourceExhausted("no socket for ", address, ": ", std::strerror(errno));
  const int on = 1;
  setsockopt(impl->listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(impl->listening, chosen->ai_addr, chosen->ai_addrlen) != 0 || listen(impl->listening, 64) != 0) {
    const int error = errno;
    if (error == EADDRINUSE) {
      return absl::AlreadyExistsError(
          absl::StrCat("the port of ", address, " is in use: choose another, or 0 for any that is free"));
    }
    return absl::UnavailableError(absl::StrCat("cannot listen at ", address, ": ", std::strerror(error)));
  }
  sockaddr_storage bound = {};
  socklen_t size = sizeof(bound);
  getsockname(impl->listening, reinterpret_cast<sockaddr*>(&bound), &size);
  const int bound_port = bound.ss_family == AF_INET ? ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port)
                                                    : ntohs(reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port);
  impl->address = absl::StrCat(address.substr(0, colon), ":", bound_port);
  Impl* raw = impl.get();
  impl->thread = std::thread([raw] { raw->Loop(); });
  std::unique_ptr<HttpPages> made(new HttpPages);
  made->impl_ = std::move(impl);
  return made;
}

HttpPages::~HttpPages() {
  const uint64_t one = 1;
  while (write(impl_->wake, &one, sizeof(one)) < 0 && errno == EINTR) {
  }
  impl_->thread.join();
}

const std::string& HttpPages::address() const { return impl_->address; }

}  // namespace sluice
