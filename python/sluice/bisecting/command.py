"""python3 -m sluice bisect: finds the compiler's pass that changes what a program computes."""
import argparse
import os
import pickle
import subprocess
import sys
import tempfile

from sluice._native import _sluice
from sluice.bisecting.compare import difference

_DESCRIPTION = """Runs a program with and without the passes that the compiler makes over its graphs, compares what the first steps
fetch, bit for bit, and names the pass that makes a difference. The program must compute the same in every run: set its
seeds. Exit code 0: no pass changes a result; 1: one does; 2: the question could not be answered."""


def main(arguments):
  passes = _sluice.passes()
  parser = argparse.ArgumentParser(
      prog="sluice bisect", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter,
      usage="python3 -m sluice bisect [options] PROGRAM [ARGUMENTS...]\n       python3 -m sluice bisect [options] -m MODULE [ARGUMENTS...]",
      epilog="passes: %s\n\nSLUICE_DISABLE_PASSES=a,b switches passes off in any program, SLUICE_DUMP_PASSES=1 prints graphs before and after each."
      % ", ".join(passes))
  parser.add_argument("--steps", type=int, default=20, metavar="N", help="compare the first N steps of each kind (default 20)")
  parser.add_argument("--rtol", type=float, default=0.0, metavar="R", help="relative difference that counts as none (default 0)")
  parser.add_argument("--atol", type=float, default=0.0, metavar="A", help="absolute difference that counts as none (default 0)")
  parser.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="for each run of the program (default 3600)")
  parser.add_argument("-m", dest="module", action="store_true", help="PROGRAM is the name of a module")
  parser.add_argument("program", metavar="PROGRAM")
  parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENTS")
  asked = parser.parse_args(arguments)
  if asked.steps < 1:
    parser.error("--steps is %d, wanted at least 1" % asked.steps)
  if asked.rtol < 0 or asked.atol < 0:
    parser.error("--rtol and --atol are differences, wanted at least 0")
  if not asked.module and not os.path.isfile(asked.program):
    parser.error("there is no program '%s'" % asked.program)
  with tempfile.TemporaryDirectory(prefix="sluice_bisect") as folder:
    return _Search(asked, passes, folder).answer()


class _Search:
  """Runs of one program with some passes on."""

  def __init__(self, asked, passes, folder):
    self._asked, self._passes, self._folder = asked, passes, folder
    self._runs = {}
    self._reference = None

  def answer(self):
    self._reference = self._run([])
    kinds, status = self._reference
    if kinds is None:
      return _say("without passes the program ended with status %d before it could be recorded" % status) or 2
    if not kinds:
      return _say("the program runs no step of a session in this process") or 2
    self._runs.clear()
    again = self._differs([])
    if again:
      return _say("the program does not repeat itself, even without passes: " + again) or 2
    different = self._differs(self._passes)
    if not different:
      print("No pass changes what the first %d steps of each kind fetch (passes: %s)." % (self._asked.steps, ", ".join(self._passes)))
      return 0
    print("With all passes: %s" % different)
    alone = [(p, self._differs([p])) for p in self._passes]
    guilty = [(p, why) for p, why in alone if why]
    if guilty:
      for p, why in guilty:
        print("%s alone changes a result: %s" % (p, why))
      names = [p for p, _ in guilty]
    else:
      first = self._first_prefix()
      names = [self._passes[first - 1]]
      print("%s changes a result after %s: %s" % (names[0], ", ".join(self._passes[:first - 1]), self._differs(self._passes[:first])))
    off = [p for p in self._passes if p not in names] if guilty else self._passes[first:]
    print("To see its graphs: %sSLUICE_DUMP_PASSES=1 python3 %s" % (
        "SLUICE_DISABLE_PASSES=%s " % ",".join(off) if off else "", " ".join((["-m"] if self._asked.module else []) + [self._asked.program] + self._asked.arguments)))
    return 1

  def _first_prefix(self):
    """The least number of passes, from the first on, that make a difference; all of them do."""
    few, many = 0, len(self._passes)
    while many - few > 1:
      middle = (few + many) // 2
      if self._differs(self._passes[:middle]):
        many = middle
      else:
        few = middle
    return many

  def _differs(self, on):
    kinds, status = self._run(on)
    wanted, wanted_status = self._reference
    if status != wanted_status:
      return "the program ends with status %d, not %d" % (status, wanted_status)
    return difference(kinds or [], wanted, self._asked.rtol, self._asked.atol)

  def _run(self, on):
    """(kinds of steps, or None when it did not get so far; status) with the passes `on` alone."""
    key = tuple(on)
    if key not in self._runs:
      file = os.path.join(self._folder, "steps")
      if os.path.exists(file):
        os.remove(file)
      off = [p for p in self._passes if p not in on]
      environment = dict(os.environ, SLUICE_DISABLE_PASSES=",".join(off))
      _say("running with %s" % (", ".join(on) or "no pass"))
      command = [sys.executable, "-m", "sluice.bisecting.record", file, str(self._asked.steps),
                 "module" if self._asked.module else "file", self._asked.program] + self._asked.arguments
      try:
        status = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, timeout=self._asked.timeout, check=False).returncode
      except subprocess.TimeoutExpired:
        status = 124
      kinds = None
      if os.path.exists(file):
        with open(file, "rb") as f:
          kinds = pickle.load(f)
      self._runs[key] = kinds, status
    return self._runs[key]


def _say(text):
  print("sluice bisect: " + text, file=sys.stderr)
