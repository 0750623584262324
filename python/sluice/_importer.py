"""`import_graph_def`: the nodes of a GraphDef message into the default graph."""

from sluice._convert import convert_to_tensor
from sluice._graph import Tensor, get_default_graph, name_scope


def import_graph_def(graph_def, input_map=None, return_elements=None, name=None, op_dict=None, producer_op_list=None):  # pylint: disable=unused-argument
  """Adds the nodes of `graph_def` under the scope `name` ("import" when None, none when "").

  Args:
    graph_def: a GraphDef message.
    input_map: {name in graph_def: tensor to use instead}.
    return_elements: names of operations ("x") and tensors ("x:0") to return as a list.
  """
  if not hasattr(graph_def, "SerializeToString") or not hasattr(graph_def, "node"):
    raise TypeError(f"Argument `graph_def` must be a GraphDef proto. Received: {graph_def!r}")
  input_map = {_text(k): v for k, v in (input_map or {}).items()}
  if return_elements is not None:
    if not isinstance(return_elements, (list, tuple)) or not all(isinstance(e, (str, bytes)) for e in return_elements):
      raise TypeError(f"Argument `return_elements` must be a list of strings. Received: return_elements={return_elements}")
    return_elements = [_text(e) for e in return_elements]
  graph = get_default_graph()
  graph._check_not_finalized()
  with name_scope(name, "import", list(input_map.values())) as scope:
    prefix = scope[:-1] if scope else ""
    if prefix and input_map:
      with name_scope("_inputs"):
        input_map = {k: convert_to_tensor(v, name=k.lstrip("^")) for k, v in input_map.items()}
    names, keys = [], []
    for k, v in input_map.items():
      names.append(k if ":" in k or k.startswith("^") else k + ":0")
      keys.append((v if isinstance(v, Tensor) else v.outputs[0] if hasattr(v, "outputs") else convert_to_tensor(v))._key)
    outputs = [e for e in return_elements or () if ":" in e]
    operations = [e for e in return_elements or () if ":" not in e]
    control = [op._id for op in graph._current_control_dependencies()]
    graph._sync()
    found_keys, found_ids, unused = graph._native.import_graph_def(graph_def.SerializeToString(), prefix, names, keys, outputs, operations, control, False)
    added = graph._sync()
  for op in added:
    if graph._device_functions:
      graph._apply_device_functions(op)
    elif graph._device_string:
      from sluice import _device
      merged = _device.DeviceSpec.from_string(graph._device_string)
      merged.merge_from(_device.DeviceSpec.from_string(op.device))
      op._set_device(merged.to_string())
  unused = [n for n in unused.split("\n") if n]
  if unused:
    raise ValueError(f"Attempted to map inputs that were not found in graph_def: [{', '.join(unused)}]")
  if return_elements is None:
    return None
  outputs, operations = iter(found_keys), iter(found_ids)
  return [graph._tensor(next(outputs)) if ":" in e else graph._by_id[next(operations)] for e in return_elements]


def _text(name):
  return name.decode() if isinstance(name, bytes) else name
