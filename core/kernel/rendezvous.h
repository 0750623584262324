// Hands tensors from the node that makes them to the node that waits for them, on another device or in another process.
//
// Threads:   any method from any thread.
// Blocking:  neither call blocks; a callback runs on the thread that completes the pair, so keep it short.
// Ownership: Send moves the tensor in; the callback holds the only reference.
// Errors:    after Abort(s) every pending and later call completes with s; the first Abort wins.
// Lifetime:  must outlive every callback handed to it.
#ifndef SLUICE_CORE_KERNEL_RENDEZVOUS_H_
#define SLUICE_CORE_KERNEL_RENDEZVOUS_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "core/types/tensor.h"

namespace sluice {

class Rendezvous {
 public:
  // "src_device;incarnation(16 hex digits);dst_device;edge;frame:iteration", built once when a plan is made.
  using Key = std::string;
  struct Value {
    Tensor tensor;
    bool dead = false;  // the branch that would have made it was not taken
  };
  using Callback = std::function<void(absl::StatusOr<Value>)>;

  virtual ~Rendezvous() = default;
  // REQUIRES: no earlier Send with the same key in this step that was not received.
  virtual absl::Status Send(const Key& key, Value value) = 0;
  virtual void RecvAsync(const Key& key, Callback done) = 0;
  virtual void Abort(absl::Status why) = 0;

  static Key MakeKey(absl::string_view src_device, uint64_t incarnation, absl::string_view dst_device,
                     absl::string_view edge, absl::string_view frame = "0:0");
};

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_RENDEZVOUS_H_
