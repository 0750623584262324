// A few pages of text over HTTP/1.1, for machines that watch other machines: GET and HEAD, one request for each
// connection.
//
//   ASSIGN_OR_RETURN(auto pages, HttpPages::Listen("localhost:9100", {{"/metrics", {"text/plain", text_now}}}));
//
// One thread answers everybody and waits for nobody: a request that is too long, a connection that takes too long,
// sends slowly or does not read is ended, and when there are too many the oldest one makes room. So nobody can keep it
// from answering others, nor make it hold more than `connections * (request_bytes + the page)`.
//
// Threads:  a page is made on the thread of the pages: it should not wait.
// Lifetime: the destructor ends connections and the thread.
#ifndef SLUICE_DISTRIBUTED_METRICS_HTTP_PAGES_H_
#define SLUICE_DISTRIBUTED_METRICS_HTTP_PAGES_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace sluice {

struct HttpPage {
  std::string content_type;
  std::function<std::string()> make;
};

struct HttpLimits {
  int connections = 32;
  size_t request_bytes = 8192;             // request line and headers
  absl::Duration time = absl::Seconds(5);  // of a connection, from its beginning to its end
  bool insecure_bind = false;              // other addresses than this machine's own
};

class HttpPages {
 public:
  // `address` is host:port, port 0 for any that is free.
  static absl::StatusOr<std::unique_ptr<HttpPages>> Listen(const std::string& address,
                                                           std::map<std::string, HttpPage> pages,
                                                           const HttpLimits& limits = {});
  ~HttpPages();
  HttpPages(const HttpPages&) = delete;
  HttpPages& operator=(const HttpPages&) = delete;

  const std::string& address() const;  // with the port that was bound

 private:
  HttpPages() = default;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What to answer to `received`, as it is so far: empty while the request is not whole. Never waits.
std::string AnswerHttp(const std::string& received, const std::map<std::string, HttpPage>& pages, size_t limit);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_METRICS_HTTP_PAGES_H_
