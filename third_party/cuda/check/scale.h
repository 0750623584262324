#ifndef THIRD_PARTY_CUDA_CHECK_SCALE_H_
#define THIRD_PARTY_CUDA_CHECK_SCALE_H_

#include <string>
#include <vector>

namespace sluice {

// Multiplies `values` by `factor` on GPU 0. Returns CUDA's message for what went wrong, or an empty string.
// It shows that the toolkit compiles, links and runs; the runtime's own kernels live in kernels/.
std::string ScaleOnGpu(float factor, std::vector<float>& values);

}  // namespace sluice

#endif  // THIRD_PARTY_CUDA_CHECK_SCALE_H_
