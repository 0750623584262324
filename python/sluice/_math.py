"""Arithmetic on tensors: operators, reductions, products, casts. Thin layers over `raw_ops`."""

import numpy as np

from sluice import _array
from sluice import _dtypes
from sluice import raw_ops
from sluice._convert import constant, convert_to_tensor, convert_to_tensor_or_sparse_tensor
from sluice._dtypes import as_dtype
from sluice._graph import IndexedSlices, SparseTensor, Tensor, get_default_graph, name_scope
from sluice._shapes import TensorShape

_py_range = range
_py_abs = abs


def abs(x, name=None):  # pylint: disable=redefined-builtin
  """|x|, element by element; the length of complex numbers."""
  with name_scope(name, "Abs", [x]) as name:
    x = convert_to_tensor(x, name="x")
    if x.dtype.is_complex:
      return raw_ops.ComplexAbs(x, Tout=x.dtype.real_dtype, name=name)
    return raw_ops.Abs(x, name=name)


def negative(x, name=None):
  """-x, element by element."""
  return raw_ops.Neg(x, name=name)


def add(x, y, name=None):
  """x + y, with broadcasting; joins strings."""
  with name_scope(name, "Add", [x]) as name:
    x = convert_to_tensor(x, name="x")
    y = convert_to_tensor(y, dtype_hint=x.dtype.base_dtype, name="y")
    if x.dtype.base_dtype == _dtypes.string:
      return raw_ops.Add(x, y, name=name)
    return raw_ops.AddV2(x, y, name=name)


def add_v2(x, y, name=None):
  return add(x, y, name)


def subtract(x, y, name=None):
  """x - y, with broadcasting."""
  return raw_ops.Sub(x, y, name=name)


def multiply(x, y, name=None):
  """x * y, with broadcasting."""
  return raw_ops.Mul(x, y, name=name)


_TRUEDIV = {_dtypes.uint8: _dtypes.float32, _dtypes.int8: _dtypes.float32, _dtypes.uint16: _dtypes.float32, _dtypes.int16: _dtypes.float32,
            _dtypes.uint32: _dtypes.float64, _dtypes.uint64: _dtypes.float64, _dtypes.int32: _dtypes.float64, _dtypes.int64: _dtypes.float64}


def truediv(x, y, name=None):
  """x / y as real numbers: integers are cast to floats first."""
  with name_scope(name, "truediv", [x, y]) as name:
    x = convert_to_tensor(x, name="x")
    y = convert_to_tensor(y, dtype_hint=x.dtype.base_dtype, name="y")
    if x.dtype.base_dtype != y.dtype.base_dtype:
      raise TypeError(f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}")
    wanted = _TRUEDIV.get(x.dtype.base_dtype)
    if wanted is not None:
      x, y = cast(x, wanted), cast(y, wanted)
    return raw_ops.RealDiv(x, y, name=name)


def div(x, y, name=None):
  """x / y as Python 2 has it: integers are divided towards minus infinity."""
  with name_scope(name, "div", [x, y]) as name:
    x = convert_to_tensor(x, name="x")
    y = convert_to_tensor(y, name="y", dtype=x.dtype.base_dtype)
    if x.dtype.is_floating or x.dtype.is_complex:
      return raw_ops.RealDiv(x, y, name=name)
    return raw_ops.FloorDiv(x, y, name=name)


def divide(x, y, name=None):
  """x / y as Python 3 has it."""
  if name is not None:
    return truediv(x, y, name=name)
  if not isinstance(x, Tensor) and not hasattr(x, "_dense_var_to_tensor"):
    x = convert_to_tensor(x, dtype=y.dtype.base_dtype if isinstance(y, Tensor) else None)
  return x / y


def div_no_nan(x, y, name=None):
  """x / y, 0 where y is 0."""
  with name_scope(name, "div_no_nan", [x, y]) as name:
    x = convert_to_tensor(x, name="x")
    y = convert_to_tensor(y, name="y", dtype=x.dtype.base_dtype)
    wanted = _TRUEDIV.get(x.dtype.base_dtype)
    if wanted is not None:
      x, y = cast(x, wanted), cast(y, wanted)
    return raw_ops.DivNoNan(x, y, name=name)


def multiply_no_nan(x, y, name=None):
  """x * y, 0 where y is 0 even if x is not finite."""
  return raw_ops.MulNoNan(x, y, name=name)


def floordiv(x, y, name=None):
  """x / y rounded towards minus infinity."""
  with name_scope(name, "floordiv", [x, y]) as name:
    return raw_ops.FloorDiv(x, y, name=name)


def mod(x, y, name=None):
  """The remainder of floor division: it has the sign of y."""
  with name_scope(name, "FloorMod", [x, y]) as name:
    return raw_ops.FloorMod(x, y, name=name)


floormod = mod


def pow(x, y, name=None):  # pylint: disable=redefined-builtin
  """x to the power y."""
  with name_scope(name, "Pow", [x]) as name:
    return raw_ops.Pow(x, y, name=name)


def sign(x, name=None):
  return raw_ops.Sign(x, name=name)


def round(x, name=None):  # pylint: disable=redefined-builtin
  """To the nearest integer, halves to the even one."""
  x = convert_to_tensor(x, name="x")
  return x if x.dtype.is_integer else raw_ops.Round(x, name=name)


def sigmoid(x, name=None):
  """1 / (1 + exp(-x))."""
  with name_scope(name, "Sigmoid", [x]) as name:
    return raw_ops.Sigmoid(convert_to_tensor(x, name="x"), name=name)


def log_sigmoid(x, name=None):
  """log(sigmoid(x)), safe for very negative x."""
  with name_scope(name, "LogSigmoid", [x]) as name:
    x = convert_to_tensor(x, name="x")
    return raw_ops.Neg(raw_ops.Softplus(-x), name=name)


def scalar_mul(scalar, x, name=None):
  """A scalar times a tensor or IndexedSlices."""
  scalar = convert_to_tensor(scalar, dtype=x.dtype.base_dtype, name="scalar")
  if scalar._rank() not in (None, 0):
    raise ValueError(f"The input scalar must be a 0-D value. Received shape {scalar.shape}.")
  if isinstance(x, IndexedSlices):
    return IndexedSlices(raw_ops.Mul(scalar, x.values, name=name), x.indices, x.dense_shape)
  return raw_ops.Mul(scalar, x, name=name)


def logical_xor(x, y, name="LogicalXor"):
  """x and y differ."""
  return raw_ops.LogicalAnd(raw_ops.LogicalOr(x, y), raw_ops.LogicalNot(raw_ops.LogicalAnd(x, y)), name=name)


def maximum(x, y, name=None):
  return raw_ops.Maximum(x, y, name=name)


def minimum(x, y, name=None):
  return raw_ops.Minimum(x, y, name=name)


def equal(x, y, name=None):
  """x == y, element by element."""
  return raw_ops.Equal(x, y, name=name)


def not_equal(x, y, name=None):
  """x != y, element by element."""
  return raw_ops.NotEqual(x, y, name=name)


def cast(x, dtype, name=None):
  """The elements as another type; floats to integers are cut towards zero."""
  wanted = as_dtype(dtype).base_dtype
  if isinstance(x, Tensor) and x.dtype == wanted:
    return x
  plain = getattr(x, "_plain_tensor", None)
  if plain is not None and plain._dtype is wanted and name is None and plain.graph is get_default_graph():
    plain.graph.unique_name("Cast")  # It is used up, as in TF1.
    return plain
  with name_scope(name, "Cast", [x]) as name:
    if isinstance(x, SparseTensor):
      return SparseTensor(x.indices, cast(x.values, wanted, name=name), x.dense_shape)
    if isinstance(x, IndexedSlices):
      return IndexedSlices(cast(x.values, wanted, name=name), x.indices, x.dense_shape)
    x = convert_to_tensor(x, name="x")
    if x.dtype.base_dtype != wanted:
      x = raw_ops.Cast(x, wanted, name=name)
    return x


def saturate_cast(value, dtype, name=None):
  """Casts after limiting the values to what `dtype` holds."""
  with name_scope(name, "saturate_cast", [value]) as name:
    value = convert_to_tensor(value, name="value")
    dtype = as_dtype(dtype).base_dtype
    if value.dtype.min < dtype.min:
      value = raw_ops.Maximum(value, convert_to_tensor(dtype.min, dtype=value.dtype, name="min"))
    if value.dtype.max > dtype.max:
      value = raw_ops.Minimum(value, convert_to_tensor(dtype.max, dtype=value.dtype, name="max"))
    return cast(value, dtype, name=name)


def to_float(x, name="ToFloat"):
  return cast(x, _dtypes.float32, name=name)


def to_double(x, name="ToDouble"):
  return cast(x, _dtypes.float64, name=name)


def to_int32(x, name="ToInt32"):
  return cast(x, _dtypes.int32, name=name)


def to_int64(x, name="ToInt64"):
  return cast(x, _dtypes.int64, name=name)


def to_bfloat16(x, name="ToBFloat16"):
  return cast(x, _dtypes.bfloat16, name=name)


def to_complex64(x, name="ToComplex64"):
  return cast(x, _dtypes.complex64, name=name)


def to_complex128(x, name="ToComplex128"):
  return cast(x, _dtypes.complex128, name=name)


def complex(real, imag, name=None):  # pylint: disable=redefined-builtin
  """Complex numbers from their parts."""
  real = convert_to_tensor(real, name="real")
  imag = convert_to_tensor(imag, name="imag")
  with name_scope(name, "Complex", [real, imag]) as name:
    types = {_dtypes.float32: _dtypes.complex64, _dtypes.float64: _dtypes.complex128}
    if real.dtype != imag.dtype or real.dtype not in types:
      raise TypeError(f"The `real` and `imag` components have incorrect types: {real.dtype.name} {imag.dtype.name}. They must be consistent, and one of [sl.float32, sl.float64]")
    return raw_ops.Complex(real, imag, Tout=types[real.dtype], name=name)


def _part(op, default_name):
  def part(input, name=None):  # pylint: disable=redefined-builtin
    with name_scope(name, default_name, [input]) as name:
      input = convert_to_tensor(input, name="input")
      if input.dtype.is_complex:
        return getattr(raw_ops, op)(input, Tout=input.dtype.real_dtype, name=name)
      return input if op == "Real" else _array.zeros_like(input)
  return part


real = _part("Real", "Real")
imag = _part("Imag", "Imag")
angle = _part("Angle", "Angle")


def conj(x, name=None):
  """The complex conjugate; x itself when it is real."""
  x = convert_to_tensor(x)
  if x.dtype.is_complex or x.dtype == _dtypes.variant:
    with name_scope(name, "Conj", [x]) as name:
      return raw_ops.Conj(x, name=name)
  return x


# --- ranges -----------------------------------------------------------------------------------------------------------


def range(start, limit=None, delta=1, dtype=None, name="range"):  # pylint: disable=redefined-builtin
  """start, start + delta, ... below (or above, for a negative delta) `limit`."""
  if limit is None:
    start, limit = 0, start
  with name_scope(name, "Range", [start, limit, delta]) as name:
    values = [v if isinstance(v, Tensor) else convert_to_tensor(v, dtype=dtype, name=n)
              for v, n in ((start, "start"), (limit, "limit"), (delta, "delta"))]
    if dtype is None:
      order = [_dtypes.int32, _dtypes.int64, _dtypes.float32, _dtypes.float64]
      wanted = max((v.dtype.base_dtype for v in values), key=order.index)
    else:
      wanted = as_dtype(dtype)
    start, limit, delta = [cast(v, wanted) for v in values]
    return raw_ops.Range(start, limit, delta, name=name)


def linspace(start, stop, num, name=None):
  """`num` evenly spaced values from start to stop, both included."""
  return raw_ops.LinSpace(start, stop, num, name=name)


lin_space = linspace


# --- reductions -------------------------------------------------------------------------------------------------------


def _reduction_dims(x, axis):
  if axis is not None:
    return axis
  if isinstance(x, SparseTensor):
    rank = x.dense_shape._shape_tuple()[0]
  else:
    rank = x._rank() if isinstance(x, Tensor) else None
  if rank:
    return constant(np.arange(rank), dtype=_dtypes.int32)
  return range(0, _array.rank(x))


def _reduction(op_type, what):
  def reduce(input_tensor, axis=None, keepdims=None, name=None, reduction_indices=None, keep_dims=None):
    axis = _array._either(axis, "axis", reduction_indices, "reduction_indices")
    keepdims = bool(_array._either(keepdims, "keepdims", keep_dims, "keep_dims"))
    if hasattr(input_tensor, "_dense_var_to_tensor") and not isinstance(input_tensor, Tensor):
      input_tensor = convert_to_tensor(input_tensor)
    return getattr(raw_ops, op_type)(input_tensor, _reduction_dims(input_tensor, axis), keep_dims=keepdims, name=name)

  reduce.__doc__ = f"{what} over the dimensions in `axis`, all when None; `keepdims` keeps them with size 1."
  return reduce


reduce_sum = _reduction("Sum", "The sum")
reduce_mean = _reduction("Mean", "The mean")
reduce_prod = _reduction("Prod", "The product")
reduce_max = _reduction("Max", "The largest element")
reduce_min = _reduction("Min", "The smallest element")
reduce_all = _reduction("All", "Logical and")
reduce_any = _reduction("Any", "Logical or")
reduce_euclidean_norm = _reduction("EuclideanNorm", "The root of the sum of squares")


def reduce_logsumexp(input_tensor, axis=None, keepdims=None, name=None, reduction_indices=None, keep_dims=None):
  """log(sum(exp(x))), safe from overflow."""
  axis = _array._either(axis, "axis", reduction_indices, "reduction_indices")
  keepdims = bool(_array._either(keepdims, "keepdims", keep_dims, "keep_dims"))
  input_tensor = convert_to_tensor(input_tensor)
  with name_scope(name, "ReduceLogSumExp", [input_tensor]) as name:
    raw_max = reduce_max(input_tensor, axis=axis, keepdims=True)
    my_max = raw_ops.StopGradient(raw_ops.SelectV2(raw_ops.IsFinite(raw_max), raw_max, 0))
    result = raw_ops.Log(reduce_sum(raw_ops.Exp(raw_ops.Sub(input_tensor, my_max)), axis=axis, keepdims=keepdims))
    if not keepdims:
      my_max = _array.reshape(my_max, _array.shape(result))
    return add(result, my_max, name=name)


def reduce_variance(input_tensor, axis=None, keepdims=False, name=None):
  """The variance over `axis`."""
  with name_scope(name or "reduce_variance"):
    input_tensor = convert_to_tensor(input_tensor)
    means = reduce_mean(input_tensor, axis=axis, keepdims=True)
    if means.dtype.is_integer:
      raise TypeError(f"Input must be either real or complex. Received integer type {means.dtype}.")
    squared = raw_ops.Square(input_tensor - means)
    return reduce_mean(squared, axis=axis, keepdims=keepdims)


def reduce_std(input_tensor, axis=None, keepdims=False, name=None):
  """The standard deviation over `axis`."""
  with name_scope(name or "reduce_std"):
    return raw_ops.Sqrt(reduce_variance(input_tensor, axis=axis, keepdims=keepdims))


def count_nonzero(input_tensor=None, axis=None, keepdims=None, dtype=_dtypes.int64, name=None, reduction_indices=None, keep_dims=None, input=None):  # pylint: disable=redefined-builtin
  """How many elements are not zero (or empty)."""
  input_tensor = _array._either(input, "input", input_tensor, "input_tensor")
  axis = _array._either(axis, "axis", reduction_indices, "reduction_indices")
  keepdims = bool(_array._either(keepdims, "keepdims", keep_dims, "keep_dims"))
  with name_scope(name, "count_nonzero", [input_tensor]):
    input_tensor = convert_to_tensor(input_tensor, name="input")
    zero = "" if input_tensor.dtype == _dtypes.string else 0 if input_tensor.dtype != _dtypes.bool_ else False
    return cast(reduce_sum(cast(raw_ops.NotEqual(input_tensor, constant(zero, dtype=input_tensor.dtype)), _dtypes.int64), axis=axis, keepdims=keepdims), dtype=dtype)


def argmax(input, axis=None, name=None, dimension=None, output_type=_dtypes.int64):  # pylint: disable=redefined-builtin
  """The index of the largest element along `axis` (0 when None), the first of equals."""
  axis = _array._either(axis, "axis", dimension, "dimension")
  return raw_ops.ArgMax(input, 0 if axis is None else axis, output_type=output_type, name=name)


def argmin(input, axis=None, name=None, dimension=None, output_type=_dtypes.int64):  # pylint: disable=redefined-builtin
  """The index of the smallest element along `axis` (0 when None), the first of equals."""
  axis = _array._either(axis, "axis", dimension, "dimension")
  return raw_ops.ArgMin(input, 0 if axis is None else axis, output_type=output_type, name=name)


def cumsum(x, axis=0, exclusive=False, reverse=False, name=None):
  """Running sums along `axis`."""
  with name_scope(name, "Cumsum", [x]) as name:
    return raw_ops.Cumsum(convert_to_tensor(x, name="x"), axis, exclusive=exclusive, reverse=reverse, name=name)


def cumprod(x, axis=0, exclusive=False, reverse=False, name=None):
  """Running products along `axis`."""
  with name_scope(name, "Cumprod", [x]) as name:
    return raw_ops.Cumprod(convert_to_tensor(x, name="x"), axis, exclusive=exclusive, reverse=reverse, name=name)


def add_n(inputs, name=None):
  """The sum of tensors of one shape."""
  if not inputs or not isinstance(inputs, (list, tuple)):
    raise ValueError("inputs must be a list of at least one Tensor/IndexedSlices with the same dtype and shape")
  inputs = [i if isinstance(i, IndexedSlices) else convert_to_tensor(i) for i in inputs]
  inputs = [convert_to_tensor(i) for i in inputs]
  if len(inputs) == 1:
    return _array.identity(inputs[0], name=name) if name else inputs[0]
  return raw_ops.AddN(inputs, name=name)


def accumulate_n(inputs, shape=None, tensor_dtype=None, name=None):  # pylint: disable=unused-argument
  """As add_n; `shape` and `tensor_dtype` are checked."""
  if not inputs:
    raise ValueError("inputs must be a list of at least one Tensor")
  inputs = [convert_to_tensor(i) for i in inputs]
  for i in inputs:
    if shape is not None:
      i.shape.assert_is_compatible_with(shape)
    if tensor_dtype is not None and i.dtype != as_dtype(tensor_dtype):
      raise TypeError(f"tensor_dtype is {tensor_dtype}, but input is of type {i.dtype}")
  if len(inputs) == 1:
    return inputs[0] if name is None else _array.identity(inputs[0], name=name)
  return raw_ops.AddN(inputs, name=name or "AccumulateNV2")


# --- products ---------------------------------------------------------------------------------------------------------


def matmul(a, b, transpose_a=False, transpose_b=False, adjoint_a=False, adjoint_b=False, a_is_sparse=False, b_is_sparse=False, name=None):
  """The matrix product of the inner two dimensions, batched over the others."""
  with name_scope(name, "MatMul", [a, b]) as name:
    if transpose_a and adjoint_a:
      raise ValueError("Only one of `transpose_a` and `adjoint_a` can be True.")
    if transpose_b and adjoint_b:
      raise ValueError("Only one of `transpose_b` and `adjoint_b` can be True.")
    a = convert_to_tensor(a, name="a")
    b = convert_to_tensor(b, dtype_hint=a.dtype.base_dtype, name="b")
    a_rank, b_rank = a._rank(), b._rank()
    if (a_rank is None or a_rank > 2) or (b_rank is None or b_rank > 2):
      if transpose_a:
        a, adjoint_a = conj(a), True
      if transpose_b:
        b, adjoint_b = conj(b), True
      return raw_ops.BatchMatMulV2(a, b, adj_x=adjoint_a, adj_y=adjoint_b, name=name)
    if adjoint_a:
      a, transpose_a = conj(a), True
    if adjoint_b:
      b, transpose_b = conj(b), True
    if (a_is_sparse or b_is_sparse) and a.dtype in (_dtypes.float32, _dtypes.bfloat16) and b.dtype in (_dtypes.float32, _dtypes.bfloat16):
      return raw_ops.SparseMatMul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, a_is_sparse=a_is_sparse, b_is_sparse=b_is_sparse, name=name)
    return raw_ops.MatMul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, name=name)


def matvec(a, b, transpose_a=False, adjoint_a=False, a_is_sparse=False, b_is_sparse=False, name=None):
  """The product of matrices and vectors."""
  with name_scope(name, "MatVec", [a, b]) as name:
    output = matmul(a, _array.expand_dims(b, axis=-1), transpose_a=transpose_a, adjoint_a=adjoint_a, a_is_sparse=a_is_sparse, b_is_sparse=b_is_sparse)
    return _array.squeeze(output, axis=-1)


def tensordot(a, b, axes, name=None):
  """Sums products over pairs of dimensions: the last `axes` of a with the first of b, or the lists axes[0] and axes[1]."""
  with name_scope(name, "Tensordot", [a, b, axes]) as name:
    a = convert_to_tensor(a, name="a")
    b = convert_to_tensor(b, name="b")
    a_axes, b_axes = _tensordot_axes(a, axes)
    a, a_free, a_free_static = _tensordot_reshape(a, a_axes, False)
    b, b_free, b_free_static = _tensordot_reshape(b, b_axes, True)
    product = matmul(a, b)
    if isinstance(a_free, list) and isinstance(b_free, list):
      if product.shape.as_list() == a_free + b_free:
        return product
      return _array.reshape(product, a_free + b_free, name=name)
    a_free = convert_to_tensor(a_free, dtype=_dtypes.int32)
    b_free = convert_to_tensor(b_free, dtype=_dtypes.int32)
    product = _array.reshape(product, _array.concat([a_free, b_free], 0), name=name)
    if a_free_static is not None and b_free_static is not None:
      product.set_shape(a_free_static + b_free_static)
    return product


def _tensordot_axes(a, axes):
  if isinstance(axes, (int, np.integer)):
    if axes < 0:
      raise ValueError(f"`axes` must be at least 0, found {axes}")
    n = a._rank()
    if n is None:
      raise ValueError("tensordot wants a first argument of known rank when `axes` is a number")
    if axes > n:
      raise ValueError(f"`axes` must not be larger than the number of dimensions of tensor {a}.  Received {axes}, vs tensor dimensions {n}.")
    return list(_py_range(n - axes, n)), list(_py_range(axes))
  if not isinstance(axes, (list, tuple, np.ndarray)) or len(axes) != 2:
    raise ValueError(f"`axes` must be an integer or have length 2. Received {axes}.")
  a_axes, b_axes = ([int(x)] if isinstance(x, (int, np.integer)) else [int(i) for i in x] for x in axes)
  if len(a_axes) != len(b_axes):
    raise ValueError(f"Different number of contraction axes `a` and `b`, {len(a_axes)} != {len(b_axes)}.")
  return a_axes, b_axes


def _tensordot_reshape(a, axes, flipped):
  """`a` as a matrix whose summed dimensions come last (first when flipped); the free sizes, as ints or a tensor; and static."""
  n = a._rank()
  if n is None:
    raise ValueError("tensordot wants tensors of known rank")
  axes = [i % n for i in axes]
  free = [i for i in _py_range(n) if i not in axes]
  perm = axes + free if flipped else free + axes
  static = a.shape.as_list()
  if a.shape.is_fully_defined():
    free_sizes = [static[i] for i in free]
    sums, frees = int(np.prod([static[i] for i in axes])), int(np.prod(free_sizes))
    if perm != list(_py_range(n)):
      a = _array.transpose(a, perm)
    wanted = [sums, frees] if flipped else [frees, sums]
    if a.shape.as_list() != wanted:
      a = _array.reshape(a, wanted)
    return a, free_sizes, free_sizes
  sizes = _array.shape(a)
  free_sizes = raw_ops.GatherV2(sizes, constant(free, dtype=_dtypes.int32), 0)
  axis_sizes = raw_ops.GatherV2(sizes, constant(axes, dtype=_dtypes.int32), 0)
  frees, sums = reduce_prod(free_sizes), reduce_prod(axis_sizes)
  wanted = _array.stack([sums, frees] if flipped else [frees, sums])
  return _array.reshape(_array.transpose(a, perm), wanted), free_sizes, [static[i] for i in free]


def einsum(equation, *inputs, **kwargs):
  """Sums of products by a formula, "ij,jk->ik"; `...` stands for any dimensions."""
  name = kwargs.pop("name", None)
  kwargs.pop("optimize", None)
  if kwargs:
    raise TypeError(f"Invalid keyword arguments for this function: {', '.join(sorted(kwargs))}")
  if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
    inputs = inputs[0]
  equation = equation.replace(" ", "")
  with name_scope(name, "einsum", [equation] + list(inputs)) as scope:
    tensors = [convert_to_tensor(t) for t in inputs]
    terms, out = _parse_einsum(equation, tensors)
    result, labels = tensors[0], terms[0]
    result, labels = _einsum_diagonal(result, labels)
    for i, (t, l) in enumerate(zip(tensors[1:], terms[1:])):
      t, l = _einsum_diagonal(t, l)
      later = set(out).union(*terms[i + 2:])
      result, labels = _einsum_pair(result, labels, t, l, later)
    summed = [i for i, c in enumerate(labels) if c not in out]
    if summed:
      result = reduce_sum(result, axis=summed)
      labels = [c for c in labels if c in out]
    if labels != out:
      result = _array.transpose(result, [labels.index(c) for c in out])
    return _array.identity(result, name=scope)


def _parse_einsum(equation, tensors):
  left, arrow, right = equation.partition("->")
  texts = left.split(",")
  if len(texts) != len(tensors):
    raise ValueError(f"einsum('{equation}') names {len(texts)} inputs, found {len(tensors)}")
  terms, widest = [], 0
  for text, t in zip(texts, tensors):
    n = t._rank()
    if "..." in text:
      if n is None:
        raise ValueError("einsum with '...' wants inputs of known rank")
      extra = n - len(text.replace("...", ""))
      if extra < 0:
        raise ValueError(f"einsum('{equation}'): '{text}' has more labels than the input's rank {n}")
      widest = max(widest, extra)
      before, _, after = text.partition("...")
      terms.append((before, extra, after))
    else:
      if n is not None and n != len(text):
        raise ValueError(f"einsum('{equation}'): '{text}' does not fit an input of shape {t.shape}")
      terms.append((text, None, ""))

  def expand(before, extra, after):
    dots = [] if extra is None else [f"...{i}" for i in _py_range(widest - extra, widest)]
    return list(before) + dots + list(after)

  expanded = [expand(*t) for t in terms]
  if arrow:
    before, dots, after = right.partition("...")
    out = expand(before, widest if dots else None, after)
  else:
    flat = [c for t in expanded for c in t]
    out = [f"...{i}" for i in _py_range(widest)] + sorted(c for c in set(flat) if flat.count(c) == 1 and not c.startswith("..."))
  if len(set(out)) != len(out):
    raise ValueError(f"einsum('{equation}'): a label stands twice in the output")
  unknown = set(out) - {c for t in expanded for c in t}
  if unknown:
    raise ValueError(f"einsum('{equation}'): no input has the output's label {sorted(unknown)[0]}")
  return expanded, out


def _einsum_diagonal(t, labels):
  """Takes diagonals until no label stands twice."""
  labels = list(labels)
  while len(set(labels)) != len(labels):
    c = next(x for x in labels if labels.count(x) > 1)
    i = labels.index(c)
    j = labels.index(c, i + 1)
    rest = [k for k in _py_range(len(labels)) if k not in (i, j)]
    t = _array.transpose(t, rest + [i, j])
    t = raw_ops.MatrixDiagPart(t)
    labels = [labels[k] for k in rest] + [c]
  return t, labels


def _einsum_pair(a, a_labels, b, b_labels, later):
  """One product of two: shared labels that nobody needs later are summed by MatMul."""
  for c in [c for c in a_labels if c not in later and c not in b_labels]:
    a = reduce_sum(a, axis=a_labels.index(c))
    a_labels = [x for x in a_labels if x != c]
  for c in [c for c in b_labels if c not in later and c not in a_labels]:
    b = reduce_sum(b, axis=b_labels.index(c))
    b_labels = [x for x in b_labels if x != c]
  batch = [c for c in a_labels if c in b_labels and c in later]
  sums = [c for c in a_labels if c in b_labels and c not in later]
  a_free = [c for c in a_labels if c not in b_labels]
  b_free = [c for c in b_labels if c not in a_labels]
  a = _permuted(a, a_labels, batch + a_free + sums)
  b = _permuted(b, b_labels, batch + sums + b_free)
  a_sizes, b_sizes = _sizes(a), _sizes(b)
  nb, na, ns = len(batch), len(a_free), len(sums)
  batch_sizes = [_broadcast_size(x, y) for x, y in zip(a_sizes[:nb], b_sizes[:nb])]
  a3 = _array.reshape(a, _shape_of(a_sizes[:nb] + [_product(a_sizes[nb:nb + na]), _product(a_sizes[nb + na:])]))
  b3 = _array.reshape(b, _shape_of(b_sizes[:nb] + [_product(b_sizes[nb:nb + ns]), _product(b_sizes[nb + ns:])]))
  product = matmul(a3, b3)
  product = _array.reshape(product, _shape_of(batch_sizes + a_sizes[nb:nb + na] + b_sizes[nb + ns:]))
  return product, batch + a_free + b_free


def _permuted(t, labels, wanted):
  perm = [labels.index(c) for c in wanted]
  return t if perm == list(_py_range(len(perm))) else _array.transpose(t, perm)


def _sizes(t):
  static = t.shape.as_list()
  if None in static:
    dynamic = _array.shape(t)
    static = [dynamic[i] if s is None else s for i, s in enumerate(static)]
  return static


def _product(sizes):
  known, unknown = 1, None
  for s in sizes:
    if isinstance(s, Tensor):
      unknown = s if unknown is None else unknown * s
    else:
      known *= s
  return known if unknown is None else unknown if known == 1 else unknown * known


def _broadcast_size(x, y):
  if isinstance(x, Tensor) and isinstance(y, Tensor):
    return maximum(x, y)
  if isinstance(x, Tensor):
    return x if y == 1 else y
  return y if x == 1 else x


def _shape_of(sizes):
  return _array.stack(sizes) if any(isinstance(s, Tensor) for s in sizes) else sizes


# --- other ------------------------------------------------------------------------------------------------------------


def trace(x, name=None):
  """The sum of the diagonal of the inner matrices."""
  with name_scope(name, "Trace", [x]) as name:
    x = convert_to_tensor(x, name="x")
    return reduce_sum(raw_ops.MatrixDiagPart(x), [-1], name=name)


def norm(tensor, ord="euclidean", axis=None, keepdims=None, name=None, keep_dims=None):  # pylint: disable=redefined-builtin
  """Norms of vectors (`axis` an int or None) or matrices (two axes): 'euclidean', 'fro', 1, 2, np.inf or any p > 0."""
  keepdims = bool(_array._either(keepdims, "keepdims", keep_dims, "keep_dims"))
  is_matrix = isinstance(axis, (tuple, list)) and len(axis) == 2
  if is_matrix:
    axis = tuple(axis)
    if axis[0] == axis[1]:
      raise ValueError("axis must be a pair of different integers")
  elif isinstance(axis, (tuple, list)):
    axis = axis[0]
  if ord not in ("euclidean", "fro", 1, 2, np.inf) and (isinstance(ord, str) or ord <= 0 or is_matrix):
    raise ValueError(f"'ord' must be a supported norm, got {ord!r}")
  if ord == "fro" and not is_matrix:
    raise ValueError("'fro' is a norm of matrices: give two axes")
  if ord == 2 and is_matrix:
    raise ValueError("the 2-norm of matrices is not supported")
  with name_scope(name, "norm", [tensor]):
    tensor = convert_to_tensor(tensor)
    if ord in ("fro", "euclidean", 2):
      result = raw_ops.Sqrt(reduce_sum(tensor * conj(tensor), axis, keepdims=True))
      if result.dtype.is_complex:
        result = real(result)
    else:
      result = abs(tensor)
      if ord == 1:
        result = reduce_sum(result, axis if not is_matrix else axis[0], keepdims=True)
        if is_matrix:
          result = reduce_max(result, axis[1], keepdims=True)
      elif ord == np.inf:
        if is_matrix:
          result = reduce_sum(result, axis[1], keepdims=True)
        result = reduce_max(result, axis if not is_matrix else axis[0], keepdims=True)
      else:
        result = raw_ops.Pow(reduce_sum(raw_ops.Pow(result, convert_to_tensor(ord, dtype=result.dtype)), axis, keepdims=True), convert_to_tensor(1.0 / ord, dtype=result.dtype))
    return result if keepdims else _array.squeeze(result, axis=list(axis) if is_matrix else axis)


def eye(num_rows, num_columns=None, batch_shape=None, dtype=_dtypes.float32, name=None):
  """Identity matrices."""
  with name_scope(name, "eye", [num_rows, num_columns, batch_shape]):
    columns = num_rows if num_columns is None else num_columns
    batch = [] if batch_shape is None else batch_shape
    square = num_columns is None
    n = num_rows if square else raw_ops.Minimum(num_rows, columns) if isinstance(num_rows, Tensor) or isinstance(columns, Tensor) else min(num_rows, columns)
    diag = _array.ones(_array.concat([batch, [n]], 0) if isinstance(batch, Tensor) or isinstance(n, Tensor) else list(batch) + [n], dtype=dtype)
    if square:
      return raw_ops.MatrixDiag(diag)
    shape = _array.concat([batch, [num_rows, columns]], 0) if isinstance(batch, Tensor) or isinstance(n, Tensor) else list(batch) + [num_rows, columns]
    return raw_ops.MatrixSetDiag(_array.zeros(shape, dtype=dtype), diag)


def diag(diagonal, name=None):
  return raw_ops.Diag(diagonal, name=name)


def diag_part(input, name=None):  # pylint: disable=redefined-builtin
  return raw_ops.DiagPart(input, name=name)


def unsorted_segment_mean(data, segment_ids, num_segments, name=None):
  """The mean of the elements of each segment; 0 for empty ones."""
  with name_scope(name, "UnsortedSegmentMean"):
    data, segment_ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    n = _segment_counts(segment_ids, num_segments, data)
    return raw_ops.UnsortedSegmentSum(data, segment_ids, num_segments) / n


def unsorted_segment_sqrt_n(data, segment_ids, num_segments, name=None):
  """The sum of the elements of each segment over the root of their number."""
  with name_scope(name, "UnsortedSegmentSqrtN"):
    data, segment_ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
    n = _segment_counts(segment_ids, num_segments, data)
    return raw_ops.UnsortedSegmentSum(data, segment_ids, num_segments) / raw_ops.Sqrt(n)


def _segment_counts(segment_ids, num_segments, data):
  flat = _array.reshape(segment_ids, [-1])
  counts = raw_ops.UnsortedSegmentSum(_array.ones_like(flat, dtype=data.dtype), flat, num_segments)
  ids_rank, data_rank = segment_ids._rank(), data._rank()
  counts = _array.reshape(counts, _array.concat([_array.shape(counts), [1] * (data_rank - ids_rank)], 0))
  return maximum(counts, convert_to_tensor(1, dtype=counts.dtype))


def bincount(arr, weights=None, minlength=None, maxlength=None, dtype=_dtypes.int32, name=None):
  """How often each value 0, 1, ... stands in `arr`, or the sum of its weights."""
  with name_scope(name or "bincount"):
    arr = convert_to_tensor(arr, name="arr", dtype=_dtypes.int32)
    nonempty = reduce_prod(_array.shape(arr)) > 0
    n = cast(nonempty, _dtypes.int32) * (reduce_max(arr) + 1)
    if minlength is not None:
      n = maximum(convert_to_tensor(minlength, dtype=_dtypes.int32), n)
    if maxlength is not None:
      n = minimum(convert_to_tensor(maxlength, dtype=_dtypes.int32), n)
    weights = constant([], dtype) if weights is None else convert_to_tensor(weights, name="weights")
    return raw_ops.Bincount(arr, n, weights)


def argsort(values, axis=-1, direction="ASCENDING", stable=False, name=None):
  """The indices that put `values` in order along `axis`; equal ones keep theirs."""
  with name_scope(name, "argsort", [values]):
    return _sorted(values, axis, direction)[1]


def sort(values, axis=-1, direction="ASCENDING", name=None):
  """`values` in order along `axis`."""
  with name_scope(name, "sort", [values]):
    return _sorted(values, axis, direction)[0]


def _sorted(values, axis, direction):
  if direction not in ("ASCENDING", "DESCENDING"):
    raise ValueError(f"Argument `direction` should be one of 'ASCENDING' or 'DESCENDING'. Received: direction={direction}")
  values = convert_to_tensor(values, name="values")
  n = values._rank()
  if n is None:
    raise ValueError("sort wants values of known rank")
  axis %= n
  perm = [i for i in _py_range(n) if i != axis] + [axis]
  inverse = list(np.argsort(perm))
  rows = values if axis == n - 1 else _array.transpose(values, perm)
  k = _array.shape(rows)[-1]
  if direction == "DESCENDING":
    top, indices = raw_ops.TopKV2(rows, k)
  elif values.dtype.is_unsigned:
    top, indices = raw_ops.TopKV2(values.dtype.max - rows, k)
    top = values.dtype.max - top
  elif values.dtype.is_integer:  # ~x orders the other way and never overflows.
    top, indices = raw_ops.TopKV2(-1 - rows, k)
    top = -1 - top
  else:
    top, indices = raw_ops.TopKV2(-rows, k)
    top = -top
  if axis != n - 1:
    top, indices = _array.transpose(top, inverse), _array.transpose(indices, inverse)
  return top, indices


def confusion_matrix(labels, predictions, num_classes=None, dtype=_dtypes.int32, name=None, weights=None):
  """Counts (or weights) of (label, prediction) pairs."""
  with name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
    labels = cast(labels, _dtypes.int64)
    predictions = cast(predictions, _dtypes.int64)
    if num_classes is None:
      num_classes = maximum(reduce_max(predictions), reduce_max(labels)) + 1
    else:
      num_classes = cast(num_classes, _dtypes.int64)
    shape = _array.stack([num_classes, num_classes])
    indices = _array.stack([labels, predictions], axis=1)
    values = _array.ones_like(predictions, dtype) if weights is None else cast(weights, dtype)
    return raw_ops.ScatterNd(indices, values, shape)


def reduce_join(inputs, axis=None, keep_dims=None, separator="", name=None, reduction_indices=None, keepdims=None):
  """Joins the strings along `axis`."""
  axis = _array._either(axis, "axis", reduction_indices, "reduction_indices")
  keepdims = bool(_array._either(keepdims, "keepdims", keep_dims, "keep_dims"))
  inputs = convert_to_tensor(inputs, dtype=_dtypes.string)
  if axis is None:
    axis = np.arange(inputs._rank() - 1, -1, -1, dtype=np.int32)
  return raw_ops.ReduceJoin(inputs, axis, keep_dims=keepdims, separator=separator, name=name)


# --- operators --------------------------------------------------------------------------------------------------------


def _binary(fn, op_name):
  """The two methods of an operator, `x op y` and `y op x`, for a Tensor on the one side and anything on the other."""

  def forward(x, y):
    if type(y) is Tensor and x.graph is y.graph is get_default_graph():
      return fn(x, y, name=x.graph.unique_name(op_name) + "/")
    with name_scope(None, op_name, [x, y]) as name:
      if type(y) is not Tensor:
        if hasattr(y, "__array_priority__") and not isinstance(y, (Tensor, np.ndarray, np.generic)) and y.__array_priority__ > Tensor.__array_priority__:
          return NotImplemented
        try:
          y = convert_to_tensor(y, dtype_hint=x.dtype.base_dtype, name="y")
        except TypeError:
          if hasattr(type(y), f"__r{op_name}__"):
            return NotImplemented
          raise
      return fn(x, y, name=name)

  def backward(y, x):
    with name_scope(None, op_name, [x, y]) as name:
      x = convert_to_tensor(x, dtype=y.dtype.base_dtype, name="x")
      return fn(x, y, name=name)

  return forward, backward


def _override(operator, fn, op_name=None):
  forward, backward = _binary(fn, op_name or operator)
  Tensor._override_operator(f"__{operator}__", forward)
  Tensor._override_operator(f"__r{operator}__", backward)


def _add(x, y, name):
  return raw_ops.Add(x, y, name=name) if x.dtype.base_dtype == _dtypes.string else raw_ops.AddV2(x, y, name=name)


def _comparison(op_type):
  def compare(x, y):
    return getattr(raw_ops, op_type)(x, y)
  return compare


def _logical_or_bitwise(logical, bitwise):
  def fn(x, y, name=None):
    op = logical if x.dtype.base_dtype == _dtypes.bool_ else bitwise
    if op == "LogicalXor":
      return logical_xor(x, y, name=name)
    return getattr(raw_ops, op)(x, y, name=name)
  return fn


_override("add", _add)
_override("sub", lambda x, y, name: raw_ops.Sub(x, y, name=name))
_override("mul", lambda x, y, name: raw_ops.Mul(x, y, name=name))
_override("div", div)
_override("truediv", truediv)
_override("floordiv", lambda x, y, name: raw_ops.FloorDiv(x, y, name=name))
_override("mod", lambda x, y, name: raw_ops.FloorMod(x, y, name=name))
_override("pow", lambda x, y, name: raw_ops.Pow(x, y, name=name))
_override("matmul", matmul)
_override("and", _logical_or_bitwise("LogicalAnd", "BitwiseAnd"))
_override("or", _logical_or_bitwise("LogicalOr", "BitwiseOr"))
_override("xor", _logical_or_bitwise("LogicalXor", "BitwiseXor"))
Tensor._override_operator("__lt__", _comparison("Less"))
Tensor._override_operator("__le__", _comparison("LessEqual"))
Tensor._override_operator("__gt__", _comparison("Greater"))
Tensor._override_operator("__ge__", _comparison("GreaterEqual"))
Tensor._override_operator("__neg__", negative)
Tensor._override_operator("__abs__", abs)
Tensor._override_operator("__invert__", lambda x: raw_ops.LogicalNot(x) if x.dtype.base_dtype == _dtypes.bool_ else raw_ops.Invert(x))
