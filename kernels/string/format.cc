// StringFormat: tensors as people read them.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/types/numeric_types.h"
#include "kernels/string/string_kernels.h"

namespace sluice {
namespace {

// The shortest of two precisions that reads back as the same number.
std::string FloatText(double v, int brief, int exact, bool is_float) {
  if (std::isnan(v)) return "nan";
  char buffer[40];
  std::snprintf(buffer, sizeof(buffer), "%.*g", brief, v);
  const double back = is_float ? static_cast<double>(std::strtof(buffer, nullptr)) : std::strtod(buffer, nullptr);
  if (back != v) std::snprintf(buffer, sizeof(buffer), "%.*g", exact, v);
  return buffer;
}
std::string FloatText(float v) { return FloatText(static_cast<double>(v), 6, 9, true); }
std::string DoubleText(double v) { return FloatText(v, 15, 17, false); }

std::string ElementText(const Tensor& t, int64_t i) {
  switch (t.dtype()) {
    case DType::kFloat:
      return FloatText(t.data<float>()[i]);
    case DType::kDouble:
      return DoubleText(t.data<double>()[i]);
    case DType::kHalf:
      return FloatText(static_cast<float>(t.data<half>()[i]));
    case DType::kBfloat16:
      return FloatText(static_cast<float>(t.data<bfloat16>()[i]));
    case DType::kComplex64: {
      const complex64 v = t.data<complex64>()[i];
      return absl::StrCat("(", FloatText(v.real()), ",", FloatText(v.imag()), ")");
    }
    case DType::kComplex128: {
      const complex128 v = t.data<complex128>()[i];
      return absl::StrCat("(", DoubleText(v.real()), ",", DoubleText(v.imag()), ")");
    }
    case DType::kBool:
      return t.data<bool>()[i] ? "1" : "0";
    case DType::kString:
      return absl::StrCat("\"", absl::CEscape(t.data<std::string>()[i]), "\"");
    case DType::kUint64:
      return absl::StrCat(t.data<uint64_t>()[i]);
    default:
      return IsInteger(t.dtype()) ? absl::StrCat(t.IntAt(i)) : "?";
  }
}

// Rows of the last dimension are on a line each; blank lines separate higher dimensions, and lines are indented under
// their brackets.
void AppendSpacing(int dim, int rank, std::string* out) {
  if (dim == rank - 1) {
    out->push_back(' ');
    return;
  }
  out->append(static_cast<size_t>(rank - dim - 1), '\n');
  out->append(static_cast<size_t>(dim + 1), ' ');
}

// Dimension `dim` of the part that begins at element `at` and has `count` elements.
void AppendDimension(const Tensor& t, int dim, int64_t at, int64_t count, int64_t ends, std::string* out) {
  if (dim == t.rank()) {
    out->append(ElementText(t, at));
    return;
  }
  const int64_t size = t.dim(dim);
  const int64_t step = count / size;
  const bool cut = ends >= 0 && size > 2 * ends;
  out->push_back('[');
  for (int64_t i = 0; i < size; ++i) {
    if (i > 0) AppendSpacing(dim, t.rank(), out);
    if (cut && i == ends) {
      out->append("...");
      i = size - ends;
      if (i == size) break;
      AppendSpacing(dim, t.rank(), out);
    }
    AppendDimension(t, dim + 1, at + i * step, step, ends, out);
  }
  out->push_back(']');
}

class StringFormatKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string text, p.Attr<std::string>("template"));
    ASSIGN_OR_RETURN(const std::string placeholder, p.Attr<std::string>("placeholder"));
    ASSIGN_OR_RETURN(summarize_, p.Attr<int64_t>("summarize"));
    if (placeholder.empty()) return InvalidArgument("placeholder is empty");
    pieces_ = absl::StrSplit(text, placeholder);
    if (static_cast<int>(pieces_.size()) != p.num_inputs() + 1) {
      return InvalidArgument("template '", text, "' has ", pieces_.size() - 1, " placeholders '", placeholder, "' for ",
                             p.num_inputs(), " inputs");
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    std::string text = pieces_[0];
    for (int i = 0; i < c.num_inputs(); ++i) {
      const Tensor& t = c.input(i);
      if (t.num_elements() == 0) {
        text += "[]";
      } else {
        AppendDimension(t, 0, 0, t.num_elements(), summarize_, &text);
      }
      text += pieces_[i + 1];
    }
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    out->scalar<std::string>() = std::move(text);
    return absl::OkStatus();
  }

 private:
  std::vector<std::string> pieces_;
  int64_t summarize_ = 3;
};

}  // namespace

void AddStringFormatKernels(KernelRegistry& k) { k.Add("StringFormat", kCpu, KernelDef().Make<StringFormatKernel>()); }

}  // namespace sluice
