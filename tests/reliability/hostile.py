"""Listeners at the address of a task that are no task: each does something else to who connects."""
import os
import random
import socket
import subprocess
import sys
import threading

KINDS = ("dead", "unreachable", "silent", "closing", "random", "http", "settings", "paused")


class Hostile:
    """Something that listens (or does not) at `port`.

        dead         nobody listens: connections are refused
        unreachable  connections are never made: the line of those who wait is full
        silent       connections are made, and never a byte is answered
        closing      connections are closed at once
        random       random bytes are sent, without end
        http         the answer of a web server
        settings     an HTTP/2 greeting, and then nothing
        paused       a true task that stands still
    """

    def __init__(self, kind, seed=0):
        self.kind, self._random, self._open, self._process = kind, random.Random(seed), [], None
        if kind == "paused":
            program = "import sluice as sl; s = sl.train.Server.create_local_server(); print(s.target, flush=True); s.join()"
            self._process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
            self.port = int(self._process.stdout.readline().strip().rsplit(":", 1)[1])
            return
        self._socket = socket.socket()
        self._socket.bind(("localhost", 0))
        self.port = self._socket.getsockname()[1]
        if kind == "dead":
            self._socket.close()
        elif kind == "unreachable":
            self._socket.listen(0)
            for _ in range(4):
                self._open.append(socket.socket())
                self._open[-1].setblocking(False)
                self._open[-1].connect_ex(("localhost", self.port))
        else:
            self._socket.listen(64)
            threading.Thread(target=self._accept, daemon=True).start()

    def begin(self):
        """From now on the task stands still, if it is one."""
        if self._process is not None:
            os.kill(self._process.pid, 19)  # SIGSTOP

    def end(self):
        if self._process is not None:
            os.kill(self._process.pid, 18)  # SIGCONT

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
        else:
            self._socket.close()
        for one in self._open:
            one.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._treat, args=[connection], daemon=True).start()

    def _treat(self, connection):
        try:
            if self.kind == "closing":
                connection.close()
            elif self.kind == "random":
                while True:
                    connection.sendall(self._random.randbytes(512))
                    if not connection.recv(1 << 16):
                        return
            elif self.kind == "http":
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/html\r\n\r\nok")
                connection.close()
            elif self.kind == "settings":
                connection.sendall(b"\0\0\0\4\0\0\0\0\0")
        except OSError:
            pass
