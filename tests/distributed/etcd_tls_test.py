"""TLS and mutual TLS to a real etcd: what works, and what each mistake with certificates says, naming etcd and the cure."""
import time

import pytest

import etcd
import sluice as sl
from certificates import Certificates
from sluice.distribute import _etcd
from sluice.distribute import _etcd_resolver
from sluice.distribute.cluster_resolver import EtcdClusterResolver

pytestmark = pytest.mark.skipif(etcd.missing() is not None, reason=str(etcd.missing()))
HOST = "127.0.0.1"
VARIABLES = dict(root="SLUICE_ETCD_CACERT", certificate="SLUICE_ETCD_CERT", key="SLUICE_ETCD_KEY")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name in ("etcd", "task"):
        made.make(name, HOST)
    for name in ("expired", "expired-task"):
        made.make(name, HOST, days=-1)
    made.make("elsewhere", "etcd.example.com")
    made.make("foreign", HOST, authority="other")
    return made


@pytest.fixture(scope="module")
def servers(certificates, tmp_path_factory):
    """The address of an etcd with this certificate, started when it is first asked for."""
    running = {}

    def start(certificate, mutual=False):
        if (certificate, mutual) not in running:
            path = certificates.folder + "/"
            tls = [path + certificate + ".pem", path + certificate + ".key"] if certificate else []
            server = etcd.Etcd(tmp_path_factory.mktemp("etcd"), *tls, authority=path + "ca.pem" if mutual else None)
            running[certificate, mutual] = server.start()
        return running[certificate, mutual]

    yield start
    for server in running.values():
        server.stop()


def environ(certificates, root="ca", certificate=None):
    """The variables of a task."""
    made = {VARIABLES["root"]: "%s/%s.pem" % (certificates.folder, root)} if root else {}
    if certificate:
        made[VARIABLES["certificate"]] = "%s/%s.pem" % (certificates.folder, certificate)
        made[VARIABLES["key"]] = "%s/%s.key" % (certificates.folder, certificate)
    return made


@pytest.mark.parametrize("mutual", [False, True])
def test_tasks_find_each_other(certificates, servers, mutual):
    variables = environ(certificates, certificate="task" if mutual else None)
    url = servers("etcd", mutual).url("run")
    jobs = {"ps": 1, "worker": 1}
    ps = EtcdClusterResolver(url, "ps", 0, address="h0:1", jobs=jobs, timeout_secs=60, environ=variables)
    worker = EtcdClusterResolver(url, "worker", 0, address="h1:1", timeout_secs=60, environ=variables)
    try:
        assert ps.cluster_spec() == worker.cluster_spec() == {"ps": ["h0:1"], "worker": ["h1:1"]}
        worker.close()
        end = time.monotonic() + 60
        while ps.members("worker"):  # a watch, which is a stream
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        worker.close()
        ps.close()


@pytest.mark.parametrize("server, task, error, found", [
    (dict(certificate="etcd"), dict(root="other"), "UnavailableError",
     ["its certificate (CN = etcd) was signed by CN = ca-authority", "add that authority to the root certificates", "SLUICE_ETCD_CACERT"]),
    (dict(certificate="expired"), dict(), "UnavailableError", ["its certificate (CN = expired) expired on ", "renew it"]),
    (dict(certificate="elsewhere"), dict(), "UnavailableError",
     ["its certificate is for etcd.example.com, not for '127.0.0.1'; make one with that name"]),
    (dict(certificate="etcd", mutual=True), dict(certificate="expired-task"), "FailedPreconditionError",
     ["this task's TLS certificate expired on ", "renew it", "SLUICE_ETCD_CERT"]),
    (dict(certificate="etcd", mutual=True), dict(), "UnavailableError",
     ["it wants a certificate of its callers; set the certificate and the key of this call", "SLUICE_ETCD_CERT and SLUICE_ETCD_KEY"]),
    (dict(certificate="etcd", mutual=True), dict(certificate="foreign"), "UnavailableError",
     ["this task's certificate", "the root certificates over there", "SLUICE_ETCD_CERT"]),
    (dict(certificate="etcd"), dict(root=None), "UnavailableError",
     ["it speaks TLS and this task does not; set the root certificates of this call", "SLUICE_ETCD_CACERT"]),
    (dict(certificate=None), dict(), "UnavailableError", ["it does not speak TLS, and this task does", "SLUICE_ETCD_CACERT"]),
    (dict(certificate="etcd"), dict(root=None, certificate="task"), "InvalidArgumentError", ["without root certificates", "SLUICE_ETCD_CACERT"]),
], ids=["authority", "expired etcd", "name", "expired task", "no certificate", "foreign certificate", "plain task", "plain etcd",
        "nobody to trust"])
def test_what_is_wrong_is_said_in_time(certificates, servers, server, task, error, found):
    at = servers(**server)
    client = _etcd.Client([at.address], timeout=6, tls=_etcd_resolver._tls(environ(certificates, **task)))
    start = time.monotonic()
    with pytest.raises(getattr(sl.errors, error)) as caught:
        client.get("/x")
    assert time.monotonic() - start < 30
    for text in ["etcd at " + at.address] + found:
        assert text in caught.value.message, caught.value.message


def test_files_that_cannot_be_read_are_named_with_their_variable(certificates):
    variables = dict(environ(certificates, certificate="task"), SLUICE_ETCD_KEY=certificates.folder + "/no.key")
    with pytest.raises(FileNotFoundError, match="SLUICE_ETCD_KEY cannot be read.*no.key"):
        EtcdClusterResolver("etcd://%s:1/x" % HOST, "worker", 0, jobs={"worker": 1}, environ=variables)
    variables["SLUICE_ETCD_KEY"] = certificates.folder + "/etcd.key"
    with pytest.raises(sl.errors.InvalidArgumentError, match="private key does not belong to its certificate.*SLUICE_ETCD_KEY"):
        EtcdClusterResolver("etcd://%s:1/x" % HOST, "worker", 0, jobs={"worker": 1}, environ=variables)
