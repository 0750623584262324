"""GraphDef messages cut, frozen and cleaned: `sl.graph_util`."""

from sluice import _dtypes
from sluice._convert import make_tensor_proto
from sluice._shapes import TensorShape


def _node_of(input_name):
  return input_name.lstrip("^").split(":")[0]


def extract_sub_graph(graph_def, dest_nodes):
  """The GraphDef of what `dest_nodes` depend on."""
  if isinstance(dest_nodes, str):
    raise TypeError("dest_nodes must be an iterable of strings")
  by_name = {n.name: n for n in graph_def.node}
  for name in dest_nodes:
    if name not in by_name:
      raise AssertionError(f"{name} is not in graph")
  kept, stack = set(), list(dest_nodes)
  while stack:
    name = stack.pop()
    if name not in kept:
      kept.add(name)
      stack.extend(_node_of(i) for i in by_name[name].input)
  result = type(graph_def)()
  result.node.extend(n for n in graph_def.node if n.name in kept)
  result.library.CopyFrom(graph_def.library)
  result.versions.CopyFrom(graph_def.versions)
  return result


def convert_variables_to_constants(sess, input_graph_def, output_node_names, variable_names_whitelist=None, variable_names_blacklist=None):
  """The GraphDef of the outputs with every variable replaced by its value in `sess`."""
  graph_def = extract_sub_graph(input_graph_def, output_node_names)
  names = [n.name for n in graph_def.node if n.op in ("Variable", "VariableV2", "VarHandleOp")
           and (variable_names_whitelist is None or n.name in variable_names_whitelist)
           and (variable_names_blacklist is None or n.name not in variable_names_blacklist)]
  handles = {n.name for n in graph_def.node if n.op == "VarHandleOp"}
  fetches = {}
  for name in names:
    if name in handles:
      read = next((n.name for n in graph_def.node if n.op == "ReadVariableOp" and _node_of(n.input[0]) == name), None)
      if read is None:
        continue
      fetches[name] = read + ":0"
    else:
      fetches[name] = name + ":0"
  values = sess.run(fetches) if fetches else {}
  result = type(graph_def)()
  for node in graph_def.node:
    new = result.node.add()
    if node.name in values:
      value = values[node.name]
      new.name, new.op = node.name, "Const"
      new.attr["dtype"].CopyFrom(node.attr["dtype"])
      new.attr["value"].tensor.CopyFrom(make_tensor_proto(value, dtype=node.attr["dtype"].type, shape=value.shape))
    elif node.op == "ReadVariableOp" and _node_of(node.input[0]) in values:
      new.name, new.op = node.name, "Identity"
      new.input.append(node.input[0])
      new.attr["T"].CopyFrom(node.attr["dtype"])
    elif node.op == "ResourceGather" and _node_of(node.input[0]) in values:
      axis = result.node.add()
      axis.name, axis.op = node.name + "/axis", "Const"
      axis.attr["dtype"].type = _dtypes.int32.as_datatype_enum
      axis.attr["value"].tensor.CopyFrom(make_tensor_proto(0, _dtypes.int32))
      new.name, new.op = node.name, "GatherV2"
      new.input.extend([node.input[0], node.input[1], axis.name])
      new.attr["Tparams"].CopyFrom(node.attr["dtype"])
      new.attr["Tindices"].CopyFrom(node.attr["Tindices"])
      new.attr["Taxis"].type = _dtypes.int32.as_datatype_enum
    else:
      new.CopyFrom(node)
  result.library.CopyFrom(graph_def.library)
  result.versions.CopyFrom(graph_def.versions)
  return result


def remove_training_nodes(input_graph, protected_nodes=None):
  """The GraphDef without CheckNumerics and Identity nodes that nothing depends on by a control edge."""
  protected = set(protected_nodes or ())
  waited_for = {i[1:] for n in input_graph.node for i in n.input if i.startswith("^")}
  by_name = {n.name: n for n in input_graph.node}
  skipped = {}
  for n in input_graph.node:
    if n.op in ("Identity", "CheckNumerics") and n.name not in protected and n.name not in waited_for and len(n.input) == 1:
      if by_name[_node_of(n.input[0])].op not in ("Variable", "VariableV2"):
        skipped[n.name] = n.input[0]

  def source(name):
    while name.split(":")[0] in skipped and not name.startswith("^"):
      name = skipped[name.split(":")[0]]
    return name

  result = type(input_graph)()
  for n in input_graph.node:
    if n.name in skipped:
      continue
    new = result.node.add()
    new.CopyFrom(n)
    new.input[:] = [source(i) for i in n.input]
  result.library.CopyFrom(input_graph.library)
  result.versions.CopyFrom(input_graph.versions)
  return result


def must_run_on_cpu(node, pin_variables_on_cpu=False):
  """Whether a node has no kernel for other devices."""
  from sluice._native import _sluice
  op = getattr(node, "op", None)
  op_type = op if isinstance(op, str) else node.type
  if pin_variables_on_cpu and op_type in ("Variable", "VariableV2", "VarHandleOp"):
    return True
  return _sluice.kernel_devices(op_type) == ["CPU"]


def tensor_shape_from_node_def_name(graph, input_name):
  """The static shape of the tensor with a name; unknown when there is none."""
  name = input_name if ":" in input_name else input_name + ":0"
  try:
    return graph.get_tensor_by_name(name).shape
  except KeyError:
    return TensorShape(None)
