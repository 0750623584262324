// Which algorithm computes a float convolution: by a fixed rule, or, where two may be the fastest, the one that was
// when the shape first ran on this machine (kernels/common/tuning.h). It is measured once, on the operands of that run,
// and kept; without a folder to keep it in, or with SLUICE_TUNING=0, the rule decides and nothing is measured.
#ifndef SLUICE_KERNELS_NN_CONV_CHOICE_H_
#define SLUICE_KERNELS_NN_CONV_CHOICE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "kernels/common/tuning.h"
#include "kernels/nn/conv_algorithm.h"

namespace sluice {

// One way to run a shape; it is made when it is wanted, and null then when it is not there.
struct ConvCandidate {
  std::string name;
  std::function<std::unique_ptr<ConvAlgorithm>()> make;
};

// The candidates of a shape, the rule's first.
std::vector<ConvCandidate> ConvCandidates(const ConvShape& shape, ConvDirection direction, int parallelism);

// Null when the generic loops are to run. `tuning` (which may be null) and `clock` must outlive the result. REQUIRES:
// !shape.empty().
std::unique_ptr<ConvAlgorithm> ChooseConv(const ConvShape& shape, ConvDirection direction, int parallelism,
                                          std::vector<ConvCandidate> candidates, Tuning* tuning, const Clock* clock);
inline std::unique_ptr<ConvAlgorithm> ChooseConv(const ConvShape& shape, ConvDirection direction, int parallelism) {
  return ChooseConv(shape, direction, parallelism, ConvCandidates(shape, direction, parallelism), Tuning::OfUser(),
                    SystemClock());
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_NN_CONV_CHOICE_H_
