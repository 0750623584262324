// `_sluice.Graph`: the nodes behind sluice.Graph, addressed by ids and keys (id << 20 | output).
#include "python/native/py.h"

namespace sluice_python {
namespace {

struct GraphObject {
  PyObject_HEAD SL_Graph* graph;
  int seen;  // operations with smaller ids have been reported by new_nodes()
};

PyObject* graph_type = nullptr;

SL_Graph* Of(PyObject* self) { return reinterpret_cast<GraphObject*>(self)->graph; }

PyObject* New(PyTypeObject* type, PyObject*, PyObject*) {
  auto alloc = reinterpret_cast<allocfunc>(PyType_GetSlot(type, Py_tp_alloc));
  auto* self = reinterpret_cast<GraphObject*>(alloc(type, 0));
  if (self != nullptr) self->graph = SL_NewGraph();
  return reinterpret_cast<PyObject*>(self);
}

void Dealloc(PyObject* self) {
  if (Of(self) != nullptr) SL_DeleteGraph(Of(self));
  PyTypeObject* type = Py_TYPE(self);
  reinterpret_cast<freefunc>(PyType_GetSlot(type, Py_tp_free))(self);
  Py_DECREF(type);
}

bool WantArgs(Py_ssize_t n, Py_ssize_t wanted, const char* name) {
  if (n == wanted) return true;
  PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, found %zd", name, wanted, n);
  return false;
}

SL_Operation* OperationOf(SL_Graph* graph, PyObject* id) {
  const long i = PyLong_AsLong(id);
  if (i == -1 && PyErr_Occurred()) return nullptr;
  SL_Operation* op = SL_GraphFindById(graph, static_cast<int>(i));
  if (op == nullptr) PyErr_Format(PyExc_KeyError, "the graph has no operation with id %ld", i);
  return op;
}

PyObject* OutputTypes(const SL_Operation* op) {
  const int n = SL_OperationNumOutputs(op);
  PyObject* types = PyTuple_New(n);
  for (int i = 0; types != nullptr && i < n; ++i)
    PyTuple_SetItem(types, i, PyLong_FromLong(SL_OperationOutputType(op, i)));
  return types;
}

PyObject* IdList(const std::vector<SL_Operation*>& ops) {
  PyObject* list = PyList_New(ops.size());
  for (size_t i = 0; list != nullptr && i < ops.size(); ++i)
    PyList_SetItem(list, i, PyLong_FromLong(SL_OperationId(ops[i])));
  return list;
}

bool AddInputs(SL_OpBuilder* b, SL_Graph* graph, PyObject* keys) {
  Sequence items(keys);
  if (!items.ok()) return false;
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if (PyList_Check(items[i])) {
      if (!AddInputs(b, graph, items[i])) return false;
      continue;
    }
    SL_Output output;
    if (!ToOutput(graph, items[i], &output)) return false;
    SL_AddInput(b, output);
  }
  return true;
}

bool AddAttrs(SL_OpBuilder* b, const char* op_type, PyObject* attrs) {
  if (attrs == Py_None) return true;
  const SL_OpDef* def = SL_FindOpDef(op_type);
  Py_ssize_t at = 0;
  PyObject *key = nullptr, *value = nullptr;
  while (PyDict_Next(attrs, &at, &key, &value)) {
    if (!SetAttr(b, def, key, value)) return false;
  }
  return true;
}

// add(op_type, name, inputs, attrs, control ids, device, file, line) -> (id, output types)
PyObject* Add(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (!WantArgs(n, 8, "add")) return nullptr;
  SL_Graph* graph = Of(self);
  const char* op_type = Text(args[0]);
  const char* name = op_type == nullptr ? nullptr : Text(args[1]);
  if (name == nullptr) return nullptr;
  SL_OpBuilder* b = SL_NewOp(graph, op_type, name);
  Status status;
  auto fill = [&] {
    if (!AddInputs(b, graph, args[2]) || !AddAttrs(b, op_type, args[3])) return false;
    if (args[4] != Py_None) {
      std::vector<SL_Operation*> control;
      if (!ToOperations(graph, args[4], &control)) return false;
      for (SL_Operation* op : control) SL_AddControlInput(b, op);
    }
    const char* device = Text(args[5]);
    const char* file = device == nullptr ? nullptr : Text(args[6]);
    if (file == nullptr) return false;
    if (*device) SL_SetDevice(b, device);
    const long line = PyLong_AsLong(args[7]);
    if (*file) SL_SetSource(b, file, static_cast<int>(line));
    return true;
  };
  if (!fill()) {
    SL_DropOp(b);
    return nullptr;
  }
  SL_Operation* op = SL_FinishOp(b, status);
  if (op == nullptr) return status.RaiseWhileBuilding();
  Ref types(OutputTypes(op));
  return types ? Py_BuildValue("(iO)", SL_OperationId(op), types.get()) : nullptr;
}

PyObject* Shape(PyObject* self, PyObject* key) {
  SL_Output output;
  if (!ToOutput(Of(self), key, &output)) return nullptr;
  int64_t dims[256];
  return FromShape(dims, SL_OutputShape(Of(self), output, dims, 256));
}

PyObject* SetShape(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Output output;
  std::vector<int64_t> dims;
  int rank = 0;
  if (!WantArgs(n, 2, "set_shape") || !ToOutput(Of(self), args[0], &output) || !ToShape(args[1], &dims, &rank))
    return nullptr;
  Status status;
  SL_RefineShape(Of(self), output, dims.data(), rank, status);
  return status.ok() ? None() : status.RaiseWhileBuilding();
}

// The elements of an integer output as far as they are known, None where not; None when nothing is.
PyObject* Value(PyObject* self, PyObject* key) {
  SL_Output output;
  if (!ToOutput(Of(self), key, &output)) return nullptr;
  int64_t values[256];
  const int n = SL_OutputValue(Of(self), output, values, 256);
  if (n < 0 || n > 256) return None();
  PyObject* list = PyList_New(n);
  for (int i = 0; list != nullptr && i < n; ++i) {
    PyList_SetItem(list, i, values[i] == INT64_MIN ? None() : PyLong_FromLongLong(values[i]));
  }
  return list;
}

PyObject* Inputs(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  if (op == nullptr) return nullptr;
  const int n = SL_OperationNumInputs(op);
  PyObject* list = PyList_New(n);
  for (int i = 0; list != nullptr && i < n; ++i)
    PyList_SetItem(list, i, PyLong_FromLongLong(KeyOf(SL_OperationInput(op, i))));
  return list;
}

PyObject* ControlInputs(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  if (op == nullptr) return nullptr;
  std::vector<SL_Operation*> ops;
  for (int i = 0; i < SL_OperationNumControlInputs(op); ++i) ops.push_back(SL_OperationControlInput(op, i));
  return IdList(ops);
}

PyObject* ControlOutputs(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  if (op == nullptr) return nullptr;
  std::vector<SL_Operation*> ops;
  for (int i = 0; i < SL_OperationNumControlOutputs(op); ++i) ops.push_back(SL_OperationControlOutput(op, i));
  return IdList(ops);
}

PyObject* Consumers(PyObject* self, PyObject* key) {
  SL_Output output;
  if (!ToOutput(Of(self), key, &output)) return nullptr;
  int n = SL_OperationConsumers(Of(self), output, nullptr, nullptr, 0);
  std::vector<SL_Operation*> ops(n);
  std::vector<int> inputs(n);
  SL_OperationConsumers(Of(self), output, ops.data(), inputs.data(), n);
  return IdList(ops);
}

PyObject* Device(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  return op == nullptr ? nullptr : PyUnicode_FromString(SL_OperationDevice(op));
}

PyObject* SetDevice(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Operation* op = WantArgs(n, 2, "set_device") ? OperationOf(Of(self), args[0]) : nullptr;
  const char* device = op == nullptr ? nullptr : Text(args[1]);
  if (device == nullptr) return nullptr;
  SL_GraphSetDevice(Of(self), op, device);
  return None();
}

PyObject* Source(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  if (op == nullptr) return nullptr;
  int line = 0;
  const char* file = SL_OperationSource(op, &line);
  return Py_BuildValue("(si)", file, line);
}

PyObject* NodeDef(PyObject* self, PyObject* id) {
  SL_Operation* op = OperationOf(Of(self), id);
  if (op == nullptr) return nullptr;
  Status status;
  SL_Buffer* def = SL_OperationToDef(Of(self), op, status);
  return status.ok() ? TakeBytes(def) : status.Raise();
}

// get_attr(id, name[, what to give when there is none])
PyObject* GetAttr(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Operation* op = n == 3 || WantArgs(n, 2, "get_attr") ? OperationOf(Of(self), args[0]) : nullptr;
  const char* name = op == nullptr ? nullptr : Text(args[1]);
  if (name == nullptr) return nullptr;
  const SL_Attr* attr = SL_OperationAttr(op, name);
  if (attr == nullptr && n == 3) {
    Py_INCREF(args[2]);
    return args[2];
  }
  if (attr == nullptr) {
    PyErr_Format(PyExc_ValueError, "Operation '%s' has no attr named '%s'.", SL_OperationName(op), name);
    return nullptr;
  }
  return FromAttr(attr);
}

PyObject* SetAttrProto(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Operation* op = WantArgs(n, 3, "set_attr") ? OperationOf(Of(self), args[0]) : nullptr;
  const char* name = op == nullptr ? nullptr : Text(args[1]);
  const char* data = nullptr;
  size_t size = 0;
  if (name == nullptr || !Bytes(args[2], &data, &size)) return nullptr;
  Status status;
  SL_GraphSetAttrProto(Of(self), op, name, data, size, status);
  return status.ok() ? None() : status.RaiseWhileBuilding();
}

PyObject* AddControlInput(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Operation* op = WantArgs(n, 2, "add_control_input") ? OperationOf(Of(self), args[0]) : nullptr;
  SL_Operation* input = op == nullptr ? nullptr : OperationOf(Of(self), args[1]);
  if (input == nullptr) return nullptr;
  Status status;
  SL_GraphAddControlInput(Of(self), op, input, status);
  return status.ok() ? None() : status.RaiseWhileBuilding();
}

PyObject* UpdateInput(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  SL_Operation* op = WantArgs(n, 3, "update_input") ? OperationOf(Of(self), args[0]) : nullptr;
  SL_Output output;
  if (op == nullptr || !ToOutput(Of(self), args[2], &output)) return nullptr;
  Status status;
  SL_GraphUpdateInput(Of(self), op, static_cast<int>(PyLong_AsLong(args[1])), output, status);
  return status.ok() ? None() : status.RaiseWhileBuilding();
}

// [(id, name, type, output types)] of the operations added since the last call.
PyObject* NewNodes(PyObject* self, PyObject*) {
  auto* object = reinterpret_cast<GraphObject*>(self);
  const int end = SL_GraphNumIds(object->graph);
  Ref list(PyList_New(0));
  for (int id = object->seen; list && id < end; ++id) {
    SL_Operation* op = SL_GraphFindById(object->graph, id);
    if (op == nullptr) continue;
    Ref types(OutputTypes(op));
    Ref item(types ? Py_BuildValue("(issO)", id, SL_OperationName(op), SL_OperationType(op), types.get()) : nullptr);
    if (!item || PyList_Append(list.get(), item.get()) != 0) return nullptr;
  }
  object->seen = end;
  return list.release();
}

PyObject* GraphDef(PyObject* self, PyObject* add_shapes) {
  Status status;
  SL_Buffer* def = SL_GraphToDef(Of(self), PyObject_IsTrue(add_shapes), 0, status);
  return status.ok() ? TakeBytes(def) : status.Raise();
}

PyObject* Producer(PyObject* self, PyObject*) { return PyLong_FromLong(SL_GraphProducer(Of(self))); }

bool ToTexts(PyObject* o, std::vector<const char*>* texts) {
  Sequence items(o);
  if (!items.ok()) return false;
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    texts->push_back(Text(items[i]));
    if (texts->back() == nullptr) return false;
  }
  return true;
}

// import_graph_def(bytes, prefix, mapped names, mapped keys, return outputs, return operations, control ids, uniquify)
// -> (keys, ids, text of unused names)
PyObject* Import(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (!WantArgs(n, 8, "import_graph_def")) return nullptr;
  SL_Graph* graph = Of(self);
  const char* data = nullptr;
  size_t size = 0;
  std::vector<const char*> mapped, return_outputs, return_operations;
  std::vector<SL_Output> replacements;
  std::vector<SL_Operation*> control;
  const char* prefix = Text(args[1]);
  if (prefix == nullptr || !Bytes(args[0], &data, &size) || !ToTexts(args[2], &mapped) ||
      !ToOutputs(graph, args[3], &replacements) || !ToTexts(args[4], &return_outputs) ||
      !ToTexts(args[5], &return_operations) || !ToOperations(graph, args[6], &control)) {
    return nullptr;
  }
  SL_ImportOptions options = {};
  options.struct_size = sizeof(options);
  options.prefix = prefix;
  options.num_inputs_mapped = static_cast<int>(mapped.size());
  options.inputs_mapped = mapped.data();
  options.input_replacements = replacements.data();
  options.num_return_outputs = static_cast<int>(return_outputs.size());
  options.return_outputs = return_outputs.data();
  options.num_return_operations = static_cast<int>(return_operations.size());
  options.return_operations = return_operations.data();
  options.num_control_inputs = static_cast<int>(control.size());
  options.control_inputs = control.data();
  options.uniquify_names = PyObject_IsTrue(args[7]);
  std::vector<SL_Output> outputs(return_outputs.size());
  std::vector<SL_Operation*> operations(return_operations.size());
  SL_Buffer* unused = nullptr;
  Status status;
  SL_ImportGraphDef(graph, data, size, &options, outputs.data(), operations.data(), &unused, status);
  if (!status.ok()) return status.RaiseWhileBuilding();
  Ref keys(PyList_New(outputs.size()));
  for (size_t i = 0; i < outputs.size(); ++i) PyList_SetItem(keys.get(), i, PyLong_FromLongLong(KeyOf(outputs[i])));
  Ref ids(IdList(operations));
  Ref rest(TakeText(unused));
  return keys && ids && rest ? Py_BuildValue("(OOO)", keys.get(), ids.get(), rest.get()) : nullptr;
}

// --- gradients
// --------------------------------------------------------------------------------------------------------

PyObject* FromGrad(const SL_Grad& g) {
  return Py_BuildValue("(LLLL)", KeyOf(g.dense), KeyOf(g.values), KeyOf(g.indices), KeyOf(g.dense_shape));
}

struct Override {
  SL_Graph* graph;
  PyObject* callable;
  PyObject* registered;  // {op type, or name of a gradient: rule}
};

// The callable is asked for operations that may have a rule in Python. It gets (operation id, [gradients of outputs])
// and gives None, or a list with a gradient for each input.
int CallOverride(void* arg, SL_Operation* forward, const SL_Grad* dys, int num_dys, SL_Grad* dxs, int num_dxs,
                 SL_Status* status) {
  auto* o = static_cast<Override*>(arg);
  if (PyDict_GetItemString(o->registered, SL_OperationType(forward)) == nullptr &&
      SL_OperationAttr(forward, "_gradient_op_type") == nullptr) {
    return 0;
  }
  auto fail = [status] {
    SL_SetStatus(status, 2, "a Python gradient failed");  // The Python error stays set and is what the user sees.
    return -1;
  };
  Ref list(PyList_New(num_dys));
  for (int i = 0; list && i < num_dys; ++i) PyList_SetItem(list.get(), i, FromGrad(dys[i]));
  Ref result(list ? PyObject_CallFunction(o->callable, "iO", SL_OperationId(forward), list.get()) : nullptr);
  if (!result) return fail();
  if (result.get() == Py_None) return 0;
  Sequence grads(result.get());
  if (!grads.ok() || grads.size() != num_dxs) {
    if (!PyErr_Occurred()) {
      PyErr_Format(PyExc_ValueError, "Num gradients %zd generated for op '%s' do not match num inputs %d", grads.size(),
                   SL_OperationName(forward), num_dxs);
    }
    return fail();
  }
  for (int i = 0; i < num_dxs; ++i) {
    std::vector<SL_Output> parts;
    if (!ToOutputs(o->graph, grads[i], &parts) || parts.size() != 4) return fail();
    dxs[i] = {parts[0], parts[1], parts[2], parts[3]};
  }
  return 1;
}

// gradients(ys, xs, grad_ys or None, scope, colocate, stop, zeros_for_unconnected, override, {registered name: rule})
// -> [(dense, values, indices, dense_shape)] keys, -1 for none
PyObject* Gradients(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (!WantArgs(n, 9, "gradients")) return nullptr;
  SL_Graph* graph = Of(self);
  std::vector<SL_Output> ys, xs, grad_ys, stop;
  const char* scope = Text(args[3]);
  if (scope == nullptr || !ToOutputs(graph, args[0], &ys) || !ToOutputs(graph, args[1], &xs) ||
      !ToOutputs(graph, args[5], &stop)) {
    return nullptr;
  }
  if (args[2] != Py_None && !ToOutputs(graph, args[2], &grad_ys)) return nullptr;
  if (!PyDict_Check(args[8])) {
    PyErr_SetString(PyExc_TypeError, "the registered gradients are wanted as a dict");
    return nullptr;
  }
  Override override_rule = {graph, args[7], args[8]};
  SL_GradientOptions options = {};
  options.struct_size = sizeof(options);
  options.scope = scope;
  options.colocate = PyObject_IsTrue(args[4]);
  options.zeros_for_unconnected = PyObject_IsTrue(args[6]);
  options.num_stop = static_cast<int>(stop.size());
  options.stop = stop.data();
  options.override_rule = PyDict_Size(args[8]) == 0 ? nullptr : CallOverride;
  options.arg = &override_rule;
  std::vector<SL_Grad> grads(xs.size());
  Status status;
  SL_AddGradients(graph, ys.data(), static_cast<int>(ys.size()), xs.data(), static_cast<int>(xs.size()),
                  grad_ys.empty() ? nullptr : grad_ys.data(), &options, grads.data(), status);
  if (PyErr_Occurred()) return nullptr;
  if (!status.ok()) return status.code() == 5 || status.code() == 12 ? status.Raise() : status.RaiseWhileBuilding();
  Ref list(PyList_New(grads.size()));
  for (size_t i = 0; list && i < grads.size(); ++i) PyList_SetItem(list.get(), i, FromGrad(grads[i]));
  return list.release();
}

PyObject* AddFunction(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (!WantArgs(n, 2, "add_function")) return nullptr;
  const char* name = Text(args[0]);
  SL_Graph* body = name == nullptr ? nullptr : GraphOf(args[1]);
  if (body == nullptr) return nullptr;
  Status status;
  SL_GraphAddFunction(Of(self), body, name, status);
  return status.ok() ? None() : status.RaiseWhileBuilding();
}

// inline(library Graph, function, prefix, keys of arguments) -> keys of results
PyObject* Inline(PyObject* self, PyObject* const* args, Py_ssize_t n) {
  if (!WantArgs(n, 4, "inline")) return nullptr;
  SL_Graph* library = GraphOf(args[0]);
  const char* name = library == nullptr ? nullptr : Text(args[1]);
  const char* prefix = name == nullptr ? nullptr : Text(args[2]);
  std::vector<SL_Output> inputs;
  if (prefix == nullptr || !ToOutputs(Of(self), args[3], &inputs)) return nullptr;
  std::vector<SL_Output> results(1024);
  Status status;
  const int count = SL_InlineFunction(Of(self), library, name, prefix, inputs.data(), static_cast<int>(inputs.size()),
                                      results.data(), static_cast<int>(results.size()), status);
  if (!status.ok()) return status.RaiseWhileBuilding();
  PyObject* keys = PyList_New(count);
  for (int i = 0; keys != nullptr && i < count; ++i) PyList_SetItem(keys, i, PyLong_FromLongLong(KeyOf(results[i])));
  return keys;
}

PyMethodDef methods[] = {
    {"add", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Add)), METH_FASTCALL, nullptr},
    {"shape", Shape, METH_O, nullptr},
    {"set_shape", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(SetShape)), METH_FASTCALL, nullptr},
    {"value", Value, METH_O, nullptr},
    {"inputs", Inputs, METH_O, nullptr},
    {"control_inputs", ControlInputs, METH_O, nullptr},
    {"control_outputs", ControlOutputs, METH_O, nullptr},
    {"consumers", Consumers, METH_O, nullptr},
    {"device", Device, METH_O, nullptr},
    {"set_device", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(SetDevice)), METH_FASTCALL, nullptr},
    {"source", Source, METH_O, nullptr},
    {"node_def", NodeDef, METH_O, nullptr},
    {"get_attr", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(GetAttr)), METH_FASTCALL, nullptr},
    {"set_attr", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(SetAttrProto)), METH_FASTCALL, nullptr},
    {"add_control_input", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(AddControlInput)), METH_FASTCALL,
     nullptr},
    {"update_input", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(UpdateInput)), METH_FASTCALL, nullptr},
    {"new_nodes", NewNodes, METH_NOARGS, nullptr},
    {"graph_def", GraphDef, METH_O, nullptr},
    {"producer", Producer, METH_NOARGS, nullptr},
    {"import_graph_def", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Import)), METH_FASTCALL, nullptr},
    {"gradients", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Gradients)), METH_FASTCALL, nullptr},
    {"add_function", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(AddFunction)), METH_FASTCALL, nullptr},
    {"inline", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(Inline)), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

SL_Graph* GraphOf(PyObject* o) {
  const int is = PyObject_IsInstance(o, graph_type);
  if (is == 1) return Of(o);
  if (is == 0) PyErr_SetString(PyExc_TypeError, "wanted a _sluice.Graph");
  return nullptr;
}

bool ToOutput(SL_Graph* graph, PyObject* key, SL_Output* output) {
  int64_t k = 0;
  if (!ToInt64(key, &k)) return false;
  if (k < 0) {
    *output = {nullptr, 0};
    return true;
  }
  output->op = SL_GraphFindById(graph, static_cast<int>(k >> kKeyShift));
  output->index = static_cast<int>(k & ((1 << kKeyShift) - 1));
  if (output->op != nullptr && output->index <= SL_OperationNumOutputs(output->op)) return true;
  PyErr_Format(PyExc_KeyError, "the graph has no tensor with key %lld", static_cast<long long>(k));
  return false;
}

bool ToOutputs(SL_Graph* graph, PyObject* keys, std::vector<SL_Output>* outputs) {
  Sequence items(keys);
  if (!items.ok()) return false;
  outputs->resize(items.size());
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if (!ToOutput(graph, items[i], &(*outputs)[i])) return false;
  }
  return true;
}

bool ToOperations(SL_Graph* graph, PyObject* ids, std::vector<SL_Operation*>* operations) {
  Sequence items(ids);
  if (!items.ok()) return false;
  operations->resize(items.size());
  for (Py_ssize_t i = 0; i < items.size(); ++i) {
    if (((*operations)[i] = OperationOf(graph, items[i])) == nullptr) return false;
  }
  return true;
}

bool AddGraphType(PyObject* module) {
  static PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(New)},
                                {Py_tp_dealloc, reinterpret_cast<void*>(Dealloc)},
                                {Py_tp_methods, methods},
                                {Py_tp_doc, const_cast<char*>("The nodes of a graph.")},
                                {0, nullptr}};
  static PyType_Spec spec = {"sluice.native._sluice.Graph", sizeof(GraphObject), 0, Py_TPFLAGS_DEFAULT, slots};
  graph_type = PyType_FromSpec(&spec);
  return graph_type != nullptr && PyModule_AddObjectRef(module, "Graph", graph_type) == 0;
}

}  // namespace sluice_python
