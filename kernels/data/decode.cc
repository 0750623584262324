// Kernels between bytes and tensors.
#include <algorithm>
#include <cstring>
#include <utility>

#include "core/base/status.h"
#include "core/io/byte_stream.h"
#include "core/proto/tensor.pb.h"
#include "core/types/tensor_proto.h"
#include "kernels/data/data_kernels.h"
#include "kernels/data/inputs.h"

namespace sluice {
namespace {

class DecodeRawKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(little_endian_, p.Attr<bool>("little_endian"));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    const DType dtype = BaseType(c.node().output_types[0]);
    const size_t element = ElementSize(dtype);
    const absl::Span<const std::string> strings = in.flat<std::string>();
    const size_t length = strings.empty() ? 0 : strings[0].size();
    for (size_t i = 0; i < strings.size(); ++i) {
      if (strings[i].size() == length) continue;
      return InvalidArgument("DecodeRaw requires input strings to all be the same size, but element ", i, " has size ",
                             strings[i].size(), " != ", length);
    }
    if (length % element != 0) {
      return InvalidArgument("Input to DecodeRaw has length ", length, " that is not a multiple of ", element,
                             ", the size of ", DTypeName(dtype));
    }
    Shape shape = in.shape();
    shape.AddDim(static_cast<int64_t>(length / element));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, shape));
    char* to = out->data<char>();
    for (const std::string& s : strings) {
      std::memcpy(to, s.data(), length);
      to += length;
    }
    if (!little_endian_) {
      const size_t number = IsComplex(dtype) ? element / 2 : element;
      for (char* p = out->data<char>(); p < to; p += number) std::reverse(p, p + number);
    }
    if (dtype == DType::kBool) {  // any other byte is no bool
      for (char* p = out->data<char>(); p < to; ++p) *p = *p != 0;
    }
    return absl::OkStatus();
  }

 private:
  bool little_endian_ = true;
};

// A string as a file.
class StringFile : public ReadableFile {
 public:
  explicit StringFile(absl::string_view bytes) : bytes_(bytes) {}
  uint64_t size() const override { return bytes_.size(); }
  absl::StatusOr<size_t> ReadAt(uint64_t offset, void* to, size_t size) const override {
    if (offset >= bytes_.size()) return size_t{0};
    return bytes_.copy(static_cast<char*>(to), size, offset);
  }

 private:
  const absl::string_view bytes_;
};

class DecodeCompressedKernel : public Kernel {
 public:
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(const std::string type, p.Attr<std::string>("compression_type"));
    ASSIGN_OR_RETURN(compression_, ParseCompression(type));
    return absl::OkStatus();
  }

  absl::Status Run(KernelContext& c) const override {
    const Tensor& in = c.input(0);
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, in.shape()));
    for (int64_t i = 0; i < in.num_elements(); ++i) {
      absl::Status status = Decompress(in.data<std::string>()[i], &out->data<std::string>()[i]);
      if (!status.ok()) return Annotate(status, absl::StrCat("element ", i, ": "));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Decompress(absl::string_view bytes, std::string* out) const {
    constexpr size_t kPiece = 256 << 10;
    constexpr size_t kMost = size_t{4} << 30;
    const StringFile file(bytes);
    const std::unique_ptr<ByteSource> source = OpenByteSource(&file, compression_);
    out->clear();
    while (true) {
      const size_t used = out->size();
      if (used > kMost) return ResourceExhausted("decompressed data has more than ", kMost, " bytes");
      out->resize(used + kPiece);
      ASSIGN_OR_RETURN(const size_t n, source->Read(&(*out)[used], kPiece));
      out->resize(used + n);
      if (n < kPiece) return absl::OkStatus();
    }
  }

  Compression compression_ = Compression::kNone;
};

class ParseTensorKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    ASSIGN_OR_RETURN(const std::string bytes, StringInput(c, 0, "serialized"));
    proto::TensorProto message;
    if (!message.ParseFromString(bytes)) return InvalidArgument("serialized is not a TensorProto message");
    ASSIGN_OR_RETURN(Tensor value, TensorFromProto(message));
    const DType wanted = BaseType(c.node().output_types[0]);
    if (value.dtype() != wanted) {
      return InvalidArgument("Type mismatch between parsed tensor (", DTypeName(value.dtype()), ") and dtype (",
                             DTypeName(wanted), ")");
    }
    c.SetOutput(0, std::move(value));
    return absl::OkStatus();
  }
};

class SerializeTensorKernel : public Kernel {
 public:
  absl::Status Run(KernelContext& c) const override {
    proto::TensorProto message;
    RETURN_IF_ERROR(TensorToProto(c.input(0), &message, TensorEncoding::kRaw));
    ASSIGN_OR_RETURN(Tensor* const out, c.Allocate(0, Shape()));
    if (!message.SerializeToString(&out->scalar<std::string>())) {
      return InvalidArgument("a tensor of ", c.input(0).num_bytes(), " bytes is too large for a message");
    }
    return absl::OkStatus();
  }
};

}  // namespace

void AddDecodeKernels(KernelRegistry& k) {
  k.Add("DecodeRaw", kCpu, KernelDef().Make<DecodeRawKernel>());
  k.Add("DecodeCompressed", kCpu, KernelDef().Make<DecodeCompressedKernel>());
  k.Add("ParseTensor", kCpu, KernelDef().Make<ParseTensorKernel>());
  k.Add("SerializeTensor", kCpu, KernelDef().Make<SerializeTensorKernel>());
}

}  // namespace sluice
