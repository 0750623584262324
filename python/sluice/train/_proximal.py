"""Proximal and dual-averaging optimisers."""
import sluice as sl
from sluice.train._optimizer import Optimizer, cast, update_op


class ProximalGradientDescentOptimizer(Optimizer):
    """Gradient descent followed by the proximal step of l1 and l2 regularisation."""

    def __init__(self, learning_rate, l1_regularization_strength=0.0, l2_regularization_strength=0.0,
                 use_locking=False, name="ProximalGradientDescent"):
        super().__init__(use_locking, name)
        self._learning_rate, self._l1, self._l2 = learning_rate, l1_regularization_strength, l2_regularization_strength

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        self._l1_t = self._number(self._l1, "l1_regularization_strength")
        self._l2_t = self._number(self._l2, "l2_regularization_strength")

    def _apply(self, kind, var, slots, *gradient):
        return update_op(kind, var, slots, cast(self._lr, var), cast(self._l1_t, var), cast(self._l2_t, var),
                         *gradient, use_locking=self._use_locking)

    def _apply_dense(self, grad, var):
        return self._apply("ApplyProximalGradientDescent", var, [], grad)

    def _apply_sparse(self, grad, var):
        return self._apply("SparseApplyProximalGradientDescent", var, [], grad.values, grad.indices)


class ProximalAdagradOptimizer(ProximalGradientDescentOptimizer):
    """Adagrad followed by the proximal step of l1 and l2 regularisation."""

    def __init__(self, learning_rate, initial_accumulator_value=0.1, l1_regularization_strength=0.0,
                 l2_regularization_strength=0.0, use_locking=False, name="ProximalAdagrad"):
        if initial_accumulator_value <= 0.0:
            raise ValueError("initial_accumulator_value must be positive: %s" % initial_accumulator_value)
        super().__init__(learning_rate, l1_regularization_strength, l2_regularization_strength, use_locking, name)
        self._initial = initial_accumulator_value

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "accumulator", self._name,
                       sl.constant_initializer(self._initial))

    def _apply_dense(self, grad, var):
        return self._apply("ApplyProximalAdagrad", var, [self.get_slot(var, "accumulator")], grad)

    def _apply_sparse(self, grad, var):
        return self._apply("SparseApplyProximalAdagrad", var, [self.get_slot(var, "accumulator")], grad.values,
                           grad.indices)


class AdagradDAOptimizer(Optimizer):
    """Adagrad with dual averaging: regularisation that takes the number of steps into account."""

    def __init__(self, learning_rate, global_step, initial_gradient_squared_accumulator_value=0.1,
                 l1_regularization_strength=0.0, l2_regularization_strength=0.0, use_locking=False, name="AdagradDA"):
        if initial_gradient_squared_accumulator_value <= 0.0:
            raise ValueError("initial_gradient_squared_accumulator_value must be positive: %s"
                             % initial_gradient_squared_accumulator_value)
        super().__init__(use_locking, name)
        self._learning_rate, self._global_step = learning_rate, global_step
        self._initial = initial_gradient_squared_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "gradient_accumulator", self._name)
            self._slot(v, "gradient_squared_accumulator", self._name,
                       sl.constant_initializer(self._initial))

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        # The count starts at one: a division by it comes before the first step is counted.
        self._count = sl.identity(self._global_step) + 1

    def _apply(self, kind, var, *gradient):
        slots = [self.get_slot(var, "gradient_accumulator"), self.get_slot(var, "gradient_squared_accumulator")]
        return update_op(kind, var, slots, *gradient, cast(self._lr, var), sl.constant(self._l1, var.dtype.base_dtype),
                         sl.constant(self._l2, var.dtype.base_dtype), sl.cast(self._count, sl.int64),
                         use_locking=self._use_locking)

    def _apply_dense(self, grad, var):
        return self._apply("ApplyAdagradDA", var, grad)

    def _apply_sparse(self, grad, var):
        return self._apply("SparseApplyAdagradDA", var, grad.values, grad.indices)
