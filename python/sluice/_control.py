"""Order and choice: `group`, `tuple`, `cond`, `while_loop`, `case`, `Assert`, `Print`.

`cond` and `while_loop` emit functional `If` and `While` nodes: each branch or body becomes a function of its own graph,
and the outer tensors that it uses become its arguments.
"""

import sys

from sluice import _array
from sluice import _dtypes
from sluice import _graph
from sluice import raw_ops
from sluice._convert import constant_value, convert_to_tensor, convert_to_tensor_or_indexed_slices
from sluice._graph import IndexedSlices, Operation, SparseTensor, Tensor, get_default_graph, name_scope
from sluice._shapes import TensorShape

_py_tuple = tuple
_py_print = print


def no_op(name=None):
  """An operation that does nothing."""
  return raw_ops.NoOp(name=name)


def _flat(values):
  for v in values:
    if isinstance(v, (list, _py_tuple)):
      yield from _flat(v)
    elif isinstance(v, dict):
      yield from _flat(v.values())
    else:
      yield v


def _operation(value):
  if isinstance(value, Operation):
    return value
  op = getattr(value, "op", None)
  if isinstance(op, list):  # A partitioned variable.
    return group(*op)
  if not isinstance(op, Operation):
    raise TypeError(f"Expected sl.Operation, Tensor or variable, got {value!r} of type {type(value).__name__}")
  return op


def group(*inputs, **kwargs):
  """An operation that is done when all `inputs` (nested as you like) are."""
  name = kwargs.pop("name", None)
  if kwargs:
    raise ValueError("Unknown keyword arguments: " + ", ".join(kwargs))
  with name_scope(name, "group_deps", list(_flat(inputs))) as scope:
    ops = [_operation(i) for i in _flat(inputs) if i is not None]
    if not ops:
      return no_op(name=scope)
    by_device = {}
    for op in ops:
      by_device.setdefault(op.device, []).append(op)
    if len(by_device) == 1:
      device, deps = next(iter(by_device.items()))
      with _graph.device(device or None) if device else _graph.control_dependencies(deps):
        with _graph.control_dependencies(deps):
          return no_op(name=scope)
    parts = []
    for device in sorted(by_device):
      with _graph.device(device or None), _graph.control_dependencies(by_device[device]):
        parts.append(no_op())
    with _graph.control_dependencies(parts):
      return no_op(name=scope)


def tuple(tensors, name=None, control_inputs=None):  # pylint: disable=redefined-builtin
  """The tensors, each available only when all (and `control_inputs`) are done."""
  with name_scope(name, "tuple", tensors) as name:
    tensors = [t if t is None or isinstance(t, (Operation, IndexedSlices)) else t if isinstance(t, Tensor) else convert_to_tensor(t) for t in tensors]
    gating = [t if isinstance(t, Operation) else t.op for t in tensors if t is not None]
    for c in control_inputs or ():
      if isinstance(c, Tensor):
        c = c.op
      elif not isinstance(c, Operation):
        raise TypeError(f"Control input must be Operation or Tensor: {c}")
      gating.append(c)
    gating = sorted(set(gating), key=lambda op: op._id)
    if not gating:
      raise ValueError("Must have at least one Tensor: %s" % tensors)
    gate = group(*gating)
    return [t if t is None else gate if isinstance(t, Operation) else with_dependencies([gate], t) for t in tensors]


def with_dependencies(dependencies, output_tensor, name=None):
  """`output_tensor`, available only when the dependencies are done."""
  with name_scope(name, "control_dependency", list(dependencies) + [output_tensor]) as name:
    with _graph.colocate_with(output_tensor.op), _graph.control_dependencies(dependencies):
      output_tensor = convert_to_tensor_or_indexed_slices(output_tensor)
      if isinstance(output_tensor, IndexedSlices):
        return IndexedSlices(_array.identity(output_tensor.values, name=name), output_tensor.indices, output_tensor.dense_shape)
      return _array.identity(output_tensor, name=name)


def Print(input_, data, message=None, first_n=None, summarize=None, name=None):  # pylint: disable=invalid-name
  """`input_`, printing `data` to standard error on the way."""
  return raw_ops.Print(input_, data, message=message or "", first_n=-1 if first_n is None else first_n,
                       summarize=3 if summarize is None else summarize, name=name)


def print(*inputs, **kwargs):  # pylint: disable=redefined-builtin
  """An operation that prints strings and tensors, as Python's print does, when it runs."""
  end = kwargs.pop("end", "\n")
  sep = kwargs.pop("sep", " ")
  stream = kwargs.pop("output_stream", sys.stderr)
  summarize = kwargs.pop("summarize", 3)
  name = kwargs.pop("name", None)
  if kwargs:
    raise ValueError(f"Unrecognized keyword arguments for sl.print: {sorted(kwargs)}")
  where = {sys.stdout: "stdout", sys.stderr: "stderr"}.get(stream, stream if isinstance(stream, str) else None)
  if where is None:
    raise ValueError("Unsupported output stream: wanted sys.stdout, sys.stderr or 'file://PATH'")
  template, tensors = [], []
  for value in inputs:
    if isinstance(value, (Tensor,)) or hasattr(value, "_dense_var_to_tensor"):
      template.append("{}")
      tensors.append(convert_to_tensor(value))
    else:
      template.append(str(value).replace("{}", "{ }"))
  text = sep.join(template)
  formatted = text if not tensors else _formatted(text, tensors, summarize)
  return raw_ops.PrintV2(formatted, output_stream=where, end=end, name=name)


def _formatted(text, tensors, summarize):
  """The template with the values of the tensors in place of its {}."""
  import numpy as np
  from sluice import _script_ops
  pieces = text.split("{}")
  edge = 1 << 30 if summarize == -1 else summarize

  def fill(*arrays):
    shown = [a.decode(errors="replace") if isinstance(a, bytes) else np.array2string(np.asarray(a), threshold=2 * edge, edgeitems=edge, separator=" ") for a in arrays]
    return "".join(p + s for p, s in zip(pieces, shown + [""]))

  return _script_ops.py_func(fill, tensors, _dtypes.string, name="StringFormat")


def Assert(condition, data, summarize=None, name=None):  # pylint: disable=invalid-name
  """An operation that ends the step with InvalidArgumentError, showing `data`, when `condition` is false."""
  with name_scope(name, "Assert", [condition] + list(data)) as scope:
    if not isinstance(condition, Tensor):
      condition = convert_to_tensor(condition, name="Condition", dtype=_dtypes.bool_)
    data = [d if isinstance(d, Tensor) else convert_to_tensor(d) for d in data]
    return raw_ops.Assert(condition, data, summarize=3 if summarize is None else summarize, name=scope)


# --- functions --------------------------------------------------------------------------------------------------------


class FuncGraph(_graph.Graph):
  """The graph of a branch or body. Tensors of the outer graph become its arguments when they are used."""

  _is_function = True

  def __init__(self, outer, name):
    super().__init__()
    self._outer = outer
    self._function_name = name
    self._captured = {}  # outer tensor -> inner tensor, in order
    self._num_args = 0
    self._seed = outer._seed
    self._name_stack = outer._name_stack
    self._scope_store = outer._scope_store
    self._collections = outer._collections
    self._references = {}  # outer reference tensor -> inner one
    self._outer_controls = []  # operations of outer graphs that the call waits for

  @property
  def building_function(self):
    return True

  @property
  def _op_seeds(self):
    return self._outer._op_seeds

  @_op_seeds.setter
  def _op_seeds(self, value):
    if hasattr(self, "_outer"):
      self._outer._op_seeds = value

  @property
  def outer_graph(self):
    return self._outer

  def control_dependencies(self, control_inputs):
    if control_inputs is None:
      return super().control_dependencies(None)
    inner = []
    for c in control_inputs:
      op = c if isinstance(c, Operation) else getattr(c, "op", c)
      if isinstance(op, Operation) and op.graph is not self:
        self._outer_controls.append(op)
      else:
        inner.append(c)
    return super().control_dependencies(inner)

  def add_arg(self, dtype, shape, name):
    """The next argument."""
    if dtype._is_ref_dtype:
      raise ValueError(f"a branch or loop body cannot take the reference '{name}': change variables made with use_resource=True there")
    with _graph._Swap(self, "_control_stack", []), _graph._Swap(self, "_colocation", ()):
      op = self._create("_Arg", self.unique_name(name), [], {"T": dtype._enum, "index": self._num_args}, ())
    self._num_args += 1
    tensor = op._outputs[0]
    tensor.set_shape(shape)
    return tensor

  def capture(self, tensor):
    """The inner tensor that stands for a tensor of an outer graph."""
    if tensor.graph is self:
      return tensor
    inner = self._captured.get(tensor, self._references.get(tensor))
    if inner is None and tensor._dtype._is_ref_dtype and tensor.op.type in ("VariableV2", "Variable"):
      inner = self._references[tensor] = self._same_variable(tensor.op)
    if inner is None:
      source = tensor
      if tensor.graph is not self._outer:
        if not getattr(self._outer, "_is_function", False):
          raise ValueError(f"{tensor} is of another graph than the branch or body that uses it")
        source = self._outer.capture(tensor)
        if source in self._captured:
          return self._captured[source]
      with self._root_scopes():
        inner = self._captured[source] = self.add_arg(source._dtype, source.shape, source.op.name.split("/")[-1])
    return inner

  def _same_variable(self, op):
    """A node of the body for a reference variable outside: one name, one variable."""
    shared = op.get_attr("shared_name") or op.name.encode()
    with _graph._Swap(self, "_control_stack", []), _graph._Swap(self, "_colocation", ()), self._root_scopes():
      made = self._create("VariableV2", self.unique_name(op.name), [], {
          "dtype": op.get_attr("dtype")._enum, "shape": op._outputs[0].shape._native(), "container": op.get_attr("container"), "shared_name": shared}, ())
    made._set_device(op.device)
    return made._outputs[0]

  def _root_scopes(self):
    return _graph._Swap(self, "_name_stack", "")

  def finish(self, results):
    """Adds the result nodes and gives the function to the outer graph; returns its name."""
    with self.as_default(), self._root_scopes(), self.control_dependencies(None):
      for i, t in enumerate(results):
        self._create("_Retval", self.unique_name(f"result_{i}"), [t._key], {"T": t._dtype.base_dtype._enum, "index": i}, (t.op,))
    graph = self._outer
    graph._native.add_function(self._function_name, self._native)
    while getattr(graph, "_is_function", False):  # The outermost graph knows every function.
      graph = graph._outer
    if graph is not self._outer:
      graph._native.add_function(self._function_name, self._native)
    graph._functions[self._function_name] = self
    return self._function_name


_function_count = [0]


def _function_name(kind):
  _function_count[0] += 1
  return f"__{kind}_{_function_count[0]}"


def _capture_values(graph, value):
  """Replaces outer tensors in an input of an op by inner ones."""
  if type(value) is Tensor:
    return value if value.graph is graph else graph.capture(value)
  if isinstance(value, (list, _py_tuple)):
    return [_capture_values(graph, v) for v in value]
  plain = getattr(value, "_plain_tensor", None)
  return value if plain is None else graph.capture(plain)


def _flatten(structure):
  """(leaves, function from leaves to the structure)."""
  if isinstance(structure, SparseTensor):
    return [structure.indices, structure.values, structure.dense_shape], lambda v: SparseTensor(*v)
  if isinstance(structure, IndexedSlices):
    return [structure.values, structure.indices] + ([] if structure.dense_shape is None else [structure.dense_shape]), lambda v: IndexedSlices(*v)
  if isinstance(structure, (list, _py_tuple)):
    parts = [_flatten(s) for s in structure]
    sizes = [len(p[0]) for p in parts]

    def build(leaves):
      values, at = [], 0
      for (_, rebuild), n in zip(parts, sizes):
        values.append(rebuild(leaves[at:at + n]))
        at += n
      return type(structure)(*values) if hasattr(structure, "_fields") else type(structure)(values)

    return [leaf for p in parts for leaf in p[0]], build
  if isinstance(structure, dict):
    keys = list(structure) if not all(isinstance(k, str) for k in structure) else sorted(structure)
    leaves, build = _flatten([structure[k] for k in keys])
    return leaves, lambda v: type(structure)(zip(keys, build(v)))
  return [structure], lambda v: v[0]


def _leaf(value, fetch_ops):
  """A branch's result as a tensor; None for operations, which `fetch_ops` collects."""
  if value is None:
    return None
  if isinstance(value, Operation):
    fetch_ops.append(value)
    return None
  return convert_to_tensor(value)


def _build_branch(outer, fn, name):
  graph = FuncGraph(outer, _function_name(name))
  with graph.as_default():
    result = fn()
    leaves, build = _flatten(result)
    ops = []
    tensors = [_leaf(v, ops) for v in leaves]
    if ops or any(t is None for t in tensors):
      with graph.control_dependencies(ops):
        tensors = [_array.identity(convert_to_tensor(True)) if t is None else _array.identity(t) for t in tensors]
    tensors = [graph.capture(t) if t.graph is not graph else t for t in tensors]
  return graph, tensors, leaves, build


def _drawn(graph):
  """The values in a branch that cannot be computed again: random numbers, results of host functions."""
  found = []
  for op in graph.get_operations():
    if op.type.startswith(("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial", "PyFunc", "EagerPyFunc")):
      found += [t for t in op.outputs if t.consumers()]
    elif op.type == "If":
      found += _handed_out(op)
  return [t for t in found if t.dtype.is_floating or t.dtype.is_integer or t.dtype.is_bool]


def _handed_out(op):
  """The last outputs of an If: what its branches drew."""
  try:
    return list(op.outputs)[len(op.outputs) - op.get_attr("_drawn"):]
  except ValueError:
    return []


def _hand_out_drawn(then_graph, then_results, else_graph, else_results):
  """Adds what each branch draws to its results, so that the gradient uses the same; returns how many there are."""
  drawn = _drawn(then_graph), _drawn(else_graph)
  for graph, results, position in ((then_graph, then_results, 0), (else_graph, else_results, 1)):
    with graph.as_default():
      for i, tensors in enumerate(drawn):
        results += tensors if i == position else [_array.zeros([], t.dtype) for t in tensors]
  return len(drawn[0]) + len(drawn[1])


def cond(pred, true_fn=None, false_fn=None, strict=False, name=None, fn1=None, fn2=None):
  """The results of true_fn() when `pred` is true, of false_fn() otherwise; both give the same structure and types.

  Operations that a branch makes run only when it is taken and its results need them.
  """
  true_fn, false_fn = true_fn or fn1, false_fn or fn2
  if not callable(true_fn):
    raise TypeError("true_fn must be callable.")
  if not callable(false_fn):
    raise TypeError("false_fn must be callable.")
  with name_scope(name, "cond", [pred]) as scope:
    if isinstance(pred, bool):
      raise TypeError("pred must not be a Python bool")
    pred = convert_to_tensor(pred, name="pred")
    outer = get_default_graph()
    then_graph, then_results, then_leaves, build = _build_branch(outer, true_fn, "cond_true")
    else_graph, else_results, else_leaves, _ = _build_branch(outer, false_fn, "cond_false")
    if len(then_results) != len(else_results):
      raise ValueError(f"true_fn and false_fn must return the same number of values, found {len(then_results)} and {len(else_results)}")
    for i, (a, b) in enumerate(zip(then_results, else_results)):
      if a.dtype.base_dtype != b.dtype.base_dtype:
        raise TypeError(f"Outputs of true_fn and false_fn must have the same type(s). Received {a.dtype.name} from true_fn and {b.dtype.name} from false_fn (output {i}).")
    drawn = _hand_out_drawn(then_graph, then_results, else_graph, else_results)
    captures = list(then_graph._captured)
    captures += [t for t in else_graph._captured if t not in then_graph._captured]
    _complete_args(then_graph, captures)
    _complete_args(else_graph, captures)
    shapes = [a.shape.most_specific_compatible_shape(b.shape) for a, b in zip(then_results, else_results)]
    then_name, else_name = then_graph.finish(then_results), else_graph.finish(else_results)
    with outer.control_dependencies(then_graph._outer_controls + else_graph._outer_controls):
      results = raw_ops.If(pred, captures, [t.dtype.base_dtype for t in then_results], then_name, else_name, output_shapes=shapes, name=scope)
    if not then_results:
      return results
    results = list(results) if isinstance(results, (list, _py_tuple)) else [results]
    for t, s in zip(results, shapes):
      t.set_shape(s)
    if drawn:
      results[0].op._set_attr("_drawn", drawn)
    values = []
    for t, a, b in zip(results, then_leaves, else_leaves):
      values.append(t.op if isinstance(a, Operation) or isinstance(b, Operation) else None if a is None and b is None else _array.identity(t))
    result = build(values)
    if not strict and type(result) in (list, _py_tuple) and len(result) == 1:
      return result[0]
    return result


def _complete_args(graph, captures):
  """Gives a branch an argument for each capture, in order: those it does not use too."""
  wanted = {t: i for i, t in enumerate(captures)}
  for t in captures:
    if t not in graph._captured:
      with graph.as_default():
        graph.capture(t)
  _set_arg_order(graph, wanted, 0)


def _set_arg_order(graph, wanted, first):
  from sluice.protos import attr_value_pb2
  for t, inner in graph._captured.items():
    inner.op._set_attr("index", attr_value_pb2.AttrValue(i=first + wanted[t]))


def while_loop(cond, body, loop_vars, shape_invariants=None, parallel_iterations=10, back_prop=True, swap_memory=False, name=None,  # pylint: disable=redefined-outer-name
               maximum_iterations=None, return_same_structure=False):
  """Runs `body` on the loop variables while `cond` of them is true; returns them at the end.

  Each variable keeps its type, and its shape unless `shape_invariants` says what may change.
  """
  if not callable(cond):
    raise TypeError("cond must be callable.")
  if not callable(body):
    raise TypeError("body must be callable.")
  if not loop_vars:
    raise ValueError("No loop variables provided")
  with name_scope(name, "while", loop_vars) as scope:
    if maximum_iterations is not None:
      limit = convert_to_tensor(maximum_iterations, name="maximum_iterations", dtype=_dtypes.int32)
      original_cond, original_body, original_vars = cond, body, loop_vars
      many = len(original_vars) > 1 or not isinstance(original_vars, (list, _py_tuple))
      counter = convert_to_tensor(0, dtype=_dtypes.int32, name="iteration_counter")
      loop_vars = (counter, original_vars)
      if shape_invariants is not None:
        shape_invariants = (TensorShape([]), shape_invariants)
      unpack = lambda v: v if isinstance(v, (list, _py_tuple)) else (v,)
      cond = lambda i, v: raw_ops.LogicalAnd(i < limit, original_cond(*unpack(v)))

      def body(i, v):
        result = original_body(*unpack(v))
        if not many and not isinstance(result, (list, _py_tuple)):
          result = [result]
        return i + 1, result

      results = while_loop(cond, body, loop_vars, shape_invariants, parallel_iterations, back_prop, swap_memory, name=scope, return_same_structure=True)[1]
      if return_same_structure:
        return results
      return results[0] if isinstance(results, (list, _py_tuple)) and len(results) == 1 else results
    outer = get_default_graph()
    leaves, build = _flatten(loop_vars if isinstance(loop_vars, (list, _py_tuple, dict)) else [loop_vars])
    initial = [convert_to_tensor(v) for v in leaves]
    initial = [_array.identity(t) if t.dtype._is_ref_dtype else t for t in initial]
    if shape_invariants is None:
      shapes = [t.shape for t in initial]
    else:
      shapes = [TensorShape(s) for s in _flatten_shapes(shape_invariants, loop_vars)]

    def start(kind):
      graph = FuncGraph(outer, _function_name(kind))
      with graph.as_default():
        return graph, [graph.add_arg(t._dtype.base_dtype, s, f"arg_{i}") for i, (t, s) in enumerate(zip(initial, shapes))]

    def call(fn, args):
      packed = build(args)
      return fn(**packed) if isinstance(packed, dict) else fn(*packed)

    body_graph, body_args = start("while_body")
    with body_graph.as_default():
      result = call(body, body_args)
      if not isinstance(result, (list, _py_tuple, dict)):
        result = [result]
      results = [convert_to_tensor(v) for v in _flatten(result)[0]]
      results = [body_graph.capture(t) for t in results]
    if len(results) != len(initial):
      raise ValueError(f"body must return as many values as there are loop variables: found {len(results)}, wanted {len(initial)}")
    for i, (t, v, s) in enumerate(zip(results, initial, shapes)):
      if t.dtype.base_dtype != v.dtype.base_dtype:
        raise TypeError(f"loop variable {i} is {v.dtype.base_dtype.name}, but the body returns {t.dtype.base_dtype.name}")
      if not _within(t.shape, s):
        raise ValueError(f"Input tensor '{v.name}' enters the loop with shape {v.shape}, but has shape {t.shape} after one iteration. "
                         "To allow the shape to vary across iterations, use the `shape_invariants` argument of sl.while_loop to specify a less-specific shape.")
    cond_graph, cond_args = start("while_cond")
    with cond_graph.as_default():
      test = convert_to_tensor(call(cond, cond_args))
      test = cond_graph.capture(test)
      if test.dtype != _dtypes.bool_:
        raise TypeError(f"cond must return a boolean, found {test}")
    captures = list(body_graph._captured)
    captures += [t for t in cond_graph._captured if t not in body_graph._captured]
    wanted = {t: i for i, t in enumerate(captures)}
    for graph in (body_graph, cond_graph):
      for t in captures:
        if t not in graph._captured:
          with graph.as_default():
            graph.capture(t)
      _set_arg_order(graph, wanted, len(initial))
    body_name = body_graph.finish(results + [body_graph._captured[t] for t in captures])
    cond_name = cond_graph.finish([test])
    with outer.control_dependencies(body_graph._outer_controls + cond_graph._outer_controls):
      values = raw_ops.While(initial + captures, cond_name, body_name, output_shapes=shapes + [t.shape for t in captures],
                             parallel_iterations=parallel_iterations, name=scope)
    values = values[:len(initial)]
    for t, s in zip(values, shapes):
      t.set_shape(s)
    values = [_array.identity(t) for t in values]
    packed = build(values)
    if return_same_structure:
      return packed
    return packed[0] if isinstance(packed, (list, _py_tuple)) and len(packed) == 1 else packed


def _flatten_shapes(shapes, structure):
  """The invariants in the order of the loop variables; a TensorShape or a plain list of sizes stands for one."""
  if isinstance(structure, (list, _py_tuple)) and isinstance(shapes, (list, _py_tuple)) and len(shapes) == len(structure):
    return [s for a, b in zip(shapes, structure) for s in _flatten_shapes(a, b)]
  if isinstance(structure, dict):
    return [s for k in sorted(structure) for s in _flatten_shapes(shapes[k], structure[k])]
  return [shapes]


def _within(found, wanted):
  """`found` says at least what `wanted` says."""
  if wanted.rank is None:
    return True
  if found.rank != wanted.rank:
    return False
  return all(w is None or f == w for f, w in zip(found.as_list(), wanted.as_list()))


def case(pred_fn_pairs, default=None, exclusive=False, strict=False, name="case"):
  """The results of the first function whose predicate is true, of `default` when none is."""
  pairs = list(pred_fn_pairs.items()) if isinstance(pred_fn_pairs, dict) else list(pred_fn_pairs)
  for pair in pairs:
    if not isinstance(pair, _py_tuple) or len(pair) != 2:
      raise TypeError("Each entry in pred_fn_pairs must be a 2-tuple")
    if not callable(pair[1]):
      raise TypeError(f"fn for pred {pair[0]} must be callable.")
  with name_scope(name):
    preds = [convert_to_tensor(p) for p, _ in pairs]
    checks = []
    if exclusive:
      from sluice import _math
      count = _math.reduce_sum(_math.cast(_array.stack(preds), _dtypes.int32))
      checks.append(Assert(raw_ops.LessEqual(count, 1), ["sl.case: more than one condition is true", _array.stack(preds)]))
    if default is None:
      if len(pairs) == 1:
        checks.append(Assert(preds[0], ["sl.case: None of conditions evaluated as True and there is no default"]))
      last = pairs[-1][1]
      if len(pairs) > 1:
        from sluice import _math
        checks.append(Assert(_math.reduce_any(_array.stack(preds)), ["sl.case: None of conditions evaluated as True and there is no default", _array.stack(preds)]))
      rest = list(zip(preds[:-1], [f for _, f in pairs[:-1]]))
    else:
      if not callable(default):
        raise TypeError("default must be callable.")
      last, rest = default, list(zip(preds, [f for _, f in pairs]))
    fn = last
    for pred, branch in reversed(rest):
      fn = (lambda p, f, g: lambda: cond(p, f, g, strict=strict))(pred, branch, fn)
    with _graph.control_dependencies(checks):
      return fn()


def switch_case(branch_index, branch_fns, default=None, name="switch_case"):
  """The results of branch_fns[branch_index](), of `default` (the last one when None) for an index out of range."""
  if isinstance(branch_fns, dict):
    branch_fns = list(branch_fns.items())
  pairs = [f if isinstance(f, _py_tuple) else (i, f) for i, f in enumerate(branch_fns)]
  pairs.sort(key=lambda p: p[0])
  index = convert_to_tensor(branch_index, dtype=_dtypes.int32)
  return case([(raw_ops.Equal(index, i), f) for i, f in pairs], default=default or pairs[-1][1], name=name)


@_graph.RegisterGradient("If")
def _if_gradient(op, *dys):
  """Each branch's gradient is an If again, whose branches run the forward one and differentiate it."""
  from sluice import _gradients
  pred, inputs = op.inputs[0], op.inputs[1:]
  wanted = [i for i, t in enumerate(inputs) if t.dtype.is_floating or t.dtype.is_complex or t.dtype.base_dtype == _dtypes.resource]
  dys = [(i, dy) for i, dy in enumerate(dys) if dy is not None]
  drawn = _handed_out(op)

  def branch(attr):
    name = op.graph._native.get_attr(op._id, attr)[1]

    def gradient():
      graph = get_default_graph()
      args = [graph.capture(t) for t in inputs]
      results = graph._inline(name, args)
      ys = [results[i] for i, _ in dys]
      grads = _gradients.gradients(ys, [args[i] for i in wanted], [graph.capture(dy) for _, dy in dys])
      _use(graph, {again._key: graph.capture(first) for again, first in zip(results[len(results) - len(drawn):], drawn)})
      return [_dense_gradient(g, args[i]) for g, i in zip(grads, wanted)]

    return gradient

  if not wanted or not dys:
    return [None] * len(op.inputs)
  grads = cond(pred, branch("then_branch"), branch("else_branch"), strict=True, name="If_grad")
  result = [None] * len(op.inputs)
  for i, g in zip(wanted, grads):
    result[i + 1] = g
  return result


def _use(graph, instead):
  """Lets every operation of a branch read `instead[key]` where it reads the tensor with that key."""
  for op in graph.get_operations() if instead else ():
    for i, t in enumerate(op.inputs):
      if t._key in instead:
        op._update_input(i, instead[t._key])


def _dense_gradient(grad, arg):
  if grad is not None:
    return convert_to_tensor(grad)
  if arg.dtype.base_dtype == _dtypes.resource:
    return _array.zeros(raw_ops.VariableShape(arg), _dtypes.float32)
  return _array.zeros_like(arg)


def smart_cond(pred, true_fn=None, false_fn=None, name=None):
  """As cond, deciding now when the predicate is known."""
  static = constant_value(pred) if isinstance(pred, Tensor) else pred
  if static is not None:
    return true_fn() if static else false_fn()
  return cond(pred, true_fn, false_fn, name=name)
