"""SessionManager: sessions whose variables are restored, initialised, or waited for."""
import time

import numpy as np

import sluice as sl
from sluice import errors
from sluice.train._checkpoints import checkpoint_exists, find_latest, get_checkpoint_state


class SessionManager:
    """Makes sessions that are ready for use: the chief's from a checkpoint or by initialisation, a worker's by waiting.

        manager = sl.train.SessionManager(ready_op=sl.report_uninitialized_variables())
        session = manager.prepare_session(master, init_op, saver, checkpoint_dir)     # the chief
        session = manager.wait_for_session(master, max_wait_secs=600)                 # the others

    Where a method takes `config`, a function that gives a ConfigProto will do: it is called for each session that is tried.

    A wait polls often at first and then every `recovery_wait_secs`; a server that cannot be reached counts as not
    ready yet. No wait outlasts its `max_wait_secs`, and the error says what it waited for.

    Args:
      local_init_op: run in every session once `ready_for_local_init_op` reports nothing.
      ready_op, ready_for_local_init_op: give the names of what is not initialised.
      graph: the graph of the sessions; by default the current one.
      recovery_wait_secs: the longest pause between two looks.
      local_init_run_options, local_init_feed_dict: for local_init_op.
    """

    def __init__(self, local_init_op=None, ready_op=None, ready_for_local_init_op=None, graph=None,
                 recovery_wait_secs=30, local_init_run_options=None, local_init_feed_dict=None):
        if ready_for_local_init_op is not None and local_init_op is None:
            raise ValueError("If you pass a ready_for_local_init_op you must also pass a local_init_op , "
                             "ready_for_local_init_op [%s]" % ready_for_local_init_op)
        self._graph = graph or sl.get_default_graph()
        self._local_init_op, self._ready_op = local_init_op, ready_op
        self._ready_for_local_init_op = ready_for_local_init_op
        self._longest_pause = recovery_wait_secs
        self._local_options, self._local_feeds = local_init_run_options, local_init_feed_dict
        self.restore_seconds = 0.0  # spent reading checkpoints, in all sessions

    def prepare_session(self, master, init_op=None, saver=None, checkpoint_dir=None,
                        checkpoint_filename_with_path=None, wait_for_checkpoint=False, max_wait_secs=7200, config=None,
                        init_feed_dict=None, init_fn=None):
        """A session restored from the newest complete checkpoint, or else initialised.

        Raises RuntimeError when the model is not ready after that, naming what is missing.
        """
        session, restored = self._restore(master, saver, checkpoint_dir, checkpoint_filename_with_path,
                                          wait_for_checkpoint, max_wait_secs, config)
        with _closing_on_error(session):
            if not restored:
                if init_op is None and not init_fn and self._local_init_op is None:
                    raise RuntimeError("Model is not initialized and no init_op or init_fn or local_init_op was given")
                if init_op is not None:
                    session.run(init_op, feed_dict=init_feed_dict)
                if init_fn:
                    init_fn(session)
            ready, why = self._initialise_locally(session)
            if not ready:
                raise RuntimeError("Init operations did not make model ready for local_init.  Init op: %s, init fn: %s, "
                                   "error: %s" % (_name(init_op), init_fn, why))
            ready, why = _is_ready(self._ready_op, session, "Model not ready")
            if not ready:
                raise RuntimeError("Init operations did not make model ready.  Init op: %s, init fn: %s, local_init_op: "
                                   "%s, error: %s" % (_name(init_op), init_fn, _name(self._local_init_op), why))
            return session

    def recover_session(self, master, saver=None, checkpoint_dir=None, checkpoint_filename_with_path=None,
                        wait_for_checkpoint=False, max_wait_secs=7200, config=None):
        """(session, whether a checkpoint made it ready)."""
        session, restored = self._restore(master, saver, checkpoint_dir, checkpoint_filename_with_path,
                                          wait_for_checkpoint, max_wait_secs, config)
        with _closing_on_error(session):
            source = checkpoint_dir or checkpoint_filename_with_path
            ready, why = self._initialise_locally(session)
            if not restored:
                return session, False
            if not ready:
                sl.logging.info("Restoring model from %s did not make model ready for local init: %s", source, why)
                return session, False
            ready, why = _is_ready(self._ready_op, session, "Model not ready")
            if not ready:
                sl.logging.info("Restoring model from %s did not make model ready: %s", source, why)
                return session, False
            sl.logging.info("Restored model from %s", source)
            return session, True

    def wait_for_session(self, master, config=None, max_wait_secs=float("inf")):
        """A session of a model that another task initialises, once that is done.

        Raises DeadlineExceededError after `max_wait_secs` (None: no limit), with what was still missing.
        """
        deadline = time.monotonic() + (float("inf") if max_wait_secs is None else max_wait_secs)
        pauses = _Pauses(self._longest_pause)
        while True:
            why = session = None
            try:
                session = sl.Session(master or "", graph=self._graph, config=config_of(config))
                ready, why = self._initialise_locally(session)
                if ready:
                    ready, why = _is_ready(self._ready_op, session, "Model not ready")
                    if ready:
                        return session
            except (errors.UnavailableError, errors.AbortedError) as e:
                why = str(e)
            except BaseException:
                _close_quietly(session)
                raise
            _close_quietly(session)
            pause = pauses.next()
            if time.monotonic() + pause > deadline:
                raise errors.DeadlineExceededError(
                    None, None, "Session was not ready after waiting %d secs. Last seen at %s: %s"
                    % (max_wait_secs, master or "the local session", why))
            sl.logging.info("Waiting for model to be ready: %s", why)
            time.sleep(pause)

    def _timed_restore(self, saver, session, path):
        began = time.monotonic()
        saver.restore(session, path)
        self.restore_seconds += time.monotonic() - began

    def _restore(self, master, saver, folder, path, wait_for_checkpoint, max_wait_secs, config):
        """(session, whether it was restored)."""
        if folder and path:
            raise ValueError("Can not provide both checkpoint_dir and checkpoint_filename_with_path.")
        session = sl.Session(master or "", graph=self._graph, config=config_of(config))
        with _closing_on_error(session):
            if not saver or not (folder or path):
                return session, False
            if path:
                self._timed_restore(saver, session, path)
                return session, True
            deadline, pauses = time.monotonic() + max_wait_secs, _Pauses(self._longest_pause)
            found, reasons = find_latest(folder)
            while found is None and wait_for_checkpoint:
                pause = pauses.next()
                if time.monotonic() + pause > deadline:
                    break
                sl.logging.info("Waiting for checkpoint to be available in %s.", folder)
                time.sleep(pause)
                found, reasons = find_latest(folder)
            if found is None and reasons:  # beginning anew would hide the loss, and in time overwrite what is left
                raise errors.DataLossError(None, None, "no checkpoint in %s can be restored: %s. Repair them, or remove them to "
                                           "begin anew" % (folder, "; ".join(reasons)))
            if found is None:
                return session, False
            self._timed_restore(saver, session, found)
            state = get_checkpoint_state(folder)
            saver.recover_last_checkpoints([p for p in (state.all_model_checkpoint_paths if state else [found])
                                            if checkpoint_exists(p)])
            return session, True

    def _initialise_locally(self, session):
        """Runs local_init_op if what it needs is there: (True, None) or (False, why not)."""
        if self._local_init_op is None:
            return True, None
        ready, why = _is_ready(self._ready_for_local_init_op, session, "Model not ready for local init")
        if ready:
            options = {} if self._local_options is None else {"options": self._local_options}
            try:
                session.run(self._local_init_op, feed_dict=self._local_feeds, **options)
            except errors.FailedPreconditionError as e:
                if not _is_about_initialisation(e):
                    raise
                return False, str(e)
        return ready, why


def config_of(config):
    """A ConfigProto or None, from itself or from a function that gives it."""
    return config() if callable(config) else config


class _Pauses:
    """Pauses that double from a twentieth of a second up to a longest one."""

    def __init__(self, longest):
        self._longest, self._now = longest, 0.05

    def next(self):
        self._now = min(self._now * 2, self._longest)
        return self._now


class _closing_on_error:  # pylint: disable=invalid-name
    """Closes a session when the block ends in an error."""

    def __init__(self, session):
        self._session = session

    def __enter__(self):
        return self._session

    def __exit__(self, kind, *unused):
        if kind is not None:
            _close_quietly(self._session)


def _close_quietly(session):
    if session is not None:
        try:
            session.close()
        except errors.OpError:  # its servers may be gone
            pass


def _is_ready(op, session, what):
    """(True, None) or (False, why not)."""
    if op is None:
        return True, None
    try:
        missing = session.run(op)
    except errors.FailedPreconditionError as e:
        if not _is_about_initialisation(e):
            sl.logging.warning("%s : error [%s]", what, e)
            raise
        return False, str(e)
    if missing is None or np.asarray(missing).dtype == np.int32 or np.size(missing) == 0:
        return True, None
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in np.ravel(missing)]
    return False, "Variables not initialized: " + ", ".join(names)


def _is_about_initialisation(error):
    return "uninitialized" in str(error).lower() or "not initialized" in str(error).lower()


def _name(op):
    return getattr(op, "name", str(op))
