"""Who makes the session of a MonitoredSession: the chief prepares the model, a worker waits until it is prepared."""
import abc
import functools

import sluice as sl
from sluice.train._scaffold import Scaffold
from sluice.train._session_manager import SessionManager, config_of


class SessionCreator(abc.ABC):
    """Makes sessions whose model is ready."""

    _manager = None

    @abc.abstractmethod
    def create_session(self):
        """A new session; AbortedError and UnavailableError mean that trying again may help."""

    @property
    def restore_seconds(self):
        """How long checkpoints were read for, in all sessions."""
        return 0.0 if self._manager is None else self._manager.restore_seconds


class ChiefSessionCreator(SessionCreator):
    """Makes the session of a chief, which restores the variables from the newest checkpoint, or initialises them.

    Args:
      scaffold: the operations for that; by default a plain Scaffold.
      master: the target of the session, as sl.train.Server.target; "" for this process.
      config: a ConfigProto; or a function without arguments that gives one, called for each session: with that of
        EtcdClusterResolver.session_config a new session sees the cluster of the moment.
      checkpoint_dir, checkpoint_filename_with_path: where to restore from: a folder, or one checkpoint.
    """

    def __init__(self, scaffold=None, master="", config=None, checkpoint_dir=None,
                 checkpoint_filename_with_path=None):
        self._scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._dir, self._file = checkpoint_dir, checkpoint_filename_with_path
        self._manager = None
        self._epoch = None  # a SessionEpoch to take before anything is restored

    def create_session(self):
        scaffold = self._scaffold.finalize()
        if self._manager is None:
            self._manager = _manager(scaffold)
        config = self._config
        if self._epoch is not None:
            self._epoch.acquire()
            scaffold.saver.session_epoch = self._epoch
            config = functools.partial(_of_epoch, config, self._epoch)
        return self._manager.prepare_session(
            self._master, saver=scaffold.saver, checkpoint_dir=self._dir, checkpoint_filename_with_path=self._file,
            config=config, init_op=scaffold.init_op, init_feed_dict=scaffold.init_feed_dict,
            init_fn=scaffold.init_fn)


class WorkerSessionCreator(SessionCreator):
    """Makes the session of a worker, which waits, at most `max_wait_secs`, until the chief has prepared the model."""

    def __init__(self, scaffold=None, master="", config=None, max_wait_secs=30 * 60):
        self._scaffold = scaffold or Scaffold()
        self._master, self._config, self._max_wait_secs = master, config, max_wait_secs
        self._manager = None

    def create_session(self):
        scaffold = self._scaffold.finalize()
        if self._manager is None:
            self._manager = _manager(scaffold)
        return self._manager.wait_for_session(self._master, config=self._config, max_wait_secs=self._max_wait_secs)


def _of_epoch(config, epoch):
    """`config` for a session that follows those of lower epochs: every task ends what they left running before it takes
    the new one, so nothing of a chief that was replaced changes a variable after the restore."""
    made, config = sl.ConfigProto(), config_of(config)
    if config is not None:
        made.CopyFrom(config)
    made.experimental.session_metadata.name = epoch.folder
    made.experimental.session_metadata.version = epoch.number
    return made


def _manager(scaffold):
    # A worker that looks again after half a second loses at most that when the chief recovers.
    return SessionManager(local_init_op=scaffold.local_init_op, local_init_feed_dict=scaffold.local_init_feed_dict,
                          ready_op=scaffold.ready_op, ready_for_local_init_op=scaffold.ready_for_local_init_op,
                          graph=sl.get_default_graph(), recovery_wait_secs=0.5)
