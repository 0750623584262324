// Kernels that split strings into a sparse matrix: a row for each string, a column for each part.
#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "core/base/status.h"
#include "kernels/string/string_kernels.h"

namespace sluice {
namespace {

using Parts = std::vector<absl::string_view>;

// At each byte that is in `delimiters`; between all bytes when there are none. Nothing has no parts, not an empty one.
void SplitAtAny(absl::string_view s, absl::string_view delimiters, bool skip_empty, Parts* parts) {
  if (delimiters.empty()) {
    for (size_t i = 0; i < s.size(); ++i) parts->push_back(s.substr(i, 1));
    return;
  }
  if (s.empty()) return;
  while (true) {
    const size_t end = s.find_first_of(delimiters);
    const absl::string_view part = s.substr(0, end);
    if (!part.empty() || !skip_empty) parts->push_back(part);
    if (end == absl::string_view::npos) return;
    s.remove_prefix(end + 1);
  }
}

// As Python's str.split: at runs of white space without a separator, else at each separator; at most `most` times
// unless negative. TensorFlow's corner cases: 0 keeps white space in front, and the rest after the last of `most`
// splits may be empty.
void SplitAt(absl::string_view s, absl::string_view separator, int64_t most, Parts* parts) {
  if (most == 0) {
    parts->push_back(s);
    return;
  }
  if (separator.empty()) {
    for (s = absl::StripLeadingAsciiWhitespace(s); !s.empty();) {
      const size_t end = std::find_if(s.begin(), s.end(), absl::ascii_isspace) - s.begin();
      parts->push_back(s.substr(0, end));
      s = absl::StripLeadingAsciiWhitespace(s.substr(end));
      if (--most == 0) {
        parts->push_back(s);
        return;
      }
    }
    return;
  }
  for (; most != 0; --most) {
    const size_t end = s.find(separator);
    if (end == absl::string_view::npos) break;
    parts->push_back(s.substr(0, end));
    s.remove_prefix(end + separator.size());
  }
  parts->push_back(s);
}

class SplitKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor &in = c.input(0), &separator = c.input(1);
    if (in.rank() != 1) return InvalidArgument("input must be a vector, found ", in.shape().ToString());
    if (separator.num_elements() != 1) {
      return InvalidArgument("the separator must be a scalar, found ", separator.shape().ToString());
    }
    Parts parts;
    std::vector<size_t> ends;
    int64_t columns = 0;
    for (const std::string& s : in.flat<std::string>()) {
      const size_t before = parts.size();
      Split(s, *separator.data<std::string>(), &parts);
      ends.push_back(parts.size());
      columns = std::max<int64_t>(columns, parts.size() - before);
    }
    const int64_t total = static_cast<int64_t>(parts.size());
    ASSIGN_OR_RETURN(Tensor* const indices, c.Allocate(0, Shape({total, 2})));
    ASSIGN_OR_RETURN(Tensor* const values, c.Allocate(1, Shape({total})));
    ASSIGN_OR_RETURN(Tensor* const shape, c.Allocate(2, Shape({2})));
    size_t i = 0;
    for (size_t row = 0; row < ends.size(); ++row) {
      for (int64_t column = 0; i < ends[row]; ++i, ++column) {
        indices->data<int64_t>()[2 * i] = static_cast<int64_t>(row);
        indices->data<int64_t>()[2 * i + 1] = column;
        values->data<std::string>()[i] = std::string(parts[i]);
      }
    }
    shape->data<int64_t>()[0] = in.dim(0);
    shape->data<int64_t>()[1] = columns;
    return absl::OkStatus();
  }

 protected:
  virtual void Split(absl::string_view s, absl::string_view separator, Parts* parts) const = 0;
};

class StringSplitKernel : public SplitKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(skip_empty_, p.Attr<bool>("skip_empty"));
    return absl::OkStatus();
  }

 protected:
  void Split(absl::string_view s, absl::string_view separator, Parts* parts) const override {
    SplitAtAny(s, separator, skip_empty_, parts);
  }

 private:
  bool skip_empty_ = true;
};

class StringSplitV2Kernel : public SplitKernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(most_, p.Attr<int64_t>("maxsplit"));
    return absl::OkStatus();
  }

 protected:
  void Split(absl::string_view s, absl::string_view separator, Parts* parts) const override {
    SplitAt(s, separator, most_, parts);
  }

 private:
  int64_t most_ = -1;
};

}  // namespace

void AddStringSplitKernels(KernelRegistry& k) {
  k.Add("StringSplit", kCpu, KernelDef().Make<StringSplitKernel>());
  k.Add("StringSplitV2", kCpu, KernelDef().Make<StringSplitV2Kernel>());
}

}  // namespace sluice
