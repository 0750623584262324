// A checkpoint of any format, to read from.
//
//   ASSIGN_OR_RETURN(auto reader, OpenCheckpoint(files, "/ckpt/model-100"));
//   ASSIGN_OR_RETURN(Tensor kernel, reader->Read("dense/kernel"));
//
// Threads: any. Errors: NOT_FOUND when checkpoint or tensor are not there, DATA_LOSS when something is damaged; both
// name them.
#ifndef SLUICE_CORE_IO_CHECKPOINT_READER_H_
#define SLUICE_CORE_IO_CHECKPOINT_READER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/io/file_system.h"
#include "core/io/tensor_slice.h"
#include "core/types/allocator.h"
#include "core/types/tensor.h"

namespace sluice {

class CheckpointReader {
 public:
  struct Info {
    DType dtype;  // kInvalid for a type that we do not have
    Shape shape;
  };
  virtual ~CheckpointReader() = default;
  // The names of the tensors, sorted; a tensor saved in parts is one name.
  virtual std::vector<std::string> Names() const = 0;
  virtual absl::StatusOr<Info> Describe(absl::string_view name) const = 0;
  // The whole tensor, put together when it was saved in parts.
  virtual absl::StatusOr<Tensor> Read(absl::string_view name, Allocator* allocator = HostAllocator()) const = 0;
  // The part `slice` of it, whatever the parts it was saved in.
  virtual absl::StatusOr<Tensor> ReadSlice(absl::string_view name, const TensorSlice& slice,
                                           Allocator* allocator = HostAllocator()) const = 0;
};

// Format V2 when there is `prefix`.index, else format V1: the file `prefix`, or the files that it matches as a pattern.
absl::StatusOr<std::unique_ptr<CheckpointReader>> OpenCheckpoint(FileSystem* files, const std::string& prefix);

}  // namespace sluice

#endif  // SLUICE_CORE_IO_CHECKPOINT_READER_H_
