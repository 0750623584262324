// The module `sluice.native._sluice`: the C boundary for Python, by the limited API, so one binary serves every CPython
// from 3.11.
#include "python/native/py.h"

namespace sluice_python {
namespace {

// setup(make_error, convert_feed, make_array, call_host, ndarray, {type enum: (scalar type, dtype)}, main thread's
// ident, an array of two dimensions)
PyObject* Setup(PyObject*, PyObject* args) {
  PyObject *types = nullptr, *probe = nullptr;
  unsigned long main_thread = 0;
  Hooks h;
  if (!PyArg_ParseTuple(args, "OOOOOO!kO", &h.make_error, &h.convert_feed, &h.make_array, &h.call_host, &h.ndarray,
                        &PyDict_Type, &types, &main_thread, &probe)) {
    return nullptr;
  }
  h.arrays_as_known = reinterpret_cast<PyObject*>(Py_TYPE(probe)) == h.ndarray && ArraysAreAsKnown(probe);
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(types, &at, &key, &value)) {
    const long i = PyLong_AsLong(key);
    PyObject *scalar = nullptr, *dtype = nullptr;
    if (i < 0 || i >= 32 || !PyArg_ParseTuple(value, "OO", &scalar, &dtype)) return nullptr;
    Py_INCREF(dtype);
    h.dtypes[i] = dtype;
    if (scalar != Py_None) {
      Py_INCREF(scalar);
      h.scalar_types[i] = scalar;
    }
  }
  for (PyObject* o : {h.make_error, h.convert_feed, h.make_array, h.call_host, h.ndarray}) Py_INCREF(o);
  h.main_thread = main_thread;
  hooks = h;
  return None();
}

PyObject* FromArg(const SL_ArgSpec& arg) {
  return Py_BuildValue("(sisssO)", arg.name, arg.type, arg.type_attr, arg.number_attr, arg.type_list_attr,
                       arg.is_ref ? Py_True : Py_False);
}

const SL_OpDef* FindOp(PyObject* name) {
  const char* text = Text(name);
  if (text == nullptr) return nullptr;
  const SL_OpDef* def = SL_FindOpDef(text);
  if (def == nullptr) PyErr_Format(PyExc_ValueError, "no op is registered under the name '%s'", text);
  return def;
}

// op_spec(op type) -> (inputs, outputs, attrs): (name, type, type attr, number attr, type list attr, is ref) each, and
// (name, kind, has default, default, allowed types).
PyObject* OpSpec(PyObject*, PyObject* name) {
  const SL_OpDef* def = FindOp(name);
  if (def == nullptr) return nullptr;
  const int num_inputs = SL_OpDefNumInputs(def), num_outputs = SL_OpDefNumOutputs(def),
            num_attrs = SL_OpDefNumAttrs(def);
  Ref inputs(PyList_New(num_inputs)), outputs(PyList_New(num_outputs)), attrs(PyList_New(num_attrs));
  for (int i = 0; i < num_inputs; ++i) {
    SL_ArgSpec arg;
    SL_OpDefInput(def, i, &arg);
    PyList_SetItem(inputs.get(), i, FromArg(arg));
  }
  for (int i = 0; i < num_outputs; ++i) {
    SL_ArgSpec arg;
    SL_OpDefOutput(def, i, &arg);
    PyList_SetItem(outputs.get(), i, FromArg(arg));
  }
  for (int i = 0; i < num_attrs; ++i) {
    SL_AttrSpec attr;
    SL_OpDefAttr(def, i, &attr);
    Ref value(attr.default_value == nullptr ? None() : FromAttrValue(attr.default_value));
    Ref allowed(PyList_New(0));
    for (int t = 1; allowed && t < 32; ++t) {
      if (!(attr.allowed_types >> t & 1)) continue;
      Ref number(PyLong_FromLong(t));
      PyList_Append(allowed.get(), number.get());
    }
    if (!value || !allowed) return nullptr;
    PyList_SetItem(attrs.get(), i,
                   Py_BuildValue("(ssOOO)", attr.name, attr.type, attr.default_value == nullptr ? Py_False : Py_True,
                                 value.get(), allowed.get()));
  }
  return PyErr_Occurred() ? nullptr : Py_BuildValue("(OOO)", inputs.get(), outputs.get(), attrs.get());
}

// op_doc(op type) -> (summary, description, {name: text} of inputs, outputs and attributes)
PyObject* OpDoc(PyObject*, PyObject* name) {
  const SL_OpDef* def = FindOp(name);
  if (def == nullptr) return nullptr;
  Ref docs(PyDict_New());
  auto put = [&docs](const char* key, const char* text) {
    Ref value(PyUnicode_FromString(text));
    if (value) PyDict_SetItemString(docs.get(), key, value.get());
  };
  SL_ArgSpec arg;
  for (int i = 0; i < SL_OpDefNumInputs(def); ++i) {
    SL_OpDefInput(def, i, &arg);
    put(arg.name, arg.doc);
  }
  for (int i = 0; i < SL_OpDefNumOutputs(def); ++i) {
    SL_OpDefOutput(def, i, &arg);
    put(arg.name, arg.doc);
  }
  for (int i = 0; i < SL_OpDefNumAttrs(def); ++i) {
    SL_AttrSpec attr;
    SL_OpDefAttr(def, i, &attr);
    put(attr.name, attr.doc);
  }
  return Py_BuildValue("(ssO)", SL_OpDefSummary(def), SL_OpDefDescription(def), docs.get());
}

PyObject* OpDefBytes(PyObject*, PyObject* name) {
  const SL_OpDef* def = FindOp(name);
  return def == nullptr ? nullptr : TakeBytes(SL_OpDefProto(def));
}

PyObject* OpNames(PyObject*, PyObject*) {
  Ref text(TakeText(SL_ListOpNames()));
  return text ? PyObject_CallMethod(text.get(), "split", nullptr) : nullptr;
}

PyObject* Passes(PyObject*, PyObject*) {
  Ref text(TakeText(SL_ListPasses()));
  return text ? PyObject_CallMethod(text.get(), "split", nullptr) : nullptr;
}

PyObject* OpList(PyObject*, PyObject*) { return TakeBytes(SL_ListOps()); }

PyObject* KernelDevices(PyObject*, PyObject* name) {
  const char* op = Text(name);
  Ref text(op == nullptr ? nullptr : TakeText(SL_KernelDevices(op)));
  return text ? PyObject_CallMethod(text.get(), "split", nullptr) : nullptr;
}

PyObject* LoadLibrary(PyObject*, PyObject* path) {
  const char* file = Text(path);
  if (file == nullptr) return nullptr;
  Status status;
  SL_Buffer* names = SL_LoadOpLibrary(file, status);
  if (!status.ok()) return status.Raise();
  Ref text(TakeText(names));
  return text ? PyObject_CallMethod(text.get(), "split", nullptr) : nullptr;
}

PyObject* Version(PyObject*, PyObject*) { return PyUnicode_FromString(SL_Version()); }

// crc32c(bytes, crc of what is before them = 0)
PyObject* Crc32c(PyObject*, PyObject* args) {
  PyObject* data = nullptr;
  unsigned int before = 0;
  Py_buffer view;
  if (!PyArg_ParseTuple(args, "O|I", &data, &before)) return nullptr;
  if (PyObject_GetBuffer(data, &view, PyBUF_C_CONTIGUOUS) != 0) return nullptr;
  const uint32_t crc = SL_ExtendCrc32c(before, view.buf, static_cast<size_t>(view.len));
  PyBuffer_Release(&view);
  return PyLong_FromUnsignedLong(crc);
}

// Runs the Python function of a PyFunc node.
void CallHost(void*, const char* token, SL_Tensor* const* inputs, int num_inputs, SL_Tensor** outputs, int num_outputs,
              SL_Status* status) {
  if (!Py_IsInitialized()) return SL_SetStatus(status, 1, "Python has ended");
  PyGILState_STATE state = EnsureGil();
  {
    Ref arrays(PyList_New(num_inputs));
    for (int i = 0; i < num_inputs; ++i) {
      PyObject* array = FetchArray(SL_ShareTensor(inputs[i]));
      PyList_SetItem(arrays.get(), i, array == nullptr ? None() : array);
    }
    Ref result(PyErr_Occurred() ? nullptr : HeldAfterTheEnd([&] {
      return PyObject_CallFunction(hooks.call_host, "sO", token, arrays.get());
    }));
    if (result && PyTuple_Check(result.get())) {  // (code, message)
      const char* message = Text(PyTuple_GetItem(result.get(), 1));
      SL_SetStatus(status, static_cast<int>(PyLong_AsLong(PyTuple_GetItem(result.get(), 0))),
                   message == nullptr ? "" : message);
    } else if (result && PyList_Check(result.get()) && PyList_Size(result.get()) == num_outputs) {
      for (int i = 0; i < num_outputs; ++i) {
        outputs[i] = ToTensor(PyList_GetItem(result.get(), i));
        if (outputs[i] == nullptr) {
          SL_SetStatus(status, 3, "a Python function gave a value that is no tensor");
          break;
        }
      }
    } else if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
      // It belongs to the main thread, which raises it when the step has ended.
      PyErr_Clear();
      PyErr_SetInterrupt();
      SL_SetStatus(status, 1, "interrupted from the keyboard");
    } else {
      SL_SetStatus(status, 2, "a Python function failed");
    }
    PyErr_Clear();
  }
  PyGILState_Release(state);
}

PyMethodDef functions[] = {{"setup", Setup, METH_VARARGS, nullptr},
                           {"op_spec", OpSpec, METH_O, nullptr},
                           {"op_doc", OpDoc, METH_O, nullptr},
                           {"op_def", OpDefBytes, METH_O, nullptr},
                           {"op_names", OpNames, METH_NOARGS, nullptr},
                           {"op_list", OpList, METH_NOARGS, nullptr},
                           {"passes", Passes, METH_NOARGS, nullptr},
                           {"kernel_devices", KernelDevices, METH_O, nullptr},
                           {"load_op_library", LoadLibrary, METH_O, nullptr},
                           {"version", Version, METH_NOARGS, nullptr},
                           {"reset_target", ResetTarget, METH_VARARGS, nullptr},
                           {"task_state", TaskState, METH_VARARGS, nullptr},
                           {"set_effective_time", SetEffectiveTime, METH_O, nullptr},
                           {"crc32c", Crc32c, METH_VARARGS, nullptr},
                           {nullptr, nullptr, 0, nullptr}};

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_sluice", "The C boundary of Sluice.", -1, functions, nullptr, nullptr, nullptr, nullptr};

}  // namespace
}  // namespace sluice_python

PyMODINIT_FUNC PyInit__sluice(void) {
  using namespace sluice_python;  // NOLINT
  Ref module(PyModule_Create(&definition));
  if (!module || !AddArrayType(module.get()) || !AddGraphType(module.get()) || !AddSessionType(module.get()) ||
      !AddServerType(module.get()) || !AddRpcType(module.get()))
    return nullptr;
  SL_SetHostFunction(CallHost, nullptr);
  return module.release();
}
