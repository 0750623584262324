#include "kernels/math/fused_member.h"

#include <algorithm>
#include <utility>

#include "core/base/status.h"

namespace sluice {
namespace {

absl::StatusOr<FusedInstruction> MakeInstruction(const KernelRegistry& kernels, const PrepareContext& p,
                                                 const FuncRef& ref, std::vector<DType> inputs, DType output,
                                                 bool reductions) {
  OpDef op;
  op.name = ref.name;
  NodeInfo info;
  info.name = p.node().name;
  info.op = &op;
  info.attrs = ref.attrs;
  for (DType t : inputs) info.input_types.push_back(t);
  info.output_types.push_back(output);
  ASSIGN_OR_RETURN(std::unique_ptr<Kernel> kernel, kernels.MakeKernel(info, kCpu));
  FusedInstruction made;
  if (const AttrValue* at = ref.attrs.Find("_source"); at != nullptr && at->As<std::string>() != nullptr) {
    made.source = *at->As<std::string>();
  }
  if (const ReduceLoops* loops = LoopsOf(*kernel); loops != nullptr && reductions && inputs.size() == 1) {
    if (loops->rows == nullptr || loops->out_bytes != ElementSize(output) || inputs[0] != output) {
      return InvalidArgument(ref.name, " makes no ", DTypeName(output), " of ", DTypeName(inputs[0]));
    }
    made.reduce = *loops;
    return made;
  }
  const ElementWiseFunction* f = FunctionOf(*kernel);
  if (f == nullptr || (inputs.size() == 1 ? f->unary == nullptr : f->binary == nullptr)) {
    return InvalidArgument(ref.name, " has no loop over the elements of ",
                           inputs.size() == 1 ? "one tensor" : "two tensors");
  }
  PrepareContext member;
  member.info = &info;
  member.device = p.device;
  member.input_shapes.resize(inputs.size());
  member.output_shapes.resize(1);
  member.constant_inputs.resize(inputs.size());
  RETURN_IF_ERROR(kernel->Prepare(member));
  if (f->nonzero_divisor) return InvalidArgument(ref.name, " of integers can fail");
  made.f = *f;
  if (output == DType::kFloat &&
      std::all_of(inputs.begin(), inputs.end(), [](DType t) { return t == DType::kFloat; })) {
    made.tile = TileCodeOf(ref.name, static_cast<int>(inputs.size()));
  }
  return made;
}

// Instructions [begin, end) with the tile as the place of each result that the next instruction reads.
std::vector<FusedSegment::Operation> TileOperations(const FusedProgram& program, int begin, int end) {
  const int last = static_cast<int>(program.instructions.size()) - 1;
  // Whether somebody needs the result of i in memory.
  auto is_stored = [&](int i) {
    const int value = program.num_inputs + i;
    if (i == last) return true;
    for (int k = i + 1; k <= last; ++k) {
      const FusedInstruction& reader = program.instructions[k];
      if (reader.a != value && reader.b != value) continue;
      if (k != i + 1 || k >= end || reader.a == reader.b) return true;
    }
    return false;
  };
  std::vector<FusedSegment::Operation> made;
  int tile = -1;  // the value in it
  for (int i = begin; i < end; ++i) {
    const FusedInstruction& at = program.instructions[i];
    if (tile != at.a && (at.b < 0 || tile != at.b)) {
      made.push_back({TileCode::kLoad, at.a});
      tile = at.a;
    }
    if (at.IsReduction()) {
      made.push_back({TileCode::kSum, program.num_inputs + i});
      continue;
    }
    if (at.b < 0) {
      made.push_back({at.tile, -1});
    } else if (tile == at.a) {
      made.push_back({at.tile, at.b});
    } else {
      made.push_back({static_cast<TileCode>(static_cast<int>(at.tile) + kExchanged), at.a});
    }
    tile = program.num_inputs + i;
    if (is_stored(i)) made.push_back({TileCode::kStore, tile});
  }
  made.push_back({TileCode::kEnd, -1});
  return made;
}

}  // namespace

std::vector<FusedSegment> MakeSegments(const FusedProgram& program, const std::vector<bool>& wide, bool sums) {
  std::vector<FusedSegment> segments;
  const int count = static_cast<int>(program.instructions.size());
  auto has_tiles = [&](int i) {
    const FusedInstruction& at = program.instructions[i];
    if (at.IsReduction()) return sums && at.reduce.adds_floats && wide[at.a];
    return at.tile != TileCode::kNone && wide[program.num_inputs + i];
  };
  // Whether i reads a sum that is not made before all tiles of [begin, i) are through.
  auto waits = [&](int begin, int i) {
    const FusedInstruction& at = program.instructions[i];
    for (int k = begin; k < i; ++k) {
      const int value = program.num_inputs + k;
      if (program.instructions[k].IsReduction() && (at.a == value || at.b == value)) return true;
    }
    return false;
  };
  for (int i = 0; i < count;) {
    int end = i + 1;
    while (end < count && has_tiles(i) == has_tiles(end) && !(has_tiles(i) && waits(i, end))) ++end;
    FusedSegment segment{i, end, {}, false};
    if (has_tiles(i) && end - i > 1) segment.operations = TileOperations(program, i, end);
    for (const FusedSegment::Operation& o : segment.operations) segment.sums |= o.code == TileCode::kSum;
    segments.push_back(std::move(segment));
    i = end;
  }
  return segments;
}

void RepeatCheapInstructions(FusedProgram* program) {
  std::vector<FusedInstruction>& all = program->instructions;
  const int inputs = program->num_inputs;
  auto is_cheap = [](TileCode c) { return c != TileCode::kNone && c != TileCode::kDiv; };
  // Whether a sum lies between value and instruction i, so that the value is in memory there.
  auto sum_between = [&](int value, int i) {
    for (int k = std::max(0, value - inputs); k < i; ++k) {
      if (all[k].IsReduction()) return true;
    }
    return value < inputs;
  };
  for (int i = 0; i < static_cast<int>(all.size()); ++i) {
    // What waits for no sum would be computed twice at once.
    if (!is_cheap(all[i].tile) || (all[i].a < inputs && all[i].b < inputs)) continue;
    if (!sum_between(all[i].a, i) || (all[i].b >= 0 && !sum_between(all[i].b, i))) continue;
    const int value = inputs + i;
    int first = -1, later = -1;  // readers: the first, and the first after a sum
    for (int k = i + 1; k < static_cast<int>(all.size()); ++k) {
      if (all[k].a != value && all[k].b != value) continue;
      if (first < 0) first = k;
      if (first != k && later < 0 && sum_between(inputs + first, k)) later = k;
    }
    if (first != i + 1 || later < 0 || all[later].tile == TileCode::kNone) continue;
    if (all[first].tile == TileCode::kNone && !all[first].reduce.adds_floats) continue;
    FusedInstruction again = all[i];
    all.insert(all.begin() + later, again);
    program->types.insert(program->types.begin() + inputs + later, program->types[value]);
    for (int k = later + 1; k < static_cast<int>(all.size()); ++k) {
      for (int* operand : {&all[k].a, &all[k].b}) {
        if (*operand == value) {
          *operand = inputs + later;
        } else if (*operand >= inputs + later) {
          ++*operand;
        }
      }
    }
  }
}

absl::StatusOr<FusedProgram> MakeFusedProgram(const KernelRegistry& kernels, const PrepareContext& p, bool reductions) {
  ASSIGN_OR_RETURN(std::vector<FuncRef> refs, p.Attr<std::vector<FuncRef>>("program"));
  ASSIGN_OR_RETURN(std::vector<int64_t> operands, p.Attr<std::vector<int64_t>>("operands"));
  ASSIGN_OR_RETURN(std::vector<DType> types, p.Attr<std::vector<DType>>("types"));
  if (operands.size() != 2 * refs.size() || types.size() != refs.size()) {
    return InvalidArgument(refs.size(), " instructions have ", operands.size(), " operands and ", types.size(),
                           " types");
  }
  FusedProgram program;
  program.num_inputs = p.num_inputs();
  for (int i = 0; i < p.num_inputs(); ++i) program.types.push_back(p.input_type(i));
  for (size_t i = 0; i < refs.size(); ++i) {
    const int64_t a = operands[2 * i], b = operands[2 * i + 1], known = static_cast<int64_t>(program.types.size());
    if (a < 0 || a >= known || b < -1 || b >= known) return InvalidArgument("operands ", a, ", ", b, " of ", known);
    if (b >= 0 && program.types[a] != program.types[b]) return InvalidArgument("operands of two types");
    std::vector<DType> of = {program.types[a]};
    if (b >= 0) of.push_back(program.types[b]);
    ASSIGN_OR_RETURN(FusedInstruction made, MakeInstruction(kernels, p, refs[i], of, types[i], reductions));
    made.a = static_cast<int>(a);
    made.b = static_cast<int>(b);
    program.cost_ns += made.IsReduction() ? 0.1 : 0.7 * made.f.cost_ns;
    program.instructions.push_back(std::move(made));
    program.types.push_back(types[i]);
  }
  if (program.types.back() != p.output_type(0)) {
    return InvalidArgument("the last instruction makes ", DTypeName(program.types.back()), ", the node ",
                           DTypeName(p.output_type(0)));
  }
  return program;
}

int AssignBlocks(FusedProgram* program) {
  std::vector<FusedInstruction>& instructions = program->instructions;
  const int values = static_cast<int>(program->types.size()), num_inputs = program->num_inputs;
  std::vector<int> last(values, -1);
  for (size_t i = 0; i < instructions.size(); ++i) {
    last[instructions[i].a] = static_cast<int>(i);
    if (instructions[i].b >= 0) last[instructions[i].b] = static_cast<int>(i);
  }
  std::vector<int> block_of(values, -1);
  std::vector<bool> taken(num_inputs, true);
  auto take = [&] {
    for (size_t k = 0; k < taken.size(); ++k) {
      if (!taken[k]) {
        taken[k] = true;
        return static_cast<int>(k);
      }
    }
    taken.push_back(true);
    return static_cast<int>(taken.size() - 1);
  };
  const bool rows =
      std::any_of(instructions.begin(), instructions.end(), [](const FusedInstruction& i) { return i.IsReduction(); });
  for (size_t i = 0; i + 1 < instructions.size(); ++i) {
    FusedInstruction& at = instructions[i];
    const int result = num_inputs + static_cast<int>(i);
    auto release = [&](bool before) {
      for (int v : {at.a, at.b}) {
        if (v < num_inputs || last[v] != static_cast<int>(i)) continue;
        // A result may be written over an operand whose elements lie where its own will.
        const bool in_place = !rows && ElementSize(program->types[v]) == ElementSize(program->types[result]);
        if (in_place == before) taken[block_of[v]] = false;
      }
    };
    release(true);
    at.block = block_of[result] = take();
    release(false);
  }
  return static_cast<int>(taken.size());
}

}  // namespace sluice
