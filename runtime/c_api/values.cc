// Status, buffers and tensors of the C boundary.
#include <cstring>

#include "absl/strings/str_cat.h"
#include "core/io/crc32c.h"
#include "runtime/c_api/internal.h"

using sluice::DType;
using sluice::Shape;
using sluice::Tensor;

namespace {

absl::StatusOr<Shape> MakeShape(const int64_t* dims, int rank) {
  if (rank < 0 || rank > sluice::kMaxRank)
    return sluice::InvalidArgument("rank ", rank, " is not within 0 .. ", sluice::kMaxRank);
  return Shape::Make(absl::MakeConstSpan(dims, rank));
}

absl::Status CheckType(int dtype, bool plain) {
  if (!sluice::IsValidDType(dtype) || (plain && !sluice::IsPlain(static_cast<DType>(dtype)))) {
    return sluice::InvalidArgument("a tensor cannot be made of elements of type number ", dtype);
  }
  return absl::OkStatus();
}

// Bytes of the caller's. Transient: whoever keeps a value beyond the step (a variable, a queue) gets a copy, so the
// caller may change its array once the step is over.
class BorrowedBuffer final : public sluice::Buffer {
 public:
  BorrowedBuffer(const void* data, size_t size, void (*release)(void*), void* arg)
      : Buffer(const_cast<void*>(data), size), release_(release), arg_(arg) {
    transient_ = true;
    writable_ = false;
  }

 private:
  ~BorrowedBuffer() override {
    if (release_ != nullptr) release_(arg_);
  }
  void (*release_)(void*);
  void* arg_;
};

SL_Tensor* Give(absl::StatusOr<Tensor> t, SL_Status* status) {
  status->Set(t.status());
  return t.ok() ? new SL_Tensor{*std::move(t)} : nullptr;
}

}  // namespace

int SL_AbiVersion(void) { return SL_ABI_VERSION; }
const char* SL_Version(void) { return "0.1.0"; }
uint32_t SL_Crc32c(const void* data, size_t size) { return sluice::Crc32c(data, size); }
uint32_t SL_ExtendCrc32c(uint32_t crc, const void* data, size_t size) { return sluice::ExtendCrc32c(crc, data, size); }

SL_Status* SL_NewStatus(void) { return new SL_Status; }
void SL_DeleteStatus(SL_Status* status) { delete status; }
void SL_SetStatus(SL_Status* status, int code, const char* message) {
  status->code = code;
  status->message = message;
}
int SL_StatusCode(const SL_Status* status) { return status->code; }
const char* SL_StatusMessage(const SL_Status* status) { return status->message.c_str(); }

const void* SL_BufferData(const SL_Buffer* buffer) { return buffer->bytes.data(); }
size_t SL_BufferSize(const SL_Buffer* buffer) { return buffer->bytes.size(); }
void SL_DeleteBuffer(SL_Buffer* buffer) { delete buffer; }

SL_Tensor* SL_NewTensor(int dtype, const int64_t* dims, int rank, SL_Status* status) {
  auto make = [&]() -> absl::StatusOr<Tensor> {
    RETURN_IF_ERROR(CheckType(dtype, /*plain=*/true));
    ASSIGN_OR_RETURN(Shape shape, MakeShape(dims, rank));
    return Tensor::Make(static_cast<DType>(dtype), shape);
  };
  return Give(make(), status);
}

SL_Tensor* SL_NewBorrowedTensor(int dtype, const int64_t* dims, int rank, const void* data, size_t bytes,
                                void (*release)(void* arg), void* arg, SL_Status* status) {
  auto make = [&]() -> absl::StatusOr<Tensor> {
    RETURN_IF_ERROR(CheckType(dtype, /*plain=*/true));
    ASSIGN_OR_RETURN(Shape shape, MakeShape(dims, rank));
    const DType type = static_cast<DType>(dtype);
    const size_t wanted = static_cast<size_t>(shape.num_elements()) * sluice::ElementSize(type);
    if (bytes < wanted) {
      return sluice::InvalidArgument("a ", sluice::DTypeName(type), " tensor of shape ", shape.ToString(), " needs ",
                                     wanted, " bytes, found ", bytes);
    }
    return Tensor(type, std::move(shape), sluice::MakeRef<BorrowedBuffer>(data, bytes, release, arg));
  };
  return Give(make(), status);
}

SL_Tensor* SL_NewStringTensor(const int64_t* dims, int rank, const char* const* values, const size_t* sizes,
                              size_t count, SL_Status* status) {
  auto make = [&]() -> absl::StatusOr<Tensor> {
    ASSIGN_OR_RETURN(Shape shape, MakeShape(dims, rank));
    if (shape.num_elements() != static_cast<int64_t>(count)) {
      return sluice::InvalidArgument("shape ", shape.ToString(), " wants ", shape.num_elements(), " strings, found ",
                                     count);
    }
    ASSIGN_OR_RETURN(Tensor t, Tensor::Make(DType::kString, shape));
    for (size_t i = 0; i < count; ++i) t.data<std::string>()[i].assign(values[i], sizes[i]);
    return t;
  };
  return Give(make(), status);
}

SL_Tensor* SL_ShareTensor(const SL_Tensor* tensor) { return new SL_Tensor{tensor->tensor}; }
void SL_DeleteTensor(SL_Tensor* tensor) { delete tensor; }
int SL_TensorType(const SL_Tensor* tensor) { return static_cast<int>(tensor->tensor.dtype()); }
int SL_TensorRank(const SL_Tensor* tensor) { return tensor->tensor.rank(); }
int64_t SL_TensorDim(const SL_Tensor* tensor, int i) { return tensor->tensor.dim(i); }
int64_t SL_TensorElements(const SL_Tensor* tensor) { return tensor->tensor.num_elements(); }
size_t SL_TensorBytes(const SL_Tensor* tensor) { return tensor->tensor.num_bytes(); }
void* SL_TensorData(const SL_Tensor* tensor) { return tensor->tensor.raw_data(); }
int SL_TensorIsUnique(const SL_Tensor* tensor) { return tensor->tensor.IsUniqueAndWritable(); }

const char* SL_TensorString(const SL_Tensor* tensor, size_t i, size_t* size) {
  const std::string& s = tensor->tensor.data<std::string>()[i];
  *size = s.size();
  return s.data();
}

SL_Buffer* SL_TensorDebugString(const SL_Tensor* tensor) { return sluice::NewBuffer(tensor->tensor.ToString()); }

SL_Cancellation* SL_NewCancellation(void) { return new SL_Cancellation; }
void SL_DeleteCancellation(SL_Cancellation* cancellation) { delete cancellation; }
void SL_Cancel(SL_Cancellation* cancellation, const char* why) {
  cancellation->token.Cancel(absl::CancelledError(why));
}
int SL_IsCancelled(const SL_Cancellation* cancellation) { return cancellation->token.cancelled(); }
void SL_ResetCancellation(SL_Cancellation* cancellation) { cancellation->token.Reset(); }
