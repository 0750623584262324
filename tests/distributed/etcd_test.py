"""Membership and the chief's lease in a real etcd: who is there, who is missing, who is the chief, and what becomes of the
training when tasks, the chief, or etcd itself go away."""
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

import etcd
import sluice as sl
from sluice.distribute import _etcd
from sluice.distribute.cluster_resolver import EtcdClusterResolver
from sluice.distribute.launcher import Launcher, Task, free_ports
from sluice.train._session_epoch import SessionEpoch

pytestmark = pytest.mark.skipif(etcd.missing() is not None, reason=str(etcd.missing()))
HERE = os.path.dirname(os.path.abspath(__file__))
LEASE = 3
DEADLINE = 120


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with etcd.Etcd(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
def join(server, request):
    """Makes resolvers of one cluster, and lets them leave it at the end."""
    made, url = [], server.url(request.node.name)

    def make(job, index=None, jobs=None, timeout_secs=30, **more):
        resolver = EtcdClusterResolver(url, job, index, jobs=jobs, timeout_secs=timeout_secs, lease_secs=LEASE, environ={},
                                       **more)
        made.append(resolver)
        return resolver

    yield make
    for resolver in made:
        resolver.close()


def until(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def fall_silent(resolver):
    """What a process that stands still does: its lease is not kept alive any more, and it does not know."""
    resolver._closing.set()
    resolver._thread.join()


def test_keys_transactions_leases_and_watches(server):
    client = _etcd.Client([server.address])
    assert client.get("/t/a") is None
    lease = client.grant(2)
    first, _ = client.transact([_etcd.absent("/t/a")], [_etcd.put("/t/a", b"1", lease)])
    again, _ = client.transact([_etcd.absent("/t/a")], [_etcd.put("/t/a", b"2")])
    (found,), revision = client.get_all("/t/")
    assert (first, again, found.key, found.value, found.lease) == (True, False, "/t/a", b"1", lease)
    assert client.keep_alive(lease) == 2 and client.keep_alive(lease + 1) == 0
    with client.watch("/t/", revision + 1) as watch:
        client.put("/t/b", b"3")
        seen = []
        until(lambda: seen.extend(watch.events(1.0)) or len(seen) >= 2)  # and then the lease runs out
    assert [(e.deleted, e.kv.key) for e in seen] == [(False, "/t/b"), (True, "/t/a")]


def test_tasks_find_each_other_and_see_each_other_leave(join):
    jobs = {"ps": 1, "worker": (1, 3)}
    ps = join("ps", 0, jobs, address="h0:1")
    a, b = join("worker", jobs=jobs, address="h1:1"), join("worker", address="h2:1")  # the second is told by the others
    spec = {"ps": ["h0:1"], "worker": ["h1:1", "h2:1"]}
    assert b.cluster_spec() == spec
    until(lambda: a.cluster_spec() == ps.cluster_spec() == spec)  # those who were there hear of it
    assert (a.name, b.name, a.is_chief, b.is_chief, ps.is_chief) == ("worker/0", "worker/1", True, False, False)
    assert (b.least_tasks("worker"), b.most_tasks("worker")) == (1, 3)
    b.close()
    until(lambda: ps.members("worker") == {0: "h1:1"})
    c = join("worker", address="h3:1")
    assert c.task_id == 1
    until(lambda: a.members("worker") == {0: "h1:1", 1: "h3:1"})


def test_who_is_missing_is_named_when_the_time_is_up(join):
    worker = join("worker", 0, {"ps": 2, "worker": (2, 4)}, timeout_secs=0.5)
    with pytest.raises(sl.errors.DeadlineExceededError, match=r"missing: ps/0, ps/1, 1 more of worker; there are: worker/0"):
        worker.cluster_spec()
    with pytest.raises(sl.errors.UnavailableError, match="missing: ps/0, ps/1;"):
        worker.session_config(sl.ConfigProto(device_filters=["/job:ps", "/job:worker/task:0"]))


def test_a_place_that_is_taken_is_waited_for_with_a_limit(join):
    join("ps", 0, {"ps": 1}, address="h0:1")
    with pytest.raises(sl.errors.DeadlineExceededError, match=r"no place within 0\.5 s: ps/0 is held by the task at h0:1"):
        join("ps", 0, {"ps": 1}, timeout_secs=0.5)
    with pytest.raises(sl.errors.DeadlineExceededError, match="all 1 places of job 'ps' are taken: ps/0 at h0:1"):
        join("ps", timeout_secs=0.5)
    for job, index, text in (("worker", 0, "have no job 'worker'"), ("ps", 3, "there is no ps/3")):
        with pytest.raises(ValueError, match=text):
            join(job, index, {"ps": 1})


def test_a_task_that_was_started_again_takes_the_place_of_its_predecessor_at_once(join):
    before = join("worker", 0, {"worker": 1}, owner="launcher/worker/0")
    after = join("worker", 0, {"worker": 1}, owner="launcher/worker/0", timeout_secs=2)
    until(lambda: before.lost is not None)
    with pytest.raises(sl.errors.FailedPreconditionError, match="another process has taken over"):
        before.check()
    after.check()


def test_a_chief_whose_lease_ran_out_is_replaced_and_commits_nothing(join, tmp_path):
    old = join("worker", 0, {"worker": 1}, address="h0:1")
    epoch = SessionEpoch(tmp_path, old)
    first = epoch.acquire()
    with epoch.commit():
        pass
    fall_silent(old)
    new = join("worker", timeout_secs=60)  # stands by until the lease has run out
    assert new.is_chief
    # Before the successor has taken an epoch of the folder, etcd alone refuses; afterwards both do.
    with pytest.raises(sl.errors.FailedPreconditionError, match="has taken its place"), epoch.commit():
        raise AssertionError("committed")
    successor = SessionEpoch(tmp_path, new)
    assert successor.acquire() > first
    with pytest.raises(sl.errors.FailedPreconditionError, match="another process has taken over"):
        epoch.acquire()
    with successor.commit():
        pass


def test_epochs_go_on_from_those_of_the_folder(join, tmp_path):
    plain = SessionEpoch(tmp_path)
    for _ in range(5):
        plain.acquire()
    chief = join("worker", 0, {"worker": 1})
    assert SessionEpoch(tmp_path, chief).acquire() == 6
    with pytest.raises(sl.errors.FailedPreconditionError, match="epoch 6 was taken"):
        plain.check()


def test_an_etcd_that_is_not_there_is_named_within_the_time():
    address = "localhost:%d" % free_ports("localhost", 1)[0]
    start = time.monotonic()
    with pytest.raises(sl.errors.UnavailableError, match="etcd at %s did not answer" % address):
        EtcdClusterResolver("etcd://%s/x" % address, "worker", 0, jobs={"worker": 1}, environ={})
    assert time.monotonic() - start < 20
    with pytest.raises(ValueError, match="is not of the form etcd://host:port/prefix"):
        EtcdClusterResolver("http://" + address, "worker", 0, environ={})


def test_places_outlive_a_crash_of_etcd(tmp_path, caplog):
    with etcd.Etcd(tmp_path) as server:
        jobs = {"worker": (1, 2)}
        make = functools.partial(EtcdClusterResolver, server.url("x"), "worker", jobs=jobs, lease_secs=LEASE, environ={})
        chief = make(0)
        number = SessionEpoch(tmp_path / "model", chief).acquire()
        server.kill()
        chief.check_chief()  # nobody else can be the chief while its lease lasts
        until(lambda: time.clock_gettime(time.CLOCK_BOOTTIME) > chief._safe_until)
        with pytest.raises(sl.errors.UnavailableError, match="did not answer"):
            chief.check_chief()
        server.start()
        other = make()
        until(lambda: set(chief.members("worker")) == set(other.members("worker")) == {0, 1})
        assert chief.next_epoch(number) > number
        for resolver in (chief, other):
            resolver.close()


# ---- Trainings.

class Training(Launcher):
    """The exact program of two workers and a parameter server that find each other in etcd; `at` maps steps of the chief to
    what is done then."""

    def __init__(self, url, folder, at=None, steps=60):
        self.weights, self.text, self.at, self.spare = [], [], dict(at or {}), None
        self._ports = free_ports("localhost", 1)
        super().__init__({"ps": 1, "worker": 2}, [sys.executable, "-u", os.path.join(HERE, "exact_program.py"), str(folder),
                                                  str(steps)],
                         restarts=8, etcd=url, output=open(os.devnull, "wb"), watch=Training._see,  # pylint: disable=consider-using-with
                         environ=dict(os.environ, SLUICE_ETCD_LEASE_SECS=str(LEASE)))
        self._kill_timer = threading.Timer(DEADLINE, self.interrupt)

    def train(self):
        self._kill_timer.start()
        try:
            code = self.run()
        finally:
            self._kill_timer.cancel()
        assert code == 0 and len(self.weights) == 1, "exit code %d\n%s" % (code, self)
        assert not self.at, "the training ended before all was done to it\n%s" % self
        return self.weights[0]

    def __str__(self):
        return "\n".join(self.text[-120:])

    def say(self, text):
        self.text.append(text)

    def _see(self, task, line):
        self.text.append("[%s] %s" % (task, line))
        if line.startswith("weights "):
            self.weights.append(line)
        if line.startswith("step ") and task in ("worker/0", "spare"):
            for step in sorted(self.at):
                if int(line.split()[1]) >= step:
                    self.at.pop(step)(self)

    def stop_the_chief(self):
        """The chief stands still, and a spare task stands by."""
        self.kill("worker/0", signal.SIGSTOP)
        zombie = next(t for t in self.tasks if t.name == "worker/0")
        zombie.name, zombie.code = "zombie", 0  # its end is not waited for
        self.spare = Task("worker", 0, 0)
        self.spare.name = "spare"
        self.tasks.append(self.spare)

    def _environ_of(self, task):
        environ = super()._environ_of(task)
        if task is self.spare:
            del environ["SLUICE_TASK_INDEX"]
            environ.update(SLUICE_ADDRESS="localhost:%d" % self._ports[0], SLUICE_ETCD_OWNER="spare")
        return environ

    def _ended(self, task):
        if task.name != "zombie":
            return super()._ended(task)
        self.say("the zombie ended with %d" % task.process.returncode)
        self._drain(task)
        task.process = None
        return None


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory):
    return Training(server.url("undisturbed"), tmp_path_factory.mktemp("undisturbed")).train()


def test_a_chief_that_stands_still_is_replaced_and_fenced_and_the_weights_are_the_same(server, tmp_path, undisturbed):
    woken = []

    def wake(training):
        if training.spare is None:
            raise AssertionError("the chief went on by itself")
        woken.append(training.kill("zombie", signal.SIGCONT))

    training = Training(server.url("zombie"), tmp_path, {20: Training.stop_the_chief, 40: wake})
    assert training.train() == undisturbed, training
    assert woken and woken[0]
    ending = str(training)
    assert "another process has taken over" in ending and "the zombie ended with 1" in ending, ending


def test_an_etcd_that_crashes_and_comes_back_leaves_no_trace_in_the_weights(tmp_path, undisturbed):
    with etcd.Etcd(tmp_path / "etcd") as server:
        training = Training(server.url("run"), tmp_path / "model", {
            10: lambda t: server.kill(), 25: lambda t: server.start(), 35: lambda t: t.kill("worker/1"),
            45: lambda t: t.kill("ps/0")})
        assert training.train() == undisturbed, training


def test_the_launcher_starts_a_cluster_in_etcd_and_adds_to_it(server, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent("""
        import glob, sys, time
        import sluice as sl
        resolver = sl.distribute.cluster_resolver.from_environment()
        assert resolver is sl.distribute.cluster_resolver.from_environment()
        resolver.cluster_spec()
        print("ready", resolver.name, flush=True)
        end = time.monotonic() + 100
        seen = []
        while len(seen) < 3 and time.monotonic() < end:
            seen = sorted(resolver.members("worker"))
            time.sleep(0.01)
        print("members", resolver.name, seen, flush=True)
        open(sys.argv[1] + resolver.name.replace("/", "-"), "w").close()
        while len(glob.glob(sys.argv[1] + "*")) < 3 and time.monotonic() < end:  # until the others have seen it, too
            time.sleep(0.01)
        """))

    def launch(*options):
        return subprocess.Popen([sys.executable, "-m", "sluice", "launch", "--etcd", server.url("launched"), *options,
                                 str(program), str(tmp_path / "seen-")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    first = launch("--workers", "2..4")
    second = launch("--join", "--workers", "1")
    outputs = [p.communicate(timeout=DEADLINE)[0] for p in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    lines = sorted(line.split("] ")[-1] for line in "".join(outputs).splitlines() if "members" in line)
    assert lines == ["members worker/%d [0, 1, 2]" % i for i in range(3)], outputs
