// Adds up gradients of the current step until somebody takes their average and the next step begins.
//
// A gradient computed for a step that is over is dropped, which is how late workers do no harm. Gradients come in one
// of two ways:
//
//   without a replica   added to the sum at once, in the order of arrival (as in TensorFlow): with three workers or
//   more
//                       the last bits of the sum depend on who came first;
//   with a replica      kept apart, the first one of each replica and step; whoever takes adds those of exactly the
//                       current step in the order of the replicas. The same set gives the same bits, no replica counts
//                       twice, and what was computed for a step that was undone does not count for another. Costs a
//                       gradient of memory for each replica (two while it is ahead).
//
// Take(k) waits for k gradients (of k replicas: the first k to arrive make the sum). Take({r0, r1, ...}) waits for
// those replicas and adds theirs in that order, so that one decision who takes part can serve many accumulators.
//
// A global step of INT64_MAX ends takes (OUT_OF_RANGE) until another one is set. Gradients that come meanwhile count
// for the step that was current, so that who takes may end and begin anew, and who gives need not know.
//
// Threads, blocking: see waiting.h; takes are served in the order of their arrival.
#ifndef SLUICE_KERNELS_QUEUE_ACCUMULATOR_H_
#define SLUICE_KERNELS_QUEUE_ACCUMULATOR_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "core/types/tensor.h"
#include "kernels/queue/waiting.h"

namespace sluice {

// A dense gradient (values alone), or rows: `indices` ascending without repetition, values [n, ...], and how many
// gradients each row is the sum of.
struct Gradient {
  Tensor values;
  std::vector<int64_t> indices;
  std::vector<int64_t> counts;
};

// sum += g. `sum` may be unset, then it becomes g. Rows are matched by index.
absl::Status AddDense(Gradient* sum, Gradient g);
absl::Status AddRows(Gradient* sum, Gradient g);
// Sorts rows by index and adds those of equal index.
absl::StatusOr<Gradient> SortRows(const Tensor& indices, const Tensor& values);
// Divides by the number of gradients (each row by its own).
absl::Status DivideDense(Gradient* sum, int64_t count);
absl::Status DivideRows(Gradient* sum);

class Accumulator : public WaitingResource {
 public:
  struct Options {
    bool sparse = false;
    std::string name;
    DType dtype = DType::kFloat;
    PartialShape shape;
    bool mean = true;  // else the sum
  };
  static constexpr int64_t kNoReplica = -1;
  using Deliver = std::function<absl::Status(Gradient)>;

  explicit Accumulator(Options options);
  static absl::StatusOr<RefPtr<Accumulator>> Make(Options options);
  const Options& options() const { return options_; }
  absl::Status CheckSame(const Options& wanted) const;

  // Dense: the value. Dropped without an error when local_step is over.
  absl::Status Apply(int64_t local_step, int64_t replica, Tensor gradient);
  // Sparse: rows and their indices; `shape` of the whole gradient, when known.
  absl::Status ApplyRows(int64_t local_step, int64_t replica, const Tensor& indices, const Tensor& values,
                         const PartialShape& shape);
  void Take(int64_t num_required, CancellationToken* token, Deliver deliver, Done done);
  void Take(std::vector<int64_t> replicas, CancellationToken* token, Deliver deliver, Done done);
  // Gradients with a replica are kept when they are of this step.
  absl::Status SetGlobalStep(int64_t step);
  int64_t num_accumulated() const;
  std::string Title() const override;
  std::string DebugString() const override;

 protected:
  ~Accumulator() override;

 private:
  struct Attempt;
  struct Contribution {
    uint64_t arrival = 0;
    Gradient gradient;
  };

  absl::Status Add(int64_t local_step, int64_t replica, Gradient g);
  void StartTake(RefPtr<Attempt> attempt, CancellationToken* token, Deliver deliver, Done done);
  absl::Status Sum(Gradient* sum, Gradient g) const {
    return options_.sparse ? AddRows(sum, std::move(g)) : AddDense(sum, std::move(g));
  }
  // (arrival, replica) of the gradients with a replica that count now.
  std::vector<std::pair<uint64_t, int64_t>> OfThisStep() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The replicas whose gradients a take gets, in order; empty when it has to wait.
  std::vector<int64_t> Chosen(const Attempt& attempt) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void List(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unlist(const RefPtr<WaitingResource::Attempt>& attempt) override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Advance() override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  int64_t step_ ABSL_GUARDED_BY(mu_) = 0;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  int64_t count_ ABSL_GUARDED_BY(mu_) = 0;  // in sum_
  Gradient sum_ ABSL_GUARDED_BY(mu_);
  uint64_t arrivals_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<std::pair<int64_t, int64_t>, Contribution> by_replica_ ABSL_GUARDED_BY(mu_);  // by step and replica
  std::list<RefPtr<Attempt>> takes_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_QUEUE_ACCUMULATOR_H_
