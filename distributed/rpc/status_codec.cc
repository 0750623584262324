#include "distributed/rpc/status_codec.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "distributed/rpc/status.pb.h"
#include "distributed/rpc/transport.h"

namespace sluice {

std::string ShortenStatusMessage(absl::string_view message) {
  if (message.size() <= kMaxStatusMessageBytes) return std::string(message);
  constexpr size_t kPart = kMaxStatusMessageBytes / 2 - 32;
  return absl::StrCat(message.substr(0, kPart), " ... (", message.size() - 2 * kPart, " bytes cut) ... ",
                      message.substr(message.size() - kPart));
}

std::string EncodeStatus(const absl::Status& status) {
  proto::RpcStatus out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(ShortenStatusMessage(status.message()));
  size_t left = kMaxStatusPayloadBytes;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    const size_t size = url.size() + value.size();
    if (size > left) return;
    left -= size;
    auto* payload = out.add_details();
    payload->set_type_url(std::string(url));
    payload->set_value(std::string(value));
  });
  return out.SerializeAsString();
}

bool DecodeStatus(absl::string_view bytes, absl::Status* status) {
  proto::RpcStatus in;
  if (bytes.empty() || !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || in.code() == 0) return false;
  const bool known = in.code() >= 1 && in.code() <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  *status = absl::Status(known ? static_cast<absl::StatusCode>(in.code()) : absl::StatusCode::kUnknown, in.message());
  for (const auto& payload : in.details()) status->SetPayload(payload.type_url(), absl::Cord(payload.value()));
  return true;
}

absl::Status TransportError(absl::StatusCode code, absl::string_view message) {
  absl::Status status(code, message);
  status.SetPayload(kTransportPayload, absl::Cord(message));
  return status;
}

}  // namespace sluice
