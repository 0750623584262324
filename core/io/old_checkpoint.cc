#include "core/io/old_checkpoint.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/base/status.h"
#include "core/io/sorted_table.h"
#include "core/proto/saved_tensor_slice.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

// How many values the lists of a message hold; one list is used.
int64_t CountValues(const proto::TensorProto& m) {
  return int64_t{m.float_val_size()} + m.double_val_size() + m.int_val_size() + m.int64_val_size() + m.bool_val_size() +
         m.string_val_size() + m.half_val_size() + m.uint32_val_size() + m.uint64_val_size() +
         m.scomplex_val_size() / 2 + m.dcomplex_val_size() / 2;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OldCheckpoint>> OldCheckpoint::Open(FileSystem* files,
                                                                   const std::vector<std::string>& paths) {
  std::unique_ptr<OldCheckpoint> checkpoint(new OldCheckpoint);
  if (!paths.empty()) checkpoint->path_ = paths[0];
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(files, path));
    // The entry with the empty key comes first and describes the others.
    const absl::Status status = ReadSortedTable(contents, [&](absl::string_view key, absl::string_view value) {
      return key.empty() ? checkpoint->AddMeta(value) : checkpoint->AddValue(value);
    });
    if (!status.ok()) return Annotate(status, absl::StrCat("checkpoint ", path, ": "));
  }
  return checkpoint;
}

absl::Status OldCheckpoint::AddMeta(absl::string_view message) {
  proto::SavedTensorSlices slices;
  if (!slices.ParseFromArray(message.data(), static_cast<int>(message.size())) || !slices.has_meta()) {
    return DataLoss("its description does not parse");
  }
  for (const auto& tensor : slices.meta().tensor()) {
    Info info;
    auto dtype = DTypeFromProto(tensor.type());
    info.dtype = dtype.ok() && !IsRefType(*dtype) ? *dtype : DType::kInvalid;
    auto shape = FullShapeFromProto(tensor.shape());
    if (!shape.ok()) return DataLoss("tensor '", tensor.name(), "': ", shape.status().message());
    info.shape = *std::move(shape);
    Entry& entry = entries_.try_emplace(tensor.name(), Entry{info, {}, {}}).first->second;
    if (entry.info.dtype != info.dtype || entry.info.shape != info.shape) {
      return DataLoss("tensor '", tensor.name(), "' has two types or shapes");
    }
  }
  return absl::OkStatus();
}

absl::Status OldCheckpoint::AddValue(absl::string_view message) {
  proto::SavedTensorSlices slices;
  if (!slices.ParseFromArray(message.data(), static_cast<int>(message.size())) || !slices.has_data()) {
    return DataLoss("a value does not parse");
  }
  proto::SavedSlice& slice = *slices.mutable_data();
  auto it = entries_.find(slice.name());
  if (it == entries_.end()) return DataLoss("tensor '", slice.name(), "' is not described");
  Entry& entry = it->second;
  if (entry.info.dtype == DType::kInvalid) return absl::OkStatus();  // reading it is the error
  const absl::Status status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(TensorSlice part, TensorSlice::FromProto(slice.slice()));
    ASSIGN_OR_RETURN(part, part.Within(entry.info.shape));
    proto::TensorProto& data = *slice.mutable_data();
    const Shape shape = part.ToShape();
    if (CountValues(data) != shape.num_elements()) {
      return DataLoss(CountValues(data), " values for ", shape.ToString());
    }
    data.set_dtype(static_cast<proto::DataType>(entry.info.dtype));
    ShapeToProto(shape, data.mutable_tensor_shape());
    ASSIGN_OR_RETURN(Tensor value, TensorFromProto(data));
    entry.parts.push_back(std::move(part));
    entry.values.push_back(std::move(value));
    return absl::OkStatus();
  }();
  if (status.ok()) return status;
  return DataLoss("tensor '", slice.name(), "': ", status.message());
}

std::vector<std::string> OldCheckpoint::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

absl::StatusOr<const OldCheckpoint::Entry*> OldCheckpoint::Get(absl::string_view name) const {
  auto it = entries_.find(name);
  if (it == entries_.end()) {
    return NotFound("Key ", absl::CHexEscape(name), " not found in checkpoint ", path_, " (it has ", entries_.size(),
                    " tensors)");
  }
  return &it->second;
}

absl::StatusOr<CheckpointReader::Info> OldCheckpoint::Describe(absl::string_view name) const {
  ASSIGN_OR_RETURN(const Entry* const entry, Get(name));
  return entry->info;
}

absl::StatusOr<Tensor> OldCheckpoint::Read(absl::string_view name, Allocator* allocator) const {
  ASSIGN_OR_RETURN(const Entry* const entry, Get(name));
  TensorSlice all;
  all.extents.resize(entry->info.shape.rank());
  return ReadSlice(name, all, allocator);
}

absl::StatusOr<Tensor> OldCheckpoint::ReadSlice(absl::string_view name, const TensorSlice& slice,
                                                Allocator* allocator) const {
  ASSIGN_OR_RETURN(const Entry* const entry, Get(name));
  const std::string where = absl::StrCat("tensor '", name, "' in checkpoint ", path_, ": ");
  if (entry->info.dtype == DType::kInvalid) return Unimplemented(where, "its type cannot be restored");
  absl::StatusOr<TensorSlice> wanted = slice.Within(entry->info.shape);
  if (!wanted.ok()) return Annotate(wanted.status(), where);
  absl::StatusOr<Tensor> value = AssembleParts(
      entry->info.dtype, *wanted, entry->parts, [&](size_t i) -> absl::StatusOr<Tensor> { return entry->values[i]; },
      allocator);
  if (!value.ok()) return Annotate(value.status(), where);
  return value;
}

}  // namespace sluice
