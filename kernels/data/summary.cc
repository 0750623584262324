// Summaries of numbers and tensors, and merging.
#include <cmath>
#include <set>
#include <utility>

#include "core/base/status.h"
#include "core/proto/summary.pb.h"
#include "core/types/numeric_types.h"
#include "core/types/tensor_proto.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/histogram.h"
#include "kernels/data/inputs.h"

namespace sluice {
namespace {

template <typename T>
std::vector<double> Converted(const Tensor& t) {
  std::vector<double> v(t.num_elements());
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(t.data<T>()[i]);
  return v;
}

// The elements of a tensor of real numbers.
std::vector<double> AsDoubles(const Tensor& t) {
  switch (t.dtype()) {
    case DType::kFloat:
      return Converted<float>(t);
    case DType::kDouble:
      return Converted<double>(t);
    case DType::kHalf:
      return Converted<half>(t);
    case DType::kBfloat16:
      return Converted<bfloat16>(t);
    case DType::kUint64:
      return Converted<uint64_t>(t);
    default: {
      std::vector<double> v(t.num_elements());
      for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<double>(t.IntAt(static_cast<int64_t>(i)));
      return v;
    }
  }
}

absl::Status SetSummary(const proto::Summary& summary, KernelContext& c) {
  ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
  if (!summary.SerializeToString(&out->scalar<std::string>()))
    return InvalidArgument("the summary is too large for a message");
  return absl::OkStatus();
}

class ScalarSummaryKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor &tags = c.input(0), &values = c.input(1);
    if (tags.shape() != values.shape()) {
      return InvalidArgument("tags and values not the same shape: ", tags.shape().ToString(),
                             " != ", values.shape().ToString(),
                             tags.num_elements() > 0 ? absl::StrCat(" (tag '", *tags.data<std::string>(), "')") : "");
    }
    const std::vector<double> numbers = AsDoubles(values);
    proto::Summary summary;
    for (size_t i = 0; i < numbers.size(); ++i) {
      auto* value = summary.add_value();
      value->set_tag(tags.data<std::string>()[i]);
      value->set_simple_value(static_cast<float>(numbers[i]));
    }
    return SetSummary(summary, c);
  }
};

class HistogramSummaryKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string tag, StringInput(c, 0, "tag"));
    Histogram histogram;
    for (double value : AsDoubles(c.input(1))) {
      if (std::isnan(value)) return InvalidArgument("Nan in summary histogram for: ", tag);
      if (std::isinf(value)) return InvalidArgument("Infinity in summary histogram for: ", tag);
      histogram.Add(value);
    }
    proto::Summary summary;
    auto* value = summary.add_value();
    value->set_tag(tag);
    histogram.ToProto(value->mutable_histo());
    return SetSummary(summary, c);
  }
};

class MergeSummaryKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    proto::Summary merged;
    std::set<std::string> tags;
    for (int i = 0; i < c.num_inputs(); ++i) {
      for (const std::string& bytes : c.input(i).flat<std::string>()) {
        proto::Summary summary;
        if (!summary.ParseFromString(bytes)) return InvalidArgument("input ", i, " is not a Summary message");
        for (auto& value : *summary.mutable_value()) {
          if (!value.tag().empty() && !tags.insert(value.tag()).second) {
            return InvalidArgument("Duplicate tag ", value.tag(), " found in summary inputs");
          }
          *merged.add_value() = std::move(value);
        }
      }
    }
    return SetSummary(merged, c);
  }
};

absl::Status TensorSummary(const Tensor& tensor, proto::Summary::Value* value) {
  return TensorToProto(tensor, value->mutable_tensor(), TensorEncoding::kRaw);
}

class TensorSummaryKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    proto::Summary summary;
    auto* value = summary.add_value();
    value->set_node_name(c.node().name);
    RETURN_IF_ERROR(TensorSummary(c.input(0), value));
    return SetSummary(summary, c);
  }
};

class TensorSummaryV2Kernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string tag, StringInput(c, 0, "tag"));
    ASSIGN_OR_RETURN(const std::string metadata, StringInput(c, 2, "serialized_summary_metadata"));
    proto::Summary summary;
    auto* value = summary.add_value();
    value->set_tag(tag);
    if (!value->mutable_metadata()->ParseFromString(metadata)) {
      return InvalidArgument("serialized_summary_metadata is not a SummaryMetadata message");
    }
    RETURN_IF_ERROR(TensorSummary(c.input(1), value));
    return SetSummary(summary, c);
  }
};

}  // namespace

void AddSummaryKernels(KernelRegistry& k) {
  k.Add("ScalarSummary", kCpu, KernelDef().Types("T", kRealTypes).Make<ScalarSummaryKernel>());
  k.Add("HistogramSummary", kCpu, KernelDef().Types("T", kRealTypes).Make<HistogramSummaryKernel>());
  k.Add("MergeSummary", kCpu, KernelDef().Make<MergeSummaryKernel>());
  k.Add("TensorSummary", kCpu, KernelDef().Make<TensorSummaryKernel>());
  k.Add("TensorSummaryV2", kCpu, KernelDef().Make<TensorSummaryV2Kernel>());
}

}  // namespace sluice
