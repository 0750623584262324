// Calls over gRPC: the portable way, and the one that other programs can speak.
//
//   auto transport = MakeGrpcTransport(GrpcOptions());
//   ASSIGN_OR_RETURN(auto listener, transport->Listen("localhost:0", handler));
//
// Addresses are "host:port" (port 0: any free one), "unix:/path" or "unix-abstract:name" (to connect to). Every method
// reaches the handler; beside it a listener answers grpc.health.v1.Health and the reflection service. Elements of
// tensors are sent from where they lie. Without certificates a listener binds only to this machine (localhost, 127.x,
// ::1, unix:).
#ifndef SLUICE_DISTRIBUTED_RPC_GRPC_TRANSPORT_H_
#define SLUICE_DISTRIBUTED_RPC_GRPC_TRANSPORT_H_

#include <memory>
#include <string>
#include <vector>

#include "distributed/rpc/transport.h"

namespace sluice {

// A gRPC message's own limit. What is larger goes in parts, up to kMaxMessageBytes; a larger request ends with
// RESOURCE_EXHAUSTED before anything is sent.
inline constexpr size_t kMaxGrpcMessageBytes = (size_t{1} << 31) - 1;

// Where users say what the fields of GrpcOptions are, for errors that tell the cure.
struct TlsSettings {
  std::string root = "SLUICE_TLS_ROOT";
  std::string certificate = "SLUICE_TLS_CERT and SLUICE_TLS_KEY";
  // Of the peer: whom its certificate is signed by, and who signs those of its callers.
  std::string peer_root = "SLUICE_TLS_ROOT over there";
  std::string peer_certificate = "SLUICE_TLS_CERT and SLUICE_TLS_KEY over there";
};

struct GrpcOptions {
  // PEM texts. A listener with `certificate` and `private_key` speaks TLS; so does a channel with `root_certificates`.
  std::string root_certificates;
  std::string certificate;
  std::string private_key;
  TlsSettings settings;
  // Mutual TLS: the listener refuses peers without a certificate signed by `root_certificates`.
  bool require_client_certificate = false;
  // The name that a listener's certificate must carry, when it is not the host of the address.
  std::string server_name;
  // Lets a listener without TLS bind to addresses that other machines reach.
  bool insecure_bind = false;
  // A listener without TLS answers here too: "unix-abstract:name". A call over it takes less of the kernel's time than
  // one over loopback.
  std::string also_listen;
  // At most kMaxGrpcMessageBytes.
  size_t max_message_bytes = kMaxGrpcMessageBytes;
  // Services that the reflection service names: "sluice.proto.WorkerService".
  std::vector<std::string> services;
};

std::unique_ptr<Transport> MakeGrpcTransport(GrpcOptions options);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_GRPC_TRANSPORT_H_
