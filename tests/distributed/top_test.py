"""The live view: the numbers of running tasks, lost tasks, stragglers and long waits, and ways to name a cluster."""
import io
import json
import math
import socket
import struct
import threading

import pytest

import sluice as sl
from sluice import _wire
from sluice.distribute import top
from sluice.distribute.launcher import free_ports


def state(done=0, p50=0.0, received=0, steps=(), slow=(), stuck="", error="", effective=None, incarnation=7):
    """A State as a server would send it."""
    bucket = max(0, int(16 * math.log2(p50 / 1e-6))) if p50 else 0
    fields = [(1, _wire.encode((1, "session"))), (4, done), (9, p50), (10, p50), (11, p50), (13, 65.0), (14, 0.5),
              (3, _wire.encode((1, "/job:ps/replica:0/task:0"), (2, received // 1000), (3, received), (4, "shm"),
                               (5, received / 1e6))),
              (15, error or None), (16, 3.0), (17, _wire.varint(bucket) + _wire.varint(10)),
              (18, _wire.varint(bucket) + _wire.varint(10))]
    for seconds, waiting in steps:
        fields.append((2, _wire.encode((2, seconds), *[(3, w) for w in waiting])))
    fields += [(19, _wire.encode((1, n), (2, "its part of a step"), (3, 0.05), (4, 0.01))) for n in slow]
    if stuck:
        fields.append((20, _wire.encode((1, _wire.encode((1, "s"), (3, 1), (5, stuck))))))
    if effective:
        fields.append((21, _wire.encode(*enumerate(effective, 1))))
    # The encoder has no fixed64: field 12.
    return top.State(_wire.encode(*fields) + b"\x61" + incarnation.to_bytes(8, "little"))


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
    looks = [look for look in shown.split("\n\n\n") if look.strip()]
    heads = [line.split() for line in shown.splitlines() if line.startswith("task ")]
    assert len(heads) == 3 and heads[0][:4] == ["task", "address", "incarnation", "up"]
    rows = [line.split() for line in shown.splitlines() if line.startswith("ps/0 ") and cluster.task_address("ps", 0) in line]
    assert rows[0][1] == cluster.task_address("ps", 0) and float(rows[1][6]) > 0 and len(rows[0][2]) == 8
    assert "ps/0 -> worker/0" in shown and "worker/0 -> ps/0" not in shown.splitlines()[0]
    lost = [line for line in shown.splitlines() if line.startswith("worker/1")]
    assert len(lost) == 1 and "lost: " in lost[0] and "refused" in lost[0]
    assert looks


def test_a_half_dead_cluster_is_shown_within_the_time(capsys):
    cluster = sl.train.ClusterSpec({"ps": ["localhost:%d" % free_ports("localhost", 1)[0]]})
    server = sl.train.Server(cluster, "ps", 0)
    with socket.socket() as silent:  # takes connections and says nothing
        silent.bind(("localhost", 0))
        silent.listen()
        named = ["ps=" + cluster.task_address("ps", 0), "worker=localhost:%d,localhost:%d" % (
            silent.getsockname()[1], free_ports("localhost", 1)[0])]
        assert top.main(named + ["--once", "--json", "--timeout", "1"]) == 1
    shown = json.loads(capsys.readouterr().out)
    alive, stopped, dead = shown["tasks"]
    assert alive["task"] == "ps/0" and alive["uptime"] > 0 and "lost" not in alive
    assert stopped["lost"] and "refused" in dead["lost"]
    del server


def test_rates_stragglers_and_waits_are_named():
    addresses = {"ps/0": "a:1", "worker/0": "b:1", "worker/1": "c:1", "worker/2": "d:1"}
    before = {"worker/0": state(done=10, p50=0.01, received=10**6), "worker/1": state(done=100)}
    before["worker/0"].at = before["worker/1"].at = 100.0
    now = {"ps/0": state(steps=[(7.2, ["QueueDequeueV2 'q'"])], error="disk full\nmore", slow=["replica 2"],
                         stuck="step 5 stands still"),
           "worker/0": state(done=30, p50=0.01, received=5 * 10**6, slow=["/job:worker/replica:0/task:2"],
                             effective=(120.0, 96.0, 4.0, 10.0, 2.0, 8.0, 2)),
           "worker/1": state(done=5, p50=0.012, incarnation=8), "worker/2": state(p50=0.05)}
    now["worker/0"].at = now["worker/1"].at = 102.0
    shown = top.text(top.view(addresses, now, before))
    lines = {line.split()[0]: line.split() for line in shown.splitlines() if line}
    assert lines["worker/0"] == ["worker/0", "b:1", "00000000", "1m05s", "0.5s", "10.0", "10.0", "10.0", "10.0",
                                 lines["worker/0"][9], "1", "0", "0", "0", "0.00", "0.00"]
    assert float(lines["worker/0"][9]) == pytest.approx(10, rel=0.05)
    assert lines["worker/1"][5] == "-"  # it has started anew: no rate
    assert [float(x) for x in lines["worker/*"][4:7]] == pytest.approx([12, 50, 50], rel=0.05)
    wire = [line.split() for line in shown.splitlines() if line.startswith("ps/0 -> worker/0")][0]
    assert wire == ["ps/0", "->", "worker/0", "shm", "2.00", "2000", "2.00", "5.00", "5000"]
    for text in ("straggler: its part of a step of worker/2 takes 50.0 ms, 5.0 times the median of its peers",
                 "straggler: its part of a step of replica 2 takes 50.0 ms, 5.0 times the median of its peers",
                 "waiting: a step of ps/0 for 7 s, for QueueDequeueV2 'q'",
                 "stuck, says the master of ps/0: step 5 stands still",
                 "last error of ps/0, 3.0s ago: disk full",
                 "effective time of the training at worker/0: 80.0 % of 120.0 s; lost in 2 failures: detecting 4.0 s, restarting "
                 "10.0 s, restoring 2.0 s, re-executing 8.0 s"):
        assert text in shown.splitlines(), shown
    assert "more" not in shown


def test_the_view_is_redrawn_in_place_and_fits_the_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")
    out = Terminal()
    top._draw("\n".join("line %d, which is long" % i for i in range(9)), out)
    assert out.getvalue() == "\033[H" + "".join("line %d, which is lo\033[K\n" % i for i in range(3)) + "\033[J"


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
