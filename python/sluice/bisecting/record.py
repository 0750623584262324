"""Runs a program and writes down what its steps fetch: `python3 -m sluice.bisecting.record FILE STEPS PROGRAM ARGUMENTS...`."""
import os
import pickle
import runpy
import sys
import threading

import numpy as np

from sluice import _session


class Recorder:
  """The fetched values of the first steps of each kind (session, feeds, fetches, targets) of this process.

  Threads: sessions may run in any thread; steps of one kind count in the order in which they end.
  """

  def __init__(self, steps):
    self.steps = steps
    self.kinds = []    # [(names of fetches and targets, [values of a step])]
    self._sessions = []
    self._by_key = {}
    self._lock = threading.Lock()

  def watch(self, session, native, feeds, fetches, targets):
    with self._lock:
      if not any(s is session for s in self._sessions):
        self._sessions.append(session)
      number = next(i for i, s in enumerate(self._sessions) if s is session)
      key = (number, tuple(t.name for t in feeds), tuple(t.name for t in fetches), tuple(o.name for o in targets))
      if key not in self._by_key:
        self._by_key[key] = []
        self.kinds.append((key, self._by_key[key]))
      return _Watched(self, self._by_key[key], native)

  def add(self, values, steps):
    with self._lock:
      if len(steps) < self.steps:
        steps.append([np.array(v) for v in values])


class _Watched:
  """Stands in the place of a native callable."""

  def __init__(self, recorder, steps, native):
    self._recorder, self._steps, self._native = recorder, steps, native

  def __getattr__(self, name):
    return getattr(self._native, name)

  def run(self, values):
    fetched = self._native.run(values)
    self._recorder.add(fetched, self._steps)
    return fetched

  def run_with(self, *arguments):
    fetched, metadata = self._native.run_with(*arguments)
    self._recorder.add(fetched, self._steps)
    return fetched, metadata


def main(arguments):
  file, steps, module, program = arguments[0], int(arguments[1]), arguments[2] == "module", arguments[3]
  recorder = Recorder(steps)
  _session.watch_callables(recorder.watch)
  sys.argv = arguments[3:]
  try:
    if module:
      sys.path.insert(0, os.getcwd())
      runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
      sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
      runpy.run_path(program, run_name="__main__")
  finally:  # a program that fails was as it was until then
    _session.watch_callables(None)
    with open(file, "wb") as f:
      pickle.dump(recorder.kinds, f)


if __name__ == "__main__":
  main(sys.argv[1:])
