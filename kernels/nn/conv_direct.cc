#include "kernels/nn/conv_direct.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "core/base/status.h"
#include "kernels/common/gemm_direct.h"
#include "kernels/nn/conv_scratch.h"
#include "kernels/nn/conv_tiles.h"

namespace sluice {
namespace {

using internal::CopyPanel;
using internal::FreeDeleter;
using internal::GemmScratch;
using internal::TurnPanel;

constexpr double kFlopsPerNs = 100;         // of one thread, for deciding how far to share
constexpr int64_t kGroupBytes = 384 << 10;  // of images and gradients that stay in the second-level cache
constexpr int64_t kRowBytes = 16 << 10;     // of rows of a gradient that stay in the first-level cache
constexpr int64_t kPadChannels = 7;         // up to so many, taps of a row are too short a run
constexpr int64_t kWantedUnits = 32;        // of work in a gradient of a filter, to share among threads

// Positions [begin, end) of the output whose tap `k` lies in the input.
struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
Range Covered(const WindowAxis& a, int64_t k) {
  const int64_t shift = a.pad_before - k * a.dilation;  // output o reads input o * stride - shift
  const int64_t begin = shift > 0 ? (shift + a.stride - 1) / a.stride : 0;
  const int64_t last = a.input - 1 + shift;
  const int64_t end = last < 0 ? 0 : std::min(a.output, last / a.stride + 1);
  return {std::min(begin, end), end};
}

// Cuts n into pieces of up to `most`, as even as can be.
std::vector<Range> Even(int64_t n, int64_t most) {
  const int64_t count = (n + most - 1) / most;
  std::vector<Range> pieces;
  for (int64_t i = 0; i < count; ++i) pieces.push_back({n * i / count, n * (i + 1) / count});
  return pieces;
}

bool HasStrides(const ConvShape& s) {
  return std::any_of(s.axes.begin(), s.axes.end(), [](const WindowAxis& a) { return a.stride != 1; });
}

class DirectForward : public ConvAlgorithm {
 public:
  DirectForward(const ConvShape& s, bool turned, const ConvTiles& tiles);
  absl::Status KeepFilter(const float* filter) override;
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override;

 private:
  // Pixels of an output row that are one tile, and their taps: those of the runs [first, last).
  struct Columns {
    Range pixels;
    int64_t first_run, last_run;
  };

  int64_t panel_width() const { return 2 * tiles_.vector; }
  int64_t taps() const { return s_.filter_positions() * s_.in_channels; }
  // Packs the taps of one position of the filter for one panel.
  void Pack(const float* filter, int64_t panel, int64_t position, float* packed) const;
  void RunRow(const float* image, const float* panel, int64_t width, int64_t columns, int64_t row, float* y) const;

  const ConvShape s_;
  const bool turned_;  // filters come with input and output exchanged
  const ConvTiles& tiles_;
  int64_t panels_ = 0, packed_floats_ = 0;
  std::vector<ConvTapRow> rows_;
  std::vector<int64_t> first_row_;  // for each row of the output, and one more
  std::vector<ConvTapRun> runs_;
  std::vector<Columns> columns_;
  std::unique_ptr<float, FreeDeleter> kept_;
};

DirectForward::DirectForward(const ConvShape& s, bool turned, const ConvTiles& tiles)
    : s_(s), turned_(turned), tiles_(tiles) {
  const WindowAxis &z = s.axes[0], &y = s.axes[1], &x = s.axes[2];
  const int64_t channels = s.in_channels, half = tiles.vector;
  panels_ = (s.out_channels + 2 * half - 1) / (2 * half);
  packed_floats_ = taps() * ((s.out_channels + half - 1) / half * half);
  for (int64_t oz = 0; oz < z.output; ++oz) {
    for (int64_t oy = 0; oy < y.output; ++oy) {
      first_row_.push_back(static_cast<int64_t>(rows_.size()));
      for (int64_t kz = 0; kz < z.filter; ++kz) {
        const int64_t iz = oz * z.stride + kz * z.dilation - z.pad_before;
        if (iz < 0 || iz >= z.input) continue;
        for (int64_t ky = 0; ky < y.filter; ++ky) {
          const int64_t iy = oy * y.stride + ky * y.dilation - y.pad_before;
          if (iy < 0 || iy >= y.input) continue;
          rows_.push_back({(iz * y.input + iy) * x.input * channels, (kz * y.filter + ky) * x.filter * channels});
        }
      }
    }
  }
  first_row_.push_back(static_cast<int64_t>(rows_.size()));
  for (const Range& pixels : Even(x.output, tiles.height)) {
    const int64_t first = static_cast<int64_t>(runs_.size());
    for (int64_t k = 0; k < x.filter; ++k) {
      const Range covered = Covered(x, k);
      uint32_t mask = 0;
      for (int64_t p = std::max(pixels.begin, covered.begin); p < std::min(pixels.end, covered.end); ++p) {
        mask |= 1u << (p - pixels.begin);
      }
      if (mask == 0) continue;
      const ConvTapRun run{(pixels.begin * x.stride + k * x.dilation - x.pad_before) * channels, k * channels, channels,
                           mask};
      ConvTapRun* last = static_cast<int64_t>(runs_.size()) > first ? &runs_.back() : nullptr;
      if (last != nullptr && last->pixels == mask && last->x + last->length == run.x &&
          last->filter + last->length == run.filter) {
        last->length += channels;
      } else {
        runs_.push_back(run);
      }
    }
    columns_.push_back({pixels, first, static_cast<int64_t>(runs_.size())});
  }
}

void DirectForward::Pack(const float* filter, int64_t panel, int64_t position, float* packed) const {
  const int64_t from = panel * panel_width(), columns = std::min(panel_width(), s_.out_channels - from);
  const int64_t width = columns > tiles_.vector ? panel_width() : tiles_.vector;
  float* to = packed + from * taps() + position * s_.in_channels * width;
  if (turned_) {
    const int64_t other = s_.filter_positions() - 1 - position;
    TurnPanel(filter + (other * s_.out_channels + from) * s_.in_channels, s_.in_channels, s_.in_channels, columns,
              width, to);
    return;
  }
  const float* f = filter + position * s_.in_channels * s_.out_channels + from;
  if (columns < width) return CopyPanel(f, s_.out_channels, s_.in_channels, columns, width, to);
  for (int64_t i = 0; i < s_.in_channels; ++i) {
    std::memcpy(to + i * width, f + i * s_.out_channels, static_cast<size_t>(width) * sizeof(float));
  }
}

absl::Status DirectForward::KeepFilter(const float* filter) {
  const size_t bytes = (static_cast<size_t>(packed_floats_) * sizeof(float) + 63) / 64 * 64;
  kept_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
  if (kept_ == nullptr) return ResourceExhausted("no memory for a filter of ", bytes, " bytes");
  for (int64_t panel = 0; panel < panels_; ++panel) {
    for (int64_t i = 0; i < s_.filter_positions(); ++i) Pack(filter, panel, i, kept_.get());
  }
  return absl::OkStatus();
}

// One row of the output, of the channels of one panel.
void DirectForward::RunRow(const float* image, const float* panel, int64_t width, int64_t columns, int64_t row,
                           float* y) const {
  ConvForwardTile t;
  t.x = image;
  t.pixel_step = s_.axes[2].stride * s_.in_channels;
  t.rows = rows_.data() + first_row_[row];
  t.num_rows = first_row_[row + 1] - first_row_[row];
  t.panel = panel;
  t.y_step = s_.out_channels;
  t.columns = columns;
  for (const Columns& c : columns_) {
    t.runs = runs_.data() + c.first_run;
    t.num_runs = c.last_run - c.first_run;
    t.y = y + c.pixels.begin * s_.out_channels;
    tiles_.forward[c.pixels.size() - 1][width / tiles_.vector - 1](t);
  }
}

absl::Status DirectForward::Run(KernelContext& c, const float* a, const float* b, float* out) const {
  const float* packed = kept_.get();
  ConvScratch scratch;
  if (packed == nullptr) {
    ASSIGN_OR_RETURN(float* to, scratch.Get(c, packed_floats_));
    const int64_t positions = s_.filter_positions();
    c.ParallelFor(panels_ * positions, 0.2 * s_.in_channels * panel_width(), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) Pack(b, i / positions, i % positions, to);
    });
    packed = to;
  }
  const int64_t image = s_.in_positions() * s_.in_channels, result = s_.out_positions() * s_.out_channels;
  const int64_t rows = s_.axes[0].output * s_.axes[1].output, row_size = s_.axes[2].output * s_.out_channels;
  const int64_t total = s_.batch * panels_ * rows;
  c.ParallelFor(total, s_.flops() / kFlopsPerNs / static_cast<double>(total), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i % rows, panel = i / rows % panels_, n = i / rows / panels_;
      const int64_t from = panel * panel_width(), columns = std::min(panel_width(), s_.out_channels - from);
      const int64_t width = columns > tiles_.vector ? panel_width() : tiles_.vector;
      RunRow(a + n * image, packed + from * taps(), width, columns, row, out + n * result + row * row_size + from);
    }
  });
  return absl::OkStatus();
}

class DirectGradient : public ConvAlgorithm {
 public:
  DirectGradient(const ConvShape& s, const ConvTiles& tiles);
  absl::Status KeepFilter(const float*) override { return absl::OkStatus(); }
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override;

 private:
  // Rows of the filter's gradient that are one tile, and the outputs that count for them.
  struct Unit {
    int64_t filter_row, height;
    Range slices, rows, pixels;  // of the output
    int64_t x;                   // from the image to the first row of the first output
  };

  int64_t units() const { return panels_ * static_cast<int64_t>(units_.size()); }
  // Images [begin, end) into units [first, last) of the gradient at df, which is added to if `add`.
  bool RunGroup(const float* x, const float* dy, Range images, Range range, bool add, float* df) const;

  const ConvShape s_;
  const ConvTiles& tiles_;
  bool padded_ = false;  // rows of an image are copied, with their padding
  int64_t x_width_ = 0;  // pixels of a row as the tiles see it
  int64_t panels_ = 0, pieces_ = 1, group_ = 1;
  int64_t rows_at_once_ = 0;  // of the output, that go through all units before the next
  std::vector<Unit> units_;   // of one panel
};

DirectGradient::DirectGradient(const ConvShape& s, const ConvTiles& tiles) : s_(s), tiles_(tiles) {
  const WindowAxis &z = s.axes[0], &y = s.axes[1], &x = s.axes[2];
  const int64_t channels = s.in_channels, width = 2 * tiles.vector;
  padded_ = x.filter > 1 && x.dilation == 1 && channels <= kPadChannels;
  x_width_ = padded_ ? (x.output - 1) * x.stride + x.filter : x.input;
  panels_ = (s.out_channels + width - 1) / width;
  for (int64_t kz = 0; kz < z.filter; ++kz) {
    for (int64_t ky = 0; ky < y.filter; ++ky) {
      for (int64_t kx = 0; kx < (padded_ ? 1 : x.filter); ++kx) {
        Unit u;
        u.slices = Covered(z, kz);
        u.rows = Covered(y, ky);
        u.pixels = padded_ ? Range{0, x.output} : Covered(x, kx);
        const int64_t iz = u.slices.begin * z.stride + kz * z.dilation - z.pad_before;
        const int64_t iy = u.rows.begin * y.stride + ky * y.dilation - y.pad_before;
        const int64_t ix = padded_ ? 0 : u.pixels.begin * x.stride + kx * x.dilation - x.pad_before;
        const int64_t tap = ((kz * y.filter + ky) * x.filter + kx) * channels;
        for (const Range& r : Even(padded_ ? x.filter * channels : channels, tiles.height)) {
          u.filter_row = tap + r.begin;
          u.height = r.size();
          u.x = ((iz * y.input + iy) * x_width_ + ix) * channels + r.begin;
          units_.push_back(u);
        }
      }
    }
  }
  const int64_t bytes = (s.in_positions() * channels + s.out_positions() * s.out_channels) * int64_t{sizeof(float)};
  // Small tiles read the output's gradient often: it had better be in the first-level cache.
  const int64_t row_bytes = x.output * width * int64_t{sizeof(float)};
  rows_at_once_ = padded_ ? std::clamp<int64_t>(kRowBytes / row_bytes, 1, y.output) : y.output;
  group_ = rows_at_once_ < y.output ? 1 : std::clamp<int64_t>(kGroupBytes / bytes, 1, s.batch);
  pieces_ = std::clamp<int64_t>((kWantedUnits + units() - 1) / units(), 1, s.batch);
}

bool DirectGradient::RunGroup(const float* x, const float* dy, Range images, Range range, bool add, float* df) const {
  const WindowAxis &z_axis = s_.axes[0], &y_axis = s_.axes[1], &x_axis = s_.axes[2];
  const int64_t channels = s_.in_channels, width = 2 * tiles_.vector, count = static_cast<int64_t>(units_.size());
  ConvGradientTile t;
  t.images = images.size();
  t.x.row = y_axis.stride * x_width_ * channels;
  t.x.slice = z_axis.stride * y_axis.input * x_width_ * channels;
  t.x.image = z_axis.input * y_axis.input * x_width_ * channels;
  t.x.pixel = x_axis.stride * channels;
  t.df_step = s_.out_channels;
  x += images.begin * s_.in_positions() * channels;
  dy += images.begin * s_.out_positions() * s_.out_channels;
  if (padded_) {
    float* copy = static_cast<float*>(GemmScratch(0, static_cast<size_t>(t.x.image * t.images) * sizeof(float)));
    if (copy == nullptr) return false;
    const int64_t pad = x_axis.pad_before;
    const Range inside{std::clamp<int64_t>(pad, 0, x_width_), std::clamp<int64_t>(x_axis.input + pad, 0, x_width_)};
    for (int64_t i = 0; i < t.images * z_axis.input * y_axis.input; ++i) {
      float* to = copy + i * x_width_ * channels;
      const float* from = x + i * x_axis.input * channels;
      std::fill(to, to + inside.begin * channels, 0.f);
      std::copy(from + (inside.begin - pad) * channels, from + (inside.end - pad) * channels,
                to + inside.begin * channels);
      std::fill(to + inside.end * channels, to + x_width_ * channels, 0.f);
    }
    x = copy;
  }
  for (int64_t i = range.begin; i < range.end;) {
    const int64_t panel = i / count, last = std::min(range.end, (panel + 1) * count);
    const int64_t from = panel * width, columns = std::min(width, s_.out_channels - from);
    const int vectors = columns > tiles_.vector ? 2 : 1;
    const float* g = dy + from;
    t.columns = columns;
    t.dy.pixel = s_.out_channels;
    if (columns < vectors * tiles_.vector) {  // vectors would reach beyond the last pixel
      const int64_t pixels = t.images * s_.out_positions();
      t.dy.pixel = vectors * tiles_.vector;
      float* copy = static_cast<float*>(GemmScratch(1, static_cast<size_t>(pixels * t.dy.pixel) * sizeof(float)));
      if (copy == nullptr) return false;
      CopyPanel(g, s_.out_channels, pixels, columns, t.dy.pixel, copy);
      g = copy;
    }
    t.dy.row = x_axis.output * t.dy.pixel;
    t.dy.slice = y_axis.output * t.dy.row;
    t.dy.image = z_axis.output * t.dy.slice;
    for (int64_t row = 0; row < y_axis.output; row += rows_at_once_) {
      t.add = add || row > 0;
      for (int64_t j = i; j < last; ++j) {
        const Unit& u = units_[j - panel * count];
        const int64_t begin = std::max(row, u.rows.begin), end = std::min(row + rows_at_once_, u.rows.end);
        t.slices = u.slices.size();
        t.rows = std::max<int64_t>(0, end - begin);
        t.pixels = u.pixels.size();
        t.x.at = x + u.x + (begin - u.rows.begin) * t.x.row;
        t.dy.at = g + u.slices.begin * t.dy.slice + begin * t.dy.row + u.pixels.begin * t.dy.pixel;
        t.df = df + u.filter_row * s_.out_channels + from;
        tiles_.gradient[u.height - 1][vectors - 1](t);
      }
    }
    i = last;
  }
  return true;
}

absl::Status DirectGradient::Run(KernelContext& c, const float* a, const float* b, float* out) const {
  const int64_t size = s_.filter_elements(), total = pieces_ * units();
  ConvScratch scratch;
  float* sums = out;
  if (pieces_ > 1) {
    ASSIGN_OR_RETURN(sums, scratch.Get(c, pieces_ * size));
  }
  std::atomic<bool> ok{true};
  c.ParallelFor(total, s_.flops() / kFlopsPerNs / static_cast<double>(total), [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t piece = begin / units(), first = begin % units();
      const int64_t last = std::min(units(), first + end - begin);
      const int64_t from = s_.batch * piece / pieces_, to = s_.batch * (piece + 1) / pieces_;
      for (int64_t n = from; n < to; n += group_) {
        if (!RunGroup(a, b, {n, std::min(n + group_, to)}, {first, last}, n > from, sums + piece * size)) ok = false;
      }
      begin += last - first;
    }
  });
  if (!ok) return ResourceExhausted("no memory for the padded images of a convolution");
  if (pieces_ == 1) return absl::OkStatus();
  c.ParallelFor(
      size, 0.1 * static_cast<double>(pieces_),
      [&](int64_t begin, int64_t end) {
        std::copy(sums + begin, sums + end, out + begin);
        for (int64_t piece = 1; piece < pieces_; ++piece) {
          const float* part = sums + piece * size;
          for (int64_t i = begin; i < end; ++i) out[i] += part[i];
        }
      },
      16);
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<ConvAlgorithm> MakeDirectConv(const ConvShape& s, ConvDirection direction, CpuIsa isa) {
  if (s.groups != 1) return nullptr;
  const ConvTiles& tiles = ConvTilesOf(isa);
  switch (direction) {
    case ConvDirection::kForward:
      return std::make_unique<DirectForward>(s, false, tiles);
    case ConvDirection::kBackwardInput:
      if (HasStrides(s)) return nullptr;
      return std::make_unique<DirectForward>(TurnedConv(s), true, tiles);
    case ConvDirection::kBackwardFilter:
      return std::make_unique<DirectGradient>(s, tiles);
  }
  return nullptr;
}

}  // namespace sluice
