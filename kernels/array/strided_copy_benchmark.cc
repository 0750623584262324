// GB/s of bytes written by copies that ops make, on one thread.
#include <benchmark/benchmark.h>

#include <vector>

#include "core/base/thread_pool.h"
#include "kernels/array/strided_copy.h"

namespace sluice {
namespace {

void Copy(benchmark::State& state, const CopyDims& dims) {
  ThreadPool pool(1);
  StepContext step;
  step.pool = &pool;
  KernelContext c;
  c.Bind(&step, nullptr, nullptr, 0, nullptr, 0, nullptr, 0);
  int64_t count = 1;
  for (const CopyDim& d : dims) count *= d.size;
  std::vector<float> from(count, 1.0f), to(count);
  for (auto _ : state) {
    StridedCopy(c, DType::kFloat, to.data(), from.data(), dims);
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * count * sizeof(float));
}

void BM_Contiguous(benchmark::State& state) { Copy(state, {{1 << 20, 1, 1}}); }
void BM_Transpose1024(benchmark::State& state) { Copy(state, {{1024, 1024, 1}, {1024, 1, 1024}}); }
void BM_NhwcToNchw(benchmark::State& state) {
  // [32, 28 * 28, 64]
  Copy(state, {{32, 784 * 64, 784 * 64}, {64, 784, 1}, {784, 1, 64}});
}
void BM_NchwToNhwc(benchmark::State& state) { Copy(state, {{32, 784 * 64, 784 * 64}, {784, 64, 1}, {64, 1, 784}}); }
void BM_RgbToPlanes(benchmark::State& state) {
  Copy(state, {{16, 3 * 50176, 3 * 50176}, {3, 50176, 1}, {50176, 1, 3}});
}
void BM_Rows(benchmark::State& state) { Copy(state, {{4096, 256, 256}, {256, 1, 1}}); }
void BM_Broadcast(benchmark::State& state) { Copy(state, {{4096, 256, 1}, {256, 1, 0}}); }
void BM_Heads(benchmark::State& state) {
  // [batch 8, time 128, heads 12, depth 64] to [batch, heads, time, depth]
  Copy(state, {{8, 98304, 98304}, {12, 8192, 64}, {128, 64, 768}, {64, 1, 1}});
}
void BM_Small(benchmark::State& state) { Copy(state, {{4, 4, 1}, {4, 1, 4}}); }

BENCHMARK(BM_Contiguous);
BENCHMARK(BM_Transpose1024);
BENCHMARK(BM_NhwcToNchw);
BENCHMARK(BM_NchwToNhwc);
BENCHMARK(BM_RgbToPlanes);
BENCHMARK(BM_Rows);
BENCHMARK(BM_Broadcast);
BENCHMARK(BM_Heads);
BENCHMARK(BM_Small);

}  // namespace
}  // namespace sluice

BENCHMARK_MAIN();
