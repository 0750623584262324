"""What this machine can do at most: measured once by native/sluice_limits and kept in the user's cache folder."""
import json
import os
import subprocess
import tempfile

from sluice import _native

_PROBE = os.path.join(os.path.dirname(_native.__file__), "native", "sluice_limits")
_FORMAT = 1


class Limits:
  """Peak GFLOP/s and the GB/s of each level of memory, for one thread and for all."""

  def __init__(self, measured):
    self.cpu, self.threads, self.isa = measured["cpu"], measured["threads"], measured["isa"]
    self.gflops = measured["f32_gflops"]
    self.levels = measured["levels"]
    self.measured = measured

  def peak(self, threads):
    return self._of(self.gflops, threads)

  def bandwidth(self, working_set, threads, kind="copy_gbps"):
    """(level's name, GB/s) where a working set of so many bytes lives. A level that each core has for itself serves
    `threads` times as much."""
    for level in self.levels:
      room = level["bytes"] * (threads if level["name"] in ("L1", "L2") else 1)
      if not level["bytes"] or working_set <= room:
        return level["name"], self._of(level[kind], threads)
    raise AssertionError("no level without an end")

  def seconds(self, flops, moved, threads):
    """The time below which no kernel gets, and what sets it: "compute", or the level of memory."""
    level, gbps = self.bandwidth(moved, threads)
    compute, memory = flops / (1e9 * self.peak(threads)), moved / (1e9 * gbps)
    return (compute, "compute") if compute >= memory else (memory, level)

  def _of(self, pair, threads):
    """Between the figure of one thread and that of all, as if each thread added as much as another."""
    if self.threads <= 1 or threads <= 1:
      return pair[0]
    return pair[0] + (pair[1] - pair[0]) * (min(threads, self.threads) - 1) / (self.threads - 1)


def cache_folder():
  return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache"), "sluice")


def _key():
  """What a measurement holds for: the processor, the CPUs that this process may use, the instructions it may use."""
  model = "unknown"
  try:
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
      model = next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), model)
  except OSError:
    pass
  return "%s, %d CPUs, %s" % (model, len(os.sched_getaffinity(0)), os.environ.get("SLUICE_ISA") or "all instructions")


def measure(probe=None):
  """A fresh measurement; it takes some seconds."""
  done = subprocess.run([probe or _PROBE], capture_output=True, text=True, timeout=120, check=False)
  if done.returncode != 0:
    raise OSError("%s ended with status %d: %s" % (probe or _PROBE, done.returncode, done.stderr.strip()))
  return json.loads(done.stdout)


def _better(a, b):
  """Of two measurements the higher figures: what was reached once is possible, and a busy machine hides some."""
  if isinstance(a, dict) and isinstance(b, dict):
    return {key: _better(a[key], b.get(key, a[key])) for key in a}
  if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
    return [_better(x, y) for x, y in zip(a, b)]
  if isinstance(a, float) and isinstance(b, (int, float)):
    return max(a, b)
  return a


def find(again=False, warn=lambda text: None, folder=None, probe=None):
  """The Limits of this machine, from the cache or measured now; None when they cannot be had, after `warn` said why."""
  path = os.path.join(folder or cache_folder(), "limits.json")
  key, kept, before = _key(), {}, None
  try:
    with open(path, encoding="utf-8") as f:
      kept = json.load(f)
    if not isinstance(kept, dict) or kept.get("format") != _FORMAT:
      kept = {}
    elif key in kept["machines"]:
      before = kept["machines"][key]
      if not again:
        return Limits(before)
  except FileNotFoundError:
    pass
  except (OSError, ValueError, KeyError, TypeError) as e:
    warn("%s cannot be used and is made anew: %s" % (path, e))
    kept, before = {}, None
  try:
    measured = measure(probe)
    if before is not None:
      measured = _better(measured, before)
    limits = Limits(measured)
  except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as e:
    warn("the machine's limits were not measured: %s" % e)
    return None
  machines = kept.get("machines") if isinstance(kept.get("machines"), dict) else {}
  try:
    _write(path, {"format": _FORMAT, "machines": {**machines, key: measured}})
  except OSError as e:
    warn("the machine's limits are measured again next time: %s" % e)
  return limits


def _write(path, content):
  """Two processes may do this at once: each replaces the whole file."""
  os.makedirs(os.path.dirname(path), exist_ok=True)
  handle, fresh = tempfile.mkstemp(dir=os.path.dirname(path), prefix=".limits")
  try:
    with os.fdopen(handle, "w", encoding="utf-8") as f:
      json.dump(content, f, indent=1)
    os.replace(fresh, path)
  except OSError:
    os.unlink(fresh)
    raise
