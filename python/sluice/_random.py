"""Random tensors. The numbers are those of TensorFlow's Philox for the same graph seed and op seed."""

import numpy as np

from sluice import _array
from sluice import _dtypes
from sluice import raw_ops
from sluice._convert import constant_value, convert_to_tensor
from sluice._dtypes import as_dtype
from sluice._graph import Tensor, get_seed, name_scope
from sluice._shapes import TensorShape


def _seeds(seed):
  first, second = get_seed(seed)
  return first or 0, second or 0


def _shape_tensor(shape):
  """A shape as a tensor; int32 where an empty list leaves it open."""
  if isinstance(shape, TensorShape):
    shape = shape.as_list()
  if isinstance(shape, (tuple, list)) and not shape:
    return convert_to_tensor(shape, dtype=_dtypes.int32, name="shape")
  return convert_to_tensor(shape, name="shape")


def random_normal(shape, mean=0.0, stddev=1.0, dtype=_dtypes.float32, seed=None, name=None):
  """Values of a normal distribution."""
  with name_scope(name, "random_normal", [shape, mean, stddev]) as name:
    shape = _shape_tensor(shape)
    mean = convert_to_tensor(mean, dtype=dtype, name="mean")
    stddev = convert_to_tensor(stddev, dtype=dtype, name="stddev")
    seed1, seed2 = _seeds(seed)
    values = raw_ops.RandomStandardNormal(shape, dtype, seed=seed1, seed2=seed2)
    result = raw_ops.AddV2(values * stddev, mean, name=name)
    _keep_shape(result, shape)
    return result


def truncated_normal(shape, mean=0.0, stddev=1.0, dtype=_dtypes.float32, seed=None, name=None):
  """Values of a normal distribution, drawn again while they are more than two standard deviations from the mean."""
  with name_scope(name, "truncated_normal", [shape, mean, stddev]) as name:
    shape = _shape_tensor(shape)
    mean = convert_to_tensor(mean, dtype=dtype, name="mean")
    stddev = convert_to_tensor(stddev, dtype=dtype, name="stddev")
    seed1, seed2 = _seeds(seed)
    values = raw_ops.TruncatedNormal(shape, dtype, seed=seed1, seed2=seed2)
    result = raw_ops.AddV2(values * stddev, mean, name=name)
    _keep_shape(result, shape)
    return result


def random_uniform(shape, minval=0, maxval=None, dtype=_dtypes.float32, seed=None, name=None):
  """Values of a uniform distribution on [minval, maxval); integers need a maxval."""
  dtype = as_dtype(dtype)
  if dtype not in (_dtypes.float16, _dtypes.bfloat16, _dtypes.float32, _dtypes.float64, _dtypes.int32, _dtypes.int64):
    raise ValueError(f"Argument `dtype` got invalid value {dtype}. Accepted dtypes are float16, bfloat16, float32, float64, int32, int64.")
  if maxval is None:
    if dtype.is_integer:
      raise ValueError(f"Must specify maxval for integer dtype {dtype}")
    maxval = 1
  with name_scope(name, "random_uniform", [shape, minval, maxval]) as name:
    shape = _shape_tensor(shape)
    plain = dtype.is_floating and isinstance(minval, (int, float)) and minval == 0 and isinstance(maxval, (int, float)) and maxval == 1
    if not plain:
      minval = convert_to_tensor(minval, dtype=dtype, name="min")
      maxval = convert_to_tensor(maxval, dtype=dtype, name="max")
    seed1, seed2 = _seeds(seed)
    if dtype.is_integer:
      result = raw_ops.RandomUniformInt(shape, minval, maxval, seed=seed1, seed2=seed2, name=name)
    elif plain:
      result = raw_ops.RandomUniform(shape, dtype, seed=seed1, seed2=seed2)
    else:
      values = raw_ops.RandomUniform(shape, dtype, seed=seed1, seed2=seed2)
      result = raw_ops.AddV2(values * (maxval - minval), minval, name=name)
    _keep_shape(result, shape)
    return result


def _keep_shape(result, shape):
  if result._rank() is None:
    from sluice._convert import constant_value_as_shape
    result.set_shape(constant_value_as_shape(shape))


def random_shuffle(value, seed=None, name=None):
  """The rows of `value` in random order."""
  seed1, seed2 = _seeds(seed)
  return raw_ops.RandomShuffle(value, seed=seed1, seed2=seed2, name=name)


def random_crop(value, size, seed=None, name=None):
  """A part of the given size at a random place."""
  with name_scope(name, "random_crop", [value, size]) as name:
    value = convert_to_tensor(value, name="value")
    size = convert_to_tensor(size, dtype=_dtypes.int32, name="size")
    shape = _array.shape(value)
    limit = shape - size + 1
    offset = random_uniform(_array.shape(shape), dtype=size.dtype, maxval=size.dtype.max, seed=seed) % limit
    return _array.slice(value, offset, size, name=name)


def multinomial(logits, num_samples, seed=None, name=None, output_dtype=None):
  """Draws class numbers with the unnormalised log-probabilities in each row."""
  with name_scope(name, "multinomial", [logits]):
    logits = convert_to_tensor(logits, name="logits")
    seed1, seed2 = _seeds(seed)
    return raw_ops.Multinomial(logits, num_samples, seed=seed1, seed2=seed2, output_dtype=output_dtype or _dtypes.int64)


categorical = multinomial


def random_gamma(shape, alpha, beta=None, dtype=_dtypes.float32, seed=None, name=None):
  """Values of gamma distributions with parameters alpha and (inverse scale) beta, `shape` of them for each."""
  with name_scope(name, "random_gamma", [shape, alpha, beta]):
    shape = convert_to_tensor(shape, name="shape", dtype=_dtypes.int32)
    alpha = convert_to_tensor(alpha, name="alpha", dtype=dtype)
    beta = convert_to_tensor(1 if beta is None else beta, name="beta", dtype=dtype)
    alpha = _array.broadcast_to(alpha, _array.broadcast_dynamic_shape(_array.shape(alpha), _array.shape(beta)))
    seed1, seed2 = _seeds(seed)
    tiny = np.finfo(alpha.dtype.as_numpy_dtype).tiny
    return raw_ops.Maximum(tiny, raw_ops.RandomGamma(shape, alpha, seed=seed1, seed2=seed2) / beta)


def random_poisson(lam, shape, dtype=_dtypes.float32, seed=None, name=None):
  """Values of Poisson distributions, `shape` of them for each rate."""
  with name_scope(name, "random_poisson", [lam, shape]):
    shape = convert_to_tensor(shape, name="shape", dtype=_dtypes.int32)
    seed1, seed2 = _seeds(seed)
    return raw_ops.RandomPoissonV2(shape, lam, dtype=dtype, seed=seed1, seed2=seed2)
