#include "distributed/rpc/call.h"

#include <memory>
#include <utility>

#include "absl/synchronization/notification.h"
#include "core/base/recycled_memory.h"

namespace sluice {

absl::StatusOr<Message> CallAndWait(Channel& channel, const std::string& method, Message request,
                                    absl::Duration timeout) {
  struct Waiting {
    absl::Notification done;
    absl::StatusOr<Message> reply{Message()};
  };
  auto waiting = MakeRecycled<Waiting>();
  channel.Call(method, std::move(request), timeout, [waiting](absl::StatusOr<Message> reply) {
    waiting->reply = std::move(reply);
    waiting->done.Notify();
  });
  waiting->done.WaitForNotification();  // a call always ends
  return std::move(waiting->reply);
}

}  // namespace sluice
