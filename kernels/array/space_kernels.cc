// Blocks of space moved to the batch or to the channels, and patches of images.
#include "core/base/status.h"
#include "kernels/array/elements.h"
#include "kernels/array/strided_copy.h"
#include "kernels/array/topics.h"

namespace sluice {
namespace {

// The batch side is [block places * batch, blocks ..., rest], the space side [batch, places ..., rest]. Block place o
// of the batch side holds the places o, o + block ... of the padded space side.
absl::Status MoveBlocks(KernelContext& c, const IntList& block, const Tensor& table, bool to_batch) {
  const char* table_name = to_batch ? "paddings" : "crops";
  const Tensor& in = c.input(0);
  const int dims = static_cast<int>(block.size());
  if (table.rank() != 2 || table.dim(0) != dims || table.dim(1) != 2) {
    return InvalidArgument(table_name, " must have shape [", dims, ",2], found ", table.shape().ToString());
  }
  if (in.rank() < 1 + dims) {
    return InvalidArgument("input ", in.shape().ToString(), " needs a batch and ", dims, " block dimensions");
  }
  const IntList pads = ReadInts(table);
  IntList sizes(in.shape().dims().begin(), in.shape().dims().end());
  int64_t block_places = 1;
  for (int i = 0; i < dims; ++i) {
    const int64_t before = pads[2 * i], after = pads[2 * i + 1], b = block[i];
    if (b < 1) return InvalidArgument("block_shape[", i, "] = ", b, " must be positive");
    if (before < 0 || after < 0) {
      return InvalidArgument(table_name, "[", i, "] must be non-negative, found ", before, " and ", after);
    }
    if (__builtin_mul_overflow(block_places, b, &block_places)) return InvalidArgument("block_shape is too large");
    int64_t& size = sizes[i + 1];
    int64_t both;
    if (__builtin_add_overflow(before, after, &both)) return InvalidArgument(table_name, " are too large");
    if (to_batch) {
      if (__builtin_add_overflow(size, both, &size)) return InvalidArgument("paddings are too large");
      if (size % b != 0)
        return InvalidArgument("padded dimension ", i + 1, " of size ", size, " is not a multiple of block_shape ", b);
      size /= b;
    } else {
      if (__builtin_mul_overflow(size, b, &size)) return InvalidArgument("block_shape is too large");
      if (both > size) return InvalidArgument("crops[", i, "] take ", both, " of ", size, " places");
      size -= both;
    }
  }
  if (to_batch) {
    if (__builtin_mul_overflow(sizes[0], block_places, &sizes[0])) return InvalidArgument("block_shape is too large");
  } else {
    if (sizes[0] % block_places != 0) {
      return InvalidArgument("the batch of ", sizes[0], " is not a multiple of the ", block_places,
                             " places of a block");
    }
    sizes[0] /= block_places;
  }
  ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
  ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
  if (to_batch && std::any_of(pads.begin(), pads.end(), [](int64_t p) { return p != 0; })) ZeroTensor(c, out);
  if (out->num_elements() == 0 || in.num_elements() == 0) return absl::OkStatus();

  const Shape& batch_shape = to_batch ? shape : in.shape();
  const Shape& space_shape = to_batch ? in.shape() : shape;
  const IntList batch_strides = RowMajorStrides(batch_shape), space_strides = RowMajorStrides(space_shape);
  const int64_t batch = space_shape.dim(0);
  IntList place(dims, 0);
  for (int64_t p = 0; p < block_places; ++p) {
    CopyDims copy;
    const auto add = [&](int64_t size, int64_t batch_stride, int64_t space_stride) {
      copy.push_back(to_batch ? CopyDim{size, batch_stride, space_stride} : CopyDim{size, space_stride, batch_stride});
    };
    int64_t batch_at = p * batch * batch_strides[0], space_at = 0;
    add(batch, batch_strides[0], space_strides[0]);
    bool any = true;
    for (int i = 0; i < dims; ++i) {
      // Blocks j with 0 <= j * block + place - before < size.
      const int64_t b = block[i], shift = pads[2 * i] - place[i], size = space_shape.dim(i + 1);
      const int64_t first = shift <= 0 ? 0 : (shift + b - 1) / b;
      const int64_t last = size + shift <= 0 ? 0 : std::min((size + shift + b - 1) / b, batch_shape.dim(i + 1));
      any = any && first < last;
      batch_at += first * batch_strides[i + 1];
      space_at += (first * b - shift) * space_strides[i + 1];
      add(last - first, batch_strides[i + 1], b * space_strides[i + 1]);
    }
    for (int i = dims + 1; i < in.rank(); ++i) add(in.dim(i), batch_strides[i], space_strides[i]);
    if (any) {
      StridedCopy(c, in.dtype(), ElementAt(*out, to_batch ? batch_at : space_at),
                  ElementAt(in, to_batch ? space_at : batch_at), copy);
    }
    for (int i = dims - 1; i >= 0 && ++place[i] == block[i]; --i) place[i] = 0;
  }
  return absl::OkStatus();
}

template <bool kToBatch>
class BlockNdKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const IntList block, ReadIntVector(c.input(1), "block_shape"));
    return MoveBlocks(c, block, c.input(2), kToBatch);
  }
};

template <bool kToBatch>
class BlockKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(size_, p.Attr<int64_t>("block_size"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    if (c.input(0).rank() != 4)
      return InvalidArgument("the input must have rank 4, found ", c.input(0).shape().ToString());
    return MoveBlocks(c, {size_, size_}, c.input(1), kToBatch);
  }

 private:
  int64_t size_ = 2;
};

template <bool kToDepth>
class DepthKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(block_, p.Attr<int64_t>("block_size"));
    ASSIGN_OR_RETURN(const std::string format, p.Attr<std::string>("data_format"));
    nhwc_ = format == "NHWC";
    vect_ = format == "NCHW_VECT_C";
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    const int rank = vect_ ? 5 : 4;
    if (in.rank() != rank) return InvalidArgument("the input must have rank ", rank, ", found ", in.shape().ToString());
    const int h = nhwc_ ? 1 : 2, w = h + 1, channel = nhwc_ ? 3 : 1;
    const int64_t area = block_ > INT32_MAX ? 0 : block_ * block_;
    if (block_ < 2 || area == 0) return InvalidArgument("block_size ", block_, " is out of range");
    IntList sizes(in.shape().dims().begin(), in.shape().dims().end());
    const auto divide = [&](int d, int64_t by) {
      const bool divides = sizes[d] % by == 0;
      sizes[d] /= by;
      return divides;
    };
    const auto multiply = [&](int d, int64_t by) { return !__builtin_mul_overflow(sizes[d], by, &sizes[d]); };
    const bool fits = kToDepth ? divide(h, block_) && divide(w, block_) && multiply(channel, area)
                               : divide(channel, area) && multiply(h, block_) && multiply(w, block_);
    if (!fits) {
      return InvalidArgument("input ", in.shape().ToString(), " does not divide into blocks of block_size ", block_);
    }
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make(sizes));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    // The deep side [n, h, w, block row, block column, c] against the wide side [n, h, block row, w, block column, c].
    const Shape& deep = kToDepth ? shape : in.shape();
    const Shape& wide = kToDepth ? in.shape() : shape;
    const IntList ds = RowMajorStrides(deep), ws = RowMajorStrides(wide);
    const int64_t channels = wide.dim(channel);
    struct Both {
      int64_t size, deep, wide;
    };
    Both walk[] = {{deep.dim(0), ds[0], ws[0]},
                   {deep.dim(h), ds[h], ws[h] * block_},
                   {block_, channels * block_ * ds[channel], ws[h]},
                   {deep.dim(w), ds[w], ws[w] * block_},
                   {block_, channels * ds[channel], ws[w]},
                   {channels, ds[channel], ws[channel]},
                   {vect_ ? in.dim(4) : 1, 1, 1}};
    CopyDims dims;
    for (const Both& b : walk)
      dims.push_back(kToDepth ? CopyDim{b.size, b.deep, b.wide} : CopyDim{b.size, b.wide, b.deep});
    StridedCopy(c, in.dtype(), out->raw_data(), in.raw_data(), dims);
    return absl::OkStatus();
  }

 private:
  int64_t block_ = 2;
  bool nhwc_ = true, vect_ = false;
};

class ExtractImagePatchesKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    const char* const names[] = {"ksizes", "strides", "rates"};
    for (int i = 0; i < 3; ++i) {
      ASSIGN_OR_RETURN(const std::vector<int64_t> list, p.Attr<std::vector<int64_t>>(names[i]));
      if (list.size() != 4 || list[0] != 1 || list[3] != 1)
        return InvalidArgument(names[i], " must be [1, rows, columns, 1]");
      for (int d = 0; d < 2; ++d) {
        if (list[d + 1] < 1 || list[d + 1] > INT32_MAX)
          return InvalidArgument(names[i], " must be positive, found ", list[d + 1]);
        lists_[i][d] = list[d + 1];
      }
    }
    ASSIGN_OR_RETURN(const std::string padding, p.Attr<std::string>("padding"));
    same_ = padding == "SAME";
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    if (in.rank() != 4) return InvalidArgument("images must have rank 4, found ", in.shape().ToString());
    int64_t out_size[2], before[2];
    for (int d = 0; d < 2; ++d) {
      const int64_t window = (lists_[0][d] - 1) * lists_[2][d] + 1, stride = lists_[1][d], size = in.dim(d + 1);
      if (!same_ && (size - window + stride) / stride < 0) {
        return InvalidArgument("windows of ", window, " places are larger than dimension ", d + 1, " of ",
                               in.shape().ToString());
      }
      const int64_t covered = same_ ? size : size - window + 1;
      out_size[d] = covered <= 0 ? 0 : (covered + stride - 1) / stride;
      before[d] = same_ ? std::max<int64_t>((out_size[d] - 1) * stride + window - size, 0) / 2 : 0;
    }
    const int64_t channels = in.dim(3), rows = lists_[0][0], columns = lists_[0][1];
    int64_t depth;
    if (__builtin_mul_overflow(rows * columns, channels, &depth)) return InvalidArgument("ksizes are too large");
    ASSIGN_OR_RETURN(const Shape shape, Shape::Make({in.dim(0), out_size[0], out_size[1], depth}));
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, shape));
    if (out->num_elements() == 0) return absl::OkStatus();
    ZeroTensor(c, out);
    const size_t bytes = channels * ElementSize(in.dtype());
    const int64_t height = in.dim(1), width = in.dim(2);
    c.ParallelFor(
        in.dim(0) * out_size[0], out_size[1] * rows * columns * (5 + 0.1 * bytes), [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i) {
            const int64_t n = i / out_size[0], top = i % out_size[0] * lists_[1][0] - before[0];
            for (int64_t ox = 0; ox < out_size[1]; ++ox) {
              const int64_t left = ox * lists_[1][1] - before[1];
              char* to = static_cast<char*>(out->raw_data()) + (i * out_size[1] + ox) * rows * columns * bytes;
              for (int64_t r = 0; r < rows; ++r) {
                const int64_t y = top + r * lists_[2][0];
                for (int64_t k = 0; k < columns; ++k, to += bytes) {
                  const int64_t x = left + k * lists_[2][1];
                  if (y < 0 || y >= height || x < 0 || x >= width) continue;
                  std::memcpy(to, static_cast<const char*>(in.raw_data()) + ((n * height + y) * width + x) * bytes,
                              bytes);
                }
              }
            }
          }
        });
    return absl::OkStatus();
  }

 private:
  int64_t lists_[3][2] = {};  // ksizes, strides, rates of rows and columns
  bool same_ = false;
};

}  // namespace

void AddSpaceKernels(KernelRegistry& k) {
  k.Add("SpaceToBatchND", kCpu, KernelDef().Make<BlockNdKernel<true>>());
  k.Add("BatchToSpaceND", kCpu, KernelDef().Make<BlockNdKernel<false>>());
  k.Add("SpaceToBatch", kCpu, KernelDef().Make<BlockKernel<true>>());
  k.Add("BatchToSpace", kCpu, KernelDef().Make<BlockKernel<false>>());
  k.Add("SpaceToDepth", kCpu, KernelDef().Make<DepthKernel<true>>());
  k.Add("DepthToSpace", kCpu, KernelDef().Make<DepthKernel<false>>());
  k.Add("ExtractImagePatches", kCpu, KernelDef().Make<ExtractImagePatchesKernel>());
}

}  // namespace sluice
