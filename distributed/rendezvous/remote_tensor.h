// The value of a rendezvous in the answer to another task's question for it.
#ifndef SLUICE_DISTRIBUTED_RENDEZVOUS_REMOTE_TENSOR_H_
#define SLUICE_DISTRIBUTED_RENDEZVOUS_REMOTE_TENSOR_H_

#include "core/kernel/rendezvous.h"
#include "distributed/rpc/transport.h"

namespace sluice {

// Answers a RecvTensorRequest with what the callback is given. It must be called once.
Rendezvous::Callback AnswerWithTensor(Reply reply);

// The reverse.
absl::StatusOr<Rendezvous::Value> TensorOfAnswer(Message answer);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RENDEZVOUS_REMOTE_TENSOR_H_
