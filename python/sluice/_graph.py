"""Graphs and their parts: `Graph`, `Operation`, `Tensor`, and the scopes that say how nodes are made.

The nodes live in C++ (`_sluice.Graph`); the objects here are handles. A tensor is known to the native module by its
key, `node << 20 | output`. Everything that makes nodes goes through `Graph._create`, which applies the control
dependencies, device, colocation and attribute scopes in force and records the user's file and line.
"""

import contextlib
import re
import sys
import threading
from collections import namedtuple
from os import path as _path

from sluice import _device
from sluice import _dtypes
from sluice._native import _sluice
from sluice._shapes import TensorShape

KEY_SHIFT = 20
_INDEX_MASK = (1 << KEY_SHIFT) - 1

_OP_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
_SCOPE_NAME = re.compile(r"^[A-Za-z0-9_.\\/>-]*$")

_good_names = set()  # of which _OP_NAME has been asked


def _is_op_name(name):
  if name in _good_names:
    return True
  if not _OP_NAME.match(name):
    return False
  if len(_good_names) > 10000:
    _good_names.clear()
  _good_names.add(name)
  return True


_PACKAGE = _path.dirname(_path.abspath(__file__)) + _path.sep
_is_ours = {}


def _user_frame(frame):
  """(file, line) of the nearest frame outside this package."""
  while frame is not None:
    file = frame.f_code.co_filename
    ours = _is_ours.get(file)
    if ours is None:
      ours = _is_ours[file] = (file.startswith(_PACKAGE) and not file.endswith("_test.py")) or file in ("<frozen importlib._bootstrap>", _contextlib_file)
    if not ours:
      return _line_of(frame, file)
    frame = frame.f_back
  return "", 0


_lines = {}  # (id of the code, place in it): (the code, (file, line))


def _line_of(frame, file):
  """(file, line) where a frame is. Python works the line out from the beginning of the function, so it is kept."""
  code = frame.f_code
  key = id(code), frame.f_lasti
  found = _lines.get(key)
  if found is None or found[0] is not code:
    if len(_lines) > 20000:
      _lines.clear()
    found = _lines[key] = code, (file, frame.f_lineno)
  return found[1]


_contextlib_file = contextlib.__file__


class Tensor:
  """A symbolic value: one output of an operation. NumPy-like operators and slices make further nodes."""

  __array_priority__ = 100

  def __init__(self, op, value_index, dtype):
    if not isinstance(op, Operation):
      raise TypeError(f"op needs to be an Operation: {op!r}")
    self._op = op
    self._value_index = value_index
    self._dtype = _dtypes.as_dtype(dtype)
    self._key = op._id << KEY_SHIFT | value_index
    self.graph = op.graph

  @property
  def op(self):
    """The operation that makes this tensor."""
    return self._op

  @property
  def dtype(self):
    return self._dtype

  @property
  def value_index(self):
    return self._value_index

  @property
  def name(self):
    return f"{self._op.name}:{self._value_index}"

  @property
  def device(self):
    return self._op.device

  @property
  def shape(self):
    """The static shape, as far as it is known."""
    sizes = self.graph._native.shape(self._key)
    return TensorShape._of(sizes)

  def get_shape(self):
    return self.shape

  @property
  def _shape(self):
    return self.shape

  def _shape_tuple(self):
    return self.graph._native.shape(self._key)

  def _shape_as_list(self):
    sizes = self.graph._native.shape(self._key)
    return None if sizes is None else list(sizes)

  def _rank(self):
    sizes = self.graph._native.shape(self._key)
    return None if sizes is None else len(sizes)

  def set_shape(self, shape):
    """Adds what the user knows of the shape; ValueError when it contradicts what is known."""
    shape = shape if type(shape) is TensorShape else TensorShape(shape)
    if shape._sizes is None:
      return
    merged = self.shape.merge_with(shape)
    self.graph._native.set_shape(self._key, merged._native())

  def consumers(self):
    """The operations that take this tensor."""
    self.graph._sync()
    by_id = self.graph._by_id
    return [by_id[i] for i in self.graph._native.consumers(self._key)]

  def eval(self, feed_dict=None, session=None):
    """The value, from `session` or the default session."""
    return _eval_using_default_session(self, feed_dict, self.graph, session)

  def _as_node_def_input(self):
    return self._op.name if self._value_index == 0 else f"{self._op.name}:{self._value_index}"

  def _as_graph_element(self):
    return self

  def experimental_ref(self):
    return _Reference(self)

  ref = experimental_ref

  __hash__ = object.__hash__  # also the quickest

  def __eq__(self, other):
    return self is other

  def __ne__(self, other):
    return self is not other

  def __bool__(self):
    raise TypeError(f"Using a Tensor ('{self.name}') as a Python bool is not allowed: its value is known only when the graph runs. "
                    "Use `if t is not None:` to test whether a tensor is defined, and sl.cond or sl.where to choose by its value.")

  def __iter__(self):
    sizes = self._shape_tuple()
    if sizes is None or not sizes or sizes[0] is None:
      raise TypeError(f"Tensor '{self.name}' of shape {self.shape} cannot be iterated when its first dimension is unknown or it is a scalar.")
    return (self[i] for i in range(sizes[0]))

  def __len__(self):
    raise TypeError(f"len is not well defined for the symbolic Tensor '{self.name}'. Use x.shape, or sl.shape(x) when the graph runs.")

  def __array__(self, dtype=None, copy=None):
    raise NotImplementedError(f"Cannot convert the symbolic Tensor '{self.name}' to a NumPy array; fetch it with Session.run.")

  def __copy__(self):
    return self

  def __deepcopy__(self, memo):
    return self

  def __repr__(self):
    return f"<sl.Tensor '{self.name}' shape={self.shape} dtype={self._dtype.name}>"

  def __str__(self):
    shape = "" if self._shape_tuple() is None else f", shape={self.shape}"
    return f"Tensor(\"{self.name}\"{shape}, dtype={self._dtype.name})"

  OVERLOADABLE_OPERATORS = frozenset([
      "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__", "__truediv__", "__rtruediv__", "__div__",
      "__rdiv__", "__floordiv__", "__rfloordiv__", "__mod__", "__rmod__", "__lt__", "__le__", "__gt__", "__ge__",
      "__and__", "__rand__", "__or__", "__ror__", "__xor__", "__rxor__", "__getitem__", "__pow__", "__rpow__",
      "__invert__", "__neg__", "__abs__", "__matmul__", "__rmatmul__"])

  @classmethod
  def _override_operator(cls, operator, fn):
    setattr(cls, operator, fn)


_new = object.__new__


def _new_tensor(op, index, dtype, key, graph):
  self = _new(Tensor)
  self._op = op
  self._value_index = index
  self._dtype = dtype
  self._key = key
  self.graph = graph
  return self


class _Reference:
  """Wraps an object so that sets and dicts compare it by identity."""

  __slots__ = ("_object",)

  def __init__(self, wrapped):
    self._object = wrapped

  def deref(self):
    return self._object

  def __eq__(self, other):
    return isinstance(other, _Reference) and self._object is other._object

  def __hash__(self):
    return id(self._object)


class Operation:
  """A node of a graph: takes tensors, makes tensors."""

  _device_scopes = ()  # (device asked for, file, line) of each `sl.device` around it
  _groups = None  # its colocation groups, once they were asked for

  def __init__(self, *args, **kwargs):
    raise TypeError("make operations with Graph.create_op or the functions of sluice, not with Operation()")

  @classmethod
  def _of(cls, graph, node_id, name, op_type, dtypes, source=None):
    self = cls.__new__(cls)
    self.graph = graph
    self._id = node_id
    self._name = name
    self._type = op_type
    self._source = source
    key = node_id << KEY_SHIFT
    by_enum = _dtypes._BY_ENUM
    if len(dtypes) == 1:
      tensor = _new(Tensor)
      tensor._op = self
      tensor._value_index = 0
      tensor._dtype = by_enum[dtypes[0]]
      tensor._key = key
      tensor.graph = graph
      self._outputs = [tensor]
    else:
      self._outputs = [_new_tensor(self, i, by_enum[d], key | i, graph) for i, d in enumerate(dtypes)]
    return self

  @property
  def name(self):
    return self._name

  @property
  def type(self):
    return self._type

  @property
  def _id_value(self):
    return self._id

  @property
  def outputs(self):
    """The tensors it makes."""
    return self._outputs

  @property
  def values(self):
    return lambda: tuple(self._outputs)

  @property
  def inputs(self):
    """The tensors it takes."""
    graph = self.graph
    by_id = graph._by_id
    try:
      return [by_id[k >> KEY_SHIFT]._outputs[k & _INDEX_MASK] for k in graph._native.inputs(self._id)]
    except KeyError:
      graph._sync()
      return [by_id[k >> KEY_SHIFT]._outputs[k & _INDEX_MASK] for k in graph._native.inputs(self._id)]

  @property
  def control_inputs(self):
    """The operations that must run before it."""
    self.graph._sync()
    by_id = self.graph._by_id
    return [by_id[i] for i in self.graph._native.control_inputs(self._id)]

  @property
  def _control_outputs(self):
    self.graph._sync()
    return [self.graph._by_id[i] for i in self.graph._native.control_outputs(self._id)]

  @property
  def device(self):
    """The device asked for, "" when none."""
    return self.graph._native.device(self._id)

  def _set_device(self, device):
    self.graph._native.set_device(self._id, _device.canonical_name(device))

  @property
  def traceback(self):
    """[(file, line)] of the user's line that made it."""
    source = self._source or self.graph._native.source(self._id)
    return [source] if source and source[0] else []

  @property
  def op_def(self):
    from sluice.protos import op_def_pb2
    return op_def_pb2.OpDef.FromString(_sluice.op_def(self._type))

  @property
  def node_def(self):
    """The serialised form, a NodeDef message."""
    from sluice.protos import node_def_pb2
    return node_def_pb2.NodeDef.FromString(self.graph._native.node_def(self._id))

  def get_attr(self, name):
    """An attribute's value: int, float, bool, bytes, DType, TensorShapeProto, TensorProto, NameAttrList or a list of them."""
    return _attr_from_native(self.graph._native.get_attr(self._id, name))

  def _set_attr(self, name, value):
    """Sets an attribute from an AttrValue message or a plain value."""
    if not hasattr(value, "SerializeToString"):
      from sluice.protos import attr_value_pb2
      kind = {bool: "b", int: "i", float: "f", bytes: "s", str: "s", _dtypes.DType: "type"}[type(value)]
      value = attr_value_pb2.AttrValue(**{kind: value.encode() if isinstance(value, str) else int(value) if kind == "type" else value})
    self.graph._native.set_attr(self._id, name, value.SerializeToString())
    if name == "_class":
      self._groups = None

  def colocation_groups(self):
    """Names of the groups, `loc:@x`, whose members share a device."""
    if self._groups is None:
      found = self.graph._native.get_attr(self._id, "_class", None)
      self._groups = (_groups_of(found[1]) if found else ()) or [("loc:@" + self._name).encode()]
    return list(self._groups)

  def _add_control_input(self, op):
    self.graph._native.add_control_input(self._id, op._id)

  def _add_control_inputs(self, ops):
    for op in ops:
      self._add_control_input(op)

  def _update_input(self, index, tensor):
    self.graph._native.update_input(self._id, index, tensor._key)

  def run(self, feed_dict=None, session=None):
    """Runs it, in `session` or the default session."""
    _run_using_default_session(self, feed_dict, self.graph, session)

  def _as_graph_element(self):
    return None

  def __copy__(self):
    return self

  def __deepcopy__(self, memo):
    return self

  def __repr__(self):
    return f"<sl.Operation '{self._name}' type={self._type}>"

  def __str__(self):
    return f"name: \"{self._name}\"\nop: \"{self._type}\"\n" + "".join(f"input: \"{t._as_node_def_input()}\"\n" for t in self.inputs)


def _groups_of(classes):
  """The groups of colocation among the values of a `_class` attribute."""
  return [g for g in classes if g.startswith(b"loc:@")]


def _attr_from_native(found):
  """From the (kind, value) of the native module to what users know."""
  kind, value = found
  if kind == "type":
    return _dtypes.as_dtype(value)
  if kind == "list(type)":
    return [_dtypes.as_dtype(v) for v in value]
  if kind == "shape":
    return TensorShape._of(value).as_proto()
  if kind == "list(shape)":
    return [TensorShape._of(v).as_proto() for v in value]
  if kind in ("tensor", "list(tensor)"):
    from sluice import _convert
    if kind == "tensor":
      return _convert.make_tensor_proto(_convert.array_from_native(*value), dtype=value[0])
    return [_convert.make_tensor_proto(_convert.array_from_native(*v), dtype=v[0]) for v in value]
  if kind in ("func", "list(func)"):
    from sluice.protos import attr_value_pb2
    if kind == "func":
      return attr_value_pb2.NameAttrList(name=value)
    return [attr_value_pb2.NameAttrList(name=v) for v in value]
  return value


class IndexedSlices:
  """Rows `values` of a larger tensor, at `indices` of its first dimension: the gradient of a gather."""

  def __init__(self, values, indices, dense_shape=None):
    self._values = values
    self._indices = indices
    self._dense_shape = dense_shape

  @property
  def values(self):
    return self._values

  @property
  def indices(self):
    return self._indices

  @property
  def dense_shape(self):
    return self._dense_shape

  @property
  def name(self):
    return self._values.name

  @property
  def device(self):
    return self._values.device

  @property
  def op(self):
    return self._values.op

  @property
  def dtype(self):
    return self._values.dtype

  @property
  def graph(self):
    return self._values.graph

  @property
  def shape(self):
    if self._dense_shape is None:
      return TensorShape(None)
    from sluice import _convert
    return _convert.constant_value_as_shape(self._dense_shape)

  def __neg__(self):
    return IndexedSlices(-self._values, self._indices, self._dense_shape)

  def __repr__(self):
    return f"IndexedSlices(indices={self._indices}, values={self._values}" + (
        "" if self._dense_shape is None else f", dense_shape={self._dense_shape}") + ")"


IndexedSlicesValue = namedtuple("IndexedSlicesValue", ["values", "indices", "dense_shape"])
SparseTensorValue = namedtuple("SparseTensorValue", ["indices", "values", "dense_shape"])


class SparseTensor:
  """A sparse tensor: `values[i]` sits at `indices[i]` of a tensor of `dense_shape`."""

  def __init__(self, indices, values, dense_shape):
    from sluice import _convert
    with name_scope(None, "SparseTensor", [indices, values, dense_shape]):
      indices = _convert.convert_to_tensor(indices, name="indices", dtype=_dtypes.int64)
      values = _convert.convert_to_tensor(values, name="values")
      dense_shape = _convert.convert_to_tensor(dense_shape, name="dense_shape", dtype=_dtypes.int64)
    self._indices = indices
    self._values = values
    self._dense_shape = dense_shape
    indices.shape.with_rank(2)
    values.shape.with_rank(1)
    dense_shape.shape.with_rank(1)

  @classmethod
  def from_value(cls, value):
    if isinstance(value, SparseTensor):
      return value
    if not isinstance(value, (SparseTensorValue, tuple)):
      raise TypeError(f"Neither a SparseTensor nor SparseTensorValue: {value!r}")
    return cls(*value)

  @property
  def indices(self):
    return self._indices

  @property
  def values(self):
    return self._values

  @property
  def dense_shape(self):
    return self._dense_shape

  @property
  def op(self):
    return self._values.op

  @property
  def dtype(self):
    return self._values.dtype

  @property
  def graph(self):
    return self._values.graph

  @property
  def shape(self):
    from sluice import _convert
    return _convert.constant_value_as_shape(self._dense_shape)

  def get_shape(self):
    return self.shape

  def eval(self, feed_dict=None, session=None):
    return SparseTensorValue(*_eval_using_default_session([self._indices, self._values, self._dense_shape], feed_dict, self.graph, session))

  def __repr__(self):
    return f"SparseTensor(indices={self._indices}, values={self._values}, dense_shape={self._dense_shape})"


def is_symbolic_tensor(value):
  return isinstance(value, (Tensor, SparseTensor, IndexedSlices))


is_tensor = is_symbolic_tensor


class _ControlScope:
  """One `with graph.control_dependencies(...)`."""

  __slots__ = ("graph", "inputs", "seen", "new_stack", "old_stack")

  def __init__(self, graph, inputs):
    self.graph = graph
    self.new_stack = inputs is None
    self.inputs = [] if inputs is None else inputs
    self.seen = set()
    self.old_stack = None

  @property
  def control_inputs(self):
    return self.inputs

  def __enter__(self):
    if self.new_stack:
      self.old_stack = self.graph._control_stack
      self.graph._control_stack = []
    else:
      self.graph._control_stack.append(self)
    return self

  def __exit__(self, *unused):
    if self.new_stack:
      self.graph._control_stack = self.old_stack
    else:
      self.graph._control_stack.pop()


class _NameScope:
  """One `with graph.name_scope(...)`: yields the scope's name with a slash, "" at the root."""

  __slots__ = ("graph", "name", "old")

  def __init__(self, graph, name):
    self.graph = graph
    self.name = name
    self.old = None

  def __enter__(self):
    self.old = self.graph._name_stack
    return self.graph._enter_scope(self.name)

  def __exit__(self, *unused):
    self.graph._name_stack = self.old


class _Swap:
  """Sets an attribute of the graph inside a with block."""

  __slots__ = ("graph", "field", "value", "old", "result")

  def __init__(self, graph, field, value, result=None):
    self.graph = graph
    self.field = field
    self.value = value
    self.result = result

  def __enter__(self):
    self.old = getattr(self.graph, self.field)
    setattr(self.graph, self.field, self.value)
    return self.result

  def __exit__(self, *unused):
    setattr(self.graph, self.field, self.old)


class _DeviceScope:
  __slots__ = ("graph", "function", "old")

  def __init__(self, graph, function):
    self.graph = graph
    self.function = function

  def __enter__(self):
    graph, function = self.graph, self.function
    self.old = graph._device_state()
    if function is None:
      line = None
    else:
      spec = getattr(function, "_spec", None)
      asked = repr(spec.to_string()) if spec is not None else getattr(function, "__name__", repr(function))
      line = (asked, *_user_frame(sys._getframe(1)))
    graph._set_device_stack(graph._device_stack + (function,), graph._device_lines + (line,))

  def __exit__(self, *unused):
    self.graph._set_device_state(self.old)


_NO_DEVICES = ((), (), (), "", False)


class _ColocateScope:
  __slots__ = ("graph", "op", "ignore_existing", "old_devices", "old")

  def __init__(self, graph, op, ignore_existing):
    self.graph = graph
    self.op = op
    self.ignore_existing = ignore_existing

  def __enter__(self):
    graph = self.graph
    self.old_devices, self.old = graph._device_state(), graph._colocation
    graph._set_device_state(_NO_DEVICES)
    base = () if self.ignore_existing else self.old
    graph._colocation = base + (self.op,) if self.op is not None else ()

  def __exit__(self, *unused):
    self.graph._set_device_state(self.old_devices)
    self.graph._colocation = self.old


class Graph:
  """A dataflow graph. `with graph.as_default():` makes it the one that new nodes go to."""

  _is_function = False

  def __init__(self):
    self._native = _sluice.Graph()
    self._lock = threading.RLock()
    self._by_id = {}
    self._by_name = {}
    self._names_in_use = {}
    self._name_stack = ""
    self._control_stack = []
    self._device_stack = ()
    self._device_lines = ()   # (device asked for, file, line) of each scope, None for `device(None)`
    self._device_scopes = ()  # those in force
    self._device_string = ""
    self._device_functions = False
    self._colocation = ()
    self._attr_scope_map = {}
    self._gradient_overrides = {}
    self._kernel_labels = {}
    self._container = ""
    self._collections = {}
    self._unfeedable = set()
    self._unfetchable = set()
    self._finalized = False
    self._seed = None
    self._op_seeds = 0
    self._last_id_value = 0
    self._graph_key = f"graph-key-{id(self)}/"
    self._functions = {}
    self._control_flow_context = None
    self._scope_store = {}

  # --- making nodes ---------------------------------------------------------------------------------------------

  def unique_name(self, name, mark_as_used=True):
    """`name` under the current scope, with "_1", "_2", ... added when it is taken (names are compared without case)."""
    if self._name_stack:
      name = f"{self._name_stack}/{name}"
    used = self._names_in_use
    key = name.lower()
    i = used.get(key, 0)
    if mark_as_used:
      used[key] = i + 1
    if i:
      base = key
      while key in used:
        key = f"{base}_{i}"
        i += 1
      if mark_as_used:
        used[key] = 1
      name = f"{name}_{i - 1}"
    return name

  def _enter_scope(self, name):
    """Puts `name`, made unique, before the names of new nodes; gives the whole with a slash, "" at the root."""
    if not name:
      self._name_stack = ""
      return ""
    if type(name) is not str or name not in _good_names:
      if not isinstance(name, str):
        raise ValueError(f"'{name!r}' is not a valid scope name: it must be a string")
      if not _is_op_name(name) and not (self._name_stack and _SCOPE_NAME.match(name)):
        raise ValueError(f"'{name}' is not a valid scope name")
    new = name[:-1] if name[-1] == "/" else self.unique_name(name)
    self._name_stack = new
    return new + "/" if new else ""

  def _control_for(self, input_ops):
    """The ids of the operations a new node waits for, without those its inputs imply."""
    ids = []
    for scope in self._control_stack:
      if not scope.seen.isdisjoint(input_ops):
        continue
      for op in scope.inputs:
        if op not in input_ops and op._id not in ids:
          ids.append(op._id)
    return ids

  def _create(self, op_type, name, inputs, attrs=None, input_ops=None, source=None):
    """Adds a node whose full, unique name is `name`; `inputs` holds keys and lists of keys. Returns the Operation.

    `source` is the user's (file, line) where the caller knows it.
    """
    if self._finalized:
      raise RuntimeError("Graph is finalized and cannot be modified.")
    control = None
    if self._control_stack:
      if input_ops is None:
        input_ops = self._ops_of(inputs)
      control = self._control_for(input_ops)
    device = self._device_string
    if self._colocation or self._attr_scope_map or self._gradient_overrides or self._kernel_labels:
      attrs, device = self._scoped_attrs(op_type, attrs, device)
    if source is None:
      source = _user_frame(sys._getframe(1))
    node_id, dtypes = self._native.add(op_type, name, inputs, attrs, control, device, *source)
    op = Operation._of(self, node_id, name, op_type, dtypes, source)
    self._by_id[node_id] = op
    self._by_name[name] = op
    self._last_id_value += 1
    if self._control_stack:
      for scope in self._control_stack:
        scope.seen.add(op)
    if self._device_scopes:
      op._device_scopes = self._device_scopes
      if self._device_functions and not self._colocation:
        self._apply_device_functions(op)
    return op

  def _create_with(self, neighbours, *node, **options):
    """As `_create`, colocated with the operations `neighbours`."""
    old = self._colocation, self._device_string, self._device_scopes
    self._colocation, self._device_string, self._device_scopes = self._colocation + neighbours, "", ()
    try:
      return self._create(*node, **options)
    finally:
      self._colocation, self._device_string, self._device_scopes = old

  def _ops_of(self, inputs):
    by_id = self._by_id
    ops = []
    for item in inputs:
      for key in (item if type(item) is list else (item,)):
        ops.append(by_id[key >> KEY_SHIFT])
    return ops

  def _scoped_attrs(self, op_type, attrs, device):
    attrs = dict(attrs) if attrs else {}
    for name, value in self._attr_scope_map.items():
      if type(value) is not list:
        value = _plain_attr(value(op_type) if callable(value) else value)
      if value is not None:
        attrs.setdefault(name, value)
    if op_type in self._kernel_labels:
      attrs.setdefault("_kernel", self._kernel_labels[op_type].encode())
    if op_type in self._gradient_overrides:
      attrs.setdefault("_gradient_op_type", self._gradient_overrides[op_type].encode())
    if self._colocation:
      groups = list(attrs.get("_class", ()))
      for op in self._colocation:
        if op.graph is not self:  # Seen from a branch or body: the outer operation is no neighbour.
          continue
        groups += op._groups or op.colocation_groups()
        device = self._native.device(op._id) or device
      attrs["_class"] = sorted({g.encode() if type(g) is str else g for g in groups}) if len(groups) > 1 or str in map(type, groups) else groups
    return attrs, device

  def _apply_device_functions(self, op):
    op._set_device("")
    for function in reversed(self._device_stack):
      if function is None:
        break
      op._set_device(function(op))

  def _device_state(self):
    """What the device scopes in force amount to, for `_set_device_state`."""
    return self._device_stack, self._device_lines, self._device_scopes, self._device_string, self._device_functions

  def _set_device_state(self, state):
    self._device_stack, self._device_lines, self._device_scopes, self._device_string, self._device_functions = state

  def _set_device_stack(self, stack, lines):
    self._device_stack = stack
    self._device_lines = lines
    start = len(stack) - 1 - stack[::-1].index(None) + 1 if None in stack else 0
    active = stack[start:]
    self._device_scopes = lines[start:]
    if not active:
      self._device_functions = False
      self._device_string = ""
      return
    self._device_functions = any(not hasattr(f, "_spec") for f in active)
    merged = _device.DeviceSpec()
    for function in active:
      if hasattr(function, "_spec"):
        merged.merge_from(function._spec)
    self._device_string = "" if self._device_functions else merged.to_string()

  def create_op(self, op_type, inputs, dtypes=None, input_types=None, name=None, attrs=None, op_def=None,
                compute_shapes=True, compute_device=True):
    """Adds a node from its op type, input tensors and attributes (plain values or AttrValue messages)."""
    for i, t in enumerate(inputs):
      if not isinstance(t, Tensor):
        raise TypeError(f"Input #{i} of {op_type} is not a tensor: {t!r}")
    name = op_type if name is None else name
    if name and name[-1] == "/":
      name = name[:-1]
    else:
      if not _OP_NAME.match(name):
        raise ValueError(f"'{name}' is not a valid node name")
      name = self.unique_name(name)
    if attrs:
      attrs = {k: _plain_attr(v) for k, v in attrs.items()}
    return self._create(op_type, name, [t._key for t in inputs], attrs)

  def _sync(self):
    """Makes handles for nodes that C++ added (gradients, imports). Returns them."""
    added = []
    for node_id, name, op_type, dtypes in self._native.new_nodes():
      if node_id in self._by_id:
        continue
      op = Operation._of(self, node_id, name, op_type, dtypes)
      self._by_id[node_id] = op
      self._by_name[name] = op
      self._names_in_use.setdefault(name.lower(), 1)
      self._last_id_value += 1
      added.append(op)
    return added

  def _tensor(self, key):
    """The Tensor of a native key, None for -1."""
    if key < 0:
      return None
    op = self._by_id.get(key >> KEY_SHIFT)
    if op is None:
      self._sync()
      op = self._by_id[key >> KEY_SHIFT]
    return op._outputs[key & _INDEX_MASK]

  def _inline(self, function_name, args):
    """Adds a copy of a function's body under the current scope; gives its results."""
    owner = self
    while owner._is_function:
      owner = owner._outer
    keys = self._native.inline(owner._native, function_name, self._name_stack, [t._key for t in args])
    self._sync()
    return [self._tensor(k) for k in keys]

  # --- scopes ---------------------------------------------------------------------------------------------------

  def as_default(self):
    """A context in which new nodes go to this graph."""
    return _default_graphs.scope(self)

  def name_scope(self, name):
    """A context that puts `name/` before the names of new nodes; see `sl.name_scope`."""
    return _NameScope(self, name)

  def get_name_scope(self):
    return self._name_stack

  def control_dependencies(self, control_inputs):
    """A context in which every new node waits for `control_inputs`; None forgets all that are in force."""
    if control_inputs is None:
      return _ControlScope(self, None)
    ops = []
    for c in control_inputs:
      if isinstance(c, IndexedSlices):
        c = c.op
      c = self.as_graph_element(c)
      if isinstance(c, Tensor):
        c = c.op
      if c not in ops:
        ops.append(c)
    return _ControlScope(self, ops)

  def _current_control_dependencies(self):
    return {op for scope in self._control_stack for op in scope.inputs}

  def device(self, device_name_or_function):
    """A context that says where new nodes run: a name, a function from Operation to name, or None to forget."""
    if device_name_or_function is None or callable(device_name_or_function) and not isinstance(device_name_or_function, _device.DeviceSpec):
      return _DeviceScope(self, device_name_or_function)
    return _DeviceScope(self, _device.merge_device(device_name_or_function))

  def colocate_with(self, op, ignore_existing=False):
    """A context in which new nodes run where `op` does."""
    if op is None:
      if not ignore_existing:
        raise ValueError("Trying to reset colocation (op is None) but ignore_existing is not True")
      return _ColocateScope(self, None, True)
    return _ColocateScope(self, _op_of(op), ignore_existing)

  _colocate_with_for_gradient = lambda self, op, gradient_uid=None, ignore_existing=False: self.colocate_with(op, ignore_existing)

  def container(self, container_name):
    return _Swap(self, "_container", container_name, container_name)

  def _attr_scope(self, attr_map):
    merged = dict(self._attr_scope_map)
    for k, v in attr_map.items():
      if v is None:
        merged.pop(k, None)
      else:
        merged[k] = v
    return _Swap(self, "_attr_scope_map", merged)

  def gradient_override_map(self, op_type_map):
    """A context in which the gradient of ops of the given types is the one registered under another name."""
    if not isinstance(op_type_map, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in op_type_map.items()):
      raise TypeError("op_type_map must be a dictionary mapping strings to strings")
    return _Swap(self, "_gradient_overrides", {**self._gradient_overrides, **op_type_map})

  def _kernel_label_map(self, op_to_kernel_label_map):
    return _Swap(self, "_kernel_labels", {**self._kernel_labels, **op_to_kernel_label_map})

  # --- looking up -----------------------------------------------------------------------------------------------

  def get_operations(self):
    """All operations, in the order they were made."""
    self._sync()
    return list(self._by_id.values())

  def get_operation_by_name(self, name):
    if not isinstance(name, str):
      raise TypeError(f"Operation names are strings (or similar), not {type(name).__name__}.")
    return self.as_graph_element(name, allow_tensor=False, allow_operation=True)

  _get_operation_by_name_unsafe = get_operation_by_name

  def get_tensor_by_name(self, name):
    if not isinstance(name, str):
      raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
    return self.as_graph_element(name, allow_tensor=True, allow_operation=False)

  def as_graph_element(self, obj, allow_tensor=True, allow_operation=True):
    """The Tensor or Operation that `obj` is, names or stands for; errors say what is missing."""
    wanted = "Tensor or Operation" if allow_tensor and allow_operation else "Tensor" if allow_tensor else "Operation"
    if not isinstance(obj, (Tensor, Operation)):
      convert = getattr(obj, "_as_graph_element", None)
      if convert is not None:
        converted = convert()
        obj = obj if converted is None else converted
    if isinstance(obj, Tensor) and allow_tensor or isinstance(obj, Operation) and allow_operation:
      if obj.graph is not self:
        raise ValueError(f"{'Tensor' if isinstance(obj, Tensor) else 'Operation'} {obj} is not an element of this graph.")
      return obj
    if isinstance(obj, bytes):
      obj = obj.decode()
    if not isinstance(obj, str):
      raise TypeError(f"Can not convert a {type(obj).__name__} into a {wanted}.")
    if obj not in self._by_name:
      self._sync()
    if ":" in obj and allow_tensor:
      op_name, _, index = obj.rpartition(":")
      try:
        index = int(index)
      except ValueError:
        raise ValueError(f"The name '{obj}' looks a like a Tensor name, but is not a valid one. Tensor names must be of the form \"<op_name>:<output_index>\".") from None
      op = self._find_op(op_name)
      if op is None:
        raise KeyError(f"The name '{obj}' refers to a Tensor which does not exist. The operation, '{op_name}', does not exist in the graph.")
      if not 0 <= index < len(op._outputs):
        raise KeyError(f"The name '{obj}' refers to a Tensor which does not exist. The operation, '{op_name}', exists but only has {len(op._outputs)} outputs.")
      return op._outputs[index]
    if ":" in obj:
      raise ValueError(f"Name '{obj}' appears to refer to a Tensor, not a Operation.")
    op = self._find_op(obj)
    if not allow_operation:
      if op is not None:
        raise ValueError(f"The name '{obj}' refers to an Operation, not a Tensor. Tensor names must be of the form \"<op_name>:<output_index>\".")
      raise ValueError(f"The name '{obj}' looks like an (invalid) Operation name, not a Tensor. Tensor names must be of the form \"<op_name>:<output_index>\".")
    if op is None:
      raise KeyError(f"The name '{obj}' refers to an Operation not in the graph.")
    return op

  def _find_op(self, name):
    op = self._by_name.get(name)
    if op is None:
      self._sync()
      op = self._by_name.get(name)
    return op

  def prevent_feeding(self, tensor):
    self._unfeedable.add(tensor)

  def is_feedable(self, tensor):
    return tensor not in self._unfeedable

  def prevent_fetching(self, op):
    self._unfetchable.add(op)

  def is_fetchable(self, tensor_or_op):
    return (tensor_or_op.op if isinstance(tensor_or_op, Tensor) else tensor_or_op) not in self._unfetchable

  # --- collections ----------------------------------------------------------------------------------------------

  def add_to_collection(self, name, value):
    self._check_not_finalized()
    self._collections.setdefault(name, []).append(value)

  def add_to_collections(self, names, value):
    for name in ({names} if isinstance(names, str) else dict.fromkeys(names)):
      self.add_to_collection(name, value)

  def get_collection_ref(self, name):
    """The list itself, to change in place."""
    return self._collections.setdefault(name, [])

  def get_collection(self, name, scope=None):
    """A copy of the list, only the items whose name matches `scope` (a regular expression) at its start."""
    items = self._collections.get(name, ())
    if scope is None:
      return list(items)
    matcher = re.compile(scope)
    return [i for i in items if hasattr(i, "name") and matcher.match(i.name)]

  def get_all_collection_keys(self):
    return [k for k in self._collections if isinstance(k, str)]

  @property
  def collections(self):
    return self.get_all_collection_keys()

  def clear_collection(self, name):
    self._check_not_finalized()
    self._collections.pop(name, None)

  # --- the whole ------------------------------------------------------------------------------------------------

  @property
  def version(self):
    """A number that grows with every node added."""
    self._sync()
    return self._last_id_value

  @property
  def _last_id(self):
    self._sync()
    return self._last_id_value

  @property
  def seed(self):
    """The graph-level random seed, None when unset."""
    return self._seed

  @seed.setter
  def seed(self, seed):
    self._seed = seed

  @property
  def building_function(self):
    return False

  @property
  def finalized(self):
    return self._finalized

  def finalize(self):
    """Refuses further nodes; TF1's monitored sessions do this to catch leaks."""
    self._finalized = True

  def _unsafe_unfinalize(self):
    self._finalized = False

  def _check_not_finalized(self):
    if self._finalized:
      raise RuntimeError("Graph is finalized and cannot be modified.")

  @property
  def graph_def_versions(self):
    from sluice.protos import versions_pb2
    return versions_pb2.VersionDef(producer=self._native.producer())

  def as_graph_def(self, from_version=None, add_shapes=False):
    """A GraphDef message, of the nodes added since `version` was `from_version`; `add_shapes` adds `_output_shapes` to each."""
    from sluice.protos import graph_pb2
    message = graph_pb2.GraphDef.FromString(self._native.graph_def(bool(add_shapes)))
    if from_version:
      del message.node[:from_version]
    return message

  def __enter__(self):
    raise TypeError("use `with graph.as_default():`")

  def __exit__(self, *unused):
    pass

  def __repr__(self):
    return f"<sl.Graph of {len(self._by_id)} operations>"


def _plain_attr(value):
  """An attribute's value for the native module, which takes messages as ("proto", bytes)."""
  if hasattr(value, "SerializeToString"):
    return "proto", value.SerializeToString()
  return value._enum if isinstance(value, _dtypes.DType) else value


def _op_of(value):
  if isinstance(value, Operation):
    return value
  if isinstance(value, str):
    return get_default_graph().as_graph_element(value)
  return value.op


class _DefaultStack(threading.local):
  """Per-thread stack of defaults."""

  def __init__(self):
    self.items = []

  def scope(self, item):
    return _DefaultScope(self.items, item)

  def top(self):
    return self.items[-1] if self.items else None


class _DefaultScope:
  __slots__ = ("items", "item")

  def __init__(self, items, item):
    self.items = items
    self.item = item

  def __enter__(self):
    self.items.append(self.item)
    return self.item

  def __exit__(self, *unused):
    if not self.items or self.items[-1] is not self.item:
      if self.item in self.items:
        raise AssertionError(f"Nesting violated for default stack of {type(self.item)} objects")
      return
    self.items.pop()


class _GraphStack(_DefaultStack):
  pass


_default_graphs = _GraphStack()
_default_sessions = _DefaultStack()
_global_graph = None


def get_default_graph():
  """The graph of the innermost `with graph.as_default():` of this thread, else the process's one."""
  items = _default_graphs.items
  if items:
    return items[-1]
  global _global_graph
  if _global_graph is None:
    _global_graph = Graph()
  return _global_graph


def has_default_graph():
  return bool(_default_graphs.items)


def reset_default_graph():
  """Forgets the default graph and starts another; AssertionError inside `with graph.as_default():`."""
  global _global_graph
  if _default_graphs.items:
    raise AssertionError("Do not use sl.reset_default_graph() to clear nested graphs. If you need a cleared graph, "
                         "exit the nesting and create a new graph.")
  _global_graph = None


def get_default_session():
  """The session of the innermost `with session.as_default():`, None when there is none."""
  return _default_sessions.top()


def _eval_using_default_session(fetches, feed_dict, graph, session=None):
  if session is None:
    session = get_default_session()
    if session is None:
      raise ValueError("Cannot evaluate tensor using `eval()`: No default session is registered. Use `with sess.as_default()` or pass an explicit session to `eval(session=sess)`")
    if session.graph is not graph:
      raise ValueError("Cannot use the default session to evaluate tensor: the tensor's graph is different from the session's graph. Pass an explicit session to `eval(session=sess)`.")
  elif session.graph is not graph:
    raise ValueError("Cannot use the given session to evaluate tensor: the tensor's graph is different from the session's graph.")
  return session.run(fetches, feed_dict)


def _run_using_default_session(operation, feed_dict, graph, session=None):
  if session is None:
    session = get_default_session()
    if session is None:
      raise ValueError("Cannot execute operation using `run()`: No default session is registered. Use `with sess.as_default():` or pass an explicit session to `run(session=sess)`")
    if session.graph is not graph:
      raise ValueError("Cannot use the default session to execute operation: the operation's graph is different from the session's graph. Pass an explicit session to run(session=sess).")
  elif session.graph is not graph:
    raise ValueError("Cannot use the given session to execute operation: the operation's graph is different from the session's graph.")
  session.run(operation, feed_dict)


class name_scope:  # pylint: disable=invalid-name
  """A context that groups nodes under a name, for functions that make several.

      with sl.name_scope(name, "MyOp", [a, b]) as scope:
        a = sl.convert_to_tensor(a, name="a")
        return sl.add(a, b, name=scope)

  `name` (or `default_name` when it is None) is made unique within the scope in force; a name that ends in "/" is
  entered as it is; None or "" goes to the root. `values` are inputs whose graph is made the default.
  """

  __slots__ = ("_name", "_default_name", "_values", "_graph_scope", "_graph", "_old")

  def __init__(self, name, default_name=None, values=None):
    if not (default_name is None or isinstance(default_name, str)):
      raise TypeError(f"`default_name` type ({type(default_name)}) is not a string type. You likely meant to pass this into the `values` kwarg.")
    self._name = default_name if name is None else name
    self._default_name = default_name
    self._values = values
    self._graph_scope = None

  @property
  def name(self):
    return self._name

  def __enter__(self):
    values = self._values
    if self._name is None and values is not None:
      raise ValueError(f"At least one of name ({self._name}) and default_name ({self._default_name}) must be provided.")
    graph = get_default_graph()
    if values:
      found = graph_of(values)
      if found is not None and found is not graph:
        graph = found
        self._graph_scope = graph.as_default()
        self._graph_scope.__enter__()
    self._graph, self._old = graph, graph._name_stack
    try:
      return graph._enter_scope(self._name)
    except:
      if self._graph_scope is not None:
        self._graph_scope.__exit__(None, None, None)
      raise

  def __exit__(self, *exc):
    self._graph._name_stack = self._old
    if self._graph_scope is not None:
      self._graph_scope.__exit__(*exc)


_PLAIN_VALUES = frozenset([int, float, bool, str, bytes, type(None)])


def graph_of(values):
  """The graph of the first tensor, operation or variable among `values`; ValueError when two differ.

  Inside a branch or loop body it is the body's graph, which takes outer tensors as arguments.
  """
  items = _default_graphs.items
  if items and items[-1]._is_function:
    return items[-1]
  found = owner = None
  for v in values:
    cls = type(v)
    if cls is Tensor:
      g = v.graph
    elif cls in _PLAIN_VALUES:
      continue
    elif isinstance(v, (list, tuple)):
      g = graph_of(v)
    else:
      g = getattr(v, "graph", None) if isinstance(v, (Tensor, Operation, SparseTensor, IndexedSlices)) or hasattr(v, "_as_graph_element") else None
    if g is None:
      continue
    if found is None:
      found, owner = g, v
    elif g is not found:
      raise ValueError(f"{v} must be from the same graph as {owner}.")
  return found


class op_scope(name_scope):  # pylint: disable=invalid-name
  """The older order of `name_scope`'s arguments."""

  __slots__ = ()

  def __init__(self, values, name, default_name=None):
    super().__init__(name, default_name, values)


def device(device_name_or_function):
  """`Graph.device` of the default graph."""
  return get_default_graph().device(device_name_or_function)


def control_dependencies(control_inputs):
  """`Graph.control_dependencies` of the default graph."""
  return get_default_graph().control_dependencies(control_inputs)


def colocate_with(op, ignore_existing=False):
  """`Graph.colocate_with` of the default graph."""
  return get_default_graph().colocate_with(op, ignore_existing)


def container(container_name):
  return get_default_graph().container(container_name)


class init_scope:  # pylint: disable=invalid-name
  """A context for making variables: outside the control dependencies, branches and loop bodies in force."""

  __slots__ = ("_graph", "_old", "_default")

  def __enter__(self):
    graph = get_default_graph()
    scope = graph._name_stack
    self._default = None
    if graph._is_function:
      while graph._is_function:
        graph = graph._outer
      self._default = graph.as_default()
      self._default.__enter__()
    self._graph, self._old = graph, (graph._control_stack, graph._name_stack)
    graph._control_stack, graph._name_stack = [], scope

  def __exit__(self, *exc):
    self._graph._control_stack, self._graph._name_stack = self._old
    if self._default is not None:
      self._default.__exit__(*exc)


def add_to_collection(name, value):
  get_default_graph().add_to_collection(name, value)


def add_to_collections(names, value):
  get_default_graph().add_to_collections(names, value)


def get_collection(key, scope=None):
  return get_default_graph().get_collection(key, scope)


def get_collection_ref(key):
  return get_default_graph().get_collection_ref(key)


def get_all_collection_keys():
  return get_default_graph().get_all_collection_keys()


class GraphKeys:
  """Names of the collections that the library itself fills and reads."""

  GLOBAL_VARIABLES = "variables"
  VARIABLES = "variables"
  LOCAL_VARIABLES = "local_variables"
  METRIC_VARIABLES = "metric_variables"
  MODEL_VARIABLES = "model_variables"
  TRAINABLE_VARIABLES = "trainable_variables"
  SUMMARIES = "summaries"
  QUEUE_RUNNERS = "queue_runners"
  TABLE_INITIALIZERS = "table_initializer"
  ASSET_FILEPATHS = "asset_filepaths"
  MOVING_AVERAGE_VARIABLES = "moving_average_variables"
  REGULARIZATION_LOSSES = "regularization_losses"
  CONCATENATED_VARIABLES = "concatenated_variables"
  SAVERS = "savers"
  WEIGHTS = "weights"
  BIASES = "biases"
  ACTIVATIONS = "activations"
  UPDATE_OPS = "update_ops"
  LOSSES = "losses"
  SAVEABLE_OBJECTS = "saveable_objects"
  RESOURCES = "resources"
  LOCAL_RESOURCES = "local_resources"
  INIT_OP = "init_op"
  LOCAL_INIT_OP = "local_init_op"
  READY_OP = "ready_op"
  READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
  SUMMARY_OP = "summary_op"
  GLOBAL_STEP = "global_step"
  EVAL_STEP = "eval_step"
  TRAIN_OP = "train_op"
  COND_CONTEXT = "cond_context"
  WHILE_CONTEXT = "while_context"
  _SUMMARY_COLLECTION = "_SUMMARY_V2"
  _VARIABLE_COLLECTIONS = [GLOBAL_VARIABLES, LOCAL_VARIABLES, METRIC_VARIABLES, MODEL_VARIABLES, TRAINABLE_VARIABLES,
                           MOVING_AVERAGE_VARIABLES, CONCATENATED_VARIABLES]
  _STREAMING_MODEL_PORTS = "streaming_model_ports"


DEFAULT_GRAPH_SEED = 87654321
_MAX_INT32 = 2**31 - 1


def set_random_seed(seed):
  """Sets the graph-level seed of the default graph."""
  get_default_graph().seed = seed


def get_seed(op_seed):
  """(graph seed, op seed) for a random op, (None, None) when neither is set.

  With a graph seed alone, the random ops of a graph are numbered 0, 1, 2 ... in the order they are made.
  """
  graph = get_default_graph()
  if graph.seed is not None:
    if op_seed is None:
      op_seed = graph._op_seeds
      graph._op_seeds += 1
    seeds = graph.seed, op_seed
  elif op_seed is not None:
    seeds = DEFAULT_GRAPH_SEED, op_seed
  else:
    return None, None
  seeds = tuple(s % _MAX_INT32 for s in seeds)
  return (0, _MAX_INT32) if seeds == (0, 0) else seeds


_gradient_functions = {}


class RegisterGradient:
  """Decorator that gives an op type, or a name used in `gradient_override_map`, its gradient: fn(op, *grads)."""

  def __init__(self, op_type):
    if not isinstance(op_type, str):
      raise TypeError("op_type must be a string")
    self._op_type = op_type

  def __call__(self, f):
    if self._op_type in _gradient_functions:
      raise KeyError(f"Registering two gradient with name '{self._op_type}'!")
    _gradient_functions[self._op_type] = f
    return f


def NotDifferentiable(op_type):  # pylint: disable=invalid-name
  """Says that ops of this type pass no gradient."""
  if not isinstance(op_type, str):
    raise TypeError("op_type must be a string")
  _gradient_functions[op_type] = None


NoGradient = NotDifferentiable


def get_gradient_function(op):
  """The Python gradient of an operation, None when it has none."""
  try:
    name = op.get_attr("_gradient_op_type").decode()
  except ValueError:
    name = op.type
  return _gradient_functions[name]


def strip_name_scope(name, export_scope):
  """`name` relative to `export_scope`."""
  if not export_scope:
    return name
  scope = export_scope.rstrip("/")
  return re.sub(r"([\^]|loc:@|^)" + re.escape(scope) + "[/]+(.*)", r"\1\2", str(name), count=1)


def prepend_name_scope(name, import_scope):
  """`name` under `import_scope`."""
  if not import_scope:
    return name
  scope = import_scope.rstrip("/")
  return re.sub(r"([\^]|loc:@|^)(.*)", lambda m: f"{m.group(1)}{scope}/{m.group(2)}", str(name), count=1)
