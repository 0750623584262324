// Gradients of the C boundary.
#include "core/graph/gradients.h"

#include "runtime/c_api/internal.h"

using sluice::FromEndpoint;
using sluice::Grad;
using sluice::Out;
using sluice::ToEndpoint;

namespace {

SL_Output FromOut(const Out& out) { return out.valid() ? FromEndpoint(out.endpoint()) : SL_Output{nullptr, 0}; }

SL_Grad FromGrad(const Grad& g) {
  return {FromOut(g.dense), FromOut(g.values), FromOut(g.indices), FromOut(g.dense_shape)};
}

Out ToOut(sluice::GraphBuilder* builder, SL_Output o) { return o.op == nullptr ? Out() : Out(builder, ToEndpoint(o)); }

std::vector<sluice::Endpoint> ToEndpoints(const SL_Output* outputs, int n) {
  std::vector<sluice::Endpoint> endpoints;
  for (int i = 0; i < n; ++i) endpoints.push_back(ToEndpoint(outputs[i]));
  return endpoints;
}

}  // namespace

void SL_AddGradients(SL_Graph* graph, const SL_Output* ys, int num_ys, const SL_Output* xs, int num_xs,
                     const SL_Output* grad_ys, const SL_GradientOptions* options, SL_Grad* grads, SL_Status* status) {
  sluice::Graph* g = graph->graph.get();
  sluice::GradientOptions gradient_options;
  gradient_options.scope = options->scope;
  gradient_options.colocate = options->colocate != 0;
  gradient_options.zeros_for_unconnected = options->zeros_for_unconnected != 0;
  gradient_options.stop_gradients = ToEndpoints(options->stop, options->num_stop);
  if (options->override_rule != nullptr) {
    gradient_options.override_rule = [options, g](sluice::GradientScope& scope) -> absl::StatusOr<bool> {
      std::vector<SL_Grad> dys, dxs(scope.node()->num_inputs(), SL_Grad{});
      for (int i = 0; i < scope.node()->num_outputs(); ++i) dys.push_back(FromGrad(scope.grad(i)));
      SL_Status rule_status;
      // The rule adds nodes through the functions of this boundary, which lock the graph themselves.
      g->mu().Unlock();
      const int handled =
          options->override_rule(options->arg, sluice::FromNode(scope.node()), dys.data(), static_cast<int>(dys.size()),
                                 dxs.data(), static_cast<int>(dxs.size()), &rule_status);
      g->mu().Lock();
      if (handled < 0) return rule_status.ToStatus();
      if (handled == 0) return false;
      for (size_t i = 0; i < dxs.size(); ++i) {
        scope.dxs()[i] = Grad{ToOut(&scope, dxs[i].dense), ToOut(&scope, dxs[i].values), ToOut(&scope, dxs[i].indices),
                              ToOut(&scope, dxs[i].dense_shape)};
      }
      return true;
    };
  }
  std::vector<sluice::Endpoint> seeds;
  if (grad_ys != nullptr) seeds = ToEndpoints(grad_ys, num_ys);
  absl::MutexLock lock(&g->mu());
  auto result = sluice::AddGradients(g, ToEndpoints(ys, num_ys), ToEndpoints(xs, num_xs), seeds, gradient_options);
  status->Set(result.status());
  if (!result.ok()) return;
  for (int i = 0; i < num_xs; ++i) grads[i] = FromGrad((*result)[i]);
}
