// Protocol buffers in and out of messages, and a call that waits.
#ifndef SLUICE_DISTRIBUTED_RPC_CALL_H_
#define SLUICE_DISTRIBUTED_RPC_CALL_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/status.h"
#include "distributed/rpc/transport.h"

namespace sluice {

template <typename Proto>
Message Pack(const Proto& proto) {
  Message message;
  const size_t bytes = proto.ByteSizeLong();  // beyond 2 GiB protobuf writes nothing
  if (bytes > 0 && bytes <= static_cast<size_t>(std::numeric_limits<int>::max())) {
    message.body.resize(bytes);
    proto.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(&message.body[0]));
  }
  return message;
}

template <typename Proto>
absl::Status Unpack(const Message& message, Proto* proto) {
  if (message.body.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
      proto->ParseFromArray(message.body.data(), static_cast<int>(message.body.size()))) {
    return absl::OkStatus();
  }
  return InvalidArgument("these ", message.body.size(), " bytes are not a ", proto->GetTypeName());
}

// For callers that may block; never on a thread of the transport.
absl::StatusOr<Message> CallAndWait(Channel& channel, const std::string& method, Message request,
                                    absl::Duration timeout);

// CallAndWait with protocol buffers on both sides and no tensors.
template <typename Response, typename Request>
absl::StatusOr<Response> Ask(Channel& channel, const std::string& method, const Request& request,
                             absl::Duration timeout) {
  ASSIGN_OR_RETURN(Message reply, CallAndWait(channel, method, Pack(request), timeout));
  Response response;
  RETURN_IF_ERROR(Unpack(reply, &response));
  return response;
}

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_CALL_H_
