#include "runtime/device/cpu_device.h"

#include <unistd.h>

#include <random>

#include "absl/strings/str_cat.h"
#include "core/base/status.h"

namespace sluice {
namespace {

uint64_t NewIncarnation() {
  std::random_device random;
  uint64_t id = 0;
  while (id == 0) id = (uint64_t{random()} << 32) | random();
  return id;
}

int64_t MemoryOfMachine() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<int64_t>(sysconf(_SC_PAGESIZE));
}

class CpuDevice final : public Device {
 public:
  CpuDevice(const std::string& name, ThreadPool* pool) : name_(*DeviceName::Parse(name)), pool_(pool) {
    attributes_.name = name;
    attributes_.type = "CPU";
    int64_t limit = HostAllocator()->stats().limit_bytes;
    attributes_.memory_limit = limit > 0 ? limit : MemoryOfMachine();
    attributes_.incarnation = NewIncarnation();
  }
  const DeviceAttributes& attributes() const override { return attributes_; }
  const DeviceName& parsed_name() const override { return name_; }
  Allocator* allocator() override { return HostAllocator(); }
  ThreadPool* pool() override { return pool_; }
  bool IsHost() const override { return true; }
  void CopyToHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  void CopyFromHost(const Tensor& from, std::function<void(absl::StatusOr<Tensor>)> done) override { done(from); }
  absl::Status Sync() override { return absl::OkStatus(); }

 private:
  DeviceAttributes attributes_;
  DeviceName name_;
  ThreadPool* pool_;
};

}  // namespace

std::vector<std::unique_ptr<Device>> MakeCpuDevices(const std::string& prefix, int count, ThreadPool* pool) {
  std::vector<std::unique_ptr<Device>> devices;
  for (int i = 0; i < count; ++i) {
    devices.push_back(std::make_unique<CpuDevice>(absl::StrCat(prefix, "/device:CPU:", i), pool));
  }
  return devices;
}

ThreadPool* ProcessPool(int parallelism) {
  static ThreadPool* pool = new ThreadPool(parallelism);  // outlives every session
  return pool;
}

}  // namespace sluice
