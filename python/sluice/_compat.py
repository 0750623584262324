"""Switches of TensorFlow 2 that programs for `tf.compat.v1` call: what they ask for is how Sluice always works."""


def disable_v2_behavior():
  """Nothing to do: this is the behaviour."""


def disable_eager_execution():
  """Nothing to do: graphs are all there is."""


def disable_tensor_equality():
  """Nothing to do: tensors compare by identity."""


def disable_v2_tensorshape():
  """Nothing to do."""


def enable_control_flow_v2():
  """Nothing to do: cond and while_loop are functional."""


def disable_control_flow_v2():
  """Nothing to do; cond and while_loop stay functional."""


def control_flow_v2_enabled():
  return True


def executing_eagerly():
  return False


executing_eagerly_outside_functions = executing_eagerly


def add_check_numerics_ops():
  """An operation that checks every floating-point tensor of the default graph for values that are not finite."""
  from sluice import _control
  from sluice import _graph
  from sluice import raw_ops
  checks = []
  for op in _graph.get_default_graph().get_operations():
    for t in op.outputs:
      if t.dtype.base_dtype.is_floating and not t.dtype._is_ref_dtype:
        with _graph.control_dependencies(checks):
          checks = [raw_ops.CheckNumerics(t, message=t.name).op]
  return _control.group(*checks)
