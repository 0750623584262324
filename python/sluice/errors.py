"""One exception class for each status code, all of them `OpError`.

    try:
      session.run(y)
    except sl.errors.InvalidArgumentError as e:
      print(e.op, e.message)

`error_code` is the canonical code, `op` the operation at fault (or None), `node_def` its NodeDef (or None) and
`message` the sentence that says what was found and what was wanted.
"""

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
ALREADY_EXISTS = 6
PERMISSION_DENIED = 7
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
ABORTED = 10
OUT_OF_RANGE = 11
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14
DATA_LOSS = 15
UNAUTHENTICATED = 16


class OpError(Exception):
  """The base of every error that the runtime reports."""

  def __init__(self, node_def, op, message, error_code=UNKNOWN):
    super().__init__(message)
    self._node_def = node_def
    self._op = op
    self._message = message
    self._error_code = error_code

  @property
  def message(self):
    """What went wrong: op, node, user's line, found and wanted."""
    return self._message

  @property
  def op(self):
    """The `sl.Operation` that failed, or None when it is not of this graph."""
    return self._op

  @property
  def node_def(self):
    """The NodeDef of the operation that failed, or None."""
    if self._node_def is None and self._op is not None:
      return self._op.node_def
    return self._node_def

  @property
  def error_code(self):
    """The canonical status code, an int of this module."""
    return self._error_code

  def __str__(self):
    return self._message

  def __reduce__(self):
    if type(self) is OpError:
      return OpError, (None, None, self._message, self._error_code)
    return type(self), (None, None, self._message)


_BY_CODE = {}


def _declare(name, code, doc):
  def init(self, node_def, op, message):
    OpError.__init__(self, node_def, op, message, code)

  cls = type(name, (OpError,), {"__init__": init, "__doc__": doc, "__module__": __name__})
  _BY_CODE[code] = cls
  return cls


CancelledError = _declare("CancelledError", CANCELLED, "The operation or step was cancelled.")
UnknownError = _declare("UnknownError", UNKNOWN, "An error of unknown cause, often raised by user code in py_func.")
InvalidArgumentError = _declare("InvalidArgumentError", INVALID_ARGUMENT, "An operation received an invalid argument.")
DeadlineExceededError = _declare("DeadlineExceededError", DEADLINE_EXCEEDED, "A deadline passed before the operation ended.")
NotFoundError = _declare("NotFoundError", NOT_FOUND, "A file, resource or name was not found.")
AlreadyExistsError = _declare("AlreadyExistsError", ALREADY_EXISTS, "Something to be created exists already.")
PermissionDeniedError = _declare("PermissionDeniedError", PERMISSION_DENIED, "The caller may not do this.")
ResourceExhaustedError = _declare("ResourceExhaustedError", RESOURCE_EXHAUSTED, "Memory or another resource ran out.")
FailedPreconditionError = _declare("FailedPreconditionError", FAILED_PRECONDITION,
                                   "The system is not in a state for this, as in reading a variable before it is initialised.")
AbortedError = _declare("AbortedError", ABORTED, "The operation was aborted, mostly by a concurrent action.")
OutOfRangeError = _declare("OutOfRangeError", OUT_OF_RANGE, "An operation went past the end of a valid range, as of input.")
UnimplementedError = _declare("UnimplementedError", UNIMPLEMENTED, "The operation is not implemented for these types or devices.")
InternalError = _declare("InternalError", INTERNAL, "A broken invariant of the runtime: please report it.")
UnavailableError = _declare("UnavailableError", UNAVAILABLE, "A task or service cannot be reached now; trying again may help.")
DataLossError = _declare("DataLossError", DATA_LOSS, "Data was lost or is corrupt.")
UnauthenticatedError = _declare("UnauthenticatedError", UNAUTHENTICATED, "The caller has not proved who it is.")


def exception_type_from_error_code(error_code):
  """The class for a canonical code; KeyError when there is none."""
  return _BY_CODE[error_code]


def error_code_from_exception_type(cls):
  """The canonical code of an exception class of this module."""
  for code, known in _BY_CODE.items():
    if known is cls:
      return code
  raise KeyError(f"{cls!r} is not an error class of sluice.errors")


def make(code, message, op=None):
  """The exception for a status; the native module raises what this returns."""
  return _BY_CODE.get(code, UnknownError)(None, op, message)
