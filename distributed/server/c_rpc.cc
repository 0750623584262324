// Calls of gRPC services that others wrote, at the C boundary.
#include <memory>
#include <string>

#include "distributed/rpc/byte_call.h"
#include "runtime/c_api/internal.h"
#include "runtime/c_api/sluice.h"

struct SL_Rpc {
  std::unique_ptr<sluice::ByteCall> call;
};

SL_Rpc* SL_StartRpc(const char* address, const char* method, const char* roots, const char* certificate,
                    const char* key, double timeout_seconds, SL_Status* status) {
  sluice::GrpcOptions options;
  options.root_certificates = roots;
  options.certificate = certificate;
  options.private_key = key;
  options.settings = {"the root certificates of this call", "the certificate and the key of this call",
                      "the root certificates over there", "a certificate and its key over there"};
  auto call = sluice::ByteCall::Start(address, method, options,
                                      timeout_seconds > 0 ? absl::Seconds(timeout_seconds) : absl::InfiniteDuration());
  status->Set(call.status());
  return call.ok() ? new SL_Rpc{*std::move(call)} : nullptr;
}

void SL_SendRpc(SL_Rpc* rpc, const void* message, size_t size, int last, double timeout_seconds, SL_Status* status) {
  status->Set(rpc->call->Send(absl::string_view(static_cast<const char*>(message), size), last != 0,
                              absl::Seconds(timeout_seconds)));
}

SL_Buffer* SL_ReceiveRpc(SL_Rpc* rpc, double timeout_seconds, SL_Status* status) {
  auto message = rpc->call->Receive(absl::Seconds(timeout_seconds));
  status->Set(message.status());
  return message.ok() ? new SL_Buffer{*std::move(message)} : nullptr;
}

void SL_CancelRpc(SL_Rpc* rpc) { rpc->call->Cancel(); }
void SL_DeleteRpc(SL_Rpc* rpc) { delete rpc; }
