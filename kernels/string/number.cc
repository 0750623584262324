// Kernels between strings and numbers.
#include <complex>
#include <cstdio>
#include <type_traits>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "kernels/string/fingerprint.h"
#include "kernels/string/map.h"
#include "kernels/string/string_kernels.h"

namespace sluice {
namespace {

template <typename T>
struct IsComplexType : std::false_type {};
template <typename R>
struct IsComplexType<std::complex<R>> : std::true_type {};

// printf's format without the conversion letter: "%-8.3".
absl::StatusOr<std::string> FormatStart(PrepareContext& p, bool has_fraction) {
  ASSIGN_OR_RETURN(const int64_t precision, p.Attr<int64_t>("precision"));
  ASSIGN_OR_RETURN(const int64_t width, p.Attr<int64_t>("width"));
  ASSIGN_OR_RETURN(const std::string fill, p.Attr<std::string>("fill"));
  ASSIGN_OR_RETURN(const bool scientific, p.Attr<bool>("scientific"));
  ASSIGN_OR_RETURN(const bool shortest, p.Attr<bool>("shortest"));
  constexpr int64_t kMost = 1000;
  if (fill.size() > 1 || (!fill.empty() && absl::string_view(" +-0#").find(fill[0]) == absl::string_view::npos)) {
    return InvalidArgument("fill must be one of ' ', '+', '-', '0' and '#', found '", fill, "'");
  }
  if (scientific && shortest) return InvalidArgument("scientific and shortest exclude each other");
  if (!has_fraction && (scientific || shortest || precision >= 0)) {
    return InvalidArgument("scientific, shortest and precision are for floating-point numbers, found ",
                           DTypeName(p.input_type(0)));
  }
  if (precision > kMost || width > kMost) return InvalidArgument("precision and width are at most ", kMost);
  std::string format = absl::StrCat("%", fill);
  if (width > -1) absl::StrAppend(&format, width);
  if (precision > -1) absl::StrAppend(&format, ".", precision);
  return format;
}

template <typename Number>
void Print(const std::string& format, Number value, std::string* out) {
  char buffer[128];
  const int n = std::snprintf(buffer, sizeof(buffer), format.c_str(), value);
  if (n < static_cast<int>(sizeof(buffer))) {
    out->append(buffer, static_cast<size_t>(n));
    return;
  }
  const size_t before = out->size();
  out->resize(before + n + 1);
  std::snprintf(&(*out)[before], n + 1, format.c_str(), value);
  out->pop_back();
}

template <typename T>
absl::StatusOr<Mapper<T, std::string>> MakeAsString(PrepareContext& p) {
  constexpr bool kFraction = std::is_floating_point_v<T> || IsComplexType<T>::value;
  ASSIGN_OR_RETURN(std::string format, FormatStart(p, kFraction));
  ASSIGN_OR_RETURN(const bool scientific, p.Attr<bool>("scientific"));
  ASSIGN_OR_RETURN(const bool shortest, p.Attr<bool>("shortest"));
  format += kFraction ? (shortest ? "g" : scientific ? "e" : "f") : std::is_unsigned_v<T> ? "llu" : "lld";
  return Mapper<T, std::string>([format](const T& in, std::string* out) {
    out->clear();
    if constexpr (std::is_same_v<T, bool>) {
      *out = in ? "true" : "false";
    } else if constexpr (IsComplexType<T>::value) {
      out->push_back('(');
      Print(format, static_cast<double>(in.real()), out);
      out->push_back(',');
      Print(format, static_cast<double>(in.imag()), out);
      out->push_back(')');
    } else if constexpr (kFraction) {
      Print(format, static_cast<double>(in), out);
    } else if constexpr (std::is_unsigned_v<T>) {
      Print(format, static_cast<unsigned long long>(in), out);  // NOLINT: printf's type
    } else {
      Print(format, static_cast<long long>(in), out);  // NOLINT
    }
    return absl::OkStatus();
  });
}

template <typename T>
void AddAsString(KernelRegistry& k) {
  k.Add("AsString", kCpu, MapElements<T, std::string>(MakeAsString<T>).Types("T", {kDTypeOf<T>}));
}

bool Parse(const std::string& s, float* v) { return absl::SimpleAtof(s, v); }
bool Parse(const std::string& s, double* v) { return absl::SimpleAtod(s, v); }
bool Parse(const std::string& s, int32_t* v) { return absl::SimpleAtoi(s, v); }
bool Parse(const std::string& s, int64_t* v) { return absl::SimpleAtoi(s, v); }

template <typename T>
void AddStringToNumber(KernelRegistry& k) {
  auto make = [](PrepareContext&) -> absl::StatusOr<Mapper<std::string, T>> {
    return Mapper<std::string, T>([](const std::string& in, T* out) {
      return Parse(in, out)
                 ? absl::OkStatus()
                 : InvalidArgument("StringToNumberOp could not correctly convert string: ", absl::CHexEscape(in));
    });
  };
  k.Add("StringToNumber", kCpu, MapElements<std::string, T>(make).Types("out_type", {kDTypeOf<T>}));
}

absl::StatusOr<Mapper<std::string, int64_t>> MakeHashBucket(PrepareContext& p) {
  ASSIGN_OR_RETURN(const int64_t buckets, p.Attr<int64_t>("num_buckets"));
  if (buckets < 1) return InvalidArgument("num_buckets must be positive, found ", buckets);
  return Mapper<std::string, int64_t>([buckets](const std::string& in, int64_t* out) {
    *out = static_cast<int64_t>(Fingerprint64(in) % static_cast<uint64_t>(buckets));
    return absl::OkStatus();
  });
}

}  // namespace

void AddStringNumberKernels(KernelRegistry& k) {
  AddAsString<float>(k);
  AddAsString<double>(k);
  AddAsString<int8_t>(k);
  AddAsString<int16_t>(k);
  AddAsString<int32_t>(k);
  AddAsString<int64_t>(k);
  AddAsString<uint8_t>(k);
  AddAsString<uint16_t>(k);
  AddAsString<uint32_t>(k);
  AddAsString<uint64_t>(k);
  AddAsString<bool>(k);
  AddAsString<complex64>(k);
  AddAsString<complex128>(k);
  AddStringToNumber<float>(k);
  AddStringToNumber<double>(k);
  AddStringToNumber<int32_t>(k);
  AddStringToNumber<int64_t>(k);
  k.Add("StringToHashBucketFast", kCpu, MapElements<std::string, int64_t>(MakeHashBucket));
}

}  // namespace sluice
