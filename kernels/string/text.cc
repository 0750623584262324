// Kernels that make one value of each string.
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "core/base/status.h"
#include "kernels/string/map.h"
#include "kernels/string/string_kernels.h"
#include "kernels/string/utf8.h"

namespace sluice {
namespace {

using StringMapper = Mapper<std::string, std::string>;

// A mapper that needs no attributes and cannot fail.
KernelDef Simple(std::function<std::string(absl::string_view)> f) {
  return MapElements<std::string, std::string>([f](PrepareContext&) -> absl::StatusOr<StringMapper> {
    return StringMapper([f](const std::string& in, std::string* out) {
      *out = f(in);
      return absl::OkStatus();
    });
  });
}

// `ascii` for encoding '', `utf8` for 'utf-8'.
KernelDef ByEncoding(std::function<std::string(absl::string_view)> ascii,
                     std::function<std::string(absl::string_view)> utf8) {
  return MapElements<std::string, std::string>([=](PrepareContext& p) -> absl::StatusOr<StringMapper> {
    ASSIGN_OR_RETURN(const std::string encoding, p.Attr<std::string>("encoding"));
    if (!encoding.empty() && encoding != "utf-8") {
      return InvalidArgument("encoding must be '' or 'utf-8', found '", encoding, "'");
    }
    return StringMapper([f = encoding.empty() ? ascii : utf8](const std::string& in, std::string* out) {
      *out = f(in);
      return absl::OkStatus();
    });
  });
}

absl::StatusOr<StringMapper> MakeEncodeBase64(PrepareContext& p) {
  ASSIGN_OR_RETURN(const bool pad, p.Attr<bool>("pad"));
  return StringMapper([pad](const std::string& in, std::string* out) {
    *out = absl::WebSafeBase64Escape(in);
    while (pad && out->size() % 4 != 0) out->push_back('=');
    return absl::OkStatus();
  });
}

absl::StatusOr<StringMapper> MakeDecodeBase64(PrepareContext&) {
  return StringMapper([](const std::string& in, std::string* out) {
    return absl::WebSafeBase64Unescape(in, out) ? absl::OkStatus()
                                                : InvalidArgument("not web-safe base64: '", absl::CHexEscape(in), "'");
  });
}

absl::StatusOr<Mapper<std::string, int32_t>> MakeStringLength(PrepareContext& p) {
  ASSIGN_OR_RETURN(const std::string unit, p.Attr<std::string>("unit"));
  return Mapper<std::string, int32_t>([bytes = unit == "BYTE"](const std::string& in, int32_t* out) {
    *out = static_cast<int32_t>(bytes ? in.size() : CountUtf8(in));
    return absl::OkStatus();
  });
}

// Input 0 broadcast with positions and lengths.
class SubstrKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string unit, p.Attr<std::string>("unit"));
    bytes_ = unit == "BYTE";
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor &in = c.input(0), &pos = c.input(1), &len = c.input(2);
    if (pos.shape() != len.shape()) {
      return InvalidArgument("pos and len must have one shape, found ", pos.shape().ToString(), " and ",
                             len.shape().ToString());
    }
    ASSIGN_OR_RETURN(const Shape shape, BroadcastShapes(in.shape(), pos.shape()));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, shape));
    const int rank = shape.rank();
    std::vector<int64_t> index(rank, 0);
    for (int64_t i = 0; i < shape.num_elements(); ++i) {
      const int64_t at = Flat(in.shape(), index), p = Flat(pos.shape(), index);
      RETURN_IF_ERROR(Cut(in.data<std::string>()[at], pos.IntAt(p), len.IntAt(p), i, out->data<std::string>() + i));
      for (int d = rank - 1; d >= 0 && ++index[d] == shape.dim(d); --d) index[d] = 0;
    }
    return absl::OkStatus();
  }

 private:
  // The position of `index` (of the broadcast shape) in a tensor of shape `s`.
  static int64_t Flat(const Shape& s, const std::vector<int64_t>& index) {
    int64_t flat = 0;
    const size_t skip = index.size() - s.rank();
    for (int d = 0; d < s.rank(); ++d) flat = flat * s.dim(d) + (s.dim(d) == 1 ? 0 : index[skip + d]);
    return flat;
  }

  absl::Status Cut(const std::string& s, int64_t pos, int64_t len, int64_t element, std::string* out) const {
    const int64_t size = bytes_ ? static_cast<int64_t>(s.size()) : CountUtf8(s);
    if (pos < -size || pos > size) {
      return InvalidArgument("pos ", pos, " out of range for string '", absl::CHexEscape(s), "' at index ", element);
    }
    if (pos < 0) pos += size;
    const int64_t end = len < 0 || len > size - pos ? size : pos + len;
    const size_t begin_byte = bytes_ ? pos : Utf8Offset(s, pos);
    const size_t end_byte = bytes_ ? end : Utf8Offset(s, end);
    out->assign(s, begin_byte, end_byte - begin_byte);
    return absl::OkStatus();
  }

  bool bytes_ = true;
};

}  // namespace

void AddStringTextKernels(KernelRegistry& k) {
  k.Add("StringStrip", kCpu, Simple([](absl::string_view s) { return std::string(absl::StripAsciiWhitespace(s)); }));
  k.Add("StringLower", kCpu, ByEncoding([](absl::string_view s) { return absl::AsciiStrToLower(s); }, Utf8Lower));
  k.Add("StringUpper", kCpu, ByEncoding([](absl::string_view s) { return absl::AsciiStrToUpper(s); }, Utf8Upper));
  k.Add("EncodeBase64", kCpu, MapElements<std::string, std::string>(MakeEncodeBase64));
  k.Add("DecodeBase64", kCpu, MapElements<std::string, std::string>(MakeDecodeBase64));
  k.Add("StringLength", kCpu, MapElements<std::string, int32_t>(MakeStringLength));
  k.Add("Substr", kCpu, KernelDef().Types("T", kIndexTypes).Make<SubstrKernel>());
}

}  // namespace sluice
