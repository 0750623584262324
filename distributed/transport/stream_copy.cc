#include "distributed/transport/stream_copy.h"

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice {

#if defined(__x86_64__)
namespace {

constexpr size_t kLarge = 4 << 20;  // what fits the caches is better left there for the reader

__attribute__((target("avx"))) void Avx(char* to, const char* from, size_t bytes) {
  const size_t head = (32 - reinterpret_cast<uintptr_t>(to) % 32) % 32;
  std::memcpy(to, from, head);
  to += head;
  from += head;
  bytes -= head;
  for (; bytes >= 128; bytes -= 128, to += 128, from += 128) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32));
    const __m256i c = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 64));
    const __m256i d = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 96));
    _mm_prefetch(from + 1024, _MM_HINT_NTA);
    _mm_prefetch(from + 1088, _MM_HINT_NTA);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to), a);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 32), b);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 64), c);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(to + 96), d);
  }
  _mm_sfence();
  std::memcpy(to, from, bytes);
}

}  // namespace

void StreamCopy(void* to, const void* from, size_t bytes) {
  if (bytes >= kLarge && __builtin_cpu_supports("avx")) {
    Avx(static_cast<char*>(to), static_cast<const char*>(from), bytes);
  } else {
    std::memcpy(to, from, bytes);
  }
}
#else
void StreamCopy(void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); }
#endif

}  // namespace sluice
