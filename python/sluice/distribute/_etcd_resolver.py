"""The cluster as it is kept in etcd: tasks come, go, and hold their places by leases.

    PREFIX/tasks/worker/1    {"address": "h1:2222", "incarnation": "9f...", "owner": ..., "jobs": {"ps": [1, 1], ...}}
    PREFIX/epoch             {"epoch": 7, "holder": incarnation of the chief that took it}

A place belongs to who wrote its key, as long as that one's lease lives. The chief is who has the chief's place; a place, and so
the lead, is free again when its holder leaves, or has not kept its lease alive for `lease_secs`. Epochs only grow, and only the
holder of the chief's place can take one: both are compared in the transaction that writes it.
"""
import atexit
import collections
import json
import os
import re
import secrets
import socket
import threading
import time
import weakref

import sluice as sl
from sluice import errors
from sluice.distribute import _etcd
from sluice.distribute._resolver import ClusterResolver, number
from sluice.train import ClusterSpec, SessionRunHook

Place = collections.namedtuple("Place", "address incarnation owner jobs mod_revision")
_CHIEFS = (("chief", 0), ("worker", 0))


class EtcdClusterResolver(ClusterResolver):
    """Takes a place in the cluster that is kept in etcd, and knows who has the others.

        resolver = EtcdClusterResolver("etcd://h0:2379,h1:2379/runs/7", job="worker", jobs={"ps": 1, "worker": (2, 4)})
        server = sl.train.Server(resolver.cluster_spec(), resolver.task_type, resolver.task_id)
        with sl.train.MonitoredTrainingSession(server.target, resolver.is_chief, folder, config=resolver.session_config,
                                               hooks=[resolver.make_session_run_hook()], chief_lease=resolver) as session: ...

    Args (each also from the environment, as `python3 -m sluice launch --etcd` sets it):
      url: etcd://host:port[,host:port ...]/prefix, with the prefix of one training.   SLUICE_ETCD
      job, index: the place to take; without an index any that is free.                SLUICE_JOB_NAME, SLUICE_TASK_INDEX
      address: where this task listens; by default localhost and a free port.         SLUICE_ADDRESS
      jobs: {job: number of tasks, or (least, most)}; by default what a task says that is there already.   SLUICE_ETCD_JOBS
      timeout_secs: how long to wait for a place, and for the others (120); give a spare task that stands by for a place
        more.                                                                          SLUICE_ETCD_TIMEOUT_SECS
      lease_secs: a task that gives no sign for so long has lost its place.            SLUICE_ETCD_LEASE_SECS
      owner: tasks of one owner take a place over from each other at once: a task that was started again from the
        process that it replaces.                                                      SLUICE_ETCD_OWNER
      join: whether to let those come first who belong to a cluster that is just being started: for as long as a lease lasts
        this task takes no place unless all others are there.                          SLUICE_ETCD_JOIN=1
      on_lost: called with the error when another process has taken the place.

    For TLS: SLUICE_ETCD_CACERT, SLUICE_ETCD_CERT, SLUICE_ETCD_KEY, files with PEM texts.

    Errors name the etcd that does not answer, the place that is taken and by whom, the tasks that are missing. While etcd
    is away the training goes on: nobody can be elected either.
    """

    environment = "etcd"

    def __init__(self, url=None, job=None, index=None, address=None, jobs=None, timeout_secs=None, lease_secs=None,
                 owner=None, on_lost=None, join=None, rpc_layer="grpc", environ=None):
        environ = os.environ if environ is None else environ
        url = url or environ.get("SLUICE_ETCD") or ""
        found = re.fullmatch(r"etcd://([^/]+?)(/.*?)?/*", url)
        if not found:
            raise ValueError("'%s' is not of the form etcd://host:port/prefix" % url)
        self._url, self._prefix = url, (found.group(2) or "/sluice") + "/"
        self._client = _etcd.Client(found.group(1).split(","), tls=_tls(environ))
        self.task_type = job or environ.get("SLUICE_JOB_NAME")
        if not self.task_type:
            raise ValueError("which job is this task of? Pass job, or set SLUICE_JOB_NAME")
        if index is None and environ.get("SLUICE_TASK_INDEX"):
            index = number(environ, "SLUICE_TASK_INDEX")
        self.rpc_layer, self._index = rpc_layer, index
        self._address = address or environ.get("SLUICE_ADDRESS") or _free_address()
        self._jobs = _shape(jobs if jobs is not None else json.loads(environ.get("SLUICE_ETCD_JOBS") or "{}"))
        if self._jobs and self.task_type not in self._jobs:
            raise ValueError("the jobs %s have no job '%s'" % (sorted(self._jobs), self.task_type))
        if self._jobs and index is not None and not 0 <= index < self._jobs[self.task_type][1]:
            raise ValueError("there is no %s/%d: the job has at most %d tasks" % (self.task_type, index,
                                                                                self._jobs[self.task_type][1]))
        self._timeout = number(environ, "SLUICE_ETCD_TIMEOUT_SECS", 120) if timeout_secs is None else timeout_secs
        self._deadline = time.monotonic() + self._timeout
        self._lease_secs = lease_secs or number(environ, "SLUICE_ETCD_LEASE_SECS", 10)
        self._owner = owner or environ.get("SLUICE_ETCD_OWNER") or secrets.token_hex(8)
        self._on_lost, self.lost = on_lost, None
        join = environ.get("SLUICE_ETCD_JOIN") == "1" if join is None else join
        self._polite_until = time.monotonic() + (self._lease_secs if join else 0)
        self._incarnation = secrets.token_hex(8)
        self._changed = threading.Condition()
        self._places = {}                    # (job, index) -> Place
        self._mod = self._lease = self._epoch = None
        self._safe_until = 0.0               # until then nobody else can have the place, by this process's clock
        self._was_complete = False
        self._closing = threading.Event()
        self.task_id = None
        self._take_place()
        self._thread = threading.Thread(target=_keep, args=(weakref.ref(self), self._closing), daemon=True,
                                        name="sluice-etcd")
        self._thread.start()
        atexit.register(_close, weakref.ref(self))

    # ---- What it knows.
    @property
    def name(self):
        """This task, as "worker/1"."""
        return "%s/%s" % (self.task_type, self.task_id)

    @property
    def is_chief(self):
        """Whether this task has the chief's place: chief/0, or worker/0 where there is no job "chief"."""
        return (self.task_type, self.task_id) == _CHIEFS["chief" not in self._jobs]

    def members(self, job):
        """{number: address} of the tasks of a job that are there now."""
        with self._changed:
            return {i: place.address for (j, i), place in sorted(self._places.items()) if j == job}

    def least_tasks(self, job):
        return self._jobs[job][0] if job in self._jobs else super().least_tasks(job)

    def most_tasks(self, job):
        return self._jobs[job][1] if job in self._jobs else super().most_tasks(job)

    def cluster_spec(self):
        """The tasks that are there. Waits until once there were enough of every job, at most until `timeout_secs` after the
        start.

        DeadlineExceededError names those who are missing.
        """
        if not self._was_complete:
            self._wait_for(set(self._jobs), self._deadline, errors.DeadlineExceededError)
            self._was_complete = True
        return self._present()

    def _present(self):
        with self._changed:
            cluster = {}
            for (job, index), place in sorted(self._places.items()):
                cluster.setdefault(job, {})[index] = place.address
        cluster.setdefault(self.task_type, {})[self.task_id] = self._address
        return ClusterSpec(cluster)

    def session_config(self, config=None):
        """A ConfigProto for a session that sees the cluster of the moment: `config` with the addresses as they are now.

        Waits for the jobs that its device_filters let in; UnavailableError names who is missing. Pass this function, or a
        partial of it, as `config` of a MonitoredTrainingSession.
        """
        made = sl.ConfigProto()
        if config is not None:
            made.CopyFrom(config)
        filters = [re.match(r"/?job:(\w+)", f.lstrip("/")) for f in made.device_filters]
        jobs = {f.group(1) for f in filters if f} or set(self._jobs)
        self._wait_for(jobs - {self.task_type}, time.monotonic() + self._lease_secs, errors.UnavailableError)
        made.cluster_def.CopyFrom(self._present().as_cluster_def())
        return made

    def make_session_run_hook(self):
        """A hook that ends the training of a task whose place another process has taken."""
        return _MembershipHook(self)

    def check(self):
        """Raises FailedPreconditionError when another process has taken this task's place."""
        if self.lost is not None:
            raise self.lost

    # ---- The chief's lease (see SessionEpoch).
    def check_chief(self):
        """Raises FailedPreconditionError when another process is the chief, UnavailableError when that cannot be known."""
        self.check()
        soon = self._lease_secs / 4
        try:
            held, epoch = self._client.get(self._key(), soon), self._read_epoch(soon)
        except errors.UnavailableError:
            if _now() < self._safe_until:
                return
            raise
        self._check_held(held)
        if self._epoch is not None and epoch.number > self._epoch and epoch.holder != self._incarnation:
            raise self._ousted("epoch %d was taken by another chief, this one has %d" % (epoch.number, self._epoch))

    def next_epoch(self, newest):
        """Takes an epoch later than all before, and than `newest`."""
        if not self.is_chief:
            raise errors.FailedPreconditionError(None, None, "%s is not the chief, so it takes no epoch" % self.name)
        deadline = time.monotonic() + self._client.timeout
        while True:
            self.check_chief()
            now = self._read_epoch()
            taken = max(now.number, newest) + 1
            value = json.dumps({"epoch": taken, "holder": self._incarnation}).encode()
            done, _ = self._client.transact(
                [_etcd.unchanged(self._key(), self._mod), _etcd.unchanged(self._prefix + "epoch", now.mod_revision)],
                [_etcd.put(self._prefix + "epoch", value)])
            if done:
                self._epoch = taken
                return taken
            if time.monotonic() > deadline:
                raise errors.UnavailableError(None, None, "%s: %s could take no epoch within %g s, others change it all the "
                                              "time" % (self._client, self.name, self._client.timeout))

    def _read_epoch(self, timeout=None):
        found = self._client.get(self._prefix + "epoch", timeout)
        if found is None:
            return _Epoch(0, None, 0)
        fields = json.loads(found.value)
        return _Epoch(fields["epoch"], fields["holder"], found.mod_revision)

    def _check_held(self, held):
        if held is None:
            raise errors.UnavailableError(None, None, "the lease of %s in %s has run out (was this process stopped?); it "
                                          "must take its place again" % (self.name, self._client))
        if self._place_of(held).incarnation != self._incarnation:
            raise self._ousted("it has not kept its lease alive, and %s has taken its place" % self._place_of(held).owner)

    def _ousted(self, why):
        return errors.FailedPreconditionError(None, None, "%s at %s is no longer part of the cluster in %s: %s; another "
                                              "process has taken over, so this one must stop"
                                              % (self.name, self._address, self._client, why))

    # ---- The place of this task.
    def _key(self, index=None):
        return "%stasks/%s/%d" % (self._prefix, self.task_type, self.task_id if index is None else index)

    def _place_of(self, kv):
        fields = json.loads(kv.value)
        return Place(fields["address"], fields["incarnation"], fields["owner"], fields["jobs"], kv.mod_revision)

    def _read_places(self):
        """Reads all places; returns the revision they are of."""
        found, revision = self._client.get_all(self._prefix + "tasks/")
        with self._changed:
            self._places = {_task_of(kv.key): self._place_of(kv) for kv in found}
            self._changed.notify_all()
        self._look_at_own_place()
        return revision

    def _look_at_own_place(self):
        mine = self._places.get((self.task_type, self.task_id))
        if self._mod is not None and mine is not None and mine.incarnation != self._incarnation:
            self._lose("the task at %s was started in its place" % mine.address)

    def _take_place(self):
        if self._try_places():
            return
        sl.logging.info("%s: %s", self._client, self._why_no_place())
        while time.monotonic() < self._deadline:
            try:
                with self._client.watch(self._prefix + "tasks/", self._read_places() + 1) as watch:
                    if self._try_places() or watch.events(max(0.0, min(1.0, self._deadline - time.monotonic()))) \
                            and self._try_places():
                        return
            except (errors.UnavailableError, _etcd.CompactedError) as e:  # it was there a moment ago
                sl.logging.warning("waiting for a place: %s", e)
                time.sleep(0.2)
        raise errors.DeadlineExceededError(None, None, "%s: no place within %g s: %s" % (self._client, self._timeout,
                                                                                      self._why_no_place()))

    def _try_places(self):
        """Takes a place that is free; whether there was one."""
        self._read_places()
        if not self._jobs and self._places:
            self._jobs = _shape(next(iter(self._places.values())).jobs)
        if time.monotonic() < self._polite_until and (not self._jobs or self._missing(set(self._jobs))):
            return False
        return self.task_type in self._jobs and any(
            self._claim(i, self._places.get((self.task_type, i))) for i in self._wanted())

    def _wanted(self):
        """The numbers that this task may take now."""
        indices = [self._index] if self._index is not None else range(self._jobs[self.task_type][1])
        mine = lambda i: self._places.get((self.task_type, i)) is None or \
            self._places[self.task_type, i].owner == self._owner
        return [i for i in indices if mine(i)]

    def _why_no_place(self):
        if not self._jobs:
            return "no task is there yet that says which jobs there are, and none was told to this one"
        if self.task_type not in self._jobs:
            return "the cluster has no job '%s'; it has %s" % (self.task_type, ", ".join(sorted(self._jobs)))
        if self._index is not None:
            holder = self._places.get((self.task_type, self._index))
            return "%s/%d is held by the task at %s" % (self.task_type, self._index, holder.address if holder else "?")
        return "all %d places of job '%s' are taken: %s" % (self._jobs[self.task_type][1], self.task_type, ", ".join(
            "%s/%d at %s" % (j, i, p.address) for (j, i), p in sorted(self._places.items()) if j == self.task_type))

    def _claim(self, index, holder):
        """Writes this task's key under a new lease, if the place is as it was seen; whether that was done."""
        sent = _now()
        lease = self._client.grant(self._lease_secs)
        value = json.dumps({"address": self._address, "incarnation": self._incarnation, "owner": self._owner,
                            "jobs": self._jobs, "host": socket.gethostname(), "pid": os.getpid()}).encode()
        done, revision = self._client.transact(
            [_etcd.unchanged(self._key(index), holder.mod_revision if holder else 0)],
            [_etcd.put(self._key(index), value, lease)])
        if not done:
            found = self._client.get(self._key(index))
            if found is None or self._place_of(found).incarnation != self._incarnation:
                self._client.revoke(lease)
                return False
            revision = found.mod_revision  # the answer to the first attempt was lost
        self.task_id, self._mod, self._lease = index, revision, lease
        self._safe_until = sent + self._lease_secs
        with self._changed:
            self._places[self.task_type, index] = Place(self._address, self._incarnation, self._owner, self._jobs, revision)
        return True

    def _stay(self):
        """Keeps the lease alive; takes the place again where the lease has ended and nobody else has come."""
        sent = _now()
        lasts = self._client.keep_alive(self._lease, timeout=max(1.0, self._lease_secs / 2))
        if lasts > 0:
            self._safe_until = sent + lasts
            return
        held = self._client.get(self._key())
        place = self._place_of(held) if held else None
        if place is None or self._incarnation == place.incarnation:
            sl.logging.warning("%s: the lease of %s had run out; taking the place again", self._client, self.name)
            if self._claim(self.task_id, place):
                return
            held = self._client.get(self._key())
            place = self._place_of(held) if held else None
        self._lose("the lease was not kept alive, and the task at %s has its place" % (place.address if place else "?"))

    def _lose(self, why):
        if self.lost is None and not self._closing.is_set():
            self.lost = self._ousted(why)
            sl.logging.error("%s", self.lost)
            if self._on_lost:
                self._on_lost(self.lost)

    # ---- The others.
    def _apply(self, event):
        task = _task_of(event.kv.key)
        with self._changed:
            if event.deleted:
                self._places.pop(task, None)
                sl.logging.info("%s/%d has left the cluster", *task)
            else:
                self._places[task] = self._place_of(event.kv)
                sl.logging.info("%s/%d is at %s", *task, self._places[task].address)
            self._changed.notify_all()
        self._look_at_own_place()

    def _missing(self, jobs):
        """Texts for the tasks of `jobs` that are not there."""
        missing = []
        for job in sorted(jobs & set(self._jobs)):
            least, most = self._jobs[job]
            there = {i for j, i in self._places if j == job}
            if least == most:
                missing += ["%s/%d" % (job, i) for i in range(least) if i not in there]
            elif len(there) < least:
                missing.append("%d more of %s" % (least - len(there), job))
        return missing

    def _wait_for(self, jobs, deadline, error):
        with self._changed:
            while self._missing(jobs):
                left = deadline - time.monotonic()
                if left <= 0 or self.lost is not None:
                    self.check()
                    raise error(None, None, "the cluster in %s is not complete; missing: %s; there are: %s" % (
                        self._url, ", ".join(self._missing(jobs)),
                        ", ".join("%s/%d at %s" % (*t, p.address) for t, p in sorted(self._places.items())) or "none"))
                self._changed.wait(left)

    def close(self):
        """Leaves the cluster: the place is free at once."""
        if self._closing.is_set():
            return
        self._closing.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=10)
        if self.lost is None:
            try:
                self._client.revoke(self._lease)
            except errors.OpError as e:
                sl.logging.debug("leaving the cluster: %s", e)


_Epoch = collections.namedtuple("_Epoch", "number holder mod_revision")


def _keep(reference, closing):
    """Keeps a resolver's place and its knowledge of the others, until it is closed, dropped, or has lost its place."""
    watch, next_beat, next_complaint = None, 0.0, 0.0
    while not closing.is_set():
        resolver = reference()
        if resolver is None or resolver.lost is not None:
            return
        try:
            if time.monotonic() >= next_beat:
                resolver._stay()
                next_beat = time.monotonic() + resolver._lease_secs / 4
            if watch is None:
                watch = resolver._client.watch(resolver._prefix + "tasks/", resolver._read_places() + 1)
            for event in watch.events(min(0.5, max(0.01, next_beat - time.monotonic()))):
                resolver._apply(event)
        except _etcd.CompactedError:
            watch = None
        except errors.OpError as e:
            watch = None
            if time.monotonic() >= next_complaint:
                next_complaint = time.monotonic() + 10
                sl.logging.warning("%s", e)
            closing.wait(0.2)
        del resolver  # while it waits, the program may drop it


class _MembershipHook(SessionRunHook):
    """Ends the training of a task that has lost its place."""

    def __init__(self, resolver):
        self._resolver = resolver

    def before_run(self, run_context):
        self._resolver.check()


def _now():
    """Seconds on a clock that also goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _close(reference):
    resolver = reference()
    if resolver is not None:
        resolver.close()


def _task_of(key):
    job, _, index = key.rpartition("/")
    return job.rpartition("/")[2], int(index)


def _shape(jobs):
    """{job: (least, most)} from {job: number or (least, most)}."""
    made = {}
    for job, count in dict(jobs).items():
        least, most = (count, count) if isinstance(count, int) else count
        if not 0 <= least <= most or most < 1:
            raise ValueError("job '%s' cannot have %s tasks: wanted a number, or (least, most)" % (job, count))
        made[job] = (least, most)
    return made


def _free_address():
    from sluice.distribute.launcher import free_ports
    return "localhost:%d" % free_ports("localhost", 1)[0]


def _tls(environ):
    texts = []
    for variable in ("SLUICE_ETCD_CACERT", "SLUICE_ETCD_CERT", "SLUICE_ETCD_KEY"):
        path = environ.get(variable)
        if not path:
            texts.append("")
            continue
        try:
            with open(path, encoding="utf-8") as f:
                texts.append(f.read())
        except OSError as e:
            raise OSError(e.errno, "%s cannot be read: %s" % (variable, e.strerror), path) from None
    return texts
