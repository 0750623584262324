"""MonitoredSession: a session with hooks around every step, which outlives the servers it runs on."""
import collections
import contextlib
import inspect
import threading
import time

import sluice as sl
from sluice import errors
from sluice.train import _hooks
from sluice.train._coordinator import Coordinator
from sluice.train._effective_time import EffectiveTime
from sluice.train._queue_runner import start_queue_runners
from sluice.train._scaffold import Scaffold
from sluice.train._session_creator import ChiefSessionCreator, WorkerSessionCreator
from sluice.train._session_epoch import SessionEpoch
from sluice.train.session_run_hook import SessionRunArgs, SessionRunContext, SessionRunValues

USE_DEFAULT = object()
_WAKE_SECS = 5.0  # what the program's step has to end by itself when a thread of its session has failed
_RECOVERABLE = (errors.AbortedError, errors.UnavailableError)


class MonitoredSession:
    """A session with hooks around every step, queue runners, and recovery.

        with sl.train.MonitoredSession(session_creator=creator, hooks=[...]) as session:
            while not session.should_stop():
                session.run(train_op)

    When a step ends in AbortedError or UnavailableError (a server was lost), the session is closed, a new one is made,
    which restores the last checkpoint where a chief makes it, and the step is run in it. The error is given to the
    caller when that happened more than `restarts[0]` times in `restarts[1]` seconds, or when no session could be made
    for `recovery_secs`.

    The graph is final while the session lives.
    """

    restarts = (10, 600.0)
    recovery_secs = 7200.0
    _recover = True

    def __init__(self, session_creator=None, hooks=None, stop_grace_period_secs=120):
        self._creator = session_creator or ChiefSessionCreator()
        self._hooks = list(hooks or [])
        self._grace = stop_grace_period_secs
        self._failures = collections.deque()  # when sessions were lost
        self._stop = self._closed = False
        self._session = self._coordinator = None
        self._target = sl.get_default_graph()
        self._time, self._seen = EffectiveTime(), None
        self._was_final = self._target.finalized
        for hook in self._hooks:
            hook.begin()
        try:
            self._global_step = sl.train.get_global_step(self._target)
        except (RuntimeError, TypeError):  # several, or something else of that name
            self._global_step = None
        if self._recover:
            self._open_patiently()
        else:
            self._open()

    # The session within.
    def _open(self):
        coordinator = Coordinator(clean_stop_exception_types=())
        before = getattr(self._creator, "restore_seconds", 0.0)
        session = self._creator.create_session()
        self._time.restored(getattr(self._creator, "restore_seconds", 0.0) - before)
        try:
            if sl.get_collection(sl.GraphKeys.QUEUE_RUNNERS):
                start_queue_runners(session, coordinator)
            for hook in self._hooks:
                hook.after_create_session(session, coordinator)
        except BaseException:
            self._shut(session, coordinator)
            raise
        self._session, self._coordinator = session, coordinator
        self._time.opened(self._step_of(session))
        threading.Thread(target=self._end_steps_of_failed_threads, args=(session, coordinator), daemon=True).start()

    def _end_steps_of_failed_threads(self, session, coordinator):
        """When a thread has failed, the program's own step may wait for ever for what that thread would have done.

        A thread that ends in order wakes it, by closing a queue; where nothing does the session is closed, which ends the
        step, and the program goes on with what the thread failed with.
        """
        coordinator.wait_for_stop()
        try:
            coordinator.raise_requested_exception()
        except Exception as e:  # pylint: disable=broad-except
            deadline = time.monotonic() + _WAKE_SECS
            while self._session is session and time.monotonic() < deadline:
                time.sleep(0.1)
            if self._session is session:
                sl.logging.info("A thread of the session has failed: %s. The step that is running is ended.", e)
                with contextlib.suppress(errors.OpError):
                    session.close()

    def _step_of(self, session):
        """The global step, where there is one and it is known. Asked once for each session."""
        try:
            return None if self._global_step is None else int(session.run(self._global_step))
        except errors.OpError:
            return None

    def _open_patiently(self):
        """Tries until there is a session, with pauses; gives up after `recovery_secs`."""
        pause, deadline = 0.05, time.monotonic() + self.recovery_secs
        while True:
            try:
                self._open()
                return
            except _RECOVERABLE as e:
                pause = min(2 * pause, 5.0)
                if time.monotonic() + pause > deadline:
                    raise errors.UnavailableError(None, None, "no session could be made for %d s. Last error: %s"
                                                  % (self.recovery_secs, e)) from e
                sl.logging.info("A session could not be made; trying again in %.1f s. Error: %s", pause, e)
                time.sleep(pause)

    def _shut(self, session, coordinator):
        """Stops the threads of a session that is given up, and closes it. Raises nothing."""
        try:
            coordinator.request_stop()
            coordinator.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
        except Exception as e:  # pylint: disable=broad-except
            sl.logging.debug("while a session was given up: %s", e)
        finally:
            try:
                session.close()
            except errors.OpError as e:
                sl.logging.debug("while a session was given up: %s", e)

    def _recover_from(self, error):
        """Gives up the session and makes a new one, unless the budget of restarts is spent."""
        most, within = self.restarts
        self._time.failed()
        now = time.monotonic()
        self._failures.append(now)
        while now - self._failures[0] > within:
            self._failures.popleft()
        if len(self._failures) > most:
            raise type(error)(None, None, "the session was lost %d times within %d s, which is more than the %d restarts "
                              "allowed. Last error: %s" % (len(self._failures), within, most, error)) from error
        sl.logging.info("An error was raised. This may be due to a preemption in a connected worker or parameter server. "
                        "The current session will be closed and a new session will be created. Error: %s", error)
        session, self._session = self._session, None
        self._shut(session, self._coordinator)
        self._open_patiently()

    def _attempt(self, call):
        """call(), again in a new session whenever the servers are lost."""
        while True:
            if self._closed or self._session is None:
                raise RuntimeError("Run called even after should_stop requested.")
            try:
                self._seen = None
                result = call()
                self._time.stepped(self._seen)
                return result
            except _RECOVERABLE as e:
                if not self._recover:
                    raise
                self._recover_from(e)
            except Exception as e:
                # A thread that failed may be why this step did.
                try:
                    self._coordinator.raise_requested_exception()
                except _RECOVERABLE as cause:
                    if not self._recover:
                        raise
                    self._recover_from(cause)
                    continue
                except Exception as cause:  # pylint: disable=broad-except
                    raise cause from e
                raise

    # What a program calls.
    @property
    def graph(self):
        return None if self._session is None else self._session.graph

    def raw_session(self):
        """The plain session within."""
        return self._session

    @property
    def effective_time(self):
        """How much of the time since the session was made went into steps, and what failures cost: its `productive`,
        `detect`, `restart`, `restore`, `reexecute`, `wall` (seconds), `failures`, `ratio` and `text()`."""
        return self._time

    _tf_sess = raw_session  # the name that programs of TensorFlow 1 reach for

    def should_stop(self):
        """Whether a hook, a thread or an end of input asked for a stop. Raises what a thread failed with."""
        if self._closed or self._stop or self._session is None:
            return True
        if not self._coordinator.should_stop():
            return False
        try:
            self._coordinator.raise_requested_exception()
        except _RECOVERABLE as e:
            if not self._recover:
                raise
            self._recover_from(e)
            return False
        return True

    def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
        """Session.run with the hooks around it."""
        if self._stop:
            raise RuntimeError("Run called even after should_stop requested.")
        return self._attempt(lambda: self._step(fetches, feed_dict, options, run_metadata))

    def run_step_fn(self, step_fn):
        """Calls step_fn(step_context): its `session` is the plain session, its `run_with_hooks` is this `run`, and its
        `request_stop()` ends the loop around."""
        names = list(inspect.signature(step_fn).parameters)
        if names not in (["step_context"], ["self", "step_context"]):
            raise ValueError("`step_fn` may either have one `step_context` argument, or `self` and `step_context` "
                             "arguments if it's an instance method. Got %s instead." % (tuple(names),))
        return self._attempt(lambda: step_fn(MonitoredSession.StepContext(self._session, self._step_with_hooks)))

    class StepContext:
        """What run_step_fn gives to its function."""

        def __init__(self, session, run_with_hooks_fn):
            self._session, self._run = session, run_with_hooks_fn

        @property
        def session(self):
            return self._session

        def run_with_hooks(self, *args, **kwargs):
            return self._run(*args, **kwargs)

        def request_stop(self):
            raise StopIteration("step_fn has requested the iterations to stop.")

    def _step_with_hooks(self, fetches, feed_dict=None, options=None, run_metadata=None):
        if self._stop:
            raise RuntimeError("Run called even after should_stop requested.")
        return self._step(fetches, feed_dict, options, run_metadata)

    def _step(self, fetches, feed_dict, options, run_metadata):
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), self._session)
        asked, feeds, of_hooks = {"caller": fetches}, dict(feed_dict or {}), set()
        for hook in self._hooks:
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                asked[hook] = request.fetches
            for key, value in (request.feed_dict or {}).items():
                if key in feeds:
                    raise RuntimeError("Same tensor is fed by %s. Conflict: %s" % (
                        "two hooks" if key in of_hooks else "a SessionRunHook and user", key))
                feeds[key] = value
                of_hooks.add(key)
            if request.options is not None:
                options = _merge(options, request.options)
        if options is not None and run_metadata is None:
            run_metadata = sl.RunMetadata()
        keys = list(asked)
        arguments = {} if options is None else {"options": options}
        if run_metadata is not None:
            arguments["run_metadata"] = run_metadata
        began = time.monotonic()
        values = dict(zip(keys, self._session.run([asked[k] for k in keys], feeds or None, **arguments)))
        self._time.ran(time.monotonic() - began)
        if self._global_step is not None:  # where a hook has asked for it
            for key in keys:
                if asked[key] is self._global_step:
                    self._seen = int(values[key])
        for hook in self._hooks:
            hook.after_run(context, SessionRunValues(values.get(hook), options, run_metadata))
        self._stop = self._stop or context.stop_requested
        return values["caller"]

    def close(self):
        """Calls the hooks' end and closes the session."""
        self._close(None)

    def _close(self, error):
        if self._closed:
            return
        try:
            if error is None and self._session is not None:
                for hook in self._hooks:
                    hook.end(self._session)
        finally:
            self._closed = True
            self._time.publish()
            if self._time.failures:
                sl.logging.info("%s", self._time.text())
            session, self._session = self._session, None
            try:
                if session is not None:
                    self._leave(session, error)
            finally:
                if not self._was_final:
                    self._target._finalized = False

    def _leave(self, session, error):
        """Stops the threads, raising what one of them failed with unless there is an error already."""
        try:
            self._coordinator.request_stop()
            self._coordinator.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
        except Exception:  # pylint: disable=broad-except
            if error is None:
                raise
        finally:
            try:
                session.close()
            except errors.OpError as e:
                sl.logging.debug("while the session was closed: %s", e)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # The end of the input is how a loop over it ends.
        if isinstance(error, (errors.OutOfRangeError, StopIteration)):
            error = None
        self._close(error)
        return kind is not None and error is None


class SingularMonitoredSession(MonitoredSession):
    """MonitoredSession without recovery."""

    _recover = False

    def __init__(self, hooks=None, scaffold=None, master="", config=None, checkpoint_dir=None,
                 stop_grace_period_secs=120, checkpoint_filename_with_path=None):
        super().__init__(ChiefSessionCreator(scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path),
                         hooks, stop_grace_period_secs)


def _merge(options, more):
    if options is None:
        return more
    merged = sl.RunOptions()
    merged.CopyFrom(options)
    merged.trace_level = max(options.trace_level, more.trace_level)
    merged.timeout_in_ms = max(options.timeout_in_ms, more.timeout_in_ms)
    merged.output_partition_graphs = options.output_partition_graphs or more.output_partition_graphs
    return merged


def MonitoredTrainingSession(master="", is_chief=True, checkpoint_dir=None, scaffold=None, hooks=None,  # pylint: disable=invalid-name
                             chief_only_hooks=None, save_checkpoint_secs=USE_DEFAULT,
                             save_summaries_steps=USE_DEFAULT, save_summaries_secs=USE_DEFAULT, config=None,
                             stop_grace_period_secs=120, log_step_count_steps=100, max_wait_secs=7200,
                             save_checkpoint_steps=USE_DEFAULT, summary_dir=None, save_graph_def=True,
                             chief_lease=None):
    """A MonitoredSession for training.

    The chief restores from `checkpoint_dir`, saves there every 10 minutes (or as `save_checkpoint_secs` or
    `save_checkpoint_steps` say), writes summaries every 100 steps to `summary_dir` (by default the same folder) and
    counts steps a second; one chief at a time can commit checkpoints there. The others wait at most `max_wait_secs`
    for the chief to have prepared the model, and run `hooks` alone.

    Args:
      config: a ConfigProto, or a function that gives one for each session.
      chief_lease: what says who the chief is where that can change while others run: an EtcdClusterResolver. Its epochs
        are those of the sessions, so that an ousted chief can neither step nor commit.
    """
    scaffold = scaffold or Scaffold()
    if not is_chief:
        return MonitoredSession(WorkerSessionCreator(scaffold, master, config, max_wait_secs), hooks,
                                stop_grace_period_secs)
    summaries_every = _either(save_summaries_steps, save_summaries_secs, (100, None))
    checkpoint_every = _either(save_checkpoint_steps, save_checkpoint_secs, (None, 600))
    creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir)
    every = list(chief_only_hooks or [])
    summary_dir = summary_dir or checkpoint_dir
    if summary_dir:
        if log_step_count_steps and log_step_count_steps > 0:
            every.append(_hooks.StepCounterHook(every_n_steps=log_step_count_steps, output_dir=summary_dir))
        if any(summaries_every):
            every.append(_hooks.SummarySaverHook(*summaries_every, output_dir=summary_dir, scaffold=scaffold))
    if checkpoint_dir and any(checkpoint_every):
        steps, secs = checkpoint_every
        saver = _hooks.CheckpointSaverHook(checkpoint_dir, save_secs=secs, save_steps=steps, scaffold=scaffold,
                                           save_graph_def=save_graph_def)
        creator._epoch = saver.session_epoch = SessionEpoch(checkpoint_dir, chief_lease)
        every.append(saver)
    return MonitoredSession(creator, every + list(hooks or []), stop_grace_period_secs)


def _either(steps, secs, default):
    """(steps, seconds) of a timer: what was given, or the default when neither was."""
    if steps is USE_DEFAULT and secs is USE_DEFAULT:
        return default
    return tuple(None if x is USE_DEFAULT or not x or x < 0 else x for x in (steps, secs))
