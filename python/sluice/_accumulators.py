"""Accumulators: gradients of one step, added up until enough have come; late ones are dropped.

    accumulator = sl.ConditionalAccumulator(sl.float32, shape=[10])
    give = accumulator.apply_grad(gradient, local_step=step)     # dropped when `step` is over
    mean = accumulator.take_grad(num_required=3)                 # waits for three; then the next step begins
"""

from sluice import _dtypes
from sluice import raw_ops
from sluice._convert import convert_to_tensor
from sluice._graph import IndexedSlices, name_scope
from sluice._shapes import TensorShape


def _replica_of(operation, replica):
    """Marks whose gradient an operation applies: those are added in the order of replicas."""
    if replica is not None:
        if int(replica) < 0:
            raise ValueError("replica must not be negative, found %d" % replica)
        operation._set_attr("_replica", int(replica))
    return operation


class ConditionalAccumulatorBase:
    """What dense and sparse accumulators have in common."""

    def __init__(self, dtype, shape, accumulator_ref):
        self._dtype = _dtypes.as_dtype(dtype).base_dtype
        self._shape = TensorShape(shape)
        self._accumulator_ref = accumulator_ref
        self._name = accumulator_ref.op.name.rpartition("/")[2]

    accumulator_ref = property(lambda self: self._accumulator_ref, doc="The handle.")
    name = property(lambda self: self._name)
    dtype = property(lambda self: self._dtype, doc="The type of the gradients.")

    def num_accumulated(self, name=None):
        """How many gradients have been accepted for this step, as a tensor."""
        return raw_ops.AccumulatorNumAccumulated(self._accumulator_ref,
                                                 name=name or "%s_NumAccumulated" % self._name)

    def set_global_step(self, new_global_step, name=None):
        """The operation that says which step gradients are wanted of.

        A step of 2**63 - 1 ends takes, also those that wait, with OUT_OF_RANGE until another step is set.
        """
        return raw_ops.AccumulatorSetGlobalStep(self._accumulator_ref,
                                                convert_to_tensor(new_global_step, dtype=_dtypes.int64),
                                                name=name or "%s_SetGlobalStep" % self._name)


class ConditionalAccumulator(ConditionalAccumulatorBase):
    """Adds up dense gradients.

    Args:
      dtype, shape: of the gradients; a shape of None takes any, but all of one step must agree.
      shared_name: sessions of one server that give the same name share the accumulator.
      reduction_type: "MEAN" or "SUM".
    """

    def __init__(self, dtype, shape=None, shared_name=None, name="conditional_accumulator", reduction_type="MEAN"):
        super().__init__(dtype, shape, raw_ops.ConditionalAccumulator(
            dtype=dtype, shape=shape, shared_name=shared_name or "", reduction_type=reduction_type, name=name))

    def apply_grad(self, grad, local_step=0, name=None, replica=None):
        """The operation that adds a gradient, unless `local_step` is over.

        Args:
          grad: the gradient.
          local_step: the step that it was computed for.
          name: of the operation.
          replica: whose gradient it is, a number. When all give one, the sum is made in the order of replicas, the same
            bits whoever comes first, and a replica counts once in a step. Costs a gradient of memory for each.
        """
        with name_scope(name, "%s_apply_grad" % self._name, [grad]) as scope:
            grad = convert_to_tensor(grad, dtype=self._dtype)
            grad.shape.assert_is_compatible_with(self._shape)
            step = convert_to_tensor(local_step, dtype=_dtypes.int64)
            return _replica_of(raw_ops.AccumulatorApplyGradient(self._accumulator_ref, step, grad, name=scope), replica)

    def take_grad(self, num_required, name=None):
        """The mean (or sum) of the gradients of this step, once there are `num_required`.

        When gradients have replicas, the first `num_required` of them make the sum; a vector of replicas in its place
        names those that do, in the order of addition.
        """
        taken = raw_ops.AccumulatorTakeGradient(self._accumulator_ref, num_required, self._dtype,
                                                name=name or "%s_TakeGrad" % self._name)
        taken.set_shape(self._shape)
        return taken


class SparseConditionalAccumulator(ConditionalAccumulatorBase):
    """Adds up sparse gradients: rows and their indices.

    The mean of a row is taken over the gradients that have it, as in TensorFlow. `shape` is that of the whole gradient.
    """

    def __init__(self, dtype, shape=None, shared_name=None, name="sparse_conditional_accumulator",
                 reduction_type="MEAN"):
        super().__init__(dtype, shape, raw_ops.SparseConditionalAccumulator(
            dtype=dtype, shape=shape, shared_name=shared_name or "", reduction_type=reduction_type, name=name))

    def apply_indexed_slices_grad(self, grad, local_step=0, name=None, replica=None):
        """As apply_grad, for an IndexedSlices."""
        return self.apply_grad(grad.indices, grad.values, grad.dense_shape, local_step, name, replica)

    def apply_grad(self, grad_indices, grad_values, grad_shape=None, local_step=0, name=None, replica=None):
        """The operation that adds rows, unless `local_step` is over. Rows of equal index are added."""
        with name_scope(name, "%s_apply_grad" % self._name, [grad_indices, grad_values]) as scope:
            indices = raw_ops.Cast(convert_to_tensor(grad_indices), _dtypes.int64) \
                if convert_to_tensor(grad_indices).dtype != _dtypes.int64 else convert_to_tensor(grad_indices)
            known = grad_shape is not None
            shape = convert_to_tensor([] if not known else grad_shape)
            if shape.dtype != _dtypes.int64:
                shape = raw_ops.Cast(shape, _dtypes.int64)
            return _replica_of(raw_ops.SparseAccumulatorApplyGradient(
                self._accumulator_ref, convert_to_tensor(local_step, dtype=_dtypes.int64), indices,
                convert_to_tensor(grad_values, dtype=self._dtype), shape, has_known_shape=known, name=scope), replica)

    def take_grad(self, num_required, name=None):
        """(indices, values, shape) of the mean, once there are `num_required`; see ConditionalAccumulator.take_grad."""
        return raw_ops.SparseAccumulatorTakeGradient(self._accumulator_ref, num_required, self._dtype,
                                                     name=name or "%s_TakeGrad" % self._name)

    def take_indexed_slices_grad(self, num_required, name=None):
        """As take_grad, as an IndexedSlices."""
        taken = self.take_grad(num_required, name)
        return IndexedSlices(indices=taken.indices, values=taken.values, dense_shape=taken.shape)
