"""What the tasks of a run have written about themselves (SLUICE_HISTORY), and the judgement of it.

Tasks write in C++ which calls reached them and how they ended; the chief's program adds epochs, restores and commits
here, and the bench what it did to them. All of it is held to the rules of tests/simulation/invariants.h, which are
those that simulated clusters are held to.
"""
import contextlib
import glob
import os
import re
import subprocess
import time

import binaries

_HERE = os.path.dirname(os.path.abspath(__file__))


class Writer:
    """Adds events to the folder of a history; from any thread."""

    def __init__(self, folder, task):
        self._task = task
        self._life = str(os.getpid())
        path = os.path.join(folder, "%s-%d-python.events" % (re.sub("[/:]", "_", task), os.getpid()))
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def note(self, kind, task=None, **fields):
        now = time.monotonic_ns()
        words = ["%d.%09d" % divmod(now, 10**9), task or self._task, self._life, kind]
        words += ["%s=%s" % (k, _escaped(str(v))) for k, v in fields.items() if v not in (0, "", None)]
        os.write(self._file, " ".join(words).encode() + b"\n")


def _escaped(text):
    return text.replace("%", "%25").replace(" ", "%20").replace("\n", "%0A")


def step_of(prefix):
    """The step in the name of a checkpoint."""
    return int(prefix.rsplit("-", 1)[1])


def watch_checkpoints(writer):
    """From now on this process's savers write what they do with checkpoints."""
    import sluice as sl
    from sluice.train import _session_epoch
    epoch_class = _session_epoch.SessionEpoch
    acquire, commit, move, restore = epoch_class.acquire, epoch_class.commit, _session_epoch.move, sl.train.Saver.restore
    steps = {}  # thread of the commit -> its step

    def acquired(self):
        number = acquire(self)
        writer.note("epoch", lineage=self.folder, epoch=number)
        return number

    @contextlib.contextmanager
    def committed(self):
        try:
            with commit(self):  # its lock is held: nobody takes an epoch meanwhile
                steps["epoch"] = self
                yield
                writer.note("commit", lineage=self.folder, epoch=self.number, step=steps.pop("step"))
        except sl.errors.FailedPreconditionError:
            writer.note("refused", lineage=self.folder, epoch=self.number)
            raise

    def moved(temporary, prefix, check):
        steps["step"] = step_of(prefix)
        writer.note("committing", lineage=steps["epoch"].folder, epoch=steps["epoch"].number, step=steps["step"])
        return move(temporary, prefix, check)

    def restored(self, session, prefix):
        found = restore(self, session, prefix)
        if self.session_epoch is not None:
            writer.note("restore", lineage=self.session_epoch.folder, epoch=self.session_epoch.number, step=step_of(prefix))
        return found

    epoch_class.acquire, epoch_class.commit = acquired, committed
    _session_epoch.move, sl.train.Saver.restore = moved, restored


def judge(folder):
    """(the broken rules in words or None, {what: how often}) of a history."""
    files = sorted(glob.glob(os.path.join(folder, "*.events")))
    checker = binaries.find("check_history")
    if checker is None:
        return None, {"history not checked": 1}
    done = subprocess.run([checker] + files, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return "the history cannot be read: %s" % done.stderr.strip(), {}
    broken, counts = [], {}
    for line in done.stdout.splitlines():
        if line.startswith("broken "):
            broken.append(line[len("broken "):])
        else:
            name, number = line[len("count "):].rsplit(" ", 1)
            counts[name] = int(number)
    return ("; ".join(broken[:5]) or None), counts


def calls(folder, task, method):
    """[(arrived, answered or None, code)] in seconds, of the calls of a method that reached a task."""
    found = {}
    pattern = re.compile(r"(\S+) (\S+) (\S+) (arrive|answer) call=(\d+) method=(\w+)(.*)")
    for path in glob.glob(os.path.join(folder, "*.events")):
        with open(path, encoding="utf-8") as f:
            for line in f:
                m = pattern.match(line)
                if not m or m.group(2) != task or m.group(6) != method:
                    continue
                key = (m.group(3), int(m.group(5)))
                if m.group(4) == "arrive":
                    found[key] = [float(m.group(1)), None, 0]
                elif key in found:
                    code = re.search(r" code=(\d+)", m.group(7))
                    found[key][1:] = [float(m.group(1)), int(code.group(1)) if code else 0]
    return sorted(tuple(v) for v in found.values())


def damaged_checkpoint(folder):
    """What is wrong with the checkpoints that a folder's manifest names, or None: each is read whole (rule I7)."""
    import sluice as sl
    state = sl.train.get_checkpoint_state(folder)
    for prefix in state.all_model_checkpoint_paths if state is not None else ():
        try:
            reader = sl.train.load_checkpoint(prefix)
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (sl.errors.OpError, OSError, ValueError) as e:
            return "I7: the acknowledged checkpoint %s cannot be read: %s" % (prefix, e)
    return None
