// _Fused: a group of element-wise ops over blocks that stay in the first-level cache.
//
// It runs the loops of the very kernels that it replaces, block by block, so results are theirs bit for bit and a new
// element-wise op can be fused the day it is added. Values between instructions live in blocks on the stack.
#include "kernels/math/fused.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"
#include "kernels/common/broadcast.h"
#include "kernels/common/element_wise.h"
#include "kernels/common/stream.h"
#include "kernels/math/fused_member.h"
#include "kernels/math/planned_layout.h"
#include "kernels/math/topics.h"

namespace sluice {
namespace {

constexpr int64_t kBlockBytes = 4096;
constexpr int kMaxBlocks = 24;  // on the stack of each thread

// Copies count elements, which are `step` (0 or 1) apart.
void CopyRun(const char* from, int64_t step, int64_t count, int64_t bytes, char* to) {
  if (step == 1) {
    std::memcpy(to, from, static_cast<size_t>(count * bytes));
    return;
  }
  if (bytes == 4) {
    std::fill_n(reinterpret_cast<uint32_t*>(to), count, *reinterpret_cast<const uint32_t*>(from));
    return;
  }
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * bytes, from, static_cast<size_t>(bytes));
}

class FusedKernel final : public Kernel {
 public:
  explicit FusedKernel(const KernelRegistry* kernels) : kernels_(kernels) {}

  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(program_, MakeFusedProgram(*kernels_, p, /*reductions=*/false));
    num_inputs_ = program_.num_inputs;
    num_blocks_ = AssignBlocks(&program_);
    if (num_blocks_ > kMaxBlocks) return Internal(num_blocks_, " blocks, at most ", kMaxBlocks);
    segments_ = MakeSegments(program_, std::vector<bool>(program_.types.size(), true));
    size_t widest = 1;
    for (DType t : program_.types) widest = std::max(widest, ElementSize(t));
    block_elements_ = kBlockBytes / static_cast<int64_t>(widest);
    in_unary_.assign(num_inputs_, false);
    for (const FusedInstruction& i : program_.instructions) {
      if (i.b < 0 && i.a < num_inputs_) in_unary_[i.a] = true;
    }
    return planned_.Prepare(p, [&](Shapes shapes, Layout* layout) { return MakeLayout(shapes, layout); });
  }

  absl::Status Run(KernelContext& c) const override {
    return planned_.With(
        c, num_inputs_, [&](Shapes shapes, Layout* layout) { return MakeLayout(shapes, layout); },
        [&](const Layout& layout) { return RunLayout(c, layout); });
  }

 private:
  using Shapes = absl::Span<const Shape* const>;
  // Where a value lies.
  struct Place {
    char* data;
    int64_t tensor_bytes;  // from one element of the output to the next; 0: `data` is the block's
    int64_t bytes;         // of an element
    int64_t step;          // 0: one value for all
    char* At(int64_t block, int64_t i) const { return data + block * tensor_bytes + i * bytes; }
  };
  // How each input is read, for one set of shapes.
  struct Layout {
    enum Mode : uint8_t { kWhole, kScalar, kSpread };
    Shape output;
    std::vector<Mode> modes;
    std::vector<BroadcastPlan> plans;  // of kSpread
  };

  absl::Status MakeLayout(Shapes shapes, Layout* layout) const {
    layout->output = *shapes[0];
    for (const Shape* s : shapes.subspan(1)) {
      if (*s == layout->output) continue;
      absl::StatusOr<BroadcastPlan> plan = BroadcastPlan::Make({&layout->output, s});
      if (!plan.ok()) return NameTheNode(shapes, plan.status());
      layout->output = plan->output();
    }
    layout->modes.resize(num_inputs_);
    layout->plans.resize(num_inputs_);
    for (int i = 0; i < num_inputs_; ++i) {
      if (*shapes[i] == layout->output) {
        layout->modes[i] = Layout::kWhole;
      } else if (shapes[i]->num_elements() == 1 && !in_unary_[i]) {
        layout->modes[i] = Layout::kScalar;
      } else {
        layout->modes[i] = Layout::kSpread;
        ASSIGN_OR_RETURN(layout->plans[i], BroadcastPlan::Make({&layout->output, shapes[i]}));
      }
    }
    return absl::OkStatus();
  }

  // Shapes do not go together: finds the node at which they meet, as if each ran by itself.
  absl::Status NameTheNode(Shapes shapes, const absl::Status& otherwise) const {
    std::vector<Shape> known;
    for (const Shape* s : shapes) known.push_back(*s);
    for (const FusedInstruction& i : program_.instructions) {
      if (i.b < 0 || known[i.a] == known[i.b]) {
        known.push_back(known[i.a]);
        continue;
      }
      absl::StatusOr<BroadcastPlan> plan = BroadcastPlan::Make({&known[i.a], &known[i.b]});
      if (!plan.ok()) return Annotate(plan.status(), i.source.empty() ? "" : absl::StrCat(i.source, ": "));
      known.push_back(plan->output());
    }
    return otherwise;
  }

  absl::Status RunLayout(KernelContext& c, const Layout& layout) const {
    ASSIGN_OR_RETURN(Tensor * out, Output(c, layout));
    const int64_t n = layout.output.num_elements();
    char* y = static_cast<char*>(out->raw_data());
    // An output in the place of an input is in the caches already.
    bool stream = WorthStreaming(static_cast<int64_t>(out->num_bytes()));
    for (int i = 0; i < num_inputs_; ++i) stream &= c.input(i).raw_data() != y;
    c.ParallelFor(
        n, program_.cost_ns, [&](int64_t begin, int64_t end) { RunPiece(c, layout, y, stream, begin, end); }, 64);
    return absl::OkStatus();
  }

  // The output is written after the last read of each place, so that any whole input that dies can give its buffer.
  absl::StatusOr<Tensor*> Output(KernelContext& c, const Layout& layout) const {
    for (int i = 0; i < num_inputs_; ++i) {
      if (layout.modes[i] == Layout::kWhole && c.InputIsLastUse(i) &&
          ElementSize(program_.types[i]) == ElementSize(program_.types.back())) {
        return c.ForwardOrAllocate(i, 0, layout.output);
      }
    }
    return c.Allocate(0, layout.output);
  }

  void RunPiece(KernelContext& c, const Layout& layout, char* y, bool stream, int64_t begin, int64_t end) const {
    alignas(64) char blocks[(kMaxBlocks + 1) * kBlockBytes];
    char* last_block = blocks + kMaxBlocks * kBlockBytes;
    const int64_t output_bytes = static_cast<int64_t>(ElementSize(program_.types.back()));
    absl::InlinedVector<Place, 48> places(program_.types.size());
    for (int i = 0; i < num_inputs_; ++i) {
      char* data = static_cast<char*>(const_cast<void*>(c.input(i).raw_data()));
      const int64_t bytes = static_cast<int64_t>(ElementSize(program_.types[i]));
      switch (layout.modes[i]) {
        case Layout::kWhole:
          places[i] = {data, bytes, bytes, 1};
          break;
        case Layout::kScalar:
          places[i] = {data, 0, 0, 0};
          break;
        case Layout::kSpread:
          places[i] = {blocks + i * kBlockBytes, 0, bytes, 1};
          break;
      }
    }
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      const int block = program_.instructions[i].block;
      const int64_t bytes = static_cast<int64_t>(ElementSize(program_.types[num_inputs_ + i]));
      places[num_inputs_ + i] =
          block < 0 ? Place{y, bytes, bytes, 1} : Place{blocks + block * kBlockBytes, 0, bytes, 1};
    }
    // Tiles go past the caches themselves; what loops write goes there from a block.
    const bool stream_tiles = stream && reinterpret_cast<uintptr_t>(y) % 64 == 0 &&
                              !segments_.back().operations.empty() && block_elements_ % 64 == 0;
    const bool stream_block = stream && !stream_tiles;
    if (stream_block) places.back() = {last_block, 0, output_bytes, 1};
    const TileFunctions& tiles = Tiles();
    absl::InlinedVector<TileStep, 48> steps;
    for (const FusedSegment& segment : segments_) {
      for (const FusedSegment::Operation& o : segment.operations) {
        const bool is_output = o.code == TileCode::kStore && o.value + 1 == static_cast<int>(places.size());
        const bool one = is_output ? stream_tiles : o.value >= 0 && places[o.value].step == 0;
        steps.push_back({tiles.step[static_cast<int>(o.code)][one], nullptr});
      }
    }
    for (int64_t at = begin; at < end; at += block_elements_) {
      const int64_t count = std::min(block_elements_, end - at);
      for (int i = 0; i < num_inputs_; ++i) {
        if (layout.modes[i] != Layout::kSpread) continue;
        const char* from = static_cast<const char*>(c.input(i).raw_data());
        const BroadcastPlan& plan = layout.plans[i];
        const int64_t bytes = static_cast<int64_t>(ElementSize(program_.types[i]));
        plan.ForEachRun(at, at + count, [&](const int64_t* offset, int64_t to, int64_t run) {
          CopyRun(from + offset[1] * bytes, plan.step(1), run, bytes, places[i].data + (to - at) * bytes);
        });
      }
      TileStep* step = steps.data();
      for (const FusedSegment& segment : segments_) {
        int64_t done = 0;
        if (!segment.operations.empty()) {
          for (size_t k = 0; k < segment.operations.size(); ++k) {
            const int value = segment.operations[k].value;
            if (value >= 0) step[k].data = reinterpret_cast<float*>(places[value].At(at, 0));
          }
          tiles.run(step, count);
          step += segment.operations.size();
          done = count / tiles.elements * tiles.elements;
        }
        for (int i = segment.begin; done < count && i < segment.end; ++i) {
          const FusedInstruction& instruction = program_.instructions[i];
          const Place& a = places[instruction.a];
          char* result = places[num_inputs_ + i].At(at, done);
          if (instruction.b < 0) {
            instruction.f.unary(instruction.f.bytes, a.At(at, done), result, count - done);
          } else {
            const Place& b = places[instruction.b];
            instruction.f.binary(instruction.f.bytes, a.At(at, done), a.step, b.At(at, done), b.step, result,
                                 count - done);
          }
        }
      }
      if (stream_block) StreamCopy(y + at * output_bytes, last_block, count * output_bytes);
    }
    if (stream) StreamFence();
  }

  const KernelRegistry* kernels_;
  int num_inputs_ = 0;
  int num_blocks_ = 0;
  int64_t block_elements_ = 0;
  FusedProgram program_;
  std::vector<FusedSegment> segments_;
  std::vector<bool> in_unary_;  // a unary loop reads the input
  PlannedLayout<Layout> planned_;
};

}  // namespace

bool CanRunFused(const KernelRegistry& kernels, const NodeInfo& node) {
  if (node.input_types.empty() || node.input_types.size() > 2 || node.output_types.size() != 1) return false;
  if (node.attrs.Find("_kernel") != nullptr || kernels.Find(node, kCpu) == nullptr) return false;
  absl::StatusOr<std::unique_ptr<Kernel>> kernel = kernels.MakeKernel(node, kCpu);
  if (!kernel.ok() || *kernel == nullptr) return false;
  const ElementWiseFunction* f = FunctionOf(**kernel);
  if (f == nullptr || (node.input_types.size() == 1 ? f->unary == nullptr : f->binary == nullptr)) return false;
  return f->output == node.output_types[0] && !(f->nonzero_divisor && IsInteger(BaseType(node.input_types[1])));
}

void AddFusedKernels(KernelRegistry& k) {
  k.Add("_Fused", kCpu, KernelDef().Factory([&k](const NodeInfo&) { return std::make_unique<FusedKernel>(&k); }));
}

}  // namespace sluice
