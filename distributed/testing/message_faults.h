// A transport that loses, doubles, delays and reorders messages on purpose, for tests of real processes.
//
// A lost message is one whose connection broke: the call ends with UNAVAILABLE, before or after the peer has handled
// it. Connections do not lose messages in silence; partitions do (tests/reliability).
#ifndef SLUICE_DISTRIBUTED_TESTING_MESSAGE_FAULTS_H_
#define SLUICE_DISTRIBUTED_TESTING_MESSAGE_FAULTS_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/clock.h"
#include "distributed/rpc/transport.h"
#include "distributed/testing/history.h"

namespace sluice {

// Parts of all calls that run steps, fetch tensors, end steps and ask for a sign of life.
struct MessageFaults {
  uint64_t seed = 0;
  double drop = 0;       // half of them before they are handled, half after
  double duplicate = 0;  // handled twice, the copy up to 20 ms later
  double reorder = 0;    // up to 20 ms late, so that others overtake them
  double delay = 0;      // up to 500 ms late
};

// "seed=7,drop=0.001,duplicate=0.05,reorder=0.05,delay=0.001"
absl::StatusOr<MessageFaults> ParseMessageFaults(absl::string_view text);

// Each fault is noted in `sink`, which may be null.
std::unique_ptr<Transport> MakeFaultyTransport(std::shared_ptr<Transport> transport, const MessageFaults& faults,
                                               Clock* clock, HistorySink sink);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TESTING_MESSAGE_FAULTS_H_
