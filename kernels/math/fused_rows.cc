// _FusedRows: element-wise ops and reductions over the last axis, a few rows at a time, which stay in the caches.
//
// As _Fused it runs the loops of the very kernels that it replaces, and reduces rows in the order of theirs, so results
// are theirs bit for bit. A value is wide (a row of elements for each row of the output) or narrow (one element).
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/stream.h"
#include "kernels/math/fused.h"
#include "kernels/math/fused_member.h"
#include "kernels/math/planned_layout.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr int64_t kBlockBytes = 4096;  // what a wide value takes, unless one row is longer
constexpr int64_t kMaxRows = 64;       // at a time
constexpr int kMaxBlocks = 24;
constexpr int64_t kSumsBytes = kTileSums * sizeof(float);

struct Free {
  void operator()(void* p) const { std::free(p); }
};
// Memory of the calling thread, aligned to 64 bytes; grows to the most ever asked for.
char* Scratch(size_t bytes) {
  thread_local std::unique_ptr<void, Free> memory;
  thread_local size_t size = 0;
  if (size < bytes) {
    size = (bytes + 4095) / 4096 * 4096;
    memory.reset(std::aligned_alloc(64, size));
  }
  return static_cast<char*>(memory.get());
}

class FusedRowsKernel final : public Kernel {
 public:
  explicit FusedRowsKernel(const KernelRegistry* kernels) : kernels_(kernels) {}

  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(program_, MakeFusedProgram(*kernels_, p, /*reductions=*/true));
    ASSIGN_OR_RETURN(n_, p.Attr<int64_t>("row"));
    ASSIGN_OR_RETURN(keep_dims_, p.Attr<bool>("keep_dims"));
    if (n_ < 2 || n_ > kLongestRow) return InvalidArgument("rows of ", n_, " elements, wanted 2 to ", kLongestRow);
    num_inputs_ = program_.num_inputs;
    // Shorter rows are not added in lanes.
    sums_in_tiles_ = n_ % Tiles().elements == 0 && n_ >= 2 * kTileSums;
    if (sums_in_tiles_) {
      FusedProgram repeating = program_;
      RepeatCheapInstructions(&repeating);
      if (AssignBlocks(&repeating) <= kMaxBlocks) program_ = std::move(repeating);
    }
    num_blocks_ = AssignBlocks(&program_);
    if (num_blocks_ > kMaxBlocks) return Internal(num_blocks_, " blocks, at most ", kMaxBlocks);
    size_t widest = 1;
    for (DType t : program_.types) widest = std::max(widest, ElementSize(t));
    const int64_t row_bytes = n_ * static_cast<int64_t>(widest);
    rows_at_once_ = std::min(kMaxRows, std::max<int64_t>(1, kBlockBytes / row_bytes));
    block_bytes_ = (rows_at_once_ * row_bytes + 63) / 64 * 64;
    return planned_.Prepare(p, [&](Shapes shapes, Layout* layout) { return MakeLayout(shapes, layout); });
  }

  absl::Status Run(KernelContext& c) const override {
    return planned_.With(
        c, num_inputs_, [&](Shapes shapes, Layout* layout) { return MakeLayout(shapes, layout); },
        [&](const Layout& layout) { return RunLayout(c, layout); });
  }

 private:
  using Shapes = absl::Span<const Shape* const>;
  // How values lie, for one set of shapes of the inputs.
  struct Layout {
    enum Mode : uint8_t { kRows, kSame, kSpread };  // one for each row, one for all, else copied into a block
    Shape output;
    int64_t rows = 1;
    std::vector<bool> wide;  // of each value
    std::vector<FusedSegment> segments;
    bool fetches = false;              // segments ask for the rows of the next block
    std::vector<Mode> modes;           // of each input
    std::vector<BroadcastPlan> plans;  // of rows, for kSpread
  };
  // Where the rows of a value lie while a block runs.
  struct Place {
    char* data;
    int64_t row_bytes;  // from one row to the next; 0: one for all
    bool moves;         // `data` is that of row 0 of the output, not of the block
    bool wide;
  };

  // Where the data of an operation on tiles lies at row r of the block that begins with row `at`:
  // data + at * block_bytes + r * row_bytes.
  struct Operand {
    char* data;
    int64_t block_bytes, row_bytes;
  };

  absl::Status MakeLayout(Shapes shapes, Layout* layout) const {
    Shape lead;
    std::vector<Shape> leads;
    for (int i = 0; i < num_inputs_; ++i) {
      const Shape& s = *shapes[i];
      const int64_t last = s.rank() == 0 ? 1 : s.dim(s.rank() - 1);
      if (last != 1 && last != n_) {
        return NameTheNode(shapes, InvalidArgument("an operand is ", s.ToString(), ", wanted rows of ", n_, " or 1"));
      }
      layout->wide.push_back(last == n_);
      leads.push_back(s.rank() == 0 ? Shape() : Shape(s.dims().subspan(0, s.rank() - 1)));
      absl::StatusOr<Shape> both = BroadcastShapes(lead, leads.back());
      if (!both.ok()) return NameTheNode(shapes, both.status());
      lead = *std::move(both);
    }
    for (const FusedInstruction& i : program_.instructions) {
      const bool wide = layout->wide[i.a] || (i.b >= 0 && layout->wide[i.b]);
      if (i.IsReduction() && !wide) return InvalidArgument(i.source, " reduces rows of 1 element, wanted ", n_);
      layout->wide.push_back(wide && !i.IsReduction());
    }
    layout->rows = lead.num_elements();
    layout->modes.resize(num_inputs_);
    layout->plans.resize(num_inputs_);
    for (int i = 0; i < num_inputs_; ++i) {
      if (leads[i] == lead) {
        layout->modes[i] = Layout::kRows;
      } else if (leads[i].num_elements() == 1) {
        layout->modes[i] = Layout::kSame;
      } else {
        layout->modes[i] = Layout::kSpread;
        ASSIGN_OR_RETURN(layout->plans[i], BroadcastPlan::Make({&lead, &leads[i]}));
      }
    }
    layout->segments = MakeSegments(program_, layout->wide, sums_in_tiles_);
    AddFetches(layout);
    layout->output = lead;
    if (keep_dims_ || layout->wide.back()) layout->output.AddDim(layout->wide.back() ? n_ : 1);
    return absl::OkStatus();
  }

  // Segments of tiles ask for the rows of the next block while they compute, so that memory never waits; those after
  // the first, which waits for memory itself.
  void AddFetches(Layout* layout) const {
    std::vector<FusedSegment*> tiles;
    for (FusedSegment& s : layout->segments) {
      if (!s.operations.empty()) tiles.push_back(&s);
    }
    if (tiles.size() > 1) tiles.erase(tiles.begin());
    layout->fetches = !tiles.empty();
    size_t next = 0;
    for (int i = 0; i < num_inputs_ && layout->fetches; ++i) {
      if (layout->modes[i] != Layout::kRows || !layout->wide[i] || program_.types[i] != DType::kFloat) continue;
      std::vector<FusedSegment::Operation>& to = tiles[next++ % tiles.size()]->operations;
      to.insert(to.begin(), {TileCode::kFetch, i});
    }
  }

  // Shapes do not go together: finds the node at which they meet, as if each ran by itself.
  absl::Status NameTheNode(Shapes shapes, const absl::Status& otherwise) const {
    std::vector<Shape> known;
    for (const Shape* s : shapes) known.push_back(*s);
    for (const FusedInstruction& i : program_.instructions) {
      if (i.IsReduction()) {
        const Shape& s = known[i.a];
        if (s.rank() == 0) return otherwise;
        Shape one(s.dims().subspan(0, s.rank() - 1));
        one.AddDim(1);
        known.push_back(one);
        continue;
      }
      absl::StatusOr<Shape> both = i.b < 0 ? known[i.a] : BroadcastShapes(known[i.a], known[i.b]);
      if (!both.ok()) return Annotate(both.status(), i.source.empty() ? "" : absl::StrCat(i.source, ": "));
      known.push_back(*std::move(both));
    }
    return otherwise;
  }

  absl::Status RunLayout(KernelContext& c, const Layout& layout) const {
    ASSIGN_OR_RETURN(Tensor * out, Output(c, layout));
    char* y = static_cast<char*>(out->raw_data());
    // An output in the place of an input is in the caches already.
    bool stream = WorthStreaming(static_cast<int64_t>(out->num_bytes()));
    for (int i = 0; i < num_inputs_; ++i) stream &= c.input(i).raw_data() != y;
    c.ParallelFor(layout.rows, program_.cost_ns * static_cast<double>(n_) + 20,
                  [&](int64_t begin, int64_t end) { RunPiece(c, layout, y, stream, begin, end); });
    return absl::OkStatus();
  }

  // Each row of the output is written after its last read, so that an input of the same rows that dies can give its
  // buffer.
  absl::StatusOr<Tensor*> Output(KernelContext& c, const Layout& layout) const {
    for (int i = 0; i < num_inputs_; ++i) {
      if (layout.modes[i] == Layout::kRows && layout.wide[i] && layout.wide.back() && c.InputIsLastUse(i) &&
          ElementSize(program_.types[i]) == ElementSize(program_.types.back())) {
        return c.ForwardOrAllocate(i, 0, layout.output);
      }
    }
    return c.Allocate(0, layout.output);
  }

  int64_t RowBytes(int value, bool wide) const {
    return static_cast<int64_t>(ElementSize(program_.types[value])) * (wide ? n_ : 1);
  }

  void RunPiece(KernelContext& c, const Layout& layout, char* y, bool stream, int64_t begin, int64_t end) const {
    // Narrow results have places of their own: a segment of tiles goes through its instructions row by row, so a wide
    // one in the block of a narrow one would overwrite what later rows read. Sums of tiles come behind them.
    const int64_t narrow_bytes = (rows_at_once_ * 16 + 63) / 64 * 64 + kSumsBytes;
    char* blocks = Scratch(static_cast<size_t>((num_blocks_ + 1) * block_bytes_ +
                                               static_cast<int64_t>(program_.instructions.size()) * narrow_bytes));
    char* last_block = blocks + num_blocks_ * block_bytes_;
    char* narrow = last_block + block_bytes_;
    absl::InlinedVector<Place, 48> places;
    for (int i = 0; i < num_inputs_; ++i) {
      const int64_t row_bytes = RowBytes(i, layout.wide[i]);
      char* data = static_cast<char*>(const_cast<void*>(c.input(i).raw_data()));
      switch (layout.modes[i]) {
        case Layout::kRows:
          places.push_back({data, row_bytes, true, layout.wide[i]});
          break;
        case Layout::kSame:
          places.push_back({data, 0, false, layout.wide[i]});
          break;
        case Layout::kSpread:
          places.push_back({blocks + i * block_bytes_, row_bytes, false, layout.wide[i]});
          break;
      }
    }
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const int value = num_inputs_ + static_cast<int>(i), block = program_.instructions[i].block;
      const int64_t row_bytes = RowBytes(value, layout.wide[value]);
      places.push_back({block < 0            ? y
                        : layout.wide[value] ? blocks + block * block_bytes_
                                             : narrow + static_cast<int64_t>(i) * narrow_bytes,
                        row_bytes, block < 0, layout.wide[value]});
    }
    const int64_t output_bytes = places.back().row_bytes;
    // Tiles go past the caches themselves; what loops write goes there from a block.
    const bool stream_tiles = stream && reinterpret_cast<uintptr_t>(y) % 64 == 0 &&
                              !layout.segments.back().operations.empty() && output_bytes % 64 == 0;
    const bool stream_block = stream && !stream_tiles;
    if (stream_block) places.back() = {last_block, output_bytes, false, places.back().wide};
    absl::InlinedVector<TileStep, 48> steps;
    absl::InlinedVector<Operand, 48> operands;  // of the steps
    absl::InlinedVector<bool, 16> in_one_run;   // segments of which each value goes through all rows at one step
    for (const FusedSegment& segment : layout.segments) {
      in_one_run.push_back(
          std::all_of(segment.operations.begin(), segment.operations.end(), [&](const FusedSegment::Operation& o) {
            return o.value < 0 || places[o.value].wide == (places[o.value].row_bytes != 0);
          }));
      for (const FusedSegment::Operation& o : segment.operations) {
        const bool is_output = o.code == TileCode::kStore && o.value + 1 == static_cast<int>(places.size());
        const bool one = is_output ? stream_tiles : o.value >= 0 && !places[o.value].wide;
        steps.push_back({Tiles().step[static_cast<int>(o.code)][one], nullptr});
        Operand operand{nullptr, 0, 0};
        if (o.code == TileCode::kSum) {
          operand.data = narrow + (o.value - num_inputs_ + 1) * narrow_bytes - kSumsBytes;
        } else if (o.value >= 0) {
          const Place& p = places[o.value];
          operand.data = p.data + (o.code == TileCode::kFetch ? rows_at_once_ * p.row_bytes : 0);
          operand.block_bytes = p.moves ? p.row_bytes : 0;
          operand.row_bytes = p.row_bytes;
        }
        operands.push_back(operand);
      }
    }
    for (int64_t at = begin; at < end; at += rows_at_once_) {
      const int64_t rows = std::min(rows_at_once_, end - at);
      for (int i = 0; i < num_inputs_; ++i) {
        if (layout.modes[i] == Layout::kSpread) Spread(c.input(i), layout.plans[i], at, rows, places[i]);
      }
      if (!layout.fetches) FetchAhead(places, at + rows_at_once_, end);
      size_t step = 0;
      for (size_t s = 0; s < layout.segments.size(); ++s) {
        const FusedSegment& segment = layout.segments[s];
        if (!segment.operations.empty()) {
          RunTiles(segment, in_one_run[s], places.data(), at, rows, &steps[step], &operands[step]);
          step += segment.operations.size();
          continue;
        }
        for (int i = segment.begin; i < segment.end; ++i) {
          const FusedInstruction& instruction = program_.instructions[i];
          const Place a = At(places[instruction.a], at), to = At(places[num_inputs_ + i], at);
          if (instruction.IsReduction()) {
            Reduce(instruction, a, to, rows);
          } else if (instruction.b < 0) {
            Unary(instruction, a, to, rows);
          } else {
            Binary(instruction, a, At(places[instruction.b], at), to, rows);
          }
        }
      }
      if (stream_block) StreamCopy(y + at * output_bytes, last_block, rows * output_bytes);
    }
    if (stream) StreamFence();
  }

  // A segment of operations on tiles, all rows at once or one by one, and what no whole tile is left for. A row that
  // has sums is whole tiles.
  void RunTiles(const FusedSegment& segment, bool one_run, const Place* places, int64_t at, int64_t rows,
                TileStep* steps, const Operand* operands) const {
    const TileFunctions& tiles = Tiles();
    const int operations = static_cast<int>(segment.operations.size());
    const int64_t count = one_run ? rows * n_ : n_, times = one_run ? 1 : rows;
    const int64_t done = count / tiles.elements * tiles.elements;
    for (int64_t r = 0; r < times; ++r) {
      auto place = [&](int value) { return At(places[value], at).data + r * places[value].row_bytes; };
      if (done > 0) {
        for (int k = 0; k < operations; ++k) {
          const Operand& o = operands[k];
          steps[k].data = reinterpret_cast<float*>(o.data + at * o.block_bytes + r * o.row_bytes);
        }
        tiles.run(steps, count);
      }
      for (int k = 0; segment.sums && k < operations; ++k) {
        if (segment.operations[k].code != TileCode::kSum) continue;
        const float sum = 0.f + SumOfLanes(steps[k].data);
        std::memcpy(place(segment.operations[k].value), &sum, sizeof(sum));
      }
      if (done == count) continue;
      constexpr int64_t kBytes = sizeof(float);  // of all values with tiles
      for (int i = segment.begin; i < segment.end; ++i) {
        const FusedInstruction& instruction = program_.instructions[i];
        auto rest = [&](int value) { return place(value) + (places[value].wide ? done * kBytes : 0); };
        char* to = rest(num_inputs_ + i);
        if (instruction.b < 0) {
          instruction.f.unary(instruction.f.bytes, rest(instruction.a), to, count - done);
        } else {
          instruction.f.binary(instruction.f.bytes, rest(instruction.a), places[instruction.a].wide,
                               rest(instruction.b), places[instruction.b].wide, to, count - done);
        }
      }
    }
    for (const FusedSegment::Operation& o : segment.operations) {
      if (!segment.sums || o.code != TileCode::kSum) continue;
      char* y = At(places[o.value], at).data;
      program_.instructions[o.value - num_inputs_].reduce.finish(y, y, rows, n_);
    }
  }

  // Asks for the rows of the next block, so that memory works while this one is computed.
  void FetchAhead(const absl::InlinedVector<Place, 48>& places, int64_t at, int64_t end) const {
    const int64_t rows = std::min(rows_at_once_, end - at);
    for (int i = 0; i < num_inputs_; ++i) {
      if (!places[i].moves || !places[i].wide) continue;
      const char* from = places[i].data + at * places[i].row_bytes;
      for (int64_t b = 0; b < rows * places[i].row_bytes; b += 64) __builtin_prefetch(from + b, 0, 2);
    }
  }

  static Place At(Place p, int64_t row) {
    if (p.moves) p.data += row * p.row_bytes;
    return p;
  }

  static void Spread(const Tensor& from, const BroadcastPlan& plan, int64_t at, int64_t rows, const Place& to) {
    const char* data = static_cast<const char*>(from.raw_data());
    plan.ForEachRun(at, at + rows, [&](const int64_t* offset, int64_t first, int64_t count) {
      for (int64_t i = 0; i < count; ++i) {
        std::memcpy(to.data + (first - at + i) * to.row_bytes, data + (offset[1] + i * plan.step(1)) * to.row_bytes,
                    static_cast<size_t>(to.row_bytes));
      }
    });
  }

  void Reduce(const FusedInstruction& i, const Place& a, const Place& to, int64_t rows) const {
    if (a.row_bytes != 0) return ReduceRows(i.reduce, a.data, rows, n_, to.data);
    for (int64_t r = 0; r < rows; ++r) ReduceRows(i.reduce, a.data, 1, n_, to.data + r * to.row_bytes);
  }

  void Unary(const FusedInstruction& i, const Place& a, const Place& to, int64_t rows) const {
    const int64_t width = to.wide ? n_ : 1;
    if (a.row_bytes != 0) return i.f.unary(i.f.bytes, a.data, to.data, rows * width);
    for (int64_t r = 0; r < rows; ++r) i.f.unary(i.f.bytes, a.data, to.data + r * to.row_bytes, width);
  }

  void Binary(const FusedInstruction& i, const Place& a, const Place& b, const Place& to, int64_t rows) const {
    const int64_t width = to.wide ? n_ : 1;
    // One call when each operand goes through the whole block at one step.
    auto is_one_run = [&](const Place& p) { return p.row_bytes == 0 ? !p.wide : p.wide == to.wide; };
    if (is_one_run(a) && is_one_run(b)) {
      i.f.binary(i.f.bytes, a.data, a.row_bytes != 0, b.data, b.row_bytes != 0, to.data, rows * width);
      return;
    }
    for (int64_t r = 0; r < rows; ++r) {
      i.f.binary(i.f.bytes, a.data + r * a.row_bytes, a.wide, b.data + r * b.row_bytes, b.wide,
                 to.data + r * to.row_bytes, width);
    }
  }

  const KernelRegistry* kernels_;
  int64_t n_ = 0;
  bool keep_dims_ = true;
  int num_inputs_ = 0;
  int num_blocks_ = 0;
  bool sums_in_tiles_ = false;
  int64_t rows_at_once_ = 1;
  int64_t block_bytes_ = 0;
  FusedProgram program_;
  PlannedLayout<Layout> planned_;
};

}  // namespace

bool CanReduceRows(const KernelRegistry& kernels, const NodeInfo& node) {
  if (node.input_types.size() != 2 || node.output_types.size() != 1) return false;
  if (node.attrs.Find("_kernel") != nullptr || kernels.Find(node, kCpu) == nullptr) return false;
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = kernels.MakeKernel(node, kCpu);
  if (!kernel.ok() || *kernel == nullptr) return false;
  const ReduceLoops* loops = LoopsOf(**kernel);
  return loops != nullptr && loops->rows != nullptr && BaseType(node.input_types[0]) == node.output_types[0];
}

void AddFusedRowsKernels(KernelRegistry& k) {
  k.Add("_FusedRows", kCpu,
        KernelDef().Factory([&k](const NodeInfo&) { return std::make_unique<FusedRowsKernel>(&k); }));
}

}  // namespace sluice
