// Sorted tables of keys and values (LevelDB's table format), in which checkpoints keep their index.
//
// Writing is LevelDB's own TableBuilder. Reading is ours: LevelDB believes the sizes in a file, and a table that comes
// from elsewhere must never crash us or make us take memory that it does not fill.
#ifndef SLUICE_CORE_IO_SORTED_TABLE_H_
#define SLUICE_CORE_IO_SORTED_TABLE_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "core/io/file_system.h"

namespace sluice {

// Calls `visit` for each entry of the table `file`, in order. The views live for the time of the call. Checks every
// size, offset and checksum first: DATA_LOSS says what is wrong. Stops at the first error of `visit`.
absl::Status ReadSortedTable(absl::string_view file,
                             absl::FunctionRef<absl::Status(absl::string_view key, absl::string_view value)> visit);

class SortedTableWriter {
 public:
  // `file` must outlive it. No compression, blocks of 256 KiB: byte for byte what TensorFlow writes.
  explicit SortedTableWriter(WritableFile* file);
  ~SortedTableWriter();
  // REQUIRES: keys come in increasing order.
  absl::Status Add(absl::string_view key, absl::string_view value);
  absl::Status Finish();  // the caller syncs and closes the file

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice

#endif  // SLUICE_CORE_IO_SORTED_TABLE_H_
