// What a call between tasks carries: a protocol buffer, and tensors beside it that are never copied into it.
//
//   body     a serialised message of distributed/proto, without its tensors
//   tensors  its field 100 (`repeated TensorProto tensors = 100`), in order, by reference
//
// The wire form is a valid protocol buffer: the body, then each tensor as field 100, the elements of plain types as
// tensor_content. So any gRPC client can speak to a server with the .proto files alone, and we neither copy elements on
// the way out nor parse them on the way in.
#ifndef SLUICE_DISTRIBUTED_RPC_MESSAGE_H_
#define SLUICE_DISTRIBUTED_RPC_MESSAGE_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/base/recycled_memory.h"
#include "core/types/tensor.h"

namespace sluice {

// What lives for one call takes recycled memory: a warm call takes nothing from the heap.
using Bytes = std::basic_string<char, std::char_traits<char>, RecyclingAllocator<char>>;
using TensorList = std::vector<Tensor, RecyclingAllocator<Tensor>>;

struct Message {
  Bytes body;
  TensorList tensors;

  Message() = default;
  explicit Message(absl::string_view b) : body(b) {}
};

// One stretch of a message's wire form.
struct WirePiece {
  Bytes bytes;    // when `tensor` has no value
  Tensor tensor;  // else its elements, as they lie in memory
  const void* data() const { return tensor.IsValid() ? tensor.raw_data() : bytes.data(); }
  size_t size() const { return tensor.IsValid() ? tensor.num_bytes() : bytes.size(); }
};

inline constexpr int kTensorsField = 100;
inline constexpr size_t kMaxMessageBytes = size_t{1} << 36;

// UNIMPLEMENTED for tensors that have no form outside the process (variants). A tensor that is no value (a dead one) is
// an empty TensorProto.
using WirePieces = std::vector<WirePiece, RecyclingAllocator<WirePiece>>;
absl::StatusOr<WirePieces> EncodeMessage(const Message& message);

// `pieces` in order are one message, however it was cut. INVALID_ARGUMENT when it is not one, or a tensor's sizes
// disagree; nothing is allocated beyond the size of what came.
absl::StatusOr<Message> DecodeMessage(absl::Span<const absl::Span<const char>> pieces);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_RPC_MESSAGE_H_
