"""Element types: `sl.float32` and the rest, with their NumPy counterparts.

A `DType` compares equal to its NumPy type, to its name and to its enum value, as TensorFlow's does. A reference
type (the output of a TF1 variable op) has the enum value of its base plus 100.
"""

import numpy as np

_REF = 100
_BY_ENUM = {}
_BY_NAME = {}


class DType:
  """The type of a tensor's elements."""

  __slots__ = ("_enum", "_name", "_numpy", "_size", "_hash")

  def __init__(self, enum, name, numpy_type, size):
    self._enum = enum
    self._name = name
    self._numpy = numpy_type
    self._size = size
    self._hash = hash(enum)

  @property
  def name(self):
    return self._name

  @property
  def as_datatype_enum(self):
    return self._enum

  @property
  def size(self):
    """Bytes of one element."""
    return self._size

  @property
  def as_numpy_dtype(self):
    """The NumPy type of arrays of these elements."""
    if self._numpy is None:
      if self.base_dtype._enum == 14:
        return _bfloat16_numpy_type()
      raise TypeError(f"{self._name} has no NumPy type")
    return self._numpy

  @property
  def real_dtype(self):
    """float for complex types, itself otherwise."""
    base = self.base_dtype
    if base is complex64:
      return float32
    if base is complex128:
      return float64
    return self

  @property
  def base_dtype(self):
    """The type without the reference mark."""
    return _BY_ENUM[self._enum - _REF] if self._enum > _REF else self

  @property
  def _is_ref_dtype(self):
    return self._enum > _REF

  @property
  def _as_ref(self):
    return self if self._enum > _REF else _BY_ENUM[self._enum + _REF]

  @property
  def is_floating(self):
    return self._enum % _REF in _FLOATING

  @property
  def is_integer(self):
    return self._enum % _REF in _INTEGER

  @property
  def is_unsigned(self):
    return self._enum % _REF in (4, 17, 22, 23)

  @property
  def is_complex(self):
    return self._enum % _REF in (8, 18)

  @property
  def is_bool(self):
    return self._enum % _REF == 10

  @property
  def is_quantized(self):
    return self._enum % _REF in (11, 12, 13, 15, 16)

  @property
  def is_numpy_compatible(self):
    return self._enum % _REF not in (20, 21)

  @property
  def min(self):
    """The smallest value; TypeError for types without an order."""
    return self._limit("min")

  @property
  def max(self):
    """The largest value; TypeError for types without an order."""
    return self._limit("max")

  def _limit(self, which):
    base = self.base_dtype
    if base is bfloat16:
      return float.fromhex("0x1.FEp127") * (1 if which == "max" else -1)
    if base is bool_:
      return which == "max"
    if self.is_floating:
      return getattr(np.finfo(self.as_numpy_dtype), which)
    if base.is_integer:
      return getattr(np.iinfo(self.as_numpy_dtype), which)
    raise TypeError(f"{self._name} has no {which} value")

  @property
  def limits(self):
    """(low, high) of the intensities an image of this type holds."""
    if self.base_dtype in (uint8, uint16, int8, int16):
      return self.min, self.max
    if self.is_bool:
      return False, True
    if self.is_floating or self.is_integer:
      return 0, 1 if self.is_floating else self.max
    raise ValueError(f"{self._name} has no intensity limits")

  def is_compatible_with(self, other):
    other = as_dtype(other)
    return self._enum in (other._enum, other.base_dtype._enum)

  def __eq__(self, other):
    if self is other:
      return True
    if other is None:
      return False
    if type(other) is not DType:
      try:
        other = as_dtype(other)
      except TypeError:
        return False
    return self._enum == other._enum

  def __ne__(self, other):
    return not self == other

  def __hash__(self):
    return self._hash

  def __int__(self):
    return self._enum

  def __repr__(self):
    return "sl." + self._name

  def __str__(self):
    return f"<dtype: {self._name!r}>"

  def __reduce__(self):
    return as_dtype, (self._name,)


_FLOATING = (1, 2, 14, 19)
_INTEGER = (3, 4, 5, 6, 9, 17, 22, 23)


def _declare(enum, name, numpy_type, size):
  dtype = DType(enum, name, numpy_type, size)
  ref = DType(enum + _REF, name + "_ref", numpy_type, size)
  for d in (dtype, ref):
    _BY_ENUM[d._enum] = d
    _BY_NAME[d._name] = d
  return dtype


float32 = _declare(1, "float32", np.float32, 4)
float64 = double = _declare(2, "float64", np.float64, 8)
int32 = _declare(3, "int32", np.int32, 4)
uint8 = _declare(4, "uint8", np.uint8, 1)
int16 = _declare(5, "int16", np.int16, 2)
int8 = _declare(6, "int8", np.int8, 1)
string = _declare(7, "string", np.object_, 0)
complex64 = _declare(8, "complex64", np.complex64, 8)
int64 = _declare(9, "int64", np.int64, 8)
bool_ = _declare(10, "bool", np.bool_, 1)
qint8 = _declare(11, "qint8", np.dtype([("qint8", np.int8)]), 1)
quint8 = _declare(12, "quint8", np.dtype([("quint8", np.uint8)]), 1)
qint32 = _declare(13, "qint32", np.dtype([("qint32", np.int32)]), 4)
bfloat16 = _declare(14, "bfloat16", None, 2)
qint16 = _declare(15, "qint16", np.dtype([("qint16", np.int16)]), 2)
quint16 = _declare(16, "quint16", np.dtype([("quint16", np.uint16)]), 2)
uint16 = _declare(17, "uint16", np.uint16, 2)
complex128 = _declare(18, "complex128", np.complex128, 16)
float16 = half = _declare(19, "float16", np.float16, 2)
resource = _declare(20, "resource", np.object_, 0)
variant = _declare(21, "variant", np.object_, 0)
uint32 = _declare(22, "uint32", np.uint32, 4)
uint64 = _declare(23, "uint64", np.uint64, 8)

QUANTIZED_DTYPES = frozenset([qint8, quint8, qint32, qint16, quint16])

_BY_NAME.update({"half": float16, "float": float32, "double": float64, "half_ref": float16._as_ref,
                 "float_ref": float32._as_ref, "double_ref": float64._as_ref})

_BY_NUMPY = {np.dtype(d._numpy): d for d in list(_BY_ENUM.values())
             if d._enum < _REF and d._numpy is not None and d._numpy is not np.object_}
_BY_NUMPY[np.dtype(np.object_)] = string
_BY_TYPE = {float: float32, int: int64, bool: bool_, complex: complex128, str: string, bytes: string,
            object: string}
_BY_TYPE.update({d._numpy: d for d in _BY_ENUM.values() if isinstance(d._numpy, type) and d._enum < _REF and d is not resource and d is not variant})
_BY_TYPE[np.object_] = string

_bfloat16_type = None


def _bfloat16_numpy_type():
  """The type that the ml_dtypes package adds to NumPy, or float32, which holds every bfloat16 exactly."""
  global _bfloat16_type
  if _bfloat16_type is None:
    try:
      import ml_dtypes
      _bfloat16_type = ml_dtypes.bfloat16
      _BY_NUMPY[np.dtype(_bfloat16_type)] = bfloat16
    except ImportError:
      _bfloat16_type = np.float32
  return _bfloat16_type


def as_dtype(value):
  """The DType for a DType, an enum value, a name, a NumPy type or a Python type; TypeError otherwise."""
  if type(value) is DType:
    return value
  try:
    found = _BY_TYPE.get(value)
    if found is not None:
      return found
    if isinstance(value, (int, np.integer)):
      return _BY_ENUM[int(value)]
    if isinstance(value, str) and value in _BY_NAME:
      return _BY_NAME[value]
  except (KeyError, TypeError):
    pass
  try:
    numpy_dtype = np.dtype(value)
  except (TypeError, ValueError):
    raise TypeError(f"cannot convert {value!r} to a DType") from None
  found = _BY_NUMPY.get(numpy_dtype) or _BY_NUMPY.get(numpy_dtype.newbyteorder("="))
  if found is not None:
    return found
  if numpy_dtype.kind in "SU":
    return string
  if numpy_dtype.name == "bfloat16":
    return bfloat16
  raise TypeError(f"cannot convert {value!r} to a DType")
