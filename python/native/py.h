// Small helpers over the limited CPython API that the module's files share.
//
// Convention: functions that return PyObject* give a new reference, or null with a Python error set.
#ifndef SLUICE_PYTHON_NATIVE_PY_H_
#define SLUICE_PYTHON_NATIVE_PY_H_

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "runtime/c_api/sluice.h"

namespace sluice_python {

// Calls `f`, which may enter the interpreter. After the program's end Python ends a daemon thread that does by
// unwinding it, and C++ dies of that in the first destructor; such a thread is held until the process has ended, as
// Python itself does from 3.14 on.
template <typename F>
auto HeldAfterTheEnd(F f) -> decltype(f()) {
  try {
    return f();
  } catch (...) {
    for (;;) pause();
  }
}
inline void RestoreThread(PyThreadState* state) {
  HeldAfterTheEnd([&] { PyEval_RestoreThread(state); });
}
inline PyGILState_STATE EnsureGil() {
  return HeldAfterTheEnd([] { return PyGILState_Ensure(); });
}

// Owns a reference.
class Ref {
 public:
  Ref() = default;
  explicit Ref(PyObject* p) : p_(p) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref(const Ref&) = delete;
  Ref& operator=(Ref&& o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() { Py_XDECREF(p_); }
  static Ref Borrow(PyObject* p) {
    Py_XINCREF(p);
    return Ref(p);
  }
  PyObject* get() const { return p_; }
  PyObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  PyObject* p_ = nullptr;
};

// What the package hands over when it is imported (`_sluice.setup`).
struct Hooks {
  PyObject* make_error = nullptr;    // (code, message) -> exception
  PyObject* convert_feed = nullptr;  // (type enum, value, name) -> (enum, shape, array or list of bytes)
  PyObject* make_array = nullptr;   // (enum, shape, buffer or list of bytes) -> what a fetch of an unusual type becomes
  PyObject* call_host = nullptr;    // (token, [arrays]) -> list of (enum, shape, data), or (code, message)
  PyObject* ndarray = nullptr;      // numpy.ndarray
  PyObject* scalar_types[32] = {};  // numpy.float32 ... by type enum
  PyObject* dtypes[32] = {};        // numpy.dtype of the same
  unsigned long main_thread = 0;
  bool arrays_as_known = false;  // see feeds.cc
};
extern Hooks hooks;

// A status that lives on the stack.
class Status {
 public:
  Status() : status_(SL_NewStatus()) {}
  ~Status() { SL_DeleteStatus(status_); }
  Status(const Status&) = delete;
  operator SL_Status*() { return status_; }  // NOLINT
  bool ok() const { return SL_StatusCode(status_) == 0; }
  int code() const { return SL_StatusCode(status_); }
  const char* message() const { return SL_StatusMessage(status_); }
  // Sets the Python error for it; returns null.
  PyObject* Raise() const;
  // While a graph is built a bad argument is a ValueError, as everywhere in Python.
  PyObject* RaiseWhileBuilding() const;

 private:
  SL_Status* status_;
};

inline PyObject* None() {
  Py_INCREF(Py_None);
  return Py_None;
}
// Bytes of a buffer, which is deleted.
PyObject* TakeBytes(SL_Buffer* buffer);
PyObject* TakeText(SL_Buffer* buffer);
// Null-terminated UTF-8 of a str, valid as long as the object; null with an error otherwise.
inline const char* Text(PyObject* o) { return PyUnicode_AsUTF8AndSize(o, nullptr); }
// The bytes of a bytes or str object.
bool Bytes(PyObject* o, const char** data, size_t* size);
bool ToInt64(PyObject* o, int64_t* value);
// A tuple or list as borrowed items.
class Sequence {
 public:
  explicit Sequence(PyObject* o);  // check ok()
  bool ok() const { return size_ >= 0; }
  Py_ssize_t size() const { return size_; }
  PyObject* operator[](Py_ssize_t i) const {
    return is_list_ ? PyList_GetItem(object_, i) : PyTuple_GetItem(object_, i);
  }

 private:
  PyObject* object_;
  bool is_list_ = false;
  Py_ssize_t size_ = -1;
};
// None: rank -1. Otherwise a sequence of ints and Nones (-1).
bool ToShape(PyObject* o, std::vector<int64_t>* dims, int* rank);
// (2, None), or None for rank -1.
PyObject* FromShape(const int64_t* dims, int rank);

// A tensor from (enum, shape, object with the buffer interface, list of bytes, or for float32, float64, int32 and int64
// the number that all elements are). Copies.
SL_Tensor* ToTensor(PyObject* o);
// (enum, shape, bytes or list of bytes).
PyObject* DescribeTensor(const SL_Tensor* tensor);
// (kind name, value) of an attribute, and the value alone.
PyObject* FromAttr(const SL_Attr* attr);
PyObject* FromAttrValue(const SL_Attr* attr);
const char* KindName(int kind);
// Sets attribute `name` of the builder from a Python value.
bool SetAttr(SL_OpBuilder* b, const SL_OpDef* def, PyObject* name, PyObject* value);

// What a fed tensor asks of a value.
struct FeedSpec {
  FeedSpec(const SL_Graph* graph, const SL_Output& fed);
  int dtype = 0;
  int rank = -1;  // of the static shape, -1 where unknown
  std::vector<int64_t> dims;
  std::string name;
  const char* format = nullptr;  // of buffers of the type, null for types without one
  PyObject* descr = nullptr;     // the numpy.dtype of the same, borrowed from the hooks
  Py_ssize_t element_size = 0;
};
// Puts a feed into `slot`: borrowed from a NumPy array where possible, else converted or copied. Checks against the
// static shape. What the slot holds is deleted, or filled again. False with an error.
bool FeedTensor(PyObject* value, const FeedSpec& feed, SL_Tensor** slot, Status* status);

// The feeds of one step. Its copies of small arrays go to the next step of the same callable, unless somebody keeps
// them.
class FeedTensors {
 public:
  FeedTensors(std::vector<SL_Tensor*>* spare,
              size_t count);  // `spare` is the callable's; guarded by the interpreter lock
  ~FeedTensors();
  FeedTensors(const FeedTensors&) = delete;
  SL_Tensor*& operator[](size_t i) { return tensors_[i]; }
  SL_Tensor** data() { return tensors_.data(); }

 private:
  std::vector<SL_Tensor*>* spare_;
  std::vector<SL_Tensor*> tensors_;
};
// Whether the fields of arrays lie where FeedTensor would read them. `probe`: an array of two dimensions.
bool ArraysAreAsKnown(PyObject* probe);
// A fetch as users see it: a NumPy array that owns the tensor, a NumPy scalar, bytes. Takes the tensor.
PyObject* FetchArray(SL_Tensor* tensor);

// Makes the types of the module.
bool AddArrayType(PyObject* module);
bool AddGraphType(PyObject* module);
bool AddSessionType(PyObject* module);
bool AddServerType(PyObject* module);
bool AddRpcType(PyObject* module);
// reset_target(target, containers)
PyObject* ResetTarget(PyObject*, PyObject* args);
PyObject* TaskState(PyObject*, PyObject* args);
PyObject* SetEffectiveTime(PyObject*, PyObject* arg);
SL_Graph* GraphOf(PyObject* o);  // null with an error when it is no Graph

constexpr int kKeyShift = 20;
inline int64_t KeyOf(SL_Output o) {
  return o.op == nullptr ? -1 : (static_cast<int64_t>(SL_OperationId(o.op)) << kKeyShift) | o.index;
}
// Resolves keys; false with an error for one that is not of the graph.
bool ToOutput(SL_Graph* graph, PyObject* key, SL_Output* output);
bool ToOutputs(SL_Graph* graph, PyObject* keys, std::vector<SL_Output>* outputs);
bool ToOperations(SL_Graph* graph, PyObject* ids, std::vector<SL_Operation*>* operations);

// Ctrl-C: cancels `cancellation` while a step runs on the main thread (interrupt.cc).
class InterruptScope {
 public:
  explicit InterruptScope(SL_Cancellation* cancellation);
  ~InterruptScope();

 private:
  bool active_;
};

}  // namespace sluice_python

#endif  // SLUICE_PYTHON_NATIVE_PY_H_
