// One task of a cluster: a worker and a master behind one address.
//
//   ASSIGN_OR_RETURN(auto server, Server::Make(server_def, options));   // binds its port
//   server->Start();                                                    // answers
//   auto session = NewSession(server->target(), config, &graph);        // here or in any other process
//
// Threads: any method from any thread.
// Errors:  name the task, the address and the cure.
#ifndef SLUICE_DISTRIBUTED_SERVER_SERVER_H_
#define SLUICE_DISTRIBUTED_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "core/proto/tensorflow_server.pb.h"
#include "distributed/rpc/transport.h"
#include "distributed/worker/worker.h"
#include "runtime/session/session.h"

namespace sluice {

struct ServerOptions {
  Environment environment;
  std::shared_ptr<Transport> transport;  // null: DefaultTransport()
  Clock* clock = nullptr;                // null: the system's
  absl::Duration heartbeat_timeout = absl::Seconds(10);
  absl::Duration join_timeout = absl::Seconds(120);
  absl::Duration partial_run_limit = kPartialRunLimit;
  // A step that gets nowhere for so long is reported; zero: never. SLUICE_WATCHDOG_SECONDS sets another default.
  absl::Duration watchdog_timeout = absl::InfiniteDuration();  // infinite: the default
};

class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Make(const proto::ServerDef& def, ServerOptions options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Calls before it end with UNAVAILABLE.
  void Start();
  // Ends sessions and steps and takes no more calls.
  void Stop();
  // Serves numbers of this task, as text for Prometheus, at http://<address>/metrics, and gives the address with the
  // port that was bound (0: any). Other machines can read it only with SLUICE_INSECURE_BIND=1.
  absl::StatusOr<std::string> ServeMetrics(const std::string& address);
  std::string metrics_address() const;  // "" when they are not served
  // What it serves.
  std::string MetricsText() const;
  // Waits for Stop; false when the time ran out before.
  bool Join(absl::Duration timeout);

  const std::string& target() const;   // "grpc://localhost:2222"
  const std::string& address() const;  // "localhost:2222"
  const std::string& task() const;

 private:
  Server() = default;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

// gRPC, with what the environment says about TLS: SLUICE_TLS_ROOT, SLUICE_TLS_CERT, SLUICE_TLS_KEY (files with PEM
// texts), SLUICE_TLS_MUTUAL=1, SLUICE_INSECURE_BIND=1.
absl::StatusOr<std::shared_ptr<Transport>> DefaultTransport();

// The way to the master at "grpc://host:port": a function call when its server is in this process.
absl::StatusOr<std::shared_ptr<Channel>> ConnectToMaster(const std::string& target);

// A session of that master. `config` is a serialised ConfigProto.
absl::StatusOr<std::unique_ptr<SessionBase>> NewRemoteSession(const std::string& target, std::string config,
                                                              Graph* graph);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_SERVER_SERVER_H_
