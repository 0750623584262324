// Products of matrices on the CPU, in GFLOP for each second of CPU time of the process, which a busy machine leaves
// alone: with perfect scaling two threads show the number of one. The limit is found on the spot: `peak` runs
// independent fused multiply-adds.
//
//   bazel run //kernels/common:gemm_benchmark
#include <algorithm>
#include <cstdint>

#include "benchmark/benchmark.h"
#include "core/types/allocator.h"
#include "kernels/common/cpu_isa.h"
#include "kernels/common/gemm.h"
#include "kernels/common/macros.h"

namespace sluice {
namespace {

// Memory as tensors have it: aligned, and in huge pages where it is large.
template <class T>
class Array {
 public:
  Array(int64_t size, T value) : bytes_(size * sizeof(T)), data_(static_cast<T*>(HostAllocator()->Allocate(bytes_))) {
    std::fill_n(data_, size, value);
  }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { HostAllocator()->Deallocate(data_, bytes_); }
  T* data() { return data_; }

 private:
  size_t bytes_;
  T* data_;
};

template <class T>
void BM_Gemm(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2);
  ThreadPool pool(static_cast<int>(state.range(3)));
  Array<T> a(m * k, T(1)), b(k * n, T(1)), c(m * n, T(0));
  Gemm<T>(&pool, false, false, m, n, k, a.data(), k, b.data(), n, c.data(), n);
  for (auto _ : state) {
    Gemm<T>(&pool, false, false, m, n, k, a.data(), k, b.data(), n, c.data(), n);
    benchmark::DoNotOptimize(c.data());
  }
  state.counters["GFLOP_per_core_s"] =
      benchmark::Counter(2e-9 * static_cast<double>(m * n * k), benchmark::Counter::kIsIterationInvariantRate);
}

#ifdef SLUICE_HAS_X86_LOOPS
// 24 sums of one 512-bit vector each hide the latency of the multiply-add.
SLUICE_TARGET_AVX512 double PeakLoop(int64_t rounds) {
  typedef float V __attribute__((vector_size(64)));
  V sum[24];
  V x = {}, y = {};
  for (int i = 0; i < 16; ++i) x[i] = 1e-9f, y[i] = 0.999f;
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) sum[i] = x;
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 24
    for (int i = 0; i < 24; ++i) {
      sum[i] = sum[i] * y + x;
      asm volatile("" : "+v"(sum[i]));
    }
  }
  double total = 0;
#pragma GCC unroll 24
  for (int i = 0; i < 24; ++i) total += sum[i][0];
  return total;
}

void BM_Peak(benchmark::State& state) {
  if (BestCpuIsa() != CpuIsa::kAvx512) return state.SkipWithError("no AVX-512");
  constexpr int64_t kRounds = 100000;
  for (auto _ : state) benchmark::DoNotOptimize(PeakLoop(kRounds));
  state.counters["GFLOP_per_core_s"] =
      benchmark::Counter(2e-9 * 24 * 16 * kRounds, benchmark::Counter::kIsIterationInvariantRate);
}
BENCHMARK(BM_Peak)->Name("peak_one_core")->MeasureProcessCPUTime();
#endif

void Sizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"m", "n", "k", "threads"})->MeasureProcessCPUTime();
  for (int64_t threads : {1, 2}) {
    for (int64_t n : {16, 32, 64, 96, 128, 512, 1024, 2048}) b->Args({n, n, n, threads});
    b->Args({32, 1024, 1024, threads});
    b->Args({1, 1024, 1024, threads});
  }
}
BENCHMARK_TEMPLATE(BM_Gemm, float)->Apply(Sizes);
// Beside float: operands of half the size, and products of pairs where the processor has them.
void NarrowSizes(benchmark::internal::Benchmark* b) {
  b->ArgNames({"m", "n", "k", "threads"})->MeasureProcessCPUTime();
  for (int64_t threads : {1, 2}) {
    for (int64_t n : {64, 128, 512, 1024, 2048}) b->Args({n, n, n, threads});
  }
  b->Args({32, 1024, 1024, 1});
  b->Args({1, 1024, 1024, 1});
}
BENCHMARK_TEMPLATE(BM_Gemm, bfloat16)->Apply(NarrowSizes);
BENCHMARK_TEMPLATE(BM_Gemm, half)->Apply(NarrowSizes);
BENCHMARK_TEMPLATE(BM_Gemm, double)
    ->ArgNames({"m", "n", "k", "threads"})
    ->Args({1024, 1024, 1024, 1})
    ->MeasureProcessCPUTime();
BENCHMARK_TEMPLATE(BM_Gemm, int32_t)
    ->ArgNames({"m", "n", "k", "threads"})
    ->Args({1024, 1024, 1024, 1})
    ->MeasureProcessCPUTime();

}  // namespace
}  // namespace sluice
