"""Resolvers, each from an environment as its scheduler makes it."""
import json
import threading
import types

import pytest

import sluice as sl
from sluice.distribute import _mpi, _slurm

resolvers = sl.distribute.cluster_resolver


def found(resolver):
    """(jobs, this task, target)."""
    return resolver.cluster_spec().as_dict(), (resolver.task_type, resolver.task_id), resolver.master()


CLUSTER = {"ps": ["h0:1"], "worker": ["h1:1", "h2:1"]}


def test_a_given_cluster():
    resolver = resolvers.SimpleClusterResolver(sl.train.ClusterSpec(CLUSTER), master="h1:1", task_type="worker", task_id=1,
                                               num_accelerators={"GPU": 2}, rpc_layer="grpc")
    assert found(resolver) == (CLUSTER, ("worker", 1), "grpc://h1:1")
    assert resolver.master("worker", 1) == "grpc://h2:1" and resolver.num_accelerators() == {"GPU": 2}
    with pytest.raises(TypeError, match="cluster_spec must be"):
        resolvers.SimpleClusterResolver(CLUSTER)
    with pytest.raises(TypeError, match="master must be a string"):
        resolvers.SimpleClusterResolver(sl.train.ClusterSpec(CLUSTER), master=3)


def test_several_clusters_together():
    def one(cluster, task):
        return resolvers.SimpleClusterResolver(sl.train.ClusterSpec(cluster), task_type="worker", task_id=task,
                                               rpc_layer="grpc")
    union = resolvers.UnionResolver(one(CLUSTER, 0), one({"worker": ["h3:1"]}, 1))
    assert union.cluster_spec().as_dict() == {"ps": ["h0:1"], "worker": ["h1:1", "h2:1", "h3:1"]}
    assert (union.task_type, union.task_id, union.master("worker", 2)) == ("worker", 0, "grpc://h3:1")
    sparse = resolvers.UnionResolver(one(CLUSTER, 0), one({"worker": {5: "h5:1"}}, 0))
    assert sparse.cluster_spec().as_dict()["worker"] == {0: "h1:1", 1: "h2:1", 5: "h5:1"}
    with pytest.raises(KeyError, match="Duplicate keys.*task 1 of job 'worker'"):
        resolvers.UnionResolver(one(CLUSTER, 0), one({"worker": {1: "x:1"}}, 0)).cluster_spec()
    with pytest.raises(ValueError):
        resolvers.UnionResolver()


@pytest.mark.parametrize("config, expected", [
    (dict(cluster=CLUSTER, task=dict(type="worker", index=1)), (CLUSTER, ("worker", 1), "grpc://h2:1")),
    (dict(cluster={"worker": {"1": "h1:1", "3": "h3:1"}}, task=dict(type="worker", index="3"), rpc_layer="x"),
     ({"worker": {1: "h1:1", 3: "h3:1"}}, ("worker", 3), "x://h3:1")),
    (dict(cluster=CLUSTER, task=dict(type="ps", index=0), session_master="grpc://m:9"), (CLUSTER, ("ps", 0), "grpc://m:9")),
    (dict(cluster={"worker": ["h:1"]}, task=dict(type="worker", index=0)), ({"worker": ["h:1"]}, ("worker", 0), "")),
    ({}, ({}, (None, None), "")),
])
def test_tf_config(config, expected):
    assert found(resolvers.TFConfigClusterResolver(environ={"TF_CONFIG": json.dumps(config)})) == expected


def test_arguments_win_over_tf_config():
    environ = {"TF_CONFIG": json.dumps(dict(cluster=CLUSTER, task=dict(type="worker", index=1)))}
    resolver = resolvers.TFConfigClusterResolver(task_type="ps", task_id=0, rpc_layer="y", environ=environ)
    assert found(resolver) == (CLUSTER, ("ps", 0), "y://h0:1")


@pytest.mark.parametrize("text, error", [
    ("{", "TF_CONFIG is not JSON"), ("[]", "must be a JSON object"), ('{"cluster": 3}', "cluster must be an object"),
    ('{"task": {"index": "x"}}', "index is not a number"),
])
def test_a_wrong_tf_config_is_named(text, error):
    resolver = resolvers.TFConfigClusterResolver(environ={"TF_CONFIG": text})
    with pytest.raises(ValueError, match=error):
        found(resolver)


def test_flags():
    flags = types.SimpleNamespace(ps_hosts="h0:1", worker_hosts="h1:1, h2:1", job_name="worker", task_index=1)
    assert found(resolvers.FlagsClusterResolver(flags)) == (CLUSTER, ("worker", 1), "grpc://h2:1")


# Slurm.
@pytest.mark.parametrize("text, hosts", [
    ("n1", ["n1"]), ("a,b", ["a", "b"]), ("n[1-3]", ["n1", "n2", "n3"]), ("n[08-10,12],x", ["n08", "n09", "n10", "n12", "x"]),
    ("r[0-1]n[1-2]-ib", ["r0n1-ib", "r0n2-ib", "r1n1-ib", "r1n2-ib"]),
])
def test_slurm_node_lists(text, hosts):
    assert _slurm.expand_hostlist(text) == hosts


def test_slurm_counts():
    assert _slurm.expand_tasks_per_node("2(x3),1") == [2, 2, 2, 1]
    for bad in ("x", "2(3)"):
        with pytest.raises(ValueError, match="not a list of tasks"):
            _slurm.expand_tasks_per_node(bad)
    with pytest.raises(ValueError, match="not a list of Slurm nodes"):
        _slurm.expand_hostlist("n[a-b]")


SLURM = {"SLURM_PROCID": "3", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_STEP_NUM_TASKS": "4"}


def test_slurm():
    assert found(resolvers.SlurmClusterResolver({"ps": 1}, environ=dict(SLURM))) == (
        {"ps": ["n1:8888"], "worker": ["n1:8889", "n1:8890", "n2:8888"]}, ("worker", 2), "grpc://n2:8888")
    one_node = dict(SLURM, SLURM_STEP_NODELIST="n1", SLURM_STEP_TASKS_PER_NODE="4")
    assert resolvers.SlurmClusterResolver(environ=one_node).cluster_spec().task_address("worker", 3) == "localhost:8891"
    environ = dict(SLURM, SLURM_PROCID="1", SLURM_GPUS_ON_NODE="4")
    resolver = resolvers.SlurmClusterResolver({"ps": 1, "worker": 3}, port_base=50, gpus_per_task=2, environ=environ)
    assert resolver.get_task_info() == ("worker", 0) and environ["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert resolver.num_accelerators() == {"GPU": 2}


@pytest.mark.parametrize("jobs, change, error", [
    ({"ps": 5}, {}, "4 tasks were started, but the jobs {'ps': 5} want 5"),
    ({"ps": 1, "worker": 1}, {}, "4 tasks were started, but .* name only 2"),
    ({}, {"SLURM_PROCID": "9"}, "SLURM_PROCID is 9, but the job step has 4 tasks"),
    ({}, {"SLURM_PROCID": "x"}, "SLURM_PROCID is not a number: 'x'"),
    ({}, {"SLURM_STEP_NODELIST": ""}, "none of SLURM_STEP_NODELIST"),
    ({}, {"SLURM_STEP_TASKS_PER_NODE": "4"}, "Slurm names 2 nodes"),
])
def test_a_wrong_slurm_environment_is_named(jobs, change, error):
    with pytest.raises(ValueError, match=error):
        resolvers.SlurmClusterResolver(jobs, environ=dict(SLURM, **change))


# Open MPI.
def mpi(rank, local_size=3, **more):
    return {"OMPI_COMM_WORLD_RANK": str(rank), "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "0",
            "OMPI_COMM_WORLD_LOCAL_SIZE": str(local_size), **more}


def test_mpi_on_one_machine():
    assert found(resolvers.MpiClusterResolver({"ps": 1}, port_base=70, environ=mpi(2))) == (
        {"ps": ["localhost:70"], "worker": ["localhost:71", "localhost:72"]}, ("worker", 1), "grpc://localhost:72")


def test_mpi_over_machines_meets_in_a_folder(tmp_path):
    with pytest.raises(ValueError, match="on several machines: name a folder"):
        resolvers.MpiClusterResolver(environ=mpi(0, local_size=1))
    results = {}

    def run(rank):
        environ = mpi(rank, local_size=1, SLUICE_MPI_FOLDER=str(tmp_path), PMIX_NAMESPACE="job.7@1")
        results[rank] = found(resolvers.MpiClusterResolver({"ps": 1}, environ=environ))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {r[1] for r in results.values()} == {("ps", 0), ("worker", 0), ("worker", 1)}
    assert results[0][0] == results[2][0] and len(results[0][0]["worker"]) == 2
    with pytest.raises(TimeoutError, match=r"the ranks \[1, 2\] of 3 have not written"):
        _mpi.exchange(str(tmp_path / "other"), 0, 3, "h:1", 0)


# Kubernetes.
def test_kubernetes():
    environ = {"SLUICE_KUBERNETES_JOBS": "ps=1, worker=2", "HOSTNAME": "my-job-worker-1"}
    assert found(resolvers.KubernetesClusterResolver(environ=environ)) == (
        {"ps": ["my-job-ps-0.my-job:2222"], "worker": ["my-job-worker-0.my-job:2222", "my-job-worker-1.my-job:2222"]},
        ("worker", 1), "grpc://my-job-worker-1.my-job:2222")
    outside = resolvers.KubernetesClusterResolver({"ps": 1}, app="a", service="s", namespace="n", port=5, hostname="laptop",
                                                  environ={})
    assert outside.cluster_spec().as_dict() == {"ps": ["a-ps-0.s.n.svc:5"]} and outside.task_type is None


@pytest.mark.parametrize("environ, error", [
    ({"HOSTNAME": "a-ps-0"}, "no jobs"),
    ({"SLUICE_KUBERNETES_JOBS": "ps", "HOSTNAME": "a-ps-0"}, "must be a list as ps=1,worker=4, found 'ps'"),
    ({"SLUICE_KUBERNETES_JOBS": "ps=1", "HOSTNAME": "a-ps-1"}, "job 'ps' has 1 pods"),
    ({"SLUICE_KUBERNETES_JOBS": "ps=1", "HOSTNAME": "other"}, "is not APP-JOB-NUMBER"),
])
def test_a_wrong_kubernetes_environment_is_named(environ, error):
    with pytest.raises(ValueError, match=error):
        resolvers.KubernetesClusterResolver(environ=environ)


@pytest.mark.parametrize("environ, kind", [
    ({"TF_CONFIG": "{}", **SLURM}, resolvers.TFConfigClusterResolver),
    ({"SLUICE_KUBERNETES_JOBS": "ps=1", "HOSTNAME": "a-ps-0"}, resolvers.KubernetesClusterResolver),
    ({**mpi(1), **SLURM}, resolvers.MpiClusterResolver), (SLURM, resolvers.SlurmClusterResolver),
    ({}, type(None)), ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, type(None)),
])
def test_the_environment_says_who_started_the_process(environ, kind):
    assert isinstance(resolvers.from_environment({"ps": 1}, environ=dict(environ)), kind)
