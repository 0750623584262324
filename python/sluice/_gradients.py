"""Gradients: the rules are in C++ beside the ops; Python registers more, or overrides them."""

from sluice import _array
from sluice import _dtypes
from sluice import _graph
from sluice import raw_ops
from sluice._convert import convert_to_tensor
from sluice._graph import IndexedSlices, NotDifferentiable, Tensor, get_default_graph, name_scope

__all__ = ["AggregationMethod", "UnconnectedGradients", "NotDifferentiable", "custom_gradient", "gradients", "hessians", "stop_gradient"]


class AggregationMethod:
  """How gradients that meet are added; all are the same here."""
  ADD_N = 0
  DEFAULT = 0
  EXPERIMENTAL_TREE = 1
  EXPERIMENTAL_ACCUMULATE_N = 2


class UnconnectedGradients:
  """What `gradients` gives for an x that no y depends on."""
  NONE = "none"
  ZERO = "zero"


def stop_gradient(input, name=None):  # pylint: disable=redefined-builtin
  """`input`, which gradients take for a constant."""
  return raw_ops.StopGradient(input, name=name)


def _as_list(x):
  return list(x) if isinstance(x, (list, tuple)) else [x]


def _source(x):
  """The tensor to differentiate with respect to."""
  handle = getattr(x, "handle", None)
  if handle is not None and not isinstance(x, Tensor):
    return handle
  reference = getattr(x, "_ref", None)
  if reference is not None and not isinstance(x, Tensor):
    return reference()
  return convert_to_tensor(x.values if isinstance(x, IndexedSlices) else x)


def gradients(ys, xs, grad_ys=None, name="gradients", colocate_gradients_with_ops=False, gate_gradients=False, aggregation_method=None,
              stop_gradients=None, unconnected_gradients=UnconnectedGradients.NONE):
  """The derivatives of the sum of `ys` with respect to each of `xs`.

  Args:
    grad_ys: the gradient of each y to begin with, ones where None.
    stop_gradients: tensors taken as constants.
    unconnected_gradients: "none" gives None for an x that no y depends on, "zero" zeros.
  Returns: a Tensor or IndexedSlices (for rows that a gather took) for each x.
  """
  ys, many = _as_list(ys), _as_list(xs)
  stop = [] if stop_gradients is None else _as_list(stop_gradients)
  grad_ys = [None] * len(ys) if grad_ys is None else _as_list(grad_ys)
  if len(grad_ys) != len(ys):
    raise ValueError(f"grad_ys must have as many entries as ys: found {len(grad_ys)}, wanted {len(ys)}")
  zero = getattr(unconnected_gradients, "value", unconnected_gradients)
  if zero not in ("none", "zero"):
    raise ValueError(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")
  from sluice._variable_scope import PartitionedVariable
  if any(isinstance(x, PartitionedVariable) for x in many):
    return _partitioned(ys, many, grad_ys, name, colocate_gradients_with_ops, gate_gradients, aggregation_method, stop, unconnected_gradients)
  found = _graph.graph_of(ys + many)
  graph = get_default_graph()
  if found is not None and found is not graph:
    with found.as_default():
      return gradients(ys, xs, grad_ys, name, colocate_gradients_with_ops, gate_gradients, aggregation_method, stop_gradients, unconnected_gradients)
  with name_scope(name, "gradients", None) as scope:
    y_tensors = [convert_to_tensor(y, name="y") for y in ys]
    x_tensors = [_source(x) for x in many]
    stop_tensors = [_source(s) for s in stop]
    seeds = []
    for i, (g, y) in enumerate(zip(grad_ys, y_tensors)):
      if not (y.dtype.is_floating or y.dtype.is_complex) and y.dtype.base_dtype not in (_dtypes.resource, _dtypes.variant):
        if g is None:
          raise TypeError(f"Gradients of tensors must be floating-point or complex, found {y.dtype.base_dtype.name} for {y}")
      if g is None:
        if y.dtype.is_complex:
          raise TypeError(f"Gradients of complex tensors ({y}) must set grad_ys (y.dtype = {y.dtype!r})")
        shape = _array.shape(y)
        with name_scope(f"grad_ys_{i}") as grad_name:
          g = _array.fill(shape, convert_to_tensor(1, dtype=y.dtype.base_dtype, name="Const"), name=grad_name)
      else:
        g = convert_to_tensor(g, dtype=y.dtype.base_dtype, name=f"grad_ys_{i}")
      seeds.append(g._key)
    native = graph._native.gradients([y._key for y in y_tensors], [x._key for x in x_tensors], seeds, scope[:-1], bool(colocate_gradients_with_ops),
                                     [s._key for s in stop_tensors], zero == "zero", _override_for(graph), _graph._gradient_functions)
    graph._sync()
    results = [_from_native(graph, g) for g in native]
    if gate_gradients:
      from sluice import _control
      known = [g for g in results if g is not None]
      gated = iter(_control.tuple(known)) if known else iter(())
      results = [None if g is None else next(gated) for g in results]
  return results


def _partitioned(ys, xs, grad_ys, name, colocate, gate, aggregation, stop, unconnected):
  from sluice._variable_scope import PartitionedVariable
  flat, spans = [], []
  for x in xs:
    parts = list(x) if isinstance(x, PartitionedVariable) else [x]
    spans.append((len(flat), len(parts), isinstance(x, PartitionedVariable)))
    flat.extend(parts)
  grads = gradients(ys, flat, grad_ys, name, colocate, gate, aggregation, stop, unconnected)
  return [grads[at:at + n] if listed else grads[at] for at, n, listed in spans]


def _from_native(graph, keys):
  dense, values, indices, dense_shape = keys
  if dense >= 0:
    return graph._tensor(dense)
  if values >= 0:
    return IndexedSlices(graph._tensor(values), graph._tensor(indices), graph._tensor(dense_shape))
  return None


def _to_native(grad):
  if grad is None:
    return -1, -1, -1, -1
  if isinstance(grad, IndexedSlices):
    return -1, grad.values._key, grad.indices._key, -1 if grad.dense_shape is None else grad.dense_shape._key
  return convert_to_tensor(grad)._key, -1, -1, -1


def _override_for(graph):
  """The callback for rules written in Python; the native module calls it for operations that may have one."""
  registered = _graph._gradient_functions

  def override(node_id, dys):
    graph._sync()
    op = graph._by_id[node_id]
    try:
      rule_name = op.get_attr("_gradient_op_type").decode()
    except ValueError:
      rule_name = op.type
      if rule_name not in registered:
        return None
    else:
      if rule_name not in registered:
        raise LookupError(f"No gradient defined for operation '{op.name}' (op type: {rule_name})")
    rule = registered[rule_name]
    if rule is None:
      return [(-1, -1, -1, -1)] * len(op.inputs)
    grads = [_from_native(graph, g) for g in dys]
    for i, g in enumerate(grads):
      if g is None and (op._outputs[i].dtype.is_floating or op._outputs[i].dtype.is_complex):
        grads[i] = _array.zeros_like(op._outputs[i])
    with name_scope(op.name + "_grad"):
      result = rule(op, *grads)
    inputs = op.inputs
    result = list(result) if isinstance(result, (list, tuple)) else [result]
    if len(result) != len(inputs):
      raise ValueError(f"Num gradients {len(result)} generated for op {op.name} do not match num inputs {len(inputs)}")
    return [_to_native(g) for g in result]

  return override


def hessians(ys, xs, name="hessians", colocate_gradients_with_ops=False, gate_gradients=False, aggregation_method=None):
  """For each x the matrix of second derivatives of the sum of `ys`, of shape x.shape + x.shape."""
  xs = _as_list(xs)
  results = []
  for x in xs:
    with name_scope(name):
      gradient = gradients(ys, x, colocate_gradients_with_ops=colocate_gradients_with_ops, gate_gradients=gate_gradients)[0]
      x_tensor = convert_to_tensor(x)
      n = x_tensor.shape.num_elements()
      if n is None:
        raise ValueError(f"hessians wants an x of known shape, found {x_tensor.shape}")
      flat = _array.reshape(gradient, [-1])
      rows = [gradients(flat[i], x, colocate_gradients_with_ops=colocate_gradients_with_ops, unconnected_gradients="zero")[0] for i in range(n)]
      sides = x_tensor.shape.as_list()
      results.append(_array.reshape(_array.stack([convert_to_tensor(r) for r in rows]), sides + sides))
  return results


_custom_count = [0]


def custom_gradient(f=None):
  """Decorator for a function that returns (result, grad_fn): grad_fn(*dys) gives the gradients of its arguments."""
  if f is None:
    return custom_gradient
  import functools

  @functools.wraps(f)
  def decorated(*args, **kwargs):
    args = [convert_to_tensor(a) for a in args]
    inputs = [_array.identity(a) for a in args]
    result, grad_fn = f(*inputs, **kwargs)
    listed = isinstance(result, (list, tuple))
    outputs = [convert_to_tensor(r) for r in (result if listed else [result])]
    _custom_count[0] += 1
    name = f"CustomGradient-{_custom_count[0]}"

    @_graph.RegisterGradient(name)
    def _rule(unused_op, *dys):
      grads = grad_fn(*dys[:len(outputs)])
      grads = list(grads) if isinstance(grads, (list, tuple)) else [grads]
      if len(grads) != len(args):
        raise ValueError(f"custom_gradient function expected to return {len(args)} gradients but returned {len(grads)} instead.")
      return [None] * len(outputs) + grads

    graph = get_default_graph()
    with graph.gradient_override_map({"IdentityN": name}):
      joined = raw_ops.IdentityN(outputs + args)
    results = list(joined[:len(outputs)])
    return type(result)(results) if listed else results[0]

  return decorated


def grad_pass_through(f):
  """`f` with the gradient of the identity."""
  @custom_gradient
  def wrapped(*args, **kwargs):
    return f(*args, **kwargs), lambda *dys: dys[0] if len(dys) == 1 else dys
  return wrapped


def recompute_grad(f):
  """`f` itself: the memory planner decides what to keep."""
  return f
