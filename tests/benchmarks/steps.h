// The steps whose cost is watched: timed by step_benchmark.cc, counted by instructions_test.cc and calls_benchmark.cc.
//
//   std::unique_ptr<MeasuredStep> step = MeasuredStep::Make("null_chain", {});
//   step->Run();                                   // one step; ends the program when it fails
//   CHECK(step->ResultIsRight());
//
//   null_chain, null_layers, null_independent      10,000 nodes that do nothing (B01): one after the other; in 100
//   layers,
//                                                  each after two at random of the layer before; in any order
//   null_layers_dataflow                           the same layers in the dataflow tier
//   two_chains, two_chains_one_lane                two chains of 50 products of 64 x 64 each, which take some 3 us: in
//                                                  a lane each where there are two threads, and never
//   two_chains_dataflow                            the same in the dataflow tier
//   adds                                           1,000 additions of scalars, half a tree and half a chain, no passes
//   (B02) feeds_1, feeds_10, feeds_100                   N feeds of float[1], one fetch (B03) mlp, lenet the training
//   steps of B07 and B08 small_mlp                                      a training step whose kernels take little (B04)
#ifndef SLUICE_TESTS_BENCHMARKS_STEPS_H_
#define SLUICE_TESTS_BENCHMARKS_STEPS_H_

#include <memory>
#include <string>
#include <vector>

#include "runtime/session/session.h"

namespace sluice {

class MeasuredStep {
 public:
  // Ends the program for a name that is not listed above.
  static std::unique_ptr<MeasuredStep> Make(const std::string& name, int threads);

  void Run();
  // Whether the last step made what it should; for trainings, whether the loss falls.
  bool ResultIsRight() const { return is_right_(fetches_); }
  // What a step is divided by: nodes of B01, additions of B02, else 1.
  int parts() const { return parts_; }

 private:
  friend struct StepBuilder;
  MeasuredStep() = default;

  Environment environment_;
  std::unique_ptr<Graph> graph_;
  std::unique_ptr<Session> session_;
  std::shared_ptr<Callable> callable_;
  std::vector<Tensor> feeds_, fetches_;
  bool (*is_right_)(const std::vector<Tensor>& fetches) = nullptr;
  int parts_ = 1;
};

}  // namespace sluice

#endif  // SLUICE_TESTS_BENCHMARKS_STEPS_H_
