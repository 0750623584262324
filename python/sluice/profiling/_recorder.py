"""Watches the sessions of this process: times every step, and traces some of each kind."""
import os
import threading
import time

import numpy as np

from sluice import _session


class Step:
  """One step: when it was asked for, when the runtime had it (ns of the monotonic clock), and its trace or None."""

  __slots__ = ("begin", "native_begin", "native_end", "end", "native_begin_unix", "trace", "feed_shapes")

  def __init__(self, begin, native_begin, native_end, native_begin_unix, trace=None, feed_shapes=()):
    self.begin, self.native_begin, self.native_end, self.native_begin_unix = begin, native_begin, native_end, native_begin_unix
    self.end = native_end  # until the call that asked for it returns
    self.trace, self.feed_shapes = trace, feed_shapes

  @property
  def wall(self):
    return self.end - self.begin

  @property
  def native(self):
    return self.native_end - self.native_begin


class Kind:
  """The steps of one signature: feeds, fetches and targets of one session."""

  def __init__(self, session, feeds, fetches, targets):
    self.graph = session.graph
    self.target = session.sess_str
    self.feeds = [t.name for t in feeds]
    self.fetches = [t.name for t in fetches]
    self.targets = [o.name for o in targets]
    self.threads = _threads_of(session._config)
    self.count = self.failed = 0
    self.total = 0      # ns of all its steps
    self.traced = []    # warm steps with a trace
    self.plain = []     # warm steps without one
    self.cold = None    # the first step, traced too

  def name(self):
    """What is run, for people: "train, loss:0 (2 feeds)"."""
    what = self.targets + self.fetches
    shown = ", ".join(what[:3]) + (", ..." if len(what) > 3 else "")
    feeds = len(self.feeds)
    return (shown or "nothing") + (" (%d feed%s)" % (feeds, "s" if feeds > 1 else "") if feeds else "")


def _threads_of(config):
  """How many threads a session's kernels may use."""
  asked = 0 if config is None else max(config.intra_op_parallelism_threads, config.inter_op_parallelism_threads)
  return min(asked or os.cpu_count(), len(os.sched_getaffinity(0)))


class Recorder:
  """Steps of every session made between `start` and `stop`; the first step of each kind, and after `warmup` steps every
  other one until `steps` of them are traced. Threads: sessions may run in any thread."""

  _MOST_PLAIN = 10000  # steps without a trace whose times are kept, for each kind

  def __init__(self, steps=10, warmup=5):
    self.steps, self.warmup = steps, warmup
    self.kinds = []
    self._lock = threading.Lock()
    self._local = threading.local()
    self._originals = None

  def start(self):
    cls = _session.BaseSession
    self._originals = cls.run, cls.make_callable
    run, make_callable = self._originals
    recorder = self

    def watched_run(session, fetches, feed_dict=None, options=None, run_metadata=None):
      with recorder._asked():
        return run(session, fetches, feed_dict, options, run_metadata)

    def watched_make_callable(session, fetches, feed_list=None, accept_options=False):
      call = make_callable(session, fetches, feed_list, accept_options)

      def watched_call(*values, **options):
        with recorder._asked():
          return call(*values, **options)
      return watched_call

    cls.run, cls.make_callable = watched_run, watched_make_callable
    _session.watch_callables(self._watch)

  def stop(self):
    if self._originals is not None:
      _session.watch_callables(None)
      _session.BaseSession.run, _session.BaseSession.make_callable = self._originals
      self._originals = None

  def _watch(self, session, native, feeds, fetches, targets):
    kind = Kind(session, feeds, fetches, targets)
    with self._lock:
      self.kinds.append(kind)
    return _Watched(self, kind, native)

  def _asked(self):
    return _Asked(self._local)

  def _next(self, kind):
    """(number of the step that begins now, whether to trace it)."""
    with self._lock:
      n = kind.count
      kind.count += 1
      return n, n == 0 or n >= self.warmup and len(kind.traced) < self.steps and (n - self.warmup) % 2 == 0

  def _add(self, kind, number, step):
    asked = getattr(self._local, "asked", None)
    if asked is not None:
      asked.step, asked.kind = step, kind
    with self._lock:
      kind.total += step.wall
      if step.trace is None:
        if number >= self.warmup and len(kind.plain) < self._MOST_PLAIN:
          kind.plain.append(step)
      elif number >= self.warmup and len(kind.traced) < self.steps:
        kind.traced.append(step)
      if number == 0:
        kind.cold = step


class _Asked:
  """The time between a program's call and its return."""

  __slots__ = ("local", "begin", "step", "kind", "outer")

  def __init__(self, local):
    self.local, self.step, self.kind = local, None, None

  def __enter__(self):
    self.outer = getattr(self.local, "asked", None)
    self.local.asked = self
    self.begin = time.perf_counter_ns()

  def __exit__(self, *exc):
    now = time.perf_counter_ns()
    self.local.asked = self.outer
    if self.step is not None:
      self.kind.total += now - self.step.end
      self.step.end = now


class _Watched:
  """Stands in the place of a native callable."""

  def __init__(self, recorder, kind, native):
    self._recorder, self._kind, self._native = recorder, kind, native

  def __getattr__(self, name):
    return getattr(self._native, name)

  def run(self, values):
    return self._step(values, False, False, 0, False)[0]

  def run_with(self, values, trace, graphs, timeout, want_metadata):
    return self._step(values, trace, graphs, timeout, want_metadata)

  def _step(self, values, trace, graphs, timeout, want_metadata):
    recorder, kind, native = self._recorder, self._kind, self._native
    number, sample = recorder._next(kind)
    asked = getattr(recorder._local, "asked", None)
    unix = time.time_ns()
    before = time.perf_counter_ns()
    begin = asked.begin if asked is not None and asked.step is None else before
    try:
      if sample or trace or want_metadata or graphs or timeout:
        fetched, metadata = native.run_with(values, bool(sample or trace), bool(graphs), timeout, bool(sample or want_metadata))
      else:
        fetched, metadata = native.run(values), None
    except BaseException:
      kind.failed += 1
      raise
    after = time.perf_counter_ns()
    if sample:
      step = Step(begin, before, after, unix, metadata, [np.shape(v) for v in values])
    else:
      step = Step(begin, before, after, unix)
    recorder._add(kind, number, step)
    if not want_metadata:
      return fetched, None
    return fetched, metadata if trace else b""
