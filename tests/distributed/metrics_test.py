"""What a server tells Prometheus: the format, what the numbers mean, and that strangers cannot keep it from answering."""
import re
import socket
import urllib.error
import urllib.request

import pytest

import sluice as sl
from sluice.distribute.launcher import free_ports
from sluice.train._effective_time import EffectiveTime

_SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse(text):
    """{(name, labels): value}, having checked the format line by line."""
    assert text.endswith("\n")
    values, types, family = {}, {}, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ", 3)[2]
            assert family not in types, "%s begins twice" % family
        elif line.startswith("# TYPE "):
            name, kind = line.split(" ")[2:]
            assert name == family and kind in ("counter", "gauge", "histogram")
            types[name] = kind
        else:
            name, labels, value = _SAMPLE.match(line).groups()
            allowed = {family} if types[family] != "histogram" else {family + s for s in ("_bucket", "_sum", "_count")}
            assert name in allowed, line
            assert types[family] != "counter" or name.endswith("_total")
            found = _LABEL.findall(labels or "")
            assert ",".join('%s="%s"' % pair for pair in found) == (labels or ""), line
            assert (name, tuple(found)) not in values, "%s is there twice" % line
            values[name, tuple(found)] = float(value)
    return values


def scrape(server):
    with urllib.request.urlopen("http://%s/metrics" % server.metrics_address, timeout=30) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return parse(reply.read().decode())


def value(values, name, **labels):
    return sum(v for (n, have), v in values.items() if n == name and labels.items() <= dict(have).items())


@pytest.fixture(scope="module")
def servers():
    ports = free_ports("localhost", 2)
    cluster = {"ps": ["localhost:%d" % ports[0]], "worker": ["localhost:%d" % ports[1]]}
    return {job: sl.train.Server(cluster, job, 0, metrics_port=0) for job in cluster}


def test_steps_calls_transfers_memory_and_checkpoints_are_counted(servers, tmp_path):
    with sl.Graph().as_default():
        with sl.device("/job:ps/task:0"):
            v = sl.get_variable("v", initializer=[1.0] * 1000)
            bad = sl.check_numerics(v * float("nan"), "bad")
        with sl.device("/job:worker/task:0"):
            y = v + 1
        saver = sl.train.Saver([v])
        before = {job: scrape(s) for job, s in servers.items()}
        with sl.Session(servers["worker"].target) as session:
            session.run(v.initializer)
            for _ in range(5):
                session.run(y)
            with pytest.raises(sl.errors.InvalidArgumentError):
                session.run(bad)
            ran = scrape(servers["worker"])
            saver.save(session, str(tmp_path / "m"))
            after = {job: scrape(s) for job, s in servers.items()}
    more = lambda job, name, **labels: value(after[job], name, **labels) - value(before[job], name, **labels)
    assert more("worker", "sluice_steps_total", role="master", code="OK") >= 7
    assert more("worker", "sluice_steps_total", role="master", code="INVALID_ARGUMENT") == 1
    assert more("ps", "sluice_steps_total", role="worker", code="INVALID_ARGUMENT") == 1
    assert more("worker", "sluice_steps_started_total", role="master") == more("worker", "sluice_steps_total", role="master")
    assert more("worker", "sluice_step_seconds_count", role="master", outcome="ok") >= 7
    assert more("worker", "sluice_step_seconds_sum", role="master", outcome="ok") > 0
    assert more("worker", "sluice_calls_total", method="MasterService/RunCallable", code="OK") >= 7
    assert more("ps", "sluice_calls_total", method="WorkerService/RecvTensor", code="OK") >= 5
    assert more("ps", "sluice_call_sent_tensor_bytes_total", method="WorkerService/RecvTensor") >= 5 * 4000
    ps, worker = "/job:ps/replica:0/task:0", "/job:worker/replica:0/task:0"
    # The client of the worker fetched v + 1, and the initializer nothing: all that crossed were five values of v.
    crossed = lambda values: value(values, "sluice_received_tensor_bytes_total", **{"from": ps, "to": worker})
    assert crossed(ran) - crossed(before["worker"]) == 5 * 4000
    assert value(after["worker"], "sluice_sessions_open", role="master") == 1
    assert value(after["ps"], "sluice_sessions_open", role="worker") == 1
    assert value(after["ps"], "sluice_memory_bytes", use="peak") > 0
    assert more("ps", "sluice_checkpoint_parts_total", outcome="saved") >= 1
    assert value(after["ps"], "process_resident_memory_bytes") > 1e6
    assert value(scrape(servers["ps"]), "sluice_sessions_open", role="worker") == 0


def test_where_the_time_of_a_training_went_is_told(servers):
    now = [0.0]
    time = EffectiveTime(lambda: now[0], {"SLUICE_DOWN_SECONDS": "2.5"})
    told = lambda what: value(scrape(servers["worker"]), "sluice_training_seconds_total", spent=what)
    now[0] = 1.0
    time.restored(0.25)
    time.opened(step=4)
    assert (told("restarting"), told("restoring"), told("productive")) == (3.25, 0.25, 0)
    now[0] = 3.0
    time.stepped(5)
    now[0] = 4.5
    time.failed()
    now[0] = 8.5
    time.restored(0.5)
    time.opened(step=4)
    now[0] = 9.5
    time.stepped(5)
    now[0] = 11.5
    time.stepped(6)
    values = scrape(servers["worker"])
    spent = {dict(labels)["spent"]: v for (name, labels), v in values.items() if name == "sluice_training_seconds_total"}
    assert spent == {"productive": 4.0, "detecting": 1.5, "restarting": 6.75, "restoring": 0.75, "reexecuting": 1.0}
    assert value(values, "sluice_training_wall_seconds_total") == sum(spent.values()) == 14.0
    assert value(values, "sluice_training_failures_total") == 2


def test_missed_heartbeats_are_counted(servers):
    ports = free_ports("localhost", 2)
    cluster = {"ps": ["localhost:%d" % ports[0]], "worker": ["localhost:%d" % ports[1]]}
    ps, worker = (sl.train.Server(cluster, job, 0, metrics_port=0) for job in ("ps", "worker"))
    with sl.Graph().as_default():
        with sl.device("/job:ps/task:0"):
            x = sl.constant(1.0) + sl.placeholder_with_default(1.0, [])
        with sl.Session(worker.target) as session:
            assert session.run(x) == 2.0
            ps._native.stop()
            for _ in range(300):
                missed = value(scrape(worker), "sluice_heartbeats_missed_total", task="/job:ps/replica:0/task:0")
                if missed:
                    break
                try:
                    session.run(x, options=sl.RunOptions(timeout_in_ms=200))
                except sl.errors.OpError:
                    pass
            assert missed >= 1


def test_hostile_peers_do_not_keep_it_from_answering(servers):
    host, port = servers["ps"].metrics_address.split(":")
    crowd = [socket.create_connection((host, int(port))) for _ in range(100)]
    for i, peer in enumerate(crowd):
        try:
            peer.sendall((b"GET /metrics HTTP/1.1\r\n", b"\x16\x03\x01", b"GET /" + b"a" * 9000)[i % 3])
        except OSError:  # put out already
            pass
    assert scrape(servers["ps"])
    for path, code in (("/", 404), ("/metrics/../etc", 404)):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen("http://%s:%s%s" % (host, port, path), timeout=30)
        assert error.value.code == code
    request = urllib.request.Request("http://%s:%s/metrics" % (host, port), data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=30)
    assert error.value.code == 405
    with urllib.request.urlopen("http://%s:%s/healthz" % (host, port), timeout=30) as reply:
        assert reply.read() == b"ok\n"
    for peer in crowd:
        peer.close()


def test_ports_in_use_and_no_port_at_all(servers, monkeypatch):
    with pytest.raises(sl.errors.AlreadyExistsError, match="in use: choose another"):
        sl.train.Server({"local": ["localhost:0"]}, metrics_port=int(servers["ps"].metrics_address.split(":")[1]))
    assert sl.train.Server({"local": ["localhost:0"]}).metrics_address is None
    monkeypatch.setenv("SLUICE_METRICS_PORT", "0")
    assert re.match(r"localhost:\d+$", sl.train.Server({"local": ["localhost:0"]}).metrics_address)
