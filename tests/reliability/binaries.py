"""The C++ programs that the bench uses: the simulation and the checker of histories, built from this tree."""
import os
import shutil
import subprocess

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_TARGETS = {"check_history": "//tests/simulation:check_history", "simulation_test": "//tests/simulation:simulation_test"}
_built = set()


def find(name):
    """The path of a program, built now if need be; None where there is no way to have it."""
    path = os.path.join(_ROOT, "bazel-bin", "tests", "simulation", name)
    if name not in _built and "BENCH_NO_BUILD" not in os.environ and shutil.which("bazel"):
        subprocess.run(["bazel", "build", "--noshow_progress", "--ui_event_filters=-info", "--show_result=0", _TARGETS[name]],
                       cwd=_ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _built.add(name)
    return path if os.access(path, os.X_OK) else None
