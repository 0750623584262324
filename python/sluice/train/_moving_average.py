"""Exponential moving averages of variables."""
import sluice as sl
from sluice.train._optimizer import _make_slot, is_resource, start_value


class ExponentialMovingAverage:
    """Keeps average = decay * average + (1 - decay) * value for variables and tensors.

    With `num_updates` the decay starts low: min(decay, (1 + num_updates) / (10 + num_updates)).
    With `zero_debias` the averages of tensors, which start at zero, are corrected for that.
    """

    def __init__(self, decay, num_updates=None, zero_debias=False, name="ExponentialMovingAverage"):
        self._decay, self._num_updates, self._zero_debias, self._name = decay, num_updates, zero_debias, name
        self._averages = {}

    @property
    def name(self):
        return self._name

    def apply(self, var_list=None):
        """Makes the averages of `var_list` (the trainable variables by default) and returns the op that updates them."""
        if var_list is None:
            var_list = sl.trainable_variables()
        for var in var_list:
            if var.dtype.base_dtype not in (sl.float16, sl.bfloat16, sl.float32, sl.float64):
                raise TypeError("The variables must be half, float, or double: %s" % var.name)
            if self._key(var) not in self._averages:
                # The average belongs beside the graph's variables: no control dependency of the caller may hold it.
                with sl.init_scope():
                    self._averages[self._key(var)] = self._make(var)
                if _is_variable(var):
                    sl.add_to_collection(sl.GraphKeys.MOVING_AVERAGE_VARIABLES, var)
        with sl.name_scope(self._name) as scope:
            decay = sl.convert_to_tensor(self._decay, dtype=sl.float32, name="decay")
            if self._num_updates is not None:
                updates = sl.cast(self._num_updates, sl.float32, name="num_updates")
                decay = sl.minimum(decay, (1.0 + updates) / (10.0 + updates))
            ops = []
            for var in var_list:
                average, biased, steps = self._averages[self._key(var)]
                with sl.name_scope("AssignMovingAvg") as update_scope, sl.colocate_with(average):
                    keep = sl.cast(1.0 - decay, average.dtype.base_dtype)
                    # Read anew: the caller's control dependencies say after which update.
                    var = var.read_value() if _is_variable(var) else var
                    if biased is None:
                        ops.append(sl.assign_sub(average, (average - var) * keep, name=update_scope))
                        continue
                    new_biased = sl.assign_sub(biased, (biased - var) * keep)
                    with sl.control_dependencies([new_biased]):
                        count = sl.assign_add(steps, 1.0)
                    left = sl.pow(sl.cast(decay, average.dtype.base_dtype), count)
                    ops.append(sl.assign(average, new_biased / (1.0 - left), name=update_scope))
            return sl.group(*ops, name=scope)

    def _make(self, var):
        """(average, biased average or None, its number of updates or None)."""
        if _is_variable(var):
            average = _make_slot(var, self._name, start_value(var), None, None)
        else:
            if not var.get_shape().is_fully_defined():
                raise ValueError("The moving average of tensor %s needs a fully defined shape, found %s"
                                 % (var.name, var.get_shape()))
            with sl.variable_scope(None, default_name=var.op.name + "/" + self._name), sl.colocate_with(var.op):
                average = sl.get_variable("", shape=var.get_shape(), dtype=var.dtype.base_dtype, trainable=False,
                                          initializer=sl.zeros_initializer())
        if not self._zero_debias or _is_variable(var):
            return average, None, None
        with sl.variable_scope(None, default_name=average.op.name), sl.colocate_with(average):
            biased = sl.get_variable("biased", shape=average.get_shape(), dtype=average.dtype.base_dtype,
                                     trainable=False, initializer=sl.zeros_initializer())
            steps = sl.get_variable("local_step", shape=[], dtype=average.dtype.base_dtype, trainable=False,
                                    initializer=sl.zeros_initializer())
        return average, biased, steps

    def average(self, var):
        """The variable that holds the average of `var`, or None."""
        found = self._averages.get(self._key(var))
        return None if found is None else found[0]

    def average_name(self, var):
        """The name under which the average of `var` is, or would be, saved."""
        if var is not None and self._key(var) in self._averages:
            return self._averages[self._key(var)][0].op.name
        return sl.get_default_graph().unique_name(var.op.name + "/" + self._name, mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables=None):
        """A map from names in a checkpoint to variables that restores averages into the variables themselves."""
        averaged = sl.trainable_variables() + sl.moving_average_variables() if moving_avg_variables is None \
            else list(moving_avg_variables)
        names = {}
        for v in dict.fromkeys(averaged):
            names[self.average_name(v)] = v
        held = {v.op.name for v in averaged}
        for v in sl.global_variables():
            if v.op.name not in held and v.op.name not in names:
                names[v.op.name] = v
        return names

    @staticmethod
    def _key(var):
        return (var.graph, var.name)


def _is_variable(value):
    return isinstance(value, sl.Variable) or is_resource(value)
