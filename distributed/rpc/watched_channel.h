// A channel whose calls end when the peer falls silent, however long they may take while it lives.
//
// A call may wait for minutes for good reasons: a tensor that is not made yet, a graph that is planned. So its own time
// is no measure of the peer's health. While calls are on their way the peer is asked for its status, which it answers
// from any state it may be in; when it does not, the calls end with UNAVAILABLE. A stopped process, a machine without
// power and a cable that was cut are noticed within `period + timeout`.
#ifndef SLUICE_DISTRIBUTED_RPC_WATCHED_CHANNEL_H_
#define SLUICE_DISTRIBUTED_RPC_WATCHED_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "core/base/clock.h"
#include "distributed/rpc/transport.h"

namespace sluice {

struct WatchOptions {
  std::string name;                           // of the peer, for messages: "/job:ps/replica:0/task:0"
  absl::Duration period = absl::Seconds(3);   // between questions
  absl::Duration timeout = absl::Seconds(7);  // for an answer
};

// `questions` is another way to the same peer, so that no answer waits behind a large tensor.
std::shared_ptr<Channel> MakeWatchedChannel(std::shared_ptr<Channel> channel, std::shared_ptr<Channel> questions,
                                            Clock* clock, WatchOptions options);

// Both from one transport.
absl::StatusOr<std::shared_ptr<Channel>> ConnectWatched(Transport& transport, const std::string& address, Clock* clock,
                                                        WatchOptions options);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_WATCHED_CHANNEL_H_
