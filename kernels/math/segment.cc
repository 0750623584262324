// Segment ops over all rows, and over rows picked by an index.
#include <cmath>

#include "core/base/status.h"
#include "kernels/math/segment.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

int64_t InnerSize(const Shape& s, int skip) {
  int64_t n = 1;
  for (int i = skip; i < s.rank(); ++i) n *= s.dim(i);
  return n;
}
Shape RowsThen(const Shape& s, int skip, int64_t rows) {
  Shape out({rows});
  for (int i = skip; i < s.rank(); ++i) out.AddDim(s.dim(i));
  return out;
}

// Sorted numbers from 0; below `limit` when it is not negative.
absl::Status CheckSorted(absl::Span<const int64_t> ids, int64_t limit) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) return InvalidArgument("segment_ids[", i, "] is negative: ", ids[i]);
    if (i > 0 && ids[i] < ids[i - 1]) {
      return InvalidArgument("segment_ids must not decrease, found ", ids[i - 1], " before ", ids[i], " at ", i);
    }
    if (limit >= 0 && ids[i] >= limit)
      return InvalidArgument("segment_ids[", i, "] = ", ids[i], " is not below num_segments, ", limit);
  }
  return absl::OkStatus();
}

absl::Status CheckIndices(absl::Span<const int64_t> indices, int64_t rows, absl::string_view name) {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= rows)
      return InvalidArgument(name, "[", i, "] = ", indices[i], " is not in [0, ", rows, ")");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Count(const Tensor& t, absl::string_view name) {
  if (t.num_elements() != 1) return InvalidArgument(name, " must be a scalar, found shape ", t.shape().ToString());
  if (t.IntAt(0) < 0) return InvalidArgument(name, " must not be negative, found ", t.IntAt(0));
  return t.IntAt(0);
}

class SortedSegment : public Kernel {
 public:
  SortedSegment(SegmentOp op, EmptySegment empty) : op_(op), empty_(empty) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor data = c.input(0), ids_in = c.input(1);
    if (ids_in.rank() != 1)
      return InvalidArgument("segment_ids must be a vector, found shape ", ids_in.shape().ToString());
    if (data.rank() < 1 || data.dim(0) != ids_in.dim(0)) {
      return InvalidArgument("segment_ids has ", ids_in.num_elements(), " elements, data has shape ",
                             data.shape().ToString());
    }
    const std::vector<int64_t> ids = Integers(ids_in);
    RETURN_IF_ERROR(CheckSorted(ids, -1));
    ASSIGN_OR_RETURN(Shape shape, MakeShape(data.shape(), ids.empty() ? 0 : ids.back() + 1));
    return JoinSegments(c, op_, empty_, data, {}, ids, InnerSize(data.shape(), 1), shape);
  }

 private:
  static absl::StatusOr<Shape> MakeShape(const Shape& data, int64_t rows) {
    std::vector<int64_t> dims(data.dims().begin(), data.dims().end());
    dims[0] = rows;
    return Shape::Make(dims);
  }
  SegmentOp op_;
  EmptySegment empty_;
};

class UnsortedSegment : public Kernel {
 public:
  UnsortedSegment(SegmentOp op, EmptySegment empty) : op_(op), empty_(empty) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor data = c.input(0), ids_in = c.input(1);
    ASSIGN_OR_RETURN(int64_t segments, Count(c.input(2), "num_segments"));
    const int r = ids_in.rank();
    if (r > data.rank() || Shape(data.shape().dims().subspan(0, r)) != ids_in.shape()) {
      return InvalidArgument("segment_ids has shape ", ids_in.shape().ToString(),
                             ", which is no beginning of the shape of data ", data.shape().ToString());
    }
    const std::vector<int64_t> ids = Integers(ids_in);
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= segments)
        return InvalidArgument("segment_ids[", i, "] = ", ids[i], " is not in [0, ", segments, ")");
    }
    return JoinSegments(c, op_, empty_, data, {}, ids, InnerSize(data.shape(), r), RowsThen(data.shape(), r, segments));
  }

 private:
  SegmentOp op_;
  EmptySegment empty_;
};

class SparseSegment : public Kernel {
 public:
  SparseSegment(SegmentOp op, bool with_count) : op_(op), with_count_(with_count) {}
  absl::Status Run(KernelContext& c) const override {
    const Tensor data = c.input(0);
    if (data.rank() < 1) return InvalidArgument("data must have rank 1 or more");
    for (int i : {1, 2}) {
      if (c.input(i).rank() != 1)
        return InvalidArgument(i == 1 ? "indices" : "segment_ids", " must be a vector, found shape ",
                               c.input(i).shape().ToString());
    }
    if (c.input(1).num_elements() != c.input(2).num_elements()) {
      return InvalidArgument("indices has ", c.input(1).num_elements(), " elements, segment_ids has ",
                             c.input(2).num_elements());
    }
    const std::vector<int64_t> indices = Integers(c.input(1)), ids = Integers(c.input(2));
    int64_t segments = -1;
    if (with_count_) {
      ASSIGN_OR_RETURN(segments, Count(c.input(3), "num_segments"));
    }
    RETURN_IF_ERROR(CheckSorted(ids, segments));
    RETURN_IF_ERROR(CheckIndices(indices, data.dim(0), "indices"));
    if (segments < 0) segments = ids.empty() ? 0 : ids.back() + 1;
    return JoinSegments(c, op_, EmptySegment::kZero, data, indices, ids, InnerSize(data.shape(), 1),
                        RowsThen(data.shape(), 1, segments));
  }

 private:
  SegmentOp op_;
  bool with_count_;
};

// Row indices[i] of the output gets the gradient of segment segment_ids[i], divided as that segment was.
class SparseSegmentGrad : public Kernel {
 public:
  explicit SparseSegmentGrad(SegmentOp op) : op_(op) {}
  absl::Status Run(KernelContext& c) const override {
    Tensor grad = c.input(0);
    if (grad.rank() < 1) return InvalidArgument("grad must have rank 1 or more");
    if (c.input(1).rank() != 1 || c.input(2).rank() != 1 || c.input(1).num_elements() != c.input(2).num_elements()) {
      return InvalidArgument("indices and segment_ids must be vectors of one length, found shapes ",
                             c.input(1).shape().ToString(), " and ", c.input(2).shape().ToString());
    }
    ASSIGN_OR_RETURN(int64_t rows, Count(c.input(3), "output_dim0"));
    const std::vector<int64_t> indices = Integers(c.input(1)), ids = Integers(c.input(2));
    RETURN_IF_ERROR(CheckIndices(indices, rows, "indices"));
    RETURN_IF_ERROR(CheckIndices(ids, grad.dim(0), "segment_ids"));
    ASSIGN_OR_RETURN(Tensor counted, MakeCounts(grad.dim(0)));
    double* counts = counted.data<double>();
    for (int64_t s : ids) ++counts[s];
    if (op_ == SegmentOp::kSqrtN) {
      for (int64_t s = 0; s < grad.dim(0); ++s) counts[s] = std::sqrt(counts[s]);
    }
    const int64_t inner = InnerSize(grad.shape(), 1);
    const DType dtype = grad.dtype();
    const bool narrow = dtype == DType::kHalf || dtype == DType::kBfloat16;
    ASSIGN_OR_RETURN(Tensor divided, narrow ? ConvertFloats(grad, DType::kFloat) : grad.Clone());
    DivideRows(&divided, inner, counted.flat<double>());
    if (narrow) {
      ASSIGN_OR_RETURN(divided, ConvertFloats(divided, dtype));
    }
    return JoinSegments(c, SegmentOp::kSum, EmptySegment::kZero, divided, ids, indices, inner,
                        RowsThen(grad.shape(), 1, rows));
  }

 private:
  SegmentOp op_;
};

}  // namespace

void AddSegmentKernels(KernelRegistry& k) {
  auto sorted = [&](const char* name, SegmentOp op, EmptySegment empty, DTypeSet types) {
    k.Add(name, kCpu, KernelDef().Types("T", types).Factory([=](const NodeInfo&) {
      return std::make_unique<SortedSegment>(op, empty);
    }));
  };
  auto unsorted = [&](const char* name, SegmentOp op, EmptySegment empty, DTypeSet types) {
    k.Add(name, kCpu, KernelDef().Types("T", types).Factory([=](const NodeInfo&) {
      return std::make_unique<UnsortedSegment>(op, empty);
    }));
  };
  sorted("SegmentSum", SegmentOp::kSum, EmptySegment::kZero, kArithmeticTypes);
  sorted("SegmentMean", SegmentOp::kMean, EmptySegment::kZero, kArithmeticTypes);
  sorted("SegmentProd", SegmentOp::kProd, EmptySegment::kOne, kArithmeticTypes);
  sorted("SegmentMax", SegmentOp::kMax, EmptySegment::kZero, kRealTypes);
  sorted("SegmentMin", SegmentOp::kMin, EmptySegment::kZero, kRealTypes);
  unsorted("UnsortedSegmentSum", SegmentOp::kSum, EmptySegment::kZero, kArithmeticTypes);
  unsorted("UnsortedSegmentProd", SegmentOp::kProd, EmptySegment::kOne, kArithmeticTypes);
  unsorted("UnsortedSegmentMax", SegmentOp::kMax, EmptySegment::kLowest, kRealTypes);
  unsorted("UnsortedSegmentMin", SegmentOp::kMin, EmptySegment::kHighest, kRealTypes);
}

void AddSparseSegmentKernels(KernelRegistry& k) {
  for (bool with_count : {false, true}) {
    const char* suffix = with_count ? "WithNumSegments" : "";
    auto add = [&](const char* name, SegmentOp op, DTypeSet types) {
      k.Add(absl::StrCat(name, suffix), kCpu, KernelDef().Types("T", types).Factory([op, with_count](const NodeInfo&) {
        return std::make_unique<SparseSegment>(op, with_count);
      }));
    };
    add("SparseSegmentSum", SegmentOp::kSum, kRealTypes);
    add("SparseSegmentMean", SegmentOp::kMean, kFloatingTypes);
    add("SparseSegmentSqrtN", SegmentOp::kSqrtN, kFloatingTypes);
  }
  auto grad = [&](const char* name, SegmentOp op) {
    k.Add(name, kCpu, KernelDef().Types("T", kFloatingTypes).Factory([op](const NodeInfo&) {
      return std::make_unique<SparseSegmentGrad>(op);
    }));
  };
  grad("SparseSegmentMeanGrad", SegmentOp::kMean);
  grad("SparseSegmentSqrtNGrad", SegmentOp::kSqrtN);
}

}  // namespace sluice
