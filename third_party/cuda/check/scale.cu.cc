#include <cuda_runtime.h>

#include "third_party/cuda/check/scale.h"

namespace sluice {
namespace {

__global__ void Scale(float factor, float* values, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] *= factor;
}

}  // namespace

std::string ScaleOnGpu(float factor, std::vector<float>& values) {
  const int count = static_cast<int>(values.size());
  const size_t bytes = values.size() * sizeof(float);
  float* device = nullptr;
  cudaError_t error = cudaMalloc(&device, bytes);
  if (error != cudaSuccess) return cudaGetErrorString(error);
  error = cudaMemcpy(device, values.data(), bytes, cudaMemcpyHostToDevice);
  if (error == cudaSuccess) {
    Scale<<<(count + 255) / 256, 256>>>(factor, device, count);
    error = cudaGetLastError();
  }
  if (error == cudaSuccess) error = cudaMemcpy(values.data(), device, bytes, cudaMemcpyDeviceToHost);
  cudaFree(device);
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

}  // namespace sluice
