// Feeds: arrays and Python values as the tensors that a step takes.
//
// An array of the right type that lies in one piece is read where it is, through the fields that NumPy's C interface
// has kept in place since its first version (every extension compiled against NumPy reads them). `ArraysAreAsKnown`
// looks when the package is imported; where they are not, and for other arrays, the buffer protocol says the same at
// ten times the cost.
#include <cstring>
#include <iterator>

#include "python/native/py.h"

namespace sluice_python {

struct ArrayFields {
  PyObject_HEAD char* data;
  int nd;
  Py_ssize_t* dimensions;
  Py_ssize_t* strides;
  PyObject* base;
  PyObject* descr;
  int flags;
};

namespace {

// How NumPy's arrays of a type hold its elements; a null format for types that they do not hold as they are.
struct ElementFormat {
  const char* format;  // of the buffer protocol
  int size;
};
constexpr ElementFormat kFormats[] = {
    {nullptr, 0}, {"f", 4}, {"d", 8},   {"i", 4},     {"B", 1},     {"h", 2},     {"b", 1},     {nullptr, 0},
    {"Zf", 8},    {"l", 8}, {"?", 1},   {nullptr, 0}, {nullptr, 0}, {nullptr, 0}, {nullptr, 0}, {nullptr, 0},
    {nullptr, 0}, {"H", 2}, {"Zd", 16}, {"e", 2},     {nullptr, 0}, {nullptr, 0}, {"I", 4},     {"L", 8},
};

bool ShapeFits(const std::vector<int64_t>& dims, int rank, const int64_t* found, int found_rank) {
  if (rank < 0) return true;
  if (rank != found_rank) return false;
  for (int i = 0; i < rank; ++i) {
    if (dims[i] >= 0 && dims[i] != found[i]) return false;
  }
  return true;
}

std::string ShapeText(const int64_t* dims, int rank) {
  if (rank < 0) return "<unknown>";
  std::string text = "(";
  for (int i = 0; i < rank; ++i) text += (i ? ", " : "") + (dims[i] < 0 ? std::string("?") : std::to_string(dims[i]));
  return text + (rank == 1 ? ",)" : ")");
}

void RaiseShape(const std::vector<int64_t>& dims, int rank, const int64_t* found, int found_rank,
                const std::string& name) {
  PyErr_Format(PyExc_ValueError, "Cannot feed value of shape %s for Tensor '%s', which has shape '%s'",
               ShapeText(found, found_rank).c_str(), name.c_str(), ShapeText(dims.data(), rank).c_str());
}

void ReleaseView(void* arg) {
  auto* view = static_cast<Py_buffer*>(arg);
  if (Py_IsInitialized()) {
    PyGILState_STATE state = EnsureGil();
    PyBuffer_Release(view);
    PyGILState_Release(state);
  }
  delete view;
}

// Of PyArrayObject.flags: contiguous in row-major order, aligned.
constexpr int kPlainArray = 0x1 | 0x100;

// Larger arrays are borrowed for the time of the step, smaller ones copied.
constexpr Py_ssize_t kBorrowFrom = 4096;

void Put(SL_Tensor** slot, SL_Tensor* tensor) {
  if (*slot != nullptr) SL_DeleteTensor(*slot);
  *slot = tensor;
}

bool HasShape(const SL_Tensor* tensor, const int64_t* shape, int rank) {
  if (SL_TensorRank(tensor) != rank) return false;
  for (int i = 0; i < rank; ++i) {
    if (SL_TensorDim(tensor, i) != shape[i]) return false;
  }
  return true;
}

// Few bytes are copied, into the tensor of the step before where it fits.
bool PutCopy(const FeedSpec& feed, const int64_t* shape, int rank, const void* data, Py_ssize_t size, SL_Tensor** slot,
             Status* status) {
  if (*slot == nullptr || !HasShape(*slot, shape, rank)) Put(slot, SL_NewTensor(feed.dtype, shape, rank, *status));
  if (*slot == nullptr) {
    status->Raise();
    return false;
  }
  if (size > 0) std::memcpy(SL_TensorData(*slot), data, size);
  return true;
}

bool PutBorrowed(const FeedSpec& feed, const int64_t* shape, int rank, const void* data, Py_ssize_t size,
                 void (*release)(void*), void* owner, SL_Tensor** slot, Status* status) {
  Put(slot, SL_NewBorrowedTensor(feed.dtype, shape, rank, data, size, release, owner, *status));
  if (*slot != nullptr) return true;
  release(owner);
  status->Raise();
  return false;
}

void ReleaseArray(void* array) {
  if (!Py_IsInitialized()) return;
  PyGILState_STATE state = EnsureGil();
  Py_DECREF(static_cast<PyObject*>(array));
  PyGILState_Release(state);
}

bool PutArray(PyObject* value, const FeedSpec& feed, SL_Tensor** slot, Status* status) {
  static_assert(sizeof(Py_ssize_t) == sizeof(int64_t), "64-bit only");
  const auto* array = reinterpret_cast<const ArrayFields*>(value);
  const auto* shape = reinterpret_cast<const int64_t*>(array->dimensions);
  if (!ShapeFits(feed.dims, feed.rank, shape, array->nd)) {
    RaiseShape(feed.dims, feed.rank, shape, array->nd, feed.name);
    return false;
  }
  Py_ssize_t size = feed.element_size;
  for (int i = 0; i < array->nd; ++i) size *= array->dimensions[i];
  if (size < kBorrowFrom) return PutCopy(feed, shape, array->nd, array->data, size, slot, status);
  Py_INCREF(value);
  return PutBorrowed(feed, shape, array->nd, array->data, size, ReleaseArray, value, slot, status);
}

bool PutView(Py_buffer* view, const FeedSpec& feed, SL_Tensor** slot, Status* status) {
  const auto* shape = reinterpret_cast<const int64_t*>(view->shape);
  const bool fits = ShapeFits(feed.dims, feed.rank, shape, view->ndim);
  if (fits && view->len >= kBorrowFrom) {
    return PutBorrowed(feed, shape, view->ndim, view->buf, view->len, ReleaseView, new Py_buffer(*view), slot, status);
  }
  if (!fits) RaiseShape(feed.dims, feed.rank, shape, view->ndim, feed.name);
  const bool put = fits && PutCopy(feed, shape, view->ndim, view->buf, view->len, slot, status);
  PyBuffer_Release(view);
  return put;
}

}  // namespace

bool ArraysAreAsKnown(PyObject* probe) {
  Py_buffer view;
  if (PyObject_GetBuffer(probe, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    return false;
  }
  Ref dtype(PyObject_GetAttrString(probe, "dtype"));
  PyErr_Clear();
  const auto* a = reinterpret_cast<const ArrayFields*>(probe);
  // In this order: what is read first says whether the next is a pointer.
  const bool known = a->data == view.buf && a->nd == view.ndim && a->descr == dtype.get() && view.ndim == 2 &&
                     a->dimensions[0] == view.shape[0] && a->dimensions[1] == view.shape[1] &&
                     (a->flags & kPlainArray) == kPlainArray;
  PyBuffer_Release(&view);
  return known;
}

FeedSpec::FeedSpec(const SL_Graph* graph, const SL_Output& f) {
  dtype = SL_OperationOutputType(f.op, f.index) % 100;
  int64_t sizes[256];
  rank = SL_OutputShape(graph, f, sizes, 256);
  if (rank > 0) dims.assign(sizes, sizes + rank);
  name = std::string(SL_OperationName(f.op)) + ":" + std::to_string(f.index);
  if (dtype < 0 || dtype >= static_cast<int>(std::size(kFormats)) || kFormats[dtype].format == nullptr) return;
  format = kFormats[dtype].format;
  element_size = kFormats[dtype].size;
  descr = hooks.dtypes[dtype];
}

bool FeedTensor(PyObject* value, const FeedSpec& feed, SL_Tensor** slot, Status* status) {
  if (feed.format != nullptr && reinterpret_cast<PyObject*>(Py_TYPE(value)) == hooks.ndarray) {
    const auto* array = reinterpret_cast<const ArrayFields*>(value);
    if (hooks.arrays_as_known && array->descr == feed.descr && (array->flags & kPlainArray) == kPlainArray)
      return PutArray(value, feed, slot, status);
    Py_buffer view;
    if (PyObject_GetBuffer(value, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS) == 0) {
      if (std::strcmp(view.format, feed.format) == 0 || (feed.dtype == 9 && std::strcmp(view.format, "q") == 0) ||
          (feed.dtype == 23 && std::strcmp(view.format, "Q") == 0)) {
        return PutView(&view, feed, slot, status);
      }
      PyBuffer_Release(&view);
    } else {
      PyErr_Clear();  // Not contiguous: converted below.
    }
  }
  Ref converted(PyObject_CallFunction(hooks.convert_feed, "iOs", feed.dtype, value, feed.name.c_str()));
  if (!converted) return false;
  Put(slot, ToTensor(converted.get()));
  if (*slot == nullptr) return false;
  std::vector<int64_t> found;
  for (int i = 0; i < SL_TensorRank(*slot); ++i) found.push_back(SL_TensorDim(*slot, i));
  if (ShapeFits(feed.dims, feed.rank, found.data(), static_cast<int>(found.size()))) return true;
  RaiseShape(feed.dims, feed.rank, found.data(), static_cast<int>(found.size()), feed.name);
  return false;
}

FeedTensors::FeedTensors(std::vector<SL_Tensor*>* spare, size_t count) : spare_(spare) {
  tensors_.swap(*spare);
  tensors_.resize(count);
}

FeedTensors::~FeedTensors() {
  const bool wanted = spare_->empty();  // else another step of the callable has given back its own
  for (SL_Tensor*& t : tensors_) {
    if (t == nullptr || (wanted && SL_TensorIsUnique(t) && SL_TensorBytes(t) < kBorrowFrom)) continue;
    SL_DeleteTensor(t);
    t = nullptr;
  }
  if (wanted) spare_->swap(tensors_);
}

}  // namespace sluice_python
