// `_sluice.Session` and `_sluice.Callable`: steps from Python.
#include <memory>

#include "python/native/py.h"

namespace sluice_python {
namespace {

// A session and what must live as long: shared with its callables, which keep it when Python drops it first.
struct Shared {
  SL_Session* session = nullptr;
  ~Shared() {
    if (session == nullptr) return;
    // Deleting waits for steps, which may want the interpreter (py_func).
    PyThreadState* state = PyEval_SaveThread();
    SL_DeleteSession(session);
    RestoreThread(state);
  }
};

struct SessionObject {
  PyObject_HEAD std::shared_ptr<Shared>* shared;
  PyObject* graph;
};

struct CallableState {
  std::shared_ptr<Shared> shared;
  SL_Callable* callable = nullptr;
  std::vector<FeedSpec> feeds;
  std::vector<SL_Tensor*> spare;  // see FeedTensors
  int num_fetches = 0;
  ~CallableState() {
    for (SL_Tensor* t : spare) {
      if (t != nullptr) SL_DeleteTensor(t);
    }
    if (callable != nullptr) SL_DeleteCallable(callable);
  }
};

struct CallableObject {
  PyObject_HEAD CallableState* state;
};

PyObject* session_type = nullptr;
PyObject* callable_type = nullptr;

template <typename T>
T* Alloc(PyObject* type) {
  auto* t = reinterpret_cast<PyTypeObject*>(type);
  return reinterpret_cast<T*>(reinterpret_cast<allocfunc>(PyType_GetSlot(t, Py_tp_alloc))(t, 0));
}

void Free(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

SL_Session* SessionOf(PyObject* self) { return (*reinterpret_cast<SessionObject*>(self)->shared)->session; }

// Session(graph, serialised ConfigProto or None, target)
PyObject* NewSession(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject *graph_object = nullptr, *config = Py_None;
  const char* target = "";
  if (!PyArg_ParseTuple(args, "O|Os", &graph_object, &config, &target)) return nullptr;
  SL_Graph* graph = GraphOf(graph_object);
  const char* data = nullptr;
  size_t size = 0;
  if (graph == nullptr || (config != Py_None && !Bytes(config, &data, &size))) return nullptr;
  auto shared = std::make_shared<Shared>();
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  shared->session = SL_NewSessionWithTarget(graph, target, data, size, status);
  RestoreThread(state);
  if (shared->session == nullptr) return status.Raise();
  auto* self = Alloc<SessionObject>(reinterpret_cast<PyObject*>(type));
  if (self == nullptr) return nullptr;
  self->shared = new std::shared_ptr<Shared>(std::move(shared));
  Py_INCREF(graph_object);
  self->graph = graph_object;
  return reinterpret_cast<PyObject*>(self);
}

void DeallocSession(PyObject* self) {
  auto* session = reinterpret_cast<SessionObject*>(self);
  delete session->shared;
  Py_XDECREF(session->graph);
  Free(self);
}

PyObject* Close(PyObject* self, PyObject*) {
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_CloseSession(SessionOf(self), status);
  RestoreThread(state);
  return status.ok() ? None() : status.Raise();
}

PyObject* Reset(PyObject* self, PyObject* containers) {
  Sequence items(containers);
  if (!items.ok()) return nullptr;
  std::vector<const char*> names(items.size());
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if ((names[i] = Text(items[i])) == nullptr) return nullptr;
  }
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_ResetSession(SessionOf(self), names.data(), static_cast<int>(names.size()), status);
  RestoreThread(state);
  return status.ok() ? None() : status.Raise();
}

// [(name, type, memory, incarnation)]
PyObject* Devices(PyObject* self, PyObject*) {
  Status status;
  PyThreadState* state = PyEval_SaveThread();  // it asks the master of a cluster
  SL_DeviceList* devices = SL_ListDevices(SessionOf(self), status);
  RestoreThread(state);
  if (!status.ok()) return status.Raise();
  const int n = SL_NumDevices(devices);
  Ref list(PyList_New(n));
  for (int i = 0; list && i < n; ++i) {
    PyList_SetItem(list.get(), i,
                   Py_BuildValue("(ssLK)", SL_DeviceName(devices, i), SL_DeviceType(devices, i),
                                 static_cast<long long>(SL_DeviceMemory(devices, i)),
                                 static_cast<unsigned long long>(SL_DeviceIncarnation(devices, i))));
  }
  SL_DeleteDeviceList(devices);
  return list.release();
}

// callable(feed keys, fetch keys, target ids) -> Callable
PyObject* MakeCallable(PyObject* self, PyObject* args) {
  PyObject *feed_keys, *fetch_keys, *target_ids;
  if (!PyArg_ParseTuple(args, "OOO", &feed_keys, &fetch_keys, &target_ids)) return nullptr;
  auto* session = reinterpret_cast<SessionObject*>(self);
  SL_Graph* graph = GraphOf(session->graph);
  std::vector<SL_Output> feeds, fetches;
  std::vector<SL_Operation*> targets;
  if (graph == nullptr || !ToOutputs(graph, feed_keys, &feeds) || !ToOutputs(graph, fetch_keys, &fetches) ||
      !ToOperations(graph, target_ids, &targets)) {
    return nullptr;
  }
  auto state = std::make_unique<CallableState>();
  state->shared = *session->shared;
  state->num_fetches = static_cast<int>(fetches.size());
  for (const SL_Output& f : feeds) state->feeds.emplace_back(graph, f);
  Status status;
  PyThreadState* thread = PyEval_SaveThread();
  state->callable =
      SL_MakeCallable(state->shared->session, feeds.data(), static_cast<int>(feeds.size()), fetches.data(),
                      static_cast<int>(fetches.size()), targets.data(), static_cast<int>(targets.size()), status);
  RestoreThread(thread);
  if (!status.ok()) return status.Raise();
  auto* made = Alloc<CallableObject>(callable_type);
  if (made == nullptr) return nullptr;
  made->state = state.release();
  return reinterpret_cast<PyObject*>(made);
}

void DeallocCallable(PyObject* self) {
  delete reinterpret_cast<CallableObject*>(self)->state;
  Free(self);
}

// Tokens are reused: a step of a warm thread makes none.
class CancellationPool {
 public:
  ~CancellationPool() {
    for (SL_Cancellation* c : spare_) SL_DeleteCancellation(c);
  }
  SL_Cancellation* Take() {
    if (spare_.empty()) return SL_NewCancellation();
    SL_Cancellation* c = spare_.back();
    spare_.pop_back();
    return c;
  }
  void Return(SL_Cancellation* c) {
    if (SL_IsCancelled(c)) SL_ResetCancellation(c);
    spare_.push_back(c);
  }

 private:
  std::vector<SL_Cancellation*> spare_;
};

CancellationPool& Cancellations() {
  thread_local CancellationPool pool;
  return pool;
}

// A list of them; takes the tensors.
PyObject* Arrays(SL_Tensor** tensors, int count) {
  Ref results(PyList_New(count));
  for (int i = 0; i < count; ++i) {
    PyObject* value = results ? FetchArray(tensors[i]) : nullptr;
    if (value == nullptr) {
      for (int k = results ? i + 1 : i; k < count; ++k) SL_DeleteTensor(tensors[k]);
      return nullptr;
    }
    PyList_SetItem(results.get(), i, value);
  }
  return results.release();
}

PyObject* RunStep(CallableState* callable, PyObject* values, SL_RunOptions* options) {
  Sequence items(values);
  if (!items.ok()) return nullptr;
  const int num_feeds = static_cast<int>(callable->feeds.size());
  if (items.size() != num_feeds) {
    PyErr_Format(PyExc_TypeError, "the callable takes %d values, found %zd", num_feeds, items.size());
    return nullptr;
  }
  constexpr int kInline = 8;
  SL_Tensor* inline_fetches[kInline];
  std::vector<SL_Tensor*> many;
  SL_Tensor** fetches = inline_fetches;
  if (callable->num_fetches > kInline) {
    many.resize(callable->num_fetches);
    fetches = many.data();
  }
  Status status;
  FeedTensors feeds(&callable->spare, num_feeds);
  for (int i = 0; i < num_feeds; ++i) {
    if (!FeedTensor(items[i], callable->feeds[i], &feeds[i], &status)) return nullptr;
  }
  SL_Cancellation* cancellation = Cancellations().Take();
  options->cancellation = cancellation;
  {
    InterruptScope interrupt(cancellation);
    PyThreadState* state = PyEval_SaveThread();
    SL_RunCallable(callable->callable, feeds.data(), fetches, options, status);
    RestoreThread(state);
  }
  Cancellations().Return(cancellation);
  if (!status.ok()) {
    // Ctrl-C: the KeyboardInterrupt is what the user wants to see.
    if (PyErr_CheckSignals() != 0 || PyErr_Occurred()) return nullptr;
    return status.Raise();
  }
  return Arrays(fetches, callable->num_fetches);
}

// run(values) -> [fetched]
PyObject* Run(PyObject* self, PyObject* values) {
  SL_RunOptions options = {};
  options.struct_size = sizeof(options);
  return RunStep(reinterpret_cast<CallableObject*>(self)->state, values, &options);
}

// run_with(values, trace, partition_graphs, timeout_ms, want metadata) -> ([fetched], serialised RunMetadata or None)
PyObject* RunWith(PyObject* self, PyObject* args) {
  PyObject* values;
  int trace, graphs, want;
  long long timeout;
  if (!PyArg_ParseTuple(args, "OppLp", &values, &trace, &graphs, &timeout, &want)) return nullptr;
  SL_RunOptions options = {};
  options.struct_size = sizeof(options);
  options.trace = trace;
  options.partition_graphs = graphs;
  options.timeout_ms = timeout;
  SL_Buffer* metadata = nullptr;
  if (want) options.metadata = &metadata;
  Ref fetched(RunStep(reinterpret_cast<CallableObject*>(self)->state, values, &options));
  Ref bytes(metadata == nullptr ? None() : TakeBytes(metadata));
  return fetched && bytes ? Py_BuildValue("(OO)", fetched.get(), bytes.get()) : nullptr;
}

// partial_setup(feed keys, fetch keys, target ids) -> handle
PyObject* PartialSetup(PyObject* self, PyObject* args) {
  PyObject *feed_keys, *fetch_keys, *target_ids;
  if (!PyArg_ParseTuple(args, "OOO", &feed_keys, &fetch_keys, &target_ids)) return nullptr;
  SL_Graph* graph = GraphOf(reinterpret_cast<SessionObject*>(self)->graph);
  std::vector<SL_Output> feeds, fetches;
  std::vector<SL_Operation*> targets;
  if (graph == nullptr || !ToOutputs(graph, feed_keys, &feeds) || !ToOutputs(graph, fetch_keys, &fetches) ||
      !ToOperations(graph, target_ids, &targets)) {
    return nullptr;
  }
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Buffer* handle =
      SL_SetUpPartialRun(SessionOf(self), feeds.data(), static_cast<int>(feeds.size()), fetches.data(),
                         static_cast<int>(fetches.size()), targets.data(), static_cast<int>(targets.size()), status);
  RestoreThread(state);
  return status.ok() ? TakeText(handle) : status.Raise();
}

// partial_run(handle, feed keys, values, fetch keys) -> [fetched]
PyObject* PartialRun(PyObject* self, PyObject* args) {
  const char* handle = nullptr;
  PyObject *feed_keys, *values, *fetch_keys;
  if (!PyArg_ParseTuple(args, "sOOO", &handle, &feed_keys, &values, &fetch_keys)) return nullptr;
  SL_Graph* graph = GraphOf(reinterpret_cast<SessionObject*>(self)->graph);
  Sequence items(values);
  std::vector<SL_Output> feeds, fetches;
  if (graph == nullptr || !items.ok() || !ToOutputs(graph, feed_keys, &feeds) ||
      !ToOutputs(graph, fetch_keys, &fetches)) {
    return nullptr;
  }
  std::vector<SL_Tensor*> inputs, outputs(fetches.size());
  Status status;
  for (size_t i = 0; i < feeds.size(); ++i) {
    SL_Tensor* value = nullptr;
    if (!FeedTensor(items[i], FeedSpec(graph, feeds[i]), &value, &status)) {
      if (value != nullptr) SL_DeleteTensor(value);
      break;
    }
    inputs.push_back(value);
  }
  if (inputs.size() == feeds.size()) {
    SL_RunOptions options = {};
    options.struct_size = sizeof(options);
    options.cancellation = Cancellations().Take();
    InterruptScope interrupt(options.cancellation);
    PyThreadState* state = PyEval_SaveThread();
    SL_PartialRun(SessionOf(self), handle, feeds.data(), inputs.data(), static_cast<int>(feeds.size()), fetches.data(),
                  static_cast<int>(fetches.size()), outputs.data(), &options, status);
    RestoreThread(state);
    Cancellations().Return(options.cancellation);
  }
  for (SL_Tensor* t : inputs) SL_DeleteTensor(t);
  if (inputs.size() < feeds.size()) return nullptr;
  if (!status.ok()) {
    if (PyErr_CheckSignals() != 0 || PyErr_Occurred()) return nullptr;
    return status.Raise();
  }
  return Arrays(outputs.data(), static_cast<int>(outputs.size()));
}

PyObject* Describe(PyObject* self, SL_Buffer* (*ask)(SL_Callable*, SL_Status*)) {
  Status status;
  PyThreadState* state = PyEval_SaveThread();
  SL_Buffer* text = ask(reinterpret_cast<CallableObject*>(self)->state->callable, status);
  RestoreThread(state);
  return status.ok() ? TakeText(text) : status.Raise();
}
PyObject* Explain(PyObject* self, PyObject*) { return Describe(self, SL_ExplainPlacement); }
PyObject* Plan(PyObject* self, PyObject*) { return Describe(self, SL_DumpPlan); }

PyMethodDef session_methods[] = {{"close", Close, METH_NOARGS, nullptr},
                                 {"reset", Reset, METH_O, nullptr},
                                 {"devices", Devices, METH_NOARGS, nullptr},
                                 {"callable", MakeCallable, METH_VARARGS, nullptr},
                                 {"partial_setup", PartialSetup, METH_VARARGS, nullptr},
                                 {"partial_run", PartialRun, METH_VARARGS, nullptr},
                                 {nullptr, nullptr, 0, nullptr}};

PyMethodDef callable_methods[] = {{"run", Run, METH_O, nullptr},
                                  {"run_with", RunWith, METH_VARARGS, nullptr},
                                  {"explain_placement", Explain, METH_NOARGS, nullptr},
                                  {"plan", Plan, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool AddSessionType(PyObject* module) {
  static PyType_Slot session_slots[] = {{Py_tp_new, reinterpret_cast<void*>(NewSession)},
                                        {Py_tp_dealloc, reinterpret_cast<void*>(DeallocSession)},
                                        {Py_tp_methods, session_methods},
                                        {Py_tp_doc, const_cast<char*>("A session of the runtime.")},
                                        {0, nullptr}};
  static PyType_Spec session_spec = {"sluice.native._sluice.Session", sizeof(SessionObject), 0, Py_TPFLAGS_DEFAULT,
                                     session_slots};
  static PyType_Slot callable_slots[] = {
      {Py_tp_dealloc, reinterpret_cast<void*>(DeallocCallable)},
      {Py_tp_methods, callable_methods},
      {Py_tp_doc, const_cast<char*>("Feeds and fetches of a session, resolved once.")},
      {0, nullptr}};
  static PyType_Spec callable_spec = {"sluice.native._sluice.Callable", sizeof(CallableObject), 0,
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, callable_slots};
  session_type = PyType_FromSpec(&session_spec);
  callable_type = PyType_FromSpec(&callable_spec);
  return session_type != nullptr && callable_type != nullptr &&
         PyModule_AddObjectRef(module, "Session", session_type) == 0 &&
         PyModule_AddObjectRef(module, "Callable", callable_type) == 0;
}

}  // namespace sluice_python
