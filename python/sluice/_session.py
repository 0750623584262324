"""Sessions: `Session`, `InteractiveSession`. A step's signature is resolved once; then a step is a dictionary look-up,
one native call, and the shaping of its results."""

import os
import re

import numpy as np

from sluice import _dtypes
from sluice import _graph
from sluice._graph import IndexedSlices, IndexedSlicesValue, Operation, SparseTensor, SparseTensorValue, Tensor
from sluice._native import _sluice

_fetch_expansions = []
_watch = None


def watch_callables(watch):
  """Has `watch(session, callable, feeds, fetches, targets)` give what takes the place of each native callable made from
  now on: for the profiler. None ends that."""
  global _watch
  _watch = watch


def register_session_run_conversion_functions(tensor_type, fetch_function, feed_function=None, feed_function_for_partial_run=None):
  """Teaches `Session.run` to fetch and feed objects of a type.

  fetch_function(value) gives (list of tensors, function from their values to the result); feed_function(value, fed)
  gives a list of (tensor, value).
  """
  _fetch_expansions.insert(0, (tensor_type, fetch_function, feed_function))


def _expand(value):
  """(tensors, contraction) for an object with several tensors, None for anything else."""
  if isinstance(value, SparseTensor):
    return [value.indices, value.values, value.dense_shape], lambda v: SparseTensorValue(*v)
  if isinstance(value, IndexedSlices):
    if value.dense_shape is None:
      return [value.values, value.indices], lambda v: IndexedSlicesValue(v[0], v[1], None)
    return [value.values, value.indices, value.dense_shape], lambda v: IndexedSlicesValue(*v)
  for cls, fetch, _ in _fetch_expansions:
    if isinstance(value, cls):
      return fetch(value)
  return None


class _Plan:
  """One signature of one session: the callable and how to shape its results."""

  __slots__ = ("callable", "build", "direct", "elements")

  def __init__(self, native_callable, build, direct, elements):
    self.callable = native_callable
    self.build = build      # from the list of fetched values to the result
    self.direct = direct    # 1: the result is the only value, 2: None
    self.elements = elements


class _Fetches:
  """Collects the tensors and operations of nested fetches, each once."""

  def __init__(self, graph, fed):
    self.graph = graph
    self.fed = fed
    self.tensors = []
    self.targets = []
    self._at = {}

  def mapper(self, fetch):
    """A function from the list of values to what stands in this place."""
    if fetch is None:
      raise TypeError(f"Fetch argument {fetch!r} has invalid type {type(fetch)}")
    if isinstance(fetch, (list, tuple)):
      parts = [self.mapper(f) for f in fetch]
      if hasattr(fetch, "_fields"):
        return lambda values, cls=type(fetch): cls(*[p(values) for p in parts])
      if type(fetch) in (list, tuple):
        return lambda values, cls=type(fetch): cls([p(values) for p in parts])
      return lambda values: [p(values) for p in parts]
    if isinstance(fetch, dict):
      keys = list(fetch)
      parts = [self.mapper(fetch[k]) for k in keys]
      return lambda values, cls=type(fetch): cls((k, p(values)) for k, p in zip(keys, parts))
    if not isinstance(fetch, (Tensor, Operation)):
      expanded = _expand(fetch)
      if expanded is not None:
        tensors, contract = expanded
        places = [self._tensor(self._element(t, fetch)) for t in tensors]
        return lambda values: contract([values[i] for i in places])
    element = self._element(fetch, fetch)
    if isinstance(element, Operation):
      if not self.graph.is_fetchable(element):
        raise ValueError(f"Operation {element.name!r} has been marked as not fetchable.")
      if element not in self.targets:
        self.targets.append(element)
      return lambda values: None
    place = self._tensor(element)
    return lambda values: values[place]

  def _element(self, fetch, original):
    try:
      return self.graph.as_graph_element(fetch, allow_tensor=True, allow_operation=True)
    except TypeError as e:
      raise TypeError(f"Fetch argument {original!r} has invalid type {type(original)}, must be a string or Tensor. ({e})") from None
    except ValueError as e:
      raise ValueError(f"Fetch argument {original!r} cannot be interpreted as a Tensor. ({e})") from None
    except KeyError as e:
      raise ValueError(f"Fetch argument {original!r} cannot be interpreted as a Tensor. ({e})") from None

  def _tensor(self, tensor):
    if not self.graph.is_fetchable(tensor):
      raise ValueError(f"Tensor {tensor.name!r} has been marked as not fetchable.")
    place = self._at.get(tensor)
    if place is None:
      place = self._at[tensor] = len(self.tensors)
      self.tensors.append(tensor)
    return place


class BaseSession:
  """Runs operations and evaluates tensors of a graph."""

  def __init__(self, target="", graph=None, config=None):
    if graph is None:
      graph = _graph.get_default_graph()
    elif not isinstance(graph, _graph.Graph):
      raise TypeError(f"graph must be a sl.Graph, but got {type(graph)}")
    if target is not None and not isinstance(target, (str, bytes)):
      raise TypeError(f"target must be a string, but got {type(target)}")
    target = target.decode() if isinstance(target, bytes) else target or ""
    if config is not None and not hasattr(config, "SerializeToString"):
      raise TypeError(f"config must be a sl.ConfigProto, but got {type(config)}")
    self._closed = False
    self._opened = False
    self._graph = graph
    self._target = target
    self._config = config
    self._plans = {}
    self._default = None
    self._native = _sluice.Session(graph._native, None if config is None else config.SerializeToString(), target)

  @property
  def graph(self):
    """The graph that was launched."""
    return self._graph

  @property
  def graph_def(self):
    return self._graph.as_graph_def()

  @property
  def sess_str(self):
    return self._target

  def list_devices(self):
    """The devices of the session: name, device_type, memory_limit_bytes, incarnation."""
    return [_DeviceAttributes(*d) for d in self._native.devices()]

  def as_default(self):
    """A context in which `t.eval()` and `op.run()` use this session; it does not close it."""
    return _graph._default_sessions.scope(self)

  def close(self):
    """Ends the running steps and frees what the session holds; later runs are refused."""
    if not self._closed:
      self._closed = True
      self._plans = {}
      self._native.close()

  def reset_containers(self, containers=()):
    self._native.reset([c.decode() if isinstance(c, bytes) else c for c in containers or ()])

  def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
    """Runs one step and returns the values of `fetches`, in the same nested structure.

    Args:
      fetches: a tensor, operation, variable or name; or lists, tuples, namedtuples and dicts of them. An operation
        gives None, a tensor a NumPy array or scalar.
      feed_dict: values for placeholders or any other tensors.
      options: a `sl.RunOptions` message.
      run_metadata: a `sl.RunMetadata` message to fill.
    """
    cls = type(fetches)
    key = (cls, *fetches) if cls is list or cls is tuple else fetches
    try:
      if feed_dict:
        plan = self._plans[key, tuple(feed_dict)]
        values = list(feed_dict.values())
      else:
        plan = self._plans[key]
        values = ()
    except (KeyError, TypeError):
      plan, values = self._resolve(fetches, feed_dict)
    try:
      if options is not None or run_metadata is not None:
        return self._run_with(plan, values, options, run_metadata)
      fetched = plan.callable.run(values)
    except Exception as e:
      self._with_op(e)
      raise
    if plan.direct == 1:
      return fetched[0]
    if plan.direct == 2:
      return None
    return plan.build(fetched)

  def _scopes_of(self, name):
    """The `sl.device` scopes around a node, with their lines; "" when there are none."""
    op = self._graph._by_name.get(name)
    scopes = op._device_scopes if op is not None else ()
    return ", ".join(f"sl.device({asked}) at {os.path.basename(file)}:{line}" for asked, file, line in scopes)

  def _with_op(self, error):
    message = getattr(error, "_message", "")
    if message.startswith("cannot place "):
      found = {name: self._scopes_of(name) for name in re.findall(r"'([^' ]+)' \(", message)}
      scopes = "; ".join(f"'{name}' is inside {text}" for name, text in found.items() if text)
      if scopes:
        error._message = f"{message} [{scopes}]"
        error.args = (error._message,)
    name = getattr(error, "_node_name", None)
    if name is not None and error._op is None:
      found = self._graph._by_name
      error._op = found.get(name) or found.get(name.rpartition("/_")[0])
    return error

  def _check_usable(self):
    if self._closed:
      raise RuntimeError("Attempted to use a closed Session.")
    if not self._graph._by_id and not self._graph._sync():
      raise RuntimeError("The Session graph is empty. Add operations to the graph before calling run().")

  def _resolve(self, fetches, feed_dict):
    """The plan for new fetches and feeds, kept when both can be told apart cheaply; and the values to feed."""
    self._check_usable()
    graph = self._graph
    feeds, values, plain = [], [], True
    for key, value in self._flat_feeds(feed_dict):
      tensor = self._feed_tensor(key)
      plain = plain and tensor is key
      feeds.append(tensor)
      values.append(value)
    if len(set(feeds)) != len(feeds):
      raise ValueError("a tensor is fed twice")
    plain = plain and (not feed_dict or len(feeds) == len(feed_dict))
    collected = _Fetches(graph, feeds)
    build = collected.mapper(fetches)
    signature = (tuple(t._key for t in collected.tensors), tuple(o._id for o in collected.targets), tuple(t._key for t in feeds))
    native = self._plans.get(signature)
    if native is None:
      native = self._native.callable(list(signature[2]), list(signature[0]), list(signature[1]))
      if _watch is not None:
        native = _watch(self, native, feeds, collected.tensors, collected.targets)
      self._plans[signature] = native
    cls = type(fetches)
    direct = 0
    if not isinstance(fetches, (list, tuple, dict)) and (isinstance(fetches, (Tensor, Operation)) or _expand(fetches) is None):
      direct = 1 if collected.tensors else 2
    if cls is list and all(isinstance(f, Tensor) for f in fetches) and [collected._at[f] for f in fetches] == list(range(len(fetches))):
      build = _same
    plan = _Plan(native, build, direct, (fetches, feeds))
    if plain and cls is not dict and (cls not in (list, tuple) or not any(isinstance(f, (list, tuple, dict)) for f in fetches)):
      try:
        key = (cls, *fetches) if cls is list or cls is tuple else fetches
        self._plans[(key, tuple(feeds)) if feeds else key] = plan
      except TypeError:  # Not hashable: resolved each time.
        pass
    return plan, values

  def _flat_feeds(self, feed_dict):
    if not feed_dict:
      return
    if not hasattr(feed_dict, "items"):
      raise TypeError(f"feed_dict must be a dictionary, found {type(feed_dict)}")
    for key, value in feed_dict.items():
      if isinstance(key, (list, tuple)):
        yield from _zip_feeds(key, value)
      elif isinstance(key, SparseTensor):
        yield from zip((key.indices, key.values, key.dense_shape), tuple(value))
      elif isinstance(key, IndexedSlices):
        yield from zip((key.values, key.indices) + (() if key.dense_shape is None else (key.dense_shape,)), tuple(value))
      else:
        for cls, _, feed in _fetch_expansions:
          if isinstance(key, cls) and feed is not None:
            yield from feed(key, value)
            break
        else:
          yield key, value

  def _feed_tensor(self, key):
    try:
      tensor = self._graph.as_graph_element(key, allow_tensor=True, allow_operation=False)
    except Exception as e:
      raise TypeError(f"Cannot interpret feed_dict key as Tensor: {e.args[0] if e.args else e}") from None
    if not self._graph.is_feedable(tensor):
      raise ValueError(f"Tensor {tensor} may not be fed.")
    return tensor

  def _run_with(self, plan, values, options, run_metadata):
    trace = timeout = graphs = 0
    if options is not None:
      trace, timeout, graphs = options.trace_level > 0, options.timeout_in_ms, options.output_partition_graphs
    fetched, metadata = plan.callable.run_with(values, bool(trace), bool(graphs), timeout, run_metadata is not None)
    if run_metadata is not None:
      run_metadata.ParseFromString(metadata)
    return plan.build(fetched)

  def make_callable(self, fetches, feed_list=None, accept_options=False):
    """A function that runs `fetches`, given the values of `feed_list` as arguments: quicker than `run` in a loop."""
    if feed_list is not None and not isinstance(feed_list, (list, tuple)):
      raise TypeError("`feed_list` must be a list or tuple.")
    plan, _ = self._resolve(fetches, dict.fromkeys(feed_list or ()))
    run, build, direct = plan.callable.run, plan.build, plan.direct
    count = len(feed_list or ())

    def call_with_options(*values, options=None, run_metadata=None):
      if len(values) != count:
        raise TypeError(f"the callable takes {count} values, found {len(values)}")
      return self._run_with(plan, values, options, run_metadata)

    def call(*values):
      try:
        return build(run(values))
      except Exception as e:
        self._with_op(e)
        raise

    def call_for_one(*values):
      try:
        return run(values)[0]
      except Exception as e:
        self._with_op(e)
        raise

    if accept_options:
      return call_with_options
    return call_for_one if direct == 1 else call

  def explain_placement(self, fetches, feed_list=()):
    """Text: where each node of a step runs, and why, with the `sl.device` scopes around it."""
    try:
      report = self._resolve(fetches, dict.fromkeys(feed_list))[0].callable.explain_placement()
    except Exception as e:
      self._with_op(e)
      raise
    lines = []
    for line in report.splitlines():
      scopes = self._scopes_of(line.partition(" (")[0])
      lines.append(f"{line}; inside {scopes}\n" if scopes else line + "\n")
    return "".join(lines)

  def explain_plan(self, fetches, feed_list=()):
    """Text: the execution plan of a step."""
    return self._resolve(fetches, dict.fromkeys(feed_list))[0].callable.plan()

  def partial_run_setup(self, fetches, feeds=None):
    """Starts a step that is run in parts, and returns its handle.

        h = sess.partial_run_setup([y, z], [a, b])
        first = sess.partial_run(h, y, feed_dict={a: 1})
        last = sess.partial_run(h, z, feed_dict={b: first * 2})

    It is one step: each node runs once, as soon as what it needs has been fed. Operations among the fetches run with it.
    It ends when all of `fetches` were fetched, with an error, with the session, or when nobody goes on with it for ten
    minutes. Several may be open at once.

    Args:
      fetches: all that will be fetched, in any structure that `run` takes.
      feeds: all tensors that will be fed.
    """
    self._check_usable()
    keys = []
    feeds = [] if feeds is None else feeds if isinstance(feeds, (list, tuple)) else [feeds]
    for key, _ in self._flat_feeds({f: (None,) * 3 for f in feeds}):
      keys.append(self._feed_tensor(key)._key)
    collected = _Fetches(self._graph, ())
    collected.mapper(fetches)
    try:
      return self._native.partial_setup(keys, [t._key for t in collected.tensors], [o._id for o in collected.targets])
    except Exception as e:
      self._with_op(e)
      raise

  def partial_run(self, handle, fetches, feed_dict=None):
    """Goes on with a step that `partial_run_setup` started: gives the feeds, returns the values of `fetches`.

    Each feed is given once and each fetch taken once in a partial run. A fetch that depends on feeds that were not given
    yet is an InvalidArgumentError that names them, and changes nothing; an error of the step ends the partial run.
    """
    self._check_usable()
    if not isinstance(handle, str):
      raise TypeError(f"handle must be what partial_run_setup returned, found {type(handle)}")
    keys, values = [], []
    for key, value in self._flat_feeds(feed_dict):
      keys.append(self._feed_tensor(key)._key)
      values.append(value)
    collected = _Fetches(self._graph, ())
    build = collected.mapper(fetches)
    if collected.targets:
      raise RuntimeError("partial_run() requires empty target_list.")
    try:
      return build(self._native.partial_run(handle, keys, values, [t._key for t in collected.tensors]))
    except Exception as e:
      self._with_op(e)
      raise

  def __del__(self):
    if not getattr(self, "_closed", True):
      try:
        self.close()
      except Exception:  # The interpreter may be ending.
        pass


def _same(values):
  return values


def _zip_feeds(keys, values):
  if not isinstance(values, (list, tuple, np.ndarray)) or len(keys) != len(values):
    raise ValueError(f"a feed_dict key of {len(keys)} tensors wants as many values, found {values!r}")
  for key, value in zip(keys, values):
    if isinstance(key, (list, tuple)):
      yield from _zip_feeds(key, value)
    else:
      yield key, value


class _DeviceAttributes:
  """One device of a session."""

  def __init__(self, name, device_type, memory_limit_bytes, incarnation):
    self.name = name
    self.device_type = device_type
    self.memory_limit_bytes = memory_limit_bytes
    self.incarnation = incarnation

  def __repr__(self):
    return f"_DeviceAttributes({self.name}, {self.device_type}, {self.memory_limit_bytes}, {self.incarnation})"


class Session(BaseSession):
  """A session that is the default, with its graph, inside a `with` block, and closed at its end.

      with sl.Session() as sess:
        print(sess.run(c))
  """

  def __init__(self, target="", graph=None, config=None):
    super().__init__(target, graph, config)
    self._scopes = []

  def __enter__(self):
    if self._scopes:
      raise RuntimeError("Session context managers are not re-entrant. Use `Session.as_default()` if you want to enter a session multiple times.")
    self._scopes = [self.graph.as_default(), self.as_default()]
    for scope in self._scopes:
      scope.__enter__()
    return self

  def __exit__(self, *exc):
    for scope in reversed(self._scopes):
      scope.__exit__(*exc)
    self._scopes = []
    self.close()

  @staticmethod
  def reset(target, containers=None, config=None):
    """Frees what the cluster of the master at `target` holds (variables, queues, tables) in the given containers, in all
    when there are none, and closes its sessions. In-process sessions own their resources: then there is nothing to do."""
    if target not in ("", "local", None):
      _sluice.reset_target(target, [c.decode() if isinstance(c, bytes) else c for c in containers or ()])


class InteractiveSession(BaseSession):
  """A session that makes itself the default when it is built, for notebooks and shells."""

  def __init__(self, target="", graph=None, config=None):
    super().__init__(target, graph, config)
    self._default_scope = self.as_default()
    self._default_scope.__enter__()
    self._graph_scope = None
    if graph is not None:
      self._graph_scope = graph.as_default()
      self._graph_scope.__enter__()

  def close(self):
    super().close()
    if self._default_scope is not None:
      items = _graph._default_sessions.items
      if self in items:
        items.remove(self)
      self._default_scope = None
    if self._graph_scope is not None:
      items = _graph._default_graphs.items
      if items and items[-1] is self._graph:
        items.pop()
      self._graph_scope = None
