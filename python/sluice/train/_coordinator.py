"""Coordinator: several threads that stop together, and QueueRunner, which fills a queue from threads."""
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


class QueueRunner:
    """Runs enqueue operations of a queue, each in a thread of its own, until the input ends or a stop is asked for."""

    def __init__(self, queue=None, enqueue_ops=None, close_op=None, cancel_op=None,
                 queue_closed_exception_types=None, queue_runner_def=None, import_scope=None):
        if queue is None or not enqueue_ops:
            raise ValueError("A QueueRunner needs a queue and its enqueue_ops")
        self._queue, self._enqueue_ops = queue, list(enqueue_ops)
        self._close_op = queue.close() if close_op is None else close_op
        self._cancel_op = queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
        self._closed = tuple(queue_closed_exception_types or (errors.OutOfRangeError,))
        self._lock = threading.Lock()
        self._runs = {}
        self.exceptions_raised = []

    queue = property(lambda self: self._queue)
    enqueue_ops = property(lambda self: self._enqueue_ops)
    close_op = property(lambda self: self._close_op)
    cancel_op = property(lambda self: self._cancel_op)
    name = property(lambda self: self._queue.name)

    def create_threads(self, sess, coord=None, daemon=False, start=False):
        """The threads that run the enqueue operations in `sess`; none when they run there already."""
        with self._lock:
            if self._runs.get(sess, 0) > 0:
                return []
            self._runs[sess] = len(self._enqueue_ops)
        threads = [threading.Thread(target=self._run, args=(sess, op, coord), daemon=daemon,
                                    name="QueueRunner-%s" % op.name) for op in self._enqueue_ops]
        if coord is not None:
            threads.append(threading.Thread(target=self._cancel_on_stop, args=(sess, coord), daemon=daemon,
                                            name="QueueRunner-%s-cancel" % self.name))
        for thread in threads:
            if coord is not None:
                coord.register_thread(thread)
            if start:
                thread.start()
        return threads

    def _run(self, sess, op, coord):
        try:
            while coord is None or not coord.should_stop():
                sess.run(op)
        except self._closed:
            pass
        except Exception as e:  # pylint: disable=broad-except
            if coord is None:
                self.exceptions_raised.append(e)
                raise
            if not (coord.should_stop() and isinstance(e, errors.CancelledError)):
                coord.request_stop(e)
        finally:
            with self._lock:
                self._runs[sess] -= 1
                last = self._runs[sess] == 0
            if last:
                with contextlib.suppress(Exception):  # the session may be closed by now
                    sess.run(self._close_op)

    def _cancel_on_stop(self, sess, coord):
        coord.wait_for_stop()
        with contextlib.suppress(Exception):
            sess.run(self._cancel_op)


def add_queue_runner(qr, collection=sl.GraphKeys.QUEUE_RUNNERS):
    """Adds a queue runner to the graph's collection."""
    sl.add_to_collection(collection, qr)


def start_queue_runners(sess=None, coord=None, daemon=True, start=True, collection=sl.GraphKeys.QUEUE_RUNNERS):
    """Starts the graph's queue runners; returns their threads."""
    sess = sess or sl.get_default_session()
    if sess is None:
        raise ValueError("Cannot start queue runners: No default session is registered. Use `with sess.as_default()` "
                         "or pass an explicit session to sl.train.start_queue_runners(sess=sess)")
    with sess.graph.as_default():
        return [t for qr in sl.get_collection(collection) for t in qr.create_threads(sess, coord, daemon, start)]
