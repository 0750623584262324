"""Summaries for TensorBoard: the ops that make them, and FileWriter, which writes event files.

The Python side knows events as bytes; message objects (Summary, Event, SessionLog) need the protobuf package only when
a program asks for them by name.
"""
import atexit
import os
import queue
import re
import socket
import threading
import time
import weakref

import sluice as sl
from sluice import _records, _wire, raw_ops

_MESSAGES = {"Summary": "summary_pb2", "SummaryDescription": "summary_pb2", "SummaryMetadata": "summary_pb2",
             "Event": "event_pb2", "SessionLog": "event_pb2", "TaggedRunMetadata": "event_pb2"}


def __getattr__(name):
    if name in _MESSAGES:
        import importlib
        return getattr(getattr(importlib.import_module("sluice.protos"), _MESSAGES[name]), name)
    raise AttributeError("module 'sluice.summary' has no attribute %r" % name)


# The ops.
def _scope(name, family, values):
    """The name scope of a summary op, and a function from the scope to the tag."""
    name = _clean(name)
    family = _clean(family) if family else None
    scope = sl.name_scope("%s/%s" % (family, name) if family else name, values=values)
    return scope, lambda s: "%s/%s" % (family, s.rstrip("/")) if family else s.rstrip("/")


def _clean(name):
    if name is None:
        return None
    new = re.sub(r"[^-/\w.]", "_", str(name)).lstrip("/")
    if new != name:
        sl.logging.info("Summary name %s is illegal; using %s instead.", name, new)
    return new


def _collect(summary, collections):
    sl.add_to_collections([sl.GraphKeys.SUMMARIES] if collections is None else collections, summary)
    return summary


def scalar(name, tensor, collections=None, family=None):
    """A summary of one number."""
    scope, tag = _scope(name, family, [tensor])
    with scope as s:
        return _collect(raw_ops.ScalarSummary(tag(s), tensor, name=s), collections)


def histogram(name, values, collections=None, family=None):
    """A summary of how the values of a tensor are distributed."""
    scope, tag = _scope(name, family, [values])
    with scope as s:
        return _collect(raw_ops.HistogramSummary(tag(s), values, name=s), collections)


def image(name, tensor, max_outputs=3, collections=None, family=None):
    """A summary of up to `max_outputs` images of a [batch, height, width, 1, 3 or 4] tensor."""
    scope, tag = _scope(name, family, [tensor])
    with scope as s:
        return _collect(raw_ops.ImageSummary(tag(s), tensor, max_images=max_outputs, name=s), collections)


def audio(name, tensor, sample_rate, max_outputs=3, collections=None, family=None):
    """A summary of up to `max_outputs` sounds of a [batch, frames(, channels)] tensor with values in [-1, 1]."""
    scope, tag = _scope(name, family, [tensor])
    with scope as s:
        rate = sl.convert_to_tensor(sample_rate, dtype=sl.float32, name="sample_rate")
        return _collect(raw_ops.AudioSummaryV2(tag(s), tensor, rate, max_outputs=max_outputs, name=s), collections)


def tensor_summary(name, tensor, summary_description=None, collections=None, summary_metadata=None, family=None,
                   display_name=None):
    """A summary that holds the tensor itself."""
    if summary_metadata is None:
        metadata = _wire.encode((2, display_name), (3, summary_description))
    else:
        metadata = summary_metadata if isinstance(summary_metadata, bytes) else summary_metadata.SerializeToString()
    scope, tag = _scope(name, family, [tensor])
    with scope as s:
        return _collect(raw_ops.TensorSummaryV2(tag(s), tensor, metadata, name=s), collections)


def text(name, tensor, collections=None):
    """A summary of strings, shown as Markdown."""
    if tensor.dtype != sl.string:
        raise ValueError("Expected tensor %s to have dtype string, got %s" % (tensor.name, tensor.dtype))
    return tensor_summary(name, tensor, collections=collections,
                          summary_metadata=_wire.encode((1, _wire.encode((1, "text")))))


def merge(inputs, collections=None, name=None):
    """One summary with the values of all `inputs`."""
    name = _clean(name)
    with sl.name_scope(name, "Merge", inputs):
        merged = raw_ops.MergeSummary(list(inputs), name=name)
        return _collect(merged, collections or [])


def merge_all(key="summaries", scope=None, name=None):
    """One summary with all summaries of the graph, or None when there are none."""
    found = sl.get_collection(key, scope=scope)
    return merge(found, name=name) if found else None


# The files.
_open_writers = weakref.WeakSet()


@atexit.register
def _flush_all():
    for writer in list(_open_writers):
        writer.close()


class _EventFile:
    """One event file and the thread that writes it."""

    def __init__(self, logdir, max_queue, flush_secs, suffix):
        os.makedirs(logdir, exist_ok=True)
        name = "events.out.tfevents.%010d.%s.%d.%d%s" % (time.time(), socket.gethostname(), os.getpid(),
                                                         next(_counter), suffix or "")
        self.path = os.path.join(logdir, name)
        self._file = open(self.path, "wb")
        self._queue = queue.Queue(max_queue)
        self._flush_secs = flush_secs
        self._error = None
        self.put(_wire.encode((1, time.time()), (3, "brain.Event:2")))
        self._thread = threading.Thread(target=self._run, name="sluice-events", daemon=True)
        self._thread.start()

    def put(self, event):
        """Queues the bytes of an event; an error of an earlier write is raised here."""
        if self._error is not None:
            raise self._error
        self._queue.put(event)

    def _run(self):
        last = time.monotonic()
        while True:
            wait = max(0.0, last + self._flush_secs - time.monotonic())
            try:
                item = self._queue.get(timeout=wait)
            except queue.Empty:
                item = threading.Event()
            try:
                if item is None:
                    self._file.close()
                elif isinstance(item, threading.Event):
                    if not self._error:
                        self._file.flush()
                    last = time.monotonic()
                elif not self._error:
                    self._file.write(_records.frame(item))
            except (OSError, ValueError) as e:
                self._error = self._error or OSError("%s could not be written: %s" % (self.path, e))
            if isinstance(item, threading.Event):
                item.set()
            if item is None:
                return

    def flush(self):
        """Waits until everything queued is in the file."""
        done = threading.Event()
        self._queue.put(done)
        done.wait()
        if self._error is not None:
            raise self._error

    def close(self):
        self._queue.put(None)
        self._thread.join()
        if self._error is not None:
            raise self._error


def _count():
    n = 0
    while True:
        yield n
        n += 1


_counter = _count()


class FileWriter:
    """Writes events to a file in `logdir`, from a thread of its own: adding an event does not wait for the disk."""

    def __init__(self, logdir, graph=None, max_queue=10, flush_secs=120, graph_def=None, filename_suffix=None,
                 session=None):
        self._logdir = os.fspath(logdir)
        self._settings = (max_queue, flush_secs, filename_suffix)
        self._session = session
        self._tags = set()
        self._file = _EventFile(self._logdir, *self._settings)
        _open_writers.add(self)
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def get_logdir(self):
        return self._logdir

    def _put(self, global_step, *fields):
        if self._file is None:
            sl.logging.warning("Attempting to use a closed FileWriter. The operation will be a noop unless the "
                               "FileWriter is explicitly reopened.")
            return
        self._file.put(_wire.encode((1, time.time()), (2, None if global_step is None else int(global_step)), *fields))

    def add_summary(self, summary, global_step=None):
        """Adds a Summary: the bytes that a summary op gives, or the message."""
        self._put(global_step, (5, _bytes(summary)))

    def add_event(self, event):
        """Adds an Event message, or its bytes, as it is."""
        if self._file is not None:
            self._file.put(_bytes(event))

    def add_graph(self, graph, global_step=None, graph_def=None):
        """Adds the graph, for TensorBoard's graph page."""
        if graph is not None and graph_def is not None:
            raise ValueError("Please pass only graph, or graph_def (deprecated), but not both.")
        if graph_def is None:
            if not isinstance(graph, sl.Graph) and not hasattr(graph, "SerializeToString"):
                raise TypeError("The passed graph must be an instance of `Graph`, got %r" % (graph,))
            graph_def = _graph_bytes(graph) if isinstance(graph, sl.Graph) else graph
        self._put(global_step, (4, _bytes(graph_def)))

    def add_meta_graph(self, meta_graph_def, global_step=None):
        """Adds a MetaGraphDef."""
        self._put(global_step, (9, _bytes(meta_graph_def)))

    def add_run_metadata(self, run_metadata, tag, global_step=None):
        """Adds the statistics of one step under a tag of its own."""
        if tag in self._tags:
            raise ValueError("The provided tag was already used for this event type: %s" % tag)
        self._tags.add(tag)
        self._put(global_step, (8, _wire.encode((1, tag), (2, _bytes(run_metadata)))))

    def add_session_log(self, session_log, global_step=None):
        """Adds a SessionLog (start, stop or checkpoint)."""
        self._put(global_step, (7, _bytes(session_log)))

    def flush(self):
        """Waits until everything added is in the file."""
        if self._file is not None:
            self._file.flush()

    def close(self):
        """Writes what is queued and closes the file."""
        if self._file is not None:
            file, self._file = self._file, None
            _open_writers.discard(self)
            file.close()

    def reopen(self):
        """Opens a new event file after close()."""
        if self._file is None:
            self._file = _EventFile(self._logdir, *self._settings)
            _open_writers.add(self)


def _graph_bytes(graph):
    """The bytes of a graph's GraphDef, without a message object where the native graph is there to give them."""
    native = getattr(graph, "_native", None)
    return native.graph_def(True) if native is not None else graph.as_graph_def(add_shapes=True)


def _bytes(message):
    return bytes(message) if isinstance(message, (bytes, bytearray)) else message.SerializeToString()


class FileWriterCache:
    """One shared FileWriter for each folder."""

    _writers = {}
    _lock = threading.Lock()

    @staticmethod
    def get(logdir):
        """The writer of `logdir`, made on the first call."""
        with FileWriterCache._lock:
            if logdir not in FileWriterCache._writers:
                FileWriterCache._writers[logdir] = FileWriter(logdir, graph=sl.get_default_graph())
            return FileWriterCache._writers[logdir]

    @staticmethod
    def clear():
        """Closes and forgets all writers."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._writers.values():
                writer.close()
            FileWriterCache._writers = {}
