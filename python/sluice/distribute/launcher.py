"""python3 -m sluice launch: the tasks of a cluster as processes of this machine.

Every task gets TF_CONFIG (the cluster and which task it is), SLUICE_JOB_NAME, SLUICE_TASK_INDEX and SLUICE_RESTART (how
often it was started again; then also SLUICE_DOWN_SECONDS, for how long it was gone); with --etcd, instead of TF_CONFIG, what EtcdClusterResolver reads. The launcher ends when every task but the parameter servers has ended, which it then
stops; or when a task failed that may not be started again.
"""
import argparse
import collections
import ctypes
import errno
import json
import os
import secrets
import random
import selectors
import signal
import socket
import subprocess
import sys
import time

_COLOURS = (36, 33, 32, 35, 34, 31, 96, 93, 92, 95)
_PR_SET_PDEATHSIG = 1
_BUDGET_SPENT = 75  # sysexits.h: a temporary failure; trying again later may help
_LONGEST_LINE = 1 << 20
_BUDGET_SECS = 600.0


class Task:
    """One process of the cluster, started again when it fails."""

    def __init__(self, job, index, colour):
        self.job, self.index = job, index
        self.name = "%s/%d" % (job, index)
        self.colour = colour
        self.process = self.log = None
        self.restarts = 0
        self.failures = []   # when it failed, as far as that counts against its restarts
        self.ended_at = 0.0  # when it last failed
        self.start_at = 0.0  # when to start (again); None once it runs or has ended
        self.code = None     # the exit code it ended with for good
        self.unfinished = b""


class Launcher:
    """Runs the tasks of a cluster until the work is done.

    Args:
      jobs: {job: number of tasks}, or {job: (least, most)} where tasks may come (`add`) and go: it begins with the least,
        and a task that has failed for good is given up as long as so many are left. Task 0 is never given up.
      command: what each task runs.
      restarts: how often each task may be started again after it failed, within `within` seconds.
      log_dir: folder for one file with the output of each task, or None.
      grace: seconds between SIGTERM and SIGKILL.
      host: the address that the tasks listen at.
      services: the jobs that serve the others and are stopped when those are done.
      environ: variables for the tasks.
      output: where the tasks' lines go.
      flags: whether to give each task --ps_hosts, --worker_hosts, --job_name and --task_index, too.
      watch: watch(launcher, name of a task, line) is called for each line of a task.
      etcd: etcd://host:port/prefix, where the tasks find one another, or None: they are told.
      join: whether the tasks join a cluster that is in etcd already, at any free places.
      clock: gives the time in seconds.
    """

    def __init__(self, jobs, command, restarts=0, log_dir=None, grace=10.0, host="localhost", services=("ps",),
                 environ=None, output=None, watch=None, flags=False, etcd=None, join=False, within=_BUDGET_SECS,
                 clock=time.monotonic):
        self._command, self._restarts, self._log_dir, self._grace = list(command), restarts, log_dir, grace
        self._etcd, self._join, self._within, self._clock = etcd, join, within, clock
        self._run, self._additions = secrets.token_hex(6), collections.deque()
        self._jobs = {job: (n, n) if isinstance(n, int) else tuple(n) for job, n in jobs.items()}
        self._services, self._watch, self._flags = services, watch, flags
        self._environ = dict(os.environ if environ is None else environ)
        self._output = output or sys.stdout.buffer
        self._coloured = self._output.isatty() and "NO_COLOR" not in os.environ
        ports = iter(free_ports(host, sum(most for _, most in self._jobs.values())))
        self.cluster = {job: ["%s:%d" % (host, next(ports)) for _ in range(most)]
                        for job, (_, most) in self._jobs.items() if most}
        self.tasks = [Task(job, i, _COLOURS[n % len(_COLOURS)]) for n, (job, i) in
                      enumerate((job, i) for job in self.cluster for i in range(self._jobs[job][0]))]
        self._width = max(len("%s/%d" % (job, len(a) - 1)) for job, a in self.cluster.items())
        self._selector = selectors.DefaultSelector()
        self._signals = collections.deque()

    def run(self):
        """Runs the cluster; returns the exit code of the launcher."""
        if self._log_dir:
            os.makedirs(self._log_dir, exist_ok=True)
            with open(os.path.join(self._log_dir, "cluster.json"), "w", encoding="utf-8") as f:
                json.dump(self.cluster, f)
        previous = {s: signal.signal(s, lambda number, frame: self._signals.append(number))
                    for s in (signal.SIGINT, signal.SIGTERM)}
        previous[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, lambda number, frame: self.add("worker"))
        try:
            return self._supervise()
        finally:
            self._kill_all()
            for s, handler in previous.items():
                signal.signal(s, handler)

    def interrupt(self):
        """Makes `run` stop all tasks and return; from any thread."""
        self._signals.append(signal.SIGTERM)

    def add(self, job):
        """Makes `run` start one more task of a job, if there may be one; from any thread."""
        self._additions.append(job)

    def kill(self, name, number=signal.SIGKILL):
        """Sends a signal to a task that runs; returns its process's number, None when it does not run."""
        for task in self.tasks:
            process = task.process  # another thread may note its end at any time
            if task.name == name and process is not None:
                _signal_group(process, number)
                return process.pid
        return None

    def _supervise(self):
        while True:
            while self._additions:
                self._add(self._additions.popleft())
            now = self._clock()
            for task in self.tasks:
                if task.start_at is not None and now >= task.start_at:
                    self._start(task)
            self._read(0.1)
            if self._signals:
                number = self._signals.popleft()
                self.say("%s: stopping" % signal.Signals(number).name)
                self._stop()
                return 128 + number
            for task in self.tasks:
                if task.process is not None and task.process.poll() is not None:
                    verdict = self._ended(task)
                    if verdict is not None:
                        self._stop()
                        return verdict
            if all(t.code is not None for t in self.tasks if t.job not in self._services) and \
                    any(t.job not in self._services for t in self.tasks) or all(t.code is not None for t in self.tasks):
                self._stop()
                return 0

    def _environ_of(self, task):
        environ = dict(self._environ, SLUICE_JOB_NAME=task.job, SLUICE_TASK_INDEX=str(task.index),
                       SLUICE_RESTART=str(task.restarts), PYTHONUNBUFFERED="1")
        if task.restarts:
            environ["SLUICE_DOWN_SECONDS"] = "%.3f" % (time.monotonic() - task.ended_at)
        if self._etcd:
            environ.pop("TF_CONFIG", None)
            environ.update(SLUICE_ETCD=self._etcd, SLUICE_ADDRESS=self.cluster[task.job][task.index],
                           SLUICE_ETCD_OWNER="%s/%s" % (self._run, task.name))
            if self._join:
                environ["SLUICE_ETCD_JOIN"] = "1"
                environ.pop("SLUICE_ETCD_JOBS", None)
                del environ["SLUICE_TASK_INDEX"]
            else:
                environ["SLUICE_ETCD_JOBS"] = json.dumps({job: self._jobs[job] for job in self.cluster})
            return environ
        config = {"cluster": self.cluster, "task": {"type": task.job, "index": task.index}}
        least = {job: least for job, (least, most) in self._jobs.items() if least < most}
        return dict(environ, TF_CONFIG=json.dumps(dict(config, least=least) if least else config))

    def _add(self, job):
        """A task at the first place that is free."""
        taken = {t.index for t in self.tasks if t.job == job and not t.code}
        free = [i for i in range(self._jobs.get(job, (0, 0))[1]) if i not in taken]
        if not free:
            self.say("no place for one more %s: there can be %d" % (job, self._jobs.get(job, (0, 0))[1]))
            return
        self.tasks = [t for t in self.tasks if (t.job, t.index) != (job, free[0])]
        self.tasks.append(Task(job, free[0], _COLOURS[len(self.tasks) % len(_COLOURS)]))
        self.say("%s joins" % self.tasks[-1].name)

    def _command_of(self, task):
        return self._command

    def _start(self, task):
        environ = self._environ_of(task)
        task.start_at = None
        try:
            # A session of its own, so that Ctrl-C comes to the launcher alone.
            command = self._command_of(task) + (self._flags_of(task) if self._flags else [])
            task.process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_die_with_parent)
        except OSError as e:
            raise SystemExit("launch: cannot run %s: %s" % (self._command[0], e)) from None
        os.set_blocking(task.process.stdout.fileno(), False)
        self._selector.register(task.process.stdout, selectors.EVENT_READ, task)
        if self._log_dir and task.log is None:
            task.log = open(os.path.join(self._log_dir, "%s-%d.log" % (task.job, task.index)), "ab")  # pylint: disable=consider-using-with

    def _flags_of(self, task):
        return ["--%s_hosts=%s" % (job, ",".join(addresses)) for job, addresses in self.cluster.items()] + [
            "--job_name=" + task.job, "--task_index=%d" % task.index]

    def _ended(self, task):
        """Notes the end of a process. Returns the launcher's exit code when that ends everything."""
        code = task.process.returncode
        self._drain(task)
        task.process = None
        if code == 0:
            task.code = 0
            return None
        how = "was ended by %s" % signal.Signals(-code).name if code < 0 else "ended with code %d" % code
        now = self._clock()
        task.failures = [t for t in task.failures if now - t < self._within]
        if len(task.failures) < self._restarts:
            task.failures.append(now)
            task.restarts += 1
            task.ended_at = time.monotonic()
            task.start_at = now + min(5.0, 0.25 * 2 ** (len(task.failures) - 1))
            self.say("%s %s; restart %d of %d" % (task.name, how, len(task.failures), self._restarts))
            return None
        task.code = code if code > 0 else 128 - code
        left = sum(t.job == task.job and not t.code for t in self.tasks)
        if task.index > 0 and self._jobs[task.job][0] <= left < self._jobs[task.job][1]:
            self.say("%s %s and is not started again; going on with %d of job %s" % (task.name, how, left, task.job))
            return None
        if self._restarts:
            self.say("%s %s and was started again %d times within %g s, which is all it may be; giving up"
                     % (task.name, how, len(task.failures), self._within))
            return _BUDGET_SPENT
        self.say("%s %s; stopping the others" % (task.name, how))
        return 128 - code if code < 0 else code

    # Output.
    def _read(self, timeout):
        for key, _ in self._selector.select(timeout):
            self._read_from(key.data)

    def _read_from(self, task):
        """Passes on what a task has written; False at the end of it."""
        try:
            data = os.read(task.process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return True
        if task.log:
            task.log.write(data)
            task.log.flush()
        lines = (task.unfinished + data).split(b"\n")
        task.unfinished = lines.pop()
        if task.unfinished and (not data or len(task.unfinished) > _LONGEST_LINE):
            lines.append(task.unfinished)
            task.unfinished = b""
        self._pass_on(task, lines)
        if not data:
            self._selector.unregister(task.process.stdout)
            return False
        return True

    def _drain(self, task):
        """Reads what an ended process has left in its pipe; what its children write later is not waited for."""
        try:
            self._selector.get_key(task.process.stdout)
        except KeyError:
            pass
        else:
            while select_now(task.process.stdout) and self._read_from(task):
                pass
            self._pass_on(task, [task.unfinished] if task.unfinished else [])
            task.unfinished = b""
            try:
                self._selector.unregister(task.process.stdout)
            except KeyError:
                pass
        task.process.stdout.close()

    def _pass_on(self, task, lines):
        if lines:
            prefix = self._prefix(task)
            self._write(b"".join(prefix + line + b"\n" for line in lines))
        if self._watch:
            for line in lines:
                self._watch(self, task.name, line.decode(errors="replace"))

    def _prefix(self, task):
        text = "[%s]" % task.name
        text += " " * (self._width + 3 - len(text))
        return ("\033[%dm%s\033[0m" % (task.colour, text) if self._coloured else text).encode()

    def _write(self, data):
        try:
            self._output.write(data)
            self._output.flush()
        except BrokenPipeError:  # `launch ... | head`
            self._signals.append(signal.SIGTERM)
            self._output = open(os.devnull, "wb")  # pylint: disable=consider-using-with

    def say(self, text):
        """A line of the launcher itself."""
        self._write(("launch: %s\n" % text).encode())

    # The end.
    def _running(self):
        return [t for t in self.tasks if t.process is not None]

    def _stop(self):
        """SIGTERM to all; SIGKILL to those that are there after the grace period, or at a second Ctrl-C."""
        for task in self._running():
            _signal_group(task.process, signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        while self._running() and time.monotonic() < deadline and not self._signals:
            self._read(0.05)
            for task in self._running():
                if task.process.poll() is not None:
                    self._drain(task)
                    task.process = None
        late = self._running()
        if late:
            self.say("killing %s, which did not end within %g s" % (", ".join(t.name for t in late), self._grace))
        self._kill_all()

    def _kill_all(self):
        for task in self._running():
            _signal_group(task.process, signal.SIGKILL)
            task.process.wait()
            self._drain(task)
            task.process = None
        for task in self.tasks:
            if task.log:
                task.log.close()
                task.log = None


_reserved_ports = []  # sockets whose names say that a port is taken; held until this process ends


def _is_free(host, port):
    """Whether nobody listens there. "localhost" stands for both loopback addresses, and callers may go to either."""
    for family, address in ((socket.AF_INET, host), (socket.AF_INET6, "::1")):
        if family == socket.AF_INET6 and host != "localhost":
            continue
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.bind((address, port))
        except OSError as e:
            if family == socket.AF_INET or e.errno == errno.EADDRINUSE:  # there may be no IPv6
                return False
    return True


def free_ports(host, count):
    """Numbers of ports that nobody listens at, all different, and kept from everybody else who asks here on this machine.

    They lie below those that the system hands out, so nobody gets one by chance between its choice and its use.
    """
    ports = []
    for port in random.SystemRandom().sample(range(10000, 32768), 22768):
        if len(ports) == count:
            break
        taken = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            taken.bind("\0sluice-port-%d" % port)
        except OSError:
            taken.close()
            continue
        if not _is_free(host, port):
            taken.close()
            continue
        _reserved_ports.append(taken)
        ports.append(port)
    return ports


def select_now(stream):
    """Whether there is something to read, or the end."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        return bool(selector.select(0))


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


_prctl = getattr(ctypes.CDLL(None), "prctl", None)


def _die_with_parent():
    # A launcher that is killed leaves no tasks behind.
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main(arguments):
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m sluice launch", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Starts the tasks of a cluster as processes of this machine, each running the program.",
        epilog="Each task finds the cluster in TF_CONFIG: sl.distribute.cluster_resolver.from_environment().\n"
               "Parameter servers are stopped when all other tasks have ended. Ctrl-C stops all tasks.\n"
               "With --workers 2..4 there are two workers at first, SIGUSR1 adds one, and one that fails for good is given up\n"
               "while two are left. With --etcd the tasks find each other in etcd; --join adds tasks to such a cluster.\n"
               "Exit code: 0; that of the task that failed (128 + the signal where one ended it); 75 when a task failed\n"
               "after all its restarts; 130 after Ctrl-C.")
    parser.add_argument("--ps", type=int, default=0, metavar="N", help="parameter servers (default 0)")
    parser.add_argument("--workers", type=_count, default=1, metavar="N[..MOST]",
                        help="workers (default 1); 2..4: two at first, and never less, at most four")
    parser.add_argument("--chief", action="store_true", help="a task of its own as chief, instead of worker 0")
    parser.add_argument("--restarts", type=int, default=0, metavar="N",
                        help="how often each task may be started again after it failed, within ten minutes (default 0)")
    parser.add_argument("--etcd", metavar="URL", default=os.environ.get("SLUICE_ETCD") or None,
                        help="etcd://host:port/prefix: the tasks find each other there, the chief has a lease there, and a spare "
                        "task takes the place of a lost one (default: SLUICE_ETCD of the environment; else they are told)")
    parser.add_argument("--join", action="store_true", help="with --etcd: take any free places of the cluster that is there")
    parser.add_argument("--log-dir", metavar="FOLDER", help="write the output of each task to a file there, too, and cluster.json for `top`")
    parser.add_argument("--grace", type=float, default=10.0, metavar="SECONDS",
                        help="between asking a task to stop and killing it (default 10)")
    parser.add_argument("--host", default="localhost", help="the address that tasks listen at (default localhost)")
    parser.add_argument("--flags", action="store_true", help="give each task --ps_hosts, --worker_hosts, --job_name and "
                        "--task_index, too, as programs written for TensorFlow 1 read them")
    parser.add_argument("program", help="a Python file, or any command")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    options = parser.parse_args(arguments)
    jobs = {"ps": options.ps, "chief": int(options.chief), "worker": options.workers}
    least, most = options.workers if isinstance(options.workers, tuple) else (options.workers, options.workers)
    if options.join and not options.etcd:
        parser.error("--join needs --etcd")
    if min(options.ps, least, options.restarts) < 0 or not options.ps + options.chief + most:
        parser.error("--ps, --workers and --restarts must not be negative, and there must be a task")
    command = [options.program] + options.arguments
    if options.program.endswith(".py"):
        if not os.path.exists(options.program):
            parser.error("there is no file %s" % options.program)
        command = [sys.executable, "-u"] + command
    return Launcher(jobs, command, restarts=options.restarts, log_dir=options.log_dir, grace=options.grace,
                    host=options.host, flags=options.flags, etcd=options.etcd, join=options.join).run()


def _count(text):
    """A number, or (least, most) from "2..4"."""
    least, dots, most = text.partition("..")
    if not dots:
        return int(text)
    if not 0 < int(least) <= int(most):
        raise ValueError
    return int(least), int(most)
