"""Sessions that initialise, restore, run hooks and recover: MonitoredTrainingSession and its parts."""
import sluice as sl
from sluice import errors
from sluice.train import _hooks, session_run_hook
from sluice.train._checkpoints import get_checkpoint_state, latest_checkpoint
from sluice.train._coordinator import Coordinator, start_queue_runners
from sluice.train._saver import Saver

USE_DEFAULT = object()
_RECOVERABLE = (errors.AbortedError, errors.UnavailableError)


class Scaffold:
    """The parts of a graph that a session needs to start: initialisation, readiness, saver, summaries."""

    def __init__(self, init_op=None, init_feed_dict=None, init_fn=None, ready_op=None, ready_for_local_init_op=None,
                 local_init_op=None, summary_op=None, saver=None, copy_from_scaffold=None,
                 local_init_feed_dict=None):
        given = dict(init_op=init_op, init_feed_dict=init_feed_dict, init_fn=init_fn, ready_op=ready_op,
                     ready_for_local_init_op=ready_for_local_init_op, local_init_op=local_init_op,
                     summary_op=summary_op, saver=saver, local_init_feed_dict=local_init_feed_dict)
        for name, value in given.items():
            if value is None and copy_from_scaffold is not None:
                value = getattr(copy_from_scaffold, name)
            setattr(self, name, value)

    def finalize(self):
        """Adds what was not given, and makes the graph final."""
        keys = sl.GraphKeys
        if self.init_op is None:
            self.init_op = self._once(keys.INIT_OP, lambda: sl.group(
                sl.global_variables_initializer(), *sl.get_collection("resources_initializer"), name="init"))
        if self.ready_op is None:
            self.ready_op = self._once(keys.READY_OP, sl.report_uninitialized_variables)
        if self.local_init_op is None:
            self.local_init_op = self._once(keys.LOCAL_INIT_OP, lambda: sl.group(
                sl.local_variables_initializer(), sl.tables_initializer(), name="local_init"))
        if self.summary_op is None:
            self.summary_op = self._once(keys.SUMMARY_OP, sl.summary.merge_all)
        if self.saver is None:
            found = sl.get_collection(keys.SAVERS)
            self.saver = found[0] if found else Saver(sharded=True, allow_empty=True)
            if not found:
                sl.add_to_collection(keys.SAVERS, self.saver)
        self.saver.build()
        sl.get_default_graph().finalize()
        return self

    @staticmethod
    def _once(key, make):
        found = sl.get_collection(key)
        if len(found) > 1:
            raise RuntimeError("More than one item found in the collection %r: %s" % (key, found))
        if found:
            return found[0]
        made = make()
        if made is not None:
            sl.add_to_collection(key, made)
        return made


class _Creator:
    """Makes sessions: restored from the newest checkpoint, or initialised."""

    def __init__(self, scaffold=None, master="", config=None, checkpoint_dir=None,
                 checkpoint_filename_with_path=None):
        self._scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._dir, self._file = checkpoint_dir, checkpoint_filename_with_path

    def create_session(self):
        """A session whose variables are set."""
        scaffold = self._scaffold.finalize()
        session = sl.Session(self._master or "", graph=sl.get_default_graph(), config=self._config)
        path = self._file or (latest_checkpoint(self._dir) if self._dir else None)
        if path:
            scaffold.saver.restore(session, path)
            state = get_checkpoint_state(self._dir) if self._dir else None
            if state is not None:
                scaffold.saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
        else:
            self._initialise(session, scaffold)
        if scaffold.local_init_op is not None:
            session.run(scaffold.local_init_op, feed_dict=scaffold.local_init_feed_dict)
        if scaffold.ready_op is not None:
            missing = session.run(scaffold.ready_op)
            if len(missing):
                raise RuntimeError("Variables not initialized: %s"
                                   % ", ".join(sorted(n.decode() if isinstance(n, bytes) else str(n) for n in missing)))
        return session

    def _initialise(self, session, scaffold):
        if scaffold.init_op is not None:
            session.run(scaffold.init_op, feed_dict=scaffold.init_feed_dict)
        if scaffold.init_fn:
            try:
                scaffold.init_fn(scaffold, session)
            except TypeError:
                scaffold.init_fn(session)


class ChiefSessionCreator(_Creator):
    """Makes the session of a chief, which initialises or restores the variables."""


class MonitoredSession:
    """A session with hooks around every step, queue runners, and recovery: when a server is lost, a new session is
    made from the last checkpoint and the step is run again."""

    _recover = True

    def __init__(self, session_creator=None, hooks=None, stop_grace_period_secs=120):
        self._creator = session_creator or ChiefSessionCreator()
        self._hooks = list(hooks or [])
        self._grace = stop_grace_period_secs
        self._stop = self._closed = False
        self._session = self._coordinator = None
        for hook in self._hooks:
            hook.begin()
        self._open()

    def _open(self):
        self._coordinator = Coordinator()
        self._session = self._creator.create_session()
        start_queue_runners(self._session, self._coordinator)
        for hook in self._hooks:
            hook.after_create_session(self._session, self._coordinator)

    @property
    def graph(self):
        return None if self._session is None else self._session.graph

    def raw_session(self):
        """The plain session within."""
        return self._session

    def should_stop(self):
        """Whether a hook, a thread or an end of input asked for a stop."""
        return self._closed or self._stop or self._coordinator.should_stop()

    def run(self, fetches, feed_dict=None, options=None, run_metadata=None):
        """Session.run with the hooks around it."""
        while True:
            if self._closed:
                raise RuntimeError("Run called even after should_stop requested.")
            try:
                return self._step(fetches, feed_dict, options, run_metadata)
            except _RECOVERABLE as e:
                if not self._recover:
                    raise
                sl.logging.info("An error was raised. This may be due to a preemption in a connected worker. A new "
                                "session will be created. Error: %s", e)
                self._leave(None)
                self._open()

    def _step(self, fetches, feed_dict, options, run_metadata):
        context = session_run_hook.SessionRunContext(session_run_hook.SessionRunArgs(fetches, feed_dict), self._session)
        asked, feeds = {"caller": fetches}, dict(feed_dict or {})
        for hook in self._hooks:
            request = hook.before_run(context)
            if request is None:
                continue
            if request.fetches is not None:
                asked[hook] = request.fetches
            for key, value in (request.feed_dict or {}).items():
                if key in feeds:
                    raise RuntimeError("Same tensor is fed by two hooks, or by a hook and the caller: %s" % (key,))
                feeds[key] = value
            if request.options is not None:
                options = _merge(options, request.options)
        if options is not None and run_metadata is None:
            run_metadata = sl.RunMetadata()
        keys = list(asked)
        arguments = {} if options is None else {"options": options}
        if run_metadata is not None:
            arguments["run_metadata"] = run_metadata
        values = dict(zip(keys, self._session.run([asked[k] for k in keys], feeds or None, **arguments)))
        for hook in self._hooks:
            hook.after_run(context, session_run_hook.SessionRunValues(values.get(hook), options, run_metadata))
        self._stop = self._stop or context.stop_requested
        return values["caller"]

    def run_step_fn(self, step_fn):
        """Calls step_fn(step_context), whose run_with_hooks is run; its session is the plain one."""
        outer = self

        class StepContext:  # pylint: disable=missing-docstring
            session = outer._session

            @staticmethod
            def run_with_hooks(*args, **kwargs):
                return outer.run(*args, **kwargs)

            @staticmethod
            def request_stop():
                outer._stop = True

        return step_fn(StepContext())

    def close(self):
        """Calls the hooks' end and closes the session."""
        self._end(None)

    def _end(self, error):
        if self._closed:
            return
        try:
            if error is None:
                for hook in self._hooks:
                    hook.end(self._session)
        finally:
            self._closed = True
            self._leave(error)

    def _leave(self, error):
        """Stops the threads and closes the session."""
        try:
            self._coordinator.request_stop()
            self._coordinator.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
        except Exception:  # pylint: disable=broad-except
            if error is None:
                raise
        finally:
            session, self._session = self._session, None if self._closed else self._session
            session.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # The end of the input is how a loop over it ends.
        if isinstance(error, (errors.OutOfRangeError, StopIteration)):
            error = None
        self._end(error)
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
    return merged


def MonitoredTrainingSession(master="", is_chief=True, checkpoint_dir=None, scaffold=None, hooks=None,  # pylint: disable=invalid-name
                             chief_only_hooks=None, save_checkpoint_secs=USE_DEFAULT,
                             save_summaries_steps=USE_DEFAULT, save_summaries_secs=USE_DEFAULT, config=None,
                             stop_grace_period_secs=120, log_step_count_steps=100, max_wait_secs=7200,
                             save_checkpoint_steps=USE_DEFAULT, summary_dir=None, save_graph_def=True):
    """A MonitoredSession for training: restores from `checkpoint_dir`, saves there every 10 minutes, writes summaries
    every 100 steps, counts steps a second."""
    if not is_chief:
        raise ValueError("MonitoredTrainingSession: only a chief (is_chief=True) is offered")
    if save_summaries_steps is USE_DEFAULT and save_summaries_secs is USE_DEFAULT:
        save_summaries_steps, save_summaries_secs = 100, None
    save_summaries_steps = None if save_summaries_steps is USE_DEFAULT else save_summaries_steps
    save_summaries_secs = None if save_summaries_secs is USE_DEFAULT else save_summaries_secs
    if save_checkpoint_steps is USE_DEFAULT and save_checkpoint_secs is USE_DEFAULT:
        save_checkpoint_steps, save_checkpoint_secs = None, 600
    save_checkpoint_steps = None if save_checkpoint_steps is USE_DEFAULT else save_checkpoint_steps
    save_checkpoint_secs = None if save_checkpoint_secs is USE_DEFAULT else save_checkpoint_secs
    scaffold = scaffold or Scaffold()
    every = list(chief_only_hooks or [])
    summary_dir = summary_dir or checkpoint_dir
    if summary_dir:
        if log_step_count_steps and log_step_count_steps > 0:
            every.append(_hooks.StepCounterHook(every_n_steps=log_step_count_steps, output_dir=summary_dir))
        if save_summaries_steps or save_summaries_secs:
            every.append(_hooks.SummarySaverHook(save_steps=save_summaries_steps, save_secs=save_summaries_secs,
                                                 output_dir=summary_dir, scaffold=scaffold))
    if checkpoint_dir and (save_checkpoint_secs or save_checkpoint_steps):
        every.append(_hooks.CheckpointSaverHook(checkpoint_dir, save_secs=save_checkpoint_secs,
                                                save_steps=save_checkpoint_steps, scaffold=scaffold))
    return MonitoredSession(ChiefSessionCreator(scaffold, master, config, checkpoint_dir), every + list(hooks or []),
                            stop_grace_period_secs)
