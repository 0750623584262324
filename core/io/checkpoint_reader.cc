#include "core/io/checkpoint_reader.h"

#include <utility>

#include "core/base/status.h"
#include "core/io/bundle_reader.h"
#include "core/io/old_checkpoint.h"

namespace sluice {

absl::StatusOr<std::unique_ptr<CheckpointReader>> OpenCheckpoint(FileSystem* files, const std::string& prefix) {
  if (!files->Exists(IndexPath(prefix))) {
    ASSIGN_OR_RETURN(const std::vector<std::string> paths, Glob(files, prefix));
    if (!paths.empty()) {
      ASSIGN_OR_RETURN(std::unique_ptr<OldCheckpoint> old, OldCheckpoint::Open(files, paths));
      return std::unique_ptr<CheckpointReader>(std::move(old));
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<BundleReader> bundle, BundleReader::Open(files, prefix));
  return std::unique_ptr<CheckpointReader>(std::move(bundle));
}

}  // namespace sluice
