"""Supervisor: a training program's session, threads and services, and basic_train_loop over one."""
import contextlib
import os
import time

import sluice as sl
from sluice import errors
from sluice.train._coordinator import Coordinator
from sluice.train._global_step import get_global_step, global_step as value_of_step
from sluice.train._graph_io import write_graph
from sluice.train._looper_thread import LooperThread
from sluice.train._saver import Saver
from sluice.train._session_epoch import SessionEpoch
from sluice.train._session_manager import SessionManager


class Supervisor:
    """Prepares a session from a folder of checkpoints, saves there, and writes summaries, in threads of its own.

        supervisor = sl.train.Supervisor(logdir="/tmp/model", is_chief=task == 0)
        with supervisor.managed_session(server.target) as session:
            while not supervisor.should_stop():
                session.run(train_op)

    New programs use MonitoredTrainingSession, which does the same with hooks instead of threads.

    Args:
      graph: the graph to train; the current one by default. It becomes final.
      ready_op, ready_for_local_init_op: give the names of what is not initialised.
      is_chief: whether this is the task that initialises, restores, saves and summarises; the others wait for it.
      init_op, init_feed_dict, init_fn: initialise the model where there is no checkpoint; init_fn(session).
      local_init_op, local_init_run_options: run in every session.
      logdir: folder of checkpoints and events; the services need one.
      summary_op, summary_writer: what is written every `save_summaries_secs`, and by which FileWriter.
      saver: what saves every `save_model_secs` to logdir/checkpoint_basename.
      global_step: the step's tensor.
      recovery_wait_secs: the longest pause between two looks at a model that is not ready.
      stop_grace_secs: how long `stop` waits for threads.
      session_manager: makes the sessions.
    What is left at USE_DEFAULT comes from the graph's collections or is made; None means none.
    """

    USE_DEFAULT = 0

    def __init__(self, graph=None, ready_op=USE_DEFAULT, ready_for_local_init_op=USE_DEFAULT, is_chief=True,
                 init_op=USE_DEFAULT, init_feed_dict=None, local_init_op=USE_DEFAULT, logdir=None,
                 summary_op=USE_DEFAULT, saver=USE_DEFAULT, global_step=USE_DEFAULT, save_summaries_secs=120,
                 save_model_secs=600, recovery_wait_secs=30, stop_grace_secs=120, checkpoint_basename="model.ckpt",
                 session_manager=None, summary_writer=USE_DEFAULT, init_fn=None, local_init_run_options=None):
        keys = sl.GraphKeys
        self._graph = graph or sl.get_default_graph()
        with self._graph.as_default():
            self._ready_op = _choose(ready_op, keys.READY_OP, sl.report_uninitialized_variables)
            self._ready_for_local_init_op = _choose(ready_for_local_init_op, keys.READY_FOR_LOCAL_INIT_OP, None)
            self._init_op = _choose(init_op, keys.INIT_OP, sl.global_variables_initializer)
            self._local_init_op = _choose(
                local_init_op, keys.LOCAL_INIT_OP,
                lambda: sl.group(sl.local_variables_initializer(), sl.tables_initializer()))
            self._saver = _choose(saver, keys.SAVERS, lambda: Saver() if sl.global_variables() else None)
            self._summary_op = _choose(summary_op, keys.SUMMARY_OP, sl.summary.merge_all)
            self._global_step = get_global_step() if _is_default(global_step) else global_step
        self._is_chief = is_chief
        self._coord = Coordinator()
        self._stop_grace_secs = stop_grace_secs
        self._init_feed_dict, self._init_fn = init_feed_dict, init_fn
        self._logdir = logdir if is_chief else None
        self._save_summaries_secs = save_summaries_secs if is_chief else None
        self._save_model_secs = save_model_secs if is_chief else None
        self._save_path = os.path.join(logdir, checkpoint_basename) if is_chief and logdir else None
        self._summary_writer = None
        if is_chief and not _is_default(summary_writer):
            self._summary_writer = summary_writer
        elif is_chief and logdir:
            self._summary_writer = sl.summary.FileWriter(logdir)
        self._epoch = SessionEpoch(logdir) if self._logdir and self._saver and save_model_secs else None
        self._session_manager = session_manager or SessionManager(
            local_init_op=self._local_init_op, ready_op=self._ready_op,
            ready_for_local_init_op=self._ready_for_local_init_op, graph=self._graph,
            recovery_wait_secs=recovery_wait_secs, local_init_run_options=local_init_run_options)
        if not is_chief:
            for op in self._graph.get_operations():
                if op.type in ("Variable", "VariableV2") and not op.device:
                    raise ValueError("When using replicas, all Variables must have their device set: %s" % op.name)
        self._graph.finalize()

    is_chief = property(lambda self: self._is_chief)
    session_manager = property(lambda self: self._session_manager)
    coord = property(lambda self: self._coord)
    init_op = property(lambda self: self._init_op)
    init_feed_dict = property(lambda self: self._init_feed_dict)
    ready_op = property(lambda self: self._ready_op)
    ready_for_local_init_op = property(lambda self: self._ready_for_local_init_op)
    summary_writer = property(lambda self: self._summary_writer)
    summary_op = property(lambda self: self._summary_op)
    save_summaries_secs = property(lambda self: self._save_summaries_secs)
    global_step = property(lambda self: self._global_step)
    saver = property(lambda self: self._saver)
    save_model_secs = property(lambda self: self._save_model_secs)
    save_path = property(lambda self: self._save_path)

    def prepare_or_wait_for_session(self, master="", config=None, wait_for_checkpoint=False, max_wait_secs=7200,
                                    start_standard_services=True):
        """A session of a model that is ready, with its services and queue runners started."""
        self._coord.clear_stop()
        if self._summary_writer:
            self._summary_writer.reopen()
        if self._is_chief:
            if self._epoch is not None:
                self._epoch.acquire()
                self._saver.session_epoch = self._epoch
            session = self._session_manager.prepare_session(
                master, init_op=self._init_op, saver=self._saver, checkpoint_dir=self._logdir,
                wait_for_checkpoint=wait_for_checkpoint, max_wait_secs=max_wait_secs, config=config,
                init_feed_dict=self._init_feed_dict, init_fn=self._init_fn)
            self._write_graph()
            if start_standard_services:
                self.start_standard_services(session)
        else:
            session = self._session_manager.wait_for_session(master, config=config, max_wait_secs=max_wait_secs)
        if start_standard_services:
            self.start_queue_runners(session)
        return session

    @contextlib.contextmanager
    def managed_session(self, master="", config=None, start_standard_services=True, close_summary_writer=True):
        """A block with a session; at its end the threads are stopped, and what one of them failed with is raised."""
        session = None
        try:
            session = self.prepare_or_wait_for_session(master, config, start_standard_services=start_standard_services)
            yield session
        except Exception as e:  # pylint: disable=broad-except
            self.request_stop(e)
        finally:
            try:
                self.stop(close_summary_writer=close_summary_writer)
            finally:
                if session is not None:
                    with contextlib.suppress(errors.OpError):
                        session.close()

    def start_standard_services(self, sess):
        """Starts the threads that write summaries, count steps and save; returns them."""
        if not self._is_chief:
            raise RuntimeError("Only chief supervisor can start standard services. Because only chief supervisors can "
                               "write events.")
        if not self._logdir:
            sl.logging.warning("Standard services need a 'logdir' passed to the SessionManager")
            return []
        if self._global_step is not None and self._summary_writer:
            self._log("START", step=value_of_step(sess, self._global_step))
        threads = []
        if self._save_summaries_secs and self._summary_writer:
            if self._summary_op is not None:
                threads.append(_SummaryThread(self, sess, self._save_summaries_secs))
            if self._global_step is not None:
                threads.append(_StepCounterThread(self, sess, self._save_summaries_secs))
        if self._saver and self._save_model_secs:
            threads.append(_CheckpointThread(self, sess, self._save_model_secs))
        for thread in threads:
            thread.start()
        return threads

    def start_queue_runners(self, sess, queue_runners=None):
        """Starts queue runners, by default those of the graph; returns their threads."""
        if queue_runners is None:
            queue_runners = self._graph.get_collection(sl.GraphKeys.QUEUE_RUNNERS)
        return [t for runner in queue_runners
                for t in runner.create_threads(sess, coord=self._coord, daemon=True, start=True)]

    def loop(self, timer_interval_secs, target, args=None, kwargs=None):
        """Calls target(*args, **kwargs) in a thread until the stop; see LooperThread."""
        return LooperThread.loop(self._coord, timer_interval_secs, target, args, kwargs)

    def stop(self, threads=None, close_summary_writer=True, ignore_live_threads=False):
        """Stops the threads and waits for them; raises what one of them failed with."""
        self._coord.request_stop()
        try:
            self._coord.join(threads, stop_grace_period_secs=self._stop_grace_secs,
                             ignore_live_threads=ignore_live_threads)
        finally:
            if close_summary_writer and self._summary_writer:
                self._log("STOP")
                self._summary_writer.close()

    def request_stop(self, ex=None):
        """Asks the threads to stop; `ex` is what `stop` raises."""
        self._coord.request_stop(ex)

    def should_stop(self):
        """Whether a stop was asked for."""
        return self._coord.should_stop()

    def stop_on_exception(self):
        """A block whose exception asks for a stop."""
        return self._coord.stop_on_exception()

    def wait_for_stop(self):
        """Blocks until a stop is asked for."""
        self._coord.wait_for_stop()

    def summary_computed(self, sess, summary, global_step=None):
        """Writes a summary that the program computed itself."""
        if not self._summary_writer:
            raise RuntimeError("Writing a summary requires a summary writer.")
        if global_step is None and self._global_step is not None:
            global_step = value_of_step(sess, self._global_step)
        self._summary_writer.add_summary(summary, global_step)

    # The names of an earlier era.
    PrepareSession = prepare_or_wait_for_session
    StartQueueRunners = start_queue_runners
    StartStandardServices = start_standard_services
    Stop = stop
    RequestStop = request_stop
    Loop = loop
    ShouldStop = should_stop
    StopOnException = stop_on_exception
    WaitForStop = wait_for_stop
    SummaryComputed = summary_computed

    def _write_graph(self):
        if not self._logdir:
            return
        try:
            write_graph(self._graph, self._logdir, "graph.pbtxt")
        except ImportError as e:
            sl.logging.log_first_n(sl.logging.WARN, "graph.pbtxt is not written: %s", 1, e)
        if self._summary_writer:
            self._summary_writer.add_graph(self._graph)

    def _log(self, status, path=None, step=None):
        log = sl.SessionLog(status=getattr(sl.SessionLog, status), checkpoint_path=path)
        self._summary_writer.add_session_log(log, step)


class _SummaryThread(LooperThread):
    """Writes the summaries."""

    def __init__(self, supervisor, session, seconds):
        super().__init__(supervisor.coord, seconds)
        self._supervisor, self._session = supervisor, session

    def run_loop(self):
        s = self._supervisor
        if s.global_step is None:
            s.summary_writer.add_summary(self._session.run(s.summary_op))
        else:
            summary, step = self._session.run([s.summary_op, s.global_step])
            s.summary_writer.add_summary(summary, int(step))


class _StepCounterThread(LooperThread):
    """Logs, and writes as a summary, how many steps a second are made."""

    def __init__(self, supervisor, session, seconds):
        super().__init__(supervisor.coord, seconds)
        self._supervisor, self._session = supervisor, session

    def start_loop(self):
        self._before = time.monotonic(), value_of_step(self._session, self._supervisor.global_step)

    def run_loop(self):
        from sluice import _wire
        s = self._supervisor
        now = time.monotonic(), value_of_step(self._session, s.global_step)
        (seconds, steps), self._before = (now[0] - self._before[0], now[1] - self._before[1]), now
        rate = steps / seconds if seconds > 0 else float("inf")
        tag = "%s/sec" % s.global_step.op.name
        sl.logging.info("%s: %g", tag, rate)
        s.summary_writer.add_summary(_wire.encode((1, _wire.encode((1, tag), (2, _wire.Float(rate))))), now[1])


class _CheckpointThread(LooperThread):
    """Saves the model."""

    def __init__(self, supervisor, session, seconds):
        super().__init__(supervisor.coord, seconds)
        self._supervisor, self._session = supervisor, session

    def run_loop(self):
        s = self._supervisor
        sl.logging.info("Saving checkpoint to path %s", s.save_path)
        s.saver.save(self._session, s.save_path, global_step=s.global_step)
        if s.summary_writer and s.global_step is not None:
            s._log("CHECKPOINT", s.save_path, value_of_step(self._session, s.global_step))


def _is_default(value):
    return isinstance(value, int) and value == Supervisor.USE_DEFAULT


def _choose(value, key, make):
    """`value` unless it is USE_DEFAULT; then the first of a collection, or what `make` makes, which is put there."""
    if not _is_default(value):
        return value
    found = sl.get_collection(key)
    if found:
        if len(found) > 1:
            sl.logging.info("Found %d %s operations. Returning the first one.", len(found), key)
        return found[0]
    made = make() if make else None
    if made is not None:
        sl.add_to_collection(key, made)
    return made


def basic_train_loop(supervisor, train_step_fn, args=None, kwargs=None, master=""):
    """Calls train_step_fn(session, *args, **kwargs) until the supervisor stops, in a new session when a server is lost.

    At most 10 sessions are made within 10 minutes; then the error is raised.
    """
    losses = []
    while True:
        try:
            with supervisor.managed_session(master) as session:
                while not supervisor.should_stop():
                    train_step_fn(session, *(args or ()), **(kwargs or {}))
            return
        except (errors.AbortedError, errors.UnavailableError) as e:
            now = time.monotonic()
            losses = [t for t in losses if now - t < 600] + [now]
            if len(losses) > 10:
                raise
            sl.logging.info("The session was lost; a new one is made. Error: %s", e)
            time.sleep(min(5.0, 0.05 * 2 ** len(losses)))
