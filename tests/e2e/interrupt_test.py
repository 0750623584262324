"""Ctrl-C during a step: it ends soon, nothing is corrupted, and a program's own handler keeps its steps whole."""
import subprocess
import sys

PROGRAM = """
import os, signal, threading
import numpy as np
import sluice as sl

a = sl.placeholder(sl.float32, [None, None])
y = a
for _ in range(40):
    y = sl.matmul(y, a)
total = sl.reduce_sum(y)
feed = {a: np.full([700, 700], 1 / 700, np.float32)}
whole = lambda: float(session.run(total, feed))
soon = lambda: threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
with sl.Session() as session:
    expected = whole()
    for _ in range(5):
        soon()
        try:
            while True:
                assert whole() == expected
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert whole() == expected
    asked = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(True))
    soon()
    while not asked:
        assert whole() == expected
    print("asked", flush=True)
"""


def test_a_step_is_interrupted_without_harm_and_own_handlers_are_respected():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["interrupted"] * 5 + ["asked"]
