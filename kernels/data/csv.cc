// DecodeCSV: RFC 4180 lines to columns.
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "core/base/status.h"
#include "kernels/data/data_kernels.h"

namespace sluice {
namespace {

absl::Status SplitLine(absl::string_view line, char delimiter, bool quotes, std::vector<std::string>* fields) {
  fields->clear();
  if (line.empty()) return absl::OkStatus();
  size_t i = 0;
  while (true) {
    std::string field;
    if (quotes && i < line.size() && line[i] == '"') {
      for (++i;; ++i) {
        if (i >= line.size()) return InvalidArgument("Quoted field has to end with quote");
        if (line[i] != '"') {
          field.push_back(line[i]);
        } else if (i + 1 < line.size() && line[i + 1] == '"') {
          field.push_back('"');
          ++i;
        } else {
          break;
        }
      }
      ++i;
      if (i < line.size() && line[i] != delimiter) {
        return InvalidArgument("Quote inside a string has to be escaped by another quote");
      }
    } else {
      for (; i < line.size() && line[i] != delimiter; ++i) {
        if ((quotes && line[i] == '"') || line[i] == '\n' || line[i] == '\r') {
          return InvalidArgument("Unquoted fields cannot have quotes/CRLFs inside");
        }
        field.push_back(line[i]);
      }
    }
    fields->push_back(std::move(field));
    if (i >= line.size()) return absl::OkStatus();
    ++i;  // the delimiter; another field follows, if only an empty one
  }
}

bool Parse(const std::string& text, Tensor* to, int64_t i) {
  switch (to->dtype()) {
    case DType::kFloat:
      return absl::SimpleAtof(text, to->data<float>() + i);
    case DType::kDouble:
      return absl::SimpleAtod(text, to->data<double>() + i);
    case DType::kInt32:
      return absl::SimpleAtoi(text, to->data<int32_t>() + i);
    case DType::kInt64:
      return absl::SimpleAtoi(text, to->data<int64_t>() + i);
    default:
      to->data<std::string>()[i] = text;
      return true;
  }
}

void CopyDefault(const Tensor& from, Tensor* to, int64_t i) {
  if (to->dtype() == DType::kString) {
    to->data<std::string>()[i] = from.data<std::string>()[0];
  } else {
    const size_t n = ElementSize(to->dtype());
    std::copy_n(from.data<char>(), n, to->data<char>() + i * n);
  }
}

class DecodeCsvKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string delimiter, p.Attr<std::string>("field_delim"));
    if (delimiter.size() != 1 || delimiter[0] == '"') {
      return InvalidArgument("field_delim must be one character, not a quote, found '", delimiter, "'");
    }
    delimiter_ = delimiter[0];
    ASSIGN_OR_RETURN(quotes_, p.Attr<bool>("use_quote_delim"));
    ASSIGN_OR_RETURN(na_value_, p.Attr<std::string>("na_value"));
    ASSIGN_OR_RETURN(columns_, p.Attr<std::vector<int64_t>>("select_cols"));
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (columns_[i] < 0 || (i > 0 && columns_[i] <= columns_[i - 1])) {
        return InvalidArgument("select_cols should be strictly increasing indices, found ", columns_[i], " at ", i);
      }
    }
    if (!columns_.empty() && static_cast<int>(columns_.size()) != p.num_outputs()) {
      return InvalidArgument("select_cols names ", columns_.size(), " columns for ", p.num_outputs(),
                             " record_defaults");
    }
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& records = c.input(0);
    for (int i = 0; i < c.num_outputs(); ++i) {
      if (c.input(i + 1).num_elements() > 1) {
        return InvalidArgument("There should only be 1 default per field but field ", i, " has ",
                               c.input(i + 1).num_elements());
      }
      RETURN_IF_ERROR(c.Allocate(i, records.shape()).status());
    }
    std::vector<std::string> fields;
    for (int64_t r = 0; r < records.num_elements(); ++r) {
      absl::Status status = SplitLine(records.data<std::string>()[r], delimiter_, quotes_, &fields);
      if (!status.ok()) return Annotate(status, absl::StrCat("record ", r, ": "));
      RETURN_IF_ERROR(Fill(fields, r, c));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Fill(const std::vector<std::string>& fields, int64_t r, KernelContext& c) const {
    const size_t wanted = columns_.empty() ? c.num_outputs() : columns_.back() + 1;
    if (columns_.empty() ? fields.size() != wanted : fields.size() < wanted) {
      return InvalidArgument("Expect ", wanted, " fields but have ", fields.size(), " in record ", r);
    }
    for (int i = 0; i < c.num_outputs(); ++i) {
      const std::string& field = fields[columns_.empty() ? i : columns_[i]];
      const Tensor& otherwise = c.input(i + 1);
      Tensor* const out = c.output(i);
      if (field.empty() || field == na_value_) {
        if (otherwise.num_elements() != 1)
          return InvalidArgument("Field ", i, " is required but missing in record ", r, "!");
        CopyDefault(otherwise, out, r);
      } else if (!Parse(field, out, r)) {
        return InvalidArgument("Field ", i, " in record ", r, " is not a valid ", DTypeName(out->dtype()), ": ",
                               absl::CHexEscape(field));
      }
    }
    return absl::OkStatus();
  }

  char delimiter_ = ',';
  bool quotes_ = true;
  std::string na_value_;
  std::vector<int64_t> columns_;
};

}  // namespace

void AddCsvKernels(KernelRegistry& k) { k.Add("DecodeCSV", kCpu, KernelDef().Make<DecodeCsvKernel>()); }

}  // namespace sluice
