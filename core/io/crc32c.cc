#include "core/io/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace sluice {

uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t size) {
  constexpr size_t kMost = size_t{1} << 30;  // the library counts in int
  auto* p = static_cast<unsigned char*>(const_cast<void*>(data));
  uint32_t state = ~crc;
  while (size > 0) {
    const size_t n = std::min(size, kMost);
    state = crc32_iscsi(p, static_cast<int>(n), state);
    p += n;
    size -= n;
  }
  return ~state;
}

}  // namespace sluice
