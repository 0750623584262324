"""Clusters with TLS: what they compute, and what each mistake with certificates says, naming the task and the cure."""
import subprocess
import sys

import pytest

from certificates import Certificates
from sluice.distribute.launcher import free_ports

_TASK = """
import sys
import sluice as sl
server = sl.train.Server({"ps": [sys.argv[1]], "worker": [sys.argv[2]]}, "ps", 0)
print("listening", flush=True)
server.join()
"""
_CLIENT = """
import sys
import sluice as sl
server = sl.train.Server({"ps": [sys.argv[1]], "worker": [sys.argv[2]]}, "worker", 0)
with sl.device("/job:ps/task:0"):
    x = sl.constant(20) + sl.placeholder_with_default(1, [])
with sl.device("/job:worker/task:0"):
    y = x * 2
with sl.Session(server.target, config=sl.ConfigProto(operation_timeout_in_ms=8000)) as session:
    try:
        print("value", session.run(y))
    except sl.errors.OpError as e:
        print(type(e).__name__, e.message)
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("tls"))
    made.make("task")
    made.make("client")
    made.make("elsewhere", host="ps.example.com")
    made.make("foreign", authority="other")
    return made


def run(task_environ, client_environ):
    """What a worker says that computes with a parameter server, each in an environment of its own."""
    addresses = ["localhost:%d" % p for p in free_ports("localhost", 2)]
    task = subprocess.Popen([sys.executable, "-c", _TASK] + addresses, env=task_environ, stdout=subprocess.PIPE, text=True)
    try:
        assert task.stdout.readline() == "listening\n"
        done = subprocess.run([sys.executable, "-c", _CLIENT] + addresses, env=client_environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()
    finally:
        task.kill()
        task.wait()


@pytest.mark.parametrize("mutual", [False, True])
def test_a_cluster_computes(certificates, mutual):
    environ = certificates.environ("task", mutual=mutual)
    assert run(environ, certificates.environ("client", mutual=mutual)) == "value 42"


@pytest.mark.parametrize("task, client, found", [
    (dict(certificate="elsewhere"), dict(certificate="client"), "its certificate is for ps.example.com, not for 'localhost'"),
    (dict(certificate="foreign"), dict(certificate="client"), "was signed by CN = other-authority, whom this task's root certificates do not name"),
    (dict(certificate="task"), dict(root=None), "it speaks TLS and this task does not; set SLUICE_TLS_ROOT"),
    (dict(root=None), dict(certificate="client"), "it does not speak TLS, and this task does; set SLUICE_TLS_CERT"),
    (dict(certificate="task", mutual=True), dict(certificate="foreign"), "SLUICE_TLS_ROOT"),
], ids=["name", "authority", "plain client", "plain task", "foreign client"])
def test_what_is_wrong_is_said_in_time(certificates, task, client, found):
    message = run(certificates.environ(**task), certificates.environ(**client))
    assert message.startswith("UnavailableError") and found in message, message
    assert "/job:ps/replica:0/task:0" in message


def test_a_certificate_without_its_key_does_not_start(certificates):
    environ = certificates.environ("task")
    environ["SLUICE_TLS_KEY"] = certificates.folder + "/client.key"
    done = subprocess.run([sys.executable, "-c", _TASK, "localhost:0", "localhost:1"], env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "does not belong to its certificate" in done.stderr
