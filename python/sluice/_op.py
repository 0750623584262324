"""Calls one op by its definition: converts the inputs, checks types, normalises attributes, makes the node.

Every generated wrapper of `sluice.raw_ops` is one line that ends here, and so are the ops of custom libraries. The
definitions come from the registry in C++ (`_sluice.op_spec`), read once for each op when first used.
"""

import numbers
import sys
from collections import namedtuple

from sluice import _dtypes
from sluice._native import _sluice
from sluice._graph import IndexedSlices, Operation, Tensor, _NameScope, _default_graphs, _is_op_name, get_default_graph, graph_of
from sluice._shapes import TensorShape

_specs = {}


class _Arg:
  """One input or output of an op."""

  __slots__ = ("name", "dtype", "type_attr", "number_attr", "type_list_attr", "is_ref", "is_list")

  def __init__(self, name, type_enum, type_attr, number_attr, type_list_attr, is_ref):
    self.name = name
    self.dtype = _dtypes.as_dtype(type_enum) if type_enum else None
    self.type_attr = type_attr
    self.number_attr = number_attr
    self.type_list_attr = type_list_attr
    self.is_ref = is_ref
    self.is_list = bool(number_attr or type_list_attr)


_REQUIRED = object()


def _written(kind, default):
  """A default as the wrappers have it in their signatures, where it can be known by its identity."""
  if kind == "type":
    return _dtypes.as_dtype(default)
  if kind == "string":
    return sys.intern(default.decode(errors="replace"))
  return default


class _Spec:
  """What `call` needs to know of an op."""

  __slots__ = ("op_type", "inputs", "outputs", "params", "defaults", "type_defaults", "simple", "changes", "allowed", "returns", "_tuple")

  def __init__(self, op_type, inputs, outputs, attrs):
    self.op_type = op_type
    self.inputs = [_Arg(*a) for a in inputs]
    self.outputs = [_Arg(*a) for a in outputs]
    inferred = {n for a in self.inputs for n in (a.type_attr, a.number_attr, a.type_list_attr) if n}
    required = [a for a in attrs if a[0] not in inferred and not a[2]]
    optional = [a for a in attrs if a[0] not in inferred and a[2]]
    self.params = [(name, _NORMALISE[kind], _written(kind, default) if has else _REQUIRED) for name, kind, has, default, _ in required + optional]
    self.defaults = {name for name, _, has, _, _ in attrs if has}
    self.type_defaults = {name: _dtypes.as_dtype(default) for name, kind, has, default, _ in attrs if has and kind == "type"}
    self.allowed = {name: frozenset(allowed) for name, kind, _, _, allowed in attrs if kind in ("type", "list(type)") and allowed}
    self.simple = not any(a.is_list for a in self.inputs)
    self.changes = any(a.is_ref for a in self.inputs)  # a variable
    self._tuple = None
    if not self.outputs:
      self.returns = 0
    elif len(self.outputs) == 1:
      self.returns = 2 if self.outputs[0].is_list else 1
    else:
      self.returns = 3

  def result(self, op):
    """What the wrapper returns for a node."""
    if self.returns == 1:
      return op._outputs[0]
    if self.returns == 0:
      return op
    if self.returns == 2:
      return list(op._outputs)
    if self._tuple is None:
      self._tuple = namedtuple(self.op_type, [_python_name(a.name) for a in self.outputs])
    lists = sum(a.is_list for a in self.outputs)
    if not lists:
      return self._tuple._make(op._outputs)
    values, at = [], 0
    for a in self.outputs:
      if not a.is_list:
        values.append(op._outputs[at])
        at += 1
        continue
      if lists == 1:
        n = len(op._outputs) - len(self.outputs) + 1
      elif a.number_attr:
        n = op.get_attr(a.number_attr)
      else:
        n = len(op.get_attr(a.type_list_attr))
      values.append(list(op._outputs[at:at + n]))
      at += n
    return self._tuple._make(values)


def _python_name(name):
  import keyword
  return name + "_" if keyword.iskeyword(name) else name


def spec_of(op_type):
  """The spec of a registered op; ValueError names an unknown one."""
  spec = _specs.get(op_type)
  if spec is None:
    spec = _specs[op_type] = _Spec(op_type, *_sluice.op_spec(op_type))
  return spec


# --- attributes -------------------------------------------------------------------------------------------------------


def _bad(what, value, arg, op):
  return TypeError(f"{op}: expected {what} for argument '{arg}', found {value!r} of type {type(value).__name__}")


def _int(value, arg, op):
  if isinstance(value, str):
    raise _bad("int", value, arg, op)
  try:
    return int(value)
  except (TypeError, ValueError):
    raise _bad("int", value, arg, op) from None


def _float(value, arg, op):
  try:
    return float(value)
  except (TypeError, ValueError):
    raise _bad("float", value, arg, op) from None


def _bool(value, arg, op):
  if value is True or value is False:
    return value
  import numpy as np
  if isinstance(value, (np.bool_, numbers.Integral)) and value in (0, 1):
    return bool(value)
  raise _bad("bool", value, arg, op)


def _bytes(value, arg, op):
  if isinstance(value, bytes):
    return value
  if isinstance(value, str):
    return value.encode()
  raise _bad("string", value, arg, op)


def _type(value, arg, op):
  try:
    return _dtypes.as_dtype(value).base_dtype._enum
  except TypeError:
    raise _bad("a data type", value, arg, op) from None


def _shape(value, arg, op):
  try:
    return TensorShape(value)._native()
  except (TypeError, ValueError) as e:
    raise type(e)(f"{op}: bad shape for argument '{arg}': {value!r}: {e}") from None


def _tensor(value, arg, op):
  if hasattr(value, "SerializeToString"):
    return value.SerializeToString()
  from sluice import _convert
  return _convert.native_tensor(_convert.to_array(value))


def _func(value, arg, op):
  if hasattr(value, "SerializeToString"):
    return value.SerializeToString()
  name = getattr(value, "name", value)
  if hasattr(value, "add_to_graph"):
    value.add_to_graph(get_default_graph())
  if isinstance(name, bytes):
    name = name.decode()
  if not isinstance(name, str):
    raise _bad("a function", value, arg, op)
  return name


def _list_of(item):
  def convert(value, arg, op):
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
      raise _bad("a list", value, arg, op)
    return [item(v, arg, op) for v in value]
  return convert


_NORMALISE = {"int": _int, "float": _float, "bool": _bool, "string": _bytes, "type": _type, "shape": _shape,
              "tensor": _tensor, "func": _func}
_NORMALISE.update({f"list({k})": _list_of(v) for k, v in list(_NORMALISE.items())})


# --- calling ----------------------------------------------------------------------------------------------------------


def call(op_type, name, values, params=()):
  """Makes a node of `op_type` from its inputs and its other parameters, both in the order of the wrapper."""
  spec = _specs.get(op_type) or spec_of(op_type)
  attrs = None
  if params:
    attrs = {}
    for (attr, normalise, default), value in zip(spec.params, params):
      if value is default:
        continue
      if value is None and normalise is not _shape:
        if default is not _REQUIRED:
          continue
        raise TypeError(f"{op_type}: argument '{attr}' is required, found None")
      attrs[attr] = normalise(value, attr, op_type)
  items = _default_graphs.items
  if items and items[-1]._is_function:
    from sluice._control import _capture_values
    values = [_capture_values(items[-1], v) for v in values]
  if not spec.simple or spec.changes and name is not None and not (isinstance(name, str) and _is_op_name(name)):
    return _call_converting(spec, name, values, attrs)
  graph = None
  keys = []
  types = {}
  refs = ()
  for arg, value in zip(spec.inputs, values):
    if type(value) is not Tensor:
      value = None if arg.is_ref else getattr(value, "_plain_tensor", None)
      if value is None:
        return _call_converting(spec, name, values, attrs)
    if graph is not value.graph:
      if graph is not None:
        if spec.changes:
          return _call_converting(spec, name, values, attrs)
        raise ValueError(f"{op_type}: {value} must be from the same graph as {graph._tensor(keys[0])}.")
      graph = value.graph
    enum = value._dtype._enum
    if enum > 100:
      enum -= 100
      if arg.is_ref:
        refs += (value._op,)
    elif arg.is_ref:
      return _call_converting(spec, name, values, attrs)
    if arg.type_attr:
      if types.setdefault(arg.type_attr, enum) != enum:
        _type_error(spec, name, arg, value, types)
    elif arg.dtype is not None and arg.dtype._enum != enum:
      _type_error(spec, name, arg, value, types)
    keys.append(value._key)
  if graph is None:
    graph = get_default_graph()
  for attr, allowed in spec.allowed.items():
    if attr in types and types[attr] not in allowed:
      _not_allowed(spec, name, attr, types[attr], allowed)
  if name is None:
    name = graph.unique_name(op_type)
  elif name and name[-1] == "/":
    name = name[:-1]
  else:
    _check_name(name, graph)
    name = graph.unique_name(name)
  if refs:  # What changes a variable runs where the variable is.
    return spec.result(graph._create_with(refs, op_type, name, keys, attrs))
  return spec.result(graph._create(op_type, name, keys, attrs))


def _check_name(name, graph):
  if not isinstance(name, str) or not _is_op_name(name):
    if not (isinstance(name, str) and graph._name_stack and name and name[0] in "_-/\\"):
      raise ValueError(f"'{name}' is not a valid node name")


def _type_error(spec, name, arg, value, types):
  found = value._dtype.base_dtype.name
  if arg.type_attr:
    first = next(a for a in spec.inputs if a.type_attr == arg.type_attr)
    raise TypeError(f"Input '{arg.name}' of '{spec.op_type}' Op has type {found} that does not match type "
                    f"{_dtypes.as_dtype(types[arg.type_attr]).name} of argument '{first.name}'.")
  raise TypeError(f"Input '{arg.name}' of '{spec.op_type}' Op has type {found} that does not match expected type of {arg.dtype.name}.")


def _not_allowed(spec, name, attr, enum, allowed):
  arg = next((a.name for a in spec.inputs if attr in (a.type_attr, a.type_list_attr)), attr)
  names = ", ".join(sorted(_dtypes.as_dtype(a).name for a in allowed))
  raise TypeError(f"Value passed to parameter '{arg}' of '{spec.op_type}' has DataType {_dtypes.as_dtype(enum).name} not in list of allowed values: {names}")


def _call_converting(spec, name, values, attrs):
  """`call` for inputs that are not all plain tensors: converts them inside the name scope of the node."""
  from sluice import _convert
  found = graph_of(values)
  graph = get_default_graph()
  if found is not None and found is not graph:
    with found.as_default():
      return _call_converting(spec, name, values, attrs)
  with _NameScope(graph, name or spec.op_type) as scope:
    types = {}
    for arg, value in zip(spec.inputs, values):  # Tensors say the types; constants follow, wherever they stand.
      if arg.type_attr and arg.type_attr not in types:
        enum = _known_type(value)
        if enum:
          types[arg.type_attr] = enum
    keys = []
    counts = {}
    for arg, value in zip(spec.inputs, values):
      keys.append(_input_keys(spec, arg, value, types, counts, attrs, _convert))
    for attr, allowed in spec.allowed.items():
      found = types.get(attr)
      if isinstance(found, int) and found not in allowed:
        _not_allowed(spec, name, attr, found, allowed)
    if counts:
      attrs = dict(attrs or ())
      attrs.update(counts)
    for attr, enum in types.items():
      if isinstance(enum, int) and attr not in (attrs or ()) and any(a.number_attr and a.type_attr == attr for a in spec.inputs):
        attrs = dict(attrs or ())
        attrs[attr] = enum
    refs = [graph._tensor(k).op for arg, key in zip(spec.inputs, keys) if arg.is_ref for k in (key if type(key) is list else (key,))]
    if refs:
      return spec.result(graph._create_with(tuple(refs), spec.op_type, scope[:-1], keys, attrs))
    return spec.result(graph._create(spec.op_type, scope[:-1], keys, attrs))


def _known_type(value):
  if isinstance(value, (list, tuple)):
    for v in value:
      enum = _known_type(v)
      if enum:
        return enum
    return None
  dtype = getattr(value, "_dtype", None) if isinstance(value, Tensor) else getattr(value, "dtype", None) if hasattr(value, "_as_graph_element") or isinstance(value, IndexedSlices) else None
  return dtype.base_dtype._enum if isinstance(dtype, _dtypes.DType) else None


def _input_keys(spec, arg, value, types, counts, attrs, _convert):
  """The key (or list of keys) of one input, converted; records the types and counts it fixes."""
  if not arg.is_list:
    t = _convert_input(spec, arg, value, types, _convert)
    return t._key
  if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
    raise TypeError(f"Expected list for '{arg.name}' argument to '{spec.op_type}' Op, not {value!r}.")
  values = list(value)
  if arg.number_attr:
    n = counts.setdefault(arg.number_attr, len(values))
    if n != len(values):
      raise ValueError(f"List argument '{arg.name}' to '{spec.op_type}' Op with length {len(values)} must match length {n} of argument "
                       f"'{next(a.name for a in spec.inputs if a.number_attr == arg.number_attr)}'.")
    return [_convert_input(spec, arg, v, types, _convert, f"{arg.name}_{i}")._key
            for i, v in enumerate(values)]
  wanted = types.get(arg.type_list_attr) or (attrs or {}).get(arg.type_list_attr)
  tensors = []
  for i, v in enumerate(values):
    dtype = _dtypes.as_dtype(wanted[i]) if wanted and i < len(wanted) else None
    tensors.append(_convert.convert_to_tensor(v, dtype=dtype, name=f"{arg.name}_{i}", as_ref=arg.is_ref))
  types[arg.type_list_attr] = [t._dtype.base_dtype._enum for t in tensors]
  counts[arg.type_list_attr] = types[arg.type_list_attr]
  return [t._key for t in tensors]


def _convert_input(spec, arg, value, types, _convert, name=None):
  wanted = types.get(arg.type_attr) if arg.type_attr else None
  dtype = _dtypes.as_dtype(wanted) if wanted else arg.dtype
  try:
    tensor = _convert.convert_to_tensor(value, dtype=None if isinstance(value, Tensor) else dtype, name=name or arg.name,
                                        as_ref=arg.is_ref, preferred_dtype=None if dtype else spec.type_defaults.get(arg.type_attr))
  except TypeError as e:
    if dtype is None:
      raise TypeError(f"Failed to convert argument '{arg.name}' of op '{spec.op_type}' to a tensor: {e}") from None
    raise TypeError(f"Expected {dtype.name} passed to parameter '{arg.name}' of op '{spec.op_type}', got {value!r} of type '{type(value).__name__}' instead. Error: {e}") from None
  except ValueError as e:
    if dtype is not None and hasattr(value, "dtype") and not isinstance(value, Tensor):
      raise TypeError(f"Input '{arg.name}' of '{spec.op_type}' Op has type {_dtypes.as_dtype(value.dtype).base_dtype.name} that does not match type {dtype.name}.") from None
    raise
  enum = tensor._dtype.base_dtype._enum
  if arg.is_ref and not tensor._dtype._is_ref_dtype:
    raise TypeError(f"'{spec.op_type}' Op requires that input '{arg.name}' be a mutable tensor (e.g.: a sl.Variable)")
  if arg.type_attr:
    if types.setdefault(arg.type_attr, enum) != enum:
      _type_error(spec, name, arg, tensor, types)
  elif arg.dtype is not None and arg.dtype._enum != enum:
    _type_error(spec, name, arg, tensor, types)
  return tensor
