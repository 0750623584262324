// Cast between all plain types: pairs that matter have a loop of their own, others go through the widest type of their
// kind.
#include <algorithm>
#include <cmath>
#include <complex>
#include <cstring>

#include "core/base/status.h"
#include "kernels/common/type_dispatch.h"
#include "kernels/common/with_simd.h"
#include "kernels/math/scalar.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

using Loop = void (*)(const void* x, void* y, int64_t n);

constexpr DTypeSet kCommon = {DType::kFloat, DType::kDouble, DType::kInt32, DType::kInt64,
                              DType::kBool,  DType::kUint8,  DType::kHalf,  DType::kBfloat16};
constexpr DTypeSet kCastable = kArithmeticTypes | DTypeSet{DType::kBool};

template <class From, class To>
SLUICE_HOST_DEVICE To Convert(From x) {
  if constexpr (std::is_same_v<To, bool>) {
    return x != From(0);
  } else if constexpr (scalar::kIsComplex<From>) {
    if constexpr (scalar::kIsComplex<To>) {
      return To(static_cast<typename To::value_type>(x.real()), static_cast<typename To::value_type>(x.imag()));
    } else {
      return Convert<typename From::value_type, To>(x.real());
    }
  } else if constexpr (scalar::kIsComplex<To>) {
    return To(Convert<From, typename To::value_type>(x), 0);
  } else if constexpr (std::is_same_v<From, half> || std::is_same_v<From, bfloat16>) {
    return static_cast<To>(static_cast<float>(x));
  } else if constexpr (std::is_same_v<To, half> || std::is_same_v<To, bfloat16>) {
    // Wide integers and doubles round once: an odd last bit of the float stands for what lies below it.
    if constexpr (std::is_same_v<From, double>) {
      float f = static_cast<float>(x);
      if (std::isfinite(f) && static_cast<double>(f) != x) {
        const bool away = (static_cast<double>(f) > x) == (x > 0);
        uint32_t bits;
        std::memcpy(&bits, &f, 4);
        bits = (away ? bits - 1 : bits) | 1;
        std::memcpy(&f, &bits, 4);
      }
      return static_cast<To>(f);
    } else {
      return static_cast<To>(static_cast<float>(x));
    }
  } else {
    return static_cast<To>(x);
  }
}

// As Eigen rounds one number: to the nearest, ties to even; a NaN becomes the quiet one of its sign.
SLUICE_HOST_DEVICE uint16_t RoundedBits(uint32_t x) {
  const uint32_t rounded = (x + 0x7fffu + (x >> 16 & 1u)) >> 16;
  const uint32_t nan = (x >> 16 & 0x8000u) | 0x7fc0u;
  return static_cast<uint16_t>((x & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}
void FloatToBfloat16(const void* xp, void* yp, int64_t n) {
  typedef uint32_t Bits __attribute__((may_alias));
  typedef uint16_t Half __attribute__((may_alias));
  const Bits* x = static_cast<const Bits*>(xp);
  Half* y = static_cast<Half*>(yp);
  WithSimd([=]() SLUICE_INLINE_LOOP {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = RoundedBits(x[i]);
  });
}
void Bfloat16ToFloat(const void* xp, void* yp, int64_t n) {
  typedef uint32_t Bits __attribute__((may_alias));
  typedef uint16_t Half __attribute__((may_alias));
  const Half* x = static_cast<const Half*>(xp);
  Bits* y = static_cast<Bits*>(yp);
  WithSimd([=]() SLUICE_INLINE_LOOP {
#pragma GCC ivdep
    for (int64_t i = 0; i < n; ++i) y[i] = static_cast<uint32_t>(x[i]) << 16;
  });
}

template <class From, class To>
void CastLoop(const void* xp, void* yp, int64_t n) {
  const From* x = static_cast<const From*>(xp);
  To* y = static_cast<To*>(yp);
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) y[i] = Convert<From, To>(x[i]);
}

template <uint32_t kSet, class From>
Loop LoopTo(DType to) {
  Loop loop = nullptr;
  Dispatch<kSet>(to, [&](auto tag) { loop = &CastLoop<From, typename decltype(tag)::type>; });
  return loop;
}
template <uint32_t kSet, class To>
Loop LoopFrom(DType from) {
  Loop loop = nullptr;
  Dispatch<kSet>(from, [&](auto tag) { loop = &CastLoop<typename decltype(tag)::type, To>; });
  return loop;
}

Loop DirectLoop(DType from, DType to) {
  if (from == DType::kFloat && to == DType::kBfloat16) return &FloatToBfloat16;
  if (from == DType::kBfloat16 && to == DType::kFloat) return &Bfloat16ToFloat;
  Loop loop = nullptr;
  Dispatch<kCommon.bits()>(from, [&](auto tag) { loop = LoopTo<kCommon.bits(), typename decltype(tag)::type>(to); });
  return loop;
}

// Clears the bits of the mantissa that `to` has no room for, so that the conversion after it only cuts.
void CutMantissa(DType to, double* x, int64_t n) {
  const int drop = to == DType::kFloat ? 29 : (to == DType::kHalf ? 42 : 45);
  for (int64_t i = 0; i < n; ++i) {
    uint64_t bits;
    std::memcpy(&bits, x + i, 8);
    if (std::isfinite(x[i])) bits = bits >> drop << drop;
    std::memcpy(x + i, &bits, 8);
  }
}

class CastKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    from_ = p.input_type(0);
    to_ = p.output_type(0);
    ASSIGN_OR_RETURN(bool truncate, p.Attr<bool>("Truncate"));
    cuts_ = truncate && IsFloating(from_) && IsFloating(to_) && to_ != DType::kDouble && from_ != to_;
    if (from_ == to_) return absl::OkStatus();
    if (!cuts_) direct_ = DirectLoop(from_, to_);
    if (direct_ != nullptr) return absl::OkStatus();
    if (IsComplex(from_) || IsComplex(to_)) {
      load_ = LoopFrom<kCastable.bits(), complex128>(from_);
      store_ = LoopTo<kCastable.bits(), complex128>(to_);
    } else if (!IsFloating(from_) && !IsFloating(to_)) {
      load_ = LoopFrom<(kIntegerTypes | DTypeSet{DType::kBool}).bits(), int64_t>(from_);
      store_ = LoopTo<(kIntegerTypes | DTypeSet{DType::kBool}).bits(), int64_t>(to_);
    } else {
      load_ = LoopFrom<(kRealTypes | DTypeSet{DType::kBool}).bits(), double>(from_);
      store_ = LoopTo<(kRealTypes | DTypeSet{DType::kBool}).bits(), double>(to_);
    }
    if (load_ == nullptr || store_ == nullptr) {
      return Unimplemented("no cast from ", DTypeName(from_), " to ", DTypeName(to_));
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const char* x = static_cast<const char*>(c.input(0).raw_data());
    const int64_t n = c.input(0).num_elements();
    if (from_ == to_) {
      const size_t bytes = c.input(0).num_bytes();
      ASSIGN_OR_RETURN(Tensor * same, c.ForwardOrAllocate(0, 0, c.input(0).shape()));
      if (same->raw_data() != x && bytes > 0) std::memcpy(same->raw_data(), x, bytes);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, c.input(0).shape()));
    char* y = static_cast<char*>(out->raw_data());
    const int64_t in_bytes = ElementSize(from_), out_bytes = ElementSize(to_);
    c.ParallelFor(
        n, 0.5,
        [&](int64_t begin, int64_t end) {
          if (direct_ != nullptr) {
            direct_(x + begin * in_bytes, y + begin * out_bytes, end - begin);
            return;
          }
          constexpr int64_t kBlock = 256;
          alignas(16) char block[kBlock * 16];
          for (int64_t at = begin; at < end; at += kBlock) {
            const int64_t count = std::min(kBlock, end - at);
            load_(x + at * in_bytes, block, count);
            if (cuts_) CutMantissa(to_, reinterpret_cast<double*>(block), count);
            store_(block, y + at * out_bytes, count);
          }
        },
        64);
    return absl::OkStatus();
  }

 private:
  DType from_ = DType::kInvalid, to_ = DType::kInvalid;
  bool cuts_ = false;
  Loop direct_ = nullptr, load_ = nullptr, store_ = nullptr;
};

}  // namespace

void AddCastKernel(KernelRegistry& k) {
  k.Add("Cast", kCpu, KernelDef().Types("SrcT", kCastable).Types("DstT", kCastable).Make<CastKernel>());
}

}  // namespace sluice
