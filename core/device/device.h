// A device: where kernels run and tensors live. A CPU is the device whose stream is trivial (work is done when the call
// returns).
//
// Threads: any method from any thread. Lifetime: outlives the sessions and tensors that use it.
#ifndef SLUICE_CORE_DEVICE_DEVICE_H_
#define SLUICE_CORE_DEVICE_DEVICE_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "core/base/thread_pool.h"
#include "core/device/device_name.h"
#include "core/types/allocator.h"
#include "core/types/tensor.h"

namespace sluice {

struct DeviceAttributes {
  std::string name;          // full
  std::string type;          // "CPU", "GPU"
  int64_t memory_limit = 0;  // bytes
  uint64_t incarnation = 0;  // random, never 0: tells a restarted device from its predecessor
  std::string description;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceAttributes& attributes() const = 0;
  const std::string& name() const { return attributes().name; }
  const std::string& type() const { return attributes().type; }
  virtual const DeviceName& parsed_name() const = 0;
  virtual Allocator* allocator() = 0;
  // The process-wide pool of the host side.
  virtual ThreadPool* pool() = 0;
  // True when tensors of this device are host memory that any CPU code may read.
  virtual bool IsHost() const = 0;
  // Copies between this device and the host; `done` may run before the call returns. On a host device it shares the
  // bytes.
  virtual void CopyToHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) = 0;
  virtual void CopyFromHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) = 0;
  // Waits until everything that was started has finished.
  virtual absl::Status Sync() = 0;
};

}  // namespace sluice

#endif  // SLUICE_CORE_DEVICE_DEVICE_H_
