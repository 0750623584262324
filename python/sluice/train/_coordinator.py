"""Coordinator: several threads that stop together."""
import contextlib
import sys
import threading
import time

import sluice as sl
from sluice import errors


class Coordinator:
    """Lets the threads of a program end together: any of them calls request_stop, all of them watch should_stop.

    An exception given to request_stop (or raised inside stop_on_exception) is raised again by join.
    """

    def __init__(self, clean_stop_exception_types=None):
        self._clean = (errors.OutOfRangeError,) if clean_stop_exception_types is None \
            else tuple(clean_stop_exception_types)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error = None
        self._threads = set()
        self.joined = False

    def request_stop(self, ex=None):
        """Asks all threads to stop; `ex` (an exception or sys.exc_info()) is what join raises."""
        if isinstance(ex, tuple):
            ex = ex[1]
        with self._lock:
            if ex is not None and isinstance(ex, self._clean):
                ex = None
            if self.joined and ex is not None:
                raise ex
            if not self._stop.is_set():
                self._error = ex
                self._stop.set()

    def clear_stop(self):
        """Forgets that a stop was asked for."""
        with self._lock:
            self.joined = False
            self._error = None
            self._stop.clear()

    def should_stop(self):
        """Whether a stop was asked for."""
        return self._stop.is_set()

    def wait_for_stop(self, timeout=None):
        """Waits for a stop; True when it came."""
        return self._stop.wait(timeout)

    @contextlib.contextmanager
    def stop_on_exception(self):
        """A block whose exception stops all threads."""
        try:
            yield
        except BaseException:  # the thread ends here: join raises it in the thread that waits
            self.request_stop(sys.exc_info())

    def register_thread(self, thread):
        """Makes join wait for a thread."""
        with self._lock:
            self._threads.add(thread)

    def raise_requested_exception(self):
        """Raises the exception that was given to request_stop."""
        if self._error is not None:
            raise self._error

    def join(self, threads=None, stop_grace_period_secs=120, ignore_live_threads=False):
        """Waits for the threads to end; after a stop was asked for, so long at most."""
        with self._lock:
            waiting = self._threads.union(threads or ())
        while any(t.is_alive() for t in waiting) and not self.wait_for_stop(0.1):
            pass
        deadline = time.monotonic() + stop_grace_period_secs
        while any(t.is_alive() for t in waiting) and time.monotonic() < deadline:
            for thread in waiting:
                thread.join(0.01)
        with self._lock:
            self.joined = True
            self._threads = set()
        self.raise_requested_exception()
        late = [t.name for t in waiting if t.is_alive()]
        if late and not ignore_live_threads:
            raise RuntimeError("Coordinator stopped with threads still running: %s" % " ".join(late))
        if late:
            sl.logging.info("Coordinator stopped with threads still running: %s", " ".join(late))
