"""R11 to R13: checkpoints that were torn, saves that were killed, disks that fail."""
import os
import random
import re
import shutil
import tempfile

import processes
import state
from sluice.train._session_epoch import SessionEpoch

_ERRORS = {"openat": ("ENOSPC", "EIO"), "write": ("ENOSPC", "EIO", "EDQUOT", "EINTR"), "pwrite64": ("ENOSPC", "EIO", "EDQUOT", "EINTR"),
           "writev": ("ENOSPC", "EIO", "EDQUOT", "EINTR"), "fsync": ("EIO", "ENOSPC"), "fdatasync": ("EIO", "ENOSPC"),
           "rename": ("EIO", "ENOSPC"), "renameat": ("EIO",), "renameat2": ("EIO",), "mkdir": ("ENOSPC", "EIO"), "close": ("EIO",),
           "unlink": ("EIO",), "unlinkat": ("EIO",), "rmdir": ("EIO",), "flock": ("EINTR", "EIO")}
_STATES = ("checkpoint", "checkpoint.manifest")  # what names checkpoints


# ---- R11

def torn_checkpoint(result, tier):
    """Restoring what is left of a damaged folder gives an older complete checkpoint or an error, never wrong values."""
    count = {"smoke": 150, "commit": 2000, "nightly": 200000, "release": 1000000}[tier]
    rng = random.Random(result.seed)
    with tempfile.TemporaryDirectory() as folder, processes.Reader() as reader:
        whole, work = os.path.join(folder, "whole"), os.path.join(folder, "work")
        os.mkdir(whole)
        for step in (1, 2):
            _save(whole, step)
        answer = reader.read(whole)
        assert answer == {"outcome": "whole", "step": 2}, answer
        names = sorted(n for n in os.listdir(whole) if n in _STATES or "-2." in n)
        files = {n: open(os.path.join(whole, n), "rb").read() for n in names}
        shutil.copytree(whole, work)
        for change in _changes(files, count, rng):
            name = change[1]
            path = os.path.join(work, name)
            damaged = _damaged(files, change)
            if damaged == files[name]:
                continue
            os.unlink(path)
            if damaged is not None:
                with open(path, "wb") as f:
                    f.write(damaged)
            answer = reader.read(work)
            why = _why_not(answer, change, path)
            result.trial(why and "%s: %s" % (" ".join(map(str, change)), why))
            with open(path, "wb") as f:
                f.write(files[name])
        answer = reader.read(work)
        assert answer == {"outcome": "whole", "step": 2}, answer
    result.notes.append("%d bytes" % sum(len(f) for f in files.values()))


def _save(folder, step):
    model = state.Model(max_to_keep=5)
    model.saver.session_epoch = SessionEpoch(folder)
    model.saver.session_epoch.acquire()
    if step > 1:
        model.saver.set_last_checkpoints([os.path.join(folder, "model.ckpt-%d" % (step - 1))])
    model.go_to(step)
    model.saver.save(model.session, os.path.join(folder, "model.ckpt"), global_step=step, write_meta_graph=False)


def _changes(files, count, rng):
    """(what, file, where, more) for each damage: every one when `count` is large enough, else as many by chance."""
    every = [("delete", n, 0, 0) for n in files] + [("swap-with-index", n, 0, 0) for n in _STATES]
    every += [("swap-with-older", n, 0, 0) for n in files if n not in _STATES]
    for name, data in files.items():
        every += [("zero", name, at, 512) for at in range(0, len(data), 512)]
    yield from every
    # Of every byte: cut there, flip it. The index and the manifest are small, so half of the damages go there.
    bytes_of = {n: [(what, n, at, 1 << (at * 7 + rng.randrange(8)) % 8) for what in ("truncate", "flip") for at in range(len(d))]
                for n, d in files.items()}
    small = [c for n, changes in bytes_of.items() if len(files[n]) < 4096 for c in changes]
    large = [c for n, changes in bytes_of.items() if len(files[n]) >= 4096 for c in changes]
    left = max(0, count - len(every))
    chosen = rng.sample(small, min(len(small), left // 2))
    chosen += rng.sample(large, min(len(large), left - len(chosen)))
    yield from chosen


def _damaged(files, change):
    """The bytes of the file after a change; None when it is not there."""
    what, name, at, more = change
    data = files[name]
    if what == "delete":
        return None
    if what == "truncate":
        return data[:at]
    if what == "flip":
        return data[:at] + bytes([data[at] ^ more]) + data[at + 1:]
    if what == "zero":
        return data[:at] + b"\0" * len(data[at:at + more]) + data[at + more:]
    if what == "swap-with-index":
        return files["model.ckpt-2.index"]
    return data[::-1]  # swap-with-older: a file of the same size that belongs to no index here


def _why_not(answer, change, path):
    """What is wrong with an answer for a damaged folder, or None."""
    outcome = answer["outcome"]
    if outcome == "whole":
        return None if answer["step"] in (1, 2) else "step %d was restored" % answer["step"]
    if outcome == "error":
        if answer["type"] != "DataLossError":
            return "the error is not DATA_LOSS: %(type)s: %(text)s" % answer
        if os.path.basename(path).split(".data")[0] not in answer["text"]:
            return "the error does not name %s: %s" % (path, answer["text"])
        return None
    return "%s: %s" % (outcome, answer.get("text", "the folder has a complete checkpoint, which was not found"))


# ---- R12

def crash_points(result, tier):
    """A save killed at its n-th file call, for every n: what is restored is a whole step, the last or the one before."""
    missing = processes.strace_missing()
    if missing:
        result.skipped = missing
        return
    every, phases = _points(saves={"smoke": 1, "commit": 1}.get(tier, 3)), set()
    result.notes.append("of %d points" % len(every))
    if tier == "smoke":
        every = random.Random(result.seed).sample(every, min(2, len(every)))
    with processes.Reader() as reader:
        for call, n, line in every:
            with tempfile.TemporaryDirectory() as folder:
                run = processes.save_under(folder, _saves(tier), "%s:signal=KILL:when=%d" % (call, n))
                if not processes.killed(run):
                    continue  # this run made fewer of these calls: no fault, no trial
                phases.add(call)
                saved = max(r.get("saved", 0) for r in run.reports)
                why = _why_not_whole(reader.read(folder), saved)
                if why is None:  # and the next run takes over: it saves, and nothing of the dead one is left
                    why = _why_not_resumed(processes.save_under(folder, 1))
                result.trial(why and "killed at %s call %d (%s): %s" % (call, n, line, why))
    result.notes.append("calls " + ",".join(sorted(phases)))


def _saves(tier):
    return {"smoke": 1, "commit": 1}.get(tier, 3)


def _points(saves):
    with tempfile.TemporaryDirectory() as folder:
        run = processes.save_under(folder, saves, log=True)
        assert run.code == 0 and run.reports[-1].get("done"), run
        return processes.points(run.calls, saves)


def _why_not_whole(answer, saved):
    if answer["outcome"] != "whole":
        return "%s, while step %d was saved" % (answer, saved)
    if answer["step"] not in (saved, saved + 1):
        return "step %d was restored, while step %d was saved" % (answer["step"], saved)
    return None


def _why_not_resumed(run):
    failed = [r for r in run.reports if "failed" in r]
    end = run.reports[-1] if run.reports else {}
    if run.code or failed or not end.get("done"):
        return "the next run ended with %s: %s %s" % (run.code, run.reports, run.stderr[-600:])
    if end["left"]:
        return "the next run left %s" % end["left"]
    return None


# ---- R13

def disk_errors(result, tier):
    """A save whose n-th file call fails, for every n and error: it says so, training goes on, and the next save works."""
    missing = processes.strace_missing()
    if missing:
        result.notes.append("without strace: %s" % missing)
    else:
        cases = [(call, n, error, line) for call, n, line in _points(1) for error in _ERRORS.get(call, ())]
        result.notes.append("of %d calls and errors" % len(cases))
        if tier == "smoke":
            cases = random.Random(result.seed).sample(cases, 2)
        for call, n, error, line in cases:
            with tempfile.TemporaryDirectory() as folder:
                run = processes.save_under(folder, 2, "%s:error=%s:when=%d" % (call, error, n))
                why = _why_not_clean(run, folder, line, may_leave=call in ("unlink", "unlinkat", "rmdir"))
                result.trial(why and "%s fails with %s at call %d (%s): %s" % (call, error, n, line, why))
    _small_disks(result, tier)


def _why_not_clean(run, folder, line, may_leave):
    """What is wrong with a run in which a call failed, or None. What could not be removed is left to the next session."""
    named = re.findall(r'"(/[^"]*)"', line)  # a parent of the folder, perhaps
    if any("hang" in r for r in run.reports) or run.code != 0 or not run.reports[-1].get("done"):
        return "the program ended with %s: %s %s" % (run.code, run.reports, run.stderr[-600:])
    last = 0
    for report in run.reports:
        if "saved" in report:
            last = report["saved"]
        if "failed" not in report:
            continue
        if folder not in report["text"] and not any(path in report["text"] for path in named):
            return "the error does not name the file: %s" % report
        if report["left"] and not may_leave:
            return "the failed save left %s: %s" % (report["left"], report)
        if report["kept"] not in (last, report["failed"]):
            return "after the failed save, step %s is there instead of %s: %s" % (report["kept"], last, report)
    end = run.reports[-1]
    if "saved" not in run.reports[-2] or end["kept"] != run.reports[-2]["saved"]:
        return "the save after it did not work: %s" % run.reports
    if not all(isinstance(step, int) for step in end["all"]):
        return "a checkpoint that was saved is not whole: %s" % end["all"]
    return "at the end there is left %s" % end["left"] if end["left"] and not may_leave else None


def _small_disks(result, tier):
    """The same on file systems that are really full."""
    if os.geteuid() != 0:
        result.notes.append("no small file system: it takes root")
        return
    for size in {"smoke": (70,), "commit": (70, 100, 130)}.get(tier, range(64, 200, 4)):
        with tempfile.TemporaryDirectory() as folder:
            mount = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=%dk none "$0" && shift 0 && exec "$@"' % size, folder]
            run = processes.save_under(folder, 2, prefix=mount)
            if "mount" in run.stderr or "unshare" in run.stderr:
                result.notes.append("no small file system: %s" % run.stderr.strip())
                return
            failed = [r for r in run.reports if "failed" in r]
            why = None
            if any("hang" in r for r in run.reports) or run.code or not run.reports[-1].get("done"):
                why = "the program ended with %s: %s %s" % (run.code, run.reports, run.stderr[-600:])
            for r in failed:
                saved = max([q["saved"] for q in run.reports if "saved" in q] or [0])
                named = all(t in r["text"] for t in ("No space", folder, "A checkpoint here needs", "bytes"))
                if not named or r["left"] or r["kept"] not in (saved, r["failed"]):
                    if saved or r["left"]:
                        why = why or str(r)
            result.trial(why and "tmpfs of %d KiB: %s" % (size, why), faults=len(failed))
