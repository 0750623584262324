"""Runs of the exact program on a cluster of processes, and what was seen of them."""
import io
import json
import os
import re
import sys
import tempfile
import threading
import time

from sluice.distribute.launcher import Launcher, Task, free_ports

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faulty_program.py")
JOBS = {"ps": 2, "worker": 3}
RESTARTS = 200


class _Output(io.BytesIO):
    def isatty(self):
        return False


class Run(Launcher):
    """One training, disturbed by those who subclass it.

    `on_step(step)` is called for each step that the chief has made, `on_line(task, line)` for each line of any task.
    `train` returns why the run did not do what was promised, or None.
    """

    def __init__(self, steps=60, jobs=None, environ=None, deadline=180):
        self._folder = tempfile.TemporaryDirectory()
        self.output, self.weights, self.deadline = _Output(), [], deadline
        self.steps, self.kills, self.resumed = steps, [], []
        self.seconds = None
        self._waiting = {}  # task -> (when it was killed, how often it had been started again)
        super().__init__(jobs or JOBS, [sys.executable, "-u", PROGRAM, self._folder.name, str(steps)], restarts=RESTARTS,
                         environ=dict(os.environ, **(environ or {})), output=self.output, watch=Run._see)

    # What is done to it.
    def on_step(self, step):
        """Called for each line of the chief that says so."""

    def on_line(self, task, line):
        """Called for each line."""

    def strike(self, name, delay=0.0):
        """Kills a task, after a moment; counts it when there was a process to kill."""
        def now():
            task = self.task(name)
            restarts = task.restarts
            if self.kill(name) is not None:
                self.kills.append(name)
                self._waiting[name] = (time.monotonic(), restarts)
                self.say("killed %s" % name)
        self._waiting.setdefault(name, (time.monotonic() + 1e9, RESTARTS))  # until the kill is made
        threading.Timer(delay, now).start()

    def task(self, name):
        return next(t for t in self.tasks if t.name == name)

    @property
    def recovering(self):
        return bool(self._waiting)

    # How it goes.
    def train(self):
        """Runs to the end; returns None or what went wrong."""
        timer = threading.Timer(self.deadline, self.interrupt)
        timer.start()
        start = time.monotonic()
        try:
            code = self.run()
        finally:
            timer.cancel()
            self._folder.cleanup()
        self.seconds = time.monotonic() - start
        if code == 128 + 15:
            return "no end within %d s; %s" % (self.deadline, self._tail())
        if code:
            return "exit code %d; %s" % (code, self._tail())
        if len(self.weights) != 1:
            return "%d tasks reported weights; %s" % (len(self.weights), self._tail())
        return None

    def why_not(self, golden):
        """None when the weights are those of an undisturbed run, bit for bit."""
        why = self.train()
        if why is None and self.weights != golden:
            why = "the weights differ from those of an undisturbed run: %s instead of %s" % (self.weights[0], golden[0])
        keep = os.environ.get("BENCH_LOG")
        if why and keep:
            with open(keep, "ab") as f:
                f.write(b"==== %s\n%s\n" % (why.encode(), self.output.getvalue()))
        return why

    def _see(self, task, line):
        step = re.match(r"step (\d+)", line)
        if step:
            self._note_resumption(task)
            if task == "worker/0":
                self.on_step(int(step.group(1)))
        elif line.startswith("weights "):
            self.weights.append(line)
        elif line.startswith("dies in "):
            self.kills.append(line)
        self.on_line(task, line)

    def _note_resumption(self, task):
        for name, (when, restarts) in list(self._waiting.items()):
            killed = self.task(name)
            # A worker has resumed when it made a step itself, a parameter server when the chief did.
            if killed.restarts > restarts and killed.process is not None and task == (name if killed.job == "worker" else "worker/0"):
                self.resumed.append(time.monotonic() - when)
                del self._waiting[name]

    def _tail(self):
        return "last lines: " + self.output.getvalue().decode(errors="replace")[-1500:]


class TwoChiefs(Run):
    """A run whose chief is paused, replaced by another process, and then wakes up.

    All tasks reach worker 0 through a proxy, which leads to whoever is the chief.
    """

    def __init__(self, pause_at, pause, wake_after, proxy, **more):
        super().__init__(environ={"SLUICE_TRANSPORT": "grpc"}, **more)
        self._pause_at, self._pause, self._wake_after, self._proxy = pause_at, pause, wake_after, proxy
        self._first, self._second = free_ports("localhost", 2)
        self._proxy.lead_to(self._first)
        self.zombie, self.paused, self.woken, self._successor_start = self.tasks[[t.name for t in self.tasks].index("worker/0")], False, 0, None
        self.zombie_code, self.zombie_lines = None, []

    def _environ_of(self, task):
        environ = super()._environ_of(task)
        config = json.loads(environ["TF_CONFIG"])
        own = task.job == "worker" and task.index == 0
        port = (self._first if task is self.zombie else self._second) if own else self._proxy.port
        config["cluster"]["worker"][0] = "localhost:%d" % port
        return dict(environ, TF_CONFIG=json.dumps(config))

    def on_step(self, step):
        if not self.paused and step >= self._pause_at:
            self.paused = True
            self.kill("worker/0", 19)  # SIGSTOP
            self.zombie.name, self.zombie.code = "zombie", 0  # its end is not awaited
            self.say("paused the chief")
            threading.Timer(self._pause, self._replace).start()
        elif self.paused and not self.woken and step >= self._pause_at + self._wake_after:
            self.woken = time.monotonic()
            self.say("the old chief wakes")
            self.kill("zombie", 18)  # SIGCONT

    def on_line(self, task, line):
        if task == "zombie":
            self.zombie_lines.append(line)

    def _replace(self):
        task = Task("worker", 0, 0)
        task.restarts = 1
        self._proxy.lead_to(self._second)
        self.say("another chief begins")
        self.tasks.append(task)

    def _ended(self, task):
        if task is not self.zombie or not self.paused:
            return super()._ended(task)
        self.zombie_code = task.process.returncode
        self.say("the old chief ended with %d" % self.zombie_code)
        self._drain(task)
        task.process = None
        return None


_golden = {}


def golden(**more):
    """The weights of an undisturbed run."""
    key = json.dumps(more, sort_keys=True)
    if key not in _golden:
        run = Run(**more)
        why = run.train()
        assert why is None, "an undisturbed run failed: %s" % why
        _golden[key] = (run.weights, run.seconds)
    return _golden[key][0]


def undisturbed_seconds(**more):
    golden(**more)
    return _golden[json.dumps(more, sort_keys=True)][1]
