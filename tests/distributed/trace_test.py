"""What a user sees of a step in a cluster: the trace on one clock with arrows from task to task, what the wires carried,
and who is slow."""
import collections
import json
import time

import numpy as np
import pytest

import sluice as sl
from sluice import timeline
from sluice.distribute import top
from sluice.distribute.launcher import free_ports
from sluice.train._effective_time import EffectiveTime

TASK = "/job:%s/replica:0/task:%d"


@pytest.fixture(name="cluster")
def _cluster():
    ports = free_ports("localhost", 3)
    spec = sl.train.ClusterSpec({"ps": ["localhost:%d" % ports[0]],
                                 "worker": ["localhost:%d" % p for p in ports[1:]]})
    servers = [sl.train.Server(spec, job, i) for job, i in (("ps", 0), ("worker", 0), ("worker", 1))]
    yield servers
    del servers


def traced(session, fetches, feed=None, **options):
    metadata = sl.RunMetadata()
    options = sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE, **options)
    session.run(fetches, feed, options=options, run_metadata=metadata)
    return metadata


def check_trace(text, step_stats):
    """Asserts that a trace is one that viewers accept and physics allows; returns its arrows from task to task."""
    trace = json.loads(text)
    events = trace["traceEvents"]
    names = {e["pid"]: e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "process_name"}
    rows = {(e["pid"], e["tid"]) for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    spans = collections.defaultdict(list)
    for e in events:
        assert e["ph"] in "MXCstfi" and e["pid"] in names
        if e["ph"] == "X":
            assert e["dur"] >= 0 and (e["pid"], e["tid"]) in rows
            spans[e["pid"], e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    for row in spans.values():  # events of a row follow each other or nest
        open_ends = []
        for start, end in sorted(row, key=lambda s: (s[0], -s[1])):
            while open_ends and open_ends[-1] <= start + 1e-3:
                open_ends.pop()
            assert not open_ends or end <= open_ends[-1] + 1e-3
            open_ends.append(end)
    arrows = collections.defaultdict(dict)
    for e in events:
        if e.get("cat") == "SendRecv":
            assert e["ph"] not in arrows[e["id"]]
            arrows[e["id"]][e["ph"]] = e
    errors = trace["otherData"]["clock_error_us"]
    crossing = []
    for pair in arrows.values():
        start, finish = pair["s"], pair["f"]
        assert names[start["pid"]] != names[finish["pid"]]
        send, receive = ([e for e in events if e["ph"] == "X" and (e["pid"], e["tid"]) == (x["pid"], x["tid"])
                          and e["ts"] <= x["ts"] <= e["ts"] + e["dur"]][0] for x in (start, finish))
        bound = sum(errors.get(names[x["pid"]].partition("/device")[0], 0) for x in (start, finish))
        assert receive["ts"] + receive["dur"] + bound >= send["ts"]
        assert "Send" in send["name"] and "Recv" in receive["name"]
        if "bytes" in start["args"]:
            crossing.append((start["args"]["from"].partition("/device")[0], start["args"]["to"].partition("/device")[0],
                             start["args"]["bytes"], start["args"]["transport"]))
    assert len(timeline.transfers(step_stats)) == len(crossing)
    return sorted(crossing)


def test_the_trace_of_a_step_has_all_tasks_on_one_clock_and_arrows_between_them(cluster):
    ps, first, second = TASK % ("ps", 0), TASK % ("worker", 0), TASK % ("worker", 1)
    with sl.Graph().as_default():
        with sl.device("/job:worker/task:0"):
            x = sl.placeholder(sl.float32, [250], name="x")
        with sl.device("/job:ps/task:0"):
            n = sl.negative(x, name="n")
        with sl.device("/job:worker/task:1"):
            y = sl.square(n, name="y")
        with sl.device("/job:ps/task:0"):
            z = sl.exp(y, name="z")
        with sl.Session(cluster[1].target) as session:
            for _ in range(2):
                metadata = traced(session, z, {x: np.ones(250)}, output_partition_graphs=True)
    stats = metadata.step_stats
    text = timeline.Timeline(stats).generate_chrome_trace_format(show_memory=True)
    crossing = check_trace(text, stats)
    assert [c[:3] for c in crossing] == [(ps, second, 1000), (first, ps, 1000), (second, ps, 1000)]
    assert all(c[3] in ("inproc", "shm", "unix", "tcp", "grpc") for c in crossing)
    for task in (ps, first, second):
        assert task + "/device:CPU:0" in text and task + " calls" in text
    assert "clock within" in text
    report = timeline.StepReport(stats)
    assert set(report.tasks) == {ps, first, second} and not report.stragglers
    assert all(0 <= busy <= seconds for seconds, busy, _ in report.tasks.values())
    # z comes from the parameter server to the master, which is the first worker.
    assert {k[:2]: v[:2] for k, v in report.wire.items()} == {
        (ps, second): (1, 1000), (first, ps): (1, 1000), (second, ps): (1, 1000), (ps, first): (1, 1000)}
    assert "%s -> %s over" % (ps, second) in str(report)
    nodes = [{node.name for node in graph.node} for graph in metadata.partition_graphs]
    assert len(nodes) == 3 and any({"n", "z"} <= names for names in nodes)


def test_transfers_within_a_task_are_arrows_too():
    with sl.Graph().as_default():
        with sl.device("/cpu:0"):
            a = sl.negative(sl.placeholder_with_default(np.ones(3), [3]))
        with sl.device("/cpu:1"):
            b = sl.exp(a)
        with sl.Session(config=sl.ConfigProto(device_count={"CPU": 2})) as session:
            metadata = traced(session, b, output_partition_graphs=True)
    text = timeline.Timeline(metadata.step_stats).generate_chrome_trace_format()
    assert check_trace(text, metadata.step_stats) == [] and "within the task" in text
    assert len(metadata.partition_graphs) == 2


def test_one_slow_task_is_named_within_twenty_steps_and_no_even_one(cluster, capfd):
    slow = {"worker": None}

    def work(values, number):
        time.sleep(0.05 if number == slow["worker"] else 0.005)
        return values

    with sl.Graph().as_default():
        parts = []
        for i in range(2):
            with sl.device("/job:worker/task:%d" % i):
                x = sl.placeholder_with_default(np.float32(1), [])
                parts.append(sl.py_func(lambda v, i=i: work(v, i), [x], sl.float32))
        with sl.device("/job:ps/task:0"):
            total = sl.add_n(parts)
        with sl.Session(cluster[1].target) as session:
            for _ in range(20):
                session.run(total)
            assert not timeline.StepReport(traced(session, total).step_stats).stragglers
            slow["worker"] = 1
            for _ in range(20):
                session.run(total)
            report = timeline.StepReport(traced(session, total).step_stats)
    name = TASK % ("worker", 1)
    assert list(report.stragglers) == [name]
    seconds, median = report.stragglers[name]
    assert seconds > 0.04 and seconds > 2 * median
    said = [line for line in capfd.readouterr().err.splitlines() if "is a straggler" in line]
    assert len(said) == 1 and name in said[0]


def test_a_slow_replica_is_named_and_a_training_tells_where_its_time_went(cluster, capfd):
    with sl.Graph().as_default():
        accumulator = sl.ConditionalAccumulator(sl.float32, shape=[], shared_name="seen")
        step = sl.placeholder(sl.int64, [])
        give = [accumulator.apply_grad(1.0, local_step=step, replica=r) for r in range(3)]
        begin, take = accumulator.set_global_step(0), accumulator.take_grad([0, 1, 2])
        with sl.Session() as session:
            session.run(begin)
            for number in range(21):
                for replica in (0, 2, 1):
                    if replica == 1:
                        time.sleep(0.03)
                    session.run(give[replica], {step: number})
                session.run(take)
    EffectiveTime(environ={"SLUICE_DOWN_SECONDS": "2"}).publish()
    state = top.ask(cluster[0].target.replace("grpc://", ""), 20)
    assert [s["name"] for s in state.stragglers] == ["replica 1"]
    assert state.stragglers[0]["seconds"] > 0.02 and state.stragglers[0]["what"] == "its share of a step"
    said = [line for line in capfd.readouterr().err.splitlines() if "is a straggler" in line]
    assert len(said) == 1 and said[0].startswith("replica 1 ")
    assert state.effective["failures"] == 1 and state.effective["restart"] == 2
