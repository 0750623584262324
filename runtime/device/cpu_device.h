// The CPU as a device. A process may have several, which share its memory and threads: placement, partitioning and
// sends between devices then work and are tested without other hardware.
#ifndef SLUICE_RUNTIME_DEVICE_CPU_DEVICE_H_
#define SLUICE_RUNTIME_DEVICE_CPU_DEVICE_H_

#include <memory>
#include <string>
#include <vector>

#include "core/base/thread_pool.h"
#include "core/device/device.h"

namespace sluice {

// "<prefix>/device:CPU:0" ... with `prefix` like "/job:localhost/replica:0/task:0". The pool must outlive the devices.
std::vector<std::unique_ptr<Device>> MakeCpuDevices(const std::string& prefix, int count, ThreadPool* pool);

// The pool that the sessions of a process share; the first call says how many threads it has (0: the CPUs of the
// process).
ThreadPool* ProcessPool(int parallelism = 0);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_DEVICE_CPU_DEVICE_H_
