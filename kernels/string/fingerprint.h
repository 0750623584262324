// A 64-bit fingerprint of a string that never changes: FarmHash's Fingerprint64, which TensorFlow's hash buckets use.
#ifndef SLUICE_KERNELS_STRING_FINGERPRINT_H_
#define SLUICE_KERNELS_STRING_FINGERPRINT_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace sluice {

uint64_t Fingerprint64(absl::string_view s);

}  // namespace sluice

#endif  // SLUICE_KERNELS_STRING_FINGERPRINT_H_
