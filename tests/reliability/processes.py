"""The processes of the disk tests: who saves, who reads, and strace, which makes calls fail."""
import collections
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# What a save asks of the file system. Reports go through a socket, by sendto, which is none of these.
FILE_CALLS = ("openat", "open", "creat", "write", "writev", "pwrite64", "close", "fsync", "fdatasync", "rename", "renameat", "renameat2",
              "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "ftruncate", "fallocate", "link", "chmod", "fchmodat", "flock")
DEADLINE = 60


def strace_missing():
    """Why strace cannot be used here, or None."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    done = subprocess.run(["strace", "-o", "/dev/null", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else "ptrace is not allowed (%s)" % done.stderr.strip().split("\n")[-1]


class Reader:
    """reader_program.py: an answer for each folder. A reader that dies answers {"outcome": "crash"}."""

    def __init__(self):
        self._process = None

    def read(self, folder):
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, os.path.join(HERE, "reader_program.py")], text=True,
                                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._process.stdin.write(folder + "\n")
        self._process.stdin.flush()
        line = ""
        if select.select([self._process.stdout], [], [], DEADLINE)[0]:
            line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        late = self._process.poll() is None
        self._process.kill()
        code = self._process.wait()
        self._process = None
        return {"outcome": "hang" if late else "crash", "text": "no answer for %d s" % DEADLINE if late else "the reader ended with %d" % code}

    def close(self):
        if self._process is not None:
            self._process.stdin.close()
            self._process.wait(DEADLINE)
            self._process.stdout.close()
            self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


Run = collections.namedtuple("Run", "reports code stderr calls")


def save_under(folder, steps=2, inject=None, prefix=(), log=False):
    """Runs saving_program.py, whose saves after the first are made under strace with `inject`, or with `prefix` before
    the command. Returns its reports, its exit code and, with `log`, the calls of every thread: [(thread, call, line)]."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.NamedTemporaryFile("r") as trace, tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen(list(prefix) + [sys.executable, os.path.join(HERE, "saving_program.py"), folder, str(steps),
                                                   str(theirs.fileno())], pass_fds=[theirs.fileno()], stderr=stderr,
                                   stdout=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(DEADLINE)
        tracer, reports, calls = None, [], []
        try:
            lines = ours.makefile("r")
            for line in lines:
                reports.append(json.loads(line))
                if "ready" not in reports[-1]:
                    continue
                if inject or log:
                    tracer = _attach(process.pid, inject, trace.name)
                ours.sendall(b".")
            code = process.wait(DEADLINE)
            if log:
                calls = _calls(trace.read())
        except (TimeoutError, subprocess.TimeoutExpired):
            reports.append({"hang": "no word for %d s" % DEADLINE})
            process.kill()
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if tracer is not None:
                tracer.wait(DEADLINE)
                tracer.stderr.close()
        stderr.seek(0)
        return Run(reports, code, stderr.read(), calls)


def _attach(pid, inject, trace):
    command = ["strace", "-f", "-o", trace, "-e", "trace=sendto," + ",".join("?" + c for c in FILE_CALLS), "-e", "signal=none"]
    if inject:
        command += ["-e", "inject=" + inject]
    tracer = subprocess.Popen(command + ["-p", str(pid)], stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and select.select([tracer.stderr], [], [], 1)[0]:
        line = tracer.stderr.readline()
        if "attached" in line:
            return tracer
        if not line:
            break
    tracer.kill()
    tracer.wait()
    raise RuntimeError("strace did not attach to %d: %s" % (pid, line))


def _calls(text):
    found = []
    for line in text.splitlines():
        match = re.match(r"(\d+) +(\w+)\(", line)
        if match:
            found.append((match.group(1), match.group(2), line))
    return found


def points(calls, saves):
    """[(call, n, its line)] for the n-th call of each kind, until so many saves were reported: strace counts for each
    thread by itself."""
    count, seen, reports = collections.Counter(), {}, 0
    for thread, call, line in calls:
        if call == "sendto":
            reports += 1
            if reports == saves:
                break
            continue
        count[thread, call] += 1
        seen.setdefault((call, count[thread, call]), line)
    return [(call, n, line) for (call, n), line in seen.items()]


def killed(run):
    return run.code == -signal.SIGKILL
