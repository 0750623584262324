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


class LooperThread(threading.Thread):
    """A thread that calls a function again and again until the coordinator asks for a stop.

    Args:
      coord: the coordinator; an exception of the function stops all its threads.
      timer_interval_secs: seconds between the beginnings of two calls; None calls without a pause.
      target, args, kwargs: the function. A subclass may override run_loop instead.
    """

    def __init__(self, coord, timer_interval_secs, target=None, args=None, kwargs=None):
        super().__init__(daemon=True)
        if not isinstance(coord, Coordinator):
            raise ValueError("'coord' argument must be a Coordinator: %s" % (coord,))
        self._coord, self._interval = coord, timer_interval_secs
        self._call = target, args or (), kwargs or {}
        coord.register_thread(self)

    @staticmethod
    def loop(coord, timer_interval_secs, target, args=None, kwargs=None):
        """Starts a thread that calls target(*args, **kwargs)."""
        thread = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        thread.start()
        return thread

    def run(self):
        with self._coord.stop_on_exception():
            self.start_loop()
            following = time.monotonic()
            while not self._coord.should_stop():
                self.run_loop()
                if self._interval is not None:
                    following += self._interval
                    if self._coord.wait_for_stop(max(0.0, following - time.monotonic())):
                        break
            self.stop_loop()

    def start_loop(self):
        """Before the first call."""

    def stop_loop(self):
        """After the last call."""

    def run_loop(self):
        """One call."""
        target, args, kwargs = self._call
        if target is not None:
            target(*args, **kwargs)
