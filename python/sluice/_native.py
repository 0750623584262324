"""Loads the native module and gives it what it needs of Python: error classes, NumPy's types, conversions."""

import os
import re
import sys
import threading

import numpy as np

from sluice import _dtypes
from sluice import errors

# What the library asks of others is looked up when it is first called: a program without a cluster needs little of gRPC.
_flags = sys.getdlopenflags()
sys.setdlopenflags(os.RTLD_LAZY)
try:
  from sluice.native import _sluice
finally:
  sys.setdlopenflags(_flags)

_host_functions = None  # token -> function, set by _script_ops when first used

_NODE = re.compile(r"^[A-Z_]\w* '([^']+)'")


def _make_error(code, message):
  """The exception for a status; `op` is the node that the message names, looked up when asked for."""
  found = _NODE.match(message)
  error = errors.make(code, message)
  if found:
    error._node_name = found.group(1)
  return error


def _convert_feed(enum, value, name):
  """A fed value as (type enum, shape, data); TypeError and ValueError say what does not fit."""
  from sluice import _convert
  from sluice._graph import Operation, Tensor
  dtype = _dtypes._BY_ENUM[enum]
  if isinstance(value, (Tensor, Operation)) or hasattr(value, "_dense_var_to_tensor"):
    raise TypeError("The value of a feed cannot be a sl.Tensor object. Acceptable feed values include Python scalars, strings, "
                    f"lists, or numpy ndarrays. For reference, the tensor object was {value!r} which was passed to the feed with key {name}.")
  if enum == 7:
    array = np.asarray(value, dtype=object)
    if array.dtype.kind in "SU":
      array = array.astype(object)
    return 7, array.shape, [v if type(v) is bytes else v.encode() if isinstance(v, str) else bytes(v) if isinstance(v, (bytearray, np.bytes_)) else str(v).encode()
                            for v in array.reshape(-1)]
  numpy_type = np.dtype(dtype.as_numpy_dtype)
  if type(value) is int and dtype.is_integer:
    info = np.iinfo(numpy_type)
    if not info.min <= value <= info.max:
      raise TypeError(f"Type of feed value {value} with type {type(value)} is not compatible with Tensor type {dtype.name}. "
                      "Try explicitly setting the type of the feed tensor to a larger type (e.g. int64).")
  try:
    if dtype is _dtypes.bfloat16 and getattr(value, "dtype", None) is not None and value.dtype.name == "bfloat16":
      array = value
    elif dtype is _dtypes.bfloat16:
      array = np.asarray(value, dtype=np.float32)
    else:
      array = np.asarray(value, dtype=numpy_type)
  except (TypeError, ValueError) as e:
    raise type(e)(f"Cannot feed {value!r} for Tensor '{name}' of type {dtype.name}: {e}") from None
  return _convert.native_tensor(array, dtype)


def _make_array(enum, shape, data):
  """A fetched tensor of a type for which the native module has no quick way."""
  if enum == 7:
    if not shape:
      return data[0]
    array = np.empty(len(data), dtype=object)
    array[:] = data
    return array.reshape(shape)
  from sluice import _convert
  array = _convert.array_from_native(enum, shape, data)
  if enum == 14:
    return array if shape else array[()]
  return array.copy() if array.flags.owndata is False and array.size == 0 else array


def _call_host(token, arrays):
  """Runs the function of a py_func node: a list of tensors, or (code, message)."""
  if _host_functions is None:
    return errors.INTERNAL, f"no Python function is known as {token}"
  return _host_functions(token, arrays)


def _numpy_types():
  types = {}
  for enum in range(1, 24):
    dtype = _dtypes._BY_ENUM[enum]
    if enum in (7, 14, 20, 21):
      continue
    numpy_type = np.dtype(dtype.as_numpy_dtype)
    types[enum] = (None if numpy_type.names else numpy_type.type, numpy_type)
  return types


_sluice.setup(_make_error, _convert_feed, _make_array, _call_host, np.ndarray, _numpy_types(), threading.main_thread().ident,
              np.zeros((2, 3), np.float32))
