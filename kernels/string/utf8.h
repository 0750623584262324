// UTF-8 text as characters. Bytes that are not UTF-8 count as one character each.
#ifndef SLUICE_KERNELS_STRING_UTF8_H_
#define SLUICE_KERNELS_STRING_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace sluice {

// Bytes of the character that `text` begins with. REQUIRES: text is not empty.
size_t Utf8Length(absl::string_view text);
int64_t CountUtf8(absl::string_view text);
// The byte at which character `n` begins; text.size() when n is the number of characters. REQUIRES: 0 <= n <=
// CountUtf8(text).
size_t Utf8Offset(absl::string_view text, int64_t n);

// Every letter in lower or upper case, by Unicode's simple mapping.
std::string Utf8Lower(absl::string_view text);
std::string Utf8Upper(absl::string_view text);

}  // namespace sluice

#endif  // SLUICE_KERNELS_STRING_UTF8_H_
