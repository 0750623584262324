#include "core/kernel/rendezvous.h"

#include "absl/strings/str_cat.h"

namespace sluice {

Rendezvous::Key Rendezvous::MakeKey(absl::string_view src_device, uint64_t incarnation, absl::string_view dst_device,
                                    absl::string_view edge, absl::string_view frame) {
  return absl::StrCat(src_device, ";", absl::Hex(incarnation, absl::kZeroPad16), ";", dst_device, ";", edge, ";",
                      frame);
}

}  // namespace sluice
