#include "distributed/rpc/message.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/base/status.h"
#include "core/proto/tensor.pb.h"
#include "core/types/tensor_proto.h"

namespace sluice {
namespace {

constexpr uint32_t kLengthDelimited = 2;
constexpr uint32_t kTensorContentField = 4;
// Elements up to this many bytes are copied into the stretch before them: a piece of their own costs more.
constexpr size_t kInlineBytes = 1024;
// A list of values may stand for a larger tensor (its last one repeats; a string has 32 bytes), but only so much larger.
constexpr size_t kMaxGrowth = 64;

void AppendVarint(uint64_t value, std::string* out) {
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

void AppendTag(uint32_t field, std::string* out) { AppendVarint(uint64_t{field} << 3 | kLengthDelimited, out); }

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

  bool Append(size_t size, std::string* out) {
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
absl::Status CopyField(uint64_t tag, PieceReader* in, std::string* out) {
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

absl::StatusOr<Tensor> DecodeTensor(size_t size, PieceReader* in) {
  if (size == 0) return Tensor();
  const size_t end = in->left() - size;
  std::string head;  // every field but the last tensor_content
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
    proto::TensorProto message;
    if (!message.ParseFromString(head)) return Malformed("a tensor's description");
    ASSIGN_OR_RETURN(DType dtype, DTypeFromProto(message.dtype()));
    ASSIGN_OR_RETURN(Shape shape, FullShapeFromProto(message.tensor_shape()));
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
  if (!message.ParseFromString(head)) return Malformed("a tensor");
  return TensorFromProto(message, HostAllocator(), kMaxGrowth * (size + kInlineBytes));
}

}  // namespace

absl::StatusOr<std::vector<WirePiece>> EncodeMessage(const Message& message) {
  std::vector<WirePiece> pieces(1);
  pieces[0].bytes = message.body;
  for (const Tensor& t : message.tensors) {
    std::string* out = &pieces.back().bytes;
    AppendTag(kTensorsField, out);
    if (!t.IsValid()) {
      AppendVarint(0, out);
      continue;
    }
    proto::TensorProto description;
    const size_t bytes = t.num_bytes();
    if (!IsPlain(t.dtype()) || bytes == 0) {
      RETURN_IF_ERROR(TensorToProto(t, &description));
      AppendVarint(description.ByteSizeLong(), out);
      description.AppendToString(out);
      continue;
    }
    description.set_dtype(static_cast<proto::DataType>(t.dtype()));
    ShapeToProto(PartialShape(t.shape()), description.mutable_tensor_shape());
    AppendVarint(description.ByteSizeLong() + 1 + VarintSize(bytes) + bytes, out);
    description.AppendToString(out);
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
