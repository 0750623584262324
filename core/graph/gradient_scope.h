// What a gradient rule sees: the forward node, the gradients of its outputs, and where to put those of its inputs.
//
//   .Gradient([](GradientScope& g) { g.Into("features") = g.dy() * Sigmoid(g["features"]); })
//
// Inputs that the rule leaves out get no gradient. A gradient may be sparse (rows of a gather): see IntoSparse.
#ifndef SLUICE_CORE_GRAPH_GRADIENT_SCOPE_H_
#define SLUICE_CORE_GRAPH_GRADIENT_SCOPE_H_

#include <string>
#include <vector>

#include "core/graph/builder.h"

namespace sluice {

// A gradient: dense, or the rows `indices` (vector) of a tensor with shape `dense_shape` (may be invalid when not
// known).
struct Grad {
  Out dense;
  Out values, indices, dense_shape;
  bool is_sparse() const { return values.valid(); }
  bool valid() const { return dense.valid() || values.valid(); }
};

class GradientScope : public GraphBuilder {
 public:
  // `dys` holds a Grad for each output; invalid where the output has none.
  GradientScope(Graph* graph, Node* forward, std::vector<Grad> dys, std::string scope);

  Node* node() const { return forward_; }
  template <typename T>
  absl::StatusOr<T> Attr(absl::string_view name) const {
    return GetAttr<T>(forward_->attrs(), name);
  }
  // For attributes the op definition guarantees.
  template <typename T>
  T MustAttr(absl::string_view name) const {
    return GetAttr<T>(forward_->attrs(), name).value();
  }

  // The gradient of output i, made dense; zeros of the output's shape when it has none.
  Out dy(int i = 0);
  bool has_dy(int i = 0) const { return dys_[i].valid(); }
  const Grad& grad(int i = 0) const { return dys_[i]; }

  // A forward input or output by the name of the op definition (single arguments), or by flat position.
  Out operator[](absl::string_view name);
  Out input(int i) { return Out(this, forward_->input(i)); }
  Out output(int i) { return Out(this, {forward_, i}); }
  // All tensors of a listed argument.
  std::vector<Out> Inputs(absl::string_view name);
  ArgRange InputRange(absl::string_view name);

  // Takes the gradient of an input: g.Into("x") = expr;
  class Slot {
   public:
    Slot(Grad* grad) : grad_(grad) {}                          // NOLINT
    void operator=(Out gradient) { grad_->dense = gradient; }  // NOLINT

   private:
    Grad* grad_;
  };
  Slot Into(absl::string_view name);
  Slot Into(int i) { return Slot(&dxs_[i]); }
  void IntoSparse(absl::string_view name, Out values, Out indices, Out dense_shape);

  // For the engine.
  std::vector<Grad>& dxs() { return dxs_; }

 private:
  int FlatInput(absl::string_view name);
  Node* forward_;
  std::vector<Grad> dys_;
  std::vector<Grad> dxs_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_GRAPH_GRADIENT_SCOPE_H_
