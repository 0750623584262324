// What the kernels of CollectiveReduce, CollectiveGather and CollectiveBcast ask for: members of a group, each a
// device, do the same thing together. Implemented by the runtime (devices of one process) and by the distributed
// runtime (tasks).
//
// A group has a key and a size; who asks with the key is a member, and members are numbered in the order of their
// devices' names (job, task, device number). An instance is one place in the program; the n-th run of an instance on
// one member meets the n-th run on the others, whatever other instances do meanwhile.
//
// Threads:  Start from any thread. `done` runs once, on any thread, perhaps before Start returns.
// Blocking: Start does not block.
// Errors:   name the op, the group and the member that was waited for. After an error every member of the group gets
// one.
//           Nothing waits without a limit.
// Results:  the same bits on every member, and in every run.
#ifndef SLUICE_CORE_KERNEL_COLLECTIVES_H_
#define SLUICE_CORE_KERNEL_COLLECTIVES_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "core/base/cancellation.h"
#include "core/kernel/resource_store.h"
#include "core/types/tensor.h"

namespace sluice {

enum class CollectiveKind { kReduce, kGather, kBroadcast };
enum class MergeOp { kAdd, kMul, kMax, kMin };

struct CollectiveRequest {
  CollectiveKind kind = CollectiveKind::kReduce;
  MergeOp merge = MergeOp::kAdd;
  bool divide = false;     // by the group's size, at the end
  bool is_source = false;  // of a broadcast
  int64_t group_key = 0;
  int64_t group_size = 0;
  int64_t instance_key = 0;
  std::string device;  // of this member, its full name
  std::string node;    // "CollectiveReduce 'grads/bucket_0'", for messages
  int64_t step_id = 0;
  CancellationToken* cancellation = nullptr;
  // The bytes stay valid until `done`. `output` is written completely and may be the input (not of a gather).
  DType dtype = DType::kInvalid;
  Shape shape;                  // of the input; of a broadcast: of the value
  const void* input = nullptr;  // null when a broadcast is received
  void* output = nullptr;

  int64_t num_elements() const { return shape.num_elements(); }
  size_t num_bytes() const { return static_cast<size_t>(num_elements()) * ElementSize(dtype); }
  // What members must agree on, in words: "CollectiveReduce of float [10,20], Add, Div, 2 members".
  std::string Signature() const;
};

class Collectives : public Resource {
 public:
  using Done = std::function<void(absl::Status)>;
  virtual void Start(CollectiveRequest request, Done done) = 0;

  // A device's stores hold it like any other resource, under a name that programs do not use.
  static void Install(RefPtr<Collectives> collectives, ResourceStore* store);
  static absl::StatusOr<RefPtr<Collectives>> Of(const ResourceStore& store);
};

// Orders members: by job, task, kind and number of the device, numbers as numbers.
bool DeviceBefore(const std::string& a, const std::string& b);

}  // namespace sluice

#endif  // SLUICE_CORE_KERNEL_COLLECTIVES_H_
