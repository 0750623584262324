// The C++ types of elements, whole. Include it where elements are touched, not in interfaces: Eigen is half a second of
// each file's compilation.
//
// half and bfloat16 are Eigen's; the quantized types are thin structs over their integers.
#ifndef SLUICE_CORE_TYPES_NUMERIC_TYPES_H_
#define SLUICE_CORE_TYPES_NUMERIC_TYPES_H_

#include "Eigen/Core"
#include "core/types/cpp_types.h"

#endif  // SLUICE_CORE_TYPES_NUMERIC_TYPES_H_
