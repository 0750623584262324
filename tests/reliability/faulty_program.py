"""The exact program of tests/distributed, with faults of its own that its environment asks for.

BENCH_DIE="0=save,1=commit,2=restore,3=create"
    the chief kills itself: in its first run while a checkpoint is written, after its first restart between the files and
    the manifest of a commit, after the second while variables are restored, after the third once its session is there
"""
import functools
import os
import signal
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "distributed"))
sys.path.insert(0, HERE)
import exact_program  # noqa: E402
import history  # noqa: E402
import sluice as sl  # noqa: E402
from sluice.train import _session_epoch  # noqa: E402

TASK = (os.environ.get("SLUICE_JOB_NAME"), int(os.environ.get("SLUICE_TASK_INDEX", "0")))
RESTART = int(os.environ.get("SLUICE_RESTART", "0"))


def die(phase):
    print("dies in", phase, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def at_call(number, before, function):
    """`function`, which at its call `number` has before() called first."""
    left = [number]

    @functools.wraps(function)
    def called(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            before()
        return function(*args, **kwargs)

    return called


def soon(phase):
    """Dies in a moment, so in the midst of what is called now."""
    threading.Timer(0.002, die, [phase]).start()


def arm(phase):
    """Makes the chief die in a phase of its work."""
    if phase == "save":
        _session_epoch.SessionEpoch.temporary = at_call(2, lambda: soon(phase), _session_epoch.SessionEpoch.temporary)
    elif phase == "commit":
        # The data files have their names, the index has not.
        os.replace = at_call(2, lambda: die(phase), os.replace)
        _session_epoch._files.write_atomically = at_call(3, lambda: die(phase), _session_epoch._files.write_atomically)
    elif phase == "restore":
        sl.train.Saver.restore = at_call(1, lambda: soon(phase), sl.train.Saver.restore)
    elif phase == "create":
        prepare = sl.train.SessionManager.prepare_session
        sl.train.SessionManager.prepare_session = at_call(1, lambda: soon(phase), prepare)
    else:
        raise ValueError("BENCH_DIE has no phase %r" % phase)


def main():
    phases = dict(item.split("=") for item in os.environ.get("BENCH_DIE", "").split(",") if item)
    if "SLUICE_HISTORY" in os.environ:
        history.watch_checkpoints(history.Writer(os.environ["SLUICE_HISTORY"], "/job:%s/replica:0/task:%d" % TASK))
    if TASK == ("worker", 0) and str(RESTART) in phases:
        arm(phases[str(RESTART)])
    exact_program.main(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
