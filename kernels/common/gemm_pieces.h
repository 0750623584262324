// A product cut into about one rectangle of the result for each thread.
#ifndef SLUICE_KERNELS_COMMON_GEMM_PIECES_H_
#define SLUICE_KERNELS_COMMON_GEMM_PIECES_H_

#include <algorithm>
#include <cstdint>

#include "core/base/thread_pool.h"
#include "kernels/common/gemm_blocked.h"

namespace sluice::internal {

// Calls run(const GemmArgs<T>&) with each rectangle; with the whole product when its cost is too small to share. `pool`
// may be null.
template <class T, class F>
void ForEachPiece(ThreadPool* pool, const GemmArgs<T>& g, double cost_ns, const F& run) {
  const int threads = pool == nullptr ? 1 : pool->parallelism();
  if (threads == 1 || cost_ns < 10000) return run(g);
  // The cut goes across the longer side first, so that pieces stay near to squares.
  int64_t rows = 1, columns = 1;
  while (rows * columns < threads) {
    const bool cut_rows = g.m / rows >= g.n / columns;
    if ((cut_rows ? g.m / rows : g.n / columns) < 2 * 16) break;
    (cut_rows ? rows : columns) *= 2;
  }
  auto round_up = [](int64_t x, int64_t to) { return (x + to - 1) / to * to; };
  const int64_t height = round_up((g.m + rows - 1) / rows, 12), width = round_up((g.n + columns - 1) / columns, 32);
  rows = (g.m + height - 1) / height;
  columns = (g.n + width - 1) / width;
  pool->ParallelFor(rows * columns, cost_ns / static_cast<double>(rows * columns), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      GemmArgs<T> piece = g;
      const int64_t i = t / columns * height, j = t % columns * width;
      piece.m = std::min(height, g.m - i);
      piece.n = std::min(width, g.n - j);
      piece.a += g.ta ? i : i * g.lda;
      piece.b += g.tb ? j * g.ldb : j;
      piece.c += i * g.ldc + j;
      piece.i = i;
      piece.j = j;
      run(piece);
    }
  });
}

}  // namespace sluice::internal

#endif  // SLUICE_KERNELS_COMMON_GEMM_PIECES_H_
