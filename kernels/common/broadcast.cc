#include "kernels/common/broadcast.h"

#include <utility>

#include "core/base/status.h"

namespace sluice {

absl::StatusOr<BroadcastPlan> BroadcastPlan::Make(std::initializer_list<const Shape*> inputs) {
  BroadcastPlan plan;
  for (const Shape* s : inputs) {
    ASSIGN_OR_RETURN(plan.output_, BroadcastShapes(plan.output_, *s));
  }
  const int rank = plan.output_.rank();
  int64_t inner[kMaxInputs] = {1, 1, 1, 1};  // elements of each input within the dimensions seen so far
  absl::InlinedVector<Dim, 4> reversed;
  for (int d = rank - 1; d >= 0; --d) {
    const int64_t size = plan.output_.dim(d);
    if (size == 1) continue;
    Dim dim{size, {}};
    bool merges = !reversed.empty();
    int k = 0;
    for (const Shape* s : inputs) {
      const int at = d - (rank - s->rank());
      const int64_t own = at < 0 ? 1 : s->dim(at);
      dim.stride[k] = own == 1 ? 0 : inner[k];
      inner[k] *= own;
      // A dimension continues its inner neighbour when each input either moves on through both or stays in both.
      if (merges) merges = dim.stride[k] == reversed.back().stride[k] * reversed.back().size;
      ++k;
    }
    if (merges) {
      reversed.back().size *= size;
    } else {
      reversed.push_back(dim);
    }
  }
  if (reversed.empty()) reversed.push_back(Dim{1, {}});
  plan.dims_.assign(reversed.rbegin(), reversed.rend());
  return plan;
}

}  // namespace sluice
