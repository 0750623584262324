"""Files by the names of `tf.gfile`: thin functions over the local file system that raise sl.errors."""
import contextlib
import glob
import os
import shutil

from sluice import errors


@contextlib.contextmanager
def _errors():
    """Turns an OSError into the error class of its meaning."""
    try:
        yield
    except FileNotFoundError as e:
        raise errors.NotFoundError(None, None, _say(e)) from None
    except FileExistsError as e:
        raise errors.AlreadyExistsError(None, None, _say(e)) from None
    except PermissionError as e:
        raise errors.PermissionDeniedError(None, None, _say(e)) from None
    except (NotADirectoryError, IsADirectoryError) as e:
        raise errors.FailedPreconditionError(None, None, _say(e)) from None
    except OSError as e:
        raise errors.UnknownError(None, None, _say(e)) from None


def _say(e):
    return "%s; %s" % (e.filename, e.strerror) if e.filename else str(e)


class GFile:
    """A file, opened at its first use; text by default, bytes with "b" in the mode."""

    def __init__(self, name, mode="r"):
        if mode not in ("r", "w", "a", "r+", "w+", "a+", "rb", "wb", "ab", "rb+", "wb+", "ab+", "r+b", "w+b", "a+b"):
            raise errors.InvalidArgumentError(None, None, "mode is not 'r' or 'w' or 'a' (with 'b' or '+'): %r"
                                              % (mode,))
        self._name, self._mode, self._file = os.fspath(name), mode, None

    name = property(lambda self: self._name)
    mode = property(lambda self: self._mode)

    def _open(self):
        if self._file is None:
            with _errors():
                self._file = open(self._name, self._mode, encoding=None if "b" in self._mode else "utf-8")
        return self._file

    def read(self, n=-1):
        """The next n bytes or characters, or all."""
        with _errors():
            return self._open().read(n)

    def write(self, file_content):
        """Appends to the file."""
        with _errors():
            self._open().write(file_content)

    def readline(self):
        """The next line with its end."""
        return self._open().readline()

    def readlines(self):
        """All lines that are left."""
        return self._open().readlines()

    def seek(self, offset=None, whence=0, position=None):
        """Moves to a position."""
        self._open().seek(position if offset is None else offset, whence)

    def tell(self):
        """The position."""
        return self._open().tell()

    def size(self):
        """The length of the file in bytes."""
        return Stat(self._name).length

    def flush(self):
        """Hands what was written to the system."""
        if self._file is not None:
            with _errors():
                self._file.flush()

    def close(self):
        """Closes the file."""
        if self._file is not None:
            with _errors():
                self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __iter__(self):
        return iter(self._open())


Open = FastGFile = GFile


class FileStatistics:
    """What Stat says about a path."""

    def __init__(self, result):
        self.length, self.mtime_nsec = result.st_size, result.st_mtime_ns
        self.is_directory = os.path.stat.S_ISDIR(result.st_mode)


def Exists(filename):
    """Whether the path is there."""
    return os.path.exists(filename)


def IsDirectory(dirname):
    """Whether the path is a folder."""
    return os.path.isdir(dirname)


def ListDirectory(dirname):
    """The names in a folder."""
    with _errors():
        return os.listdir(dirname)


def MakeDirs(dirname):
    """Makes a folder with its parents; one that is there already is fine."""
    with _errors():
        os.makedirs(dirname, exist_ok=True)


def MkDir(dirname):
    """Makes one folder."""
    with _errors():
        os.mkdir(dirname)


def Remove(filename):
    """Removes a file."""
    with _errors():
        os.remove(filename)


def DeleteRecursively(dirname):
    """Removes a folder with all that is in it."""
    with _errors():
        shutil.rmtree(dirname) if os.path.isdir(dirname) else os.remove(dirname)


def Copy(oldpath, newpath, overwrite=False):
    """Copies a file."""
    _refuse(newpath, overwrite)
    with _errors():
        shutil.copyfile(oldpath, newpath)


def Rename(oldname, newname, overwrite=False):
    """Renames a file."""
    _refuse(newname, overwrite)
    with _errors():
        os.replace(oldname, newname)


def _refuse(path, overwrite):
    if not overwrite and os.path.exists(path):
        raise errors.AlreadyExistsError(None, None, "file already exists: %s" % path)


def Glob(filename):
    """The paths that match a pattern, or any of several patterns, sorted."""
    patterns = filename if isinstance(filename, (list, tuple)) else [filename]
    return sorted(p for pattern in patterns for p in glob.glob(os.fspath(pattern)))


def Stat(filename):
    """The length, time and kind of a path."""
    with _errors():
        return FileStatistics(os.stat(filename))


def Walk(top, in_order=True):
    """(folder, its folders, its files) for `top` and all below."""
    return os.walk(top, topdown=in_order)
