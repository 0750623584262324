"""The live view: the numbers of running tasks, lost tasks, stragglers and long waits, and ways to name a cluster."""
import json
import struct
import threading

import pytest

import sluice as sl
from sluice import _wire
from sluice.distribute import top
from sluice.distribute.launcher import free_ports


def state(done=0, p50=0.0, received=0, steps=()):
    """A State as a server would send it."""
    fields = [(1, _wire.encode((1, "session"))), (4, done), (9, p50), (10, p50), (11, p50),
              (3, _wire.encode((1, "/job:ps/replica:0/task:0"), (3, received), (4, "grpc")))]
    for seconds, waiting in steps:
        fields.append((2, _wire.encode((2, seconds), *[(3, w) for w in waiting])))
    return top.State(_wire.encode(*fields))


def test_a_running_cluster_is_shown(capsys):
    ports = free_ports("localhost", 2)
    cluster = sl.train.ClusterSpec({"ps": ["localhost:%d" % ports[0]], "worker": ["localhost:%d" % ports[1]]})
    servers = [sl.train.Server(cluster, job, 0) for job in ("ps", "worker")]
    with sl.Graph().as_default():
        with sl.device("/job:ps/task:0"):
            get = sl.FIFOQueue(1, [sl.int32], [[]], shared_name="empty").dequeue()
            x = sl.constant(1.0) + sl.placeholder_with_default(1.0, [])
        with sl.device("/job:worker/task:0"):
            y = x + 1
        with sl.Session(servers[1].target) as session:
            for _ in range(20):
                session.run(y)
            ended = []

            def wait():
                with pytest.raises(sl.errors.OpError):
                    session.run(get, options=sl.RunOptions(timeout_in_ms=20000))
                ended.append(True)

            waiting = threading.Thread(target=wait)
            waiting.start()
            while not top.ask(cluster.task_address("ps", 0), 20).steps:
                pass
            dead = free_ports("localhost", 1)[0]
            named = ["%s=%s" % (job, cluster.task_address(job, 0)) for job in cluster.jobs]
            assert top.main(named + ["--count", "2", "--interval", "0"]) == 0
            assert top.main(named + ["worker=localhost:%d" % dead, "--count", "1"]) == 1
            shown = capsys.readouterr().out
        waiting.join(60)
    assert ended
    looks = [look.splitlines() for look in shown.strip().split("\n\n")]
    assert len(looks) == 3 and looks[0][0].split()[:3] == ["task", "address", "steps/s"]
    assert [line.split()[0] for line in looks[0][1:3]] == ["ps/0", "worker/0"]
    fields = looks[1][1].split()
    assert fields[1] == cluster.task_address("ps", 0) and float(fields[3]) > 0
    assert looks[2][3].startswith("worker/1") and "lost: " in looks[2][3] and "refused" in looks[2][3]


def test_rates_stragglers_and_waits_are_named():
    addresses = {"ps/0": "a:1", "worker/0": "b:1", "worker/1": "c:1", "worker/2": "d:1"}
    before = {"worker/0": state(done=10, p50=0.01, received=10**6)}
    before["worker/0"].at = 100.0
    now = {"ps/0": state(steps=[(7.2, ["QueueDequeueV2 'q'"])]), "worker/0": state(done=30, p50=0.01, received=5 * 10**6),
           "worker/1": state(p50=0.012), "worker/2": state(p50=0.05)}
    now["worker/0"].at = 102.0
    shown = top.text(addresses, now, before)
    row = [line for line in shown.splitlines() if line.startswith("worker/0")][0].split()
    assert row == ["worker/0", "b:1", "10.0", "10.0", "10.0", "10.0", "1", "0", "0", "0", "2.00", "0.00", "0.00"]
    assert "straggler: the steps of worker/2 take 4.2 times as long as those of its job" in shown
    assert "waiting: a step of ps/0 for 7 s, for QueueDequeueV2 'q'" in shown


def test_a_cluster_is_named_in_several_ways(tmp_path):
    jobs = {"ps": ["h:1"], "worker": ["h:2", "h:3"]}
    (tmp_path / "cluster.json").write_text(json.dumps(jobs))
    expected = {"ps/0": "h:1", "worker/0": "h:2", "worker/1": "h:3"}
    for sources in ([str(tmp_path)], [str(tmp_path / "cluster.json")], ["ps=h:1", "worker=grpc://h:2,h:3"]):
        assert top.find_cluster(sources, {}) == expected
    assert top.find_cluster([], {"TF_CONFIG": json.dumps({"cluster": jobs})}) == expected
    assert top.find_cluster(["h:9"], {}) == {"task/0": "h:9"}
    with pytest.raises(SystemExit):
        top.main(["--count", "1"])


def test_damaged_numbers_are_refused():
    with pytest.raises((ValueError, struct.error)):
        top.State(b"\x0a\xff")
