"""Python and NumPy values to tensors and back: `convert_to_tensor`, `constant`, `make_tensor_proto`, `constant_value`."""

import numbers

import numpy as np

from sluice import _dtypes
from sluice._dtypes import as_dtype
from sluice._graph import (Graph, IndexedSlices, Operation, SparseTensor, Tensor, get_default_graph, name_scope)
from sluice._shapes import Dimension, TensorShape

_conversions = []  # (priority, types, function), in order of priority and registration.
_conversion_cache = {}


def register_tensor_conversion_function(base_type, conversion_func, priority=100):
  """Teaches `convert_to_tensor` a type: fn(value, dtype=None, name=None, as_ref=False) gives a Tensor or NotImplemented."""
  if not callable(conversion_func):
    raise TypeError("conversion_func must be callable.")
  types = base_type if isinstance(base_type, tuple) else (base_type,)
  if not all(isinstance(t, type) for t in types):
    raise TypeError("base_type must be a type or a tuple of types.")
  _conversions.append((priority, types, conversion_func))
  _conversions.sort(key=lambda c: c[0])
  _conversion_cache.clear()


def _functions_for(cls):
  found = _conversion_cache.get(cls)
  if found is None:
    found = _conversion_cache[cls] = [f for _, types, f in _conversions if issubclass(cls, types)]
  return found


def convert_to_tensor(value, dtype=None, name=None, preferred_dtype=None, dtype_hint=None, as_ref=False):
  """A Tensor for a Python or NumPy value, variable or tensor.

  `dtype` is required of the result; `preferred_dtype` (or `dtype_hint`) is tried first when `dtype` is None.
  """
  if dtype is not None:
    dtype = as_dtype(dtype)
  if type(value) is Tensor:
    if dtype is not None and dtype._enum % 100 != value._dtype._enum % 100:
      raise ValueError(f"Tensor conversion requested dtype {dtype.name} for Tensor with dtype {value._dtype.name}: {str(value)!r}")
    return value
  preferred = dtype_hint if preferred_dtype is None else preferred_dtype
  for function in _functions_for(type(value)):
    result = NotImplemented
    if dtype is None and preferred is not None:
      try:
        result = function(value, dtype=as_dtype(preferred), name=name, as_ref=as_ref)
      except (TypeError, ValueError):
        result = NotImplemented
      if result is not NotImplemented and result._dtype.base_dtype != as_dtype(preferred).base_dtype:
        raise TypeError(f"convert_to_tensor did not convert to the preferred dtype: {result._dtype.name} vs {as_dtype(preferred).name}")
    if result is NotImplemented:
      result = function(value, dtype=dtype, name=name, as_ref=as_ref)
    if result is NotImplemented:
      continue
    if not isinstance(result, Tensor):
      raise RuntimeError(f"Conversion function {function!r} for type {type(value)} returned non-Tensor: {result!r}")
    if dtype is not None and not dtype.is_compatible_with(result._dtype) and dtype.base_dtype != result._dtype.base_dtype:
      raise RuntimeError(f"Conversion function {function!r} for type {type(value)} returned incompatible dtype: requested = {dtype.name}, actual = {result._dtype.name}")
    return result
  raise TypeError(f"Cannot convert {value!r} with type {type(value)} to Tensor: no conversion function registered.")


def convert_n_to_tensor(values, dtype=None, name=None, preferred_dtype=None, as_ref=False):
  return [convert_to_tensor(v, dtype, None if name is None else f"{name}_{i}", preferred_dtype, as_ref=as_ref)
          for i, v in enumerate(values)]


def convert_to_tensor_or_indexed_slices(value, dtype=None, name=None, as_ref=False):
  if isinstance(value, IndexedSlices):
    if dtype is not None and not as_dtype(dtype).is_compatible_with(value.dtype):
      raise ValueError(f"Tensor conversion requested dtype {as_dtype(dtype).name} for Tensor with dtype {value.dtype.name}: {str(value)!r}")
    return value
  return convert_to_tensor(value, dtype=dtype, name=name, as_ref=as_ref)


def convert_to_tensor_or_sparse_tensor(value, dtype=None, name=None):
  from sluice._graph import SparseTensorValue
  if isinstance(value, SparseTensorValue):
    value = SparseTensor.from_value(value)
  if isinstance(value, SparseTensor):
    if dtype is not None and not as_dtype(dtype).is_compatible_with(value.dtype):
      raise RuntimeError(f"Sparse dtype: requested = {as_dtype(dtype).name}, actual = {value.dtype.name}")
    return value
  return convert_to_tensor(value, dtype=dtype, name=name)


# --- arrays -----------------------------------------------------------------------------------------------------------

_ACCEPTS = {"i": "iub", "u": "iub", "f": "fiub", "c": "cfiub", "b": "b", "O": "SUO"}


def to_array(value, dtype=None, shape=None):
  """The NumPy array of a value, of TensorFlow's default types: float32 for floats, int32 for ints that fit.

  TypeError when `dtype` is given and cannot hold the values; strings become objects (bytes).
  """
  given_array = isinstance(value, (np.ndarray, np.generic))
  if dtype is not None:
    dtype = as_dtype(dtype).base_dtype
    if dtype in (_dtypes.resource, _dtypes.variant):
      raise TypeError(f"a constant cannot be of type {dtype.name}")
  if value is None:
    raise ValueError("None values not supported.")
  if isinstance(value, Dimension):
    value = value.value
  elif isinstance(value, TensorShape):
    value = value.as_list()
  if given_array:
    array = np.asarray(value)
  else:
    value = _plain(value)
    try:
      array = np.array(value)
    except OverflowError:
      array = np.array(value, dtype=np.object_)
    except (ValueError, TypeError):
      try:
        array = np.array(value, dtype=np.object_)  # str and bytes together.
      except ValueError:
        array = None
    if array is None or array.dtype == object and array.ndim and any(isinstance(v, (list, tuple)) for v in array.flat):
      raise ValueError(f"cannot make a tensor from nested lists of uneven lengths: {_shorten(value)}")
    if array.dtype.kind == "U" or array.dtype.kind == "S":
      _check_all_strings(value)
      array = np.array(value, dtype=object)  # NumPy's own string types drop trailing zero bytes.
  kind = array.dtype.kind
  if dtype is None:
    if given_array:
      wanted = as_dtype(array.dtype)
    elif kind == "f":
      wanted = _dtypes.float32
    elif array.size == 0 and kind == "f":
      wanted = _dtypes.float32
    elif kind == "i":
      wanted = _dtypes.int32 if array.size == 0 or (array.min() >= -2**31 and array.max() < 2**31) else _dtypes.int64
    else:
      wanted = as_dtype(array.dtype) if kind != "O" else _dtypes.string
    dtype = wanted
  elif not given_array and array.size:
    need = "f" if dtype is _dtypes.bfloat16 else "i" if dtype.is_quantized else np.dtype(dtype.as_numpy_dtype).kind
    if kind not in _ACCEPTS.get(need, "") and not (kind == "O" and need in "iufc" and all(isinstance(v, numbers.Number) for v in array.flat)):
      bad = array.flat[0]
      bad = bad.item() if isinstance(bad, np.generic) else bad
      raise TypeError(f"Expected {dtype.name}, got {bad!r} of type '{type(bad).__name__}' instead.")
  if dtype is _dtypes.string:
    out = np.empty(array.shape, dtype=object)
    flat = out.reshape(-1)
    for i, v in enumerate(array.reshape(-1)):
      if isinstance(v, str):
        v = v.encode()
      elif not isinstance(v, bytes):
        raise TypeError(f"Expected string, got {v!r} of type '{type(v).__name__}' instead.")
      flat[i] = v
    return out
  if dtype is _dtypes.bfloat16:
    if array.dtype.name == "bfloat16":
      return array
    return array.astype(_dtypes.bfloat16.as_numpy_dtype)
  numpy_type = np.dtype(dtype.as_numpy_dtype)
  if array.dtype == numpy_type and array.dtype.isnative:
    return array
  if numpy_type.names:
    return array.astype(numpy_type[0]).view(numpy_type) if not array.dtype.names else array
  if not given_array and numpy_type.kind in "iu" and array.size:
    info = np.iinfo(numpy_type)
    low, high = array.min(), array.max()
    if low < info.min or high > info.max:
      raise TypeError(f"Expected {dtype.name}, got {int(low if low < info.min else high)}, which does not fit.")
  return array.astype(numpy_type)


def _plain(value):
  """Nested lists with Dimensions, and other objects that NumPy cannot read, made plain."""
  if isinstance(value, Dimension):
    return value.value
  if isinstance(value, TensorShape):
    return value.as_list()
  if type(value) in (list, tuple):
    for v in value:
      if type(v) in (list, tuple, Dimension, TensorShape):
        return [_plain(v) for v in value]
  return value


def _check_all_strings(value):
  if isinstance(value, (list, tuple)):
    for v in value:
      _check_all_strings(v)
  elif not isinstance(value, (str, bytes, np.ndarray)):
    raise TypeError(f"Expected string, got {value!r} of type '{type(value).__name__}' instead.")


def _shorten(value):
  text = repr(value)
  return text if len(text) < 80 else text[:77] + "..."


def native_tensor(array, dtype=None):
  """The form in which the native module takes a tensor: (type enum, shape, array or list of bytes)."""
  if array.dtype == object:
    return 7, array.shape, [v if type(v) is bytes else str(v).encode() for v in array.reshape(-1)]
  dtype = dtype or as_dtype(array.dtype)
  if dtype is _dtypes.bfloat16:
    return 14, array.shape, _to_bfloat16_bits(array)
  if array.dtype.names:
    array = array.view(array.dtype[0])
  if not array.flags.c_contiguous or not array.dtype.isnative:
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)
  return dtype._enum, array.shape, array


def _to_bfloat16_bits(array):
  if array.dtype.name == "bfloat16":
    return np.ascontiguousarray(array).view(np.uint16).reshape(array.shape)
  bits = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape).view(np.uint32)
  rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
  quiet = (bits >> 16) | 0x40
  return np.where((bits & 0x7FFFFFFF) > 0x7F800000, quiet, rounded).astype(np.uint16)


def constant(value, dtype=None, shape=None, name="Const", verify_shape=False):
  """A tensor of a fixed value. `shape` reshapes it, repeating its last element when there are too few."""
  graph = get_default_graph()
  if name is None:
    name = "Const"
  native = _constant_of_numbers(value, dtype, shape) if not verify_shape else None
  if native is None:
    array, dtype = _constant_array(value, dtype, shape, verify_shape)
    native = native_tensor(array, dtype)
  if name[-1:] == "/":
    name = name[:-1]
  else:
    from sluice._op import _check_name
    _check_name(name, graph)
    name = graph.unique_name(name)
  return graph._create("Const", name, [], {"value": native, "dtype": native[0]}, ())._outputs[0]


_NUMBER_TYPES = {float: (1, 2), int: (1, 2, 3, 9)}  # whose tensors hold any small Python number of a type as it is


_INTS = {int}


def _constant_of_numbers(value, dtype, shape):
  """A constant of one Python number, or a list of ints, in the form for the native module; None where it takes more."""
  cls = type(value)
  if (cls is list or cls is tuple) and shape is None and value and set(map(type, value)) == _INTS and -2**31 <= min(value) and max(value) < 2**31:
    enum = 3 if dtype is None else as_dtype(dtype).base_dtype._enum
    return (enum, (len(value),), np.array(value, np.int32 if enum == 3 else np.int64)) if enum in (3, 9) else None
  if cls not in _NUMBER_TYPES or cls is int and not -2**31 <= value < 2**31:
    return None
  enum = as_dtype(dtype).base_dtype._enum if dtype is not None else 1 if cls is float else 3
  if enum not in _NUMBER_TYPES[cls]:
    return None
  sizes = () if shape is None else TensorShape(shape)._sizes
  size = 1
  for s in (0,) if sizes is None else sizes:
    size *= s or 0
  return (enum, sizes, value) if 0 < size < 1 << 24 else None


def _constant_array(value, dtype, shape, verify_shape):
  if hasattr(value, "tensor_shape") and hasattr(value, "dtype") and hasattr(value, "SerializeToString"):
    value = make_ndarray(value)
  array = to_array(value, dtype)
  dtype = as_dtype(dtype).base_dtype if dtype is not None else as_dtype(array.dtype)
  if shape is not None:
    sizes = TensorShape(shape).as_list()
    if None in sizes:
      raise TypeError(f"the shape of a constant must be known, found {shape}")
    if list(array.shape) != sizes:
      wanted = int(np.prod(sizes, dtype=np.int64))
      if verify_shape:
        raise TypeError(f"Expected Tensor's shape: {tuple(sizes)}, got {array.shape}.")
      if array.size > wanted:
        raise ValueError(f"Too many elements provided. Needed at most {wanted}, but received {array.size}")
      if array.size == wanted:
        array = array.reshape(sizes)
      else:
        if array.size == 0:
          raise ValueError(f"a constant of shape {sizes} needs at least one value")
        out = np.full(wanted, array.reshape(-1)[-1], dtype=array.dtype)
        out[:array.size] = array.reshape(-1)
        array = out.reshape(sizes)
  return array, dtype


def _constant_conversion(value, dtype=None, name=None, as_ref=False):
  return constant(value, dtype, name=name or "Const")


def _sequence_conversion(value, dtype=None, name=None, as_ref=False):
  if _holds_tensor(value):
    inferred = dtype or _dtype_within(value)
    return _pack(value, inferred, name or "packed")
  return constant(value, dtype, name=name or "Const")


def _is_tensor_like(value):
  return isinstance(value, Tensor) or hasattr(value, "_dense_var_to_tensor")


def _holds_tensor(value):
  return any(_is_tensor_like(v) or isinstance(v, (list, tuple)) and _holds_tensor(v) for v in value)


def _dtype_within(value):
  for v in value:
    found = v.dtype.base_dtype if _is_tensor_like(v) else _dtype_within(v) if isinstance(v, (list, tuple)) else None
    if found is not None:
      return found
  return None


def _pack(value, dtype, name):
  from sluice import _op
  with name_scope(name) as scope:
    parts = []
    for i, v in enumerate(value):
      if _is_tensor_like(v):
        if dtype is not None and v.dtype.base_dtype != dtype:
          raise TypeError(f"Cannot convert a list containing a tensor of dtype {v.dtype.base_dtype.name} to {dtype.name} (Tensor is: {v!r})")
        parts.append(convert_to_tensor(v))
      elif isinstance(v, (list, tuple)) and _holds_tensor(v):
        parts.append(_pack(v, dtype, str(i)))
      else:
        parts.append(constant(v, dtype, name=str(i)))
    return _op.call("Pack", scope, (parts,), (0,))


def _shape_conversion(value, dtype=None, name=None, as_ref=False):
  if not value.is_fully_defined():
    raise ValueError(f"Cannot convert a partially known TensorShape to a Tensor: {value}")
  sizes = value.as_list()
  if dtype is not None:
    if dtype not in (_dtypes.int32, _dtypes.int64):
      raise TypeError(f"Cannot convert a TensorShape to dtype: {dtype.name}")
  else:
    dtype = _dtypes.int64 if any(s >= 2**31 for s in sizes) else _dtypes.int32
  return constant(sizes, dtype=dtype, name=name or "shape_as_tensor")


def _dimension_conversion(value, dtype=None, name=None, as_ref=False):
  if value.value is None:
    raise ValueError(f"Cannot convert an unknown Dimension to a Tensor: {value}")
  return constant(value.value, dtype=dtype or _dtypes.int32, name=name or "shape_as_tensor")


def _slices_conversion(value, dtype=None, name=None, as_ref=False):
  from sluice import _op
  if dtype is not None and not dtype.is_compatible_with(value.dtype):
    raise ValueError(f"Tensor conversion requested dtype {dtype.name} for IndexedSlices with dtype {value.dtype.name}")
  if value.dense_shape is None:
    raise ValueError(f"Tensor conversion requested for IndexedSlices without dense_shape: {value}")
  return _op.call("UnsortedSegmentSum", name, (value.values, value.indices, value.dense_shape[0]))


def _refuse(value, dtype=None, name=None, as_ref=False):
  raise TypeError(f"Can't convert {type(value).__name__} to Tensor: {value!r}")


register_tensor_conversion_function((list, tuple), _sequence_conversion, 100)
register_tensor_conversion_function(TensorShape, _shape_conversion, 100)
register_tensor_conversion_function(Dimension, _dimension_conversion, 100)
register_tensor_conversion_function(IndexedSlices, _slices_conversion, 100)
register_tensor_conversion_function((Operation, Graph, SparseTensor), _refuse, 100)
register_tensor_conversion_function((np.ndarray, np.generic, object), _constant_conversion, 200)


# --- protos -----------------------------------------------------------------------------------------------------------


def make_tensor_proto(values, dtype=None, shape=None, verify_shape=False):
  """A TensorProto message of a value."""
  from sluice.protos import tensor_pb2
  if isinstance(values, tensor_pb2.TensorProto):
    return values
  array, dtype = _constant_array(values, dtype, shape, verify_shape)
  proto = tensor_pb2.TensorProto(dtype=dtype._enum, tensor_shape=TensorShape(array.shape).as_proto())
  if dtype is _dtypes.string:
    proto.string_val.extend(array.reshape(-1).tolist())
  else:
    _, _, bits = native_tensor(array, dtype)
    if array.size == 1 and dtype in (_dtypes.float32, _dtypes.float64, _dtypes.int32, _dtypes.int64, _dtypes.bool_):
      field = {_dtypes.float32: "float_val", _dtypes.float64: "double_val", _dtypes.int32: "int_val", _dtypes.int64: "int64_val",
               _dtypes.bool_: "bool_val"}[dtype]
      getattr(proto, field).append(array.reshape(-1)[0].item())
    else:
      proto.tensor_content = bits.tobytes()
  return proto


def make_ndarray(tensor):
  """The NumPy array of a TensorProto message."""
  shape = [d.size for d in tensor.tensor_shape.dim]
  n = int(np.prod(shape, dtype=np.int64))
  dtype = as_dtype(tensor.dtype)
  if dtype is _dtypes.bfloat16:
    if tensor.tensor_content:
      bits = np.frombuffer(tensor.tensor_content, dtype=np.uint16)
    else:
      bits = _filled(np.array(tensor.half_val, dtype=np.uint16), n)
    floats = (bits.astype(np.uint32) << 16).view(np.float32)
    return floats.astype(dtype.as_numpy_dtype).reshape(shape)
  if tensor.tensor_content:
    return np.frombuffer(tensor.tensor_content, dtype=dtype.as_numpy_dtype).copy().reshape(shape)
  if dtype is _dtypes.string:
    values = list(tensor.string_val)
    if 0 < len(values) < n:
      values += [values[-1]] * (n - len(values))
    elif not values:
      values = [b""] * n
    out = np.empty(n, dtype=object)
    for i, v in enumerate(values):
      out[i] = v
    return out.reshape(shape)
  if dtype is _dtypes.float16:
    return _filled(np.array(tensor.half_val, dtype=np.uint16).view(np.float16), n).reshape(shape)
  if dtype.is_complex:
    field = tensor.scomplex_val if dtype is _dtypes.complex64 else tensor.dcomplex_val
    pairs = np.array(field, dtype=np.float32 if dtype is _dtypes.complex64 else np.float64)
    return _filled(pairs.view(dtype.as_numpy_dtype), n).reshape(shape)
  field = {"float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val",
           "uint32": "uint32_val", "uint64": "uint64_val"}.get(dtype.name, "int_val")
  numpy_type = np.dtype(dtype.as_numpy_dtype)
  values = np.array(getattr(tensor, field), dtype=numpy_type[0] if numpy_type.names else numpy_type)
  return _filled(values, n).view(numpy_type).reshape(shape)


def _filled(values, n):
  """TensorProto's shorthand: missing values repeat the last one, none at all are zeros."""
  if values.size >= n:
    return values[:n]
  out = np.zeros(n, dtype=values.dtype)
  if values.size:
    out[:values.size] = values
    out[values.size:] = values[-1]
  return out


# --- values known while the graph is built ----------------------------------------------------------------------------


def constant_value(tensor, partial=False):
  """The NumPy value of a tensor that is a constant, or follows from constants and static shapes; else None."""
  if not isinstance(tensor, Tensor):
    tensor = getattr(tensor, "_constant_source", None) or tensor
    if not isinstance(tensor, Tensor):
      return tensor if isinstance(tensor, (np.ndarray, np.generic)) else None
  op = tensor.op
  rule = _VALUE_RULES.get(op.type)
  return None if rule is None else rule(op, tensor)


def _value_const(op, tensor):
  return array_from_native(*tensor.graph._native.get_attr(op._id, "value")[1])


def array_from_native(enum, shape, data):
  """The array of a tensor that the native module hands out as (enum, shape, bytes or list)."""
  if enum == 7:
    out = np.empty(len(data), dtype=object)
    for i, v in enumerate(data):
      out[i] = v
    return out.reshape(shape)
  if enum == 14:
    bits = np.frombuffer(data, dtype=np.uint16)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(_dtypes.bfloat16.as_numpy_dtype).reshape(shape)
  return np.frombuffer(data, dtype=as_dtype(enum).as_numpy_dtype).reshape(shape)


def _value_shape(op, tensor):
  shape = op.inputs[0].shape
  return np.array(shape.as_list(), dtype=tensor.dtype.as_numpy_dtype) if shape.is_fully_defined() else None


def _value_size(op, tensor):
  n = op.inputs[0].shape.num_elements()
  return None if n is None else np.array(n, dtype=tensor.dtype.as_numpy_dtype)


def _value_rank(op, tensor):
  rank = op.inputs[0].shape.rank
  return None if rank is None else np.array(rank, dtype=np.int32)


def _from_inputs(fn):
  def rule(op, tensor):
    values = [constant_value(t) for t in op.inputs]
    return None if any(v is None for v in values) else fn(op, tensor, values)
  return rule


_VALUE_RULES = {
    "Const": _value_const,
    "Shape": _value_shape,
    "Size": _value_size,
    "Rank": _value_rank,
    "Range": _from_inputs(lambda op, t, v: np.arange(*v, dtype=t.dtype.as_numpy_dtype)),
    "Cast": _from_inputs(lambda op, t, v: v[0].astype(t.dtype.as_numpy_dtype)),
    "Concat": _from_inputs(lambda op, t, v: np.concatenate(v[1:], axis=int(v[0]))),
    "ConcatV2": _from_inputs(lambda op, t, v: np.concatenate(v[:-1], axis=int(v[-1]))),
    "Pack": _from_inputs(lambda op, t, v: np.stack(v, axis=op.get_attr("axis"))),
    "Fill": _from_inputs(lambda op, t, v: np.full(v[0], v[1], dtype=v[1].dtype)),
    "Equal": _from_inputs(lambda op, t, v: np.equal(v[0], v[1])),
    "NotEqual": _from_inputs(lambda op, t, v: np.not_equal(v[0], v[1])),
}


def constant_value_as_shape(tensor):
  """The TensorShape that a 1-D integer tensor stands for, as far as it can be known now."""
  if not isinstance(tensor, Tensor):
    return TensorShape(np.asarray(tensor).tolist())
  sizes = tensor._shape_tuple()
  if sizes == ():
    value = constant_value(tensor)
    if value is None or value != -1:
      raise ValueError(f"Received a scalar with unknown value as shape; require a statically known scalar with value '-1', found {value}.")
    return TensorShape(None)
  op = tensor.op
  if op.type == "Shape":
    return op.inputs[0].shape
  if op.type == "Cast":
    return constant_value_as_shape(op.inputs[0])
  if op.type == "Pack":
    parts = []
    for t in op.inputs:
      v = constant_value(t)
      parts.append(None if v is None or v < 0 else int(v))
    return TensorShape(parts)
  if op.type == "ConcatV2":
    parts = TensorShape([])
    for t in op.inputs[:-1]:
      parts = parts.concatenate(constant_value_as_shape(t))
    return parts
  value = constant_value(tensor)
  if value is not None:
    return TensorShape([None if s < 0 else int(s) for s in value])
  if op.type == "StridedSlice" and op.inputs[0].op.type == "Shape":
    begin, end, strides = (constant_value(t) for t in op.inputs[1:4])
    if begin is not None and end is not None and strides is not None and begin.size == 1 and not op.get_attr("shrink_axis_mask"):
      prior = op.inputs[0].op.inputs[0].shape
      b = None if op.get_attr("begin_mask") & 1 else int(begin[0])
      e = None if op.get_attr("end_mask") & 1 else int(end[0])
      if prior.rank is not None:
        return TensorShape(prior.as_list()[slice(b, e, int(strides[0]))])
  return TensorShape([None] * sizes[0]) if sizes and sizes[0] is not None else TensorShape(None)
