// Calls within one process: a function call, with the tensors themselves. Nothing is encoded or copied.
//
// Addresses are "inproc:name", known to the whole process; "inproc:" alone gets a name of its own. A tensor that
// crosses is shared: neither side may write to it while the other holds it.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_INPROC_TRANSPORT_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_INPROC_TRANSPORT_H_

#include <memory>
#include <string>

#include "distributed/rpc/transport.h"

namespace sluice {

std::unique_ptr<Transport> MakeInprocTransport();

// Somebody in this process listens there now.
bool IsInprocListener(const std::string& address);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_INPROC_TRANSPORT_H_
