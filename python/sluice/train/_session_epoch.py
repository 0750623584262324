"""The epoch of a folder of checkpoints: which of several chiefs may commit there.

A chief that was taken for dead and replaced may wake up and save: what it holds is older than what its successor
restored and went on from. So every session that saves takes the next epoch of the folder (the file `checkpoint.epoch`,
beside `checkpoint`), and a checkpoint is committed only while that epoch is still the newest.

    begin session     epoch.acquire()                      checkpoint.epoch: 7 -> 8, in one step under a lock
    save              write PREFIX.tmp-8-1.*                nothing under the real name yet
    commit            with epoch.commit():  rename to PREFIX.*, then the file `checkpoint`
                      a newer epoch is there: FailedPreconditionError, the files are removed, nothing was changed

Both take the lock `checkpoint.epoch.lock` (flock), so the folder must be on a file system that all chiefs see and that
locks between machines, as NFS version 4 does. A chief that was stopped while it held the lock does not hold up its
successor for ever: after 10 seconds the lock is broken, by a new file in its place. So a commit looks at the epoch again
before each file that it moves.
"""
import contextlib
import fcntl
import glob
import itertools
import os
import re
import shutil
import socket
import time

from sluice import _files
from sluice import errors
from sluice import logging
from sluice.train._manifest import Manifest

_LOCK_SECS = 10


class LeaseUnknownError(errors.UnavailableError):
    """It cannot be known now whether this process is still the chief."""


class SessionEpoch:
    """The claim of one chief on a folder of checkpoints.

    Args:
      folder: the folder.
      lease: what says who the chief is, and numbers epochs, where that is kept outside the folder: an object with
        next_epoch(newest), the number of an epoch later than `newest`, and check_chief(); both raise
        FailedPreconditionError when another process is the chief, and UnavailableError when they cannot know it.
    """

    def __init__(self, folder, lease=None):
        self.folder = os.path.abspath(os.fspath(folder))
        self.number = None
        self._holder = "%s:%d" % (socket.gethostname(), os.getpid())
        self._saves = itertools.count(1)
        self._lease = lease

    def acquire(self):
        """Takes the next epoch: whoever held the one before can commit no more. Returns its number.

        Raises FailedPreconditionError when another chief took one since: of two chiefs that each took the next epoch from
        the other when they recover, neither would get far.
        """
        os.makedirs(self.folder, exist_ok=True)
        with self._locked():
            if self.number is not None:
                self.check()
            newest, _ = read(self.folder)
            self.number = newest + 1 if self._lease is None else self._lease.next_epoch(newest)
            _files.write_atomically(_path(self.folder), "epoch: %d\nholder: %s\n" % (self.number, self._holder))
            _remove_leftovers(self.folder, self.number)
        return self.number

    def check(self):
        """Raises FailedPreconditionError when another chief has taken over."""
        if self._lease is not None:
            try:
                self._lease.check_chief()
            except errors.UnavailableError as e:
                raise LeaseUnknownError(None, None, e.message) from e
        newest, holder = read(self.folder)
        if self.number is None or newest > self.number:
            raise errors.FailedPreconditionError(
                None, None, "checkpoint in %s refused: this process (%s) holds epoch %s, but epoch %d was taken by %s; "
                "another chief has taken over, so this one must stop" % (self.folder, self._holder, self.number, newest,
                                                                         holder))

    @contextlib.contextmanager
    def commit(self):
        """A block in which this chief is known to be the newest, and stays so until its end."""
        with self._locked():
            self.check()
            try:
                yield
            except (OSError, errors.DataLossError):
                self.check()  # a successor removes what is not committed
                raise

    def covers(self, prefix):
        """Whether a checkpoint of that prefix lies in the folder."""
        return os.path.dirname(os.path.abspath(prefix)) == self.folder

    def temporary(self, prefix):
        """A new prefix to write to before the commit."""
        return "%s.tmp-%d-%d" % (prefix, self.number, next(self._saves))

    @contextlib.contextmanager
    def _locked(self):
        path = os.path.join(self.folder, "checkpoint.epoch.lock")
        deadline = time.monotonic() + _LOCK_SECS
        while True:
            with _files.naming(path), open(path, "a", encoding="utf-8") as f:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if _is_at(f, path):
                        yield
                        return
                except BlockingIOError:
                    if time.monotonic() > deadline and _is_at(f, path):
                        os.unlink(path)
                        logging.warning("broke the lock %s, which another process held for more than %d s", path,
                                        _LOCK_SECS)
                        deadline = time.monotonic() + _LOCK_SECS
                    else:
                        time.sleep(0.02)


def _is_at(file, path):
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def read(folder):
    """(newest epoch of a folder, who holds it): (0, None) where none was ever taken."""
    committed = Manifest(folder).epoch  # what has committed there stays ahead, also where checkpoint.epoch was lost
    try:
        with _files.naming(_path(folder)), open(_path(folder), encoding="utf-8") as f:
            fields = dict(line.rstrip("\n").split(": ", 1) for line in f if ": " in line)
        taken, holder = int(fields["epoch"]), fields.get("holder")
        return (taken, holder) if taken >= committed else (committed, "whoever committed the newest checkpoint")
    except FileNotFoundError:
        return committed, None if committed == 0 else "whoever committed the newest checkpoint"
    except (KeyError, ValueError):
        raise errors.DataLossError(None, None, "%s does not hold an epoch; remove it when no other process trains there"
                                   % _path(folder)) from None


def move(temporary, prefix, check):
    """Gives the files of the checkpoint `temporary` the name `prefix`, its index last, and syncs the folder. Calls `check`
    before it changes anything, and then again and again."""
    # By listdir, which fails where glob would find nothing: an index without its data must never get its name.
    folder, base = os.path.split(os.path.abspath(temporary))
    data = sorted(os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(base + ".data-"))
    if not data:
        raise errors.DataLossError(None, None, "%s.data-* is not there although it was just written; who removed it?" % temporary)
    temporary, prefix = os.path.join(folder, base), os.path.abspath(prefix)
    if all(_same(p, prefix + p[len(temporary):]) for p in data + [temporary + ".index"]):
        discard(temporary)  # saved again at the step that was restored
        return
    check()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(prefix + ".index")  # while data files change, what is there must not look complete
    for path in data + [temporary + ".index"]:
        check()
        os.replace(path, prefix + path[len(temporary):])
    _files.sync_folder(folder)
    check()


def discard(temporary):
    """Removes what was written under a temporary prefix."""
    shutil.rmtree(temporary + "_temp", ignore_errors=True)
    for path in glob.glob(glob.escape(temporary) + ".*"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _remove_leftovers(folder, epoch):
    """Removes what savers of earlier epochs had written and not committed. The lock is held, so nobody is committing."""
    for name in os.listdir(folder):
        found = re.search(r"\.tmp-(\d+)-\d+(_temp$|\.(index|data-))", name)
        if (found and int(found.group(1)) < epoch) or re.match(r"checkpoint(\.epoch|\.manifest)?\.tmp", name):
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


def _same(a, b):
    try:
        if os.path.getsize(a) != os.path.getsize(b):
            return False
        with open(a, "rb") as f, open(b, "rb") as g:
            while True:
                x, y = f.read(1 << 20), g.read(1 << 20)
                if x != y:
                    return False
                if not x:
                    return True
    except FileNotFoundError:
        return False


def _path(folder):
    return os.path.join(folder, "checkpoint.epoch")
