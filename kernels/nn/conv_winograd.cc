#include "kernels/nn/conv_winograd.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <vector>

#include "core/base/status.h"
#include "kernels/common/gemm_direct.h"
#include "kernels/nn/conv_scratch.h"
#include "kernels/nn/conv_tiles.h"
#include "kernels/nn/winograd_transforms.h"

namespace sluice {
namespace {

using internal::CopyPanel;
using internal::FreeDeleter;
using internal::GemmScratch;
using internal::TurnPanel;
using winograd::kPoints;
using winograd::kTilesAtOnce;
using winograd::Plane;

constexpr int64_t kTiles = 28;      // that go through the 36 products together
constexpr int64_t kMostWidth = 32;  // of a panel
constexpr double kFlopsPerNs = 250;
constexpr int64_t kPieceFlops = 150'000'000;  // of a gradient of a filter: each piece has sums of its own
constexpr int64_t kMostPieces = 16, kMostSums = 8 << 20, kWantedUnits = 4;

// Between points: 36 streams must not fall into the same lines of the first-level cache.
int64_t PointStep(int64_t floats) { return floats + 16; }

// WithSimd without the baseline, which has no loops for it.
template <typename F>
void WithVectors(const F& f) {
#ifdef SLUICE_HAS_X86_LOOPS
  if (BestCpuIsa() == CpuIsa::kAvx512) return RunAvx512(f);
  RunAvx2(f);
#else
  RunBaseline(f);
#endif
}

// How the outputs of a batch are cut: into tiles of M x M, strips of tiles beside each other, and blocks of strips.
class Blocks {
 public:
  struct Strip {
    int64_t image, row, column, tiles;  // the first tile's
  };

  // Of up to about `tiles` tiles.
  Blocks(const ConvShape& s, int64_t m, int64_t tiles)
      : rows_((s.axes[1].output + m - 1) / m), columns_((s.axes[2].output + m - 1) / m) {
    in_row_ = (columns_ + tiles - 1) / tiles;
    const int64_t longest = (columns_ + in_row_ - 1) / in_row_;
    strips_ = s.batch * rows_ * in_row_;
    const int64_t most = std::max<int64_t>(1, tiles / longest), blocks = (strips_ + most - 1) / most;
    together_ = (strips_ + blocks - 1) / blocks;  // as even as can be
    most_tiles_ = together_ * longest;
  }
  int64_t count() const { return (strips_ + together_ - 1) / together_; }
  int64_t most_tiles() const { return most_tiles_; }
  // Calls f(strip, tiles of the block before it) for the strips of a block; returns how many tiles it has.
  template <class F>
  int64_t ForEachStrip(int64_t block, const F& f) const {
    int64_t tiles = 0;
    for (int64_t i = block * together_; i < std::min(strips_, (block + 1) * together_); ++i) {
      const int64_t part = i % in_row_, begin = columns_ * part / in_row_, end = columns_ * (part + 1) / in_row_;
      f(Strip{i / in_row_ / rows_, i / in_row_ % rows_, begin, end - begin}, tiles);
      tiles += end - begin;
    }
    return tiles;
  }

 private:
  int64_t rows_, columns_, in_row_, together_, strips_, most_tiles_;
};

// The tiles of a strip of the input to v[point][tile][channel].
template <int M>
void TransformStrip(const float* image, const ConvShape& s, const Blocks::Strip& strip, int64_t step, float* v) {
  const Plane plane{s.axes[1].input, s.axes[2].input, s.in_channels, s.in_channels};
  const int64_t y = strip.row * M - s.axes[1].pad_before;
  WithVectors([&]() SLUICE_INLINE_LOOP {
    for (int64_t t = 0; t < strip.tiles; t += kTilesAtOnce) {
      const int64_t x = (strip.column + t) * M - s.axes[2].pad_before;
      winograd::TransformTiles<M>(image, plane, y, x, std::min(kTilesAtOnce, strip.tiles - t), step,
                                  v + t * s.in_channels);
    }
  });
}

// m[point][tile][column] = v[point][tile][channel] * panel[point][channel][column].
void Multiply(const ConvTiles& loops, const float* panel, int64_t panel_step, int64_t tiles, const float* v,
              int64_t channels, int64_t in_step, float* m, int64_t out_step) {
  const int64_t width = 2 * loops.vector, count = (tiles + loops.height - 1) / loops.height;
  const ConvTapRow row{0, 0};
  ConvForwardTile t;
  t.pixel_step = channels;
  t.rows = &row;
  t.num_rows = t.num_runs = 1;
  t.y_step = t.columns = width;
  for (int64_t point = 0; point < kPoints; ++point) {
    t.panel = panel + point * panel_step;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t begin = tiles * i / count, height = tiles * (i + 1) / count - begin;
      const ConvTapRun run{0, 0, channels, (1u << height) - 1};
      t.runs = &run;
      t.x = v + point * in_step + begin * channels;
      t.y = m + point * out_step + begin * width;
      loops.forward[height - 1][1](t);
    }
  }
}

template <int R>
class WinogradForward : public ConvAlgorithm {
 public:
  static constexpr int M = 7 - R;
  WinogradForward(const ConvShape& s, bool turned)
      : s_(s), turned_(turned), tiles_(ConvTilesOf(BestCpuIsa())), width_(2 * tiles_.vector), blocks_(s, M, kTiles) {}

  absl::Status KeepFilter(const float* filter) override {
    kept_.reset(static_cast<float*>(std::aligned_alloc(64, filter_floats() * sizeof(float))));
    if (kept_ == nullptr) return ResourceExhausted("no memory for a filter");
    for (int64_t i = 0; i < panels() * s_.in_channels; i += kRowsAtOnce) Pack(filter, i, kept_.get());
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override;

 private:
  static constexpr int64_t kRowsAtOnce = 8;  // divides the channels

  int64_t panels() const { return (s_.out_channels + width_ - 1) / width_; }
  int64_t filter_step() const { return PointStep(s_.in_channels * width_); }
  int64_t filter_floats() const { return kPoints * filter_step() * panels(); }
  // Rows [i, i + kRowsAtOnce) of all panels together, from taps to points.
  void Pack(const float* from, int64_t i, float* filter) const;

  const ConvShape s_;
  const bool turned_;
  const ConvTiles& tiles_;
  const int64_t width_;
  const Blocks blocks_;
  std::unique_ptr<float, FreeDeleter> kept_;
};

template <int R>
void WinogradForward<R>::Pack(const float* from, int64_t i, float* filter) const {
  constexpr int64_t kTapStep = kRowsAtOnce * kMostWidth + 16;
  alignas(64) float taps[R * R * kTapStep];
  const int64_t ci = s_.in_channels, co = s_.out_channels, panel = i / ci, row = i % ci, j = panel * width_;
  const int64_t columns = std::min(width_, co - j);
  for (int64_t tap = 0; tap < R * R; ++tap) {
    if (turned_) {
      TurnPanel(from + ((R * R - 1 - tap) * co + j) * ci + row, ci, kRowsAtOnce, columns, width_,
                taps + tap * kTapStep);
    } else {
      CopyPanel(from + (tap * ci + row) * co + j, co, kRowsAtOnce, columns, width_, taps + tap * kTapStep);
    }
  }
  // The taps of a row are a plane of R x R pixels.
  const Plane plane{R, R, kTapStep, width_};
  float* to = filter + panel * kPoints * filter_step() + row * width_;
  WithVectors([&]() SLUICE_INLINE_LOOP {
    for (int64_t r = 0; r < kRowsAtOnce; ++r) {
      winograd::TransformSquare<R>(taps + r * width_, plane, 0, 0, filter_step(), to + r * width_);
    }
  });
}

template <int R>
absl::Status WinogradForward<R>::Run(KernelContext& c, const float* a, const float* b, float* out) const {
  const int64_t ci = s_.in_channels, co = s_.out_channels;
  const float* filter = kept_.get();
  ConvScratch scratch;
  if (filter == nullptr) {
    ASSIGN_OR_RETURN(float* to, scratch.Get(c, filter_floats()));
    const int64_t parts = panels() * ci / kRowsAtOnce;
    c.ParallelFor(parts, static_cast<double>(kRowsAtOnce * width_ * kPoints) / 2, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) Pack(b, i * kRowsAtOnce, to);
    });
    filter = to;
  }
  const int64_t in_step = PointStep(blocks_.most_tiles() * ci), out_step = PointStep(blocks_.most_tiles() * width_);
  const int64_t image = s_.in_positions() * ci, result = s_.out_positions() * co;
  const int64_t rows = s_.axes[1].output, columns = s_.axes[2].output;
  std::atomic<bool> ok{true};
  c.ParallelFor(blocks_.count(), s_.flops() / kFlopsPerNs / blocks_.count(), [&](int64_t begin, int64_t end) {
    float* v = static_cast<float*>(GemmScratch(0, static_cast<size_t>(kPoints * in_step) * sizeof(float)));
    float* m = static_cast<float*>(GemmScratch(1, static_cast<size_t>(kPoints * out_step) * sizeof(float)));
    if (v == nullptr || m == nullptr) {
      ok = false;
      return;
    }
    for (int64_t block = begin; block < end; ++block) {
      const int64_t tiles = blocks_.ForEachStrip(block, [&](const Blocks::Strip& strip, int64_t before) {
        TransformStrip<M>(a + strip.image * image, s_, strip, in_step, v + before * ci);
      });
      for (int64_t j = 0; j < co; j += width_) {
        Multiply(tiles_, filter + j / width_ * kPoints * filter_step(), filter_step(), tiles, v, ci, in_step, m,
                 out_step);
        blocks_.ForEachStrip(block, [&](const Blocks::Strip& strip, int64_t before) {
          WithVectors([&]() SLUICE_INLINE_LOOP {
            for (int64_t t = 0; t < strip.tiles; ++t) {
              const int64_t y = strip.row * M, x = (strip.column + t) * M;
              float* to = out + strip.image * result + (y * columns + x) * co + j;
              for (int64_t k = 0; k < std::min(width_, co - j); k += kLanes) {
                winograd::TransformBack<M>(m + (before + t) * width_ + k, out_step, to + k, columns * co, co, rows - y,
                                           columns - x);
              }
            }
          });
        });
      }
    }
  });
  return ok ? absl::OkStatus() : ResourceExhausted("no memory for the tiles of a convolution");
}

// Sums are read and written once for each block, so blocks grow with them.
int64_t GradientTiles(const ConvShape& s) {
  const int64_t floats = s.in_channels * s.out_channels;
  return floats < 4096 ? 2 * kTiles : floats <= 16384 ? 4 * kTiles : 8 * kTiles;
}

template <int R>
class WinogradGradient : public ConvAlgorithm {
 public:
  static constexpr int M = 7 - R;
  explicit WinogradGradient(const ConvShape& s)
      : s_(s), tiles_(ConvTilesOf(BestCpuIsa())), blocks_(s, M, GradientTiles(s)) {
    const int64_t wanted = static_cast<int64_t>(s.flops() / kPieceFlops), fit = kMostSums / sum_floats();
    pieces_ = std::clamp<int64_t>(std::min(wanted, fit), 1, std::min(kMostPieces, blocks_.count()));
    const int64_t width = 2 * tiles_.vector;
    panels_ = (s.out_channels + width - 1) / width;
    groups_ = std::min(panels_, (kWantedUnits + pieces_ - 1) / pieces_);
  }
  absl::Status KeepFilter(const float*) override { return absl::OkStatus(); }
  absl::Status Run(KernelContext& c, const float* a, const float* b, float* out) const override;

 private:
  int64_t sum_floats() const { return kPoints * s_.in_channels * s_.out_channels; }
  // One block to panels [first, last) of the sums [point][input channel][output channel], which are added to if `add`.
  void RunBlock(const float* x, const float* dy, int64_t block, int64_t first, int64_t last, bool add, float* v,
                float* w, float* sums) const;

  const ConvShape s_;
  const ConvTiles& tiles_;
  const Blocks blocks_;
  int64_t pieces_ = 1, panels_ = 1;
  int64_t groups_ = 1;  // of panels: work to share where there are few pieces
};

template <int R>
void WinogradGradient<R>::RunBlock(const float* x, const float* dy, int64_t block, int64_t first, int64_t last,
                                   bool add, float* v, float* w, float* sums) const {
  const int64_t ci = s_.in_channels, co = s_.out_channels, width = 2 * tiles_.vector;
  const int64_t in_step = PointStep(blocks_.most_tiles() * ci), out_step = PointStep(blocks_.most_tiles() * width);
  const int64_t tiles = blocks_.ForEachStrip(block, [&](const Blocks::Strip& strip, int64_t before) {
    TransformStrip<M>(x + strip.image * s_.in_positions() * ci, s_, strip, in_step, v + before * ci);
  });
  ConvGradientTile g;
  g.images = g.slices = g.rows = 1;
  g.x = {nullptr, 0, 0, 0, ci};
  g.dy = {nullptr, 0, 0, 0, width};
  g.pixels = tiles;
  g.df_step = co;
  g.add = add;
  const int64_t count = (ci + tiles_.height - 1) / tiles_.height;
  for (int64_t j = first * width; j < std::min(co, last * width); j += width) {
    g.columns = std::min(width, co - j);
    const Plane plane{s_.axes[1].output, s_.axes[2].output, co, g.columns};
    blocks_.ForEachStrip(block, [&](const Blocks::Strip& strip, int64_t before) {
      const float* image = dy + strip.image * s_.out_positions() * co + j;
      WithVectors([&]() SLUICE_INLINE_LOOP {
        for (int64_t t = 0; t < strip.tiles; ++t) {
          winograd::TransformSquare<M>(image, plane, strip.row * M, (strip.column + t) * M, out_step,
                                       w + (before + t) * width);
        }
      });
    });
    for (int64_t point = 0; point < kPoints; ++point) {
      g.dy.at = w + point * out_step;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t row = ci * i / count, height = ci * (i + 1) / count - row;
        g.x.at = v + point * in_step + row;
        g.df = sums + (point * ci + row) * co + j;
        tiles_.gradient[height - 1][g.columns > tiles_.vector ? 1 : 0](g);
      }
    }
  }
}

template <int R>
absl::Status WinogradGradient<R>::Run(KernelContext& c, const float* a, const float* b, float* out) const {
  const int64_t ci = s_.in_channels, co = s_.out_channels;
  ConvScratch scratch;
  ASSIGN_OR_RETURN(float* sums, scratch.Get(c, pieces_ * sum_floats()));
  std::atomic<bool> ok{true};
  const int64_t units = pieces_ * groups_;
  c.ParallelFor(units, s_.flops() / kFlopsPerNs / static_cast<double>(units), [&](int64_t begin, int64_t end) {
    const int64_t point = kPoints * int64_t{sizeof(float)}, tiles = blocks_.most_tiles();
    float* v = static_cast<float*>(GemmScratch(0, static_cast<size_t>(point * PointStep(tiles * ci))));
    float* w = static_cast<float*>(GemmScratch(1, static_cast<size_t>(point * PointStep(tiles * 2 * tiles_.vector))));
    if (v == nullptr || w == nullptr) {
      ok = false;
      return;
    }
    while (begin < end) {
      const int64_t piece = begin / groups_, group = begin % groups_, groups = std::min(groups_ - group, end - begin);
      const int64_t first = blocks_.count() * piece / pieces_, last = blocks_.count() * (piece + 1) / pieces_;
      const int64_t from = panels_ * group / groups_, to = panels_ * (group + groups) / groups_;
      for (int64_t i = first; i < last; ++i) {
        RunBlock(a, b, i, from, to, i > first, v, w, sums + piece * sum_floats());
      }
      begin += groups;
    }
  });
  if (!ok) return ResourceExhausted("no memory for the tiles of a convolution");
  c.ParallelFor(ci, static_cast<double>(kPoints * co * (pieces_ + 2)) / 4, [&](int64_t begin, int64_t end) {
    WithVectors([&]() SLUICE_INLINE_LOOP {
      for (int64_t i = begin * co; i < end * co; i += kLanes) {
        float all[kPoints * kLanes];
        for (int point = 0; point < kPoints; ++point) {
          Lanes sum, part;
          const float* from = sums + point * ci * co + i;
          LoadLanes(from, &sum);
          for (int64_t piece = 1; piece < pieces_; ++piece) {
            LoadLanes(from + piece * sum_floats(), &part);
            sum += part;
          }
          StoreLanes(sum, all + point * kLanes);
        }
        winograd::TransformBack<R>(all, kLanes, out + i, R * ci * co, ci * co, R, R);
      }
    });
  });
  return absl::OkStatus();
}

template <int R>
std::unique_ptr<ConvAlgorithm> MakeFor(const ConvShape& s, ConvDirection direction) {
  switch (direction) {
    case ConvDirection::kForward:
      return std::make_unique<WinogradForward<R>>(s, false);
    case ConvDirection::kBackwardInput:
      return std::make_unique<WinogradForward<R>>(TurnedConv(s), true);
    case ConvDirection::kBackwardFilter:
      return std::make_unique<WinogradGradient<R>>(s);
  }
  return nullptr;
}

}  // namespace

std::unique_ptr<ConvAlgorithm> MakeWinogradConv(const ConvShape& s, ConvDirection direction) {
  const WindowAxis &z = s.axes[0], &y = s.axes[1], &x = s.axes[2];
  const bool flat = z.input == 1 && z.output == 1 && z.filter == 1;
  const bool plain = y.stride == 1 && x.stride == 1 && y.dilation == 1 && x.dilation == 1 && y.filter == x.filter;
  if (!flat || !plain || s.groups != 1 || s.in_channels % kLanes != 0 || s.out_channels % kLanes != 0 ||
      2 * ConvTilesOf(BestCpuIsa()).vector < kLanes || 2 * ConvTilesOf(BestCpuIsa()).vector > kMostWidth) {
    return nullptr;
  }
  if (y.filter == 3) return MakeFor<3>(s, direction);
  if (y.filter == 5) return MakeFor<5>(s, direction);
  return nullptr;
}

}  // namespace sluice
