#include "runtime/executor/node_work.h"

namespace sluice {
namespace {

constexpr char kHost[] = "CPU";
constexpr double kNothingNs = 3;  // a node without tensors
constexpr double kCheapNs = 10;
constexpr double kDispatchNs = 10;  // with shapes that are not known
// Kernels divide work from 10 us on; below twice that the other threads gain little.
constexpr double kWideNs = 20e3;

bool ShapesAreKnown(const Node& node) {
  for (const Endpoint& in : node.inputs()) {
    if (!in.node->output_shape(in.index).IsFullyKnown()) return false;
  }
  for (int o = 0; o < node.num_outputs(); ++o) {
    if (!node.output_shape(o).IsFullyKnown()) return false;
  }
  return true;
}

}  // namespace

NodeWork::NodeWork(const MeasuredCosts* measured, int threads) : model_(measured), threads_(threads) {
  DeviceSpeed speed;
  speed.dispatch_ns = kDispatchNs;
  speed.flops_per_ns = 100;
  speed.bytes_per_ns = 20;
  model_.SetSpeed(kHost, speed);
}

bool NodeWork::IsWide(double ns) { return ns >= kWideNs; }

double NodeWork::Ns(const Node& node) const {
  if (model_.IsMeasured(node, kHost)) {
    const double ns = model_.ComputeNs(node, kHost);
    return IsWide(ns) ? ns * threads_ : ns;  // it was divided
  }
  if (node.num_inputs() == 0 && node.num_outputs() == 0) return kNothingNs;
  if (node.Is(kCheap)) return kCheapNs;
  return ShapesAreKnown(node) ? model_.ComputeNs(node, kHost) : kDispatchNs;
}

double NodeWork::OnLaneNs(const Node& node) const {
  const double ns = Ns(node);
  return IsWide(ns) ? ns / threads_ : ns;
}

}  // namespace sluice
