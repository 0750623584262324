// The constants and the order of steps are FarmHash's (github.com/google/farmhash, namespace farmhashna); any change
// would move every string to another bucket.
#include "kernels/string/fingerprint.h"

#include <cstring>
#include <utility>

namespace sluice {
namespace {

constexpr uint64_t k0 = 0xc3a5c85c97cb3127u;
constexpr uint64_t k1 = 0xb492b66fbe98f273u;
constexpr uint64_t k2 = 0x9ae16a3b2f90404fu;

struct Pair {
  uint64_t first = 0;
  uint64_t second = 0;
};

uint64_t Fetch64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
uint64_t Fetch32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
uint64_t Rotate(uint64_t v, int shift) { return v >> shift | v << (64 - shift); }
uint64_t ShiftMix(uint64_t v) { return v ^ v >> 47; }

uint64_t Mix(uint64_t u, uint64_t v, uint64_t mul) {
  const uint64_t a = ShiftMix((u ^ v) * mul);
  return ShiftMix((v ^ a) * mul) * mul;
}

uint64_t UpTo16(const char* s, size_t n) {
  const uint64_t mul = k2 + n * 2;
  if (n >= 8) {
    const uint64_t a = Fetch64(s) + k2;
    const uint64_t b = Fetch64(s + n - 8);
    return Mix(Rotate(b, 37) * mul + a, (Rotate(a, 25) + b) * mul, mul);
  }
  if (n >= 4) return Mix(n + (Fetch32(s) << 3), Fetch32(s + n - 4), mul);
  if (n == 0) return k2;
  const auto byte = [s](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(s[i])); };
  const uint32_t y = byte(0) + (byte(n >> 1) << 8);
  const uint32_t z = static_cast<uint32_t>(n) + (byte(n - 1) << 2);
  return ShiftMix(y * k2 ^ z * k0) * k2;
}

uint64_t UpTo32(const char* s, size_t n) {
  const uint64_t mul = k2 + n * 2;
  const uint64_t a = Fetch64(s) * k1;
  const uint64_t b = Fetch64(s + 8);
  const uint64_t c = Fetch64(s + n - 8) * mul;
  const uint64_t d = Fetch64(s + n - 16) * k2;
  return Mix(Rotate(a + b, 43) + Rotate(c, 30) + d, a + Rotate(b + k2, 18) + c, mul);
}

uint64_t UpTo64(const char* s, size_t n) {
  const uint64_t mul = k2 + n * 2;
  const uint64_t a = Fetch64(s) * k2;
  const uint64_t b = Fetch64(s + 8);
  const uint64_t c = Fetch64(s + n - 8) * mul;
  const uint64_t d = Fetch64(s + n - 16) * k2;
  const uint64_t y = Rotate(a + b, 43) + Rotate(c, 30) + d;
  const uint64_t z = Mix(y, a + Rotate(b + k2, 18) + c, mul);
  const uint64_t e = Fetch64(s + 16) * mul;
  const uint64_t f = Fetch64(s + 24);
  const uint64_t g = (y + Fetch64(s + n - 32)) * mul;
  const uint64_t h = (z + Fetch64(s + n - 24)) * mul;
  return Mix(Rotate(e + f, 43) + Rotate(g, 30) + h, e + Rotate(f + a, 18) + g, mul);
}

Pair Weak32(const char* s, uint64_t a, uint64_t b) {
  const uint64_t last = Fetch64(s + 24);
  a += Fetch64(s);
  b = Rotate(b + a + last, 21);
  const uint64_t c = a;
  a += Fetch64(s + 8);
  a += Fetch64(s + 16);
  b += Rotate(a, 44);
  return {a + last, b + c};
}

}  // namespace

uint64_t Fingerprint64(absl::string_view text) {
  const char* s = text.data();
  const size_t n = text.size();
  if (n <= 16) return UpTo16(s, n);
  if (n <= 32) return UpTo32(s, n);
  if (n <= 64) return UpTo64(s, n);
  constexpr uint64_t kSeed = 81;
  uint64_t y = kSeed * k1 + 113;
  uint64_t z = ShiftMix(y * k2 + 113) * k2;
  uint64_t x = kSeed * k2 + Fetch64(s);
  Pair v, w;
  const char* const end = s + (n - 1) / 64 * 64;
  const char* const last64 = end + ((n - 1) & 63) - 63;
  // One block of 64 bytes.
  const auto step = [&](uint64_t mul, uint64_t factor) {
    x = Rotate(x + y + v.first + Fetch64(s + 8), 37) * mul;
    y = Rotate(y + v.second + Fetch64(s + 48), 42) * mul;
    x ^= w.second * factor;
    y += v.first * factor + Fetch64(s + 40);
    z = Rotate(z + w.first, 33) * mul;
    v = Weak32(s, v.second * mul, x + w.first);
    w = Weak32(s + 32, z + w.second, y + Fetch64(s + 16));
    std::swap(z, x);
  };
  do {
    step(k1, 1);
    s += 64;
  } while (s != end);
  const uint64_t mul = k1 + ((z & 0xff) << 1);
  s = last64;
  w.first += (n - 1) & 63;
  v.first += w.first;
  w.first += v.first;
  step(mul, 9);
  return Mix(Mix(v.first, w.first, mul) + ShiftMix(y) * k0 + z, Mix(v.second, w.second, mul) + x, mul);
}

}  // namespace sluice
