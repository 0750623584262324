#include "core/graph/gradient_scope.h"

#include "core/base/status.h"

namespace sluice {

GradientScope::GradientScope(Graph* graph, Node* forward, std::vector<Grad> dys, std::string scope)
    : GraphBuilder(graph, std::move(scope)), forward_(forward), dys_(std::move(dys)), dxs_(forward->num_inputs()) {
  auto adopt = [this](Out& out) { out = Out(this, out.endpoint()); };
  for (Grad& g : dys_) {
    adopt(g.dense);
    adopt(g.values);
    adopt(g.indices);
    adopt(g.dense_shape);
  }
}

Out GradientScope::dy(int i) {
  Grad& g = dys_[i];
  if (g.dense.valid()) return g.dense;
  if (!g.is_sparse()) {
    g.dense = Op("ZerosLike", {output(i)});
    return g.dense;
  }
  // Rows of a gather, summed into the full tensor.
  Out shape = g.dense_shape.valid() ? g.dense_shape : Op("Shape", {output(i)}, {{"out_type", g.indices.dtype()}});
  Out rows = Op("StridedSlice", {shape, Ints({0}, shape.dtype()), Ints({1}, shape.dtype()), Ints({1}, shape.dtype())},
                {{"shrink_axis_mask", int64_t{1}}});
  g.dense = Op("Reshape", {Op("UnsortedSegmentSum", {g.values, g.indices, rows}), shape});
  return g.dense;
}

int GradientScope::FlatInput(absl::string_view name) {
  absl::StatusOr<ArgRange> r = FindArgRange(forward_->op().inputs, forward_->attrs(), name);
  if (!r.ok() || r->end <= r->begin) {
    Fail(Internal("the gradient rule of ", forward_->op().name, " asks for input '", name, "'"));
    return -1;
  }
  return r->begin;
}

ArgRange GradientScope::InputRange(absl::string_view name) {
  absl::StatusOr<ArgRange> r = FindArgRange(forward_->op().inputs, forward_->attrs(), name);
  if (r.ok()) return *r;
  Fail(Internal("the gradient rule of ", forward_->op().name, " asks for input '", name, "'"));
  return {};
}

Out GradientScope::operator[](absl::string_view name) {
  if (forward_->op().FindInput(name) >= 0) {
    int i = FlatInput(name);
    return i < 0 ? Out(this, {}) : input(i);
  }
  absl::StatusOr<ArgRange> r = FindArgRange(forward_->op().outputs, forward_->attrs(), name);
  if (!r.ok()) {
    Fail(Internal("the gradient rule of ", forward_->op().name, " asks for '", name, "'"));
    return Out(this, {});
  }
  return output(r->begin);
}

std::vector<Out> GradientScope::Inputs(absl::string_view name) {
  std::vector<Out> all;
  ArgRange r = InputRange(name);
  for (int i = r.begin; i < r.end; ++i) all.push_back(input(i));
  return all;
}

GradientScope::Slot GradientScope::Into(absl::string_view name) {
  static thread_local Grad discarded;  // after a Fail the value goes nowhere
  int i = FlatInput(name);
  return Slot(i < 0 ? &discarded : &dxs_[i]);
}

void GradientScope::IntoSparse(absl::string_view name, Out values, Out indices, Out dense_shape) {
  int i = FlatInput(name);
  if (i < 0) return;
  dxs_[i] = Grad{Out(), values, indices, dense_shape};
}

}  // namespace sluice
