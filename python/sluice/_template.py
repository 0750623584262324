"""`make_template`: a function whose variables are made by its first call and shared by the others."""

import functools

from sluice import _variable_scope


def make_template(name_, func_, create_scope_now_=False, unique_name_=None, custom_getter_=None, **kwargs):
  """`func_` with the given arguments, in a variable scope of its own that later calls reuse."""
  return Template(name_, functools.partial(func_, **kwargs) if kwargs else func_, create_scope_now_, unique_name_, custom_getter_)


class Template:
  """What make_template returns."""

  def __init__(self, name, func, create_scope_now, unique_name, custom_getter):
    if name is None:
      raise ValueError("name cannot be None.")
    self._func, self._name, self._unique_name, self._custom_getter = func, name, unique_name, custom_getter
    self._called = False
    self._scope = None
    if create_scope_now:
      with self._open() as self._scope:
        pass

  def _open(self):
    if self._unique_name is not None:
      return _variable_scope.variable_scope(self._unique_name, custom_getter=self._custom_getter)
    return _variable_scope.variable_scope(None, default_name=self._name, custom_getter=self._custom_getter)

  def __call__(self, *args, **kwargs):
    if self._scope is None:
      with self._open() as scope:
        self._scope = scope
        result = self._func(*args, **kwargs)
    else:
      with _variable_scope.variable_scope(self._scope, reuse=self._called):
        result = self._func(*args, **kwargs)
    self._called = True
    return result

  @property
  def variable_scope(self):
    return self._scope

  @property
  def variables(self):
    return self._scope.global_variables() + self._scope.local_variables()

  @property
  def trainable_variables(self):
    return self._scope.trainable_variables()

  @property
  def global_variables(self):
    return self._scope.global_variables()

  @property
  def local_variables(self):
    return self._scope.local_variables()
