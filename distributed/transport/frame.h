// The bytes of the socket transports: one frame is one message.
//
//   header (64 bytes) | method | body | descriptors of tensors | raw elements, one tensor after the other
//
// Integers are little-endian. Elements of plain types are raw (here, or in the arena that both processes map); strings
// and handles travel inside their descriptor. Whatever arrives is checked against limits before memory is taken for it.
#ifndef SLUICE_DISTRIBUTED_TRANSPORT_FRAME_H_
#define SLUICE_DISTRIBUTED_TRANSPORT_FRAME_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "core/types/tensor.h"
#include "distributed/rpc/message.h"

namespace sluice {

enum class FrameKind : uint8_t {
  kHello = 1,
  kWelcome = 2,
  kRefused = 3,
  kRequest = 4,
  kReply = 5,
  kError = 6,
  // Between two connections on one machine (connection.h):
  kMemory = 7,  // "my memory may be read": the body is a PeerMemory
  kReads = 8,   // "I can read yours"
  kTaken = 9,   // "I have read what the frame `call` named"
};

inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr uint32_t kFrameMagic = 0x31554c53;  // "SLU1"
inline constexpr uint16_t kFrameVersion = 1;

struct FrameHeader {
  FrameKind kind = FrameKind::kRequest;
  uint64_t call = 0;
  int64_t timeout_ns = 0;
  uint32_t method_bytes = 0;
  uint32_t tensors = 0;
  uint64_t body_bytes = 0;
  uint64_t descriptor_bytes = 0;
  uint64_t raw_bytes = 0;
};

struct FrameLimits {
  uint64_t method_bytes = 4 << 10;
  uint64_t body_bytes = uint64_t{1} << 30;
  uint64_t descriptor_bytes = uint64_t{1} << 30;
  uint64_t raw_bytes = uint64_t{1} << 36;
  uint32_t tensors = 1 << 20;
};

void EncodeFrameHeader(const FrameHeader& header, char* out);
// INVALID_ARGUMENT for other magic or version, an unknown kind, or sizes beyond the limits.
absl::StatusOr<FrameHeader> DecodeFrameHeader(const char* bytes, const FrameLimits& limits);

// Where a tensor's elements are.
struct TensorPlace {
  enum Form : uint8_t { kNone, kRaw, kArena, kEncoded, kRemote };
  Form form = kNone;
  DType dtype = DType::kInvalid;
  Shape shape;
  uint64_t bytes = 0;
  uint64_t offset = 0;  // kArena; of kRemote the address in the sender's memory
  uint32_t slot = 0;    // kArena
  Tensor value;         // kEncoded
};

// `place` says kRaw, kArena or kRemote for plain types; the rest follows from the tensor. UNIMPLEMENTED for variants.
absl::Status AppendTensorPlace(const Tensor& tensor, const TensorPlace& place, Bytes* out);
// INVALID_ARGUMENT when the bytes are not `count` descriptors, or their raw elements are not `raw_bytes` in all.
using TensorPlaces = std::vector<TensorPlace, RecyclingAllocator<TensorPlace>>;
absl::StatusOr<TensorPlaces> ParseTensorPlaces(absl::string_view bytes, uint32_t count, uint64_t raw_bytes);

}  // namespace sluice

#endif  // SLUICE_DISTRIBUTED_TRANSPORT_FRAME_H_
