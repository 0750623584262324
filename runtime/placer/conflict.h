// The smallest reason why nothing fits: of many constraints, each of which allows some choices, a smallest subset that
// together allows none.
#ifndef SLUICE_RUNTIME_PLACER_CONFLICT_H_
#define SLUICE_RUNTIME_PLACER_CONFLICT_H_

#include <vector>

namespace sluice {

// `allowed[i][d]`: constraint i allows choice d. Returns the constraints of a smallest contradictory subset, in order,
// earlier ones before later ones where several are as small; empty when some choice suits all. Exact up to three
// constraints, otherwise minimal (none of it can be left out).
std::vector<int> SmallestConflict(const std::vector<std::vector<bool>>& allowed);

}  // namespace sluice

#endif  // SLUICE_RUNTIME_PLACER_CONFLICT_H_
