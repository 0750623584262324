// Collects the components of tuples under their keys; complete tuples can be taken, in the order in which their keys
// were first seen.
//
// Close:    new keys are refused (CANCELLED), those that lack components may still be completed, unless cancelled.
// Threads, blocking: see waiting.h.
#ifndef SLUICE_KERNELS_QUEUE_BARRIER_H_
#define SLUICE_KERNELS_QUEUE_BARRIER_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "core/types/tensor.h"
#include "kernels/queue/waiting.h"

namespace sluice {

class Barrier : public WaitingResource {
 public:
  struct Options {
    std::string name;
    std::vector<DType> types;
    std::vector<PartialShape> shapes;  // of one tuple's components; empty: any
  };
  struct Batch {
    Tensor indices;  // int64: INT64_MIN for the first key ever seen, then one more for each
    Tensor keys;
    std::vector<Tensor> values;
  };
  using Deliver = std::function<absl::Status(Batch)>;

  static absl::StatusOr<RefPtr<Barrier>> Make(Options options);
  const Options& options() const { return options_; }
  absl::Status CheckSame(const Options& wanted) const;

  // Row i of `values` becomes the component `index` of the tuple of keys[i]. All or nothing.
  absl::Status Insert(const Tensor& keys, const Tensor& values, int64_t index);
  void Take(int64_t n, bool allow_small_batch, bool wait_for_incomplete, CancellationToken* token, int64_t timeout_ms,
            Deliver deliver, Done done);
  absl::Status Close(bool cancel_pending_enqueues);
  int64_t ready_size() const;
  int64_t incomplete_size() const;
  std::string Title() const override;
  std::string DebugString() const override;

 private:
  struct Tuple {
    int64_t place = 0;
    std::string key;
    std::vector<Tensor> parts;
    size_t missing = 0;
  };
  struct Attempt;

  explicit Barrier(Options options);
  ~Barrier() override;
  absl::StatusOr<Batch> Stack(const std::vector<Tuple>& tuples) const;
  void List(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unlist(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Advance() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  int64_t next_place_ ABSL_GUARDED_BY(mu_) = INT64_MIN;
  absl::flat_hash_map<std::string, Tuple> incomplete_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, Tuple> ready_ ABSL_GUARDED_BY(mu_);
  std::list<RefPtr<Attempt>> takes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_BARRIER_H_
