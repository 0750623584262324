"""From recorded steps to figures: what each kernel took of the step, and what was left between them."""
import collections
import re
import statistics

from sluice import _dtypes
from sluice.profiling._costs import Value, cost

_LABEL = re.compile(r"^(.*?) = (\w+)\((.*)\)$", re.DOTALL)
_ARG = re.compile(r"^_arg_(\d+)$")


class Kernel:
  """One run of one node; times in ns since the runtime took the step."""

  __slots__ = ("name", "op", "device", "thread", "begin", "end", "inputs", "outputs", "share", "self_ns")

  def __init__(self, name, op, device, thread, begin, end, inputs=(), outputs=()):
    self.name, self.op, self.device, self.thread, self.begin, self.end = name, op, device, thread, begin, end
    self.inputs, self.outputs = list(inputs), list(outputs)  # names "node:0"; Values
    self.share = 0.0    # of the step's time: kernels at work at the same time share it
    self.self_ns = 0.0  # its own time, without kernels that ran inside it on its thread


def parse(step):
  """The StepStats message of a traced step."""
  from sluice.protos import config_pb2
  return config_pb2.RunMetadata.FromString(step.trace).step_stats


def kernels_of(stats, began_unix_ns):
  """The Kernels of a StepStats message, in order of time."""
  found = []
  for device in stats.dev_stats:
    for node in device.node_stats:
      match = _LABEL.match(node.timeline_label)
      name, op, inputs = match.groups() if match else (node.node_name, node.node_name.rpartition("/")[2], "")
      begin = node.all_start_nanos - began_unix_ns
      found.append(Kernel(name, op, device.device, node.thread_id, begin, begin + node.all_end_rel_nanos,
                          [i for i in inputs.split(", ") if i], [_value(o.tensor_description) for o in node.output]))
  found.sort(key=lambda k: (k.begin, -k.end))
  return found


def _value(description):
  try:
    size = _dtypes.as_dtype(description.dtype).size
  except (TypeError, ValueError):
    return None
  if not description.HasField("shape"):
    return None
  return Value([d.size for d in description.shape.dim], size or 8)


def share_time(kernels):
  """Divides the time among the kernels that were at work, and returns the gaps between them.

  On one thread the innermost kernel is at work; kernels of several threads divide the time equally. Sets `share` and
  `self_ns`; their shares and the gaps together are the time from the first kernel's begin to the last one's end. A gap is
  (ns, kernel before, kernel after).
  """
  events = []
  for k in kernels:
    if k.begin < k.end:
      events += [(k.begin, 1, k), (k.end, 0, k)]
  events.sort(key=lambda e: e[:2])
  stacks, gaps, last, ended = {}, [], None, None
  for at, is_begin, kernel in events:
    if last is not None and at > last:
      if stacks:
        part = (at - last) / len(stacks)
        for stack in stacks.values():
          stack[-1].share += part
          stack[-1].self_ns += at - last
      elif is_begin:
        gaps.append((at - last, ended, kernel))
    last = at
    where = kernel.device, kernel.thread
    if is_begin:
      stacks.setdefault(where, []).append(kernel)
    else:
      stack = stacks[where]
      stack.remove(kernel)
      if not stack:
        del stacks[where]
      ended = kernel
  return gaps


class Shapes:
  """Shapes of what kernels took: from the trace, the feeds, else from the program's graph."""

  def __init__(self, kernels, graph, feeds, feed_shapes):
    self._made = {"%s:%d" % (k.name, i): v for k in kernels for i, v in enumerate(k.outputs)}
    self._graph, self._feeds, self._feed_shapes = graph, feeds, feed_shapes

  def find(self, name):
    """The Value of "node:0", or None."""
    made = self._made.get(name)
    if made is None:
      made = self._made[name] = self._look(name)
    return made

  def _look(self, name):
    node, _, index = name.rpartition(":")
    fed = _ARG.match(node)
    shape = None
    if fed and int(fed.group(1)) < len(self._feeds):
      name = self._feeds[int(fed.group(1))]
      shape = self._feed_shapes[int(fed.group(1))] if int(fed.group(1)) < len(self._feed_shapes) else None
    try:
      tensor = self._graph.get_tensor_by_name(name)
    except (KeyError, ValueError):
      # A pass may have made the node from one whose name it extended.
      return None
    size = tensor.dtype.base_dtype.size or 8
    if shape is not None:
      return Value(shape, size)
    if not tensor.shape.is_fully_defined():
      return None
    return Value(tensor.shape.as_list(), size)


class Row:
  """What a node, or all nodes of an op, took in a step, on average."""

  __slots__ = ("name", "op", "line", "device", "runs", "ns", "share", "flops", "moved", "least", "bound", "unknown")

  def __init__(self, name, op, line="", device=""):
    self.name, self.op, self.line, self.device = name, op, line, device
    self.runs = self.ns = self.share = self.flops = self.moved = self.least = self.unknown = 0
    self.bound = collections.Counter()

  def add(self, kernel, counted, limits, threads):
    self.runs += 1
    self.ns += kernel.self_ns
    self.share += kernel.share
    if counted is None:
      self.unknown += 1
      return
    flops, moved = counted
    self.flops += flops
    self.moved += moved
    if limits is not None and (flops or moved):
      seconds, bound = limits.seconds(flops, moved, threads)
      self.least += 1e9 * seconds
      self.bound[bound] += seconds

  def averaged(self, steps, step_ns):
    """As plain values, for tables and JSON. GFLOP/s, GB/s and the percentage of the limit are None without costs."""
    known = not self.unknown and self.ns > 0
    return {
        "name": self.name, "op": self.op, "line": self.line, "device": self.device, "runs": self.runs / steps,
        "us": self.ns / steps / 1e3, "step_us": self.share / steps / 1e3,
        "percent_of_step": 100 * self.share / steps / step_ns if step_ns else 0.0,
        "flop": self.flops / steps if known else None, "bytes": self.moved / steps if known else None,
        "gflops": self.flops / self.ns if known and self.flops else None,
        "gbps": self.moved / self.ns if known and self.moved else None,
        "percent_of_limit": 100 * self.least / self.ns if known and self.least else None,
        "bound_by": self.bound.most_common(1)[0][0] if known and self.bound else None,
    }


def analyse(kind, limits):
  """What the steps of a Kind took, as plain values, and the Kernels of its typical traced step; (None, []) without a trace."""
  is_cold = not kind.traced
  traced = kind.traced or ([kind.cold] if kind.cold is not None and kind.cold.trace else [])
  if not traced:
    return None, []
  parsed = []
  for step in traced:
    kernels = kernels_of(parse(step), step.native_begin_unix)
    gaps = share_time(kernels)
    parsed.append((step, kernels, gaps, sum(k.share for k in kernels)))
  # A step that something else on the machine disturbed says little: the faster half counts.
  parsed.sort(key=lambda p: p[0].wall)
  parsed = parsed[:(len(parsed) + 1) // 2]
  steps = len(parsed)
  plain = sorted(kind.plain[:len(traced)], key=lambda s: s.wall)  # those between the traced ones
  plain = plain[:(len(plain) + 1) // 2]
  mean = lambda values: sum(values) / len(values) if values else 0.0  # noqa: E731
  traced_ns = mean([p[0].wall for p in parsed])
  kernels_ns = mean([p[3] for p in parsed])
  timed = plain or [p[0] for p in parsed]
  wall_ns, native_ns = mean([s.wall for s in timed]), mean([s.native for s in timed])

  ops, nodes, gap_rows = {}, {}, collections.defaultdict(lambda: [0, 0.0])
  lines = {}
  around = {"before_first": [], "between": [], "after_last": []}
  for step, kernels, gaps, _ in parsed:
    shapes = Shapes(kernels, kind.graph, kind.feeds, step.feed_shapes)
    for k in kernels:
      counted = cost(k.op, [shapes.find(i) for i in k.inputs], k.outputs)
      if k.name not in lines:
        lines[k.name] = line_of(kind.graph, k.name)
      for table, key, row in ((ops, k.op, (k.op, k.op)), (nodes, (k.device, k.name), (k.name, k.op, lines[k.name], k.device))):
        if key not in table:
          table[key] = Row(*row)
        table[key].add(k, counted, limits, kind.threads)
    for ns, before, after in gaps:
      entry = gap_rows[before.name if before else "", after.name]
      entry[0] += 1
      entry[1] += ns
    if kernels:
      around["before_first"].append(max(0, min(k.begin for k in kernels)))
      around["after_last"].append(max(0, step.native - max(k.end for k in kernels)))
      around["between"].append(sum(g[0] for g in gaps))
  # What is neither: dispatch, feeds to tensors, fetches to arrays. Recording adds to gaps, so untraced steps tell.
  runtime_ns, python_ns = max(0.0, native_ns - kernels_ns), wall_ns - native_ns
  whole_ns = kernels_ns + runtime_ns + python_ns
  in_order = lambda rows: sorted((r.averaged(steps, whole_ns) for r in rows), key=lambda r: -r["step_us"])  # noqa: E731
  result = {
      "name": kind.name(), "steps": kind.count, "steps_averaged": steps, "is_cold": is_cold, "threads": kind.threads,
      "us": whole_ns / 1e3, "kernels_us": kernels_ns / 1e3, "runtime_us": runtime_ns / 1e3, "python_us": python_ns / 1e3,
      "traced_us": traced_ns / 1e3, "untraced_us": wall_ns / 1e3 if plain else None,
      **{"traced_%s_us" % name: mean(values) / 1e3 for name, values in around.items()},
      "flop": sum(r.flops for r in nodes.values()) / steps, "bytes": sum(r.moved for r in nodes.values()) / steps,
      "kernels_without_cost": sum(r.unknown for r in nodes.values()) / steps,
      "ops": in_order(ops.values()), "nodes": in_order(nodes.values()),
      "gaps": sorted(({"after": a, "before": b, "runs": n / steps, "us": ns / steps / 1e3} for (a, b), (n, ns) in gap_rows.items()),
                     key=lambda g: -g["us"]),
  }
  if limits is not None and kernels_ns:
    least = sum(r.least for r in nodes.values()) / steps
    result["limit_us"] = least / 1e3
  return result, parsed[len(parsed) // 2][1]


def line_of(graph, name):
  """"model.py:41" for a node that the program made, or that a pass made from one of its nodes; "" otherwise."""
  while name:
    try:
      found = graph.get_operation_by_name(name).traceback
    except (KeyError, ValueError):
      name = name.rpartition("/")[0]
      continue
    return "%s:%d" % (found[0][0].rpartition("/")[2], found[0][1]) if found else ""
  return ""


def summary(kind):
  """A line of the table of all that ran."""
  plain = kind.plain or kind.traced
  return {"name": kind.name(), "steps": kind.count, "failed": kind.failed, "total_ms": kind.total / 1e6,
          "median_us": statistics.median(s.wall for s in plain) / 1e3 if plain else None,
          "traced": len(kind.traced), "target": kind.target}
