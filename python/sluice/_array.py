"""Functions on the layout of tensors: shapes, slices, joins, gathers, masks. Thin layers over `raw_ops`."""

import numpy as np

from sluice import _dtypes
from sluice import raw_ops
from sluice._convert import constant, constant_value, convert_to_tensor, convert_to_tensor_or_sparse_tensor
from sluice._dtypes import as_dtype
from sluice._graph import IndexedSlices, SparseTensor, Tensor, get_default_graph, name_scope
from sluice._shapes import Dimension, TensorShape, as_shape

newaxis = None
_py_slice = slice
_py_range = range


def identity(input, name=None):  # pylint: disable=redefined-builtin
  """A tensor with the contents and shape of `input`."""
  return raw_ops.Identity(input, name=name)


def placeholder(dtype, shape=None, name=None):
  """A tensor whose value each step is fed."""
  return raw_ops.Placeholder(dtype, shape, name=name)


def placeholder_with_default(input, shape, name=None):  # pylint: disable=redefined-builtin
  """A placeholder that yields `input` when it is not fed."""
  return raw_ops.PlaceholderWithDefault(input, shape, name=name)


def sparse_placeholder(dtype, shape=None, name=None):
  """Placeholders for the parts of a SparseTensor."""
  rank = None
  if shape is None:
    dense_shape = placeholder(_dtypes.int64, shape=[None], name=None if name is None else name + "/shape")
  elif isinstance(shape, Tensor):
    dense_shape, rank = shape, shape.shape[0].value
  else:
    sizes = TensorShape(shape).as_list()
    rank = len(sizes)
    sizes = tuple(-1 if s is None else s for s in sizes)
    default = constant(np.array(sizes, dtype=np.int64), name=None if name is None else name + "/shape")
    dense_shape = placeholder_with_default(default, [rank], name=None if name is None else name + "/shape")
  return SparseTensor(values=placeholder(dtype, shape=[None], name=None if name is None else name + "/values"),
                      indices=placeholder(_dtypes.int64, shape=[None, rank], name=None if name is None else name + "/indices"),
                      dense_shape=dense_shape)


def reshape(tensor, shape, name=None):
  """The elements of `tensor` in row-major order under another shape; one size may be -1."""
  return raw_ops.Reshape(tensor, shape, name=name)


def expand_dims(input, axis=None, name=None, dim=None):  # pylint: disable=redefined-builtin
  """Adds a dimension of size 1 at `axis`."""
  axis = _either(axis, "axis", dim, "dim")
  if axis is None:
    raise ValueError("Must specify an axis argument to sl.expand_dims()")
  return raw_ops.ExpandDims(input, axis, name=name)


def squeeze(input, axis=None, name=None, squeeze_dims=None):  # pylint: disable=redefined-builtin
  """Removes dimensions of size 1: all, or those in `axis`."""
  axis = _either(axis, "axis", squeeze_dims, "squeeze_dims")
  if axis is None:
    axis = []
  if np.isscalar(axis):
    axis = [axis]
  return raw_ops.Squeeze(input, axis, name=name)


def _either(new, new_name, old, old_name):
  if old is not None:
    if new is not None:
      raise ValueError(f"Cannot specify both '{new_name}' and '{old_name}'")
    return old
  return new


def shape(input, name=None, out_type=_dtypes.int32):  # pylint: disable=redefined-builtin
  """The shape as a 1-D integer tensor: a constant when it is known now."""
  return shape_internal(input, name, optimize=True, out_type=out_type)


def shape_internal(input, name=None, optimize=True, out_type=_dtypes.int32):  # pylint: disable=redefined-builtin
  with name_scope(name, "Shape", [input]) as name:
    if isinstance(input, SparseTensor):
      from sluice import _math
      return _math.cast(input.dense_shape, out_type)
    input = convert_to_tensor(input)
    sizes = input._shape_tuple()
    if optimize and sizes is not None and None not in sizes:
      return constant(list(sizes), out_type, name=name)
    return raw_ops.Shape(input, out_type=out_type, name=name)


def shape_n(input, out_type=_dtypes.int32, name=None):  # pylint: disable=redefined-builtin
  return raw_ops.ShapeN(input, out_type=out_type, name=name)


def size(input, name=None, out_type=_dtypes.int32):  # pylint: disable=redefined-builtin
  """The number of elements: a constant when it is known now."""
  with name_scope(name, "Size", [input]) as name:
    if isinstance(input, SparseTensor):
      from sluice import _math
      return _math.reduce_prod(_math.cast(input.dense_shape, out_type), 0, name=name)
    input = convert_to_tensor(input)
    n = input.shape.num_elements()
    if n is not None:
      return constant(n, out_type, name=name)
    return raw_ops.Size(input, out_type=out_type, name=name)


size_internal = size


def rank(input, name=None):  # pylint: disable=redefined-builtin
  """The number of dimensions: a constant when it is known now."""
  with name_scope(name, "Rank", [input]) as name:
    if isinstance(input, SparseTensor):
      return raw_ops.Size(input.dense_shape, name=name)
    input = convert_to_tensor(input)
    if input._rank() is not None:
      return constant(input._rank(), _dtypes.int32, name=name)
    return raw_ops.Rank(input, name=name)


# --- slices -----------------------------------------------------------------------------------------------------------


def slice(input_, begin, size, name=None):  # pylint: disable=redefined-builtin,redefined-outer-name
  """`size` elements of each dimension from `begin`; a size of -1 takes the rest."""
  return raw_ops.Slice(input_, begin, size, name=name)


def strided_slice(input_, begin, end, strides=None, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0,
                  shrink_axis_mask=0, var=None, name=None):
  """A slice with strides and the masks of NumPy's indexing; `var` allows assignment to the slice."""
  if strides is None:
    strides = ones_like(begin)
  op = raw_ops.StridedSlice(input_, begin, end, strides, begin_mask=begin_mask, end_mask=end_mask, ellipsis_mask=ellipsis_mask,
                            new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask, name=name)
  parent_name = name

  if var is not None:
    def assign(val, name=None):
      if name is None:
        name = (parent_name or "strided_slice/").rstrip("/") + "_assign"
      return var._strided_slice_assign(begin=begin, end=end, strides=strides, value=val, name=name, begin_mask=begin_mask, end_mask=end_mask,
                                       ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask)
    op.assign = assign
  return op


def _check_index(index):
  if isinstance(index, (int, np.integer, Dimension)) and not isinstance(index, bool):
    return
  dtype = getattr(index, "dtype", None)
  if dtype is None or as_dtype(dtype).base_dtype not in (_dtypes.int16, _dtypes.int32, _dtypes.int64) or getattr(index, "shape", None) is not None and len(index.shape) == 1:
    raise TypeError(f"Only integers, slices (`:`), ellipsis (`...`), sl.newaxis (`None`) and scalar sl.int32/sl.int64 tensors are valid indices, got {index!r}")


def _slice_helper(tensor, slice_spec, var=None):
  """`tensor[slice_spec]`."""
  if isinstance(slice_spec, bool) or getattr(slice_spec, "dtype", None) in (_dtypes.bool_, np.dtype(bool)) and not isinstance(slice_spec, (list, tuple)):
    return boolean_mask(tensor=tensor, mask=slice_spec)
  if not isinstance(slice_spec, (list, tuple)):
    slice_spec = [slice_spec]
  begin, end, strides = [], [], []
  begin_mask = end_mask = ellipsis_mask = new_axis_mask = shrink_axis_mask = 0
  for index, s in enumerate(slice_spec):
    bit = 1 << index
    if isinstance(s, _py_slice):
      if s.start is not None:
        _check_index(s.start)
        begin.append(s.start)
      else:
        begin.append(0)
        begin_mask |= bit
      if s.stop is not None:
        _check_index(s.stop)
        end.append(s.stop)
      else:
        end.append(0)
        end_mask |= bit
      if s.step is not None:
        _check_index(s.step)
        strides.append(s.step)
      else:
        strides.append(1)
    elif s is Ellipsis:
      begin.append(0)
      end.append(0)
      strides.append(1)
      ellipsis_mask |= bit
    elif s is newaxis:
      begin.append(0)
      end.append(0)
      strides.append(1)
      new_axis_mask |= bit
    else:
      _check_index(s)
      begin.append(s)
      end.append(s + 1)
      strides.append(1)
      shrink_axis_mask |= bit
  with name_scope(None, "strided_slice", [tensor] + begin + end + strides) as name:
    if begin:
      packed_begin, packed_end, packed_strides = stack(begin), stack(end), stack(strides)
      if _dtypes.int64 in (packed_begin.dtype, packed_end.dtype, packed_strides.dtype):
        from sluice import _math
        packed_begin, packed_end, packed_strides = (
            t if t.dtype == _dtypes.int64 else _math.cast(t, _dtypes.int64) for t in (packed_begin, packed_end, packed_strides))
    else:
      packed_begin = packed_end = packed_strides = constant([], dtype=_dtypes.int32)
    return strided_slice(tensor, packed_begin, packed_end, packed_strides, begin_mask=begin_mask, end_mask=end_mask,
                         shrink_axis_mask=shrink_axis_mask, new_axis_mask=new_axis_mask, ellipsis_mask=ellipsis_mask, var=var, name=name)


Tensor._override_operator("__getitem__", _slice_helper)


# --- joins and splits -------------------------------------------------------------------------------------------------


def concat(values, axis, name="concat"):
  """Joins tensors along a dimension that exists."""
  if not isinstance(values, (list, tuple)):
    values = [values]
  if len(values) == 1:
    with name_scope(name):
      convert_to_tensor(axis, name="concat_dim", dtype=_dtypes.int32).shape.assert_has_rank(0)
      return identity(values[0], name=name)
  return raw_ops.ConcatV2(values, axis, name=name)


def stack(values, axis=0, name="stack"):
  """Joins tensors of one shape along a new dimension."""
  if axis == 0:
    try:
      return convert_to_tensor(values, name=name)
    except (TypeError, ValueError):
      pass
  first = convert_to_tensor(values[0], name=name)._rank()
  if first is not None and not -(first + 1) <= axis < first + 1:
    raise ValueError(f"Argument `axis` = {axis} not in range [{-(first + 1)}, {first + 1})")
  return raw_ops.Pack(values, axis=axis, name=name)


def parallel_stack(values, name="parallel_stack"):
  return stack(values, 0, name)


def unstack(value, num=None, axis=0, name="unstack"):
  """The slices along a dimension, as a list."""
  if num is None:
    value = convert_to_tensor(value)
    sizes = value._shape_tuple()
    if sizes is not None:
      if not -len(sizes) <= axis < len(sizes):
        raise ValueError(f"Argument `axis` = {axis} not in range [{-len(sizes)}, {len(sizes)})")
      num = sizes[axis]
  if num is None:
    raise ValueError(f"Cannot infer argument `num` from shape {value.shape}")
  return raw_ops.Unpack(value, num, axis=axis, name=name)


def split(value, num_or_size_splits, axis=0, num=None, name="split"):
  """`num_or_size_splits` equal parts, or parts of the sizes given, along `axis`."""
  if isinstance(num_or_size_splits, (int, np.integer, Dimension)):
    return raw_ops.Split(axis, value, int(num_or_size_splits), name=name)
  size_splits = convert_to_tensor(num_or_size_splits)
  if size_splits._rank() == 0:
    raise ValueError("Rank-0 tensors are not supported as the num_or_size_splits argument to split. Argument provided: %s" % (num_or_size_splits,))
  if num is None:
    num = size_splits._shape_tuple()[0]
    if num is None:
      raise ValueError(f"Cannot infer argument `num` from shape {num_or_size_splits}")
  return raw_ops.SplitV(value, size_splits, axis, num, name=name)


def transpose(a, perm=None, name="transpose", conjugate=False):
  """Permutes the dimensions; reverses them when `perm` is None."""
  with name_scope(name, "transpose", [a]) as name:
    a = convert_to_tensor(a, name="a")
    op = raw_ops.ConjugateTranspose if conjugate and a.dtype.is_complex else raw_ops.Transpose
    if perm is None:
      n = a._rank()
      if n is None:
        n = raw_ops.Rank(a)
        perm = (n - 1) - raw_ops.Range(0, n, 1)
      else:
        perm = np.arange(n - 1, -1, -1, dtype=np.int32)
    return op(a, perm, name=name)


def matrix_transpose(a, name="matrix_transpose", conjugate=False):
  """Exchanges the two inner dimensions."""
  with name_scope(name, values=[a]) as name:
    a = convert_to_tensor(a, name="a")
    n = a._rank()
    if n is not None:
      if n < 2:
        raise ValueError(f"Argument `a` should be a (batch) matrix with rank >= 2.  Received `a` = {a} with shape: {a.shape}")
      perm = list(_py_range(n - 2)) + [n - 1, n - 2]
    else:
      r = rank(a)
      perm = concat((raw_ops.Range(0, r - 2, 1), [r - 1, r - 2]), 0)
    return transpose(a, perm=perm, conjugate=conjugate)


# --- filling ----------------------------------------------------------------------------------------------------------


def fill(dims, value, name=None):
  """A tensor of shape `dims` with every element `value`."""
  return raw_ops.Fill(dims, value, name=name)


def zeros(shape, dtype=_dtypes.float32, name=None):  # pylint: disable=redefined-outer-name
  """Zeros (False, empty strings) of a shape."""
  dtype = as_dtype(dtype).base_dtype
  value = False if dtype == _dtypes.bool_ else "" if dtype == _dtypes.string else 0
  return _filled(shape, value, dtype, name, "zeros")


def ones(shape, dtype=_dtypes.float32, name=None):  # pylint: disable=redefined-outer-name
  """Ones (True) of a shape."""
  dtype = as_dtype(dtype).base_dtype
  return _filled(shape, dtype == _dtypes.bool_ or 1, dtype, name, "ones")


def _filled(shape, value, dtype, name, default_name):  # pylint: disable=redefined-outer-name
  with name_scope(name, default_name, [shape]) as name:
    if not isinstance(shape, Tensor):
      try:
        known = TensorShape(shape)
        n = known.num_elements()
        if n is not None and n < 1000:
          return constant(value, shape=known, dtype=dtype, name=name)
        shape = convert_to_tensor(known)
      except (TypeError, ValueError):
        shape = convert_to_tensor(shape, dtype=_dtypes.int32)
    if not shape._shape_tuple():
      shape = reshape(shape, [-1])
    return fill(shape, constant(value, dtype=dtype), name=name)


def zeros_like(tensor, dtype=None, name=None, optimize=True):
  """Zeros of the shape (and, unless `dtype` says otherwise, type) of `tensor`."""
  with name_scope(name, "zeros_like", [tensor]) as name:
    tensor = convert_to_tensor(tensor, name="tensor")
    if dtype is not None:
      dtype = as_dtype(dtype).base_dtype
    base = tensor.dtype.base_dtype
    if tensor.shape.is_fully_defined() and base != _dtypes.variant:
      return zeros(tensor.shape, dtype=dtype or base, name=name)
    if dtype is not None and dtype != base and dtype != _dtypes.variant:
      return zeros(shape_internal(tensor, optimize=optimize), dtype=dtype, name=name)
    return raw_ops.ZerosLike(tensor, name=name)


def ones_like(tensor, dtype=None, name=None, optimize=True):
  """Ones of the shape (and, unless `dtype` says otherwise, type) of `tensor`."""
  with name_scope(name, "ones_like", [tensor]) as name:
    tensor = convert_to_tensor(tensor, name="tensor")
    ones_shape = shape_internal(tensor, optimize=optimize)
    result = ones(ones_shape, dtype=dtype or tensor.dtype.base_dtype, name=name)
    result.set_shape(tensor.shape)
    return result


def one_hot(indices, depth, on_value=None, off_value=None, axis=None, dtype=None, name=None):
  """`on_value` where the new dimension's index equals `indices`, `off_value` elsewhere."""
  with name_scope(name, "one_hot", [indices, depth, on_value, off_value, axis, dtype]) as name:
    on_dtype = None if on_value is None else convert_to_tensor(on_value, dtype_hint=dtype, name="on_value").dtype.base_dtype if dtype is None else None
    off_dtype = None if off_value is None else convert_to_tensor(off_value, dtype_hint=dtype, name="off_value").dtype.base_dtype if dtype is None else None
    if dtype is None:
      if on_dtype is not None and off_dtype is not None and on_dtype != off_dtype:
        raise TypeError(f"dtype {on_dtype} of on_value does not match dtype {off_dtype} of off_value")
      dtype = on_dtype or off_dtype or _dtypes.float32
    dtype = as_dtype(dtype)
    for what, value in (("on_value", on_value), ("off_value", off_value)):
      if isinstance(value, Tensor) and value.dtype.base_dtype != dtype:
        raise TypeError(f"dtype {value.dtype} of {what} does not match dtype parameter {dtype}")
    on_value = convert_to_tensor(1 if on_value is None else on_value, dtype, name="on_value")
    off_value = convert_to_tensor(0 if off_value is None else off_value, dtype, name="off_value")
    return raw_ops.OneHot(indices, depth, on_value, off_value, axis=-1 if axis is None else axis, name=name)


def pad(tensor, paddings, mode="CONSTANT", name=None, constant_values=0):
  """Adds `paddings[d] = [before, after]` elements to each dimension d."""
  mode = mode.upper()
  if mode == "CONSTANT":
    if not isinstance(constant_values, (int, float)) or constant_values != 0:
      return raw_ops.PadV2(tensor, paddings, constant_values, name=name)
    return raw_ops.Pad(tensor, paddings, name=name)
  if mode in ("REFLECT", "SYMMETRIC"):
    return raw_ops.MirrorPad(tensor, paddings, mode=mode, name=name)
  raise ValueError(f"Value of argument `mode` expected to be one of 'CONSTANT', 'REFLECT', or 'SYMMETRIC'. Received `mode` = {mode}")


def tile(input, multiples, name=None):  # pylint: disable=redefined-builtin
  """Repeats `input` `multiples[d]` times along each dimension d."""
  return raw_ops.Tile(input, multiples, name=name)


def repeat(input, repeats, axis=None, name=None):  # pylint: disable=redefined-builtin
  """Repeats elements along `axis` (of the flattened input when None), each the same number of times or as a vector says."""
  with name_scope(name, "Repeat", [input, repeats]):
    data = convert_to_tensor(input, name="input")
    if axis is None:
      data, axis = reshape(data, [-1]), 0
    repeats = convert_to_tensor(repeats, dtype=_dtypes.int32, name="repeats")
    n = data._rank()
    if n is None:
      raise ValueError("repeat wants an input of known rank")
    axis = axis % n
    if repeats._rank() == 0 or repeats._shape_tuple() == (1,):
      count = reshape(repeats, [])
      expanded = expand_dims(data, axis + 1)
      multiples = stack([1] * (axis + 1) + [count] + [1] * (n - axis - 1))
      tiled = tile(expanded, multiples)
      sizes = shape(data)
      return reshape(tiled, concat([sizes[:axis], [sizes[axis] * count], sizes[axis + 1:]], 0))
    from sluice import _math
    longest = _math.reduce_max(repeats)
    mask = sequence_mask(repeats, longest)
    expanded = tile(expand_dims(data, axis + 1), stack([1] * (axis + 1) + [longest] + [1] * (n - axis - 1)))
    return boolean_mask(expanded, mask, axis=axis)


# --- picking ----------------------------------------------------------------------------------------------------------


def gather(params, indices, validate_indices=None, name=None, axis=None, batch_dims=0):  # pylint: disable=unused-argument
  """Slices of `params` at `indices` of dimension `axis`."""
  if axis is None:
    axis = batch_dims
  if not isinstance(axis, (int, np.integer)) or axis != 0 or batch_dims != 0:
    return raw_ops.GatherV2(params, indices, axis, batch_dims=batch_dims, name=name)
  sparse_read = getattr(params, "sparse_read", None)
  if sparse_read is not None:
    return sparse_read(indices, name=name)
  return raw_ops.GatherV2(params, indices, axis, name=name)


def gather_nd(params, indices, name=None, batch_dims=0):
  """Slices of `params` at the index vectors in the last dimension of `indices`."""
  if batch_dims != 0:
    return _batch_gather_nd(params, indices, batch_dims, name)
  read = getattr(params, "gather_nd", None)
  if read is not None:
    return read(indices, name=name)
  return raw_ops.GatherNd(params, indices, name=name)


def _batch_gather_nd(params, indices, batch_dims, name):
  with name_scope(name, "BatchGatherNd", [params, indices]):
    indices = convert_to_tensor(indices, name="indices")
    params = convert_to_tensor(params, name="params")
    n = indices._rank()
    if n is None or not 0 <= batch_dims < n:
      raise ValueError(f"batch_dims = {batch_dims} must be within the rank of indices, found shape {indices.shape}")
    sizes = shape(indices)
    grids = meshgrid(*[raw_ops.Range(0, sizes[d], 1) for d in _py_range(batch_dims)], indexing="ij")
    parts = []
    for g in grids:
      g = reshape(g, concat([sizes[:batch_dims], [1] * (n - batch_dims)], 0))
      parts.append(broadcast_to(g, concat([sizes[:-1], [1]], 0)))
    from sluice import _math
    parts = [_math.cast(p, indices.dtype) for p in parts]
    return raw_ops.GatherNd(params, concat(parts + [indices], -1))


def where(condition, x=None, y=None, name=None):
  """The coordinates of true elements; or, given `x` and `y` of one shape, their elements chosen by `condition`."""
  if x is None and y is None:
    with name_scope(name, "Where", [condition]) as name:
      condition = convert_to_tensor(condition, preferred_dtype=_dtypes.bool_, name="condition")
      return raw_ops.Where(condition, name=name)
  if x is not None and y is not None:
    return raw_ops.Select(condition, x, y, name=name)
  raise ValueError("x and y must both be non-None or both be None.")


def where_v2(condition, x=None, y=None, name=None):
  """As `where`, with broadcasting."""
  if x is None and y is None:
    return where(condition, name=name)
  if x is not None and y is not None:
    return raw_ops.SelectV2(condition, x, y, name=name)
  raise ValueError("x and y must both be non-None or both be None.")


def boolean_mask(tensor, mask, name="boolean_mask", axis=None):
  """The slices of `tensor` where `mask` is true."""
  with name_scope(name, values=[tensor, mask]):
    tensor = convert_to_tensor(tensor, name="tensor")
    mask = convert_to_tensor(mask, dtype=_dtypes.bool_, name="mask")
    shape_mask = mask.shape
    n = shape_mask.rank
    shape_tensor = tensor.shape
    if n == 0:
      raise ValueError("mask cannot be scalar.")
    if n is None:
      raise ValueError("Number of mask dimensions must be specified, even if some dimensions are None. E.g. shape=[None] is ok, but shape=None is not.")
    axis = 0 if axis is None else axis
    if isinstance(axis, Tensor):
      axis = constant_value(axis)
      if axis is None:
        raise ValueError("boolean_mask wants an axis that is known when the graph is built")
    axis = int(axis)
    shape_tensor[axis:axis + n].assert_is_compatible_with(shape_mask)
    from sluice import _math
    leading = _math.reduce_prod(shape(tensor)[axis:axis + n], [0])
    tensor = reshape(tensor, concat([shape(tensor)[:axis], [leading], shape(tensor)[axis + n:]], 0))
    first = shape_tensor[axis:axis + n].num_elements()
    if shape_tensor.rank is not None:
      tensor.set_shape(TensorShape(shape_tensor.as_list()[:axis]).concatenate([first]).concatenate(shape_tensor[axis + n:]))
    mask = reshape(mask, [-1])
    indices = squeeze(where(mask), axis=[1])
    return gather(tensor, indices, axis=axis)


def sequence_mask(lengths, maxlen=None, dtype=_dtypes.bool_, name=None):
  """True in the first `lengths[i]` places of row i."""
  from sluice import _math
  with name_scope(name, "SequenceMask", [lengths, maxlen]):
    lengths = convert_to_tensor(lengths)
    if maxlen is None:
      maxlen = _math.reduce_max(lengths)
      maxlen = _math.maximum(constant(0, maxlen.dtype), maxlen)
    else:
      maxlen = convert_to_tensor(maxlen)
    if maxlen._rank() not in (None, 0):
      raise ValueError(f"Argument `maxlen` must be scalar for sequence_mask, received `maxlen` = {maxlen}")
    row = raw_ops.Range(constant(0, maxlen.dtype), maxlen, constant(1, maxlen.dtype))
    matrix = raw_ops.Cast(expand_dims(lengths, -1), maxlen.dtype)
    result = row < matrix
    return result if dtype is None or result.dtype.is_compatible_with(dtype) else _math.cast(result, dtype)


def meshgrid(*args, **kwargs):
  """Coordinate grids of 1-D inputs; `indexing` is "xy" (as NumPy's default) or "ij"."""
  indexing = kwargs.pop("indexing", "xy")
  name = kwargs.pop("name", "meshgrid")
  if kwargs:
    raise TypeError(f"'{next(iter(kwargs))}' is an invalid keyword argument for this function")
  if indexing not in ("xy", "ij"):
    raise ValueError(f"Argument `indexing` parameter must be either 'xy' or 'ij', got '{indexing}'")
  with name_scope(name, "meshgrid", args):
    n = len(args)
    s0 = (1,) * n
    if not n:
      return []
    output = [reshape(stack(x), s0[:i] + (-1,) + s0[i + 1:]) for i, x in enumerate(args)]
    shapes = [size(x) for x in args]
    out_type = convert_to_tensor(args[0]).dtype.base_dtype
    if indexing == "xy" and n > 1:
      output[0] = reshape(output[0], (1, -1) + (1,) * (n - 2))
      output[1] = reshape(output[1], (-1, 1) + (1,) * (n - 2))
      shapes[0], shapes[1] = shapes[1], shapes[0]
    mult = ones(shapes, out_type)
    return [x * mult for x in output]


def broadcast_to(input, shape, name=None):  # pylint: disable=redefined-builtin,redefined-outer-name
  """`input` broadcast to a shape."""
  return raw_ops.BroadcastTo(input, shape, name=name)


def broadcast_dynamic_shape(shape_x, shape_y):
  """The shape that two shape tensors broadcast to."""
  return raw_ops.BroadcastArgs(shape_x, shape_y)


def broadcast_static_shape(shape_x, shape_y):
  """The TensorShape that two TensorShapes broadcast to; ValueError when they do not."""
  x, y = as_shape(shape_x), as_shape(shape_y)
  if x.rank is None or y.rank is None:
    return TensorShape(None)
  a, b = x.as_list(), y.as_list()
  n = max(len(a), len(b))
  a, b = [1] * (n - len(a)) + a, [1] * (n - len(b)) + b
  sizes = []
  for i, j in zip(a, b):
    if i == j or j == 1:
      sizes.append(i)
    elif i == 1:
      sizes.append(j)
    elif i is None or j is None:
      sizes.append(i if j is None else j)
    else:
      raise ValueError(f"Incompatible shapes for broadcasting: {x} and {y}")
  return TensorShape(sizes)


def reverse(tensor, axis, name=None):
  """Reverses the dimensions in `axis`."""
  return raw_ops.ReverseV2(tensor, axis, name=name)


reverse_v2 = reverse


def reverse_sequence(input, seq_lengths, seq_axis=None, batch_axis=None, name=None, seq_dim=None, batch_dim=None):  # pylint: disable=redefined-builtin
  """Reverses the first `seq_lengths[b]` elements of dimension `seq_axis` for each b of `batch_axis`."""
  seq_axis = _either(seq_axis, "seq_axis", seq_dim, "seq_dim")
  batch_axis = _either(batch_axis, "batch_axis", batch_dim, "batch_dim")
  return raw_ops.ReverseSequence(input, seq_lengths, seq_axis, batch_dim=batch_axis or 0, name=name)


def unique(x, out_idx=_dtypes.int32, name=None):
  """The distinct values of a vector in order of appearance, and each element's place among them."""
  return raw_ops.Unique(x, out_idx=out_idx, name=name)


def unique_with_counts(x, out_idx=_dtypes.int32, name=None):
  return raw_ops.UniqueWithCounts(x, out_idx=out_idx, name=name)


def setdiff1d(x, y, index_dtype=_dtypes.int32, name=None):
  """The values of x that are not in y, and their places in x."""
  return raw_ops.ListDiff(x, y, out_idx=index_dtype, name=name)


def searchsorted(sorted_sequence, values, side="left", out_type=_dtypes.int32, name=None):
  """Where to insert `values` to keep the inner dimension of `sorted_sequence` in order."""
  op = {"left": raw_ops.LowerBound, "right": raw_ops.UpperBound}.get(side)
  if op is None:
    raise ValueError(f"Argument `side` must be either 'right' or 'left'. Received: `side` = '{side}'.")
  sorted_sequence = convert_to_tensor(sorted_sequence)
  values = convert_to_tensor(values, dtype=sorted_sequence.dtype)
  columns = shape_internal(sorted_sequence)[-1]
  result = op(reshape(sorted_sequence, [-1, columns]), reshape(values, [-1, shape_internal(values)[-1]]), out_type=out_type, name=name)
  return reshape(result, shape_internal(values))


def invert_permutation(x, name=None):
  return raw_ops.InvertPermutation(x, name=name)


def scatter_nd(indices, updates, shape, name=None):  # pylint: disable=redefined-outer-name
  """Zeros of a shape with `updates` added at `indices`."""
  return raw_ops.ScatterNd(indices, updates, shape, name=name)


def space_to_depth(input, block_size, name=None, data_format="NHWC"):  # pylint: disable=redefined-builtin
  return raw_ops.SpaceToDepth(input, block_size, data_format=data_format, name=name)


def depth_to_space(input, block_size, name=None, data_format="NHWC"):  # pylint: disable=redefined-builtin
  return raw_ops.DepthToSpace(input, block_size, data_format=data_format, name=name)


def batch_to_space(input, crops, block_size, name=None, block_shape=None):  # pylint: disable=redefined-builtin
  return raw_ops.BatchToSpaceND(input, block_shape if block_shape is not None else [block_size, block_size], crops, name=name)


def space_to_batch(input, paddings, block_size=None, name=None, block_shape=None):  # pylint: disable=redefined-builtin
  return raw_ops.SpaceToBatchND(input, block_shape if block_shape is not None else [block_size, block_size], paddings, name=name)


def batch_gather(params, indices, name=None):
  """Gathers within each batch: the leading dimensions of both agree."""
  indices = convert_to_tensor(indices, name="indices")
  return gather(params, indices, axis=indices._rank() - 1, batch_dims=indices._rank() - 1, name=name)


def matrix_diag(diagonal, name="diag"):
  return raw_ops.MatrixDiag(diagonal, name=name)


def matrix_diag_part(input, name="diag_part"):  # pylint: disable=redefined-builtin
  return raw_ops.MatrixDiagPart(input, name=name)


def matrix_set_diag(input, diagonal, name="set_diag"):  # pylint: disable=redefined-builtin
  return raw_ops.MatrixSetDiag(input, diagonal, name=name)


def guarantee_const(input, name=None):  # pylint: disable=redefined-builtin
  return raw_ops.GuaranteeConst(input, name=name)


def required_space_to_batch_paddings(input_shape, block_shape, base_paddings=None, name=None):
  """(paddings, crops) that make `input_shape` a multiple of `block_shape`."""
  with name_scope(name, "required_space_to_batch_paddings", [input_shape, block_shape]):
    block = np.asarray(constant_value(convert_to_tensor(block_shape, dtype=_dtypes.int32)))
    sizes = np.asarray(constant_value(convert_to_tensor(input_shape, dtype=_dtypes.int32)))
    base = np.zeros((len(block), 2), np.int32) if base_paddings is None else np.asarray(constant_value(convert_to_tensor(base_paddings)))
    full = sizes + base.sum(axis=1)
    extra = (-full) % block
    paddings = np.stack([base[:, 0], base[:, 1] + extra], axis=1).astype(np.int32)
    crops = np.stack([np.zeros_like(extra), extra], axis=1).astype(np.int32)
    return constant(paddings, name="paddings"), constant(crops, name="crops")
