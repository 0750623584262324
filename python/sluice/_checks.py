"""Assertions on tensors: decided now when the values are known, else operations that check while the graph runs."""

import numpy as np

from sluice import _array
from sluice import _control
from sluice import _dtypes
from sluice import _math
from sluice import raw_ops
from sluice._convert import constant_value, convert_to_tensor
from sluice._dtypes import as_dtype
from sluice._graph import SparseTensor, Tensor, name_scope
from sluice._shapes import TensorShape


def _fail(message, tensors):
  from sluice import errors
  raise errors.InvalidArgumentError(None, None, "\n".join([message] + [f"{t.name}: {constant_value(t)}" for t in tensors]))


def _compare(op_type, static, text, default_name):
  def check(x, y, data=None, summarize=None, message=None, name=None):
    with name_scope(name, default_name, [x, y, data]):
      x = convert_to_tensor(x, name="x")
      y = convert_to_tensor(y, name="y", dtype=None if isinstance(y, Tensor) else x.dtype.base_dtype)
      x_value, y_value = constant_value(x), constant_value(y)
      text_now = f"{message or ''}\nCondition x {text} y did not hold."
      if x_value is not None and y_value is not None and not np.all(static(x_value, y_value)):
        _fail(text_now, (x, y))
      condition = _math.reduce_all(getattr(raw_ops, op_type)(x, y))
      if data is None:
        data = [message or "", f"Condition x {text} y did not hold element-wise:", f"x ({x.name}) = ", x, f"y ({y.name}) = ", y]
      return _control.Assert(condition, data, summarize=summarize)
  check.__doc__ = f"An operation that fails unless x {text} y everywhere."
  return check


assert_equal = _compare("Equal", np.equal, "==", "assert_equal")
assert_none_equal = _compare("NotEqual", np.not_equal, "!=", "assert_none_equal")
assert_less = _compare("Less", np.less, "<", "assert_less")
assert_less_equal = _compare("LessEqual", np.less_equal, "<=", "assert_less_equal")
assert_greater = _compare("Greater", np.greater, ">", "assert_greater")
assert_greater_equal = _compare("GreaterEqual", np.greater_equal, ">=", "assert_greater_equal")


def _against_zero(check, default_name, flipped=False):
  def fn(x, data=None, summarize=None, message=None, name=None):
    with name_scope(name, default_name, [x, data]):
      x = convert_to_tensor(x, name="x")
      zero = convert_to_tensor(0, dtype=x.dtype.base_dtype)
      return check(zero, x, data=data, summarize=summarize, message=message) if flipped else check(x, zero, data=data, summarize=summarize, message=message)
  return fn


assert_positive = _against_zero(assert_less, "assert_positive", flipped=True)
assert_negative = _against_zero(assert_less, "assert_negative")
assert_non_negative = _against_zero(assert_less_equal, "assert_non_negative", flipped=True)
assert_non_positive = _against_zero(assert_less_equal, "assert_non_positive")


def assert_near(x, y, rtol=None, atol=None, data=None, summarize=None, message=None, name=None):
  """An operation that fails unless |x - y| <= atol + rtol * |y| everywhere."""
  with name_scope(name, "assert_near", [x, y]):
    x = convert_to_tensor(x, name="x")
    y = convert_to_tensor(y, name="y", dtype=x.dtype.base_dtype)
    eps = np.finfo(x.dtype.as_numpy_dtype).eps
    rtol = convert_to_tensor(10 * eps if rtol is None else rtol, dtype=x.dtype.base_dtype)
    atol = convert_to_tensor(10 * eps if atol is None else atol, dtype=x.dtype.base_dtype)
    condition = _math.reduce_all(raw_ops.LessEqual(_math.abs(x - y), atol + rtol * _math.abs(y)))
    return _control.Assert(condition, data or [message or "", f"x and y not equal to tolerance: x ({x.name}) = ", x, f"y ({y.name}) = ", y], summarize=summarize)


def _rank_check(accepts, text, default_name):
  def check(x, rank, data=None, summarize=None, message=None, name=None):
    with name_scope(name, default_name, [x]):
      x = convert_to_tensor(x, name="x")
      found = x._rank()
      wanted = [int(constant_value(r)) if isinstance(r, Tensor) and constant_value(r) is not None else r for r in (rank if isinstance(rank, (list, tuple)) else [rank])]
      if found is not None and not any(isinstance(r, Tensor) for r in wanted):
        if not accepts(found, [int(r) for r in wanted]):
          raise ValueError(f"{message or ''} Tensor {x.name} must have rank {text}{wanted[0] if len(wanted) == 1 else tuple(wanted)}.  Received rank {found}, shape {x.shape}")
        return _control.no_op(name="static_checks_determined_all_ok")
      dynamic = raw_ops.Rank(x)
      tests = [raw_ops.GreaterEqual(dynamic, convert_to_tensor(r, dtype=_dtypes.int32)) if "least" in text else raw_ops.Equal(dynamic, convert_to_tensor(r, dtype=_dtypes.int32)) for r in wanted]
      return _control.Assert(_math.reduce_any(_array.stack(tests)), data or [message or "", f"Tensor {x.name} must have rank", dynamic], summarize=summarize)
  return check


assert_rank = _rank_check(lambda found, wanted: found == wanted[0], "", "assert_rank")
assert_rank_at_least = _rank_check(lambda found, wanted: found >= wanted[0], "at least ", "assert_rank_at_least")
_assert_rank_in = _rank_check(lambda found, wanted: found in wanted, "in ", "assert_rank_in")


def assert_rank_in(x, ranks, data=None, summarize=None, message=None, name=None):
  """An operation that fails unless the rank of x is one of `ranks`."""
  return _assert_rank_in(x, list(ranks), data=data, summarize=summarize, message=message, name=name)


def assert_integer(x, message=None, name=None):
  """TypeError unless x is of an integer type."""
  with name_scope(name, "assert_integer", [x]):
    x = convert_to_tensor(x, name="x")
    if not x.dtype.is_integer:
      raise TypeError(f"{message or ''}  Expected \"x\" to be integer type.  Found: {x.dtype} of tensor {x.name}")
    return _control.no_op("statically_determined_was_integer")


def assert_type(tensor, tf_type, message=None, name=None):
  """TypeError unless the tensor is of the type."""
  tf_type = as_dtype(tf_type)
  with name_scope(name, "assert_type", [tensor]):
    if not isinstance(tensor, SparseTensor):
      tensor = convert_to_tensor(tensor, name="tensor")
    if tensor.dtype.base_dtype != tf_type.base_dtype:
      raise TypeError(f"{message or ''}  {tensor} must be of type {tf_type.name!r}; got {tensor.dtype.name!r}")
    return _control.no_op("statically_determined_correct_type")


def assert_scalar(tensor, name=None, message=None):
  """`tensor`; ValueError unless its rank is 0."""
  with name_scope(name, "assert_scalar", [tensor]) as scope:
    tensor = convert_to_tensor(tensor, name=scope)
    if tensor._rank() != 0:
      raise ValueError(f"{message or ''}Expected scalar shape for {tensor.name}, saw shape: {tensor.shape}.")
    return tensor


def assert_proper_iterable(values):
  """TypeError unless `values` is iterable and no tensor, array or string."""
  if isinstance(values, (Tensor, SparseTensor, np.ndarray, str, bytes)) or not hasattr(values, "__iter__"):
    raise TypeError(f"Expected argument \"values\" to be iterable.  Found: {type(values)}")


def assert_same_float_dtype(tensors=None, dtype=None):
  """The common floating-point type; ValueError when they differ."""
  for t in tensors or ():
    if t is None:
      continue
    if dtype is None:
      dtype = t.dtype.base_dtype
    elif t.dtype.base_dtype != as_dtype(dtype).base_dtype:
      raise ValueError(f"Tensor type mismatch: {t} has type {t.dtype.name}, wanted {as_dtype(dtype).name}")
  dtype = _dtypes.float32 if dtype is None else as_dtype(dtype)
  if not dtype.is_floating:
    raise ValueError(f"Expected floating point type, got {dtype}.")
  return dtype


def is_numeric_tensor(tensor):
  return isinstance(tensor, Tensor) and (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_complex)


def _differences(x):
  x = _array.reshape(x, [-1])
  return x[1:] - x[:-1]


def is_non_decreasing(x, name=None):
  """A boolean tensor: no element is smaller than the one before."""
  with name_scope(name, "is_non_decreasing", [x]):
    diff = _differences(convert_to_tensor(x, name="x"))
    return _math.reduce_all(raw_ops.GreaterEqual(diff, convert_to_tensor(0, dtype=diff.dtype)))


def is_strictly_increasing(x, name=None):
  """A boolean tensor: each element is larger than the one before."""
  with name_scope(name, "is_strictly_increasing", [x]):
    diff = _differences(convert_to_tensor(x, name="x"))
    return _math.reduce_all(raw_ops.Greater(diff, convert_to_tensor(0, dtype=diff.dtype)))


def verify_tensor_all_finite(t=None, msg=None, name=None, x=None, message=None):
  """x, checked to be finite when the graph runs."""
  x = convert_to_tensor(t if x is None else x, name="x")
  with name_scope(name, "VerifyFinite", [x]):
    check = raw_ops.CheckNumerics(x, message=msg or message or "")
    return _control.with_dependencies([check], x)


def ensure_shape(x, shape, name=None):
  """x, checked to be of the shape when the graph runs; its static shape says so."""
  if not isinstance(shape, TensorShape):
    shape = TensorShape(shape)
  return raw_ops.EnsureShape(x, shape, name=name)
