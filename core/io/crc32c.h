// CRC-32C (Castagnoli), plain and in the masked form that checkpoints and record files store.
#ifndef SLUICE_CORE_IO_CRC32C_H_
#define SLUICE_CORE_IO_CRC32C_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice {

// The CRC of the bytes behind those whose CRC is `crc`.
uint32_t ExtendCrc32c(uint32_t crc, const void* data, size_t size);

inline uint32_t Crc32c(const void* data, size_t size) { return ExtendCrc32c(0, data, size); }
inline uint32_t Crc32c(absl::string_view bytes) { return ExtendCrc32c(0, bytes.data(), bytes.size()); }

// A CRC that is stored next to the data it covers is masked, so that the CRC of a string with embedded CRCs stays
// useful.
inline uint32_t MaskCrc(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }
inline uint32_t UnmaskCrc(uint32_t masked) {
  const uint32_t rotated = masked - 0xa282ead8u;
  return (rotated >> 17) | (rotated << 15);
}

}  // namespace sluice

#endif  // SLUICE_CORE_IO_CRC32C_H_
