// Names of devices: "/job:worker/replica:0/task:1/device:GPU:0", whole or partial ("/device:CPU:1", "/cpu:0",
// "/job:ps").
#ifndef SLUICE_CORE_DEVICE_DEVICE_NAME_H_
#define SLUICE_CORE_DEVICE_DEVICE_NAME_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sluice {

struct DeviceName {
  std::optional<std::string> job;
  std::optional<int> replica;
  std::optional<int> task;
  std::optional<std::string> type;  // upper case: "CPU", "GPU"
  std::optional<int> index;         // "*" and absence both mean any

  // Accepts full and partial names, the old forms "/cpu:0" and "/gpu:*", any order of the parts, and "".
  static absl::StatusOr<DeviceName> Parse(absl::string_view text);
  std::string ToString() const;
  bool IsFull() const { return job && replica && task && type && index; }
  bool empty() const { return !job && !replica && !task && !type && !index; }

  // Every part that this name gives, `full` has too.
  bool Matches(const DeviceName& full) const;
  // The parts of both; those of `inner` win where both speak (as nested device scopes do).
  static DeviceName Override(const DeviceName& outer, const DeviceName& inner);
  // The parts of both; an error when they contradict.
  static absl::StatusOr<DeviceName> Intersect(const DeviceName& a, const DeviceName& b);
  friend bool operator==(const DeviceName& a, const DeviceName& b);
};

}  // namespace sluice

#endif  // SLUICE_CORE_DEVICE_DEVICE_NAME_H_
