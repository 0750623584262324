"""Messages to the program's user, on standard error, through Python's own `logging` (logger "sluice")."""
import logging as _logging
import sys as _sys

DEBUG, INFO, WARN, ERROR, FATAL = (_logging.DEBUG, _logging.INFO, _logging.WARNING, _logging.ERROR, _logging.FATAL)
WARNING = WARN

_logger = _logging.getLogger("sluice")


class _Stderr(_logging.StreamHandler):
    """Writes to whatever sys.stderr is now, as tests and notebooks replace it."""

    def __init__(self):
        super().__init__(_sys.stderr)

    @property
    def stream(self):
        return _sys.stderr

    @stream.setter
    def stream(self, value):
        pass


if not _logger.handlers:
    _handler = _Stderr()
    _handler.setFormatter(_logging.Formatter("%(levelname)s:sluice:%(message)s"))
    _logger.addHandler(_handler)
    _logger.propagate = False
    _logger.setLevel(WARN)

debug, info, warning, error, log = _logger.debug, _logger.info, _logger.warning, _logger.error, _logger.log
warn = warning
fatal = _logger.critical


def get_verbosity():
    """The least level that is shown."""
    return _logger.getEffectiveLevel()


def set_verbosity(v):
    """Shows messages from level `v` (such as sl.logging.INFO) on."""
    _logger.setLevel(v)


def vlog(level, msg, *args):
    """A message of verbosity `level`: 0 is info, more is debug."""
    _logger.log(INFO if level <= 0 else DEBUG, msg, *args)


def flush():
    """Flushes the handlers."""
    for handler in _logger.handlers:
        handler.flush()


_counts = {}


def log_every_n(level, msg, n, *args):
    """The 1st, n+1st, 2n+1st ... message of a line of the program."""
    frame = _sys._getframe(1)
    key = (frame.f_code.co_filename, frame.f_lineno)
    count = _counts[key] = _counts.get(key, -1) + 1
    if count % n == 0:
        _logger.log(level, msg, *args)


def log_first_n(level, msg, n, *args):
    """The first n messages of a line of the program."""
    frame = _sys._getframe(1)
    key = (frame.f_code.co_filename, frame.f_lineno)
    count = _counts[key] = _counts.get(key, -1) + 1
    if count < n:
        _logger.log(level, msg, *args)


def log_if(level, msg, condition, *args):
    """A message when `condition` holds."""
    if condition:
        _logger.log(level, msg, *args)

