"""QueueRunner: threads that keep a queue filled."""
import contextlib
import threading

import sluice as sl
from sluice import errors


class QueueRunner:
    """Runs enqueue operations of a queue, each in a thread of its own, until the input ends or a stop is asked for.

    When the last thread ends, the queue is closed, so that whoever dequeues gets what is left and then OUT_OF_RANGE. When
    the coordinator asks for a stop, `cancel_op` ends the enqueues that wait. An error of an enqueue is given to the
    coordinator, whose join raises it; without one it is kept in `exceptions_raised`.

    Args:
      queue: the queue.
      enqueue_ops: one operation for each thread; an operation may be listed several times.
      close_op, cancel_op: by default queue.close() and queue.close(cancel_pending_enqueues=True).
      queue_closed_exception_types: what an enqueue raises when its input has ended.
      queue_runner_def, import_scope: a QueueRunnerDef message to take all of that from.
    """

    def __init__(self, queue=None, enqueue_ops=None, close_op=None, cancel_op=None,
                 queue_closed_exception_types=None, queue_runner_def=None, import_scope=None):
        if queue_runner_def is not None:
            if queue is not None or enqueue_ops is not None:
                raise ValueError("queue_runner_def and queue are mutually exclusive.")
            queue, enqueue_ops, close_op, cancel_op, queue_closed_exception_types = \
                _parts_of(queue_runner_def, import_scope)
        if queue is None or not enqueue_ops:
            raise ValueError("Must provide queue and enqueue_ops.")
        closed = tuple(queue_closed_exception_types or (errors.OutOfRangeError,))
        if not all(isinstance(t, type) and issubclass(t, errors.OpError) for t in closed):
            raise TypeError("queue_closed_exception_types, when provided, must be a tuple of sl.errors types, found %s"
                            % (closed,))
        self._queue, self._enqueue_ops, self._closed = queue, list(enqueue_ops), closed
        self._close_op = queue.close() if close_op is None else close_op
        self._cancel_op = queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
        self._lock = threading.Lock()
        self._runs = {}  # session -> its threads that have not ended
        self.exceptions_raised = []

    queue = property(lambda self: self._queue)
    enqueue_ops = property(lambda self: self._enqueue_ops)
    close_op = property(lambda self: self._close_op)
    cancel_op = property(lambda self: self._cancel_op)
    queue_closed_exception_types = property(lambda self: self._closed)
    name = property(lambda self: self._queue.name, doc="The name of the queue.")

    def create_threads(self, sess, coord=None, daemon=False, start=False):
        """The threads that run the enqueue operations in `sess`; none when they run there already."""
        with self._lock:
            if self._runs.get(sess, 0) > 0:
                return []
            self._runs[sess] = len(self._enqueue_ops)
            self.exceptions_raised = []
        threads = [threading.Thread(target=self._run, args=(sess, op, coord), daemon=daemon,
                                    name="QueueRunner-%s" % getattr(op, "name", op)) for op in self._enqueue_ops]
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
                    del self._runs[sess]
            if last:
                with contextlib.suppress(Exception):  # the queue or the session may be closed by now
                    sess.run(self._close_op)

    def _cancel_on_stop(self, sess, coord):
        # Without a thread of ours there is nothing to cancel, and this one may not outlast the program.
        while not coord.wait_for_stop(0.2):
            with self._lock:
                if not self._runs.get(sess):
                    return
        with contextlib.suppress(Exception):
            sess.run(self._cancel_op)

    def to_proto(self, export_scope=None):
        """A QueueRunnerDef message; None when the queue is not in `export_scope`."""
        from sluice.protos import queue_runner_pb2
        prefix = export_scope.rstrip("/") + "/" if export_scope else ""
        if not self.name.startswith(prefix):
            return None

        def strip(op):
            return op.name[len(prefix):]

        return queue_runner_pb2.QueueRunnerDef(
            queue_name=self.name[len(prefix):], enqueue_op_name=[strip(op) for op in self._enqueue_ops],
            close_op_name=strip(self._close_op), cancel_op_name=strip(self._cancel_op),
            queue_closed_exception_types=[errors.error_code_from_exception_type(t) for t in self._closed])

    @staticmethod
    def from_proto(queue_runner_def, import_scope=None):
        """The queue runner that a QueueRunnerDef message describes."""
        return QueueRunner(queue_runner_def=queue_runner_def, import_scope=import_scope)


class _ImportedQueue:
    """A queue of which a message tells the name only."""

    def __init__(self, name):
        self.name = name


def _parts_of(definition, scope):
    graph = sl.get_default_graph()
    prefix = scope.rstrip("/") + "/" if scope else ""

    def find(name):
        return graph.as_graph_element(prefix + name)

    closed = tuple(errors.exception_type_from_error_code(code) for code in definition.queue_closed_exception_types)
    return (_ImportedQueue(find(definition.queue_name).name), [find(name) for name in definition.enqueue_op_name],
            find(definition.close_op_name), find(definition.cancel_op_name), closed)


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
