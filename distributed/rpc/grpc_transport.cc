#include "distributed/rpc/grpc_transport.h"

#include <grpc/support/log.h>
#include <grpcpp/generic/generic_stub.h>
#include <malloc.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "core/base/status.h"
#include "distributed/rpc/grpc_internal.h"
#include "distributed/rpc/status_codec.h"

namespace sluice {
namespace grpc_internal {

absl::StatusOr<WireForm> ToWireForm(const Message& message) {
  ASSIGN_OR_RETURN(WirePieces pieces, EncodeMessage(message));
  WireForm out;
  for (WirePiece& piece : pieces) {
    out.bytes += piece.size();
    if (!piece.tensor.IsValid()) {
      out.slices.emplace_back(piece.bytes.data(), piece.bytes.size());
      continue;
    }
    auto* held = new (TakeRecycled(sizeof(Tensor))) Tensor(std::move(piece.tensor));
    const auto release = [](void* t) {
      static_cast<Tensor*>(t)->~Tensor();
      GiveRecycled(t, sizeof(Tensor));
    };
    out.slices.emplace_back(held->raw_data(), held->num_bytes(), release, held);
  }
  return out;
}

absl::StatusOr<Message> FromSlices(absl::Span<const grpc::Slice> slices) {
  absl::InlinedVector<absl::Span<const char>, 16> pieces;
  for (const grpc::Slice& s : slices) pieces.emplace_back(reinterpret_cast<const char*>(s.begin()), s.size());
  return DecodeMessage(pieces);
}

absl::StatusOr<Message> FromByteBuffer(grpc::ByteBuffer* buffer) {
  if (!buffer->Valid()) return Message();
  grpc::Slice single;
  if (buffer->TrySingleSlice(&single).ok()) return FromSlices(absl::MakeConstSpan(&single, 1));
  thread_local std::vector<grpc::Slice> slices;  // keeps its own memory, not what it names
  const grpc::Status dumped = buffer->Dump(&slices);
  if (!dumped.ok()) return Internal("gRPC could not hand over a message: ", dumped.error_message());
  absl::StatusOr<Message> message = FromSlices(slices);
  slices.clear();
  return message;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), ShortenStatusMessage(status.message()),
                      EncodeStatus(status));
}

void KeepGrpcQuiet() {
  if (std::getenv("GRPC_VERBOSITY") != nullptr) return;
  gpr_set_log_verbosity(static_cast<gpr_log_severity>(GPR_LOG_SEVERITY_ERROR + 1));
}

absl::Status CheckAddress(const std::string& address) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "unix:") || absl::ConsumePrefix(&rest, "unix-abstract:")) {
    if (rest.empty() || rest.size() > 100) {
      return InvalidArgument("address '", address, "': a UNIX socket's path has 1 to 100 bytes, found ", rest.size());
    }
    return absl::OkStatus();
  }
  const size_t colon = rest.rfind(':');
  int port = -1;
  if (colon == absl::string_view::npos || colon == 0 || !absl::SimpleAtoi(rest.substr(colon + 1), &port) || port < 0 ||
      port > 65535 || rest.find('/') != absl::string_view::npos) {
    return InvalidArgument("address '", address, "' is not of the form host:port or unix:/path");
  }
  return absl::OkStatus();
}

namespace {

// gRPC 1.51 aborts when the last user of its callback threads goes while they still run, so one user stays for ever: a
// channel to nowhere that made one call.
void KeepCallbackThreads() {
  struct Stayer {
    grpc::GenericStub stub{grpc::CreateChannel("", nullptr)};
    grpc::ClientContext context;
    grpc::Slice nothing;
    grpc::ByteBuffer request{&nothing, 1};
    grpc::ByteBuffer response;
  };
  static Stayer* volatile stayer = [] {  // volatile: kept where leak checkers see it
    auto* s = new Stayer();
    s->stub.UnaryCall(&s->context, "/", grpc::StubOptions(), &s->request, &s->response, [](grpc::Status) {});
    return s;
  }();
  (void)stayer;
}

class GrpcTransport : public Transport {
 public:
  explicit GrpcTransport(GrpcOptions options) : options_(std::move(options)) {
    KeepGrpcQuiet();
    KeepCallbackThreads();
    // gRPC takes what it receives from the general heap. Giving the pages of a large message back after each call costs
    // a third of its throughput.
    mallopt(M_TRIM_THRESHOLD, 256 << 20);
  }
  absl::StatusOr<std::unique_ptr<Listener>> Listen(const std::string& address, Handler handler) override {
    return MakeListener(address, options_, std::move(handler));
  }
  absl::StatusOr<std::shared_ptr<Channel>> Connect(const std::string& address) override {
    return MakeChannel(address, options_);
  }

 private:
  const GrpcOptions options_;
};

}  // namespace
}  // namespace grpc_internal

std::unique_ptr<Transport> MakeGrpcTransport(GrpcOptions options) {
  return std::make_unique<grpc_internal::GrpcTransport>(std::move(options));
}

}  // namespace sluice
