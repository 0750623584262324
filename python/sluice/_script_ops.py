"""Python functions as operations: `py_func`, `numpy_function`, `py_function`."""

import itertools
import threading
import traceback

import numpy as np

from sluice import _convert
from sluice import _dtypes
from sluice import _native
from sluice import errors
from sluice import raw_ops
from sluice._dtypes import as_dtype
from sluice._graph import get_default_graph

_functions = {}
_lock = threading.Lock()
_count = itertools.count()


def _register(fn, dtypes):
  with _lock:
    token = f"pyfunc_{next(_count)}"
    _functions[token] = (fn, dtypes)
  return token


def _code_of(error):
  if isinstance(error, errors.OpError):
    return error.error_code
  if isinstance(error, (ValueError, TypeError)):
    return errors.INVALID_ARGUMENT
  if isinstance(error, StopIteration):
    return errors.OUT_OF_RANGE
  if isinstance(error, MemoryError):
    return errors.RESOURCE_EXHAUSTED
  if isinstance(error, NotImplementedError):
    return errors.UNIMPLEMENTED
  return errors.UNKNOWN


def _call(token, arrays):
  """What the runtime calls: the results as tensors, or (code, message)."""
  try:
    fn, dtypes = _functions[token]
  except KeyError:
    return errors.NOT_FOUND, f"{token}: this Python function is not of this process; py_func graphs cannot be loaded elsewhere"
  try:
    results = fn(*arrays)
    if not isinstance(results, (list, tuple)):
      results = [] if results is None and not dtypes else [results]
    if len(results) != len(dtypes):
      raise ValueError(f"the function of a py_func gave {len(results)} values, wanted {len(dtypes)}")
    return [_to_native(value, dtype) for value, dtype in zip(results, dtypes)]
  except Exception as e:  # pylint: disable=broad-except
    return _code_of(e), f"{type(e).__name__}: {e}\n{''.join(traceback.format_exception(type(e), e, e.__traceback__))}"


def _to_native(value, dtype):
  if dtype is _dtypes.string:
    return _convert.native_tensor(_convert.to_array(value if not isinstance(value, np.ndarray) or value.dtype != object else value.tolist(), dtype))
  array = np.asarray(value)
  if array.dtype.kind == "f" and not isinstance(value, (np.ndarray, np.generic)) and dtype.is_floating or array.dtype.kind in "iu" and not isinstance(value, (np.ndarray, np.generic)):
    array = array.astype(dtype.as_numpy_dtype)
  elif as_dtype(array.dtype) != dtype:
    raise TypeError(f"the function of a py_func gave {array.dtype}, wanted {dtype.name}")
  return _convert.native_tensor(array, dtype)


_native._host_functions = _call


def py_func(func, inp, Tout, stateful=True, name=None):  # pylint: disable=invalid-name
  """An operation that calls `func` with the values of `inp` as NumPy arrays.

  It runs in this process only, and gives the types of `Tout`; False for `stateful` lets equal calls be merged.
  """
  if not callable(func):
    raise ValueError(f"Expected func to be callable. Received func={func} of type {type(func)}.")
  listed = isinstance(Tout, (list, tuple))
  dtypes = [as_dtype(t) for t in (Tout if listed else [Tout])]
  token = _register(func, dtypes)
  graph = get_default_graph()
  if not hasattr(graph, "_py_functions"):
    graph._py_functions = []
  graph._py_functions.append(_Keep(token))
  op = raw_ops.PyFunc if stateful else raw_ops.PyFuncStateless
  result = op(list(inp), token, dtypes, name=name)
  if not dtypes:
    return result
  return result if listed else result[0]


class _Keep:
  """Forgets a function when its graph goes."""

  def __init__(self, token):
    self._token = token

  def __del__(self):
    _functions.pop(self._token, None)


def numpy_function(func, inp, Tout, stateful=True, name=None):  # pylint: disable=invalid-name
  """As py_func."""
  return py_func(func, inp, Tout, stateful=stateful, name=name)


def py_function(func, inp, Tout, name=None):  # pylint: disable=invalid-name
  """As py_func: the function gets NumPy arrays, since nothing runs eagerly here."""
  return py_func(func, inp, Tout, name=name)
