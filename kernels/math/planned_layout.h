// What a kernel works out from the shapes of its inputs: when it is prepared, where they are all known, else in each
// step.
#ifndef SLUICE_KERNELS_MATH_PLANNED_LAYOUT_H_
#define SLUICE_KERNELS_MATH_PLANNED_LAYOUT_H_

#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "core/base/status.h"
#include "core/kernel/kernel.h"

namespace sluice {

template <class Layout>
class PlannedLayout {
 public:
  // make(shapes, &layout), here and below, gives a status; shapes is a span of pointers.
  template <class Make>
  absl::Status Prepare(const PrepareContext& p, const Make& make) {
    std::vector<Shape> shapes;
    for (const PartialShape& s : p.input_shapes) {
      if (!s.IsFullyKnown()) return absl::OkStatus();
      shapes.push_back(s.ToShape());
    }
    absl::InlinedVector<const Shape*, 8> pointers;
    for (const Shape& s : shapes) pointers.push_back(&s);
    RETURN_IF_ERROR(make(pointers, &layout_));
    shapes_ = std::move(shapes);
    return absl::OkStatus();
  }

  // run(layout) with the planned one, or with one made for the first `num_inputs` inputs as they are.
  template <class Make, class Run>
  absl::Status With(KernelContext& c, int num_inputs, const Make& make, const Run& run) const {
    bool as_planned = !shapes_.empty();
    for (int i = 0; as_planned && i < num_inputs; ++i) as_planned = c.input(i).shape() == shapes_[i];
    if (as_planned) return run(layout_);
    absl::InlinedVector<const Shape*, 8> shapes;
    for (int i = 0; i < num_inputs; ++i) shapes.push_back(&c.input(i).shape());
    Layout layout;
    RETURN_IF_ERROR(make(shapes, &layout));
    return run(layout);
  }

 private:
  std::vector<Shape> shapes_;  // none: not planned
  Layout layout_;
};

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_PLANNED_LAYOUT_H_
