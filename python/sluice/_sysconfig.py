"""Headers, library and flags for building custom ops."""

import os

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def get_include():
  """The folder of the C++ headers."""
  return os.path.join(_PACKAGE, "include")


def get_lib():
  """The folder of libsluice.so."""
  return os.path.join(_PACKAGE, "native")


def get_compile_flags():
  """Compiler flags for a library of custom ops; Abseil's and Eigen's headers are Debian's libabsl-dev and libeigen3-dev."""
  return ["-I" + get_include(), "-I/usr/include/eigen3", "-std=c++17"]


def get_link_flags():
  """Linker flags for a library of custom ops."""
  return ["-L" + get_lib(), "-l:libsluice.so"]
