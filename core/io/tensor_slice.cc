#include "core/io/tensor_slice.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "core/base/status.h"
#include "core/proto/tensor_slice.pb.h"

namespace sluice {
namespace {

absl::Status CheckExtent(const TensorSlice::Extent& e, absl::string_view text) {
  const bool all = e.length == TensorSlice::kAll;
  if ((all && e.start != 0) || (!all && e.length < 0) || e.start < 0 ||
      e.start > INT64_MAX - std::max<int64_t>(e.length, 0)) {
    return InvalidArgument("slice '", text, "': [", e.start, ", +", e.length, ") is not a range");
  }
  return absl::OkStatus();
}

// An order-preserving encoding of strings and integers, as the keys of slices have it.
void AppendUnsigned(std::string* key, uint64_t v) {
  char bytes[8];
  int n = 0;
  for (; v != 0; v >>= 8) bytes[7 - n++] = static_cast<char>(v);
  key->push_back(static_cast<char>(n));
  key->append(bytes + 8 - n, static_cast<size_t>(n));
}

void AppendString(std::string* key, absl::string_view s) {
  for (char c : s) {
    key->push_back(c);
    if (c == '\0') key->push_back('\xff');
    if (c == '\xff') key->push_back('\0');
  }
  key->append("\0\1", 2);
}

// As many leading one bits as the number takes bytes, then a zero bit, then the number; all inverted for negative ones.
void AppendSigned(std::string* key, int64_t v) {
  const uint64_t magnitude = static_cast<uint64_t>(v < 0 ? ~v : v);
  int bits = 0;
  while (bits < 64 && (magnitude >> bits) != 0) ++bits;
  const int length = bits / 7 + 1;
  unsigned char bytes[10];
  const unsigned char sign = v < 0 ? 0xff : 0;
  bytes[0] = bytes[1] = sign;
  for (int i = 0; i < 8; ++i) bytes[2 + i] = static_cast<unsigned char>(static_cast<uint64_t>(v) >> (8 * (7 - i)));
  unsigned char* begin = bytes + sizeof(bytes) - length;
  const unsigned header = length >= 10 ? 0xffc0u : length == 9 ? 0xff80u : (0xff00u >> length & 0xffu) << 8;
  begin[0] ^= static_cast<unsigned char>(header >> 8);
  if (length > 1) begin[1] ^= static_cast<unsigned char>(header);
  key->append(reinterpret_cast<const char*>(begin), static_cast<size_t>(length));
}

// True when two slices have elements in common.
bool Overlap(const TensorSlice& a, const TensorSlice& b) {
  for (size_t i = 0; i < a.extents.size(); ++i) {
    const auto &x = a.extents[i], &y = b.extents[i];
    if (std::max(x.start, y.start) >= std::min(x.start + x.length, y.start + y.length)) return false;
  }
  return true;
}

}  // namespace

absl::StatusOr<TensorSlice> TensorSlice::Parse(absl::string_view text) {
  TensorSlice slice;
  if (text.empty()) return slice;
  for (absl::string_view part : absl::StrSplit(text, ':')) {
    Extent e;
    if (part != "-") {
      const std::pair<absl::string_view, absl::string_view> numbers = absl::StrSplit(part, absl::MaxSplits(',', 1));
      if (!absl::SimpleAtoi(numbers.first, &e.start) || !absl::SimpleAtoi(numbers.second, &e.length) || e.length < 0) {
        return InvalidArgument("slice '", text, "': '", part, "' is neither '-' nor 'start,length'");
      }
    }
    RETURN_IF_ERROR(CheckExtent(e, text));
    slice.extents.push_back(e);
  }
  return slice;
}

absl::StatusOr<TensorSlice> TensorSlice::FromProto(const proto::TensorSliceProto& message) {
  TensorSlice slice;
  if (message.extent_size() > kMaxRank) return InvalidArgument("a slice has ", message.extent_size(), " dimensions");
  for (const auto& extent : message.extent()) {
    Extent e{extent.start(),
             extent.has_length_hack_case() == proto::TensorSliceProto::Extent::kLength ? extent.length() : kAll};
    if (e.length == kAll && extent.has_length_hack_case() == proto::TensorSliceProto::Extent::kLength) {
      return InvalidArgument("a slice has length -1");
    }
    RETURN_IF_ERROR(CheckExtent(e, "of a message"));
    slice.extents.push_back(e);
  }
  return slice;
}

void TensorSlice::ToProto(proto::TensorSliceProto* message) const {
  message->Clear();
  for (const Extent& e : extents) {
    auto* extent = message->add_extent();
    if (e.length == kAll) continue;
    extent->set_start(e.start);
    extent->set_length(e.length);
  }
}

std::string TensorSlice::ToString() const {
  return absl::StrJoin(extents, ":", [](std::string* out, const Extent& e) {
    if (e.length == kAll) {
      out->append("-");
    } else {
      absl::StrAppend(out, e.start, ",", e.length);
    }
  });
}

absl::StatusOr<TensorSlice> TensorSlice::Within(const Shape& full) const {
  if (static_cast<int>(extents.size()) != full.rank()) {
    return InvalidArgument("slice '", ToString(), "' has ", extents.size(), " dimensions, the tensor ",
                           full.ToString());
  }
  TensorSlice slice = *this;
  for (int i = 0; i < full.rank(); ++i) {
    Extent& e = slice.extents[i];
    if (e.length == kAll) e.length = full.dim(i);
    if (e.start > full.dim(i) - e.length) {
      return InvalidArgument("slice '", ToString(), "' leaves the tensor ", full.ToString(), " in dimension ", i);
    }
  }
  return slice;
}

Shape TensorSlice::ToShape() const {
  Shape shape;
  for (const Extent& e : extents) shape.AddDim(e.length);
  return shape;
}

absl::StatusOr<ShapeAndSlice> ParseShapeAndSlice(absl::string_view text) {
  ShapeAndSlice result;
  if (text.empty()) return result;
  result.whole = false;
  std::vector<absl::string_view> words = absl::StrSplit(text, ' ');
  std::vector<int64_t> dims;
  for (size_t i = 0; i + 1 < words.size(); ++i) {
    int64_t dim;
    if (!absl::SimpleAtoi(words[i], &dim)) {
      return InvalidArgument("shape and slice '", text, "': '", words[i],
                             "' is not a size; wanted e.g. '30 10 0,10:-'");
    }
    dims.push_back(dim);
  }
  ASSIGN_OR_RETURN(result.full_shape, Shape::Make(dims));
  ASSIGN_OR_RETURN(result.slice, TensorSlice::Parse(words.back()));
  RETURN_IF_ERROR(result.slice.Within(result.full_shape).status());
  return result;
}

int64_t CopyOverlap(const Tensor& from, const TensorSlice& from_slice, const Tensor& to, const TensorSlice& to_slice) {
  const int rank = static_cast<int>(to_slice.extents.size());
  std::vector<int64_t> from_start(rank), to_start(rank), count(rank), index(rank, 0);
  int64_t total = 1;
  for (int i = 0; i < rank; ++i) {
    const auto &a = from_slice.extents[i], &b = to_slice.extents[i];
    const int64_t begin = std::max(a.start, b.start);
    count[i] = std::min(a.start + a.length, b.start + b.length) - begin;
    if (count[i] <= 0) return 0;
    from_start[i] = begin - a.start;
    to_start[i] = begin - b.start;
    total *= count[i];
  }
  const int64_t run = rank == 0 ? 1 : count[rank - 1];
  const size_t element = ElementSize(to.dtype());
  for (int64_t done = 0; done < total; done += run) {
    int64_t from_at = 0, to_at = 0;
    for (int i = 0; i < rank; ++i) {
      from_at = from_at * from.dim(i) + from_start[i] + index[i];
      to_at = to_at * to.dim(i) + to_start[i] + index[i];
    }
    if (to.dtype() == DType::kString) {
      std::copy_n(from.data<std::string>() + from_at, run, to.data<std::string>() + to_at);
    } else {
      std::memcpy(to.data<char>() + to_at * element, from.data<char>() + from_at * element, run * element);
    }
    for (int i = rank - 2; i >= 0 && ++index[i] == count[i]; --i) index[i] = 0;
  }
  return total;
}

absl::StatusOr<Tensor> AssembleParts(DType dtype, const TensorSlice& wanted, const std::vector<TensorSlice>& parts,
                                     absl::FunctionRef<absl::StatusOr<Tensor>(size_t i)> read, Allocator* allocator) {
  int64_t available = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (Overlap(parts[i], parts[j])) {
        return DataLoss("its parts ", parts[j].ToString(), " and ", parts[i].ToString(), " overlap");
      }
    }
    available += parts[i].ToShape().num_elements();
  }
  const Shape shape = wanted.ToShape();
  if (shape.num_elements() > available) return DataLoss("its parts cover only ", available, " elements");
  ASSIGN_OR_RETURN(Tensor t, Tensor::Make(dtype, shape, allocator));
  int64_t copied = 0;
  for (size_t i = 0; i < parts.size() && copied < shape.num_elements(); ++i) {
    if (!Overlap(parts[i], wanted)) continue;
    ASSIGN_OR_RETURN(const Tensor part, read(i));
    copied += CopyOverlap(part, parts[i], t, wanted);
  }
  if (copied != shape.num_elements()) {
    return DataLoss("its parts cover ", copied, " of ", shape.num_elements(), " elements of slice ", wanted.ToString());
  }
  return t;
}

std::string SliceKey(absl::string_view name, const TensorSlice& slice) {
  std::string key;
  AppendUnsigned(&key, 0);
  AppendString(&key, name);
  AppendUnsigned(&key, slice.extents.size());
  for (const TensorSlice::Extent& e : slice.extents) {
    AppendSigned(&key, e.start);
    AppendSigned(&key, e.length);
  }
  return key;
}

}  // namespace sluice
