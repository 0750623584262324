"""The few functions of `sl.linalg` that are no op."""

from sluice import _array
from sluice import _math
from sluice import raw_ops
from sluice._convert import convert_to_tensor
from sluice._graph import name_scope


def adjoint(matrix, name=None):
  """The conjugate transpose of the inner two dimensions."""
  with name_scope(name, "adjoint", [matrix]):
    return _array.matrix_transpose(convert_to_tensor(matrix, name="matrix"), conjugate=True)


def logdet(matrix, name=None):
  """The logarithm of the determinant of a positive definite matrix."""
  with name_scope(name, "logdet", [matrix]):
    diagonal = raw_ops.MatrixDiagPart(raw_ops.Cholesky(matrix))
    return 2.0 * _math.reduce_sum(raw_ops.Log(_math.real(diagonal)), axis=[-1])
