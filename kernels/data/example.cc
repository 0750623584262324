// ParseExample and ParseSingleExample.
#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "core/base/status.h"
#include "core/proto/example.pb.h"
#include "core/proto/feature.pb.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"

namespace sluice {
namespace {

using proto::Feature;

int64_t CountValues(const Feature& f) {
  switch (f.kind_case()) {
    case Feature::kBytesList:
      return f.bytes_list().value_size();
    case Feature::kFloatList:
      return f.float_list().value_size();
    case Feature::kInt64List:
      return f.int64_list().value_size();
    default:
      return 0;
  }
}

// The type of the values, or kInvalid for a feature without any list.
DType TypeOf(const Feature& f) {
  switch (f.kind_case()) {
    case Feature::kBytesList:
      return DType::kString;
    case Feature::kFloatList:
      return DType::kFloat;
    case Feature::kInt64List:
      return DType::kInt64;
    default:
      return DType::kInvalid;
  }
}

// REQUIRES: the feature has the type of `to`, and `to` has room.
void CopyValues(const Feature& f, Tensor* to, int64_t at) {
  if (to->dtype() == DType::kString) {
    std::copy(f.bytes_list().value().begin(), f.bytes_list().value().end(), to->data<std::string>() + at);
  } else if (to->dtype() == DType::kFloat) {
    std::copy(f.float_list().value().begin(), f.float_list().value().end(), to->data<float>() + at);
  } else {
    std::copy(f.int64_list().value().begin(), f.int64_list().value().end(), to->data<int64_t>() + at);
  }
}

// `count` elements of `from`, which repeats when it has only one.
void CopyDefault(const Tensor& from, Tensor* to, int64_t at, int64_t count) {
  const bool one = from.num_elements() == 1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t source = one ? 0 : i;
    if (to->dtype() == DType::kString) {
      to->data<std::string>()[at + i] = from.data<std::string>()[source];
    } else {
      const size_t n = ElementSize(to->dtype());
      std::memcpy(to->data<char>() + (at + i) * n, from.data<char>() + source * n, n);
    }
  }
}

struct DenseFeature {
  std::string key;
  DType dtype;
  PartialShape shape;
  bool variable = false;  // the first size is unknown: rows are padded to the longest
  int64_t elements = 1;   // of a row, or of one step of a variable one
};

struct SparseFeature {
  std::string key;
  DType dtype;
};

// What both ops share. A batch has rank 1 or 0 (one example).
class ExampleParser {
 public:
  absl::Status Prepare(PrepareContext& p, absl::string_view sparse_types_attr) {
    ASSIGN_OR_RETURN(const auto sparse_types, p.Attr<std::vector<DType>>(sparse_types_attr));
    ASSIGN_OR_RETURN(const auto dense_types, p.Attr<std::vector<DType>>("Tdense"));
    ASSIGN_OR_RETURN(const auto shapes, p.Attr<std::vector<PartialShape>>("dense_shapes"));
    if (shapes.size() != dense_types.size()) {
      return InvalidArgument("dense_shapes has ", shapes.size(), " elements for ", dense_types.size(),
                             " dense features");
    }
    for (DType t : sparse_types) sparse_.push_back({"", t});
    for (size_t i = 0; i < dense_types.size(); ++i) {
      DenseFeature d;
      d.dtype = dense_types[i];
      d.shape = shapes[i];
      if (!d.shape.known_rank()) return InvalidArgument("dense_shapes[", i, "] has no rank");
      for (int k = 0; k < d.shape.rank(); ++k) {
        if (d.shape.dim(k) == kUnknownDim && k == 0) {
          d.variable = true;
        } else if (d.shape.dim(k) < 0) {
          return InvalidArgument("dense_shapes[", i, "] is ", d.shape.ToString(),
                                 "; only the first size may be unknown");
        } else {
          d.elements = MultiplyWithoutOverflow(d.elements, d.shape.dim(k));
        }
      }
      if (d.elements < 0)
        return InvalidArgument("dense_shapes[", i, "] is ", d.shape.ToString(), ", which is too large");
      if (d.variable && d.elements == 0) {
        return InvalidArgument("dense_shapes[", i, "] is ", d.shape.ToString(), ": rows of no elements");
      }
      dense_.push_back(std::move(d));
    }
    return absl::OkStatus();
  }

  std::vector<SparseFeature> sparse_;
  std::vector<DenseFeature> dense_;

  // Parses `serialized`; dense defaults are the inputs from `first_default` on. `is_batch` false: exactly one example.
  absl::Status Run(absl::Span<const std::string> serialized, absl::Span<const std::string> names,
                   const std::vector<SparseFeature>& sparse, const std::vector<DenseFeature>& dense, int first_default,
                   bool is_batch, KernelContext& c) const {
    std::vector<proto::Example> examples(serialized.size());
    for (size_t i = 0; i < examples.size(); ++i) {
      if (!examples[i].ParseFromString(serialized[i])) {
        return InvalidArgument("Could not parse example input", Where(names, i), ": it is not an Example message");
      }
    }
    const int n = static_cast<int>(sparse.size());
    for (int s = 0; s < n; ++s) RETURN_IF_ERROR(Sparse(examples, names, sparse[s], s, n, is_batch, c));
    for (size_t d = 0; d < dense.size(); ++d) {
      RETURN_IF_ERROR(Dense(examples, names, dense[d], c.input(first_default + static_cast<int>(d)),
                            3 * n + static_cast<int>(d), is_batch, c));
    }
    return absl::OkStatus();
  }

 private:
  static std::string Where(absl::Span<const std::string> names, size_t i) {
    return names.empty() ? absl::StrCat(" (example ", i, ")") : absl::StrCat(" (name ", names[i], ")");
  }

  // Null when the example does not have the feature or it has no list; an error when its type is another.
  static absl::StatusOr<const Feature*> Find(const proto::Example& example, const std::string& key, DType dtype,
                                             const std::string& where) {
    const auto& features = example.features().feature();
    const auto it = features.find(key);
    if (it == features.end() || TypeOf(it->second) == DType::kInvalid) return nullptr;
    if (TypeOf(it->second) != dtype) {
      return InvalidArgument("Key: ", absl::CHexEscape(key), where,
                             ".  Data types don't match. Expected type: ", DTypeName(dtype),
                             ", found: ", DTypeName(TypeOf(it->second)));
    }
    return &it->second;
  }

  static absl::Status Sparse(const std::vector<proto::Example>& examples, absl::Span<const std::string> names,
                             const SparseFeature& feature, int s, int n, bool is_batch, KernelContext& c) {
    std::vector<const Feature*> found(examples.size());
    int64_t total = 0, longest = 0;
    for (size_t i = 0; i < examples.size(); ++i) {
      ASSIGN_OR_RETURN(found[i], Find(examples[i], feature.key, feature.dtype, Where(names, i)));
      const int64_t count = found[i] == nullptr ? 0 : CountValues(*found[i]);
      total += count;
      longest = std::max(longest, count);
    }
    const int64_t rank = is_batch ? 2 : 1;
    ASSIGN_OR_RETURN(Tensor* const indices, c.Allocate(s, Shape({total, rank})));
    ASSIGN_OR_RETURN(Tensor* const values, c.Allocate(n + s, Shape({total})));
    ASSIGN_OR_RETURN(Tensor* const shape, c.Allocate(2 * n + s, Shape({rank})));
    int64_t* index = indices->data<int64_t>();
    int64_t at = 0;
    for (size_t i = 0; i < examples.size(); ++i) {
      const int64_t count = found[i] == nullptr ? 0 : CountValues(*found[i]);
      if (count > 0) CopyValues(*found[i], values, at);
      for (int64_t j = 0; j < count; ++j) {
        if (is_batch) *index++ = static_cast<int64_t>(i);
        *index++ = j;
      }
      at += count;
    }
    if (is_batch) shape->data<int64_t>()[0] = static_cast<int64_t>(examples.size());
    shape->data<int64_t>()[rank - 1] = longest;
    return absl::OkStatus();
  }

  static absl::Status Dense(const std::vector<proto::Example>& examples, absl::Span<const std::string> names,
                            const DenseFeature& feature, const Tensor& otherwise, int output, bool is_batch,
                            KernelContext& c) {
    const int64_t given = otherwise.num_elements();
    const bool fits = given == 0 || given == 1 || (!feature.variable && given == feature.elements);
    if (!fits || otherwise.dtype() != feature.dtype) {
      return InvalidArgument("the default of dense feature ", feature.key, " is ", DTypeName(otherwise.dtype()), " ",
                             otherwise.shape().ToString(), ", wanted ", DTypeName(feature.dtype), " ",
                             feature.shape.ToString());
    }
    std::vector<const Feature*> found(examples.size());
    int64_t steps = feature.variable ? 0 : 1;
    for (size_t i = 0; i < examples.size(); ++i) {
      const std::string where = Where(names, i);
      ASSIGN_OR_RETURN(found[i], Find(examples[i], feature.key, feature.dtype, where));
      if (found[i] == nullptr) {
        if (!feature.variable && given == 0 && feature.elements > 0) {
          return InvalidArgument("Feature: ", absl::CHexEscape(feature.key), " (data type: ", DTypeName(feature.dtype),
                                 ") is required but could not be found", where);
        }
        continue;
      }
      const int64_t count = CountValues(*found[i]);
      if (feature.variable ? count % feature.elements != 0 : count != feature.elements) {
        return InvalidArgument("Key: ", absl::CHexEscape(feature.key), where, ".  Number of ", DTypeName(feature.dtype),
                               " values != expected.  Values size: ", count,
                               " but output shape: ", feature.shape.ToString());
      }
      if (feature.variable) steps = std::max(steps, count / feature.elements);
    }
    Shape shape;
    if (is_batch) shape.AddDim(static_cast<int64_t>(examples.size()));
    for (int k = 0; k < feature.shape.rank(); ++k)
      shape.AddDim(k == 0 && feature.variable ? steps : feature.shape.dim(k));
    ASSIGN_OR_RETURN(shape, Shape::Make(shape.dims()));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(output, shape));
    const int64_t row = steps * feature.elements;
    const Tensor zero = given > 0 ? otherwise : Zero(feature.dtype);
    for (size_t i = 0; i < examples.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i) * row;
      const int64_t count = found[i] == nullptr ? 0 : CountValues(*found[i]);
      if (count > 0) CopyValues(*found[i], out, at);
      if (count < row) CopyDefault(zero, out, at + count, row - count);
    }
    return absl::OkStatus();
  }

  static Tensor Zero(DType dtype) {
    if (dtype == DType::kString) return Tensor::Scalar<std::string>("");
    if (dtype == DType::kFloat) return Tensor::Scalar<float>(0);
    return Tensor::Scalar<int64_t>(0);
  }
};

class ParseExampleKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override { return parser_.Prepare(p, "sparse_types"); }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const auto serialized, StringsInput(c, 0, c.input(0).num_elements(), "serialized"));
    const absl::Span<const std::string> names = c.input(1).flat<std::string>();
    if (!names.empty() && names.size() != serialized.size()) {
      return InvalidArgument("names has ", names.size(), " elements for ", serialized.size(), " examples");
    }
    // The keys are inputs, so they may differ from step to step.
    std::vector<SparseFeature> sparse = parser_.sparse_;
    std::vector<DenseFeature> dense = parser_.dense_;
    int i = 2;
    for (SparseFeature& feature : sparse) {
      ASSIGN_OR_RETURN(feature.key, StringInput(c, i++, "sparse_keys"));
    }
    for (DenseFeature& feature : dense) {
      ASSIGN_OR_RETURN(feature.key, StringInput(c, i++, "dense_keys"));
    }
    return parser_.Run(serialized, names, sparse, dense, i, true, c);
  }

 private:
  ExampleParser parser_;
};

class ParseSingleExampleKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    RETURN_IF_ERROR(parser_.Prepare(p, "sparse_types"));
    ASSIGN_OR_RETURN(const auto sparse_keys, p.Attr<std::vector<std::string>>("sparse_keys"));
    ASSIGN_OR_RETURN(const auto dense_keys, p.Attr<std::vector<std::string>>("dense_keys"));
    if (sparse_keys.size() != parser_.sparse_.size() || dense_keys.size() != parser_.dense_.size()) {
      return InvalidArgument(sparse_keys.size(), " sparse_keys and ", dense_keys.size(), " dense_keys for ",
                             parser_.sparse_.size(), " and ", parser_.dense_.size(), " types");
    }
    for (size_t i = 0; i < sparse_keys.size(); ++i) parser_.sparse_[i].key = sparse_keys[i];
    for (size_t i = 0; i < dense_keys.size(); ++i) parser_.dense_[i].key = dense_keys[i];
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string serialized, StringInput(c, 0, "serialized"));
    return parser_.Run(absl::MakeConstSpan(&serialized, 1), {}, parser_.sparse_, parser_.dense_, 1, false, c);
  }

 private:
  ExampleParser parser_;
};

}  // namespace

void AddExampleKernels(KernelRegistry& k) {
  k.Add("ParseExample", kCpu, KernelDef().Make<ParseExampleKernel>());
  k.Add("ParseSingleExample", kCpu, KernelDef().Make<ParseSingleExampleKernel>());
}

}  // namespace sluice
