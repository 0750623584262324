"""An etcd on this machine, for a test: one member, with everything it writes in one folder."""
import os
import shutil
import signal
import subprocess
import time

from sluice.distribute._etcd import Client
from sluice.distribute.launcher import free_ports


def missing():
    """What this machine lacks to run etcd, or None."""
    return None if shutil.which("etcd") else "no etcd: install etcd-server (./dev setup cluster)"


class Etcd:
    """Runs from `start` to `stop`; what is in it outlives both.

    With `certificate` and `key`, paths of PEM files, its clients need TLS; with `authority` they need certificates which that
    one has signed.
    """

    def __init__(self, folder, certificate=None, key=None, authority=None):
        self._folder = str(folder)
        self._tls = ["--cert-file", certificate, "--key-file", key] if certificate else []
        self._tls += ["--client-cert-auth", "--trusted-ca-file", authority] if authority else []
        client, peer = free_ports("127.0.0.1", 2)
        self.address, self._peer = "127.0.0.1:%d" % client, "http://127.0.0.1:%d" % peer
        self._process = None

    def url(self, prefix):
        return "etcd://%s/%s" % (self.address, prefix)

    def start(self, deadline=60):
        os.makedirs(self._folder, exist_ok=True)
        at = ("https://" if self._tls else "http://") + self.address
        path = os.path.join(self._folder, "log")
        with open(path, "ab") as log:
            self._process = subprocess.Popen(
                ["etcd", "--data-dir", os.path.join(self._folder, "data"), "--listen-client-urls", at,
                 "--advertise-client-urls", at, "--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer,
                 "--initial-cluster", "default=" + self._peer] + self._tls, stdout=log, stderr=log)
        if not self._tls:
            Client([self.address], timeout=deadline).get("/")
            return self
        end = time.monotonic() + deadline
        while True:  # no client needs to get in
            with open(path, encoding="utf-8", errors="replace") as log:
                said = log.read()
            if "ready to serve client requests" in said:
                return self
            assert self._process.poll() is None and time.monotonic() < end, said
            time.sleep(0.05)

    def kill(self):
        """Ends it as a crash would."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def __enter__(self):
        return self.start()

    def __exit__(self, *unused):
        self.stop()
