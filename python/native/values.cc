// Values between Python and the C boundary: shapes, tensors, attributes, feeds and fetches.
#include <algorithm>
#include <cstring>

#include "python/native/py.h"

namespace sluice_python {

Hooks hooks;

PyObject* Status::Raise() const {
  if (hooks.make_error == nullptr) {
    PyErr_SetString(PyExc_RuntimeError, message());
    return nullptr;
  }
  Ref error(PyObject_CallFunction(hooks.make_error, "is", code(), message()));
  if (error) PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.get())), error.get());
  return nullptr;
}

PyObject* Status::RaiseWhileBuilding() const {
  if (code() != 3 && code() != 11) return Raise();
  PyErr_SetString(PyExc_ValueError, message());
  return nullptr;
}

PyObject* TakeBytes(SL_Buffer* buffer) {
  if (buffer == nullptr) return nullptr;
  PyObject* bytes = PyBytes_FromStringAndSize(static_cast<const char*>(SL_BufferData(buffer)), SL_BufferSize(buffer));
  SL_DeleteBuffer(buffer);
  return bytes;
}

PyObject* TakeText(SL_Buffer* buffer) {
  if (buffer == nullptr) return nullptr;
  PyObject* text =
      PyUnicode_DecodeUTF8(static_cast<const char*>(SL_BufferData(buffer)), SL_BufferSize(buffer), "replace");
  SL_DeleteBuffer(buffer);
  return text;
}

bool Bytes(PyObject* o, const char** data, size_t* size) {
  Py_ssize_t n = 0;
  if (PyBytes_Check(o)) {
    char* bytes = nullptr;
    if (PyBytes_AsStringAndSize(o, &bytes, &n) != 0) return false;
    *data = bytes;
  } else {
    *data = PyUnicode_AsUTF8AndSize(o, &n);
    if (*data == nullptr) return false;
  }
  *size = static_cast<size_t>(n);
  return true;
}

bool ToInt64(PyObject* o, int64_t* value) {
  *value = PyLong_AsLongLong(o);
  return !(*value == -1 && PyErr_Occurred());
}

Sequence::Sequence(PyObject* o) : object_(o) {
  if (PyList_Check(o)) {
    is_list_ = true;
    size_ = PyList_Size(o);
  } else if (PyTuple_Check(o)) {
    size_ = PyTuple_Size(o);
  } else {
    PyErr_SetString(PyExc_TypeError, "wanted a list or tuple");
  }
}

bool ToShape(PyObject* o, std::vector<int64_t>* dims, int* rank) {
  *rank = -1;
  if (o == Py_None) return true;
  Sequence sizes(o);
  if (!sizes.ok()) return false;
  dims->resize(sizes.size());
  for (Py_ssize_t i = 0; i < sizes.size(); ++i) {
    PyObject* size = sizes[i];
    if (size == Py_None) {
      (*dims)[i] = -1;
    } else if (!ToInt64(size, &(*dims)[i])) {
      return false;
    }
  }
  *rank = static_cast<int>(dims->size());
  return true;
}

PyObject* FromShape(const int64_t* dims, int rank) {
  if (rank < 0) return None();
  Ref shape(PyTuple_New(rank));
  if (!shape) return nullptr;
  for (int i = 0; i < rank; ++i) {
    PyObject* size = dims[i] < 0 ? None() : PyLong_FromLongLong(dims[i]);
    if (size == nullptr) return nullptr;
    PyTuple_SetItem(shape.get(), i, size);
  }
  return shape.release();
}

namespace {

SL_Tensor* StringTensor(PyObject* list, const std::vector<int64_t>& dims) {
  Sequence items(list);
  if (!items.ok()) return nullptr;
  std::vector<const char*> values(items.size());
  std::vector<size_t> sizes(items.size());
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if (!Bytes(items[i], &values[i], &sizes[i])) return nullptr;
  }
  Status status;
  SL_Tensor* t = SL_NewStringTensor(dims.data(), static_cast<int>(dims.size()), values.data(), sizes.data(),
                                    values.size(), status);
  if (t == nullptr) status.RaiseWhileBuilding();
  return t;
}

// A tensor whose elements are all one number.
SL_Tensor* FilledTensor(int dtype, const std::vector<int64_t>& dims, PyObject* number) {
  const double d = dtype < 3 ? PyFloat_AsDouble(number) : 0;
  const int64_t i = dtype < 3 ? 0 : PyLong_AsLongLong(number);
  if (PyErr_Occurred()) return nullptr;
  Status status;
  SL_Tensor* t = SL_NewTensor(dtype, dims.data(), static_cast<int>(dims.size()), status);
  if (t == nullptr) {
    status.RaiseWhileBuilding();
    return nullptr;
  }
  void* data = SL_TensorData(t);
  const int64_t n = SL_TensorElements(t);
  switch (dtype) {
    case 1:
      std::fill_n(static_cast<float*>(data), n, static_cast<float>(d));
      break;
    case 2:
      std::fill_n(static_cast<double*>(data), n, d);
      break;
    case 3:
      std::fill_n(static_cast<int32_t*>(data), n, static_cast<int32_t>(i));
      break;
    default:
      std::fill_n(static_cast<int64_t*>(data), n, i);
  }
  return t;
}

}  // namespace

SL_Tensor* ToTensor(PyObject* o) {
  if (!PyTuple_Check(o) || PyTuple_Size(o) != 3) {
    PyErr_SetString(PyExc_TypeError, "a tensor is wanted as (type, shape, data)");
    return nullptr;
  }
  int64_t dtype = 0;
  std::vector<int64_t> dims;
  int rank = 0;
  if (!ToInt64(PyTuple_GetItem(o, 0), &dtype) || !ToShape(PyTuple_GetItem(o, 1), &dims, &rank)) return nullptr;
  PyObject* data = PyTuple_GetItem(o, 2);
  if (dtype == 7) return StringTensor(data, dims);
  if ((dtype <= 3 || dtype == 9) && (PyFloat_CheckExact(data) || PyLong_CheckExact(data)))
    return FilledTensor(static_cast<int>(dtype), dims, data);
  Py_buffer view;
  if (PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS) != 0) return nullptr;
  Status status;
  SL_Tensor* t = SL_NewTensor(static_cast<int>(dtype), dims.data(), rank, status);
  if (t == nullptr) {
    status.RaiseWhileBuilding();
  } else if (SL_TensorBytes(t) != static_cast<size_t>(view.len)) {
    PyErr_Format(PyExc_ValueError, "a tensor of %zu bytes was given %zd", SL_TensorBytes(t), view.len);
    SL_DeleteTensor(t);
    t = nullptr;
  } else if (view.len > 0) {
    std::memcpy(SL_TensorData(t), view.buf, view.len);
  }
  PyBuffer_Release(&view);
  return t;
}

namespace {

PyObject* TensorShape(const SL_Tensor* tensor) {
  const int rank = SL_TensorRank(tensor);
  Ref shape(PyTuple_New(rank));
  if (!shape) return nullptr;
  for (int i = 0; i < rank; ++i) PyTuple_SetItem(shape.get(), i, PyLong_FromLongLong(SL_TensorDim(tensor, i)));
  return shape.release();
}

PyObject* StringList(const SL_Tensor* tensor) {
  const int64_t n = SL_TensorElements(tensor);
  Ref list(PyList_New(n));
  if (!list) return nullptr;
  for (int64_t i = 0; i < n; ++i) {
    size_t size = 0;
    const char* data = SL_TensorString(tensor, i, &size);
    PyObject* bytes = PyBytes_FromStringAndSize(data, size);
    if (bytes == nullptr) return nullptr;
    PyList_SetItem(list.get(), i, bytes);
  }
  return list.release();
}

}  // namespace

PyObject* DescribeTensor(const SL_Tensor* tensor) {
  const int dtype = SL_TensorType(tensor);
  Ref shape(TensorShape(tensor));
  Ref data(dtype == 7
               ? StringList(tensor)
               : PyBytes_FromStringAndSize(static_cast<const char*>(SL_TensorData(tensor)), SL_TensorBytes(tensor)));
  if (!shape || !data) return nullptr;
  return Py_BuildValue("(iOO)", dtype, shape.get(), data.get());
}

const char* KindName(int kind) {
  static const char* const kNames[] = {"", "string", "int", "float", "bool", "type", "shape", "tensor", "func"};
  static const char* const kLists[] = {"",           "list(string)", "list(int)",    "list(float)", "list(bool)",
                                       "list(type)", "list(shape)",  "list(tensor)", "list(func)"};
  return kind & SL_ATTR_LIST ? kLists[kind & 15] : kNames[kind & 15];
}

namespace {

PyObject* AttrElement(const SL_Attr* attr, int kind, int i) {
  switch (kind) {
    case SL_ATTR_STRING: {
      size_t size = 0;
      const char* s = SL_AttrString(attr, i, &size);
      return PyBytes_FromStringAndSize(s, size);
    }
    case SL_ATTR_INT:
    case SL_ATTR_TYPE:
      return PyLong_FromLongLong(SL_AttrInt(attr, i));
    case SL_ATTR_FLOAT:
      return PyFloat_FromDouble(SL_AttrFloat(attr, i));
    case SL_ATTR_BOOL:
      return PyBool_FromLong(SL_AttrInt(attr, i));
    case SL_ATTR_SHAPE: {
      const int rank = SL_AttrShape(attr, i, nullptr);
      std::vector<int64_t> dims(rank < 0 ? 0 : rank);
      if (rank > 0) SL_AttrShape(attr, i, dims.data());
      return FromShape(dims.data(), rank);
    }
    case SL_ATTR_TENSOR: {
      SL_Tensor* t = SL_AttrTensor(attr, i);
      if (t == nullptr) return None();
      PyObject* described = DescribeTensor(t);
      SL_DeleteTensor(t);
      return described;
    }
    case SL_ATTR_FUNC:
      return PyUnicode_FromString(SL_AttrFunc(attr, i));
    default:
      return None();
  }
}

}  // namespace

PyObject* FromAttrValue(const SL_Attr* attr) {
  const int kind = SL_AttrKind(attr);
  if (!(kind & SL_ATTR_LIST)) return AttrElement(attr, kind, 0);
  const int n = SL_AttrLength(attr);
  Ref list(PyList_New(n));
  if (!list) return nullptr;
  for (int i = 0; i < n; ++i) {
    PyObject* item = AttrElement(attr, kind & 15, i);
    if (item == nullptr) return nullptr;
    PyList_SetItem(list.get(), i, item);
  }
  return list.release();
}

PyObject* FromAttr(const SL_Attr* attr) {
  Ref value(FromAttrValue(attr));
  return value ? Py_BuildValue("(sO)", KindName(SL_AttrKind(attr)), value.get()) : nullptr;
}

namespace {

// An AttrValue message with one length-delimited field.
std::string WrapInAttrValue(int field, const char* data, size_t size) {
  std::string wrapped(1, static_cast<char>(field << 3 | 2));
  size_t n = size;
  for (; n >= 0x80; n >>= 7) wrapped.push_back(static_cast<char>(n | 0x80));
  wrapped.push_back(static_cast<char>(n));
  wrapped.append(data, size);
  return wrapped;
}

// The kind of an attribute that the op does not declare (its name begins with '_'), from the value.
int GuessKind(PyObject* value) {
  if (PyBool_Check(value)) return SL_ATTR_BOOL;
  if (PyLong_Check(value)) return SL_ATTR_INT;
  if (PyFloat_Check(value)) return SL_ATTR_FLOAT;
  if (PyBytes_Check(value) || PyUnicode_Check(value)) return SL_ATTR_STRING;
  if (PyList_Check(value)) {
    const int element = PyList_Size(value) > 0 ? GuessKind(PyList_GetItem(value, 0)) : SL_ATTR_STRING;
    if (element != SL_ATTR_NONE && !(element & SL_ATTR_LIST)) return element | SL_ATTR_LIST;
  }
  return SL_ATTR_NONE;
}

bool SetList(SL_OpBuilder* b, const char* name, int kind, PyObject* value) {
  Sequence items(value);
  if (!items.ok()) return false;
  const int n = static_cast<int>(items.size());
  switch (kind) {
    case SL_ATTR_STRING: {
      std::vector<const char*> data(n);
      std::vector<size_t> sizes(n);
      for (int i = 0; i < n; ++i) {
        if (!Bytes(items[i], &data[i], &sizes[i])) return false;
      }
      SL_SetAttrStringList(b, name, data.data(), sizes.data(), n);
      return true;
    }
    case SL_ATTR_INT: {
      std::vector<int64_t> ints(n);
      for (int i = 0; i < n; ++i) {
        if (!ToInt64(items[i], &ints[i])) return false;
      }
      SL_SetAttrIntList(b, name, ints.data(), n);
      return true;
    }
    case SL_ATTR_FLOAT: {
      std::vector<double> floats(n);
      for (int i = 0; i < n; ++i) {
        floats[i] = PyFloat_AsDouble(items[i]);
        if (PyErr_Occurred()) return false;
      }
      SL_SetAttrFloatList(b, name, floats.data(), n);
      return true;
    }
    case SL_ATTR_BOOL:
    case SL_ATTR_TYPE: {
      std::vector<int> ints(n);
      for (int i = 0; i < n; ++i) {
        ints[i] = static_cast<int>(PyLong_AsLong(items[i]));
        if (PyErr_Occurred()) return false;
      }
      (kind == SL_ATTR_BOOL ? SL_SetAttrBoolList : SL_SetAttrTypeList)(b, name, ints.data(), n);
      return true;
    }
    case SL_ATTR_SHAPE: {
      std::vector<std::vector<int64_t>> dims(n);
      std::vector<const int64_t*> pointers(n);
      std::vector<int> ranks(n);
      for (int i = 0; i < n; ++i) {
        if (!ToShape(items[i], &dims[i], &ranks[i])) return false;
        pointers[i] = dims[i].data();
      }
      SL_SetAttrShapeList(b, name, pointers.data(), ranks.data(), n);
      return true;
    }
    case SL_ATTR_TENSOR: {
      std::vector<SL_Tensor*> tensors;
      for (int i = 0; i < n; ++i) {
        SL_Tensor* t = ToTensor(items[i]);
        if (t == nullptr) break;
        tensors.push_back(t);
      }
      const bool all = static_cast<int>(tensors.size()) == n;
      if (all) SL_SetAttrTensorList(b, name, tensors.data(), n);
      for (SL_Tensor* t : tensors) SL_DeleteTensor(t);
      return all;
    }
    case SL_ATTR_FUNC: {
      std::vector<const char*> names(n);
      for (int i = 0; i < n; ++i) {
        if ((names[i] = Text(items[i])) == nullptr) return false;
      }
      SL_SetAttrFuncList(b, name, names.data(), n);
      return true;
    }
    default:
      return false;
  }
}

}  // namespace

bool SetAttr(SL_OpBuilder* b, const SL_OpDef* def, PyObject* key, PyObject* value) {
  const char* name = Text(key);
  if (name == nullptr) return false;
  if (PyTuple_Check(value) && PyTuple_Size(value) == 2 && PyUnicode_Check(PyTuple_GetItem(value, 0))) {
    const char* data = nullptr;
    size_t size = 0;
    if (!Bytes(PyTuple_GetItem(value, 1), &data, &size)) return false;
    SL_SetAttrProto(b, name, data, size);
    return true;
  }
  int kind = def == nullptr ? SL_ATTR_NONE : SL_OpDefAttrKind(def, name);
  if (kind == SL_ATTR_NONE) kind = GuessKind(value);
  const char* data = nullptr;
  size_t size = 0;
  switch (kind) {
    case SL_ATTR_STRING:
      if (!Bytes(value, &data, &size)) return false;
      SL_SetAttrString(b, name, data, size);
      return true;
    case SL_ATTR_INT: {
      int64_t i = 0;
      if (!ToInt64(value, &i)) return false;
      SL_SetAttrInt(b, name, i);
      return true;
    }
    case SL_ATTR_FLOAT: {
      const double d = PyFloat_AsDouble(value);
      if (PyErr_Occurred()) return false;
      SL_SetAttrFloat(b, name, d);
      return true;
    }
    case SL_ATTR_BOOL:
      SL_SetAttrBool(b, name, PyObject_IsTrue(value));
      return true;
    case SL_ATTR_TYPE: {
      const long type = PyLong_AsLong(value);
      if (PyErr_Occurred()) return false;
      SL_SetAttrType(b, name, static_cast<int>(type));
      return true;
    }
    case SL_ATTR_SHAPE: {
      std::vector<int64_t> dims;
      int rank = 0;
      if (!ToShape(value, &dims, &rank)) return false;
      SL_SetAttrShape(b, name, dims.data(), rank);
      return true;
    }
    case SL_ATTR_TENSOR: {
      if (PyBytes_Check(value)) {
        if (!Bytes(value, &data, &size)) return false;
        const std::string proto = WrapInAttrValue(8, data, size);
        SL_SetAttrProto(b, name, proto.data(), proto.size());
        return true;
      }
      SL_Tensor* t = ToTensor(value);
      if (t == nullptr) return false;
      SL_SetAttrTensor(b, name, t);
      SL_DeleteTensor(t);
      return true;
    }
    case SL_ATTR_FUNC: {
      if (!Bytes(value, &data, &size)) return false;
      if (PyBytes_Check(value)) {
        const std::string proto = WrapInAttrValue(10, data, size);
        SL_SetAttrProto(b, name, proto.data(), proto.size());
      } else {
        SL_SetAttrFunc(b, name, data);
      }
      return true;
    }
    case SL_ATTR_NONE:
      PyErr_Format(PyExc_TypeError, "attribute '%s' cannot be made of %R", name, value);
      return false;
    default:
      return SetList(b, name, kind & 15, value);
  }
}

// --- fetches: the object that lets NumPy read a tensor's bytes
// -----------------------------------------------------------------

namespace {

struct TensorObject {
  PyObject_HEAD SL_Tensor* tensor;
};

PyObject* tensor_type = nullptr;

int GetBuffer(PyObject* self, Py_buffer* view, int flags) {
  SL_Tensor* t = reinterpret_cast<TensorObject*>(self)->tensor;
  return PyBuffer_FillInfo(view, self, SL_TensorData(t), SL_TensorBytes(t), /*readonly=*/0, flags);
}

void Dealloc(PyObject* self) {
  SL_DeleteTensor(reinterpret_cast<TensorObject*>(self)->tensor);
  PyTypeObject* type = Py_TYPE(self);
  PyObject_Free(self);
  Py_DECREF(type);
}

PyObject* Wrap(SL_Tensor* tensor) {
  TensorObject* o = PyObject_New(TensorObject, reinterpret_cast<PyTypeObject*>(tensor_type));
  if (o == nullptr) {
    SL_DeleteTensor(tensor);
    return nullptr;
  }
  o->tensor = tensor;
  return reinterpret_cast<PyObject*>(o);
}

PyObject* Scalar(const SL_Tensor* tensor, int dtype) {
  const void* data = SL_TensorData(tensor);
  Ref plain;
  switch (dtype) {
    case 1:
      plain = Ref(PyFloat_FromDouble(*static_cast<const float*>(data)));
      break;
    case 2:
      plain = Ref(PyFloat_FromDouble(*static_cast<const double*>(data)));
      break;
    case 3:
      plain = Ref(PyLong_FromLong(*static_cast<const int32_t*>(data)));
      break;
    case 4:
      plain = Ref(PyLong_FromLong(*static_cast<const uint8_t*>(data)));
      break;
    case 5:
      plain = Ref(PyLong_FromLong(*static_cast<const int16_t*>(data)));
      break;
    case 6:
      plain = Ref(PyLong_FromLong(*static_cast<const int8_t*>(data)));
      break;
    case 9:
      plain = Ref(PyLong_FromLongLong(*static_cast<const int64_t*>(data)));
      break;
    case 10:
      plain = Ref(PyBool_FromLong(*static_cast<const bool*>(data)));
      break;
    case 17:
      plain = Ref(PyLong_FromLong(*static_cast<const uint16_t*>(data)));
      break;
    case 22:
      plain = Ref(PyLong_FromUnsignedLong(*static_cast<const uint32_t*>(data)));
      break;
    case 23:
      plain = Ref(PyLong_FromUnsignedLongLong(*static_cast<const uint64_t*>(data)));
      break;
    default:
      return nullptr;
  }
  return plain ? PyObject_CallFunctionObjArgs(hooks.scalar_types[dtype], plain.get(), nullptr) : nullptr;
}

// The same bytes in a tensor of its own, which the caller may write to.
SL_Tensor* CopyTensor(const SL_Tensor* tensor, Status* status) {
  const int rank = SL_TensorRank(tensor);
  std::vector<int64_t> dims(rank);
  for (int i = 0; i < rank; ++i) dims[i] = SL_TensorDim(tensor, i);
  SL_Tensor* copy = SL_NewTensor(SL_TensorType(tensor), dims.data(), rank, *status);
  if (copy != nullptr && SL_TensorBytes(tensor) > 0)
    std::memcpy(SL_TensorData(copy), SL_TensorData(tensor), SL_TensorBytes(tensor));
  return copy;
}

}  // namespace

PyObject* FetchArray(SL_Tensor* tensor) {
  const int dtype = SL_TensorType(tensor);
  const bool has_bytes = dtype < 24 && dtype != 0 && dtype != 7 && dtype != 20 && dtype != 21;
  if (has_bytes && SL_TensorRank(tensor) == 0 && hooks.scalar_types[dtype] != nullptr) {
    if (PyObject* scalar = Scalar(tensor, dtype)) {
      SL_DeleteTensor(tensor);
      return scalar;
    }
    if (PyErr_Occurred()) {
      SL_DeleteTensor(tensor);
      return nullptr;
    }
  }
  if (!has_bytes) {
    PyObject* made = nullptr;
    if (dtype == 7) {
      Ref shape(TensorShape(tensor));
      Ref list(StringList(tensor));
      if (shape && list) made = PyObject_CallFunction(hooks.make_array, "iOO", dtype, shape.get(), list.get());
    } else {
      made = TakeBytes(SL_TensorDebugString(tensor));
    }
    SL_DeleteTensor(tensor);
    return made;
  }
  if (!SL_TensorIsUnique(tensor)) {
    // Shared with a variable or constant: a user who writes to the array must not change it.
    Status status;
    SL_Tensor* copy = CopyTensor(tensor, &status);
    SL_DeleteTensor(tensor);
    if (copy == nullptr) return status.Raise();
    tensor = copy;
  }
  Ref shape(TensorShape(tensor));
  const bool plain = hooks.dtypes[dtype] != nullptr && SL_TensorBytes(tensor) > 0;
  Ref bytes(Wrap(tensor));
  if (!shape || !bytes) return nullptr;
  if (plain) return PyObject_CallFunctionObjArgs(hooks.ndarray, shape.get(), hooks.dtypes[dtype], bytes.get(), nullptr);
  return PyObject_CallFunction(hooks.make_array, "iOO", dtype, shape.get(), bytes.get());
}

bool AddArrayType(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
                                {Py_bf_getbuffer, reinterpret_cast<void*>(GetBuffer)},
                                {Py_tp_doc, const_cast<char*>("The bytes of a fetched tensor, for NumPy.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"sluice.native._sluice.TensorBytes", sizeof(TensorObject), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  tensor_type = PyType_FromSpec(&spec);
  return tensor_type != nullptr && PyModule_AddObjectRef(module, "TensorBytes", tensor_type) == 0;
}

}  // namespace sluice_python
