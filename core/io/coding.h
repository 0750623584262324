// Little-endian integers and varints in byte strings. Readers take from the front of the view and say whether there was
// enough.
#ifndef SLUICE_CORE_IO_CODING_H_
#define SLUICE_CORE_IO_CODING_H_

#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

inline void PutFixed32(std::string* to, uint32_t v) {
  to->append(reinterpret_cast<const char*>(&v), sizeof(v));  // the machines we run on are little-endian
}
inline void PutFixed64(std::string* to, uint64_t v) { to->append(reinterpret_cast<const char*>(&v), sizeof(v)); }
inline uint32_t DecodeFixed32(const char* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline uint64_t DecodeFixed64(const char* p) {
  uint64_t v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}

inline void PutVarint64(std::string* to, uint64_t v) {
  for (; v >= 0x80; v >>= 7) to->push_back(static_cast<char>(v | 0x80));
  to->push_back(static_cast<char>(v));
}
inline bool TakeVarint64(absl::string_view* from, uint64_t* v) {
  uint64_t result = 0;
  for (size_t i = 0; i < from->size() && i < 10; ++i) {
    const uint64_t byte = static_cast<uint8_t>((*from)[i]);
    if (i == 9 && byte > 1) return false;
    result |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      from->remove_prefix(i + 1);
      *v = result;
      return true;
    }
  }
  return false;
}
inline bool TakeVarint32(absl::string_view* from, uint32_t* v) {
  uint64_t wide;
  if (!TakeVarint64(from, &wide) || wide > 0xffffffffu) return false;
  *v = static_cast<uint32_t>(wide);
  return true;
}

}  // namespace sluice

#endif  // SLUICE_CORE_IO_CODING_H_
