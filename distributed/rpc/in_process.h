// Calls within one process: the handler runs on the caller's thread, tensors are handed over by reference.
#ifndef SLUICE_DISTRIBUTED_RPC_IN_PROCESS_H_
#define SLUICE_DISTRIBUTED_RPC_IN_PROCESS_H_

#include <memory>
#include <string>

#include "core/base/clock.h"
#include "distributed/rpc/transport.h"

namespace sluice {

// A handler that several channels reach until it is closed.
class InProcessServer {
 public:
  InProcessServer(std::string name, Handler handler, Clock* clock);
  // Calls that come later end with UNAVAILABLE; waits for handlers that run (not for replies). From no handler.
  ~InProcessServer();

  std::shared_ptr<Channel> Connect();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_IN_PROCESS_H_
