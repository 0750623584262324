// Writing past the caches: for results that are larger than the caches and so are read from memory again anyhow. It
// saves reading each line before it is written.
#ifndef SLUICE_KERNELS_COMMON_STREAM_H_
#define SLUICE_KERNELS_COMMON_STREAM_H_

#include <algorithm>
#include <cstdint>
#include <cstring>

#ifdef __x86_64__
#include <emmintrin.h>
#endif

namespace sluice {

// Whether a result of so many bytes is worth it: it leaves no room for what goes with it in 32 MB, the last-level cache
// of a part of a large server processor.
inline bool WorthStreaming(int64_t bytes) { return bytes >= (int64_t{8} << 20); }

// Copies; `to` is written past the caches. Call StreamFence before another thread may read it.
inline void StreamCopy(void* to, const void* from, int64_t bytes) {
#ifdef __x86_64__
  char* out = static_cast<char*>(to);
  const char* in = static_cast<const char*>(from);
  const int64_t head = std::min<int64_t>(bytes, -reinterpret_cast<intptr_t>(out) & 63);
  std::memcpy(out, in, static_cast<size_t>(head));
  int64_t i = head;
  for (; i + 64 <= bytes; i += 64) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i + 16));
    const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i + 32));
    const __m128i d = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i + 48));
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i), a);
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i + 16), b);
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i + 32), c);
    _mm_stream_si128(reinterpret_cast<__m128i*>(out + i + 48), d);
  }
  std::memcpy(out + i, in + i, static_cast<size_t>(bytes - i));
#else
  std::memcpy(to, from, static_cast<size_t>(bytes));
#endif
}

inline void StreamFence() {
#ifdef __x86_64__
  _mm_sfence();
#endif
}

}  // namespace sluice

#endif  // SLUICE_KERNELS_COMMON_STREAM_H_
