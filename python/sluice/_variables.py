"""Variables: state of a session that steps read and change.

`Variable` is a reference variable (`VariableV2`, as TF1's default), or with `use_resource=True`, or after
`enable_resource_variables()`, one behind a resource handle. Both are instances of `Variable`.
"""

import contextlib
import enum
import sys


from sluice import _array
from sluice import _dtypes
from sluice import _graph
from sluice import raw_ops
from sluice._convert import constant, convert_to_tensor, register_tensor_conversion_function
from sluice._dtypes import as_dtype
from sluice._graph import GraphKeys, IndexedSlices, Tensor, get_default_graph, name_scope
from sluice._shapes import TensorShape, as_shape


class VariableSynchronization(enum.Enum):
  AUTO = 0
  NONE = 1
  ON_WRITE = 2
  ON_READ = 3


class VariableAggregation(enum.Enum):
  NONE = 0
  SUM = 1
  MEAN = 2
  ONLY_FIRST_REPLICA = 3
  ONLY_FIRST_TOWER = 3


class _AutoReuse(enum.Enum):
  AUTO_REUSE = 1


_AUTO_REUSE = _AutoReuse.AUTO_REUSE

_use_resource_default = False


def enable_resource_variables():
  """Makes resource variables the default of `Variable` and `get_variable`."""
  global _use_resource_default
  _use_resource_default = True


def disable_resource_variables():
  """Back to reference variables."""
  global _use_resource_default
  _use_resource_default = False


def resource_variables_enabled():
  return _use_resource_default


class _VariableMeta(type):
  """`Variable(...)` runs the creators in force and makes a variable of one of the two kinds."""

  def __call__(cls, *args, **kwargs):
    if cls is not Variable:
      return super().__call__(*args, **kwargs)
    if len(args) > len(_ARGUMENTS):
      raise TypeError(f"Variable takes at most {len(_ARGUMENTS)} arguments, found {len(args)}")
    for name, value in zip(_ARGUMENTS, args):
      if name in kwargs:
        raise TypeError(f"Variable got multiple values for argument '{name}'")
      kwargs[name] = value
    unknown = kwargs.keys() - _ARGUMENTS
    if unknown:
      raise TypeError(f"Variable got an unexpected keyword argument '{sorted(unknown)[0]}'")
    creator = _make
    for outer in getattr(get_default_graph(), "_variable_creators", ()):
      creator = _chain(outer, creator)
    return creator(**kwargs)


_ARGUMENTS = dict.fromkeys(("initial_value", "trainable", "collections", "validate_shape", "caching_device", "name", "variable_def", "dtype",
                            "expected_shape", "import_scope", "constraint", "use_resource", "synchronization", "aggregation", "shape"))


_scope_in_force = None  # get_variable_scope, once there are variable scopes


def _make(next_creator=None, **arguments):
  """A variable of the kind that its arguments, the scope or the process asks for."""
  definition = arguments.get("variable_def")
  if definition is not None:
    return (ResourceVariable if definition.is_resource else RefVariable)(**arguments)
  use_resource = arguments.pop("use_resource", None)
  if use_resource is None and _scope_in_force is not None:
    use_resource = _scope_in_force().use_resource
  if use_resource is None:
    use_resource = _use_resource_default
  return (ResourceVariable if use_resource else RefVariable)(**arguments)


def _chain(creator, inner):
  return lambda **kwargs: creator(inner, **kwargs)


class Variable(metaclass=_VariableMeta):
  """A value that lives across the steps of a session.

  Args:
    initial_value: a value, or a function without arguments that makes it; its type and shape are the variable's.
    trainable: whether optimisers change it (True when None).
    collections: the collections it joins, [GraphKeys.GLOBAL_VARIABLES] when None.
    validate_shape: False lets the shape be unknown and change.
    caching_device: a device to keep copies for readers on.
    name: "Variable" when None, made unique.
    dtype: what to convert the initial value to.
    constraint: a function that an optimiser applies after each update.
    use_resource: True for a resource variable, None for the scope's or process's default.
  """

  __array_priority__ = 100
  _dense_var_to_tensor = None  # Set below; its presence marks what converts like a variable.

  def __init__(self, initial_value=None, trainable=None, collections=None, validate_shape=True, caching_device=None, name=None, variable_def=None,
               dtype=None, expected_shape=None, import_scope=None, constraint=None, use_resource=None, synchronization=None, aggregation=None,
               shape=None):
    raise TypeError("a variable is made as one of the two kinds")  # This signature is for readers and type checkers.

  class SaveSliceInfo:
    """Which part of a larger variable this one is, for checkpoints."""

    def __init__(self, full_name=None, full_shape=None, var_offset=None, var_shape=None, save_slice_info_def=None, import_scope=None):
      if save_slice_info_def is not None:
        full_name = _graph.prepend_name_scope(save_slice_info_def.full_name, import_scope)
        full_shape, var_offset, var_shape = (list(save_slice_info_def.full_shape), list(save_slice_info_def.var_offset), list(save_slice_info_def.var_shape))
      self.full_name, self.full_shape, self.var_offset, self.var_shape = full_name, full_shape, var_offset, var_shape

    @property
    def spec(self):
      sizes = " ".join(str(s) for s in self.full_shape) + " "
      return sizes + ":".join(f"{o},{s}" for o, s in zip(self.var_offset, self.var_shape))

    def to_proto(self, export_scope=None):
      if export_scope and not self.full_name.startswith(export_scope):
        return None
      from sluice.protos import variable_pb2
      return variable_pb2.SaveSliceInfoDef(full_name=_graph.strip_name_scope(self.full_name, export_scope), full_shape=self.full_shape,
                                           var_offset=self.var_offset, var_shape=self.var_shape)

  # What every variable has; set by the kinds.
  _constraint = None
  _trainable = True
  _save_slice_info = None
  _caching_device = None
  _synchronization = VariableSynchronization.AUTO
  _aggregation = VariableAggregation.NONE

  def _begin(self, initial_value, trainable, collections, name, caching_device, constraint, synchronization, aggregation):
    if initial_value is None:
      raise ValueError("initial_value must be specified.")
    if constraint is not None and not callable(constraint):
      raise ValueError("The `constraint` argument must be a callable.")
    collections = [GraphKeys.GLOBAL_VARIABLES] if collections is None else collections
    if not isinstance(collections, (list, tuple, set)):
      raise ValueError(f"collections argument to Variable constructor must be a list, tuple, or set. Got {collections} of type {type(collections)}")
    self._trainable = True if trainable is None else trainable
    self._constraint = constraint
    self._caching_device = caching_device
    self._synchronization = synchronization or VariableSynchronization.AUTO
    self._aggregation = aggregation or VariableAggregation.NONE
    if self._trainable and GraphKeys.TRAINABLE_VARIABLES not in collections:
      collections = list(collections) + [GraphKeys.TRAINABLE_VARIABLES]
    return collections

  @property
  def name(self):
    """The name of its tensor, with ":0"."""
    return self._name

  @property
  def _shared_name(self):
    return self._name[:self._name.index(":")]

  @property
  def trainable(self):
    return self._trainable

  @property
  def synchronization(self):
    return self._synchronization

  @property
  def aggregation(self):
    return self._aggregation

  @property
  def constraint(self):
    return self._constraint

  @property
  def initializer(self):
    """The operation that sets the initial value."""
    return self._initializer_op

  @property
  def initial_value(self):
    """The tensor of the initial value."""
    return self._initial_value

  @property
  def shape(self):
    return self._tensor_for_shape().shape

  def get_shape(self):
    return self.shape

  def eval(self, session=None):
    """The value, from `session` or the default session."""
    return self.value().eval(session=session)

  def initialized_value(self):
    """The value if the variable has one, else its initial value: for initialising one variable from another."""
    from sluice import _control
    with _graph.init_scope():
      return _control.cond(self.is_initialized(), self.read_value, lambda: self.initial_value, name="cond")

  def load(self, value, session=None):
    """Sets the value in `session` or the default session."""
    session = session or _graph.get_default_session()
    if session is None:
      raise ValueError("Either session argument should be provided or default session should be established")
    session.run(self.initializer, {self.initializer.inputs[1]: value})

  def _set_save_slice_info(self, save_slice_info):
    self._save_slice_info = save_slice_info

  def _get_save_slice_info(self):
    return self._save_slice_info

  def _strided_slice_assign(self, begin, end, strides, value, name, **masks):
    """`self[slice] = value`: elements outside the slice are assigned what they were."""
    with name_scope(name):
      old = self.read_value()
      shape = _array.shape_internal(old, optimize=False)
      part = raw_ops.StridedSlice(old, begin, end, strides, **masks)
      value = _array.broadcast_to(convert_to_tensor(value, dtype=old.dtype), _array.shape(part))
      spread = lambda t: raw_ops.StridedSliceGrad(shape, begin, end, strides, t, **masks)
      inside = raw_ops.Cast(spread(raw_ops.Cast(_array.ones_like(value), _dtypes.int32)), _dtypes.bool_)
      return self.assign(raw_ops.Select(inside, spread(value), old))

  def experimental_ref(self):
    return _graph._Reference(self)

  ref = experimental_ref

  def to_proto(self, export_scope=None):
    """A VariableDef message; None when the variable lies outside `export_scope`."""
    if export_scope is not None and not self.name.startswith(export_scope):
      return None
    from sluice.protos import variable_pb2
    strip = lambda name: _graph.strip_name_scope(name, export_scope)
    proto = variable_pb2.VariableDef(variable_name=strip(self._proto_name()), initializer_name=strip(self.initializer.name),
                                     snapshot_name=strip(self._graph_element_name()), trainable=self.trainable, is_resource=self._is_resource,
                                     synchronization=self._synchronization.value, aggregation=self._aggregation.value)
    if self._initial_value is not None:
      proto.initial_value_name = strip(self._initial_value.name)
    if self._save_slice_info is not None:
      proto.save_slice_info_def.MergeFrom(self._save_slice_info.to_proto(export_scope))
    return proto

  @staticmethod
  def from_proto(variable_def, import_scope=None):
    """The variable that a VariableDef message describes, over nodes of the default graph."""
    return Variable(variable_def=variable_def, import_scope=import_scope)

  def _from_proto_common(self, definition, import_scope):
    graph = get_default_graph()
    find = lambda name: graph.as_graph_element(_graph.prepend_name_scope(name, import_scope))
    self._initializer_op = find(definition.initializer_name)
    self._initial_value = find(definition.initial_value_name) if definition.initial_value_name else None
    self._trainable = definition.trainable
    self._constraint = None
    if definition.HasField("save_slice_info_def"):
      self._save_slice_info = Variable.SaveSliceInfo(save_slice_info_def=definition.save_slice_info_def, import_scope=import_scope)
    return find

  def __hash__(self):
    return id(self)

  def __eq__(self, other):
    return self is other

  def __ne__(self, other):
    return self is not other

  def __iter__(self):
    raise TypeError("'Variable' object is not iterable.")

  def __getitem__(self, spec):
    return _array._slice_helper(self.value(), spec, self)

  def __bool__(self):
    return bool(self.value())

  def __repr__(self):
    return f"<sl.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

  def __copy__(self):
    return self

  def __deepcopy__(self, memo):
    return self


def _operator(name):
  def call(self, *args):
    return getattr(Tensor, name)(self.value(), *args)
  return call


def _give_operators():
  from sluice import _math  # pylint: disable=unused-import
  for name in Tensor.OVERLOADABLE_OPERATORS - {"__getitem__"}:
    if hasattr(Tensor, name):
      setattr(Variable, name, _operator(name))


_give_operators()


def _initial_tensor(initial_value, dtype):
  value = initial_value() if callable(initial_value) else initial_value
  return convert_to_tensor(value, name="initial_value", dtype=dtype)


class RefVariable(Variable):
  """A variable whose operation makes a reference (TF1's default)."""

  _is_resource = False

  def __init__(self, initial_value=None, trainable=None, collections=None, validate_shape=True, caching_device=None, name=None, variable_def=None,
               dtype=None, expected_shape=None, import_scope=None, constraint=None, synchronization=None, aggregation=None, shape=None):
    if variable_def is not None:
      if initial_value is not None:
        raise ValueError("variable_def and initial_value are mutually exclusive.")
      find = self._from_proto_common(variable_def, import_scope)
      self._variable = find(variable_def.variable_name)
      self._name = self._variable.name
      self._snapshot = find(variable_def.snapshot_name)
      return
    collections = self._begin(initial_value, trainable, collections, name, caching_device, constraint, synchronization, aggregation)
    from_function = callable(initial_value)
    graph = get_default_graph()
    with _graph.init_scope(), name_scope(name, "Variable", [] if from_function else [initial_value]) as scope:
      home = get_default_graph()
      true_name = scope[:-1]
      attrs = {"_class": [("loc:@" + true_name).encode()]} if from_function else {}
      if from_function:
        with home._attr_scope(attrs), name_scope("Initializer"), _graph.device(None):
          initial = _initial_tensor(initial_value, dtype)
      else:
        initial = _initial_tensor(initial_value, dtype)
      self._initial_value = initial
      if shape is None:
        shape = initial.shape if validate_shape else TensorShape(None)
        if validate_shape and not shape.is_fully_defined():
          raise ValueError(f"initial_value must have a shape specified: {initial}")
      line = _graph._user_frame(sys._getframe(1))
      attrs.update(shape=as_shape(shape)._native(), dtype=initial._dtype.base_dtype._enum)
      op = home._create("VariableV2", true_name, (), attrs, (), line)
      self._variable = op._outputs[0]
      self._name = self._variable.name
      if initial.graph is home:
        self._initializer_op = home._create_with((op,), "Assign", home.unique_name("Assign"), [self._variable._key, initial._key],
                                                 None if validate_shape else {"validate_shape": False}, source=line)
      else:
        self._initializer_op = assign(self._variable, initial, validate_shape=validate_shape).op
      if caching_device is not None:
        with _graph.device(caching_device):
          self._snapshot = _array.identity(self._variable, name="read")
      else:
        self._snapshot = home._create_with((op,), "Identity", home.unique_name("read"), [self._variable._key], source=line)._outputs[0]
    graph.add_to_collections(collections, self)

  @property
  def _plain_tensor(self):
    return self._snapshot

  def _tensor_for_shape(self):
    return self._variable

  def _proto_name(self):
    return self._variable.name

  def _graph_element_name(self):
    return self._snapshot.name

  @property
  def dtype(self):
    return self._variable._dtype

  @property
  def op(self):
    return self._variable.op

  @property
  def device(self):
    return self._variable.device

  @property
  def graph(self):
    return self._variable.graph

  def value(self):
    """The tensor to read it by, kept on the caching device."""
    return self._snapshot

  def read_value(self):
    """A new operation that reads it, after the control dependencies in force."""
    return _array.identity(self._variable, name="read")

  def _as_graph_element(self):
    return self._variable

  def _ref(self):
    return self._variable

  def is_initialized(self, name=None):
    return raw_ops.IsVariableInitialized(self._variable, name=name)

  def set_shape(self, shape):
    self._variable.set_shape(shape)
    self._snapshot.set_shape(shape)

  def _dense_var_to_tensor(self, dtype=None, name=None, as_ref=False):
    if dtype is not None and not dtype.is_compatible_with(self.dtype.base_dtype):
      raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for variable of type '{self.dtype.name}'")
    return self._variable if as_ref else self._snapshot

  def assign(self, value, use_locking=False, name=None, read_value=True):
    """Sets a new value; gives the reference, to read after the change."""
    result = assign(self._variable, value, use_locking=use_locking, name=name)
    return result if read_value else result.op

  def assign_add(self, delta, use_locking=False, name=None, read_value=True):
    with _at(self._variable):
      result = raw_ops.AssignAdd(self._variable, delta, use_locking=use_locking, name=name)
    return result if read_value else result.op

  def assign_sub(self, delta, use_locking=False, name=None, read_value=True):
    with _at(self._variable):
      result = raw_ops.AssignSub(self._variable, delta, use_locking=use_locking, name=name)
    return result if read_value else result.op

  def count_up_to(self, limit):
    with _at(self._variable):
      return raw_ops.CountUpTo(self._variable, limit)


class ResourceVariable(Variable):
  """A variable behind a resource handle: each read is an operation that runs after the control dependencies in force."""

  _is_resource = True
  _parent_op = None

  def __init__(self, initial_value=None, trainable=None, collections=None, validate_shape=True, caching_device=None, name=None, variable_def=None,
               dtype=None, expected_shape=None, import_scope=None, constraint=None, synchronization=None, aggregation=None, shape=None):
    if variable_def is not None:
      if initial_value is not None:
        raise ValueError("variable_def and initial_value are mutually exclusive.")
      find = self._from_proto_common(variable_def, import_scope)
      self._handle = find(variable_def.variable_name)
      self._name = self._handle.op.name + ":0"
      self._dtype = as_dtype(self._handle.op.get_attr("dtype"))
      self._static_shape = TensorShape(self._handle.op.get_attr("shape"))
      self._graph_element = find(variable_def.snapshot_name) if variable_def.snapshot_name else self.value()
      self._is_initialized_op = None
      return
    collections = self._begin(initial_value, trainable, collections, name, caching_device, constraint, synchronization, aggregation)
    from_function = callable(initial_value)
    graph = get_default_graph()
    with _graph.init_scope():
      with name_scope(name, "Variable", [] if from_function else [initial_value]) as scope:
        handle_name = scope[:-1]
        with graph._attr_scope({"_class": [("loc:@" + handle_name).encode()]}):
          with name_scope("Initializer"), _graph.device(None):
            self._initial_value = _initial_tensor(initial_value, dtype)
        if shape is None:
          shape = self._initial_value.shape if validate_shape else TensorShape(None)
        self._static_shape = as_shape(shape)
        self._dtype = self._initial_value.dtype.base_dtype
        with graph._attr_scope({"_class": [("loc:@" + handle_name).encode()]}):
          self._handle = raw_ops.VarHandleOp(self._dtype, self._static_shape, shared_name=handle_name, name=scope)
        self._name = handle_name + ":0"
        with self._at_home():
          with name_scope("IsInitialized"):
            self._is_initialized_op = raw_ops.VarIsInitializedOp(self._handle)
          self._initializer_op = raw_ops.AssignVariableOp(self._handle, self._initial_value, name="Assign")
        with name_scope("Read"), _graph.device(self._handle.device or None):
          value = self._read()
        self._graph_element = value
    graph.add_to_collections(collections, self)

  def _tensor_for_shape(self):
    return self

  @property
  def shape(self):
    return self._static_shape

  def _proto_name(self):
    return self._handle.name

  def _graph_element_name(self):
    return self._graph_element.name

  @property
  def handle(self):
    return self._handle

  @property
  def dtype(self):
    return self._dtype

  @property
  def op(self):
    return self._handle.op

  @property
  def device(self):
    return self._handle.device

  @property
  def graph(self):
    return self._handle.graph

  @property
  def create(self):
    return self._initializer_op

  def _at_home(self):
    return _at(self._handle)

  def _read(self):
    value = raw_ops.ReadVariableOp(self._handle, self._dtype)
    value.set_shape(self._static_shape)
    return value

  def value(self):
    """A new operation that reads it."""
    with _graph.colocate_with(None, ignore_existing=True):
      with _graph.device(self._caching_device or self._handle.device or None):
        return self._read()

  def read_value(self):
    with name_scope("Read"):
      value = self.value()
    return _array.identity(value)

  def _as_graph_element(self):
    return self._graph_element

  def is_initialized(self, name=None):
    with self._at_home():
      return raw_ops.VarIsInitializedOp(self._handle, name=name)

  def set_shape(self, shape):
    self._static_shape = self._static_shape.merge_with(shape)

  def _dense_var_to_tensor(self, dtype=None, name=None, as_ref=False):
    if dtype is not None and not dtype.is_compatible_with(self._dtype):
      raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for variable of type '{self._dtype.name}'")
    if as_ref:
      raise TypeError("a resource variable has no reference: use its methods to change it")
    return self.value()

  def _changed(self, op, read_value=True):
    return _UnreadVariable(self, op) if read_value else op

  def assign(self, value, use_locking=None, name=None, read_value=True):
    """Sets a new value; gives a variable to read after the change."""
    value = convert_to_tensor(value, dtype=self._dtype)
    self._static_shape.assert_is_compatible_with(value.shape)
    with self._at_home():
      return self._changed(raw_ops.AssignVariableOp(self._handle, value, name=name), read_value)

  def assign_add(self, delta, use_locking=None, name=None, read_value=True):
    delta = convert_to_tensor(delta, dtype=self._dtype)
    with self._at_home():
      return self._changed(raw_ops.AssignAddVariableOp(self._handle, delta, name=name), read_value)

  def assign_sub(self, delta, use_locking=None, name=None, read_value=True):
    delta = convert_to_tensor(delta, dtype=self._dtype)
    with self._at_home():
      return self._changed(raw_ops.AssignSubVariableOp(self._handle, delta, name=name), read_value)

  def count_up_to(self, limit):
    with self._at_home():
      return raw_ops.ResourceCountUpTo(self._handle, limit, T=self._dtype)

  def sparse_read(self, indices, name=None):
    """Rows of it, without reading the whole."""
    with name_scope("Gather" if name is None else name) as scope, self._at_home():
      return raw_ops.ResourceGather(self._handle, indices, self._dtype, name=scope)

  def gather_nd(self, indices, name=None):
    with name_scope("GatherNd" if name is None else name) as scope, self._at_home():
      value = raw_ops.ResourceGatherNd(self._handle, indices, self._dtype, name=scope)
    return _array.identity(value)


class _UnreadVariable(ResourceVariable):
  """A resource variable after a change: reading it waits for the change."""

  def __init__(self, parent, op):  # pylint: disable=super-init-not-called
    self._parent_op = op
    self._handle = parent._handle
    self._dtype = parent._dtype
    self._static_shape = parent._static_shape
    self._name = parent._name
    self._initializer_op = parent._initializer_op
    self._initial_value = parent._initial_value
    self._trainable = parent._trainable
    self._constraint = parent._constraint
    self._save_slice_info = parent._save_slice_info
    with _graph.control_dependencies([op]):
      self._element = self._read()

  def value(self):
    with _graph.control_dependencies([self._parent_op]):
      return super().value()

  def _as_graph_element(self):
    return self._element

  @property
  def op(self):
    return self._parent_op


def _convert_variable(value, dtype=None, name=None, as_ref=False):
  return value._dense_var_to_tensor(dtype=dtype, name=name, as_ref=as_ref)


register_tensor_conversion_function(Variable, _convert_variable, 50)


# --- changes ----------------------------------------------------------------------------------------------------------


def _at(state):
  """A context for operations that change a variable: they can only run where it lives."""
  device = state.device
  return _graph.device(device) if device else contextlib.nullcontext()


def _reference(ref):
  """The reference tensor of a reference variable, None for a resource variable."""
  if isinstance(ref, RefVariable):
    return ref._variable
  if isinstance(ref, Tensor):
    if not ref._dtype._is_ref_dtype:
      raise TypeError(f"wanted a variable, found {ref!r}")
    return ref
  if isinstance(ref, ResourceVariable):
    return None
  raise TypeError(f"wanted a variable, found {ref!r}")


def assign(ref, value, validate_shape=None, use_locking=None, name=None):
  """Sets `ref`; gives a tensor to read after the change."""
  reference = _reference(ref)
  if reference is None:
    return ref.assign(value, name=name)
  with _at(reference):
    return raw_ops.Assign(reference, value, validate_shape=True if validate_shape is None else validate_shape,
                          use_locking=True if use_locking is None else use_locking, name=name)


def assign_add(ref, value, use_locking=None, name=None):
  """Adds to `ref`."""
  reference = _reference(ref)
  if reference is None:
    return ref.assign_add(value, name=name)
  with _at(reference):
    return raw_ops.AssignAdd(reference, value, use_locking=bool(use_locking), name=name)


def assign_sub(ref, value, use_locking=None, name=None):
  """Subtracts from `ref`."""
  reference = _reference(ref)
  if reference is None:
    return ref.assign_sub(value, name=name)
  with _at(reference):
    return raw_ops.AssignSub(reference, value, use_locking=bool(use_locking), name=name)


def count_up_to(ref, limit, name=None):
  """Adds 1 until `limit`, then OutOfRangeError; gives the value before."""
  reference = _reference(ref)
  if reference is None:
    return ref.count_up_to(limit)
  with _at(reference):
    return raw_ops.CountUpTo(reference, limit, name=name)


def _scatter(op_type, doc, locking):
  def scatter(ref, indices, updates, use_locking=locking, name=None):
    reference = _reference(ref)
    if reference is not None:
      with _at(reference):
        return getattr(raw_ops, op_type)(reference, indices, updates, use_locking=use_locking, name=name)
    updates = convert_to_tensor(updates, dtype=ref.dtype)
    with _at(ref):
      return ref._changed(getattr(raw_ops, "Resource" + op_type)(ref.handle, indices, updates, name=name))
  scatter.__doc__ = doc
  return scatter


scatter_update = _scatter("ScatterUpdate", "Sets rows of `ref` at `indices`.", True)
scatter_add = _scatter("ScatterAdd", "Adds to rows of `ref` at `indices`.", False)
scatter_sub = _scatter("ScatterSub", "Subtracts from rows of `ref` at `indices`.", False)
scatter_mul = _scatter("ScatterMul", "Multiplies rows of `ref` at `indices`.", False)
scatter_div = _scatter("ScatterDiv", "Divides rows of `ref` at `indices`.", False)
scatter_min = _scatter("ScatterMin", "Takes the smaller of rows of `ref` at `indices` and the updates.", False)
scatter_max = _scatter("ScatterMax", "Takes the larger of rows of `ref` at `indices` and the updates.", False)
scatter_nd_update = _scatter("ScatterNdUpdate", "Sets elements or slices of `ref` at index vectors.", True)
scatter_nd_add = _scatter("ScatterNdAdd", "Adds to elements or slices of `ref` at index vectors.", False)
scatter_nd_sub = _scatter("ScatterNdSub", "Subtracts from elements or slices of `ref` at index vectors.", False)


def _sparse_method(fn):
  def method(self, sparse_delta, use_locking=False, name=None):
    if not isinstance(sparse_delta, IndexedSlices):
      raise TypeError(f"sparse_delta is not IndexedSlices: {sparse_delta}")
    return fn(self, sparse_delta.indices, sparse_delta.values, use_locking=use_locking, name=name)
  return method


def _nd_method(fn):
  return lambda self, indices, updates, name=None: fn(self, indices, updates, use_locking=True, name=name)


for _name, _fn in (("update", scatter_update), ("add", scatter_add), ("sub", scatter_sub), ("mul", scatter_mul), ("div", scatter_div),
                   ("min", scatter_min), ("max", scatter_max)):
  setattr(Variable, "scatter_" + _name, _sparse_method(_fn))
for _name, _fn in (("update", scatter_nd_update), ("add", scatter_nd_add), ("sub", scatter_nd_sub)):
  setattr(Variable, "scatter_nd_" + _name, _nd_method(_fn))


def batch_scatter_update(ref, indices, updates, use_locking=True, name=None):
  """scatter_update within each batch: the leading dimensions of `ref`, `indices` and `updates` agree."""
  with name_scope(name):
    indices = convert_to_tensor(indices, name="indices")
    sizes = _array.shape(indices)
    n = indices._rank()
    parts = []
    for d in range(n - 1):
      row = raw_ops.Range(0, sizes[d], 1)
      row = _array.reshape(row, [1] * d + [-1] + [1] * (n - 1 - d))
      parts.append(_array.broadcast_to(row, sizes))
    full = _array.stack(parts + [indices], axis=-1)
    return scatter_nd_update(ref, full, updates, use_locking=use_locking)


# --- sets of variables ------------------------------------------------------------------------------------------------


def global_variables(scope=None):
  """The variables that the tasks of a job share: those of GraphKeys.GLOBAL_VARIABLES."""
  return _graph.get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


all_variables = global_variables


def local_variables(scope=None):
  return _graph.get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope=None):
  return _graph.get_collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope=None):
  return _graph.get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope=None):
  return _graph.get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list, name="init"):
  """An operation that sets all the initial values."""
  from sluice import _control
  if var_list:
    return _control.group(*[v.initializer for v in var_list], name=name)
  return _control.group(name=name)


def global_variables_initializer():
  """An operation that sets the initial values of all global variables."""
  return variables_initializer(global_variables())


def local_variables_initializer():
  """An operation that sets the initial values of all local variables."""
  return variables_initializer(local_variables())


initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer
initialize_variables = variables_initializer


def is_variable_initialized(variable):
  """A boolean tensor: has the variable a value?"""
  return variable.is_initialized()


def assert_variables_initialized(var_list=None):
  """An operation that fails when a variable has no value; None when there are no variables."""
  from sluice import _control
  var_list = global_variables() + local_variables() if var_list is None else var_list
  if not var_list:
    return None
  return _control.group(*[_control.Assert(v.is_initialized(), [f"{v.name} is not initialized"]) for v in var_list])


def report_uninitialized_variables(var_list=None, name="report_uninitialized_variables"):
  """A 1-D tensor with the names of the variables that have no value."""
  var_list = global_variables() + local_variables() if var_list is None else var_list
  with name_scope(name):
    with _graph.device("/cpu:0"):
      if not var_list:
        return constant([], dtype=_dtypes.string)
      mask = raw_ops.LogicalNot(_array.stack([v.is_initialized() for v in var_list]))
      names = constant([v.op.name for v in var_list])
      return _array.boolean_mask(names, mask)
