// The kernels that a fused kernel is made of.
#ifndef SLUICE_KERNELS_MATH_FUSED_MEMBER_H_
#define SLUICE_KERNELS_MATH_FUSED_MEMBER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "core/kernel/kernel_registry.h"
#include "kernels/common/element_wise.h"
#include "kernels/common/reduce.h"
#include "kernels/math/tiles.h"

namespace sluice {

// One instruction: a loop over the elements of one or two values, or a reduction of the rows of one.
struct FusedInstruction {
  ElementWiseFunction f;
  ReduceLoops reduce;  // of a reduction; else its `rows` is null
  int a = 0, b = -1;   // values: the inputs, then what instructions make
  int block = -1;      // where the result goes; -1: to the output
  TileCode tile = TileCode::kNone;
  std::string source;  // the node that it was
  bool IsReduction() const { return reduce.rows != nullptr; }
};

// The instructions of the node that `p` describes, by its attributes program, operands and types, and the types of all
// values. Only a kernel that takes rows has reductions.
struct FusedProgram {
  std::vector<FusedInstruction> instructions;
  std::vector<DType> types;
  int num_inputs = 0;
  double cost_ns = 0.1;  // of one element through all instructions
};
absl::StatusOr<FusedProgram> MakeFusedProgram(const KernelRegistry& kernels, const PrepareContext& p, bool reductions);

// Gives each instruction but the last a block, shared when lifetimes allow; inputs have blocks of their own, the first
// ones. Returns how many there are.
int AssignBlocks(FusedProgram* program);

// Has what is cheap and read on both sides of a sum, such as x - mean(x), computed on both sides: that takes less time
// than to store it.
void RepeatCheapInstructions(FusedProgram* program);

// Instructions [begin, end) of a program, as operations on tiles; without operations they run as loops, one by one.
struct FusedSegment {
  struct Operation {
    TileCode code;
    int value;  // the operand, what is stored, or the sum; -1: none
  };
  int begin = 0, end = 0;
  std::vector<Operation> operations;
  bool sums = false;  // some are kSum
};
// The segments of a program, of whose values those that are not `wide` (one element for each row) have no tiles.
// `sums`: rows are whole tiles, so that sums of floats can be made tile by tile.
std::vector<FusedSegment> MakeSegments(const FusedProgram& program, const std::vector<bool>& wide, bool sums = false);

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_FUSED_MEMBER_H_
