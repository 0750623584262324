"""Sharing variables by name: `variable_scope`, `get_variable`, partitioners.

A variable's name comes from the variable scopes alone; the operations around it are named by the name scopes, which each
variable scope opens with it.
"""

import contextlib
import functools
import inspect
import math
import types

from sluice import _array
from sluice import _dtypes
from sluice import _graph
from sluice import _initializers
from sluice import _variables
from sluice._dtypes import as_dtype
from sluice._graph import GraphKeys, Tensor, get_default_graph, name_scope
from sluice._shapes import TensorShape
from sluice._convert import register_tensor_conversion_function
from sluice._variables import Variable, VariableAggregation, VariableSynchronization, _AUTO_REUSE

AUTO_REUSE = _AUTO_REUSE


class PartitionInfo:
  """Which part of a variable an initialiser fills: `full_shape` and the part's `var_offset`."""

  def __init__(self, full_shape, var_offset):
    self.full_shape = full_shape
    self.var_offset = var_offset

  def single_offset(self, shape):
    index = self.single_slice_dim(shape)
    return 0 if index is None else self.var_offset[index]

  def single_slice_dim(self, shape):
    sliced = [i for i, (a, b) in enumerate(zip(shape, self.full_shape)) if a != b]
    if len(sliced) > 1:
      raise RuntimeError(f"Cannot use single_slice_dim() with shape {shape}: it differs from {self.full_shape} in several dimensions")
    return sliced[0] if sliced else None


class PartitionedVariable:
  """A variable in parts: a list of variables that convert to their concatenation."""

  def __init__(self, name, shape, dtype, variable_list, partitions):
    if len(variable_list) != math.prod(partitions):
      raise TypeError(f"{len(variable_list)} variables do not fill {partitions} partitions")
    self._name, self._shape, self._dtype = name, list(shape), as_dtype(dtype)
    self._variable_list, self._partitions = list(variable_list), list(partitions)
    self._as_tensor = None

  def __iter__(self):
    return iter(self._variable_list)

  def __len__(self):
    return len(self._variable_list)

  @property
  def name(self):
    return self._name

  @property
  def dtype(self):
    return self._dtype

  @property
  def shape(self):
    return TensorShape(self._shape)

  def get_shape(self):
    return self.shape

  @property
  def op(self):
    return [v.op for v in self._variable_list]

  @property
  def graph(self):
    return self._variable_list[0].graph

  def _get_variable_list(self):
    return self._variable_list

  def _get_partitions(self):
    return self._partitions

  def _partition_axes(self):
    return [i for i, p in enumerate(self._partitions) if p > 1] or [0]

  def _concat(self):
    if len(self._variable_list) == 1:
      with name_scope(None):
        return _array.identity(self._variable_list[0], name=self._name)
    axes = self._partition_axes()
    if len(axes) > 1:
      raise NotImplementedError(f"Cannot concatenate along more than one dimension: {axes}")
    with name_scope(self._name + "/ConcatPartitions/"):
      joined = _array.concat([v.value() for v in self._variable_list], axes[0])
    with name_scope(None):
      return _array.identity(joined, name=self._name)

  def as_tensor(self):
    """The whole, joined."""
    with _graph.control_dependencies(None):
      return self._concat()

  def _dense_var_to_tensor(self, dtype=None, name=None, as_ref=False):
    if as_ref:
      raise NotImplementedError("PartitionedVariable doesn't support being used as a reference.")
    if dtype is not None and not dtype.is_compatible_with(self.dtype):
      raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for variable of type '{self.dtype.name}'")
    return self.as_tensor()

  def value(self):
    return self.as_tensor()

  def _as_graph_element(self):
    return None

  def assign(self, value, use_locking=False, name=None, read_value=True):
    return self._each("assign", value, use_locking, name, read_value)

  def assign_add(self, value, use_locking=False, name=None, read_value=True):
    return self._each("assign_add", value, use_locking, name, read_value)

  def assign_sub(self, value, use_locking=False, name=None, read_value=True):
    return self._each("assign_sub", value, use_locking, name, read_value)

  def _each(self, method, value, use_locking, name, read_value):
    axis = self._partition_axes()[0]
    sizes = [v.shape.as_list()[axis] for v in self._variable_list]
    if isinstance(value, (list, PartitionedVariable)):
      parts = list(value)
    else:
      parts = _array.split(value, sizes, axis=axis)
    changes = [getattr(v, method)(p, use_locking=use_locking, read_value=read_value) for v, p in zip(self._variable_list, parts)]
    return changes

  def __getitem__(self, spec):
    return self.as_tensor()[spec]

  def __repr__(self):
    return f"<sl.PartitionedVariable '{self._name}' shape={self.shape} dtype={self._dtype.name} parts={len(self._variable_list)}>"


def _operator(name):
  return lambda self, *args: getattr(Tensor, name)(self.as_tensor(), *args)


for _name in Tensor.OVERLOADABLE_OPERATORS - {"__getitem__"}:
  if hasattr(Tensor, _name):
    setattr(PartitionedVariable, _name, _operator(_name))
register_tensor_conversion_function(PartitionedVariable, lambda v, dtype=None, name=None, as_ref=False: v._dense_var_to_tensor(dtype, name, as_ref), 50)


class _Store:
  """The variables of a graph by full name."""

  def __init__(self):
    self.variables = {}
    self.partitioned = {}
    self.scope_counts = {}
    self._below = {}  # the scopes below each one, at any depth
    self.scope = VariableScope(False)

  def open_scope(self, name):
    counts = self.scope_counts
    if name not in counts:
      end = name.rfind("/")
      while end > 0:
        self._below.setdefault(name[:end], {})[name] = True
        end = name.rfind("/", 0, end)
    counts[name] = counts.get(name, 0) + 1

  def close_subscopes(self, name):
    counts = self.scope_counts
    for key in self._below.get(name, ()) if name else counts:
      if key in counts:
        counts[key] = 0


def _store(graph=None):
  graph = graph or get_default_graph()
  store = graph._scope_store.get("variables")
  if store is None:
    store = graph._scope_store["variables"] = _Store()
  return store


def get_variable_scope():
  """The variable scope in force."""
  return _store().scope


_variables._scope_in_force = get_variable_scope


class VariableScope:
  """Defaults for `get_variable`, and whether it makes or reuses variables."""

  def __init__(self, reuse, name="", initializer=None, regularizer=None, caching_device=None, partitioner=None, custom_getter=None,
               name_scope="", dtype=_dtypes.float32, use_resource=None, constraint=None):  # pylint: disable=redefined-outer-name
    self._name, self._reuse, self._initializer, self._regularizer = name, reuse, initializer, regularizer
    self._caching_device, self._partitioner, self._custom_getter = caching_device, partitioner, custom_getter
    self._name_scope, self._dtype, self._use_resource, self._constraint = name_scope, dtype, use_resource, constraint

  name = property(lambda self: self._name)
  original_name_scope = property(lambda self: self._name_scope)
  reuse = property(lambda self: self._reuse)
  initializer = property(lambda self: self._initializer)
  regularizer = property(lambda self: self._regularizer)
  caching_device = property(lambda self: self._caching_device)
  partitioner = property(lambda self: self._partitioner)
  custom_getter = property(lambda self: self._custom_getter)
  dtype = property(lambda self: self._dtype)
  use_resource = property(lambda self: self._use_resource)
  constraint = property(lambda self: self._constraint)

  def reuse_variables(self):
    """From now on `get_variable` only finds."""
    self._reuse = True

  def set_initializer(self, initializer):
    self._initializer = initializer

  def set_dtype(self, dtype):
    self._dtype = dtype

  def set_use_resource(self, use_resource):
    self._use_resource = use_resource

  def set_regularizer(self, regularizer):
    self._regularizer = regularizer

  def set_caching_device(self, caching_device):
    self._caching_device = caching_device

  def set_partitioner(self, partitioner):
    self._partitioner = partitioner

  def set_custom_getter(self, custom_getter):
    self._custom_getter = custom_getter

  def get_collection(self, name):
    scope = self._name + "/" if self._name else self._name
    return _graph.get_collection(name, scope)

  def trainable_variables(self):
    return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

  def global_variables(self):
    return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

  def local_variables(self):
    return self.get_collection(GraphKeys.LOCAL_VARIABLES)

  def _copy(self, **changes):
    made = VariableScope.__new__(VariableScope)
    made.__dict__.update(self.__dict__, **changes)
    return made

  def get_variable(self, var_store, name, shape=None, dtype=None, initializer=None, regularizer=None, reuse=None, trainable=None, collections=None,
                   caching_device=None, partitioner=None, validate_shape=True, use_resource=None, custom_getter=None, constraint=None,
                   synchronization=VariableSynchronization.AUTO, aggregation=VariableAggregation.NONE):
    store = var_store
    regularizer = self._regularizer if regularizer is None else regularizer
    caching_device = self._caching_device if caching_device is None else caching_device
    partitioner = self._partitioner if partitioner is None else partitioner
    custom_getter = self._custom_getter if custom_getter is None else custom_getter
    reuse = self._reuse if reuse is None else reuse
    constraint = self._constraint if constraint is None else constraint
    full_name = f"{self._name}/{name}" if self._name else name
    with name_scope(None):
      if dtype is not None and initializer is not None and not callable(initializer):
        init_dtype = as_dtype(getattr(initializer, "dtype", dtype)).base_dtype if hasattr(initializer, "dtype") else None
        if init_dtype is not None and init_dtype != as_dtype(dtype).base_dtype:
          raise ValueError(f"Initializer type '{init_dtype}' and explicit dtype '{as_dtype(dtype)}' don't match.")
      initializer = self._initializer if initializer is None else initializer
      dtype = self._dtype if dtype is None else dtype
      use_resource = self._use_resource if use_resource is None else use_resource
      arguments = dict(shape=shape, dtype=as_dtype(dtype), initializer=initializer, regularizer=regularizer, reuse=None if reuse is AUTO_REUSE else reuse,
                       trainable=trainable, collections=collections, caching_device=caching_device, partitioner=partitioner,
                       validate_shape=validate_shape, use_resource=use_resource, constraint=constraint, synchronization=synchronization,
                       aggregation=aggregation)
      if custom_getter is None:
        return _get(store, full_name, **arguments)
      if reuse is AUTO_REUSE:
        arguments["reuse"] = reuse
      accepted = inspect.signature(custom_getter).parameters
      if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in accepted.values()):
        for optional in ("constraint", "synchronization", "aggregation"):
          if optional not in accepted:
            arguments.pop(optional)
      return custom_getter(functools.partial(_get, store), name=full_name, **arguments)


def _get(store, name, shape=None, dtype=_dtypes.float32, initializer=None, regularizer=None, reuse=None, trainable=None, collections=None,
         caching_device=None, partitioner=None, validate_shape=True, use_resource=None, constraint=None,
         synchronization=VariableSynchronization.AUTO, aggregation=VariableAggregation.NONE):
  """The variable of a full name: found, or made, as `reuse` says."""
  reuse = None if reuse is AUTO_REUSE else reuse
  if partitioner is not None and not callable(partitioner):
    raise ValueError(f"Partitioner must be callable, but received: {partitioner}")
  options = (dtype, initializer, reuse, regularizer, trainable, collections, caching_device, validate_shape, use_resource, constraint,
             synchronization, aggregation)
  if partitioner is not None:
    if initializer is None or callable(initializer) or shape is None:
      return _get_partitioned(store, name, shape, partitioner, *options)
  elif reuse and name in store.partitioned:
    return _get_partitioned(store, name, shape, None, *options)
  if f"{name}/part_0" in store.variables:
    raise ValueError(f"No partitioner was provided, but a partitioned version of the variable was found: {name}/part_0. "
                     f"Perhaps a variable of the same name was already created with partitioning?")
  return _get_single(store, name, shape, None, *options)


def _get_single(store, name, shape, partition_info, dtype, initializer, reuse, regularizer, trainable, collections, caching_device,
                validate_shape, use_resource, constraint, synchronization, aggregation):
  from_value = initializer is not None and not callable(initializer)
  if from_value and shape is not None:
    raise ValueError("If initializer is a constant, do not specify shape.")
  dtype = as_dtype(dtype)
  wanted = TensorShape(shape) if shape is not None else None
  found = store.variables.get(name)
  if found is not None:
    if reuse is False:
      file, line = found.op.traceback[0] if found.op.traceback else ("an unknown place", 0)
      raise ValueError(f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=sl.AUTO_REUSE in VarScope? "
                       f"Originally defined at: {file}:{line}")
    if wanted is not None and not wanted.is_compatible_with(found.shape):
      raise ValueError(f"Trying to share variable {name}, but specified shape {wanted} and found shape {found.shape}.")
    if not dtype.is_compatible_with(found.dtype.base_dtype):
      raise ValueError(f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype {found.dtype.base_dtype.name}.")
    return found
  if reuse:
    raise ValueError(f"Variable {name} does not exist, or was not created with sl.get_variable(). Did you mean to set reuse=sl.AUTO_REUSE in VarScope?")
  if initializer is None:
    initializer = _default_initializer(name, dtype)
  if from_value:
    initial_value, variable_dtype = initializer, None
  else:
    if isinstance(initializer, type):
      initializer = initializer()
    if wanted is not None and wanted.is_fully_defined():
      keywords = {"dtype": dtype}
      if _takes(initializer, "partition_info"):
        keywords["partition_info"] = partition_info
      initial_value = functools.partial(initializer, wanted.as_list(), **keywords)
    elif not [p for p in inspect.signature(initializer).parameters.values() if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]:
      initial_value = initializer
    else:
      raise ValueError(f"The initializer passed is not valid. It should be a callable with no arguments and the shape should not be provided or an instance of "
                       f"`sl.keras.initializers.*' and `shape` should be fully defined: shape of a new variable ({name}) must be fully defined, but instead was {wanted}.")
    variable_dtype = dtype.base_dtype
  variable = Variable(initial_value=initial_value, name=name, trainable=trainable, collections=collections, caching_device=caching_device,
                      dtype=variable_dtype, validate_shape=validate_shape, constraint=constraint, use_resource=use_resource,
                      synchronization=synchronization, aggregation=aggregation)
  store.variables[name] = variable
  if regularizer:
    with _graph.colocate_with(variable.op), name_scope(name + "/Regularizer/"):
      loss = regularizer(variable)
    if loss is not None:
      _graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
  return variable


_taken = {}  # (code, argument): whether the function takes it


def _takes(function, argument):
  """Whether a function, or an object that is called as one, has a parameter; looked up once for each code."""
  called = function if isinstance(function, (types.FunctionType, types.MethodType)) else getattr(type(function), "__call__", None)
  code = getattr(called, "__code__", None)
  if code is None or hasattr(called, "__wrapped__") or hasattr(called, "__signature__") or hasattr(function, "__signature__"):
    return _has_parameter(function, argument)
  found = _taken.get((code, argument))
  if found is None:
    found = _taken[code, argument] = _has_parameter(function, argument)
  return found


def _has_parameter(function, argument):
  try:
    parameters = inspect.signature(function).parameters
  except (TypeError, ValueError):
    return False
  return argument in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _default_initializer(name, dtype):
  if dtype.is_floating:
    return _initializers.GlorotUniform()
  if dtype.is_integer or dtype.is_unsigned or dtype.is_bool or dtype == _dtypes.string:
    return _initializers.Zeros()
  raise ValueError(f"An initializer for variable {name} of {dtype} is required")


def _get_partitioned(store, name, shape, partitioner, dtype, initializer, reuse, *options):
  shape = TensorShape(shape)
  if initializer is not None and not callable(initializer):
    raise ValueError("partitioned variables want an initializer that is a function")
  found = store.partitioned.get(name)
  if found is not None:
    if reuse is False:
      raise ValueError(f"Partitioned variable with name {name} already exists. Did you mean to set reuse=True or reuse=sl.AUTO_REUSE in VarScope?")
    if not shape.is_compatible_with(found.shape):
      raise ValueError(f"Trying to reuse partitioned variable {name}, but specified shape {shape} and found shape {found.shape}.")
    return found
  if reuse:
    raise ValueError(f"PartitionedVariable {name} does not exist, or was not created with sl.get_variable(). Did you mean to set reuse=False or reuse=sl.AUTO_REUSE in VarScope?")
  if not shape.is_fully_defined():
    raise ValueError(f"Shape of a new partitioned variable ({name}) must be fully defined, but instead was {shape}.")
  partitions = list(partitioner(shape=shape, dtype=dtype))
  _check_partitions(partitions, shape)
  sizes = shape.as_list()
  axis = next((i for i, p in enumerate(partitions) if p > 1), 0)
  parts = []
  for i, (offset, part_shape) in enumerate(_slices(sizes, axis, partitions[axis])):
    info = PartitionInfo(full_shape=sizes, var_offset=offset)
    part_name = f"{name}/part_{i}"
    with name_scope(None):
      part = _get_single(store, part_name, part_shape, info, dtype, initializer, reuse, *options)
    part._set_save_slice_info(Variable.SaveSliceInfo(name, sizes, offset, part_shape))
    parts.append(part)
  made = PartitionedVariable(name=name, shape=sizes, dtype=dtype, variable_list=parts, partitions=partitions)
  store.partitioned[name] = made
  return made


def _check_partitions(partitions, shape):
  if not partitions or len(partitions) != shape.rank:
    raise ValueError(f"Partitioner returned a partition list that does not match the Variable's rank: {partitions} vs. {shape}")
  if any(p < 1 for p in partitions):
    raise ValueError(f"Partitioner returned zero partitions for some axes: {partitions}")
  if sum(p > 1 for p in partitions) > 1:
    raise ValueError(f"Can only slice a variable along one dimension: shape: {shape}, partitioning: {partitions}")


def _slices(sizes, axis, count):
  """(offset, shape) of each part; the first ones take what does not divide evenly."""
  base, extra = divmod(sizes[axis], count)
  start = 0
  for i in range(count):
    part = list(sizes)
    part[axis] = base + (1 if i < extra else 0)
    offset = [0] * len(sizes)
    offset[axis] = start
    start += part[axis]
    yield offset, part


def get_variable(name, shape=None, dtype=None, initializer=None, regularizer=None, trainable=None, collections=None, caching_device=None,
                 partitioner=None, validate_shape=True, use_resource=None, custom_getter=None, constraint=None,
                 synchronization=VariableSynchronization.AUTO, aggregation=VariableAggregation.NONE):
  """Finds or makes the variable `name` of the variable scope in force, as the scope's `reuse` says.

  `initializer` is a function of (shape, dtype), or a value; glorot_uniform for floats and zeros for integers when None.
  """
  store = _store()
  return store.scope.get_variable(store, name, shape=shape, dtype=dtype, initializer=initializer, regularizer=regularizer, trainable=trainable,
                                  collections=collections, caching_device=caching_device, partitioner=partitioner, validate_shape=validate_shape,
                                  use_resource=use_resource, custom_getter=custom_getter, constraint=constraint, synchronization=synchronization,
                                  aggregation=aggregation)


def get_local_variable(name, *args, **kwargs):
  """As get_variable, for a variable that is not trained, saved or shared between tasks."""
  collections = kwargs.pop("collections", None)
  kwargs["collections"] = [GraphKeys.LOCAL_VARIABLES] if collections is None else list(collections) + [GraphKeys.LOCAL_VARIABLES]
  kwargs["trainable"] = False
  return get_variable(name, *args, **kwargs)


class variable_scope:  # pylint: disable=invalid-name
  """A context that names, defaults and shares the variables of `get_variable`.

      with sl.variable_scope("layer1"):
        w = sl.get_variable("w", [3, 4])        # "layer1/w"
      with sl.variable_scope("layer1", reuse=True):
        assert sl.get_variable("w") is w

  Args:
    name_or_scope: a name, or a VariableScope to enter again.
    default_name: made unique and used when name_or_scope is None.
    values: tensors whose graph is made the default.
    reuse: True to find only, sl.AUTO_REUSE to find or make, None to inherit.
    auxiliary_name_scope: False opens no name scope.
  """

  def __init__(self, name_or_scope, default_name=None, values=None, initializer=None, regularizer=None, caching_device=None, partitioner=None,
               custom_getter=None, reuse=None, dtype=None, use_resource=None, constraint=None, auxiliary_name_scope=True):
    if default_name is None and name_or_scope is None:
      raise TypeError("If default_name is None then name_or_scope is required")
    if not isinstance(auxiliary_name_scope, bool):
      raise TypeError(f"The auxiliary_name_scope must be `True` or `False`, while get {auxiliary_name_scope}")
    if name_or_scope is not None and not isinstance(name_or_scope, (str, VariableScope)):
      raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
    if reuse is False:
      reuse = None  # It is inherited: False cannot undo an outer True.
    self._name_or_scope, self._default_name, self._values, self._reuse = name_or_scope, default_name, values, reuse
    self._settings = dict(initializer=initializer, regularizer=regularizer, caching_device=caching_device, partitioner=partitioner,
                          dtype=dtype, use_resource=use_resource, constraint=constraint)
    self._custom_getter = custom_getter
    self._auxiliary_name_scope = auxiliary_name_scope

  def __enter__(self):
    graph = get_default_graph()
    self._default = None
    if self._values:
      found = _graph.graph_of(self._values)
      if found is not None and found is not graph:
        graph = found
        self._default = graph.as_default()
        self._default.__enter__()
    self._graph, self._old_names = graph, graph._name_stack
    try:
      return self._open(graph, _store(graph))
    except BaseException:
      self._leave_names(None, None, None)
      raise

  def _open(self, graph, store):
    target = self._name_or_scope
    again = isinstance(target, VariableScope)
    if target is None:
      if self._reuse:
        raise ValueError("reuse=True cannot be used without a name_or_scope")
      target = _unique_scope_name(store, self._default_name)
      scope_name = self._default_name
    else:
      scope_name = target.name.split("/")[-1] if again else target
    if self._auxiliary_name_scope and scope_name:
      current = graph._enter_scope(scope_name)
    else:
      current = graph._name_stack + "/" if graph._name_stack else ""
    old = store.scope
    if again:
      full_name = target._name
      scope = target._copy(_reuse=self._reuse or target._reuse, _name_scope=target._name_scope)
    else:
      full_name = f"{old._name}/{target}" if old._name else target
      scope = old._copy(_name=full_name, _reuse=self._reuse or old._reuse, _name_scope=current)
    for key, value in self._settings.items():
      if value is not None:
        setattr(scope, "_" + key, value)
    if self._custom_getter is not None:
      scope._custom_getter = _compose(self._custom_getter, scope._custom_getter)
    self._old = store, old, full_name, dict(store.scope_counts) if again else None
    store.open_scope(full_name)
    store.scope = scope
    return scope

  def __exit__(self, *exc):
    store, scope, full_name, counts = self._old
    store.close_subscopes(full_name)
    if counts is not None:
      store.scope_counts = counts
    store.scope = scope
    self._leave_names(*exc)

  def _leave_names(self, *exc):
    self._graph._name_stack = self._old_names
    if self._default is not None:
      self._default.__exit__(*exc)


def _unique_scope_name(store, prefix):
  name = f"{store.scope.name}/{prefix}" if store.scope.name else prefix
  if store.scope_counts.get(name, 0) == 0:
    return prefix
  i = 1
  while store.scope_counts.get(f"{name}_{i}", 0) > 0:
    i += 1
  return f"{prefix}_{i}"


def _compose(custom_getter, outer):
  if outer is None:
    return custom_getter

  def both(getter, *args, **kwargs):
    return custom_getter(functools.partial(outer, getter), *args, **kwargs)

  return both


def variable_op_scope(values, name_or_scope, default_name=None, **kwargs):
  """The older order of `variable_scope`'s arguments."""
  return variable_scope(name_or_scope, default_name=default_name, values=values, **kwargs)


@contextlib.contextmanager
def variable_creator_scope(variable_creator):
  """Variables made inside go through variable_creator(next_creator, **kwargs)."""
  graph = get_default_graph()
  old = getattr(graph, "_variable_creators", ())
  graph._variable_creators = old + (variable_creator,)
  try:
    yield
  finally:
    graph._variable_creators = old


def no_regularizer(_):
  """A regularizer that adds nothing, to undo the scope's."""
  return None


# --- partitioners -----------------------------------------------------------------------------------------------------


def fixed_size_partitioner(num_shards, axis=0):
  """Always `num_shards` parts of dimension `axis`."""
  def partitioner(shape, **unused):
    partitions = [1] * len(shape)
    partitions[axis] = num_shards
    return partitions
  return partitioner


def variable_axis_size_partitioner(max_shard_bytes, axis=0, bytes_per_string_element=16, max_shards=None):
  """As few parts of dimension `axis` as keep each below `max_shard_bytes`."""
  if max_shard_bytes < 1 or bytes_per_string_element < 1:
    raise ValueError("Both max_shard_bytes and bytes_per_string_element must be positive.")
  if max_shards and max_shards < 1:
    raise ValueError("max_shards must be positive.")

  def partitioner(shape, dtype):
    shape = TensorShape(shape)
    partitions = [1] * shape.rank
    element = bytes_per_string_element if as_dtype(dtype) == _dtypes.string else as_dtype(dtype).size
    sizes = shape.as_list()
    slice_bytes = element * (shape.num_elements() // sizes[axis]) if sizes[axis] else element
    per_shard = max(1, math.floor(max_shard_bytes / slice_bytes)) if slice_bytes else sizes[axis]
    shards = int(math.ceil(sizes[axis] / per_shard)) if sizes[axis] else 1
    if max_shards:
      shards = min(max_shards, shards)
    partitions[axis] = max(1, shards)
    return partitions

  return partitioner


def min_max_variable_partitioner(max_partitions=1, axis=0, min_slice_size=256 << 10, bytes_per_string_element=16):
  """At most `max_partitions` parts, none below `min_slice_size` bytes."""
  def partitioner(shape, dtype):
    shape = TensorShape(shape)
    partitions = [1] * shape.rank
    total = 1
    for s in shape.as_list():
      total *= s
    element = bytes_per_string_element if as_dtype(dtype) == _dtypes.string else as_dtype(dtype).size
    total *= element
    shards = min(max_partitions, max(1, math.ceil(total / min_slice_size)), shape.as_list()[axis])
    partitions[axis] = max(1, shards)
    return partitions
  return partitioner


def create_partitioned_variables(shape, slicing, initializer, dtype=_dtypes.float32, trainable=True, collections=None, name=None, reuse=None):
  """The parts of a partitioned variable as a list."""
  def partitioner(**unused):
    return slicing
  with variable_scope(name, "PartitionedVariable", reuse=reuse):
    return list(get_variable(name="part", shape=shape, dtype=dtype, initializer=initializer, trainable=trainable, partitioner=partitioner,
                             collections=collections))
