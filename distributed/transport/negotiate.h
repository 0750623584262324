// The best way between two tasks, found by themselves.
//
//   auto transport = MakeTransportSet(TransportSetOptions());
//   ASSIGN_OR_RETURN(auto listener, transport->Listen("localhost:2222", handler));
//   ASSIGN_OR_RETURN(auto channel, transport->Connect("localhost:2222"));
//
// A listener answers gRPC at its address, and beside it listens on a UNIX socket with shared memory and on TCP. A
// channel starts on gRPC, asks for the other ways, and moves to the first that answers: a function call in the same
// process, shared memory on the same host, TCP, else gRPC. When that way is lost it is back on gRPC and asks again,
// since the task may have been started anew.
//
// Who may call over gRPC learns the token that opens the other ways. With TLS nothing listens on TCP, which is not
// encrypted.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_NEGOTIATE_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_NEGOTIATE_H_

#include <memory>
#include <string>

#include "distributed/rpc/grpc_transport.h"
#include "distributed/transport/socket_transport.h"

namespace sluice {

struct TransportSetOptions {
  GrpcOptions grpc;
  SocketOptions sockets;  // its token and insecure_bind are set by the transport
  // "inproc", "shm", "unix", "tcp" or "grpc": this way or none. Empty: the environment's SLUICE_TRANSPORT, else the
  // best.
  std::string force;
};

std::unique_ptr<Transport> MakeTransportSet(TransportSetOptions options);

// Equal for processes that can share memory and reach each other's nameless UNIX sockets.
std::string HostIdentity();

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_NEGOTIATE_H_
