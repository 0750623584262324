"""Initial values of variables: callables (shape, dtype, partition_info) -> tensor, with TF1's names and defaults."""

import math

import numpy as np

from sluice import _array
from sluice import _dtypes
from sluice import _random
from sluice._convert import constant
from sluice._dtypes import as_dtype


class Initializer:
  """The base: `get_config` gives what `from_config` takes."""

  def __call__(self, shape, dtype=None, partition_info=None):
    raise NotImplementedError

  def get_config(self):
    return {}

  @classmethod
  def from_config(cls, config):
    return cls(**config)


class _Typed(Initializer):

  def __init__(self, dtype):
    self.dtype = as_dtype(dtype)

  def get_config(self):
    return {"dtype": self.dtype.name}


class Zeros(_Typed):
  """All zeros."""

  def __init__(self, dtype=_dtypes.float32):
    super().__init__(dtype)

  def __call__(self, shape, dtype=None, partition_info=None):
    return _array.zeros(shape, dtype or self.dtype)


class Ones(_Typed):
  """All ones."""

  def __init__(self, dtype=_dtypes.float32):
    super().__init__(dtype)

  def __call__(self, shape, dtype=None, partition_info=None):
    return _array.ones(shape, dtype or self.dtype)


class Constant(_Typed):
  """A fixed value, or list of values in row-major order."""

  def __init__(self, value=0, dtype=_dtypes.float32, verify_shape=False):
    if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
      raise TypeError(f"Invalid type for initial value={value} of type: {type(value).__name__}. Expected Python scalar, list or tuple of values, or numpy.ndarray.")
    super().__init__(dtype)
    self.value = value
    self._verify_shape = verify_shape

  def __call__(self, shape, dtype=None, partition_info=None, verify_shape=None):
    verify = self._verify_shape if verify_shape is None else verify_shape
    return constant(self.value, dtype=dtype or self.dtype, shape=shape, verify_shape=verify)

  def get_config(self):
    return {"value": self.value, "dtype": self.dtype.name}


class RandomUniform(_Typed):
  """Uniform on [minval, maxval)."""

  def __init__(self, minval=0.0, maxval=None, seed=None, dtype=_dtypes.float32):
    super().__init__(dtype)
    self.minval, self.maxval, self.seed = minval, maxval, seed

  def __call__(self, shape, dtype=None, partition_info=None):
    return _random.random_uniform(shape, self.minval, self.maxval, dtype or self.dtype, seed=self.seed)

  def get_config(self):
    return {"minval": self.minval, "maxval": self.maxval, "seed": self.seed, "dtype": self.dtype.name}


class _Normal(_Typed):
  _draw = None

  def __init__(self, mean=0.0, stddev=1.0, seed=None, dtype=_dtypes.float32):
    super().__init__(_floating(dtype))
    self.mean, self.stddev, self.seed = mean, stddev, seed

  def __call__(self, shape, dtype=None, partition_info=None):
    return type(self)._draw(shape, self.mean, self.stddev, dtype or self.dtype, seed=self.seed)

  def get_config(self):
    return {"mean": self.mean, "stddev": self.stddev, "seed": self.seed, "dtype": self.dtype.name}


class RandomNormal(_Normal):
  """Normal."""
  _draw = staticmethod(_random.random_normal)


class TruncatedNormal(_Normal):
  """Normal, within two standard deviations."""
  _draw = staticmethod(_random.truncated_normal)


class UniformUnitScaling(_Typed):
  """Uniform, scaled to keep the variance of a layer's input."""

  def __init__(self, factor=1.0, seed=None, dtype=_dtypes.float32):
    super().__init__(_floating(dtype))
    self.factor, self.seed = factor, seed

  def __call__(self, shape, dtype=None, partition_info=None):
    scale_shape = shape if partition_info is None else partition_info.full_shape
    fan = 1.0
    for side in list(scale_shape)[:-1]:
      fan *= float(int(side))
    limit = math.sqrt(3 / max(1.0, fan)) * self.factor
    return _random.random_uniform(shape, -limit, limit, dtype or self.dtype, seed=self.seed)

  def get_config(self):
    return {"factor": self.factor, "seed": self.seed, "dtype": self.dtype.name}


class VarianceScaling(_Typed):
  """Scaled by the number of inputs, outputs or their mean (`mode`); normal or uniform."""

  def __init__(self, scale=1.0, mode="fan_in", distribution="truncated_normal", seed=None, dtype=_dtypes.float32):
    if scale <= 0.0:
      raise ValueError(f"Argument `scale` must be a positive float. Received: {scale}")
    if mode not in ("fan_in", "fan_out", "fan_avg"):
      raise ValueError(f"Argument `mode` should be one of ('fan_in', 'fan_out', 'fan_avg'). Received: {mode}")
    distribution = distribution.lower()
    if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
      raise ValueError("Argument `distribution` should be one of ('normal', 'uniform', 'truncated_normal', 'untruncated_normal'). "
                       f"Received: {distribution}")
    super().__init__(_floating(dtype))
    self.scale, self.mode, self.distribution, self.seed = scale, mode, distribution, seed

  def __call__(self, shape, dtype=None, partition_info=None):
    dtype = dtype or self.dtype
    fan_in, fan_out = compute_fans(shape if partition_info is None else partition_info.full_shape)
    fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
    scale = self.scale / max(1.0, fan)
    if self.distribution in ("normal", "truncated_normal"):
      # The constant is the standard deviation of a unit normal cut at two of them.
      return _random.truncated_normal(shape, 0.0, math.sqrt(scale) / 0.87962566103423978, dtype, seed=self.seed)
    if self.distribution == "untruncated_normal":
      return _random.random_normal(shape, 0.0, math.sqrt(scale), dtype, seed=self.seed)
    limit = math.sqrt(3.0 * scale)
    return _random.random_uniform(shape, -limit, limit, dtype, seed=self.seed)

  def get_config(self):
    return {"scale": self.scale, "mode": self.mode, "distribution": self.distribution, "seed": self.seed, "dtype": self.dtype.name}


class GlorotUniform(VarianceScaling):
  """Uniform, scaled by the mean of inputs and outputs (Glorot and Bengio 2010)."""

  def __init__(self, seed=None, dtype=_dtypes.float32):
    super().__init__(scale=1.0, mode="fan_avg", distribution="uniform", seed=seed, dtype=dtype)

  def get_config(self):
    return {"seed": self.seed, "dtype": self.dtype.name}


class GlorotNormal(VarianceScaling):
  """Normal, scaled by the mean of inputs and outputs (Glorot and Bengio 2010)."""

  def __init__(self, seed=None, dtype=_dtypes.float32):
    super().__init__(scale=1.0, mode="fan_avg", distribution="truncated_normal", seed=seed, dtype=dtype)

  def get_config(self):
    return {"seed": self.seed, "dtype": self.dtype.name}


class Orthogonal(_Typed):
  """Orthonormal rows or columns, from the QR decomposition of a normal matrix."""

  def __init__(self, gain=1.0, seed=None, dtype=_dtypes.float32):
    super().__init__(_floating(dtype))
    self.gain, self.seed = gain, seed

  def __call__(self, shape, dtype=None, partition_info=None):
    dtype = as_dtype(dtype or self.dtype)
    shape = [int(s) for s in shape]
    if len(shape) < 2:
      raise ValueError(f"The tensor to initialize, specified by argument `shape` must be at least two-dimensional. Received shape={shape}")
    rows, columns = int(np.prod(shape[:-1])), shape[-1]
    from sluice import _script_ops
    from sluice._graph import get_seed
    seeds = get_seed(self.seed)

    def draw():
      rng = np.random.default_rng(None if seeds[0] is None else [abs(s) for s in seeds])
      q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
      q *= np.sign(np.diag(r))
      return (self.gain * (q.T if rows < columns else q)).reshape(shape).astype(dtype.as_numpy_dtype)

    value = _script_ops.py_func(draw, [], dtype, stateful=True, name="orthogonal")
    value.set_shape(shape)
    return value

  def get_config(self):
    return {"gain": self.gain, "seed": self.seed, "dtype": self.dtype.name}


class Identity(_Typed):
  """An identity matrix times `gain`."""

  def __init__(self, gain=1.0, dtype=_dtypes.float32):
    super().__init__(_floating(dtype))
    self.gain = gain

  def __call__(self, shape, dtype=None, partition_info=None):
    shape = [int(s) for s in shape]
    if len(shape) != 2:
      raise ValueError(f"The tensor to initialize, specified by argument `shape` must be at least two-dimensional. Received shape={shape}")
    dtype = as_dtype(dtype or self.dtype)
    return constant(self.gain * np.eye(*shape), dtype=dtype)

  def get_config(self):
    return {"gain": self.gain, "dtype": self.dtype.name}


def lecun_normal(seed=None):
  return VarianceScaling(1.0, "fan_in", "truncated_normal", seed=seed)


def lecun_uniform(seed=None):
  return VarianceScaling(1.0, "fan_in", "uniform", seed=seed)


def he_normal(seed=None):
  return VarianceScaling(2.0, "fan_in", "truncated_normal", seed=seed)


def he_uniform(seed=None):
  return VarianceScaling(2.0, "fan_in", "uniform", seed=seed)


def _floating(dtype):
  dtype = as_dtype(dtype)
  if not dtype.is_floating:
    raise TypeError(f"Argument `dtype` expected to be numeric or boolean. Received {dtype}.")
  return dtype


def compute_fans(shape):
  """(inputs, outputs) of a layer whose weights have this shape."""
  shape = [int(s) for s in shape]
  if not shape:
    return 1, 1
  if len(shape) == 1:
    return shape[0], shape[0]
  field = 1
  for side in shape[:-2]:
    field *= side
  return shape[-2] * field, shape[-1] * field


def tables_initializer(name="init_all_tables"):
  """An operation that initialises all lookup tables."""
  from sluice import _control
  from sluice._graph import GraphKeys, get_collection
  initializers = get_collection(GraphKeys.TABLE_INITIALIZERS)
  return _control.group(*initializers, name=name) if initializers else _control.no_op(name=name)
