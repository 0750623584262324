// Larger tensors: constant and mirrored padding, tiles.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The [rank, 2] paddings as a flat list, checked to be non-negative.
absl::StatusOr<IntList> ReadPaddings(const Tensor& t, int rank) {
  if (t.rank() != 2 || t.dim(0) != rank || t.dim(1) != 2) {
    return InvalidArgument("paddings must have shape [", rank, ",2], found ", t.shape().ToString());
  }
  IntList list = ReadInts(t);
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i] < 0) return InvalidArgument("paddings[", i / 2, ",", i % 2, "] = ", list[i], " is negative");
  }
  return list;
}

absl::StatusOr<Shape> PaddedShape(const Shape& in, const IntList& paddings) {
  IntList sizes(in.dims().begin(), in.dims().end());
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (__builtin_add_overflow(sizes[i], paddings[2 * i], &sizes[i]) ||
        __builtin_add_overflow(sizes[i], paddings[2 * i + 1], &sizes[i])) {
      return InvalidArgument("paddings of dimension ", i, " are too large");
    }
  }
  return Shape::Make(sizes);
}

class PadKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const IntList paddings, ReadPaddings(c.input(1), in.rank()));
    const bool has_value = c.num_inputs() > 2;
    if (has_value && c.input(2).rank() != 0) {
      return InvalidArgument("constant_values must be a scalar, found shape ", c.input(2).shape().ToString());
    }
    ASSIGN_OR_RETURN(const Shape shape, PaddedShape(in.shape(), paddings));
    if (shape == in.shape()) {
      c.SetOutput(0, in);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (has_value) {
      FillTensor(c, out, c.input(2).raw_data());
    } else {
      ZeroTensor(c, out);
    }
    if (in.num_elements() == 0) return absl::OkStatus();
    const IntList to = RowMajorStrides(shape), from = RowMajorStrides(in.shape());
    CopyDims dims;
    int64_t start = 0;
    for (int i = 0; i < in.rank(); ++i) {
      start += paddings[2 * i] * to[i];
      dims.push_back({in.dim(i), to[i], from[i]});
    }
    StridedCopy(c, in.dtype(), ElementAt(*out, start), in.raw_data(), dims);
    return absl::OkStatus();
  }
};

// The parts of one padded dimension: places [at, at + size) of the padded side are places first, first + step ... of
// the inner one.
struct MirrorPart {
  int64_t at, size, first, step;
};

class MirrorBase : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string mode, p.Attr<std::string>("mode"));
    edge_ = mode == "REFLECT" ? 1 : 0;
    return absl::OkStatus();
  }

 protected:
  absl::Status CheckMirror(const Shape& inner, const IntList& paddings) const {
    for (int i = 0; i < inner.rank(); ++i) {
      const int64_t most = inner.dim(i) - edge_;
      if (paddings[2 * i] > std::max<int64_t>(most, 0) || paddings[2 * i + 1] > std::max<int64_t>(most, 0)) {
        return InvalidArgument("paddings ", paddings[2 * i], " and ", paddings[2 * i + 1], " of dimension ", i,
                               " must be at most ", most, " for the size ", inner.dim(i));
      }
    }
    return absl::OkStatus();
  }
  // Calls visit(padded offset, inner offset, dims with `to` strides of the padded side) for each box.
  template <typename Visit>
  void VisitBoxes(const Shape& padded, const Shape& inner, const IntList& paddings, Visit&& visit) const {
    const IntList outer_strides = RowMajorStrides(padded), inner_strides = RowMajorStrides(inner);
    CopyDims dims(inner.rank());
    Visit1(padded, inner, paddings, outer_strides, inner_strides, 0, 0, 0, &dims, visit);
  }

 private:
  template <typename Visit>
  void Visit1(const Shape& padded, const Shape& inner, const IntList& paddings, const IntList& outer_strides,
              const IntList& inner_strides, int axis, int64_t outer_at, int64_t inner_at, CopyDims* dims,
              Visit& visit) const {
    if (axis == inner.rank()) return visit(outer_at, inner_at, *dims);
    const int64_t before = paddings[2 * axis], after = paddings[2 * axis + 1], size = inner.dim(axis);
    const MirrorPart parts[] = {
        {before, size, 0, 1}, {0, before, before - 1 + edge_, -1}, {before + size, after, size - 1 - edge_, -1}};
    for (const MirrorPart& p : parts) {
      if (p.size == 0) continue;
      (*dims)[axis] = {p.size, outer_strides[axis], p.step * inner_strides[axis]};
      Visit1(padded, inner, paddings, outer_strides, inner_strides, axis + 1, outer_at + p.at * outer_strides[axis],
             inner_at + p.first * inner_strides[axis], dims, visit);
    }
  }
  int64_t edge_ = 0;
};

class MirrorPadKernel : public MirrorBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const IntList paddings, ReadPaddings(c.input(1), in.rank()));
    RETURN_IF_ERROR(CheckMirror(in.shape(), paddings));
    ASSIGN_OR_RETURN(const Shape shape, PaddedShape(in.shape(), paddings));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    VisitBoxes(shape, in.shape(), paddings, [&](int64_t to, int64_t from, const CopyDims& dims) {
      StridedCopy(c, in.dtype(), ElementAt(*out, to), ElementAt(in, from), dims);
    });
    return absl::OkStatus();
  }
};

// to[...] += from[...] where the strides of `dims` are those of (from, to): the copy turned round.
template <typename T>
void AddBox(T* to, const T* from, absl::Span<const CopyDim> dims) {
  if (dims.empty()) {
    *to = *to + *from;
  } else if (dims.size() == 1) {
    for (int64_t i = 0; i < dims[0].size; ++i) to[i * dims[0].from] = to[i * dims[0].from] + from[i * dims[0].to];
  } else {
    for (int64_t i = 0; i < dims[0].size; ++i) AddBox(to + i * dims[0].from, from + i * dims[0].to, dims.subspan(1));
  }
}

class MirrorPadGradKernel : public MirrorBase {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const IntList paddings, ReadPaddings(c.input(1), in.rank()));
    Shape shape;
    for (int i = 0; i < in.rank(); ++i) {
      const int64_t before = paddings[2 * i], after = paddings[2 * i + 1];
      if (before > in.dim(i) || after > in.dim(i) - before) {
        return InvalidArgument("paddings ", before, " + ", after, " exceed dimension ", i, " of ",
                               in.shape().ToString());
      }
      shape.AddDim(in.dim(i) - before - after);
    }
    RETURN_IF_ERROR(CheckMirror(shape, paddings));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    ZeroTensor(c, out);
    if (out->num_elements() == 0) return absl::OkStatus();
    Dispatch<kArithmeticTypes.bits()>(in.dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      VisitBoxes(in.shape(), shape, paddings, [&](int64_t from, int64_t to, const CopyDims& dims) {
        AddBox(out->data<T>() + to, in.data<T>() + from, absl::MakeConstSpan(dims));
      });
    });
    return absl::OkStatus();
  }
};

class TileKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(IntList sizes, ReadIntVector(c.input(1), "multiples"));
    if (static_cast<int>(sizes.size()) != in.rank()) {
      return InvalidArgument("multiples has ", sizes.size(), " entries for an input of shape ", in.shape().ToString());
    }
    const IntList from = RowMajorStrides(in.shape());
    CopyDims dims;
    for (int i = 0; i < in.rank(); ++i) {
      const int64_t multiple = sizes[i];
      if (multiple < 0) return InvalidArgument("multiples[", i, "] = ", multiple, " is negative");
      if (__builtin_mul_overflow(multiple, in.dim(i), &sizes[i]))
        return InvalidArgument("multiples[", i, "] is too large");
      dims.push_back({multiple, 0, 0});
      dims.push_back({in.dim(i), 0, from[i]});
    }
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    if (shape == in.shape()) {
      c.SetOutput(0, in);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    const IntList to = RowMajorStrides(shape);
    for (int i = 0; i < in.rank(); ++i) {
      dims[2 * i].to = to[i] * in.dim(i);
      dims[2 * i + 1].to = to[i];
    }
    StridedCopy(c, in.dtype(), out->raw_data(), in.raw_data(), dims);
    return absl::OkStatus();
  }
};

}  // namespace

void AddPadKernels(KernelRegistry& k) {
  k.Add("Pad", kCpu, KernelDef().Make<PadKernel>());
  k.Add("PadV2", kCpu, KernelDef().Make<PadKernel>());
  k.Add("MirrorPad", kCpu, KernelDef().Make<MirrorPadKernel>());
  k.Add("MirrorPadGrad", kCpu, KernelDef().Types("T", kArithmeticTypes).Make<MirrorPadGradKernel>());
  k.Add("Tile", kCpu, KernelDef().Make<TileKernel>());
}

}  // namespace sluice
