// Fills a tensor from a distribution. Element i depends on the generator and i alone, however the work is split.
#ifndef SLUICE_KERNELS_RANDOM_FILL_H_
#define SLUICE_KERNELS_RANDOM_FILL_H_

#include <algorithm>

#include "core/base/status.h"
#include "core/kernel/kernel.h"
#include "kernels/random/distributions.h"
#include "kernels/random/philox_blocks.h"

namespace sluice {

template <class D, class = void>
struct TakesStream : std::false_type {};
template <class D>
struct TakesStream<D, std::void_t<decltype(D::kBlocksOfGroup)>> : std::true_type {};

template <class D>
void FillRandom(const KernelContext& c, const Philox4x32& base, const D& distribution, typename D::Type* out,
                int64_t size) {
  using T = typename D::Type;
  const int64_t groups = (size + D::kGroup - 1) / D::kGroup;
  c.ParallelFor(groups, TakesStream<D>::value ? 100 : 20, [&](int64_t begin, int64_t end) {
    T group[D::kGroup];
    auto copy_group = [&](int64_t g) {
      std::copy_n(group, std::min<int64_t>(D::kGroup, size - g * D::kGroup), out + g * D::kGroup);
    };
    if constexpr (TakesStream<D>::value) {
      for (int64_t g = begin; g < end; ++g) {
        Philox4x32 own = base;
        own.Skip(static_cast<uint64_t>(g) * D::kBlocksOfGroup);
        PhiloxStream stream(own);
        distribution.Fill(stream, group);
        copy_group(g);
      }
    } else {
      constexpr int64_t kBlocks = 128;
      uint32_t bits[4 * kBlocks];
      const int64_t whole = size / D::kGroup;
      for (int64_t at = begin; at < end; at += kBlocks) {
        const int64_t to = std::min(end, at + kBlocks), whole_to = std::min(to, whole);
        Philox4x32 gen = base;
        gen.Skip(static_cast<uint64_t>(at));
        PhiloxBlocks(gen, to - at, bits);
        for (int64_t g = at; g < whole_to; ++g) distribution.Fill(bits + 4 * (g - at), out + g * D::kGroup);
        for (int64_t g = std::max(at, whole_to); g < to; ++g) {
          distribution.Fill(bits + 4 * (g - at), group);
          copy_group(g);
        }
      }
    }
  });
}

// The shape that an integer vector says.
inline absl::StatusOr<Shape> ShapeFromTensor(const Tensor& t) {
  if (t.rank() != 1) return InvalidArgument("shape must be a vector, found shape ", t.shape().ToString());
  std::vector<int64_t> dims(static_cast<size_t>(t.num_elements()));
  for (size_t i = 0; i < dims.size(); ++i) dims[i] = t.IntAt(static_cast<int64_t>(i));
  return Shape::Make(dims);
}

template <class T>
absl::StatusOr<UniformInt<T>> IntegersBetween(const Tensor& low, const Tensor& high) {
  if (low.num_elements() != 1 || high.num_elements() != 1) {
    return InvalidArgument("minval and maxval must be scalars, found shapes ", low.shape().ToString(), " and ",
                           high.shape().ToString());
  }
  const T from = *low.data<T>(), to = *high.data<T>();
  if (from >= to) return InvalidArgument("minval must be below maxval, found ", from, " and ", to);
  UniformInt<T> d;
  d.low = from;
  d.range = static_cast<std::make_unsigned_t<T>>(to) - static_cast<std::make_unsigned_t<T>>(from);
  return d;
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_RANDOM_FILL_H_
