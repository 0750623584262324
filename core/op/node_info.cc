#include "core/op/node_info.h"

#include "absl/strings/str_cat.h"

namespace sluice {

std::string NodeInfo::Describe() const {
  std::string text = absl::StrCat(op ? op->name : "node", " '", name, "'");
  if (source.file != nullptr && source.line > 0) {
    absl::string_view file = *source.file;
    size_t slash = file.rfind('/');
    if (slash != absl::string_view::npos) file.remove_prefix(slash + 1);
    absl::StrAppend(&text, " (", file, ":", source.line, ")");
  }
  return text;
}

}  // namespace sluice
