#include "distributed/rpc/message.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/container/inlined_vector.h"
#include "core/base/status.h"
#include "core/proto/tensor.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

constexpr uint32_t kLengthDelimited = 2;
constexpr uint32_t kTensorContentField = 4;
// Elements up to this many bytes are copied into the stretch before them: a piece of their own costs more.
constexpr size_t kInlineBytes = 1024;
// A list of values may stand for a larger tensor (its last one repeats; a string has 32 bytes), but only so much
// larger.
constexpr size_t kMaxGrowth = 64;

template <typename String>
void AppendVarint(uint64_t value, String* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

size_t VarintSize(uint64_t value) {
  size_t size = 1;
  for (; value >= 0x80; value >>= 7) ++size;
  return size;
}

template <typename String>
void AppendTag(uint32_t field, String* out) {
  AppendVarint(uint64_t{field} << 3 | kLengthDelimited, out);
}

// Reads bytes that lie in several pieces.
class PieceReader {
 public:
  explicit PieceReader(absl::Span<const absl::Span<const char>> pieces) : pieces_(pieces) {
    for (const auto& p : pieces) left_ += p.size();
  }

  size_t left() const { return left_; }

  bool Byte(uint8_t* byte) {
    if (left_ == 0) return false;
    SkipEmpty();
    *byte = static_cast<uint8_t>(pieces_[piece_][at_++]);
    --left_;
    return true;
  }

  bool Varint(uint64_t* value) {
    *value = 0;
    uint8_t byte = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (!Byte(&byte)) return false;
      *value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  bool Read(void* to, size_t size) {
    if (size > left_) return false;
    char* out = static_cast<char*>(to);
    left_ -= size;
    while (size > 0) {
      SkipEmpty();
      const size_t n = std::min(size, pieces_[piece_].size() - at_);
      std::memcpy(out, pieces_[piece_].data() + at_, n);
      at_ += n;
      out += n;
      size -= n;
    }
    return true;
  }

  template <typename String>
  bool Append(size_t size, String* out) {
    if (size > left_) return false;
    const size_t before = out->size();
    out->resize(before + size);
    return Read(&(*out)[before], size);
  }

 private:
  void SkipEmpty() {
    while (at_ == pieces_[piece_].size()) {
      ++piece_;
      at_ = 0;
    }
  }

  const absl::Span<const absl::Span<const char>> pieces_;
  size_t piece_ = 0;
  size_t at_ = 0;
  size_t left_ = 0;
};

absl::Status Malformed(absl::string_view what) {
  return InvalidArgument("a message from another task is malformed: ", what);
}

// The value of a field of wire type `type`, whose tag was read, copied with its tag.
template <typename String>
absl::Status CopyField(uint64_t tag, PieceReader* in, String* out) {
  AppendVarint(tag, out);
  uint64_t value = 0;
  switch (tag & 7) {
    case 0:
      if (!in->Varint(&value)) return Malformed("a number is cut off");
      AppendVarint(value, out);
      return absl::OkStatus();
    case 1:
    case 5:
      if (!in->Append((tag & 7) == 1 ? 8 : 4, out)) return Malformed("a fixed-size number is cut off");
      return absl::OkStatus();
    case kLengthDelimited:
      if (!in->Varint(&value) || value > in->left()) return Malformed("a field is longer than the message");
      AppendVarint(value, out);
      in->Append(value, out);
      return absl::OkStatus();
    default:
      return Malformed(absl::StrCat("wire type ", tag & 7));
  }
}

bool ParseProto(const Bytes& bytes, proto::TensorProto* message) {
  return bytes.size() <= static_cast<size_t>(std::numeric_limits<int>::max()) &&
         message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

// --- The description of a plain tensor: its type and shape, without a protocol buffer's objects ---

constexpr uint64_t kTypeTag = 1 << 3;                      // TensorProto.dtype
constexpr uint64_t kShapeTag = 2 << 3 | kLengthDelimited;  // TensorProto.tensor_shape
constexpr uint64_t kDimTag = 2 << 3 | kLengthDelimited;    // TensorShapeProto.dim
constexpr uint64_t kSizeTag = 1 << 3;                      // TensorShapeProto.Dim.size

size_t DimBytes(int64_t size) { return size == 0 ? 0 : 1 + VarintSize(static_cast<uint64_t>(size)); }

size_t ShapeBytes(const Shape& shape) {
  size_t bytes = 0;
  for (int64_t d : shape.dims()) bytes += 2 + DimBytes(d);
  return bytes;
}

void AppendDescription(DType dtype, const Shape& shape, size_t shape_bytes, Bytes* out) {
  AppendVarint(kTypeTag, out);
  AppendVarint(static_cast<uint64_t>(dtype), out);
  AppendVarint(kShapeTag, out);
  AppendVarint(shape_bytes, out);
  for (int64_t d : shape.dims()) {
    AppendVarint(kDimTag, out);
    AppendVarint(DimBytes(d), out);
    if (d == 0) continue;
    AppendVarint(kSizeTag, out);
    AppendVarint(static_cast<uint64_t>(d), out);
  }
}

// What AppendDescription wrote. False for anything else, which may be right all the same.
bool ReadDescription(const Bytes& head, DType* dtype, Shape* shape) {
  const absl::Span<const char> piece(head.data(), head.size());
  PieceReader in(absl::MakeConstSpan(&piece, 1));
  uint64_t tag = 0, type = 0, bytes = 0;
  if (!in.Varint(&tag) || tag != kTypeTag || !in.Varint(&type) || !in.Varint(&tag) || tag != kShapeTag ||
      !in.Varint(&bytes) || bytes != in.left()) {
    return false;
  }
  absl::InlinedVector<int64_t, 8> dims;
  while (in.left() > 0) {
    uint64_t size = 0;
    if (!in.Varint(&tag) || tag != kDimTag || !in.Varint(&bytes) || bytes > in.left()) return false;
    if (bytes > 0) {
      const size_t end = in.left() - bytes;
      if (!in.Varint(&tag) || tag != kSizeTag || !in.Varint(&size) || in.left() != end) return false;
    }
    dims.push_back(static_cast<int64_t>(size));
  }
  absl::StatusOr<DType> known = DTypeFromProto(static_cast<int>(std::min<uint64_t>(type, 10'000)));
  absl::StatusOr<Shape> valid = Shape::Make(dims);
  if (!known.ok() || !valid.ok()) return false;  // the other way says what is wrong
  *dtype = *known;
  *shape = *std::move(valid);
  return true;
}

absl::Status ParseDescription(const Bytes& head, DType* dtype, Shape* shape) {
  proto::TensorProto message;
  if (!ParseProto(head, &message)) return Malformed("a tensor's description");
  ASSIGN_OR_RETURN(*dtype, DTypeFromProto(message.dtype()));
  ASSIGN_OR_RETURN(*shape, FullShapeFromProto(message.tensor_shape()));
  return absl::OkStatus();
}

absl::StatusOr<Tensor> DecodeTensor(size_t size, PieceReader* in) {
  if (size == 0) return Tensor();
  const size_t end = in->left() - size;
  Bytes head;  // every field but the last tensor_content
  while (in->left() > end) {
    uint64_t tag = 0, length = 0;
    if (!in->Varint(&tag) || in->left() < end) return Malformed("a tensor is cut off");
    if (tag != (kTensorContentField << 3 | kLengthDelimited)) {
      RETURN_IF_ERROR(CopyField(tag, in, &head));
      if (in->left() < end || in->left() > end + size) return Malformed("a tensor's field is longer than the tensor");
      continue;
    }
    if (!in->Varint(&length) || in->left() < end || length > in->left() - end)
      return Malformed("a tensor's content is cut off");
    if (in->left() - length != end) {  // not the last field: small or foreign, parsed the ordinary way
      AppendTag(kTensorContentField, &head);
      AppendVarint(length, &head);
      in->Append(length, &head);
      continue;
    }
    DType dtype = DType::kInvalid;
    Shape shape;
    if (!ReadDescription(head, &dtype, &shape)) RETURN_IF_ERROR(ParseDescription(head, &dtype, &shape));
    if (!IsPlain(dtype)) return Malformed(absl::StrCat("raw elements of type ", DTypeName(dtype)));
    const uint64_t element = ElementSize(dtype);
    if (static_cast<uint64_t>(shape.num_elements()) > std::numeric_limits<uint64_t>::max() / element ||
        static_cast<uint64_t>(shape.num_elements()) * element != length) {
      return Malformed(absl::StrCat(DTypeName(dtype), " ", shape.ToString(), " with ", length, " bytes"));
    }
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(dtype, shape));
    in->Read(t.raw_data(), length);
    return t;
  }
  proto::TensorProto message;
  if (!ParseProto(head, &message)) return Malformed("a tensor");
  return TensorFromProto(message, HostAllocator(), kMaxGrowth * (size + kInlineBytes));
}

}  // namespace

absl::StatusOr<WirePieces> EncodeMessage(const Message& message) {
  WirePieces pieces(1);
  pieces[0].bytes = message.body;
  for (const Tensor& t : message.tensors) {
    Bytes* out = &pieces.back().bytes;
    AppendTag(kTensorsField, out);
    if (!t.IsValid()) {
      AppendVarint(0, out);
      continue;
    }
    const size_t bytes = t.num_bytes();
    if (!IsPlain(t.dtype()) || bytes == 0) {
      proto::TensorProto description;
      RETURN_IF_ERROR(TensorToProto(t, &description));
      AppendVarint(description.ByteSizeLong(), out);
      out->append(description.SerializeAsString());
      continue;
    }
    const size_t shape_bytes = ShapeBytes(t.shape());
    const size_t description_bytes =
        1 + VarintSize(static_cast<uint64_t>(t.dtype())) + 1 + VarintSize(shape_bytes) + shape_bytes;
    AppendVarint(description_bytes + 1 + VarintSize(bytes) + bytes, out);
    AppendDescription(t.dtype(), t.shape(), shape_bytes, out);
    AppendTag(kTensorContentField, out);
    AppendVarint(bytes, out);
    if (bytes <= kInlineBytes) {
      out->append(static_cast<const char*>(t.raw_data()), bytes);
      continue;
    }
    WirePiece elements;
    elements.tensor = t;
    pieces.push_back(std::move(elements));
    pieces.emplace_back();
  }
  if (pieces.back().bytes.empty() && pieces.size() > 1) pieces.pop_back();
  return pieces;
}

absl::StatusOr<Message> DecodeMessage(absl::Span<const absl::Span<const char>> pieces) {
  PieceReader in(pieces);
  Message message;
  while (in.left() > 0) {
    uint64_t tag = 0, size = 0;
    if (!in.Varint(&tag)) return Malformed("a tag is cut off");
    if (tag != (uint64_t{kTensorsField} << 3 | kLengthDelimited)) {
      RETURN_IF_ERROR(CopyField(tag, &in, &message.body));
      continue;
    }
    if (!in.Varint(&size) || size > in.left()) return Malformed("a tensor is longer than the message");
    ASSIGN_OR_RETURN(Tensor t, DecodeTensor(size, &in));
    message.tensors.push_back(std::move(t));
  }
  return message;
}

}  // namespace sluice
