"""Clusters by name: ClusterSpec, which task a Server is, and where replica_device_setter puts nodes."""
import pytest

import sluice as sl
from sluice.train import _server

SPEC = {"ps": ["a:1", "b:2"], "worker": {1: "c:3", 3: "d:4"}}


def test_a_cluster_spec_answers_for_its_tasks():
    cluster = sl.train.ClusterSpec(SPEC)
    assert cluster.as_dict() == SPEC
    assert sorted(cluster.jobs) == ["ps", "worker"]
    assert (cluster.num_tasks("worker"), cluster.task_indices("worker")) == (2, [1, 3])
    assert cluster.task_address("worker", 3) == "d:4"
    assert cluster.job_tasks("worker") == [None, "c:3", None, "d:4"]
    assert str(cluster) == "ClusterSpec({'ps': ['a:1', 'b:2'], 'worker': {1: 'c:3', 3: 'd:4'}})"
    assert sl.train.ClusterSpec(cluster) == cluster == SPEC and cluster != sl.train.ClusterSpec({"ps": ["a:1"]})
    assert not sl.train.ClusterSpec({}) and cluster
    assert sl.train.ClusterSpec({b"ps": [b"a:1"]}).as_dict() == {"ps": ["a:1"]}


def test_a_cluster_spec_goes_to_a_message_and_back():
    message = sl.train.ClusterSpec(SPEC).as_cluster_def()
    assert [(j.name, dict(j.tasks)) for j in message.job] == [("ps", {0: "a:1", 1: "b:2"}), ("worker", SPEC["worker"])]
    assert sl.train.ClusterSpec(message) == SPEC
    assert sl.train.ClusterSpec(sl.train.ClusterDef.FromString(message.SerializeToString())) == SPEC


@pytest.mark.parametrize("call, error, text", [
    (lambda c: sl.train.ClusterSpec("a:1"), TypeError, "must be a dictionary mapping one or more job names to lists"),
    (lambda c: sl.train.ClusterSpec({"ps": "a:1"}), TypeError, "The tasks for job 'ps' must be a list or a dictionary"),
    (lambda c: sl.train.ClusterSpec({1: ["a:1"]}), TypeError, "Job name 1 must be bytes or unicode"),
    (lambda c: sl.train.ClusterSpec({"ps": [7]}), TypeError, "Task address 7 must be bytes or unicode"),
    (lambda c: sl.train.ClusterSpec({"ps": {"x": "a:1"}}), TypeError, "Task index 'x' of job 'ps' must be an integer"),
    (lambda c: sl.train.ClusterSpec({"ps": {-1: "a:1"}}), ValueError, "Task index -1 of job 'ps' is negative"),
    (lambda c: c.num_tasks("x"), ValueError, "No such job in cluster: 'x'"),
    (lambda c: c.task_address("x", 0), ValueError, "No such job in cluster: 'x'"),
    (lambda c: c.task_address("worker", 2), ValueError, "No task with index 2 in job 'worker'"),
])
def test_a_wrong_cluster_is_refused_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call(sl.train.ClusterSpec(SPEC))


def test_a_server_def_says_which_task_it_is():
    config = sl.ConfigProto(log_device_placement=True)
    whole = _server._server_def(SPEC, "worker", 3, None, config)
    assert (whole.job_name, whole.task_index, whole.protocol) == ("worker", 3, "grpc")
    assert whole.default_session_config.log_device_placement
    only = _server._server_def({"local": ["localhost:0"]}, None, None, None, None)
    assert (only.job_name, only.task_index) == ("local", 0)
    changed = _server._server_def(whole, None, 1, None, None)
    assert (changed.job_name, changed.task_index) == ("worker", 1)


@pytest.mark.parametrize("arguments, error, text", [
    ((SPEC,), ValueError, "Must specify an explicit `job_name`."),
    ((SPEC, "ps"), ValueError, "Must specify an explicit `task_index`."),
    ((SPEC, "ps", 2), ValueError, "No task with index 2 in job 'ps'"),
    ((SPEC, "chief", 0), ValueError, "No such job in cluster: 'chief'"),
    ((3,), TypeError, "Could not convert `server_or_cluster_def`"),
])
def test_a_server_of_no_task_is_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        _server._server_def(*(list(arguments) + [None] * (5 - len(arguments))))


def devices(setter, *, resource, build):
    with sl.Graph().as_default() as graph, sl.device(setter), \
            sl.variable_scope("", use_resource=resource):
        build()
        return {op.name: op.device for op in graph.get_operations()}


@pytest.mark.parametrize("resource", [False, True])
def test_variables_go_to_parameter_servers_and_the_rest_to_workers(resource):
    def build():
        v, w = sl.get_variable("v", [3]), sl.get_variable("w", [4])
        with sl.device("/cpu:0"):
            sl.get_variable("u", [2])
        loss = sl.reduce_sum(v * 2, name="loss") + sl.reduce_sum(w)
        sl.train.MomentumOptimizer(1.0, 0.9, name="opt").minimize(loss, sl.train.get_or_create_global_step())
        sl.assign(v, [1., 2., 3.], name="set_v")
        sl.scatter_update(w, [1], [2.0], name="set_row_of_w")

    setter = sl.train.replica_device_setter(cluster={"ps": ["a:1", "b:1"], "worker": ["w:1"]},
                                            worker_device="/job:worker/task:0")
    found = devices(setter, resource=resource, build=build)
    for name, device in {"v": "/job:ps/task:0", "v/Assign": "/job:ps/task:0", "v/opt": "/job:ps/task:0",
                         "w": "/job:ps/task:1", "w/Assign": "/job:ps/task:1", "w/opt": "/job:ps/task:1",
                         "u": "/job:ps/task:0/device:CPU:0", "u/Assign": "/job:ps/task:0/device:CPU:0",
                         "global_step": "/job:ps/task:1", "loss": "/job:worker/task:0",
                         "set_v": "/job:ps/task:0", "set_row_of_w": "/job:ps/task:1"}.items():
        assert found[name] == device, name
    assert {d for n, d in found.items() if n.startswith("gradients/")} == {"/job:worker/task:0"}
    assert {d for n, d in found.items() if n.startswith("opt/update_v")} == {"/job:ps/task:0"}


def test_devices_are_merged_or_kept():
    def build():
        with sl.device("/device:GPU:1"):
            sl.get_variable("v", [1])
        with sl.device("/job:other"):
            sl.get_variable("o", [1])

    merged = devices(sl.train.replica_device_setter(2), resource=False, build=build)
    assert (merged["v"], merged["o"]) == ("/job:ps/task:0/device:GPU:1", "/job:other")
    kept = devices(sl.train.replica_device_setter(2, merge_devices=False), resource=False, build=build)
    assert (kept["v"], kept["o"]) == ("/device:GPU:1", "/job:other")
    assert sl.train.replica_device_setter() is None
    assert sl.train.replica_device_setter(cluster={"worker": ["w:1"]}) is None
    with pytest.raises(TypeError, match="ps_strategy must be callable"):
        sl.train.replica_device_setter(2, ps_strategy=3)


def test_strategies_spread_variables():
    sizes = [100, 1, 1, 1, 50, 60]

    def placed(strategy):
        def build():
            for i, size in enumerate(sizes):
                sl.get_variable("v%d" % i, [size])
        found = devices(sl.train.replica_device_setter(2, ps_strategy=strategy), resource=False, build=build)
        return [int(found["v%d" % i][-1]) for i in range(len(sizes))]

    assert placed(None) == placed(sl.train.RoundRobinStrategy(2)) == [0, 1, 0, 1, 0, 1]
    assert placed(sl.train.GreedyLoadBalancingStrategy(2, sl.train.byte_size_load_fn)) == [0, 1, 1, 1, 1, 1]
    drawn = placed(sl.train.RandomStrategy(2, seed=5))
    assert drawn == placed(sl.train.RandomStrategy(2, seed=5)) and set(drawn) == {0, 1}


@pytest.mark.parametrize("strategy", ["mod", "div"])
@pytest.mark.parametrize("resource", [False, True])
def test_a_sharded_embedding_is_looked_up_and_updated_where_its_shards_live(strategy, resource):
    table = [[float(i), -float(i)] for i in range(7)]
    with sl.Graph().as_default() as graph, sl.device(sl.train.replica_device_setter(3)):
        shards = sl.get_variable("t", [7, 2], partitioner=sl.fixed_size_partitioner(3), use_resource=resource)
        rows = sl.nn.embedding_lookup(shards, [[6, 0], [3, 3]], partition_strategy=strategy, name="rows")
        bags = sl.nn.embedding_lookup_sparse(shards, sl.SparseTensor([[0, 0], [0, 1], [1, 0]], [1, 5, 6], [2, 2]), None,
                                             partition_strategy=strategy, combiner="sum", name="bags")
        train = sl.train.GradientDescentOptimizer(1.0).minimize(sl.reduce_sum(rows))
        gathers = {op.device for op in graph.get_operations()
                   if "Gather" in op.type and op.name.startswith("rows/")}
        assert gathers == {"/job:ps/task:%d" % i for i in range(3)}
        updates = [op.device for op in graph.get_operations() if "Apply" in op.type or "Scatter" in op.type]
        assert sorted(set(updates)) == sorted(gathers)
        init = sl.global_variables_initializer()
        for op in graph.get_operations():
            op._set_device("")  # one process runs it all here
        with sl.Session() as session:
            session.run(init)
            # With "mod" row r of shard s is id 3r+s; with "div" the shards hold 3, 2 and 2 neighbouring ids.
            place = [(i % 3, i // 3) for i in range(7)] if strategy == "mod" else \
                [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]
            for s, shard in enumerate(shards):
                shard.load([table[i] for i in range(7) if place[i][0] == s], session)
            assert session.run(rows).tolist() == [[table[6], table[0]], [table[3], table[3]]]
            assert session.run(bags).tolist() == [[6.0, -6.0], [6.0, -6.0]]
            session.run(train)  # ids 6 and 0 once, id 3 twice
            assert session.run(rows).tolist() == [[[5.0, -7.0], [-1.0, -1.0]], [[1.0, -5.0], [1.0, -5.0]]]
