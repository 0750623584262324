"""Static shapes: `TensorShape` and `Dimension`, either of which may be unknown in part or whole."""


def dimension_value(dimension):
  """The int of a Dimension or int, None when unknown."""
  return dimension.value if isinstance(dimension, Dimension) else dimension


def dimension_at_index(shape, index):
  """The Dimension at an index, unknown when the rank is."""
  return Dimension(None) if shape.rank is None else shape.dims[index]


class Dimension:
  """One side of a shape: an int that is at least zero, or unknown (`value` is None)."""

  __slots__ = ("_value",)

  def __init__(self, value):
    if value is None:
      self._value = None
    elif isinstance(value, Dimension):
      self._value = value._value
    else:
      try:
        self._value = value.__index__()
      except AttributeError:
        if not isinstance(value, str) and int(value) == value:
          self._value = int(value)
        else:
          raise TypeError(f"a dimension must be an integer or None, found {value!r}") from None
      if self._value < 0:
        raise ValueError(f"a dimension must be >= 0, found {self._value}")

  @property
  def value(self):
    return self._value

  def is_compatible_with(self, other):
    other = as_dimension(other)
    return self._value is None or other._value is None or self._value == other._value

  def assert_is_compatible_with(self, other):
    if not self.is_compatible_with(other):
      raise ValueError(f"Dimensions {self} and {other} are not compatible")

  def merge_with(self, other):
    other = as_dimension(other)
    self.assert_is_compatible_with(other)
    return Dimension(other._value if self._value is None else self._value)

  def _with(self, other, fn):
    try:
      other = as_dimension(other)
    except (TypeError, ValueError):
      return NotImplemented
    if self._value is None or other._value is None:
      return Dimension(None)
    return Dimension(fn(self._value, other._value))

  def __add__(self, other):
    return self._with(other, lambda a, b: a + b)

  __radd__ = __add__

  def __sub__(self, other):
    return self._with(other, lambda a, b: a - b)

  def __rsub__(self, other):
    return self._with(other, lambda a, b: b - a)

  def __mul__(self, other):
    return self._with(other, lambda a, b: a * b)

  __rmul__ = __mul__

  def __floordiv__(self, other):
    return self._with(other, lambda a, b: a // b)

  def __rfloordiv__(self, other):
    return self._with(other, lambda a, b: b // a)

  def __truediv__(self, other):
    raise TypeError(f"unsupported operand for /: Dimension and {type(other).__name__}; use // instead")

  def __rtruediv__(self, other):
    raise TypeError(f"unsupported operand for /: {type(other).__name__} and Dimension; use // instead")

  def __mod__(self, other):
    return self._with(other, lambda a, b: a % b)

  def __rmod__(self, other):
    return self._with(other, lambda a, b: b % a)

  def _compare(self, other, fn):
    try:
      other = as_dimension(other)
    except (TypeError, ValueError):
      return NotImplemented
    if self._value is None or other._value is None:
      return None
    return fn(self._value, other._value)

  def __eq__(self, other):
    return self._compare(other, lambda a, b: a == b)

  def __ne__(self, other):
    return self._compare(other, lambda a, b: a != b)

  def __lt__(self, other):
    return self._compare(other, lambda a, b: a < b)

  def __le__(self, other):
    return self._compare(other, lambda a, b: a <= b)

  def __gt__(self, other):
    return self._compare(other, lambda a, b: a > b)

  def __ge__(self, other):
    return self._compare(other, lambda a, b: a >= b)

  def __hash__(self):
    return hash(self._value)

  def __int__(self):
    return self._value

  def __index__(self):
    if self._value is None:
      raise TypeError("an unknown dimension has no value")
    return self._value

  def __long__(self):
    return self._value

  def __repr__(self):
    return f"Dimension({self._value!r})"

  def __str__(self):
    return "?" if self._value is None else str(self._value)


def as_dimension(value):
  return value if isinstance(value, Dimension) else Dimension(value)


class TensorShape:
  """The static shape of a tensor; `TensorShape(None)` has unknown rank, `TensorShape([2, None])` an unknown side."""

  __slots__ = ("_sizes",)

  def __init__(self, dims):
    if dims is None:
      self._sizes = None
    elif type(dims) is TensorShape:
      self._sizes = dims._sizes
    elif isinstance(dims, (tuple, list)):
      self._sizes = tuple([d if type(d) is int and d >= 0 else _size_of(d) for d in dims])
    elif hasattr(dims, "dim") and hasattr(dims, "unknown_rank"):  # A TensorShapeProto.
      self._sizes = None if dims.unknown_rank else tuple(None if d.size == -1 else d.size for d in dims.dim)
    elif hasattr(dims, "__iter__") and not isinstance(dims, (str, bytes)):
      self._sizes = tuple(_size_of(d) for d in dims)
    else:
      self._sizes = (_size_of(dims),)

  @classmethod
  def _of(cls, sizes):
    """From a tuple whose unknown sides are None (or None for unknown rank), unchecked."""
    self = cls.__new__(cls)
    self._sizes = sizes
    return self

  @property
  def rank(self):
    return None if self._sizes is None else len(self._sizes)

  @property
  def ndims(self):
    return None if self._sizes is None else len(self._sizes)

  @property
  def dims(self):
    """A list of Dimensions, None when the rank is unknown."""
    return None if self._sizes is None else [Dimension(s) for s in self._sizes]

  def __len__(self):
    if self._sizes is None:
      raise ValueError("Cannot take the length of shape with unknown rank.")
    return len(self._sizes)

  def __bool__(self):
    return self._sizes is not None

  def __iter__(self):
    if self._sizes is None:
      raise ValueError("Cannot iterate over a shape with unknown rank.")
    return iter([Dimension(s) for s in self._sizes])

  def __getitem__(self, key):
    if self._sizes is not None:
      if isinstance(key, slice):
        return TensorShape._of(self._sizes[key])
      return Dimension(self._sizes[key])
    if isinstance(key, slice):
      start = key.start if key.start is not None else 0
      stop = key.stop
      if key.step is not None:
        raise ValueError("Steps are not yet handled for a shape of unknown rank")
      if stop is None or start < 0 or stop < 0:
        return TensorShape(None)
      return TensorShape._of((None,) * max(0, stop - start))
    return Dimension(None)

  def num_elements(self):
    """The product of the sides, None unless fully defined."""
    if not self.is_fully_defined():
      return None
    n = 1
    for s in self._sizes:
      n *= s
    return n

  def is_fully_defined(self):
    return self._sizes is not None and None not in self._sizes

  def assert_is_fully_defined(self):
    if not self.is_fully_defined():
      raise ValueError(f"Shape {self} is not fully defined")

  def is_compatible_with(self, other):
    other = as_shape(other)
    if self._sizes is None or other._sizes is None:
      return True
    return len(self._sizes) == len(other._sizes) and all(
        a is None or b is None or a == b for a, b in zip(self._sizes, other._sizes))

  def assert_is_compatible_with(self, other):
    if not self.is_compatible_with(other):
      raise ValueError(f"Shapes {self} and {other} are incompatible")

  def most_specific_compatible_shape(self, other):
    other = as_shape(other)
    if self._sizes is None or other._sizes is None or len(self._sizes) != len(other._sizes):
      return TensorShape(None)
    return TensorShape._of(tuple(a if a == b else None for a, b in zip(self._sizes, other._sizes)))

  def merge_with(self, other):
    """What both say together; ValueError when they contradict each other."""
    other = as_shape(other)
    if self._sizes is None:
      return other
    if other._sizes is None:
      return self
    if not self.is_compatible_with(other):
      raise ValueError(f"Shapes {self} and {other} are not compatible")
    return TensorShape._of(tuple(b if a is None else a for a, b in zip(self._sizes, other._sizes)))

  def concatenate(self, other):
    other = as_shape(other)
    if self._sizes is None or other._sizes is None:
      return TensorShape(None)
    return TensorShape._of(self._sizes + other._sizes)

  def assert_same_rank(self, other):
    other = as_shape(other)
    if self.rank is not None and other.rank is not None and self.rank != other.rank:
      raise ValueError(f"Shapes {self} and {other} must have the same rank")

  def assert_has_rank(self, rank):
    if self.rank not in (None, rank):
      raise ValueError(f"Shape {self} must have rank {rank}")

  def with_rank(self, rank):
    try:
      return self.merge_with(unknown_shape(rank))
    except ValueError:
      raise ValueError(f"Shape {self} must have rank {rank}") from None

  def with_rank_at_least(self, rank):
    if self.rank is not None and self.rank < rank:
      raise ValueError(f"Shape {self} must have rank at least {rank}")
    return self

  def with_rank_at_most(self, rank):
    if self.rank is not None and self.rank > rank:
      raise ValueError(f"Shape {self} must have rank at most {rank}")
    return self

  def as_list(self):
    """A list of ints and Nones; ValueError when the rank is unknown."""
    if self._sizes is None:
      raise ValueError("as_list() is not defined on an unknown TensorShape.")
    return list(self._sizes)

  def as_proto(self):
    from sluice.protos import tensor_shape_pb2
    if self._sizes is None:
      return tensor_shape_pb2.TensorShapeProto(unknown_rank=True)
    dim = tensor_shape_pb2.TensorShapeProto.Dim
    return tensor_shape_pb2.TensorShapeProto(dim=[dim(size=-1 if s is None else s) for s in self._sizes])

  def _native(self):
    """The form the native module takes: None, or a tuple with -1 for unknown."""
    sizes = self._sizes
    return sizes if sizes is None or None not in sizes else tuple([-1 if s is None else s for s in sizes])

  def __eq__(self, other):
    try:
      other = as_shape(other)
    except (TypeError, ValueError):
      return NotImplemented
    return self._sizes == other._sizes

  def __ne__(self, other):
    try:
      other = as_shape(other)
    except (TypeError, ValueError):
      return NotImplemented
    if self._sizes is None or other._sizes is None:
      raise ValueError("The inequality of unknown TensorShapes is undefined.")
    return self._sizes != other._sizes

  def __hash__(self):
    return hash(self._sizes)

  def __add__(self, other):
    return self.concatenate(other)

  def __radd__(self, other):
    return as_shape(other).concatenate(self)

  def __repr__(self):
    if self._sizes is None:
      return "TensorShape(None)"
    return f"TensorShape({[Dimension(s) for s in self._sizes]})"

  def __str__(self):
    if self._sizes is None:
      return "<unknown>"
    sides = ["?" if s is None else str(s) for s in self._sizes]
    return f"({sides[0]},)" if len(sides) == 1 else f"({', '.join(sides)})"

  def __reduce__(self):
    return TensorShape, (None if self._sizes is None else list(self._sizes),)


def _size_of(dim):
  if dim is None or type(dim) is int and dim >= 0:
    return dim
  return Dimension(dim)._value


def as_shape(shape):
  return shape if isinstance(shape, TensorShape) else TensorShape(shape)


def unknown_shape(rank=None):
  return TensorShape(None) if rank is None else TensorShape._of((None,) * rank)


def scalar():
  return TensorShape._of(())


def vector(length):
  return TensorShape([length])


def matrix(rows, cols):
  return TensorShape([rows, cols])
