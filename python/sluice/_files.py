"""Writing files so that a reader, or the next run, sees either the old content or the whole new one."""
import contextlib
import os
import tempfile


@contextlib.contextmanager
def naming(path):
    """A block whose errors of the system name a file at least: those of fsync, write and close do not by themselves."""
    try:
        yield
    except OSError as e:
        if e.filename is None and e.errno is not None:
            e.filename = path
        raise


def write_atomically(path, data):
    """Writes `data` (bytes or str) to a temporary file beside `path`, syncs it and renames it over `path`."""
    if isinstance(data, str):
        data = data.encode()
    path = os.path.abspath(os.fspath(path))
    with naming(path):
        _write_synced(path, data)


def sync_folder(path):
    """Makes what was created, renamed and removed in a folder survive a crash."""
    with naming(path):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _write_synced(path, data):
    handle, temporary = tempfile.mkstemp(prefix=os.path.basename(path) + ".tmp", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(path))  # the rename itself must survive a crash


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
