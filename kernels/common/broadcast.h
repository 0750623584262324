// NumPy broadcasting of up to four dense tensors as runs of contiguous output.
//
//   ASSIGN_OR_RETURN(BroadcastPlan plan, BroadcastPlan::Make({&x.shape(), &y.shape()}));
//   plan.ForEachRun(begin, end, [&](const int64_t* offset, int64_t at, int64_t count) {
//     // output elements [at, at + count) come from x[offset[0] + i * plan.step(0)] and y[offset[1] + i * plan.step(1)]
//   });
//
// Dimensions of size 1 are dropped and neighbours that broadcast alike are merged, so equal shapes are one run, a
// scalar operand is one run of step 0, and a row or a column vector against a matrix is one run for each row.
#ifndef SLUICE_KERNELS_COMMON_BROADCAST_H_
#define SLUICE_KERNELS_COMMON_BROADCAST_H_

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "core/types/shape.h"

namespace sluice {

class BroadcastPlan {
 public:
  static constexpr int kMaxInputs = 4;
  BroadcastPlan() = default;
  // An error names the shapes that do not go together.
  static absl::StatusOr<BroadcastPlan> Make(std::initializer_list<const Shape*> inputs);

  const Shape& output() const { return output_; }
  int64_t num_elements() const { return output_.num_elements(); }
  // The length of a full run, and how input i moves within one: 1 or 0.
  int64_t run() const { return dims_.back().size; }
  int64_t step(int input) const { return dims_.back().stride[input]; }
  bool IsOneRun() const { return dims_.size() == 1; }

  // Covers the output elements [begin, end) by runs, in order.
  template <typename Fn>
  void ForEachRun(int64_t begin, int64_t end, Fn&& fn) const {
    const int last = static_cast<int>(dims_.size()) - 1;
    absl::InlinedVector<int64_t, 8> at(dims_.size());
    int64_t offset[kMaxInputs] = {};
    int64_t rest = begin;
    for (int d = last; d >= 0; --d) {
      at[d] = rest % dims_[d].size;
      rest /= dims_[d].size;
      for (int k = 0; k < kMaxInputs; ++k) offset[k] += at[d] * dims_[d].stride[k];
    }
    while (begin < end) {
      const int64_t count = std::min(dims_[last].size - at[last], end - begin);
      fn(static_cast<const int64_t*>(offset), begin, count);
      begin += count;
      if (begin >= end) return;
      for (int k = 0; k < kMaxInputs; ++k) offset[k] -= at[last] * dims_[last].stride[k];
      at[last] = 0;
      for (int d = last - 1; d >= 0; --d) {
        for (int k = 0; k < kMaxInputs; ++k) offset[k] += dims_[d].stride[k];
        if (++at[d] < dims_[d].size) break;
        for (int k = 0; k < kMaxInputs; ++k) offset[k] -= dims_[d].size * dims_[d].stride[k];
        at[d] = 0;
      }
    }
  }

 private:
  struct Dim {
    int64_t size;
    int64_t stride[kMaxInputs];
  };
  Shape output_;
  absl::InlinedVector<Dim, 4> dims_;  // outermost first, never empty
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_BROADCAST_H_
