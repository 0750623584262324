// `_sluice.Server`: one task of a cluster in this process.
#include <algorithm>

#include "python/native/py.h"

namespace sluice_python {
namespace {

struct ServerObject {
  PyObject_HEAD SL_Server* server;
};

SL_Server* ServerOf(PyObject* self) { return reinterpret_cast<ServerObject*>(self)->server; }

// Server(serialised ServerDef)
PyObject* NewServer(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* def = nullptr;
  const char* data = nullptr;
  size_t size = 0;
  if (!PyArg_ParseTuple(args, "O", &def) || !Bytes(def, &data, &size)) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Server* server = SL_NewServer(data, size, status);
  RestoreThread(state);
  if (server == nullptr) return status.Raise();
  auto* self = reinterpret_cast<ServerObject*>(reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc))(type, 0));
  if (self == nullptr) {
    SL_DeleteServer(server);
    return nullptr;
  }
  self->server = server;
  return reinterpret_cast<PyObject*>(self);
}

void DeallocServer(PyObject* self) {
  SL_Server* server = ServerOf(self);
  PyThreadState* state = PyEval_SaveThread();
  SL_DeleteServer(server);  // waits for steps, which may want the interpreter
  RestoreThread(state);
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

PyObject* Target(PyObject* self, PyObject*) { return PyUnicode_FromString(SL_ServerTarget(ServerOf(self))); }

PyObject* Start(PyObject* self, PyObject*) {
  SL_StartServer(ServerOf(self));
  return None();
}

PyObject* Stop(PyObject* self, PyObject*) {
  PyThreadState* state = PyEval_SaveThread();
  SL_StopServer(ServerOf(self));
  RestoreThread(state);
  return None();
}

// join(seconds) -> whether it was stopped; Ctrl-C ends the wait.
PyObject* Join(PyObject* self, PyObject* seconds) {
  double left = PyFloat_AsDouble(seconds);
  if (left == -1.0 && PyErr_Occurred()) return nullptr;
  int stopped = 0;
  do {
    const double now = std::min(left, 0.2);
    PyThreadState* state = PyEval_SaveThread();
    stopped = SL_JoinServer(ServerOf(self), now);
    RestoreThread(state);
    left -= now;
    if (PyErr_CheckSignals() != 0) return nullptr;
  } while (!stopped && left > 0);
  return PyBool_FromLong(stopped);
}

// serve_metrics(address)
PyObject* ServeMetrics(PyObject* self, PyObject* address) {
  const char* text = Text(address);
  if (text == nullptr) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_ServeMetrics(ServerOf(self), text, status);
  RestoreThread(state);
  return status.ok() ? None() : status.Raise();
}

PyObject* MetricsAddress(PyObject* self, PyObject*) { return TakeText(SL_ServerMetricsAddress(ServerOf(self))); }

PyMethodDef methods[] = {{"target", Target, METH_NOARGS, nullptr},
                         {"serve_metrics", ServeMetrics, METH_O, nullptr},
                         {"metrics_address", MetricsAddress, METH_NOARGS, nullptr},
                         {"start", Start, METH_NOARGS, nullptr},
                         {"stop", Stop, METH_NOARGS, nullptr},
                         {"join", Join, METH_O, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyObject* ResetTarget(PyObject*, PyObject* args) {
  const char* target = nullptr;
  PyObject* containers = nullptr;
  if (!PyArg_ParseTuple(args, "sO", &target, &containers)) return nullptr;
  Sequence items(containers);
  if (!items.ok()) return nullptr;
  std::vector<const char*> names(items.size());
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if ((names[i] = Text(items[i])) == nullptr) return nullptr;
  }
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_ResetTarget(target, names.data(), static_cast<int>(names.size()), status);
  RestoreThread(state);
  return status.ok() ? None() : status.Raise();
}

// task_state(target, seconds) -> a serialised WorkerStateResponse.
PyObject* TaskState(PyObject*, PyObject* args) {
  const char* target = nullptr;
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "sd", &target, &seconds)) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Buffer* buffer = SL_TaskState(target, seconds, status);
  RestoreThread(state);
  return buffer == nullptr ? status.Raise() : TakeBytes(buffer);
}

// set_effective_time(serialised EffectiveTime)
PyObject* SetEffectiveTime(PyObject*, PyObject* arg) {
  char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyBytes_AsStringAndSize(arg, &data, &size) != 0) return nullptr;
  SL_SetEffectiveTime(data, static_cast<size_t>(size));
  return None();
}

bool AddServerType(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(NewServer)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(DeallocServer)},
                                {Py_tp_methods, methods},
                                {Py_tp_doc, const_cast<char*>("One task of a cluster.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"sluice.native._sluice.Server", sizeof(ServerObject), 0, Py_TPFLAGS_DEFAULT, slots};
  PyObject* type = PyType_FromSpec(&spec);
  return type != nullptr && PyModule_AddObjectRef(module, "Server", type) == 0;
}

}  // namespace sluice_python
