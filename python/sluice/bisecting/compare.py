"""What differs between two recordings of one program."""
import numpy as np


def difference(found, wanted, rtol=0.0, atol=0.0):
  """The first difference in words, or None. With no tolerance values are equal when their bits are, or both are NaN."""
  for (key, steps), (other_key, other_steps) in zip(found, wanted):
    if key != other_key:
      return "it runs %s, not %s" % (_kind(key), _kind(other_key))
    for number, (values, other_values) in enumerate(zip(steps, other_steps)):
      for name, value, other in zip(key[2], values, other_values):
        text = _values_differ(value, other, rtol, atol)
        if text:
          return "step %d of %s: '%s' %s" % (number + 1, _kind(key), name, text)
    if len(steps) != len(other_steps):
      return "%s ran %d times, not %d" % (_kind(key), len(steps), len(other_steps))
  if len(found) != len(wanted):
    return "it ran %d kinds of steps, not %d" % (len(found), len(wanted))
  return None


def _kind(key):
  names = list(key[3]) + list(key[2])
  return ", ".join("'%s'" % n for n in names[:3]) + (", ..." if len(names) > 3 else "")


def _values_differ(value, other, rtol, atol):
  if value.dtype != other.dtype or value.shape != other.shape:
    return "is %s %s, not %s %s" % (value.dtype, list(value.shape), other.dtype, list(other.shape))
  if value.dtype.hasobject or value.dtype.kind not in "fc":
    return None if value.tolist() == other.tolist() else "differs"
  same = _same_bits(value, other)
  if rtol or atol:
    same |= np.isclose(value, other, rtol, atol, equal_nan=True)
  wrong = np.flatnonzero(~same.reshape(-1))
  if not wrong.size:
    return None
  with np.errstate(all="ignore"):
    apart = np.abs(value.astype(np.complex128) - other.astype(np.complex128)).reshape(-1)[wrong]
  worst = wrong[np.argmax(np.where(np.isnan(apart), np.inf, apart))]
  at = [int(i) for i in np.unravel_index(worst, value.shape)]
  return "differs in %d of %d elements, most at %s: %r, not %r" % (
      wrong.size, value.size, at, value.reshape(-1)[worst].item(), other.reshape(-1)[worst].item())


def _same_bits(value, other):
  a, b = np.ascontiguousarray(value), np.ascontiguousarray(other)
  size = a.dtype.itemsize
  bits = (a.reshape(-1).view(np.uint8).reshape(-1, size) == b.reshape(-1).view(np.uint8).reshape(-1, size)).all(1)
  return (bits | (np.isnan(a) & np.isnan(b)).reshape(-1)).reshape(value.shape)
