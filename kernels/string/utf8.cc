#include "kernels/string/utf8.h"

#include <locale.h>
#include <wctype.h>

namespace sluice {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

uint32_t Decode(absl::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(character[i])); };
  switch (character.size()) {
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    case 4:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
    default:
      return byte(0);
  }
}

void Encode(uint32_t c, std::string* to) {
  const auto put = [to](uint32_t byte) { to->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6), put(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  } else {
    put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 0x3f)), put(0x80 | (c >> 6 & 0x3f)), put(0x80 | (c & 0x3f));
  }
}

locale_t Utf8Locale() {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return locale;
}

template <typename Convert>
std::string MapCharacters(absl::string_view text, Convert convert) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t n = Utf8Length(text);
    const bool stray_byte = n == 1 && static_cast<unsigned char>(text[0]) >= 0x80;
    if (stray_byte || Utf8Locale() == nullptr) {
      out.append(text.data(), n);
    } else {
      Encode(static_cast<uint32_t>(convert(static_cast<wint_t>(Decode(text.substr(0, n))), Utf8Locale())), &out);
    }
    text.remove_prefix(n);
  }
  return out;
}

}  // namespace

size_t Utf8Length(absl::string_view text) {
  const unsigned char first = static_cast<unsigned char>(text[0]);
  const size_t n = first >= 0xf0 && first < 0xf8   ? 4
                   : first >= 0xe0 && first < 0xf0 ? 3
                   : first >= 0xc2 && first < 0xe0 ? 2
                                                   : 1;
  if (n > text.size()) return 1;
  for (size_t i = 1; i < n; ++i) {
    if (!IsContinuation(text[i])) return 1;
  }
  return n;
}

int64_t CountUtf8(absl::string_view text) {
  int64_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(Utf8Length(text));
  return count;
}

size_t Utf8Offset(absl::string_view text, int64_t n) {
  size_t offset = 0;
  for (; n > 0; --n) offset += Utf8Length(text.substr(offset));
  return offset;
}

std::string Utf8Lower(absl::string_view text) { return MapCharacters(text, towlower_l); }
std::string Utf8Upper(absl::string_view text) { return MapCharacters(text, towupper_l); }

}  // namespace sluice
