"""Writing files so that a reader, or the next run, sees either the old content or the whole new one."""
import os
import tempfile


def write_atomically(path, data):
    """Writes `data` (bytes or str) to a temporary file beside `path`, syncs it and renames it over `path`."""
    if isinstance(data, str):
        data = data.encode()
    path = os.path.abspath(os.fspath(path))
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
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself must survive a crash
    finally:
        os.close(directory)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
