// What a node costs one thread, for deciding whether work is worth dividing among threads.
//
//   NodeWork work(measured, threads);
//   work.Ns(node)              // all of it
//   work.OnLaneNs(node)        // as long as it takes a lane when idle threads help within the kernel
//
// Times of traced steps count where there are any, otherwise types and shapes. An estimate rather says too little:
// nodes whose shapes are not known cost their dispatch, and no function is dear but products of matrices.
#ifndef SLUICE_RUNTIME_EXECUTOR_NODE_WORK_H_
#define SLUICE_RUNTIME_EXECUTOR_NODE_WORK_H_

#include "core/graph/graph.h"
#include "runtime/placer/cost_model.h"

namespace sluice {

class NodeWork {
 public:
  // `measured` may be null.
  NodeWork(const MeasuredCosts* measured, int threads);

  double Ns(const Node& node) const;
  double OnLaneNs(const Node& node) const;
  // The kernel divides such work itself.
  static bool IsWide(double ns);

 private:
  CostModel model_;
  const double threads_;
};

}  // namespace sluice

#endif  // SLUICE_RUNTIME_EXECUTOR_NODE_WORK_H_
