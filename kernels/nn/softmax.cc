// Softmax, LogSoftmax, both cross entropies and L2Loss. Rows are reduced by their largest element first, so no
// exponential overflows. half and bfloat16 are computed in float.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/common/vector_math.h"
#include "kernels/nn/nn_kernels.h"
#include "kernels/nn/simd.h"
#include "kernels/nn/softmax_rows.h"

namespace sluice {
namespace {

template <typename T>
using WideOf = std::conditional_t<std::is_same_v<T, double>, double, float>;

template <typename T, typename F>
void RowLoop(const F& f) {
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) {
    WithSimd(f);
  } else {
    RunBaseline(f);
  }
}

constexpr int64_t kSide = 16;  // elements reduced side by side

// f(i, side) for i in [0, n), where equal sides follow each other in order.
template <typename F>
SLUICE_HOST_DEVICE void InSides(int64_t n, const F& f) {
  int64_t i = 0;
  for (; i + kSide <= n; i += kSide) {
    for (int64_t s = 0; s < kSide; ++s) f(i + s, s);
  }
  for (int64_t s = 0; i < n; ++i, ++s) f(i, s);
}

template <typename W, typename T>
SLUICE_HOST_DEVICE W LargestOf(const T* x, int64_t step, int64_t n) {
  W best[kSide];
  for (W& b : best) b = -std::numeric_limits<W>::infinity();
  if (step == 1) {
    InSides(n, [&](int64_t i, int64_t s) SLUICE_INLINE_LOOP {
      const W v = static_cast<W>(x[i]);
      best[s] = v > best[s] ? v : best[s];
    });
  } else {
    for (int64_t i = 0; i < n; ++i) {
      const W v = static_cast<W>(x[i * step]);
      best[0] = v > best[0] ? v : best[0];
    }
  }
  W all = best[0];
  for (W b : best) all = b > all ? b : all;
  return all;
}

template <typename W>
SLUICE_HOST_DEVICE W TotalOf(const W* sides) {
  W sums[kSide];
  for (int64_t s = 0; s < kSide; ++s) sums[s] = sides[s];
  for (int64_t step = kSide / 2; step > 0; step /= 2) {
    for (int64_t s = 0; s < step; ++s) sums[s] += sums[s + step];
  }
  return sums[0];
}

// y[i] = exp(x[i] - largest), and the sum of them before rounding to T.
template <typename W, typename T>
SLUICE_HOST_DEVICE W Exponentials(const T* x, int64_t n, W largest, T* y) {
  W sides[kSide] = {};
  InSides(n, [&](int64_t i, int64_t s) SLUICE_INLINE_LOOP {
    const W e = vmath::Exp(static_cast<W>(x[i]) - largest);
    y[i] = static_cast<T>(e);
    sides[s] += e;
  });
  return TotalOf(sides);
}

template <typename W, typename T>
SLUICE_HOST_DEVICE W SumOfExponentials(const T* x, int64_t n, W largest) {
  W sides[kSide] = {};
  InSides(n, [&](int64_t i, int64_t s) SLUICE_INLINE_LOOP { sides[s] += vmath::Exp(static_cast<W>(x[i]) - largest); });
  return TotalOf(sides);
}

template <typename T, bool kLog>
class SoftmaxOf : public Kernel {
  using W = WideOf<T>;

 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& logits = c.input(0);
    if (logits.rank() < 1) return InvalidArgument("logits is a scalar, wanted rank at least 1");
    ASSIGN_OR_RETURN(Tensor * out, c.ForwardOrAllocate(0, 0, logits.shape()));
    const int64_t n = logits.dim(logits.rank() - 1), rows = n == 0 ? 0 : logits.num_elements() / n;
    const T* from = logits.data<T>();
    T* to = out->data<T>();
    if constexpr (std::is_same_v<T, float>) {
      if (const RowPasses* passes = FastRows()) {
        RunPasses(c, *passes, from, rows, n, to);
        return absl::OkStatus();
      }
    }
    c.ParallelFor(rows, (sizeof(W) == 8 ? 8.0 : 0.8) * n + 10, [&](int64_t begin, int64_t end) {
      RowLoop<T>([&]() SLUICE_INLINE_LOOP {
        for (int64_t r = begin; r < end; ++r) {
          const T* x = from + r * n;
          T* y = to + r * n;
          const W largest = LargestOf<W>(x, 1, n);
          if constexpr (kLog) {
            const W shift = largest + std::log(SumOfExponentials<W>(x, n, largest));
#pragma GCC ivdep
            for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(static_cast<W>(x[i]) - shift);
          } else if constexpr (std::is_same_v<T, W>) {
            const W scale = 1 / Exponentials<W>(x, n, largest, y);
#pragma GCC ivdep
            for (int64_t i = 0; i < n; ++i) y[i] *= scale;
          } else {
            // Rounded exponentials would lose the small ones: compute them twice.
            const W scale = 1 / SumOfExponentials<W>(x, n, largest);
            for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(vmath::Exp(static_cast<W>(x[i]) - largest) * scale);
          }
        }
      });
    });
    return absl::OkStatus();
  }

 private:
  static void RunPasses(KernelContext& c, const RowPasses& passes, const float* from, int64_t rows, int64_t n,
                        float* to) {
    c.ParallelFor(rows, 0.4 * static_cast<double>(n) + 10, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const float* x = from + r * n;
        float* y = to + r * n;
        const float largest = passes.largest(x, n);
        if constexpr (kLog) {
          passes.subtract(x, n, largest + std::log(passes.sum_of_exponentials(x, n, largest)), y);
        } else {
          passes.multiply(y, n, 1 / passes.exponentials(x, n, largest, y));
        }
      }
    });
  }
};
template <typename T>
struct SoftmaxKernel : SoftmaxOf<T, false> {};
template <typename T>
struct LogSoftmaxKernel : SoftmaxOf<T, true> {};

// features and labels broadcast against each other.
template <typename T>
class CrossEntropyKernel : public Kernel {
  using W = WideOf<T>;

 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor &features = c.input(0), &labels = c.input(1);
    if (features.rank() != 2 || labels.rank() != 2) {
      return InvalidArgument("features is ", features.shape().ToString(), " and labels is ", labels.shape().ToString(),
                             ", wanted matrices");
    }
    ASSIGN_OR_RETURN(Shape both, BroadcastShapes(features.shape(), labels.shape()));
    const int64_t rows = both.dim(0), n = both.dim(1);
    ASSIGN_OR_RETURN(Tensor * loss, c.Allocate(0, Shape({rows})));
    const bool plain = features.shape() == both && labels.shape() == both;
    ASSIGN_OR_RETURN(Tensor * backprop, plain ? c.ForwardOrAllocate(0, 1, both) : c.Allocate(1, both));
    const int64_t fr = features.dim(0) == 1 ? 0 : features.dim(1), fc = features.dim(1) == 1 ? 0 : 1;
    const int64_t lr = labels.dim(0) == 1 ? 0 : labels.dim(1), lc = labels.dim(1) == 1 ? 0 : 1;
    const T *from = features.data<T>(), *wanted = labels.data<T>();
    T *losses = loss->data<T>(), *to = backprop->data<T>();
    c.ParallelFor(rows, (sizeof(W) == 8 ? 16.0 : 1.6) * n + 20, [&](int64_t begin, int64_t end) {
      std::vector<W> shifted(n), exps(n);
      RowLoop<T>([&]() SLUICE_INLINE_LOOP {
        W *z = shifted.data(), *e = exps.data();
        for (int64_t r = begin; r < end; ++r) {
          const T *x = from + r * fr, *p = wanted + r * lr;
          T* y = to + r * n;
          const W largest = LargestOf<W>(x, fc, n);
          for (int64_t i = 0; i < n; ++i) z[i] = static_cast<W>(x[i * fc]) - largest;
          const W total = Exponentials<W>(z, n, W(0), e);
          const W log_total = std::log(total), scale = 1 / total;
          W sides[kSide] = {};
          InSides(n, [&](int64_t i, int64_t s) SLUICE_INLINE_LOOP {
            const W q = static_cast<W>(p[i * lc]);
            const W term = q * (log_total - z[i]);
            sides[s] += q == W(0) ? W(0) : term;  // 0 * log(0) is 0
            y[i] = static_cast<T>(e[i] * scale - q);
          });
          losses[r] = static_cast<T>(TotalOf(sides));
        }
      });
    });
    return absl::OkStatus();
  }
};

template <typename T>
class SparseCrossEntropyKernel : public Kernel {
  using W = WideOf<T>;

 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor &features = c.input(0), &labels = c.input(1);
    if (features.rank() != 2) return InvalidArgument("features is ", features.shape().ToString(), ", wanted a matrix");
    const int64_t rows = features.dim(0), n = features.dim(1);
    if (labels.rank() != 1 || labels.dim(0) != rows) {
      return InvalidArgument("labels is ", labels.shape().ToString(), ", wanted [", rows,
                             "], one for each row of features ", features.shape().ToString());
    }
    if (rows > 0 && n == 0)
      return InvalidArgument("features is ", features.shape().ToString(), ", wanted at least one class");
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t label = labels.IntAt(r);
      if (label < 0 || label >= n) {
        return InvalidArgument("labels[", r, "] is ", label, ", outside the valid range of [0, ", n, "): features ",
                               features.shape().ToString(), " has ", n, " classes");
      }
    }
    ASSIGN_OR_RETURN(Tensor * loss, c.Allocate(0, Shape({rows})));
    ASSIGN_OR_RETURN(Tensor * backprop, c.ForwardOrAllocate(0, 1, features.shape()));
    const T* from = features.data<T>();
    T *losses = loss->data<T>(), *to = backprop->data<T>();
    if constexpr (std::is_same_v<T, float>) {
      if (const RowPasses* passes = FastRows()) {
        c.ParallelFor(rows, 0.4 * static_cast<double>(n) + 20, [&](int64_t begin, int64_t end) {
          for (int64_t r = begin; r < end; ++r) {
            const float* x = from + r * n;
            float* y = to + r * n;
            const int64_t label = labels.IntAt(r);
            const float largest = passes->largest(x, n), chosen = x[label] - largest;
            const float total = passes->exponentials(x, n, largest, y);
            losses[r] = std::log(total) - chosen;
            passes->multiply(y, n, 1 / total);
            y[label] -= 1;
          }
        });
        return absl::OkStatus();
      }
    }
    c.ParallelFor(rows, (sizeof(W) == 8 ? 8.0 : 0.8) * n + 20, [&](int64_t begin, int64_t end) {
      RowLoop<T>([&]() SLUICE_INLINE_LOOP {
        for (int64_t r = begin; r < end; ++r) {
          const T* x = from + r * n;
          T* y = to + r * n;
          const int64_t label = labels.IntAt(r);
          const W largest = LargestOf<W>(x, 1, n), chosen = static_cast<W>(x[label]) - largest;
          const W total = SumOfExponentials<W>(x, n, largest), scale = 1 / total;
          losses[r] = static_cast<T>(std::log(total) - chosen);
#pragma GCC ivdep
          for (int64_t i = 0; i < n; ++i) y[i] = static_cast<T>(vmath::Exp(static_cast<W>(x[i]) - largest) * scale);
          y[label] = static_cast<T>(vmath::Exp(chosen) * scale - 1);
        }
      });
    });
    return absl::OkStatus();
  }
};

template <typename T>
class L2LossKernel : public Kernel {
  using W = WideOf<T>;
  static constexpr int64_t kPiece = 2048;

 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& t = c.input(0);
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, Shape()));
    const T* x = t.data<T>();
    const int64_t n = t.num_elements(), pieces = (n + kPiece - 1) / kPiece;
    std::vector<W> sums(pieces);
    c.ParallelFor(pieces, 0.15 * kPiece, [&](int64_t begin, int64_t end) {
      RowLoop<T>([&]() SLUICE_INLINE_LOOP {
        for (int64_t p = begin; p < end; ++p) {
          const T* from = x + p * kPiece;
          const int64_t size = n - p * kPiece < kPiece ? n - p * kPiece : kPiece;
          W sides[kSide] = {};
          InSides(size, [&](int64_t i, int64_t s) SLUICE_INLINE_LOOP {
            const W v = static_cast<W>(from[i]);
            sides[s] += v * v;
          });
          sums[p] = TotalOf(sides);
        }
      });
    });
    double total = 0;
    for (W s : sums) total += s;
    out->scalar<T>() = static_cast<T>(static_cast<W>(total / 2));
    return absl::OkStatus();
  }
};

}  // namespace

void AddSoftmaxCpu(KernelRegistry& k) {
  k.Add("Softmax", kCpu, KernelByType<SoftmaxKernel, kFloatingTypes.bits()>("T"));
  k.Add("LogSoftmax", kCpu, KernelByType<LogSoftmaxKernel, kFloatingTypes.bits()>("T"));
  k.Add("SoftmaxCrossEntropyWithLogits", kCpu, KernelByType<CrossEntropyKernel, kFloatingTypes.bits()>("T"));
  k.Add("SparseSoftmaxCrossEntropyWithLogits", kCpu,
        KernelByType<SparseCrossEntropyKernel, kFloatingTypes.bits()>("T"));
  k.Add("L2Loss", kCpu, KernelByType<L2LossKernel, kFloatingTypes.bits()>("T"));
}

}  // namespace sluice
