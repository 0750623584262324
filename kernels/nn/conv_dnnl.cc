#include "kernels/nn/conv_dnnl.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <vector>

#include "core/base/status.h"
#include "kernels/nn/dnnl_library.h"

namespace sluice {
namespace {

constexpr double kFlopsPerNs = 150;  // of one thread, for deciding how far to split
constexpr double kMinPieceNs = 20e3;
constexpr int64_t kMaxPiecesPerThread = 2;  // more even out the load, fewer share the cost of starting

// Part of a convolution: images [image, image + shape.batch), rows of which start at these elements of input and
// output.
struct Piece {
  int64_t image = 0, input_offset = 0, output_offset = 0;
  ConvShape shape;
  int primitive = 0;
};

dnnl_memory_desc_t Desc(const DnnlApi& api, std::initializer_list<int64_t> head, const ConvShape& s,
                        int64_t WindowAxis::*size, dnnl_format_tag_t tag) {
  dnnl_dims_t dims;
  int n = 0;
  for (int64_t d : head) dims[n++] = d;
  for (int i = 3 - s.spatial; i < 3; ++i) dims[n++] = s.axes[i].*size;
  dnnl_memory_desc_t desc;
  std::memset(&desc, 0, sizeof desc);
  api.memory_desc_init_by_tag(&desc, n, dims, dnnl_f32, tag);
  return desc;
}

struct Descs {
  dnnl_memory_desc_t input, filter, output;
};

Descs PlainDescs(const DnnlApi& api, const ConvShape& s) {
  const dnnl_format_tag_t image = s.spatial == 3 ? dnnl_ndhwc : dnnl_nhwc;
  Descs d;
  d.input = Desc(api, {s.batch, s.in_channels}, s, &WindowAxis::input, image);
  d.output = Desc(api, {s.batch, s.out_channels}, s, &WindowAxis::output, image);
  if (s.groups == 1) {
    d.filter =
        Desc(api, {s.out_channels, s.in_channels}, s, &WindowAxis::filter, s.spatial == 3 ? dnnl_dhwio : dnnl_hwio);
  } else {
    d.filter = Desc(api, {s.groups, s.out_channels / s.groups, s.in_channels / s.groups}, s, &WindowAxis::filter,
                    s.spatial == 3 ? dnnl_dhwigo : dnnl_hwigo);
  }
  return d;
}

class Primitive {
 public:
  Primitive() = default;
  Primitive(Primitive&& o) noexcept { *this = std::move(o); }
  Primitive& operator=(Primitive&& o) noexcept {
    std::swap(primitive_, o.primitive_);
    filter = o.filter;
    scratch_bytes = o.scratch_bytes;
    return *this;
  }
  ~Primitive() {
    if (primitive_ != nullptr) Dnnl()->primitive_destroy(primitive_);
  }
  // `filter_desc` null lets oneDNN choose the order of the filter.
  bool Make(const ConvShape& s, ConvDirection direction, const dnnl_memory_desc_t* filter_desc);
  bool MakeReorder(const dnnl_memory_desc_t& from, const dnnl_memory_desc_t& to);
  dnnl_primitive_t get() const { return primitive_; }

  dnnl_memory_desc_t filter;
  size_t scratch_bytes = 0;

 private:
  bool Finish(dnnl_primitive_desc_t pd, bool with_filter, ConvDirection direction);
  dnnl_primitive_t primitive_ = nullptr;
};

bool Primitive::Make(const ConvShape& s, ConvDirection direction, const dnnl_memory_desc_t* filter_desc) {
  const DnnlApi& api = *Dnnl();
  Descs d = PlainDescs(api, s);
  if (filter_desc != nullptr) {
    d.filter = *filter_desc;
  } else {
    dnnl_memory_desc_t any;
    std::memset(&any, 0, sizeof any);
    api.memory_desc_init_by_tag(&any, d.filter.ndims, d.filter.dims, dnnl_f32, dnnl_format_tag_any);
    d.filter = any;
  }
  dnnl_dims_t strides, dilations, before, after;
  for (int i = 0; i < s.spatial; ++i) {
    const WindowAxis& a = s.axes[3 - s.spatial + i];
    strides[i] = a.stride;
    dilations[i] = a.dilation - 1;
    before[i] = a.pad_before;
    after[i] = a.pad_after;
  }
  auto pd_of = [&](ConvDirection which, dnnl_primitive_desc_t hint, dnnl_primitive_desc_t* pd) {
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;
    if (which == ConvDirection::kForward) {
      status = api.convolution_forward_desc_init(&desc, dnnl_forward_training, dnnl_convolution_direct, &d.input,
                                                 &d.filter, nullptr, &d.output, strides, dilations, before, after);
    } else if (which == ConvDirection::kBackwardInput) {
      status = api.convolution_backward_data_desc_init(&desc, dnnl_convolution_direct, &d.input, &d.filter, &d.output,
                                                       strides, dilations, before, after);
    } else {
      status = api.convolution_backward_weights_desc_init(&desc, dnnl_convolution_direct, &d.input, &d.filter, nullptr,
                                                          &d.output, strides, dilations, before, after);
    }
    if (status != dnnl_success) return false;
    dnnl_primitive_attr_t attr = nullptr;
    if (api.primitive_attr_create(&attr) != dnnl_success) return false;
    api.primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    status = api.primitive_desc_create(pd, &desc, attr, api.engine, hint);
    api.primitive_attr_destroy(attr);
    return status == dnnl_success;
  };
  dnnl_primitive_desc_t hint = nullptr, pd = nullptr;
  bool ok = direction == ConvDirection::kForward || pd_of(ConvDirection::kForward, nullptr, &hint);
  ok = ok && pd_of(direction, hint, &pd);
  if (hint != nullptr) api.primitive_desc_destroy(hint);
  return ok && Finish(pd, true, direction);
}

bool Primitive::Finish(dnnl_primitive_desc_t pd, bool with_filter, ConvDirection direction) {
  const DnnlApi& api = *Dnnl();
  if (with_filter) {
    const bool gradient = direction == ConvDirection::kBackwardFilter;
    filter = *api.primitive_desc_query_md(pd, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
  }
  const dnnl_memory_desc_t* scratch = api.primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
  scratch_bytes = scratch == nullptr ? 0 : api.memory_desc_get_size(scratch);
  const dnnl_status_t status = api.primitive_create(&primitive_, pd);
  api.primitive_desc_destroy(pd);
  return status == dnnl_success;
}

bool Primitive::MakeReorder(const dnnl_memory_desc_t& from, const dnnl_memory_desc_t& to) {
  const DnnlApi& api = *Dnnl();
  dnnl_primitive_attr_t attr = nullptr;
  if (api.primitive_attr_create(&attr) != dnnl_success) return false;
  api.primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
  dnnl_primitive_desc_t pd = nullptr;
  const dnnl_status_t status = api.reorder_primitive_desc_create(&pd, &from, api.engine, &to, api.engine, attr);
  api.primitive_attr_destroy(attr);
  return status == dnnl_success && Finish(pd, false, ConvDirection::kForward);
}

// Each thread has a stream of its own, which ends with it.
class ThreadStream {
 public:
  ThreadStream() { Dnnl()->stream_create(&stream_, Dnnl()->engine, dnnl_stream_default_flags); }
  ~ThreadStream() {
    if (stream_ != nullptr) Dnnl()->stream_destroy(stream_);
  }
  dnnl_stream_t get() const { return stream_; }

 private:
  dnnl_stream_t stream_ = nullptr;
};

dnnl_stream_t Stream() {
  thread_local const ThreadStream stream;
  return stream.get();
}

struct Argument {
  int role;
  const dnnl_memory_desc_t* desc;
  const void* data;
};

bool Execute(const Primitive& p, std::initializer_list<Argument> arguments) {
  const DnnlApi& api = *Dnnl();
  OneThread one;
  dnnl_exec_arg_t args[5];
  int n = 0;
  bool ok = true;
  for (const Argument& a : arguments) {
    args[n].arg = a.role;
    args[n].memory = nullptr;
    ok = ok && api.memory_create(&args[n].memory, a.desc, api.engine, const_cast<void*>(a.data)) == dnnl_success;
    ++n;
  }
  ok = ok && api.primitive_execute(p.get(), Stream(), n, args) == dnnl_success;
  for (int i = 0; i < n; ++i) {
    if (args[i].memory != nullptr) api.memory_destroy(args[i].memory);
  }
  return ok;
}

dnnl_memory_desc_t ScratchDesc(size_t bytes) {
  dnnl_memory_desc_t desc;
  std::memset(&desc, 0, sizeof desc);
  dnnl_dims_t dims = {static_cast<dnnl_dim_t>(bytes)};
  Dnnl()->memory_desc_init_by_tag(&desc, 1, dims, dnnl_u8, dnnl_a);
  return desc;
}

// Rows [begin, end) of the first axis that counts, of one image.
Piece RowPiece(const ConvShape& s, int64_t image, int64_t begin, int64_t end) {
  const int axis = 3 - s.spatial;
  Piece p;
  p.image = image;
  p.shape = s;
  p.shape.batch = 1;
  WindowAxis& a = p.shape.axes[axis];
  const WindowAxis& whole = s.axes[axis];
  const int64_t first = begin * whole.stride - whole.pad_before;
  const int64_t last = (end - 1) * whole.stride - whole.pad_before + (whole.filter - 1) * whole.dilation + 1;
  const int64_t from = std::clamp<int64_t>(first, 0, whole.input), to = std::clamp<int64_t>(last, from, whole.input);
  a.input = to - from;
  a.output = end - begin;
  a.pad_before = from - first;
  a.pad_after = last - to;
  p.input_offset = image * s.in_positions() * s.in_channels + from * (s.in_positions() / whole.input) * s.in_channels;
  p.output_offset =
      image * s.out_positions() * s.out_channels + begin * (s.out_positions() / whole.output) * s.out_channels;
  return p;
}

std::vector<Piece> Cut(const ConvShape& s, ConvDirection direction, int parallelism) {
  const double ns = s.flops() / kFlopsPerNs;
  int64_t count = parallelism <= 1 ? 1 : std::min<int64_t>(parallelism * kMaxPiecesPerThread, ns / kMinPieceNs);
  if (direction == ConvDirection::kBackwardFilter)
    count = std::min<int64_t>(count, parallelism);  // each has a filter of its own
  count = std::max<int64_t>(count, 1);
  std::vector<Piece> pieces;
  const WindowAxis& rows = s.axes[3 - s.spatial];
  const int64_t per_image = direction == ConvDirection::kBackwardInput ? 1 : std::min(rows.output, count / s.batch);
  if (s.batch < count && per_image > 1) {
    for (int64_t image = 0; image < s.batch; ++image) {
      for (int64_t i = 0; i < per_image; ++i) {
        Piece p = RowPiece(s, image, rows.output * i / per_image, rows.output * (i + 1) / per_image);
        if (p.shape.axes[3 - s.spatial].input == 0) return {};  // rows that see padding alone
        pieces.push_back(p);
      }
    }
    return pieces;
  }
  count = std::min(count, s.batch);
  for (int64_t i = 0; i < count; ++i) {
    Piece p;
    p.image = s.batch * i / count;
    p.shape = s;
    p.shape.batch = s.batch * (i + 1) / count - p.image;
    p.input_offset = p.image * s.in_positions() * s.in_channels;
    p.output_offset = p.image * s.out_positions() * s.out_channels;
    pieces.push_back(p);
  }
  return pieces;
}

class DnnlConv : public ConvAlgorithm {
 public:
  DnnlConv(const ConvShape& shape, ConvDirection direction) : shape_(shape), direction_(direction) {}
  bool Build(int parallelism);
  absl::Status KeepFilter(const float* filter) override;
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override;

 private:
  bool RunPiece(const Piece& p, const float* a, const float* b, float* out, char* scratch) const;

  const ConvShape shape_;
  const ConvDirection direction_;
  std::vector<Piece> pieces_;
  std::vector<Primitive> primitives_;
  std::vector<ConvShape> shapes_;    // of each primitive
  std::vector<Descs> descs_;         // of its images
  dnnl_memory_desc_t plain_filter_;  // TensorFlow's order
  dnnl_memory_desc_t filter_;        // oneDNN's choice
  bool reorder_filter_ = false;
  Primitive reorder_;
  size_t filter_bytes_ = 0, scratch_bytes_ = 0;
  std::unique_ptr<char[]> kept_bytes_;  // of a filter that never changes
  const float* kept_ = nullptr;
};

bool DnnlConv::Build(int parallelism) {
  OneThread one;
  const DnnlApi& api = *Dnnl();
  pieces_ = Cut(shape_, direction_, parallelism);
  if (pieces_.empty()) return false;
  for (Piece& p : pieces_) {
    size_t known = 0;
    while (known < primitives_.size() && !(p.shape == shapes_[known])) ++known;
    if (known == primitives_.size()) {
      Primitive made;
      if (!made.Make(p.shape, direction_, primitives_.empty() ? nullptr : &filter_)) return false;
      if (primitives_.empty()) filter_ = made.filter;
      scratch_bytes_ = std::max(scratch_bytes_, made.scratch_bytes);
      descs_.push_back(PlainDescs(api, p.shape));
      shapes_.push_back(p.shape);
      primitives_.push_back(std::move(made));
    }
    p.primitive = static_cast<int>(known);
  }
  plain_filter_ = PlainDescs(api, shape_).filter;
  filter_bytes_ = (api.memory_desc_get_size(&filter_) + 63) / 64 * 64;
  scratch_bytes_ = (scratch_bytes_ + 63) / 64 * 64;
  reorder_filter_ = !api.memory_desc_equal(&filter_, &plain_filter_);
  if (!reorder_filter_) return true;
  return direction_ == ConvDirection::kBackwardFilter ? reorder_.MakeReorder(filter_, plain_filter_)
                                                      : reorder_.MakeReorder(plain_filter_, filter_);
}

bool DnnlConv::RunPiece(const Piece& p, const float* a, const float* b, float* out, char* scratch) const {
  const Primitive& primitive = primitives_[p.primitive];
  const Descs& d = descs_[p.primitive];
  const dnnl_memory_desc_t scratch_desc = ScratchDesc(primitive.scratch_bytes);
  switch (direction_) {
    case ConvDirection::kForward:
      return Execute(primitive, {{DNNL_ARG_SRC, &d.input, a + p.input_offset},
                                 {DNNL_ARG_WEIGHTS, &filter_, b},
                                 {DNNL_ARG_DST, &d.output, out + p.output_offset},
                                 {DNNL_ARG_SCRATCHPAD, &scratch_desc, scratch}});
    case ConvDirection::kBackwardInput:
      return Execute(primitive, {{DNNL_ARG_DIFF_DST, &d.output, a + p.output_offset},
                                 {DNNL_ARG_WEIGHTS, &filter_, b},
                                 {DNNL_ARG_DIFF_SRC, &d.input, out + p.input_offset},
                                 {DNNL_ARG_SCRATCHPAD, &scratch_desc, scratch}});
    case ConvDirection::kBackwardFilter:
      return Execute(primitive, {{DNNL_ARG_SRC, &d.input, a + p.input_offset},
                                 {DNNL_ARG_DIFF_DST, &d.output, b + p.output_offset},
                                 {DNNL_ARG_DIFF_WEIGHTS, &filter_, out},
                                 {DNNL_ARG_SCRATCHPAD, &scratch_desc, scratch}});
  }
  return false;
}

absl::Status DnnlConv::KeepFilter(const float* filter) {
  if (!reorder_filter_) return absl::OkStatus();
  kept_bytes_.reset(new (std::nothrow) char[filter_bytes_ + 64]);
  if (kept_bytes_ == nullptr) return ResourceExhausted("no memory for a filter of ", filter_bytes_, " bytes");
  char* to = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(kept_bytes_.get()) + 63) / 64 * 64);
  if (!Execute(reorder_, {{DNNL_ARG_FROM, &plain_filter_, filter}, {DNNL_ARG_TO, &filter_, to}})) {
    return Internal("oneDNN failed to reorder a filter");
  }
  kept_ = reinterpret_cast<const float*>(to);
  return absl::OkStatus();
}

absl::Status DnnlConv::Run(KernelContext& c, const float* a, const float* b, float* out) const {
  const int64_t count = static_cast<int64_t>(pieces_.size());
  const bool filter_gradient = direction_ == ConvDirection::kBackwardFilter;
  const int64_t filters =
      filter_gradient ? (count > 1 || reorder_filter_ ? count : 0) : (reorder_filter_ && kept_ == nullptr ? 1 : 0);
  const int64_t bytes = filters * filter_bytes_ + count * scratch_bytes_ + 64;
  ASSIGN_OR_RETURN(Tensor temp, c.AllocateTemp(DType::kUint8, Shape({bytes})));
  char* base = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(temp.raw_data()) + 63) / 64 * 64);
  char* scratch = base + filters * filter_bytes_;
  std::atomic<bool> ok{true};
  if (kept_ != nullptr) {
    b = kept_;
  } else if (!filter_gradient && reorder_filter_) {
    ok = Execute(reorder_, {{DNNL_ARG_FROM, &plain_filter_, b}, {DNNL_ARG_TO, &filter_, base}});
    b = reinterpret_cast<const float*>(base);
  }
  c.ParallelFor(count, shape_.flops() / kFlopsPerNs / count, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float* to = filter_gradient && filters > 0 ? reinterpret_cast<float*>(base + i * filter_bytes_) : out;
      if (!RunPiece(pieces_[i], a, b, to, scratch + i * scratch_bytes_)) ok = false;
    }
  });
  if (filter_gradient && filters > 0) {
    float* sum = reinterpret_cast<float*>(base);
    const int64_t n = static_cast<int64_t>(filter_bytes_ / sizeof(float));
    c.ParallelFor(
        n, 0.1 * count,
        [&](int64_t begin, int64_t end) {
          for (int64_t piece = 1; piece < count; ++piece) {
            const float* part = reinterpret_cast<const float*>(base + piece * filter_bytes_);
            for (int64_t i = begin; i < end; ++i) sum[i] += part[i];
          }
        },
        16);
    if (reorder_filter_) {
      ok = ok && Execute(reorder_, {{DNNL_ARG_FROM, &filter_, sum}, {DNNL_ARG_TO, &plain_filter_, out}});
    } else {
      std::memcpy(out, sum, shape_.filter_elements() * sizeof(float));
    }
  }
  return ok ? absl::OkStatus() : Internal("oneDNN failed to run a convolution");
}

}  // namespace

std::unique_ptr<ConvAlgorithm> MakeDnnlConv(const ConvShape& shape, ConvDirection direction, int parallelism) {
  if (Dnnl() == nullptr) return nullptr;
  auto conv = std::make_unique<DnnlConv>(shape, direction);
  if (!conv->Build(parallelism)) return nullptr;
  return conv;
}

}  // namespace sluice
