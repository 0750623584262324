#include "distributed/transport/frame.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"
#include "core/proto/tensor.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");

struct WireHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t kind;
  uint8_t zero;
  uint64_t call;
  int64_t timeout_ns;
  uint32_t method_bytes;
  uint32_t tensors;
  uint64_t body_bytes;
  uint64_t descriptor_bytes;
  uint64_t raw_bytes;
  uint64_t spare;
};
static_assert(sizeof(WireHeader) == kFrameHeaderBytes, "no padding");

template <typename T>
void Append(T value, Bytes* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <typename T>
bool Take(absl::string_view* in, T* value) {
  if (in->size() < sizeof(T)) return false;
  std::memcpy(value, in->data(), sizeof(T));
  in->remove_prefix(sizeof(T));
  return true;
}

// Lists of strings stand for more memory than their bytes, but only so much more.
constexpr uint64_t kMaxGrowth = 64;

}  // namespace

void EncodeFrameHeader(const FrameHeader& header, char* out) {
  const WireHeader wire = {kFrameMagic,
                           kFrameVersion,
                           static_cast<uint8_t>(header.kind),
                           0,
                           header.call,
                           header.timeout_ns,
                           header.method_bytes,
                           header.tensors,
                           header.body_bytes,
                           header.descriptor_bytes,
                           header.raw_bytes,
                           0};
  std::memcpy(out, &wire, sizeof wire);
}

absl::StatusOr<FrameHeader> DecodeFrameHeader(const char* bytes, const FrameLimits& limits) {
  WireHeader wire;
  std::memcpy(&wire, bytes, sizeof wire);
  if (wire.magic != kFrameMagic) return InvalidArgument("what arrived is no frame of this transport");
  if (wire.version != kFrameVersion) {
    return InvalidArgument("the peer speaks version ", wire.version, " of the transport, this task ", kFrameVersion);
  }
  if (wire.kind < 1 || wire.kind > static_cast<uint8_t>(FrameKind::kTaken) || wire.zero != 0 || wire.spare != 0) {
    return InvalidArgument("a frame of unknown kind ", wire.kind);
  }
  if (wire.method_bytes > limits.method_bytes || wire.body_bytes > limits.body_bytes ||
      wire.descriptor_bytes > limits.descriptor_bytes || wire.raw_bytes > limits.raw_bytes ||
      wire.tensors > limits.tensors || wire.tensors > wire.descriptor_bytes) {
    return InvalidArgument("a frame beyond the limits: method ", wire.method_bytes, " bytes, body ", wire.body_bytes,
                           ", descriptors ", wire.descriptor_bytes, " of ", wire.tensors, " tensors, elements ",
                           wire.raw_bytes);
  }
  FrameHeader header;
  header.kind = static_cast<FrameKind>(wire.kind);
  header.call = wire.call;
  header.timeout_ns = wire.timeout_ns;
  header.method_bytes = wire.method_bytes;
  header.tensors = wire.tensors;
  header.body_bytes = wire.body_bytes;
  header.descriptor_bytes = wire.descriptor_bytes;
  header.raw_bytes = wire.raw_bytes;
  return header;
}

absl::Status AppendTensorPlace(const Tensor& tensor, const TensorPlace& place, Bytes* out) {
  if (!tensor.IsValid()) {
    Append<uint8_t>(TensorPlace::kNone, out);
    return absl::OkStatus();
  }
  if (!IsPlain(tensor.dtype())) {
    proto::TensorProto message;
    RETURN_IF_ERROR(TensorToProto(tensor, &message));
    Append<uint8_t>(TensorPlace::kEncoded, out);
    Append<uint64_t>(message.ByteSizeLong(), out);
    out->append(message.SerializeAsString());
    return absl::OkStatus();
  }
  Append<uint8_t>(place.form, out);
  Append<uint8_t>(static_cast<uint8_t>(tensor.dtype()), out);
  Append<uint8_t>(static_cast<uint8_t>(tensor.rank()), out);
  for (int64_t d : tensor.shape().dims()) Append<int64_t>(d, out);
  if (place.form == TensorPlace::kArena) {
    Append<uint64_t>(place.offset, out);
    Append<uint32_t>(place.slot, out);
  }
  if (place.form == TensorPlace::kRemote) Append<uint64_t>(place.offset, out);
  return absl::OkStatus();
}

absl::StatusOr<TensorPlaces> ParseTensorPlaces(absl::string_view in, uint32_t count, uint64_t raw_bytes) {
  const auto malformed = [](absl::string_view what) {
    return InvalidArgument("a frame's tensors are malformed: ", what);
  };
  TensorPlaces places;
  places.reserve(std::min<uint32_t>(count, 64));
  uint64_t raw = 0;
  absl::InlinedVector<int64_t, 8> dims;
  for (uint32_t i = 0; i < count; ++i) {
    TensorPlace place;
    uint8_t form = 0, dtype = 0, rank = 0;
    if (!Take(&in, &form) || form > TensorPlace::kRemote) return malformed("form");
    place.form = static_cast<TensorPlace::Form>(form);
    if (form == TensorPlace::kEncoded) {
      uint64_t size = 0;
      if (!Take(&in, &size) || size > in.size()) return malformed("an encoded tensor is cut off");
      proto::TensorProto message;
      if (size > static_cast<uint64_t>(std::numeric_limits<int>::max()) ||
          !message.ParseFromArray(in.data(), static_cast<int>(size))) {
        return malformed("an encoded tensor");
      }
      in.remove_prefix(size);
      ASSIGN_OR_RETURN(place.value, TensorFromProto(message, HostAllocator(), kMaxGrowth * (size + 1024)));
    } else if (form != TensorPlace::kNone) {
      if (!Take(&in, &dtype) || !Take(&in, &rank)) return malformed("cut off");
      ASSIGN_OR_RETURN(place.dtype, DTypeFromProto(dtype));
      if (!IsPlain(place.dtype)) return malformed(absl::StrCat("raw elements of type ", DTypeName(place.dtype)));
      dims.resize(rank);
      for (int64_t& d : dims) {
        if (!Take(&in, &d)) return malformed("cut off");
      }
      ASSIGN_OR_RETURN(place.shape, Shape::Make(dims));
      const uint64_t elements = static_cast<uint64_t>(place.shape.num_elements());
      const uint64_t element = ElementSize(place.dtype);
      if (elements > std::numeric_limits<int64_t>::max() / element) return malformed("a shape without end");
      place.bytes = elements * element;
      if (form == TensorPlace::kArena) {
        if (!Take(&in, &place.offset) || !Take(&in, &place.slot)) return malformed("cut off");
      } else if (form == TensorPlace::kRemote) {
        if (!Take(&in, &place.offset)) return malformed("cut off");
      } else {
        if (place.bytes > raw_bytes - raw) return malformed("more elements than the frame has");
        raw += place.bytes;
      }
    }
    places.push_back(std::move(place));
  }
  if (!in.empty()) return malformed("bytes behind the last tensor");
  if (raw != raw_bytes) return malformed(absl::StrCat(raw, " bytes described, ", raw_bytes, " announced"));
  return places;
}

}  // namespace sluice
