// Tensors and shapes to and from messages. Messages come from outside, so everything in them is checked.
#ifndef SLUICE_CORE_TYPES_TENSOR_PROTO_H_
#define SLUICE_CORE_TYPES_TENSOR_PROTO_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "core/types/allocator.h"
#include "core/types/shape.h"
#include "core/types/tensor.h"

namespace sluice {

namespace proto {
class ResourceHandleProto;
class TensorProto;
class TensorShapeProto;
}  // namespace proto

// An error for numbers that are no type or one that we do not have.
absl::StatusOr<DType> DTypeFromProto(int number);

absl::StatusOr<PartialShape> ShapeFromProto(const proto::TensorShapeProto& message);
// As ShapeFromProto; an unknown size or rank is an error.
absl::StatusOr<Shape> FullShapeFromProto(const proto::TensorShapeProto& message);
void ShapeToProto(const PartialShape& shape, proto::TensorShapeProto* message);

inline constexpr uint64_t kMaxTensorProtoBytes = uint64_t{64} << 30;

// Takes the values from tensor_content or from the list of the type, whose last element repeats when it is shorter than
// the shape (an empty list gives zeros). INVALID_ARGUMENT when sizes disagree; RESOURCE_EXHAUSTED beyond max_bytes.
absl::StatusOr<Tensor> TensorFromProto(const proto::TensorProto& message, Allocator* allocator = HostAllocator(),
                                       uint64_t max_bytes = kMaxTensorProtoBytes);

enum class TensorEncoding {
  kCompact,   // raw bytes, except single elements, which stay readable
  kRaw,       // raw bytes for every plain type
  kReadable,  // always the list of the type, with a repeated tail left out
};
// UNIMPLEMENTED for variants, which have no form outside the process.
absl::Status TensorToProto(const Tensor& tensor, proto::TensorProto* message,
                           TensorEncoding encoding = TensorEncoding::kCompact);

}  // namespace sluice

#endif  // SLUICE_CORE_TYPES_TENSOR_PROTO_H_
