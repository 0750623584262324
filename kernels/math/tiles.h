// Element-wise programs over float whose values stay in vector registers.
//
// A tile is eight vectors. Each operation of a program is a function that takes the tile in the eight registers in
// which vectors are passed, and ends with a jump to the function of the next operation; what it needs beside the tile
// it reads from memory: as many elements, or one for all. So a chain of operations reads its inputs and writes its
// result once, and its arithmetic is that of the loops of the ops, bit for bit.
//
//   tile = load x;  tile = tile * 1.01;  tile = tile + 0.1;  store y
#ifndef SLUICE_KERNELS_MATH_TILES_H_
#define SLUICE_KERNELS_MATH_TILES_H_

#include <cstdint>
#include <string>

namespace sluice {

enum class TileCode : uint8_t {
  kNone,
  kLoad,
  kStore,
  // The tile and an operand; the second half is the same with the two exchanged.
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMaximum,
  kMinimum,
  kSquaredDifference,
  kReluGrad,
  kAddTo,
  kSubFrom,
  kMulBy,
  kDivInto,
  kMaximumWith,
  kMinimumWith,
  kSquaredDifferenceFrom,
  kReluGradBy,
  // The tile alone.
  kNeg,
  kAbs,
  kSquare,
  kRelu,
  // The tile stays as it is. Adds its elements to 32 sums in the order of common/reduce.h; `at` 0 begins them anew.
  kSum,
  // Asks for a tile of memory, so that it is in the caches when it is read.
  kFetch,
  kEnd,
  kCount,
};
inline constexpr int kExchanged = static_cast<int>(TileCode::kAddTo) - static_cast<int>(TileCode::kAdd);

// The code of an op of floats with so many operands, kNone when it has none.
TileCode TileCodeOf(const std::string& op, int operands);

// How many sums kSum makes. SumOfLanes joins them.
inline constexpr int kTileSums = 32;
float SumOfLanes(const float* sums);

// One operation, ready to run: elements [at, at + a tile) of `data`, or its first for all; for kSum the sums.
struct TileStep {
  void (*run)() = nullptr;
  float* data = nullptr;
};

// The functions for this processor.
struct TileFunctions {
  int64_t elements = 0;  // of a tile
  // [code][one for all]; a store has the second form for results past the caches, at addresses that 64 divides.
  void (*step[static_cast<int>(TileCode::kCount)][2])() = {};
  // Runs the steps, of which the last is kEnd, on each whole tile of [0, count).
  void (*run)(const TileStep* steps, int64_t count) = nullptr;
};
const TileFunctions& Tiles();

}  // namespace sluice

#endif  // SLUICE_KERNELS_MATH_TILES_H_
