#include "core/types/dtype.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "core/types/numeric_types.h"
#include "core/types/resource_handle.h"
#include "core/types/variant.h"

namespace sluice {
namespace {

struct Row {
  absl::string_view name;
  size_t size;
};

// Indexed by the number of the type.
constexpr Row kRows[kNumDTypes] = {
    {"invalid", 0},
    {"float", 4},
    {"double", 8},
    {"int32", 4},
    {"uint8", 1},
    {"int16", 2},
    {"int8", 1},
    {"string", sizeof(std::string)},
    {"complex64", 8},
    {"int64", 8},
    {"bool", 1},
    {"qint8", 1},
    {"quint8", 1},
    {"qint32", 4},
    {"bfloat16", 2},
    {"qint16", 2},
    {"quint16", 2},
    {"uint16", 2},
    {"complex128", 16},
    {"half", 2},
    {"resource", sizeof(ResourceHandle)},
    {"variant", sizeof(Variant)},
    {"uint32", 4},
    {"uint64", 8},
};

// The reference spellings, built once: callers hold on to the views.
const std::string* RefNames() {
  static const std::string* names = [] {
    auto* n = new std::string[kNumDTypes];
    for (int i = 0; i < kNumDTypes; ++i) n[i] = absl::StrCat(kRows[i].name, "_ref");
    return n;
  }();
  return names;
}

}  // namespace

size_t ElementSize(DType t) {
  int n = static_cast<int>(BaseType(t));
  return n < kNumDTypes ? kRows[n].size : 0;
}

absl::string_view DTypeName(DType t) {
  int n = static_cast<int>(BaseType(t));
  if (n >= kNumDTypes) return "invalid";
  return IsRefType(t) ? absl::string_view(RefNames()[n]) : kRows[n].name;
}

std::string DTypeEnumName(DType t) { return absl::StrCat("DT_", absl::AsciiStrToUpper(DTypeName(t))); }

DType DTypeFromName(absl::string_view name) {
  std::string lower = absl::AsciiStrToLower(name);
  absl::string_view n = lower;
  absl::ConsumePrefix(&n, "dt_");
  bool ref = absl::ConsumeSuffix(&n, "_ref");
  DType t = DType::kInvalid;
  if (n == "float32") n = "float";
  if (n == "float64") n = "double";
  if (n == "float16") n = "half";
  for (int i = 1; i < kNumDTypes; ++i) {
    if (kRows[i].name == n) t = static_cast<DType>(i);
  }
  return ref && t != DType::kInvalid ? RefType(t) : t;
}

bool IsValidDType(int number) {
  if (number > kRefOffset) number -= kRefOffset;
  return number > 0 && number < kNumDTypes;
}

}  // namespace sluice
