"""Custom ops: `load_op_library` loads a shared library and gives a module with a wrapper for each op it adds."""

import re
import types

from sluice import _op
from sluice._native import _sluice

_loaded = {}


def load_op_library(library_filename):
  """A module with functions named as TensorFlow does: the op ZeroOut becomes `zero_out`."""
  if library_filename in _loaded:
    return _loaded[library_filename]
  module = types.ModuleType(library_filename)
  module.__dict__["__file__"] = library_filename
  for op in _sluice.load_op_library(library_filename):
    wrapper = _wrapper(op)
    setattr(module, re.sub(r"(?<=[a-z0-9])([A-Z])|(?<=[A-Z])([A-Z][a-z])", lambda m: "_" + m.group(0), op).lower(), wrapper)
    setattr(module, op, wrapper)
  _loaded[library_filename] = module
  return module


def load_library(library_location):
  """Loads the op libraries of a file or folder."""
  import os
  if os.path.isdir(library_location):
    for name in sorted(os.listdir(library_location)):
      if name.endswith(".so"):
        load_op_library(os.path.join(library_location, name))
  elif os.path.exists(library_location):
    load_op_library(library_location)
  else:
    raise OSError(f"The file or folder to load kernel libraries from does not exist: {library_location}")


def _wrapper(op_type):
  spec = _op.spec_of(op_type)
  names = [a.name for a in spec.inputs]
  params = [p[0] for p in spec.params]

  def wrapper(*args, **kwargs):
    name = kwargs.pop("name", None)
    given = dict(zip(names + params + ["name"], args))
    given.update(kwargs)
    name = given.pop("name", name)
    missing = [n for n in names + params if n not in given and n not in spec.defaults]
    unknown = [n for n in given if n not in names and n not in params]
    if missing or unknown:
      raise TypeError(f"{op_type}: " + (f"missing argument '{missing[0]}'" if missing else f"unexpected argument '{unknown[0]}'"))
    return _op.call(op_type, name, [given[n] for n in names], [given.get(n) for n in params])

  wrapper.__name__ = op_type
  wrapper.__doc__ = _sluice.op_doc(op_type)[0]
  return wrapper
