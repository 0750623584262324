"""The search for a pass that changes a result: with recordings that differ, programs that repeat and ones that do not."""
import os
import subprocess
import sys

import numpy as np
import pytest

from sluice._native import _sluice
from sluice.bisecting.compare import difference

SAME = """
import sluice as sl
x = sl.placeholder(sl.float32, [None])
w = sl.get_variable("w", initializer=[0.5, 2.0])
y = sl.reduce_sum(sl.exp(x * w + 1.0) * sl.tanh(x))
train = sl.train.GradientDescentOptimizer(0.1).minimize(y)
with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    for _ in range(5):
        session.run([train, y], {x: [0.1, 0.2]})
"""
# What a graph with a wrong pass would do: its results depend on whether the pass is on.
WRONG = """
import os
import sluice as sl
off = os.environ["SLUICE_DISABLE_PASSES"].split(",")
with sl.Session() as session:
    session.run(sl.constant(1.0) + 1.0)
    session.run(sl.constant([1.0, %s], name="c"))
"""


def bisect(tmp_path, text, *options):
    program = tmp_path / "program.py"
    program.write_text(text)
    done = subprocess.run([sys.executable, "-m", "sluice", "bisect", *options, str(program)], capture_output=True, text=True, timeout=300,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def test_passes_that_are_right(tmp_path):
    code, out, err = bisect(tmp_path, SAME)
    assert (code, err.count("running with")) == (0, 3) and "No pass changes" in out and "fusion" in out


def test_the_guilty_pass_is_named(tmp_path):
    code, out, _ = bisect(tmp_path, WRONG % "2.0 if 'arithmetic' in off else 2.5")
    lines = out.splitlines()
    assert code == 1 and lines[1].startswith("arithmetic alone changes a result: step 1 of 'c:0'") and len(lines) == 3
    assert "differs in 1 of 2 elements, most at [1]: 2.5, not 2.0" in lines[1]
    assert "SLUICE_DUMP_PASSES=1" in lines[2] and "arithmetic" not in lines[2]
    assert bisect(tmp_path, WRONG % "2.0 if 'arithmetic' in off else 2.5", "--rtol", "0.5")[0] == 0


def test_two_passes_that_are_wrong_together(tmp_path):
    passes = _sluice.passes()
    code, out, _ = bisect(tmp_path, WRONG % ("2.5 if not {'%s', '%s'} & set(off) else 2.0" % (passes[0], passes[2])))
    assert code == 1 and "%s changes a result after %s, %s: " % (passes[2], passes[0], passes[1]) in out


def test_what_cannot_be_answered(tmp_path):
    code, _, err = bisect(tmp_path, "import os, sluice as sl\nwith sl.Session() as s: s.run(sl.constant(os.getpid()))")
    assert code == 2 and "does not repeat itself" in err
    code, _, err = bisect(tmp_path, "print(1)")
    assert code == 2 and "runs no step" in err
    code, out, _ = bisect(tmp_path, "import sys, os, sluice as sl\nwith sl.Session() as s: s.run(sl.constant(1))\n"
                                    "sys.exit(3 if 'fusion' not in os.environ['SLUICE_DISABLE_PASSES'].split(',') else 0)")
    assert code == 1 and "fusion alone changes a result: the program ends with status 3, not 0" in out
    code, _, err = bisect(tmp_path, "", "--steps", "0")
    assert code == 2 and "wanted at least 1" in err


@pytest.mark.parametrize("value, other, text", [
    (np.float32([1, np.nan]), np.float32([1, np.nan]), None),
    (np.float32(0.0), np.float32(-0.0), "differs in 1 of 1"),
    (np.float32([1]), np.float64([1]), "is float32 [1], not float64 [1]"),
    (np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), None),
    (np.int64([1, 2]), np.int64([1, 3]), "differs"),
    (np.array([b"a"], object), np.array([b"b"], object), "differs"),
    (np.complex64([1j]), np.complex64([2j]), "most at [0]: 1j, not 2j"),
])
def test_values(value, other, text):
    key = (0, (), ("x:0",), ())
    found = difference([(key, [[value]])], [(key, [[other]])])
    assert (found is None) if text is None else (text in found)


def test_passes_are_switched_and_dumped_by_the_environment(tmp_path):
    (tmp_path / "program.py").write_text(SAME)

    def dumped(**environment):
        done = subprocess.run([sys.executable, str(tmp_path / "program.py")], capture_output=True, text=True, timeout=300, check=True,
                              env={**os.environ, **environment})
        return {line.split()[2] for line in done.stderr.splitlines() if line.startswith("# before ")}

    assert not dumped()
    shown = dumped(SLUICE_DUMP_PASSES="1")
    assert {"fusion", "prune"} & shown and shown <= set(_sluice.passes())
    assert dumped(SLUICE_DUMP_PASSES="1", SLUICE_DISABLE_PASSES="fusion, arithmetic") == shown - {"fusion", "arithmetic"}
