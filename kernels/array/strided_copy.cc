#include "kernels/array/strided_copy.h"

#include <algorithm>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "kernels/common/cpu_isa.h"
#include "kernels/common/macros.h"
#include "kernels/common/stream.h"

namespace sluice {
namespace {

constexpr int64_t kBlockElements = 16384;  // a piece of work for one thread is about this large

// Drops dimensions of size 1 and merges neighbours that are walked as one. False when there is nothing to copy.
bool Merge(absl::Span<const CopyDim> dims, CopyDims* merged) {
  for (const CopyDim& d : dims) {
    if (d.size == 0) return false;
  }
  for (const CopyDim& d : dims) {
    if (d.size == 1) continue;
    if (!merged->empty() && merged->back().to == d.to * d.size && merged->back().from == d.from * d.size) {
      merged->back() = {merged->back().size * d.size, d.to, d.from};
    } else {
      merged->push_back(d);
    }
  }
  return true;
}

#ifdef SLUICE_HAS_X86_LOOPS
// to[r * row_stride + j] = from[r + j * stride] for 16 rows of 16 elements, so whole cache lines, in registers.
template <bool kStream>
SLUICE_TARGET_AVX512 inline void Transpose16(uint32_t* to, int64_t row_stride, const uint32_t* from, int64_t stride) {
  typedef uint32_t V __attribute__((vector_size(64)));
  typedef uint32_t Memory __attribute__((vector_size(64), may_alias, aligned(4)));
  V a[16], b[16];
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) a[k] = *reinterpret_cast<const Memory*>(from + k * stride);
    // Elements, pairs, fours and eights change places with those of the row at that distance.
#pragma GCC unroll 8
  for (int k = 0; k < 16; k += 2) {
    b[k] = __builtin_shuffle(a[k], a[k + 1], V{0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30});
    b[k + 1] = __builtin_shuffle(a[k], a[k + 1], V{1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31});
  }
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) {
    if (k & 2) continue;
    a[k] = __builtin_shuffle(b[k], b[k + 2], V{0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29});
    a[k + 2] = __builtin_shuffle(b[k], b[k + 2], V{2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31});
  }
#pragma GCC unroll 16
  for (int k = 0; k < 16; ++k) {
    if (k & 4) continue;
    b[k] = __builtin_shuffle(a[k], a[k + 4], V{0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27});
    b[k + 4] = __builtin_shuffle(a[k], a[k + 4], V{4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31});
  }
#pragma GCC unroll 8
  for (int k = 0; k < 8; ++k) {
    const V low = __builtin_shuffle(b[k], b[k + 8], V{0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23});
    const V high = __builtin_shuffle(b[k], b[k + 8], V{8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31});
    if constexpr (kStream) {
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + k * row_stride), reinterpret_cast<__m512i>(low));
      _mm512_stream_si512(reinterpret_cast<__m512i*>(to + (k + 8) * row_stride), reinterpret_cast<__m512i>(high));
    } else {
      *reinterpret_cast<Memory*>(to + k * row_stride) = low;
      *reinterpret_cast<Memory*>(to + (k + 8) * row_stride) = high;
    }
  }
}

// As TransposePlane, for multiples of 16 rows and columns. Blocks of 64 x 64, whose lines lie side by side on few
// pages.
template <bool kStream>
SLUICE_TARGET_AVX512 void TransposeBlocks(uint32_t* to, const uint32_t* from, int64_t rows, int64_t row_stride,
                                          int64_t columns, int64_t stride) {
  constexpr int64_t kBlock = 64;
  for (int64_t j0 = 0; j0 < columns; j0 += kBlock) {
    for (int64_t r0 = 0; r0 < rows; r0 += kBlock) {
      for (int64_t r = r0; r < std::min(r0 + kBlock, rows); r += 16) {
        for (int64_t j = j0; j < std::min(j0 + kBlock, columns); j += 16) {
          Transpose16<kStream>(to + r * row_stride + j, row_stride, from + r + j * stride, stride);
        }
      }
    }
  }
  if (kStream) _mm_sfence();
}
#endif

// to[r * row_stride + j] = from[r + j * stride], in tiles whose lines of `from` stay in the first cache.
template <typename U>
void TransposeAny(U* to, const U* from, int64_t rows, int64_t row_stride, int64_t columns, int64_t stride) {
  // Lines whose addresses differ by large powers of two fall into few sets of the cache: fewer of them at a time.
  const int64_t columns_at_once = stride * static_cast<int64_t>(sizeof(U)) % 1024 == 0 ? 16 : 64;
  constexpr int64_t kRows = std::max<int64_t>(64 / sizeof(U), 4);
  for (int64_t j0 = 0; j0 < columns; j0 += columns_at_once) {
    const int64_t j1 = std::min(j0 + columns_at_once, columns);
    for (int64_t r0 = 0; r0 < rows; r0 += kRows) {
      const int64_t r1 = std::min(r0 + kRows, rows);
      int64_t r = r0;
#ifdef __SSE2__
      if constexpr (sizeof(U) == 4 && std::is_trivially_copyable_v<U>) {
        for (; r + 4 <= r1; r += 4) {
          int64_t j = j0;
          for (; j + 4 <= j1; j += 4) {
            const auto load = [&](int k) {
              return _mm_castsi128_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + r + (j + k) * stride)));
            };
            __m128 a = load(0), b = load(1), c = load(2), d = load(3);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            const auto store = [&](int k, __m128 v) {
              _mm_storeu_si128(reinterpret_cast<__m128i*>(to + (r + k) * row_stride + j), _mm_castps_si128(v));
            };
            store(0, a), store(1, b), store(2, c), store(3, d);
          }
          for (int k = 0; k < 4; ++k) {
            for (int64_t i = j; i < j1; ++i) to[(r + k) * row_stride + i] = from[r + k + i * stride];
          }
        }
      }
#endif
      for (; r < r1; ++r) {
        U* row = to + r * row_stride;
        for (int64_t j = j0; j < j1; ++j) row[j] = from[r + j * stride];
      }
    }
  }
}

template <typename U>
void TransposePlane(U* to, const U* from, int64_t rows, int64_t row_stride, int64_t columns, int64_t stride,
                    bool stream) {
  int64_t whole_rows = 0, whole_columns = 0;
#ifdef SLUICE_HAS_X86_LOOPS
  if constexpr (sizeof(U) == 4 && std::is_trivially_copyable_v<U>) {
    if (rows >= 16 && columns >= 16 && BestCpuIsa() == CpuIsa::kAvx512) {
      whole_rows = rows / 16 * 16;
      whole_columns = columns / 16 * 16;
      stream &= reinterpret_cast<uintptr_t>(to) % 64 == 0 && row_stride % 16 == 0;
      (stream ? TransposeBlocks<true> : TransposeBlocks<false>)(reinterpret_cast<uint32_t*>(to),
                                                                reinterpret_cast<const uint32_t*>(from), whole_rows,
                                                                row_stride, whole_columns, stride);
    }
  }
#endif
  // What is left: a strip at the right of those rows, and the rows below.
  if (whole_columns < columns && whole_rows > 0) {
    TransposeAny(to + whole_columns, from + whole_columns * stride, whole_rows, row_stride, columns - whole_columns,
                 stride);
  }
  if (whole_rows < rows) {
    TransposeAny(to + whole_rows * row_stride, from + whole_rows, rows - whole_rows, row_stride, columns, stride);
  }
}

// Copies `rows` rows: the second last dimension is `outer`, the last `inner`.
template <typename U>
void CopyPlane(U* to, const U* from, int64_t rows, const CopyDim& outer, const CopyDim& inner, bool stream) {
  const int64_t n = inner.size;
  if (inner.to == 1 && inner.from == 1) {
    if (n * static_cast<int64_t>(sizeof(U)) >= 64 || !std::is_trivially_copyable_v<U>) {
      for (int64_t r = 0; r < rows; ++r) CopyRun(to + r * outer.to, from + r * outer.from, n);
    } else {
      for (int64_t r = 0; r < rows; ++r) {
        U* a = to + r * outer.to;
        const U* b = from + r * outer.from;
        for (int64_t i = 0; i < n; ++i) a[i] = b[i];
      }
    }
  } else if (inner.to == 1 && inner.from == 0) {
    for (int64_t r = 0; r < rows; ++r) std::fill_n(to + r * outer.to, n, from[r * outer.from]);
  } else if (inner.to == 1 && outer.from == 1) {
    TransposePlane(to, from, rows, outer.to, n, inner.from, stream);
  } else if (inner.to == 1 && inner.from == -1) {
    for (int64_t r = 0; r < rows; ++r) {
      U* a = to + r * outer.to;
      const U* b = from + r * outer.from;
#pragma GCC ivdep
      for (int64_t i = 0; i < n; ++i) a[i] = b[-i];
    }
  } else {
    for (int64_t r = 0; r < rows; ++r) {
      U* a = to + r * outer.to;
      const U* b = from + r * outer.from;
      for (int64_t i = 0; i < n; ++i) a[i * inner.to] = b[i * inner.from];
    }
  }
}

// Moves a dimension with contiguous reads next to the last one when the last one reads with a stride: a transposed
// plane.
void PutPlaneLast(CopyDims* dims) {
  const CopyDim& inner = dims->back();
  if (inner.to != 1 || inner.from == 1 || inner.from == 0) return;
  for (size_t k = 0; k + 2 < dims->size(); ++k) {
    if ((*dims)[k].from == 1) {
      std::rotate(dims->begin() + k, dims->begin() + k + 1, dims->end() - 1);
      return;
    }
  }
}

template <typename U>
void CopyUnits(const KernelContext& c, U* to, const U* from, const CopyDims& dims) {
  const CopyDim inner = dims.back();
  if (dims.size() == 1) {
    c.ParallelFor(inner.size, 0.1 * sizeof(U), [&](int64_t begin, int64_t end) {
      const CopyDim part{end - begin, inner.to, inner.from};
      CopyPlane(to + begin * inner.to, from + begin * inner.from, 1, CopyDim{1, 0, 0}, part, false);
    });
    return;
  }
  const CopyDim outer = dims[dims.size() - 2];
  // Rows of a piece; of a transposed plane whole tiles.
  const bool transposes = inner.to == 1 && inner.from != 1 && inner.from != 0 && outer.from == 1;
  const int64_t about = kBlockElements / inner.size;
  const int64_t block = transposes ? std::max<int64_t>(64, about / 64 * 64) : std::max<int64_t>(1, about);
  const int64_t blocks = (outer.size + block - 1) / block;
  const int rest = static_cast<int>(dims.size()) - 2;
  int64_t planes = 1;
  for (int d = 0; d < rest; ++d) planes *= dims[d].size;
  const bool stream = transposes && WorthStreaming(planes * outer.size * inner.size * static_cast<int64_t>(sizeof(U)));
  const double cost = 20 + 0.1 * sizeof(U) * std::min(block, outer.size) * inner.size;
  c.ParallelFor(planes * blocks, cost, [&](int64_t begin, int64_t end) {
    IntList at(rest);
    int64_t plane = begin / blocks, b = begin % blocks;
    int64_t to_at = 0, from_at = 0;
    for (int d = rest - 1; d >= 0; --d) {
      at[d] = plane % dims[d].size;
      plane /= dims[d].size;
      to_at += at[d] * dims[d].to;
      from_at += at[d] * dims[d].from;
    }
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = b * block;
      CopyPlane(to + to_at + row * outer.to, from + from_at + row * outer.from, std::min(block, outer.size - row),
                outer, inner, stream);
      if (++b < blocks) continue;
      b = 0;
      for (int d = rest - 1; d >= 0; --d) {
        to_at += dims[d].to;
        from_at += dims[d].from;
        if (++at[d] < dims[d].size) break;
        to_at -= at[d] * dims[d].to;
        from_at -= at[d] * dims[d].from;
        at[d] = 0;
      }
    }
  });
}

}  // namespace

void StridedCopy(const KernelContext& c, DType t, void* to, const void* from, absl::Span<const CopyDim> dims) {
  CopyDims merged;
  if (!Merge(dims, &merged)) return;
  if (merged.empty()) return CopyElements(t, to, from, 1);
  PutPlaneLast(&merged);
  DispatchUnit(t, [&](auto tag) {
    using U = typename decltype(tag)::type;
    CopyUnits(c, static_cast<U*>(to), static_cast<const U*>(from), merged);
  });
}

bool IsOneRun(absl::Span<const CopyDim> dims) {
  CopyDims merged;
  if (!Merge(dims, &merged)) return true;
  return merged.empty() || (merged.size() == 1 && merged[0].to == 1 && merged[0].from == 1);
}

IntList RowMajorStrides(const Shape& shape) {
  IntList strides(shape.rank());
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape.dim(i);
  }
  return strides;
}

}  // namespace sluice
