"""Optimisers with one fused update op each."""
import sluice as sl
from sluice import raw_ops
from sluice.train._optimizer import Optimizer, cast, is_resource, update_op


class GradientDescentOptimizer(Optimizer):
    """var -= learning_rate * gradient."""

    def __init__(self, learning_rate, use_locking=False, name="GradientDescent"):
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")

    def _apply_dense(self, grad, var):
        return update_op("ApplyGradientDescent", var, [], cast(self._lr, var), grad, use_locking=self._use_locking)

    def _apply_sparse_duplicate_indices(self, grad, var):
        # Scattered subtraction adds up rows of equal indices by itself.
        if is_resource(var):
            return raw_ops.ResourceScatterAdd(var.handle, grad.indices, -grad.values * cast(self._lr, var))
        return raw_ops.ScatterSub(var._ref(), grad.indices, grad.values * cast(self._lr, var),
                                  use_locking=self._use_locking)

    _apply_sparse = _apply_sparse_duplicate_indices


class MomentumOptimizer(Optimizer):
    """accumulation = momentum * accumulation + gradient; var -= learning_rate * accumulation."""

    def __init__(self, learning_rate, momentum, use_locking=False, name="Momentum", use_nesterov=False):
        super().__init__(use_locking, name)
        self._learning_rate, self._momentum, self._use_nesterov = learning_rate, momentum, use_nesterov

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "momentum", self._name)

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        self._m = self._number(self._momentum, "momentum")

    def _apply_dense(self, grad, var):
        return update_op("ApplyMomentum", var, [self.get_slot(var, "momentum")], cast(self._lr, var), grad,
                         cast(self._m, var), use_locking=self._use_locking, use_nesterov=self._use_nesterov)

    def _apply_sparse(self, grad, var):
        return update_op("SparseApplyMomentum", var, [self.get_slot(var, "momentum")], cast(self._lr, var),
                         grad.values, grad.indices, cast(self._m, var), use_locking=self._use_locking,
                         use_nesterov=self._use_nesterov)


class AdagradOptimizer(Optimizer):
    """accumulator += gradient ** 2; var -= learning_rate * gradient / sqrt(accumulator)."""

    def __init__(self, learning_rate, initial_accumulator_value=0.1, use_locking=False, name="Adagrad"):
        if initial_accumulator_value <= 0.0:
            raise ValueError("initial_accumulator_value must be positive: %s" % initial_accumulator_value)
        super().__init__(use_locking, name)
        self._learning_rate, self._initial = learning_rate, initial_accumulator_value

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "accumulator", self._name,
                       sl.constant_initializer(self._initial))

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")

    def _apply_dense(self, grad, var):
        return update_op("ApplyAdagrad", var, [self.get_slot(var, "accumulator")], cast(self._lr, var), grad,
                         use_locking=self._use_locking)

    def _apply_sparse(self, grad, var):
        return update_op("SparseApplyAdagrad", var, [self.get_slot(var, "accumulator")], cast(self._lr, var),
                         grad.values, grad.indices, use_locking=self._use_locking)


class AdadeltaOptimizer(Optimizer):
    """Adadelta: steps scaled by the ratio of running means of past updates and gradients."""

    def __init__(self, learning_rate=0.001, rho=0.95, epsilon=1e-8, use_locking=False, name="Adadelta"):
        super().__init__(use_locking, name)
        self._learning_rate, self._rho, self._epsilon = learning_rate, rho, epsilon

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "accum", self._name)
            self._slot(v, "accum_update", self._name)

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "lr")
        self._rho_t = self._number(self._rho, "rho")
        self._eps = self._number(self._epsilon, "epsilon")

    def _apply(self, kind, var, *gradient):
        slots = [self.get_slot(var, "accum"), self.get_slot(var, "accum_update")]
        return update_op(kind, var, slots, cast(self._lr, var), cast(self._rho_t, var), cast(self._eps, var),
                         *gradient, use_locking=self._use_locking)

    def _apply_dense(self, grad, var):
        return self._apply("ApplyAdadelta", var, grad)

    def _apply_sparse(self, grad, var):
        return self._apply("SparseApplyAdadelta", var, grad.values, grad.indices)


class RMSPropOptimizer(Optimizer):
    """Gradients divided by a running root mean square; `centered` subtracts the running mean from it."""

    def __init__(self, learning_rate, decay=0.9, momentum=0.0, epsilon=1e-10, use_locking=False, centered=False,
                 name="RMSProp"):
        super().__init__(use_locking, name)
        self._learning_rate, self._decay, self._momentum, self._epsilon = learning_rate, decay, momentum, epsilon
        self._centered = centered

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "rms", self._name, sl.ones_initializer())
            if self._centered:
                self._slot(v, "mg", self._name)
            self._slot(v, "momentum", self._name)

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        self._rho = self._number(self._decay, "decay")
        self._m = self._number(self._momentum, "momentum")
        self._eps = self._number(self._epsilon, "epsilon")

    def _apply(self, prefix, var, *gradient):
        slots = [self.get_slot(var, s) for s in (["mg"] if self._centered else []) + ["rms", "momentum"]]
        return update_op(prefix + ("ApplyCenteredRMSProp" if self._centered else "ApplyRMSProp"), var, slots,
                         cast(self._lr, var), cast(self._rho, var), cast(self._m, var), cast(self._eps, var),
                         *gradient, use_locking=self._use_locking)

    def _apply_dense(self, grad, var):
        return self._apply("", var, grad)

    def _apply_sparse(self, grad, var):
        return self._apply("Sparse", var, grad.values, grad.indices)


class AdamOptimizer(Optimizer):
    """Adam: running means of the gradient and of its square, corrected for their start at zero."""

    def __init__(self, learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, use_locking=False, name="Adam"):
        super().__init__(use_locking, name)
        self._learning_rate, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon

    def _beta_powers(self):
        return self._get_non_slot_variable("beta1_power"), self._get_non_slot_variable("beta2_power")

    def _create_slots(self, var_list):
        first = min(var_list, key=lambda v: v.name)
        for name, beta in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            self._non_slot(name, beta() if callable(beta) else beta, first)
        for v in var_list:
            self._slot(v, "m", self._name)
            self._slot(v, "v", self._name)

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        self._b1 = self._number(self._beta1, "beta1")
        self._b2 = self._number(self._beta2, "beta2")
        self._eps = self._number(self._epsilon, "epsilon")

    def _apply_dense(self, grad, var):
        power1, power2 = self._beta_powers()
        return update_op("ApplyAdam", var, [self.get_slot(var, "m"), self.get_slot(var, "v")], cast(power1, var),
                         cast(power2, var), cast(self._lr, var), cast(self._b1, var), cast(self._b2, var),
                         cast(self._eps, var), grad, use_locking=self._use_locking)

    def _apply_sparse(self, grad, var):
        """Every row's means decay, also of rows without a gradient, so the result is that of the dense update."""
        power1, power2 = (cast(p, var) for p in self._beta_powers())
        b1, b2, eps = cast(self._b1, var), cast(self._b2, var), cast(self._eps, var)
        lr = cast(self._lr, var) * sl.sqrt(1 - power2) / (1 - power1)
        m_t = self._decay_and_add(self.get_slot(var, "m"), b1, grad.indices, grad.values * (1 - b1))
        v_t = self._decay_and_add(self.get_slot(var, "v"), b2, grad.indices, (grad.values * grad.values) * (1 - b2))
        update = sl.assign_sub(var, lr * m_t / (sl.sqrt(v_t) + eps), use_locking=self._use_locking)
        return sl.group(update, m_t, v_t)

    def _decay_and_add(self, slot, decay, indices, rows):
        """slot = slot * decay, plus `rows` at `indices`; the new value."""
        with sl.control_dependencies([sl.assign(slot, slot * decay, use_locking=self._use_locking)]):
            if is_resource(slot):
                with sl.control_dependencies([raw_ops.ResourceScatterAdd(slot.handle, indices, rows)]):
                    return slot.read_value()
            return raw_ops.ScatterAdd(slot._ref(), indices, rows, use_locking=self._use_locking)

    def _finish(self, update_ops, name_scope):
        power1, power2 = self._beta_powers()
        with sl.control_dependencies(update_ops), sl.colocate_with(power1):
            updates = [power1.assign(power1 * self._b1, use_locking=self._use_locking),
                       power2.assign(power2 * self._b2, use_locking=self._use_locking)]
        return sl.group(*(list(update_ops) + updates), name=name_scope)


class FtrlOptimizer(Optimizer):
    """Follow the regularised leader: sparse models through l1, with optional l2 and shrinkage."""

    def __init__(self, learning_rate, learning_rate_power=-0.5, initial_accumulator_value=0.1,
                 l1_regularization_strength=0.0, l2_regularization_strength=0.0, use_locking=False, name="Ftrl",
                 accum_name=None, linear_name=None, l2_shrinkage_regularization_strength=0.0):
        super().__init__(use_locking, name)
        for what, value in (("initial_accumulator_value", initial_accumulator_value),
                            ("l1_regularization_strength", l1_regularization_strength),
                            ("l2_regularization_strength", l2_regularization_strength),
                            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength)):
            if value < 0.0:
                raise ValueError("%s %f needs to be positive or zero" % (what, value))
        if learning_rate_power > 0.0:
            raise ValueError("learning_rate_power %f needs to be negative or zero" % learning_rate_power)
        self._learning_rate, self._power, self._initial = learning_rate, learning_rate_power, initial_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength
        self._shrinkage = l2_shrinkage_regularization_strength
        self._accum_name, self._linear_name = accum_name, linear_name

    def _create_slots(self, var_list):
        for v in var_list:
            self._slot(v, "accum", self._accum_name or self._name,
                       sl.constant_initializer(self._initial))
            self._slot(v, "linear", self._linear_name or self._name)

    def _prepare(self):
        self._lr = self._number(self._learning_rate, "learning_rate")
        self._l1_t = self._number(self._l1, "l1_regularization_strength")
        self._l2_t = self._number(self._l2, "l2_regularization_strength")
        self._shrinkage_t = self._number(self._shrinkage, "l2_shrinkage_regularization_strength")
        self._power_t = self._number(self._power, "learning_rate_power")

    def _apply(self, kind, var, *gradient):
        slots = [self.get_slot(var, "accum"), self.get_slot(var, "linear")]
        numbers = [cast(self._lr, var), cast(self._l1_t, var), cast(self._l2_t, var)]
        if self._shrinkage > 0.0:
            kind, numbers = kind + "V2", numbers + [cast(self._shrinkage_t, var)]
        return update_op(kind, var, slots, *gradient, *numbers, cast(self._power_t, var),
                         use_locking=self._use_locking)

    def _apply_dense(self, grad, var):
        return self._apply("ApplyFtrl", var, grad)

    def _apply_sparse(self, grad, var):
        return self._apply("SparseApplyFtrl", var, grad.values, grad.indices)
