"""Runs of the exact program on a cluster of processes, and what was seen of them."""
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time

import history
from sluice.distribute import top
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
    `train` returns why the run did not do what was promised, or None. That the history of all tasks keeps the invariants,
    and that at the end nothing is left on the servers, belongs to it. `ttl` is what a server waits before it drops the
    sessions of a master that is gone; by default a minute.
    """

    def __init__(self, steps=60, jobs=None, environ=None, deadline=180, ttl=None, program=PROGRAM):
        self._folder = tempfile.TemporaryDirectory()
        self.history = os.path.join(self._folder.name, "history")
        os.mkdir(self.history)
        self._writer = history.Writer(self.history, "bench")
        self.counts, self.left, self.ttl = {}, None, ttl or 60
        self.output, self.weights, self.deadline = _Output(), [], deadline
        self.steps, self.kills, self.resumed = steps, [], []
        self.seconds = None
        self._waiting = {}  # task -> (when it was killed, how often it had been started again)
        environ = dict(os.environ, SLUICE_HISTORY=self.history, SLUICE_SESSION_TTL=str(self.ttl), **(environ or {}))
        super().__init__(jobs or JOBS, [sys.executable, "-u", program, os.path.join(self._folder.name, "model"), str(steps)],
                         restarts=RESTARTS, environ=environ, output=self.output, watch=Run._see)

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
                self.note_fault(name, "kill")
                self._waiting[name] = (time.monotonic(), restarts)
                self.say("killed %s" % name)
        self._waiting.setdefault(name, (time.monotonic() + 1e9, RESTARTS))  # until the kill is made
        threading.Timer(delay, now).start()

    def task(self, name):
        return next(t for t in self.tasks if t.name == name)

    def note_fault(self, name, what):
        """Writes into the history what was done to a task ("worker/1") or to the network."""
        self._writer.note("fault", task=full_name(name), text=what)

    @property
    def recovering(self):
        return bool(self._waiting)

    # How it goes.
    def train(self):
        """Runs to the end; returns None or what went wrong."""
        timer = threading.Timer(self.deadline, self.interrupt)
        timer.start()
        self._start_time = time.monotonic()
        try:
            code = self.run()
            self.seconds = self.seconds or time.monotonic() - self._start_time
            broken, self.counts = history.judge(self.history)
            why = self._why_not(code) or broken or history.damaged_checkpoint(os.path.join(self._folder.name, "model")) or \
                (self.left and "I8: long after the end " + self.left) or self.look_back()
            if "BENCH_LOG" in os.environ:  # the last run's; that of a lost one stays, since the next one is a new test's
                shutil.rmtree(os.environ["BENCH_LOG"] + ".history", ignore_errors=True)
                shutil.copytree(self._folder.name, os.environ["BENCH_LOG"] + ".history")
            return why
        finally:
            timer.cancel()
            self._folder.cleanup()

    def look_back(self):
        """What else is wrong with a run that has ended, by its history; for subclasses."""

    def _why_not(self, code):
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

    def _stop(self):
        """Before the servers are stopped: sessions, steps and tensors of those who are gone must go by themselves."""
        servers = [t for t in self.tasks if t.job in self._services and t.process is not None]
        if all(t.code == 0 for t in self.tasks if t.job not in self._services):
            self.seconds = time.monotonic() - self._start_time
            deadline = time.monotonic() + 1.25 * self.ttl + 10
            held = {t.name: "?" for t in servers}
            while any(held.values()) and not self._signals:
                self._read(0.05)
                held = {t.name: self.held(t) for t in servers if t.process is not None and t.process.poll() is None}
                if time.monotonic() > deadline:
                    break
            for name, what in held.items():
                self._writer.note("state", task=full_name(name), text=what)
            self.left = ", ".join("%s holds %s" % (n, w) for n, w in held.items() if w) or None
        super()._stop()

    def held(self, task):
        """What a server holds of sessions and steps, in words; empty for nothing."""
        return in_words(top.ask(self.cluster[task.job][task.index], 5))

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


def full_name(name):
    """/job:ps/replica:0/task:1 of ps/1; other words stay as they are."""
    job, _, index = name.partition("/")
    return "/job:%s/replica:0/task:%s" % (job, index) if index else name


def in_words(state):
    """Of the state of a task, what should not be there when nobody uses it."""
    if not isinstance(state, top.State):
        return "no answer: %s" % state
    found = [(state.sessions, "sessions"), (len(state.steps), "steps")]
    return ", ".join("%d %s" % f for f in found if f[0])


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
            self.note_fault("worker/0", "pause")
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
