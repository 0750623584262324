"""Conversions between str and bytes; `v1` is the package itself."""

import numbers as _numbers
import os as _os
import sys as _sys

import numpy as _np

bytes_or_text_types = (bytes, str)
complex_types = (_numbers.Complex, _np.number)
integral_types = (_numbers.Integral, _np.integer)
real_types = (_numbers.Real, _np.integer, _np.floating)


def as_bytes(bytes_or_text, encoding="utf-8"):
  """UTF-8 bytes of either."""
  if isinstance(bytes_or_text, bytearray):
    return bytes(bytes_or_text)
  if isinstance(bytes_or_text, str):
    return bytes_or_text.encode(encoding)
  if isinstance(bytes_or_text, bytes):
    return bytes_or_text
  raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


def as_text(bytes_or_text, encoding="utf-8"):
  """A str of either."""
  if isinstance(bytes_or_text, str):
    return bytes_or_text
  if isinstance(bytes_or_text, bytes):
    return bytes_or_text.decode(encoding)
  raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


as_str = as_text


def as_str_any(value, encoding="utf-8"):
  return as_text(value, encoding) if isinstance(value, bytes) else str(value)


def path_to_str(path):
  return as_str_any(_os.fspath(path)) if hasattr(path, "__fspath__") else path


def forward_compatible(year, month, day):
  return True


def __getattr__(name):
  if name == "v1":
    return _sys.modules["sluice"]
  raise AttributeError(f"module 'sluice.compat' has no attribute '{name}'")
