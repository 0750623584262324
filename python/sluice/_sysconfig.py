"""Where the shared library is, for building custom ops."""

import os


def get_lib():
  """The folder of libsluice.so."""
  return os.path.join(os.path.dirname(os.path.abspath(__file__)), "native")


def get_link_flags():
  """Linker flags for a custom op library."""
  return [f"-L{get_lib()}", "-l:libsluice.so"]
