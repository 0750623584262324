#include "distributed/metrics/http_pages.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <random>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace sluice {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::map<std::string, HttpPage> Pages() {
  return {{"/metrics", {"text/plain; version=0.0.4", [] { return std::string("a 1\n"); }}},
          {"/large", {"text/plain", [] { return std::string(8 << 20, 'x'); }}}};
}

constexpr size_t kLimit = 8192;

TEST(AnswerHttpTest, EveryRequestHasItsAnswer) {
  const struct {
    std::string request;
    std::string status;
  } rows[] = {
      {"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"},
      {"GET /metrics?x=1 HTTP/1.1\r\nhost: x\r\nAccept: */*\r\n\r\n", "200 OK"},
      {"GET /metrics HTTP/1.0\r\n\r\n", "200 OK"},
      {"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK"},
      {"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", "405 Method"},
      {"GET /other HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
      {"GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found"},
      {"GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request"},
      {"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400 Bad Request"},
      {"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n", "400 Bad Request"},
      {"GET /metrics HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", "400 Bad Request"},
      {"GET /metrics HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n", "400 Bad Request"},
      {"GET /metrics HTTP/2.0\r\nHost: x\r\n\r\n", "505 HTTP Version"},
      {"GET  /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "400 Bad Request"},
      {"GET\r\n\r\n", "400 Bad Request"},
      {"\r\n\r\n", "400 Bad Request"},
      {std::string("\x16\x03\x01\x02", 4), "400 Bad Request"},  // TLS
      {std::string("GE\0T", 4), "400 Bad Request"},
      {"GET /" + std::string(10000, 'a'), "431 Request"},
      {"GET /metrics HTTP/1.1\r\nA: " + std::string(9000, 'a') + "\r\n\r\n", "431 Request"},
  };
  for (const auto& row : rows) {
    const std::string answer = AnswerHttp(row.request, Pages(), kLimit);
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + row.status)) << row.request.substr(0, 60);
    EXPECT_THAT(answer, HasSubstr("\r\n\r\n"));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  }
  EXPECT_EQ(AnswerHttp("GET /metrics HTTP/1.1\r\nHost: x\r\n\r", Pages(), kLimit), "");
  EXPECT_EQ(AnswerHttp("GET /metrics HTTP/1.1\r", Pages(), kLimit), "");
  EXPECT_THAT(AnswerHttp("HEAD /metrics HTTP/1.0\r\n\r\n", Pages(), kLimit),
              AllOf(HasSubstr("Content-Length: 4\r\n"), ::testing::EndsWith("\r\n\r\n")));
}

TEST(AnswerHttpTest, MutatedRequestsEndInAnAnswerOrWaitForMore) {
  std::mt19937 random(1);
  const std::string whole = "GET /metrics HTTP/1.1\r\nHost: localhost:9100\r\nAccept: text/plain\r\n\r\n";
  for (int i = 0; i < 20000; ++i) {
    std::string r = whole;
    for (int k = static_cast<int>(random() % 6); k >= 0; --k) {
      const size_t at = random() % r.size();
      const uint32_t kind = random() % 4;
      if (kind == 0) r[at] = static_cast<char>(random());
      if (kind == 1) r.erase(at, random() % 9);
      if (kind == 2) r.insert(at, std::string(random() % 20, static_cast<char>(random())));
      if (kind == 3) r.resize(at + 1);
      if (r.empty()) r = " ";
    }
    const std::string answer = AnswerHttp(r, Pages(), kLimit);
    EXPECT_TRUE(answer.empty() || absl::StartsWith(answer, "HTTP/1.1 ")) << answer;
  }
}

class HttpPagesTest : public ::testing::Test {
 protected:
  void Listen(HttpLimits limits = {}) {
    auto pages = HttpPages::Listen("localhost:0", Pages(), limits);
    ASSERT_TRUE(pages.ok()) << pages.status();
    pages_ = *std::move(pages);
  }
  int Connect() {
    int fd = socket(AF_INET, SOCK_STREAM, 0), port = 0;
    EXPECT_TRUE(absl::SimpleAtoi(pages_->address().substr(pages_->address().rfind(':') + 1), &port));
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
    fds_.push_back(fd);
    return fd;
  }
  static void Send(int fd, const std::string& text) { (void)!send(fd, text.data(), text.size(), MSG_NOSIGNAL); }
  // What comes until the other side ends, within 30 s.
  static std::string ReadAll(int fd) {
    std::string all;
    char buffer[65536];
    while (true) {
      pollfd p = {fd, POLLIN, 0};
      if (poll(&p, 1, 30000) != 1) return all + "<nothing for 30 s>";
      const ssize_t n = recv(fd, buffer, sizeof(buffer), 0);
      if (n <= 0) return all;
      all.append(buffer, static_cast<size_t>(n));
    }
  }
  std::string Get(const std::string& path) {
    const int fd = Connect();
    Send(fd, absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: x\r\n\r\n"));
    return ReadAll(fd);
  }
  void TearDown() override {
    for (int fd : fds_) close(fd);
  }

  std::unique_ptr<HttpPages> pages_;
  std::vector<int> fds_;
};

TEST_F(HttpPagesTest, AnswersSmallAndLargePages) {
  Listen();
  EXPECT_THAT(Get("/metrics"), AllOf(StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"),
                                     ::testing::EndsWith("\r\n\r\na 1\n")));
  EXPECT_GT(Get("/large").size(), 8u << 20);
  // In pieces, with more behind it than was asked for.
  const int fd = Connect();
  for (const char* piece : {"GET /met", "rics HTTP/1.1\r\nHost", ": x\r\n", "\r\nGET /more"}) {
    Send(fd, piece);
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_THAT(ReadAll(fd), StartsWith("HTTP/1.1 200 OK"));
}

TEST_F(HttpPagesTest, SlowAndSilentPeersHoldUpNobodyAndAreEnded) {
  HttpLimits limits;
  limits.time = absl::Milliseconds(300);
  Listen(limits);
  const int silent = Connect(), slow = Connect(), deaf = Connect();
  Send(slow, "GET /metrics HTTP/1.1\r\nHost: x\r\n");
  Send(deaf, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");  // and does not read
  EXPECT_THAT(Get("/metrics"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ReadAll(silent), StartsWith("HTTP/1.1 408"));
  Send(slow, "A: b\r\n");
  EXPECT_THAT(ReadAll(slow), ::testing::AnyOf(StartsWith("HTTP/1.1 408"), ""));
  absl::SleepFor(absl::Milliseconds(400));
  EXPECT_LT(ReadAll(deaf).size(), 8u << 20);  // cut off
}

TEST_F(HttpPagesTest, ACrowdOfIdleConnectionsMakesRoom) {
  HttpLimits limits;
  limits.connections = 8;
  limits.time = absl::Minutes(5);
  Listen(limits);
  for (int i = 0; i < 100; ++i) Connect();
  for (int i = 0; i < 20; ++i) EXPECT_THAT(Get("/metrics"), StartsWith("HTTP/1.1 200"));
  pages_.reset();  // does not wait for them
}

TEST_F(HttpPagesTest, RubbishFromManyThreadsLeavesItAnswering) {
  Listen();
  std::vector<std::thread> threads;
  const std::string address = pages_->address();
  for (int t = 0; t < 4; ++t) {
    std::vector<int> fds;
    for (int i = 0; i < 25; ++i) fds.push_back(Connect());
    threads.emplace_back([fds, t] {
      std::mt19937 random(t);
      for (int fd : fds) {
        std::string rubbish(random() % 20000, ' ');
        for (char& c : rubbish) c = static_cast<char>(random());
        Send(fd, rubbish);
        shutdown(fd, random() % 2 == 0 ? SHUT_WR : SHUT_RDWR);
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_THAT(Get("/metrics"), StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpPagesTest, AddressesThatCannotBeBoundAreErrors) {
  Listen();
  EXPECT_THAT(HttpPages::Listen(pages_->address(), Pages()).status().ToString(),
              AllOf(HasSubstr("ALREADY_EXISTS"), HasSubstr("in use")));
  EXPECT_THAT(HttpPages::Listen("0.0.0.0:0", Pages()).status().ToString(), HasSubstr("SLUICE_INSECURE_BIND=1"));
  HttpLimits open;
  open.insecure_bind = true;
  EXPECT_TRUE(HttpPages::Listen("0.0.0.0:0", Pages(), open).ok());
  for (const char* bad : {"localhost", ":80", "localhost:port", "localhost:70000", "no.such.host.invalid:0"}) {
    EXPECT_THAT(HttpPages::Listen(bad, Pages()).status().ToString(),
                AllOf(HasSubstr("INVALID_ARGUMENT"), HasSubstr(bad)));
  }
}

}  // namespace
}  // namespace sluice
