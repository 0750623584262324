// Writes a checkpoint (TensorBundle) that appears complete or not at all.
//
//   ASSIGN_OR_RETURN(auto writer, BundleWriter::Make(files, "/ckpt/model-100"));
//   RETURN_IF_ERROR(writer->Add("dense/kernel", kernel));
//   RETURN_IF_ERROR(writer->Finish());
//
// Data goes to a temporary file, which Finish syncs and renames; the index comes last and commits. A failure or a crash
// before that leaves an earlier checkpoint of the same prefix as it was. Threads: one at a time.
#ifndef SLUICE_CORE_IO_BUNDLE_WRITER_H_
#define SLUICE_CORE_IO_BUNDLE_WRITER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/io/bundle_format.h"
#include "core/io/file_system.h"
#include "core/io/tensor_slice.h"
#include "core/types/tensor.h"

namespace sluice {

class BundleWriter {
 public:
  // Makes the folder when it is not there.
  static absl::StatusOr<std::unique_ptr<BundleWriter>> Make(FileSystem* files, const std::string& prefix);
  ~BundleWriter();  // without Finish: removes what was written

  // Plain or string tensors. INVALID_ARGUMENT when the key is empty or was added before.
  absl::Status Add(absl::string_view key, const Tensor& value);
  // `value` is the part `slice` of tensor `key`, whose shape is `full_shape`. Parts of one tensor may be spread over
  // writers that MergeBundles joins.
  absl::Status AddSlice(absl::string_view key, const Shape& full_shape, const TensorSlice& slice, const Tensor& value);
  absl::Status Finish();

 private:
  BundleWriter(FileSystem* files, std::string prefix, std::string data_path, std::unique_ptr<WritableFile> data);

  FileSystem* const files_;
  const std::string prefix_;
  const std::string data_path_;
  std::unique_ptr<WritableFile> data_;
  int64_t offset_ = 0;
  bool finished_ = false;
  BundleIndex index_;
};

// Joins the checkpoints `prefixes`, written by tasks that each saved some tensors or parts, into one with prefix
// `merged`: moves their data files and writes one index. Their own indexes are removed. INVALID_ARGUMENT when two of
// them hold the same tensor, or parts of a tensor disagree about its type or shape.
absl::Status MergeBundles(FileSystem* files, const std::vector<std::string>& prefixes, const std::string& merged,
                          bool allow_missing = false);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_BUNDLE_WRITER_H_
