#include "kernels/common/reduce.h"

#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"

namespace sluice {
namespace {

constexpr int64_t kPiece = kLongestRow;  // elements of a contiguous run joined at a time
constexpr int64_t kRowBlock = 128;       // rows joined at a time
constexpr int64_t kWidth = 512;          // columns carried at a time
constexpr int64_t kMaxSum = 16;          // bytes of a carried value

// The input as alternating groups of dimensions that are kept and reduced.
struct Layout {
  struct Dim {
    int64_t size, stride;
  };
  absl::InlinedVector<Dim, 4> kept, reduced;  // outermost first, without the innermost group
  bool inner_reduced = false;
  int64_t inner = 1;        // size of the innermost group
  int64_t num_kept = 1;     // of `kept` alone
  int64_t num_reduced = 1;  // of `reduced` alone
  Shape output;

  static absl::StatusOr<Layout> Make(const Shape& in, const Tensor& axes, bool keep_dims);
  // Where group `index` of `dims` begins.
  static int64_t Offset(const absl::InlinedVector<Dim, 4>& dims, int64_t index) {
    int64_t offset = 0;
    for (int d = static_cast<int>(dims.size()) - 1; d >= 0; --d) {
      offset += index % dims[d].size * dims[d].stride;
      index /= dims[d].size;
    }
    return offset;
  }
};

absl::StatusOr<Layout> Layout::Make(const Shape& in, const Tensor& axes, bool keep_dims) {
  if (axes.rank() > 1)
    return InvalidArgument("the axes must be a scalar or a vector, found shape ", axes.shape().ToString());
  const int rank = in.rank();
  absl::InlinedVector<bool, 8> is_reduced(rank, false);
  for (int64_t i = 0; i < axes.num_elements(); ++i) {
    const int64_t axis = axes.IntAt(i);
    if (axis < -rank || axis >= rank) {
      return InvalidArgument("axis ", axis, " is not in [", -rank, ", ", rank, "), the input has shape ",
                             in.ToString());
    }
    const int64_t at = axis < 0 ? axis + rank : axis;
    if (is_reduced[at]) return InvalidArgument("axis ", axis, " is given twice");
    is_reduced[at] = true;
  }
  Layout l;
  struct Group {
    int64_t size, stride;
    bool reduced;
  };
  absl::InlinedVector<Group, 8> groups;  // innermost first
  int64_t stride = 1;
  // Of an empty input only the output's shape matters; the other dimensions may be too large to be multiplied.
  for (int d = rank - 1; d >= 0 && in.num_elements() > 0; --d) {
    const int64_t size = in.dim(d);
    if (size != 1) {
      if (!groups.empty() && groups.back().reduced == is_reduced[d]) {
        groups.back().size *= size;
      } else {
        groups.push_back({size, stride, is_reduced[d]});
      }
    }
    stride *= size;
  }
  for (int d = 0; d < rank; ++d) {
    if (!is_reduced[d]) {
      l.output.AddDim(in.dim(d));
    } else if (keep_dims) {
      l.output.AddDim(1);
    }
  }
  if (!groups.empty()) {
    l.inner = groups[0].size;
    l.inner_reduced = groups[0].reduced;
  }
  for (size_t g = groups.size(); g-- > 1;) {
    (groups[g].reduced ? l.reduced : l.kept).push_back({groups[g].size, groups[g].stride});
    (groups[g].reduced ? l.num_reduced : l.num_kept) *= groups[g].size;
  }
  return l;
}

class ReduceKernel : public Kernel {
 public:
  explicit ReduceKernel(const ReduceLoops& loops) : f_(loops) {}
  const ReduceLoops& loops() const { return f_; }
  absl::Status Prepare(PrepareContext& p) override {
    if (f_.rows == nullptr) return Unimplemented("no reduction of ", DTypeName(p.input_type(0)));
    ASSIGN_OR_RETURN(keep_dims_, p.Attr<bool>("keep_dims"));
    return absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(const Layout l, Layout::Make(in.shape(), c.input(1), keep_dims_));
    const char* x = static_cast<const char*>(in.raw_data());
    const int64_t total = in.num_elements();
    ASSIGN_OR_RETURN(Tensor * out, c.Allocate(0, l.output));
    char* y = static_cast<char*>(out->raw_data());
    const int64_t outputs = l.output.num_elements();
    if (outputs == 0) return absl::OkStatus();
    if (total == 0) {
      alignas(16) char sum[kMaxSum];
      for (int64_t i = 0; i < outputs; ++i) {
        f_.start(sum, 1);
        f_.finish(sum, y + i * f_.out_bytes, 1, 0);
      }
      return absl::OkStatus();
    }
    if (l.inner_reduced) {
      ReduceInner(c, l, x, y);
    } else {
      ReduceOuter(c, l, x, y, total / outputs);
    }
    return absl::OkStatus();
  }

 private:
  void ReduceInner(KernelContext& c, const Layout& l, const char* x, char* y) const {
    const int64_t pieces = (l.inner + kPiece - 1) / kPiece, count = l.num_reduced * l.inner;
    if (l.num_reduced == 1 && pieces == 1) {
      // Rows side by side: many for each call.
      c.ParallelFor(l.num_kept, 5 + 0.2 * static_cast<double>(l.inner), [&](int64_t begin, int64_t end) {
        ReduceRows(f_, x + begin * l.inner * f_.in_bytes, end - begin, l.inner, y + begin * f_.out_bytes);
      });
      return;
    }
    // The pieces of one output, joined in order; all of them at once when there are few outputs.
    const int64_t parts = l.num_reduced * pieces;
    auto reduce_part = [&](int64_t kept, int64_t part, void* sum) {
      const int64_t from = part % pieces * kPiece;
      const int64_t offset = Layout::Offset(l.kept, kept) + Layout::Offset(l.reduced, part / pieces) + from;
      f_.start(sum, 1);
      f_.rows(x + offset * f_.in_bytes, 1, std::min(kPiece, l.inner - from), sum);
    };
    if (l.num_kept >= 16 || parts == 1) {
      c.ParallelFor(l.num_kept, 0.2 * static_cast<double>(count), [&](int64_t begin, int64_t end) {
        alignas(16) char sum[kMaxSum], part_sum[kMaxSum];
        for (int64_t i = begin; i < end; ++i) {
          f_.start(sum, 1);
          for (int64_t part = 0; part < parts; ++part) {
            reduce_part(i, part, part_sum);
            f_.join(sum, part_sum, 1);
          }
          f_.finish(sum, y + i * f_.out_bytes, 1, count);
        }
      });
      return;
    }
    std::vector<char> sums(static_cast<size_t>(l.num_kept * parts) * f_.sum_bytes);
    c.ParallelFor(l.num_kept * parts, 0.2 * static_cast<double>(std::min(kPiece, l.inner)),
                  [&](int64_t begin, int64_t end) {
                    for (int64_t i = begin; i < end; ++i)
                      reduce_part(i / parts, i % parts, sums.data() + i * f_.sum_bytes);
                  });
    for (int64_t i = 0; i < l.num_kept; ++i) {
      alignas(16) char sum[kMaxSum];
      f_.start(sum, 1);
      for (int64_t part = 0; part < parts; ++part) f_.join(sum, sums.data() + (i * parts + part) * f_.sum_bytes, 1);
      f_.finish(sum, y + i * f_.out_bytes, 1, count);
    }
  }

  void ReduceOuter(KernelContext& c, const Layout& l, const char* x, char* y, int64_t count) const {
    const int64_t widths = (l.inner + kWidth - 1) / kWidth;
    // The innermost reduced group is a run of rows at one distance; further groups are walked one run at a time.
    const int64_t run = l.reduced.empty() ? 1 : l.reduced.back().size;
    const int64_t stride = l.reduced.empty() ? 0 : l.reduced.back().stride;
    const int64_t blocks_of_run = (run + kRowBlock - 1) / kRowBlock;
    const int64_t blocks = l.num_reduced / run * blocks_of_run;
    auto reduce_block = [&](int64_t kept, int64_t column, int64_t width, int64_t block, void* sums) {
      const int64_t row = block % blocks_of_run * kRowBlock;
      const int64_t first = block / blocks_of_run * run + row;
      const int64_t offset = Layout::Offset(l.kept, kept) + Layout::Offset(l.reduced, first) + column;
      f_.columns(x + offset * f_.in_bytes, std::min(kRowBlock, run - row), stride, width, sums);
    };
    const int64_t items = l.num_kept * widths;
    const int64_t width_max = std::min(kWidth, l.inner);
    if (items >= 8 || blocks < 8 || blocks * l.num_kept * l.inner * static_cast<int64_t>(f_.sum_bytes) > (1 << 24)) {
      c.ParallelFor(items, 0.2 * static_cast<double>(width_max * count), [&](int64_t begin, int64_t end) {
        alignas(64) char sums[kMaxSum * kWidth], block_sums[kMaxSum * kWidth];
        for (int64_t i = begin; i < end; ++i) {
          const int64_t kept = i / widths, column = i % widths * kWidth, width = std::min(kWidth, l.inner - column);
          f_.start(sums, width);
          for (int64_t block = 0; block < blocks; ++block) {
            f_.start(block_sums, width);
            reduce_block(kept, column, width, block, block_sums);
            f_.join(sums, block_sums, width);
          }
          f_.finish(sums, y + (kept * l.inner + column) * f_.out_bytes, width, count);
        }
      });
      return;
    }
    // Few columns, many rows: blocks of rows at once, then joined in order.
    const int64_t row_bytes = l.inner * f_.sum_bytes;
    std::vector<char> sums(static_cast<size_t>(l.num_kept * blocks * row_bytes));
    c.ParallelFor(l.num_kept * blocks, 0.3 * static_cast<double>(kRowBlock * l.inner), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        char* mine = sums.data() + i * row_bytes;
        f_.start(mine, l.inner);
        for (int64_t w = 0; w < widths; ++w) {
          reduce_block(i / blocks, w * kWidth, std::min(kWidth, l.inner - w * kWidth), i % blocks,
                       mine + w * kWidth * f_.sum_bytes);
        }
      }
    });
    std::vector<char> all(static_cast<size_t>(row_bytes));
    for (int64_t kept = 0; kept < l.num_kept; ++kept) {
      f_.start(all.data(), l.inner);
      for (int64_t block = 0; block < blocks; ++block)
        f_.join(all.data(), sums.data() + (kept * blocks + block) * row_bytes, l.inner);
      f_.finish(all.data(), y + kept * l.inner * f_.out_bytes, l.inner, count);
    }
  }

  ReduceLoops f_;
  bool keep_dims_ = false;
};

}  // namespace

const ReduceLoops* LoopsOf(const Kernel& kernel) {
  const auto* reduce = dynamic_cast<const ReduceKernel*>(&kernel);
  return reduce == nullptr ? nullptr : &reduce->loops();
}

void ReduceRows(const ReduceLoops& f, const void* x, int64_t rows, int64_t n, void* y) {
  alignas(16) char sums[kMaxSum * kRowBlock];
  for (int64_t i = 0; i < rows; i += kRowBlock) {
    const int64_t block = std::min(kRowBlock, rows - i);
    f.start(sums, block);
    f.rows(static_cast<const char*>(x) + i * n * f.in_bytes, block, n, sums);
    f.finish(sums, static_cast<char*>(y) + i * f.out_bytes, block, n);
  }
}

std::unique_ptr<Kernel> MakeReduceKernel(const ReduceLoops& loops) { return std::make_unique<ReduceKernel>(loops); }

}  // namespace sluice
