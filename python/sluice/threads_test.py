"""Threads of a program that load the package at once, and that are still within sessions when it ends."""
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading, time
import sluice as sl

graph = sl.Graph()
with graph.as_default():
    x = sl.placeholder(sl.float32)
    y = sl.py_func(lambda a: (time.sleep(0.02), a)[1], [x], sl.float32) if sys.argv[1] == "py_func" else sl.matmul(x, x)

def use():
    session = sl.Session(graph=graph)
    while True:
        session.run(y, {x: [[1.0] * 300] * 300})
        within.release()
        if sys.argv[1] == "delete":  # the end of a session lets others into the interpreter, too
            del session
            session = sl.Session(graph=graph)

within = threading.Semaphore(0)
for _ in range(4):
    threading.Thread(target=use, daemon=True).start()
for _ in range(20):
    within.acquire()
print("end")
"""


@pytest.mark.parametrize("what", ["run", "delete", "py_func"])
def test_a_program_ends_in_order_while_daemon_threads_use_sessions(what):
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", PROGRAM, what], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


LOADING = """
import sys, threading
import sluice as sl
sys.setswitchinterval(1e-6)
def use():
    try:
        with sl.Graph().as_default():
            sl.constant(1) + sl.placeholder(sl.int32)
    except Exception as e:
        print(e)
threads = [threading.Thread(target=use) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
"""


def test_threads_that_use_the_package_first_at_the_same_time():
    for _ in range(8):
        done = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
