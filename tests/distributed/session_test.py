"""Clients of clusters: what sessions share, where things run, what is saved, and what errors say. The tasks are servers
of this process, joined as they would be between processes."""
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import sluice as sl
from sluice.distribute.launcher import free_ports


class Cluster:
    """Servers of all tasks of a cluster."""

    def __init__(self, **jobs):
        ports = iter(free_ports("localhost", sum(jobs.values())))
        self.spec = sl.train.ClusterSpec({job: ["localhost:%d" % next(ports) for _ in range(n)] for job, n in jobs.items()})
        self.servers = {(job, i): self.start(job, i) for job, n in jobs.items() for i in range(n)}

    def start(self, job, task):
        return sl.train.Server(self.spec, job, task)

    def replace(self, job, task):
        """What a restart of the task's process does: its state is gone, its address stays."""
        self.servers[job, task]._native.stop()
        self.servers[job, task] = None
        self.servers[job, task] = self.start(job, task)

    def session(self, job="worker", task=0, **options):
        return sl.Session(self.servers[job, task].target, **options)


@pytest.fixture(scope="module")
def cluster():
    return Cluster(ps=2, worker=2)


@pytest.fixture(autouse=True)
def clean(request):
    with sl.Graph().as_default():
        yield
    if "cluster" in request.fixturenames:
        sl.Session.reset(request.getfixturevalue("cluster").servers["worker", 0].target)


def on(job, task):
    return sl.device("/job:%s/task:%d" % (job, task))


def test_a_session_sees_every_device_of_the_cluster(cluster):
    with cluster.session() as session:
        names = sorted(d.name for d in session.list_devices())
    assert names == ["/job:%s/replica:0/task:%d/device:CPU:0" % (job, i) for job in ("ps", "worker") for i in (0, 1)]


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
def test_sessions_of_all_masters_share_variables_and_queues(cluster, resource):
    with on("ps", 0):
        v = sl.get_variable("v", initializer=[1.0, 2.0], use_resource=resource)
    with on("ps", 1):
        queue = sl.FIFOQueue(3, [sl.string], [[]], shared_name="letters")
    add, put, get = sl.assign_add(v, [1.0, 1.0]), queue.enqueue("a"), queue.dequeue()
    with cluster.session("worker", 0) as first, cluster.session("worker", 1) as second:
        first.run(v.initializer)
        second.run([add.op, put])
        assert first.run(v).tolist() == [2.0, 3.0] and first.run(get) == b"a"


def test_each_session_begins_with_the_numbers_that_its_seeds_say(cluster):
    """So a chief that must initialise again, because it did not hear that it was done, gives the same values."""
    sl.set_random_seed(7)
    with on("ps", 0):
        v = sl.get_variable("v", [3], initializer=sl.random_uniform_initializer())
    found = []
    for _ in range(2):
        with cluster.session() as session:
            for _ in range(2):
                session.run(v.initializer)
                found.append(session.run(v))
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[3])
    assert (found[0] != found[1]).all()  # within a session they go on


def test_resetting_a_target_forgets_its_variables(cluster):
    with on("ps", 0):
        v = sl.get_variable("v", initializer=1.0)
    missing = sl.report_uninitialized_variables()
    with cluster.session() as session:
        session.run(v.initializer)
        assert not len(session.run(missing))
    sl.Session.reset(cluster.servers["worker", 0].target)
    with cluster.session() as session:
        assert session.run(missing).tolist() == [b"v"]


def test_asynchronous_workers_lose_no_update(cluster):
    def work(task, failures):
        try:
            with sl.Graph().as_default(), sl.device(sl.train.replica_device_setter(
                    cluster=cluster.spec, worker_device="/job:worker/task:%d" % task)):
                total = sl.get_variable("total", initializer=0.0)
                x = sl.placeholder(sl.float32, [])
                add = sl.assign_add(total, x * 2, use_locking=True)
                ready = sl.report_uninitialized_variables()
                manager = sl.train.SessionManager(ready_op=ready, recovery_wait_secs=0.05)
                target = cluster.servers["worker", task].target
                session = manager.prepare_session(target, init_op=total.initializer) if task == 0 \
                    else manager.wait_for_session(target, max_wait_secs=60)
                for i in range(100):
                    session.run(add, {x: 1.0})
        except Exception as e:  # pylint: disable=broad-except
            failures.append(e)

    failures = []
    threads = [threading.Thread(target=work, args=(task, failures)) for task in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    with sl.device("/job:ps/task:0"):
        total = sl.get_variable("total", initializer=0.0)
    with cluster.session() as session:
        assert session.run(total) == 400.0


def model(shards, device):
    """Trains a sharded embedding and a dense layer; returns (train op, placeholder, variables)."""
    sl.set_random_seed(3)
    with sl.device(device):
        ids = sl.placeholder(sl.int64, [None])
        table = sl.get_variable("table", [11, 3], partitioner=sl.fixed_size_partitioner(shards))
        rows = sl.nn.embedding_lookup(table, ids)
        loss = sl.reduce_sum(sl.layers.dense(rows, 2, activation=sl.nn.tanh, name="dense") ** 2)
        step = sl.train.get_or_create_global_step()
        train = sl.train.AdagradOptimizer(0.3).minimize(loss, step)
    return train, ids, sl.global_variables()


def trained(session, train, ids, variables):
    session.run(sl.variables_initializer(variables))
    for i in range(10):
        session.run(train, {ids: [i, (3 * i) % 11, 4]})
    return session.run(variables)


def test_a_sharded_embedding_trains_to_the_bits_of_one_process(cluster, tmp_path):
    with sl.Graph().as_default(), sl.Session() as session:
        expected = trained(session, *model(2, None))
    setter = sl.train.replica_device_setter(cluster=cluster.spec, worker_device="/job:worker/task:1")
    train, ids, variables = model(2, setter)
    homes = {v.device for v in variables if v.op.name.startswith("table/part") and "Adagrad" not in v.op.name}
    assert homes == {"/job:ps/task:0", "/job:ps/task:1"}
    saver = sl.train.Saver(sharded=True)
    with cluster.session() as session:
        found = trained(session, train, ids, variables)
        path = saver.save(session, str(tmp_path / "m"))
    for variable, a, b in zip(variables, found, expected):
        assert np.array_equal(a, b), variable.name
    # Written by two parameter servers, read by one process.
    assert sorted(f for f in os.listdir(tmp_path) if ".data-" in f) == ["m.data-00000-of-00002", "m.data-00001-of-00002"]
    reader = sl.train.load_checkpoint(path)
    table = np.concatenate([a for v, a in zip(variables, found) if v.op.name in ("table/part_0", "table/part_1")])
    assert np.array_equal(reader.get_tensor("table"), table)
    with cluster.session("worker", 1) as session:
        session.run(sl.variables_initializer(variables))
        saver.restore(session, path)
        assert all(np.array_equal(a, b) for a, b in zip(session.run(variables), found))


def test_replicas_in_one_graph_give_the_gradient_of_the_whole_batch(cluster):
    with on("ps", 0):
        w = sl.get_variable("w", initializer=np.arange(6, dtype=np.float32).reshape(3, 2))
    x = sl.placeholder(sl.float32, [4, 3])
    towers = []
    for task, part in enumerate(sl.split(x, 2)):
        with on("worker", task):
            towers.append(sl.gradients(sl.reduce_sum(sl.matmul(part, w) ** 2), w)[0])
    with on("ps", 1):
        both = sl.add_n(towers)
    value = np.arange(12, dtype=np.float32).reshape(4, 3)
    with cluster.session() as session:
        session.run(w.initializer)
        assert np.allclose(session.run(both, {x: value}), 2 * value.T @ (value @ np.arange(6).reshape(3, 2)))


def test_loops_branches_strings_and_python_functions_run_where_they_are_told(cluster):
    with on("ps", 1):
        v = sl.get_variable("v", initializer=2.0)
    with on("worker", 1):
        total = sl.while_loop(lambda i, s: i < 5, lambda i, s: (i + 1, s + v), [0, 0.0])[1]
        choice = sl.cond(total > 9, lambda: sl.constant("big"), lambda: sl.constant("small"))
    with on("worker", 0):
        text = sl.string_join([choice, sl.as_string(total, precision=1)])
        host = sl.py_func(lambda x: np.float32(x * 10), [total], sl.float32)
    with cluster.session() as session:
        session.run(v.initializer)
        assert session.run([total, text, host]) == [10.0, b"big10.0", 100.0]


def test_a_trace_holds_the_devices_of_every_task_that_worked(cluster):
    with on("ps", 0):
        a = sl.constant(np.ones([50, 50], np.float32)) * sl.placeholder_with_default(1.0, [])
    with on("worker", 1):
        b = sl.matmul(a, a)
    metadata = sl.RunMetadata()
    with cluster.session() as session:
        session.run(b, options=sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), run_metadata=metadata)
    devices = {d.device for d in metadata.step_stats.dev_stats}
    assert {"/job:ps/replica:0/task:0/device:CPU:0", "/job:worker/replica:0/task:1/device:CPU:0"} <= devices


def test_a_monitored_session_goes_on_when_a_parameter_server_was_replaced(tmp_path):
    cluster = Cluster(ps=1, worker=1)
    with sl.device(sl.train.replica_device_setter(cluster=cluster.spec, worker_device="/job:worker/task:0")):
        step = sl.train.get_or_create_global_step()
        w = sl.get_variable("w", initializer=10.0)
        train = sl.train.GradientDescentOptimizer(1.0).minimize(sl.identity(w), global_step=step)
    replaced = []
    with sl.train.MonitoredTrainingSession(
            cluster.servers["worker", 0].target, checkpoint_dir=str(tmp_path), save_checkpoint_steps=2,
            save_summaries_steps=None, log_step_count_steps=None,
            hooks=[sl.train.StopAtStepHook(last_step=7)]) as session:
        while not session.should_stop():
            session.run(train)
            if not replaced and session.raw_session().run(step) == 5:
                cluster.replace("ps", 0)
                replaced.append(True)
    assert replaced and sl.train.load_variable(str(tmp_path), "w") == 3.0
    assert sl.train.load_variable(str(tmp_path), "global_step") == 7
    with open(tmp_path / "checkpoint.epoch", encoding="utf-8") as f:
        assert int(f.readline().split()[1]) >= 2  # a new session, a new epoch


def test_a_worker_waits_for_its_chief_and_says_what_for(cluster):
    with sl.device(sl.train.replica_device_setter(cluster=cluster.spec)):
        sl.get_variable("not_there_yet", initializer=1.0)
    creator = sl.train.WorkerSessionCreator(master=cluster.servers["worker", 1].target, max_wait_secs=1)
    with pytest.raises(sl.errors.DeadlineExceededError, match="not ready after waiting 1 secs.*grpc://.*not_there_yet"):
        creator.create_session()


def expect(error, text):
    return pytest.raises(error, match=text)


@pytest.mark.parametrize("case", ["target", "address", "task", "wait"])
def test_errors_name_the_task_and_come_in_time(cluster, case):
    with contextlib.ExitStack() as stack:
        if case == "target":
            port = free_ports("localhost", 1)[0]
            stack.enter_context(expect(sl.errors.UnavailableError, "localhost:%d" % port))
            sl.Session("grpc://localhost:%d" % port).run(sl.constant(1))
        elif case == "address":
            stack.enter_context(expect(sl.errors.InvalidArgumentError, "not of the form grpc://host:port"))
            sl.Session("ftp://localhost").run(sl.constant(1))
        elif case == "task":
            with on("ps", 7):
                x = sl.constant(1) + 1
            stack.enter_context(expect(sl.errors.InvalidArgumentError, "/job:ps/task:7"))
            cluster.session().run(x)
        else:
            with on("ps", 1):
                get = sl.FIFOQueue(1, [sl.int32], [[]], shared_name="empty").dequeue()
            stack.enter_context(expect(sl.errors.DeadlineExceededError, "/job:ps/replica:0/task:1.*QueueDequeue"))
            cluster.session().run(get, options=sl.RunOptions(timeout_in_ms=300))


def test_a_task_that_is_paused_does_not_hold_up_a_step_beyond_its_time():
    ports = free_ports("localhost", 2)
    jobs = {"ps": ["localhost:%d" % ports[0]], "worker": ["localhost:%d" % ports[1]]}
    program = "import sluice as sl; sl.train.Server(%r, 'ps', 0).join()" % (jobs,)
    server = sl.train.Server(jobs, "worker", 0)
    peer = subprocess.Popen([sys.executable, "-c", program])
    try:
        with on("ps", 0):
            v = sl.get_variable("v", initializer=1.0)
        with on("worker", 0):
            y = v + 1
        with sl.Session(server.target) as session:
            session.run(v.initializer)
            assert session.run(y) == 2.0
            peer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, peer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)  # its threads run until the last one stands
            start = time.monotonic()
            with expect(sl.errors.DeadlineExceededError, "/job:ps/replica:0/task:0|Recv"):
                session.run(y, options=sl.RunOptions(timeout_in_ms=1000))
            assert time.monotonic() - start < 6  # a second, and a half; the rest is for a busy machine
            peer.kill()
    finally:
        peer.kill()
        peer.wait()


def test_a_session_may_bring_the_cluster_of_the_moment():
    """A task that the servers do not know joins, and another one moves: a session says where they are, and tensors go there."""
    known = Cluster(ps=1, worker=1)
    ports = free_ports("localhost", 2)
    spec = dict(known.spec.as_dict(), worker={0: "localhost:%d" % ports[0], 5: "localhost:%d" % ports[1]})
    moved = sl.train.Server({"worker": {0: spec["worker"][0]}}, "worker", 0)  # a successor, which was told of nobody
    joined = sl.train.Server({"worker": {5: spec["worker"][5]}}, "worker", 5)
    with on("worker", 5):
        a = sl.constant([1.0, 2.0])
    with on("ps", 0):
        b = a * 2  # fetched from a task that the server has never heard of
    with on("worker", 0):
        c = b + 1
    with on("ps", 0):
        d = c * 10
    config = sl.ConfigProto(cluster_def=sl.train.ClusterSpec(spec).as_cluster_def())
    for server in (moved, joined):
        with sl.Session(server.target, config=config) as session:
            assert session.run(d).tolist() == [30.0, 50.0]
            assert {n.name.split("/device")[0] for n in session.list_devices()} == {
                "/job:ps/replica:0/task:0", "/job:worker/replica:0/task:0", "/job:worker/replica:0/task:5"}
    with sl.Session(known.servers["worker", 0].target) as session, sl.device("/job:worker/task:0"):  # and those without see their own
        assert session.run(sl.constant(1.0) + 1) == 2.0
    for cluster, error, text in (({"ps": spec["ps"]}, sl.errors.NotFoundError, "lacks the task of this master"),
                                 ({"worker": {5: "nowhere"}}, sl.errors.InvalidArgumentError, "cluster_def: .*wanted host:port")):
        config = sl.ConfigProto(cluster_def=sl.train.ClusterSpec(cluster).as_cluster_def())
        with pytest.raises(error, match=text):
            sl.Session(joined.target, config=config).run(sl.constant(1.0))


@pytest.mark.parametrize("before, after, axis_rows", [(2, 3, 12), (3, 2, 12), (2, 1, 7), (1, 2, 7)])
def test_a_sharded_checkpoint_is_written_by_each_task_and_restored_into_other_shards(cluster, tmp_path, before, after, axis_rows):
    value = np.arange(axis_rows * 2, dtype=np.float32).reshape(axis_rows, 2)

    def build(shards):
        setter = sl.train.replica_device_setter(cluster=cluster.spec, worker_device="/job:worker/task:0")
        with sl.device(setter):
            table = sl.get_variable("table", [axis_rows, 2], partitioner=sl.fixed_size_partitioner(shards))
            scale = sl.get_variable("scale", initializer=3.0)
        return list(table), scale, sl.train.Saver(sharded=True)

    parts, scale, saver = build(before)
    writers = {op.device for op in sl.get_default_graph().get_operations() if op.type == "SaveV2"}
    assert writers == {"/job:ps/task:%d/device:CPU:0" % i for i in range(min(2, before + 1))}
    with cluster.session() as session:
        session.run(scale.initializer)
        at = 0
        for part in parts:
            rows = part.get_shape().as_list()[0]
            session.run(sl.assign(part, value[at:at + rows]))
            at += rows
        path = saver.save(session, str(tmp_path / "m"))
    assert len([n for n in os.listdir(tmp_path) if ".data-" in n]) == len(writers)
    sl.Session.reset(cluster.servers["worker", 0].target)
    with sl.Graph().as_default():
        parts, scale, saver = build(after)
        with cluster.session("worker", 1) as session:
            saver.restore(session, path)
            assert np.array_equal(np.concatenate(session.run(parts)), value) and session.run(scale) == 3.0


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_embeddings_on_two_servers_train_to_the_bits_of_one(cluster, strategy):
    def run(servers):
        sl.set_random_seed(3)
        with sl.Graph().as_default(), sl.device(sl.train.replica_device_setter(
                ps_tasks=servers, worker_device="/job:worker/task:0")):
            sl.set_random_seed(3)
            ids, labels = sl.placeholder(sl.int64, [None]), sl.placeholder(sl.float32, [None, 4])
            table = sl.get_variable("table", [13, 4], partitioner=sl.fixed_size_partitioner(2))
            rows = sl.nn.embedding_lookup(table, ids, partition_strategy=strategy)
            loss = sl.reduce_sum(sl.squared_difference(sl.tanh(rows), labels))
            train = sl.train.AdagradOptimizer(0.3).minimize(loss)
            homes = {v.device for v in table}
            random, made = np.random.RandomState(7), []
            with cluster.session() as session:
                session.run(sl.global_variables_initializer())
                for _ in range(12):
                    batch = random.randint(0, 13, 8)  # with repetitions
                    made.append(session.run([loss, train], {ids: batch, labels: random.rand(8, 4)})[0])
                made += [v.tobytes() for v in session.run(sl.global_variables())]
        sl.Session.reset(cluster.servers["worker", 0].target)
        return made, len(homes)

    one, two = run(1), run(2)
    assert (one[1], two[1]) == (1, 2) and one[0] == two[0] and one[0][0] > one[0][11]
