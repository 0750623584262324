#include "distributed/rendezvous/remote_tensor.h"

#include <utility>

#include "core/base/shared_function.h"
#include "core/base/status.h"
#include "distributed/proto/worker.pb.h"
#include "distributed/rpc/call.h"

namespace sluice {

Rendezvous::Callback AnswerWithTensor(Reply reply) {
  using Sent = SharedFunction<void(absl::StatusOr<Rendezvous::Value>)>;
  return Sent::ExactlyOnce([reply = std::move(reply)](absl::StatusOr<Rendezvous::Value> value) {
    if (!value.ok()) return reply(value.status());
    proto::RecvTensorResponse response;
    response.set_is_dead(value->dead);
    Message message = Pack(response);
    message.tensors.push_back(std::move(value->tensor));
    reply(std::move(message));
  });
}

absl::StatusOr<Rendezvous::Value> TensorOfAnswer(Message answer) {
  proto::RecvTensorResponse response;
  RETURN_IF_ERROR(Unpack(answer, &response));
  if (answer.tensors.size() != 1) return Internal("an answer with ", answer.tensors.size(), " tensors, wanted 1");
  return Rendezvous::Value{std::move(answer.tensors[0]), response.is_dead()};
}

}  // namespace sluice
