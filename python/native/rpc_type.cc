// `_sluice.Rpc`: one call of a gRPC service that others wrote.
#include "python/native/py.h"

namespace sluice_python {
namespace {

struct RpcObject {
  PyObject_HEAD SL_Rpc* rpc;
};

SL_Rpc* RpcOf(PyObject* self) { return reinterpret_cast<RpcObject*>(self)->rpc; }

// Rpc(address, method, roots, certificate, key, seconds)
PyObject* NewRpc(PyTypeObject* type, PyObject* args, PyObject*) {
  const char *address, *method, *roots, *certificate, *key;
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "sssssd", &address, &method, &roots, &certificate, &key, &seconds)) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Rpc* rpc = SL_StartRpc(address, method, roots, certificate, key, seconds, status);
  RestoreThread(state);
  if (rpc == nullptr) return status.Raise();
  auto* self = reinterpret_cast<RpcObject*>(reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc))(type, 0));
  if (self == nullptr) {
    SL_DeleteRpc(rpc);
    return nullptr;
  }
  self->rpc = rpc;
  return reinterpret_cast<PyObject*>(self);
}

void DeallocRpc(PyObject* self) {
  SL_Rpc* rpc = RpcOf(self);
  PyThreadState* state = PyEval_SaveThread();
  SL_DeleteRpc(rpc);
  RestoreThread(state);
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

// send(message, last, seconds)
PyObject* Send(PyObject* self, PyObject* args) {
  PyObject* message = nullptr;
  const char* data = nullptr;
  size_t size = 0;
  int last = 0;
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "Opd", &message, &last, &seconds) || !Bytes(message, &data, &size)) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_SendRpc(RpcOf(self), data, size, last, seconds, status);
  RestoreThread(state);
  return status.ok() ? None() : status.Raise();
}

// receive(seconds) -> bytes
PyObject* Receive(PyObject* self, PyObject* args) {
  double seconds = 0;
  if (!PyArg_ParseTuple(args, "d", &seconds)) return nullptr;
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Buffer* buffer = SL_ReceiveRpc(RpcOf(self), seconds, status);
  RestoreThread(state);
  return buffer == nullptr ? status.Raise() : TakeBytes(buffer);
}

PyObject* Cancel(PyObject* self, PyObject*) {
  SL_CancelRpc(RpcOf(self));
  return None();
}

PyMethodDef methods[] = {{"send", Send, METH_VARARGS, nullptr},
                         {"receive", Receive, METH_VARARGS, nullptr},
                         {"cancel", Cancel, METH_NOARGS, nullptr},
                         {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddRpcType(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(NewRpc)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(DeallocRpc)},
                                {Py_tp_methods, methods},
                                {Py_tp_doc, const_cast<char*>("One call of a gRPC service.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"sluice.native._sluice.Rpc", sizeof(RpcObject), 0, Py_TPFLAGS_DEFAULT, slots};
  PyObject* type = PyType_FromSpec(&spec);
  return type != nullptr && PyModule_AddObjectRef(module, "Rpc", type) == 0;
}

}  // namespace sluice_python
