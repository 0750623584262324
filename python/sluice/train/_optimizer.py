"""Optimizer: gradients of a loss, and the operations that apply them to variables.

A subclass says which slots a variable has (`_create_slots`), turns its hyperparameters into tensors (`_prepare`),
and gives one update for a dense and one for a sparse gradient. Reference variables and resource variables differ
only in the op that `update_op` picks and in the first inputs of that op.
"""
import abc

import sluice as sl
from sluice import raw_ops


def is_resource(variable):
    """Whether `variable` lives behind a resource handle rather than a reference."""
    handle = getattr(variable, "handle", None)
    return handle is not None and handle.dtype == sl.resource


def ref_of(variable):
    """The first input of ops that change `variable`: its handle or its reference."""
    return variable.handle if is_resource(variable) else variable._ref()


def update_op(kind, variable, slots, *args, **attrs):
    """Adds the fused update `kind` (such as "ApplyAdam") of `variable` and its slots."""
    op = getattr(raw_ops, ("Resource" if is_resource(variable) else "") + kind)
    return op(ref_of(variable), *[ref_of(s) for s in slots], *args, **attrs)


def summed_by_index(grad):
    """An IndexedSlices with each index once: the rows of equal indices are added."""
    unique = raw_ops.Unique(grad.indices)
    indices, positions = unique[0], unique[1]
    values = sl.unsorted_segment_sum(grad.values, positions, sl.shape(indices)[0])
    return sl.IndexedSlices(values, indices, grad.dense_shape)


class Optimizer(abc.ABC):
    """Base class of the optimisers."""

    GATE_NONE = 0
    GATE_OP = 1
    GATE_GRAPH = 2

    def __init__(self, use_locking, name):
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name
        self._slots = {}  # slot name -> {variable key: slot variable}
        self._non_slot_dict = {}  # (name, graph) -> variable

    def get_name(self):
        return self._name

    def minimize(self, loss, global_step=None, var_list=None, gate_gradients=GATE_OP, aggregation_method=None,
                 colocate_gradients_with_ops=False, name=None, grad_loss=None):
        """compute_gradients followed by apply_gradients."""
        grads_and_vars = self.compute_gradients(
            loss, var_list=var_list, gate_gradients=gate_gradients, aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops, grad_loss=grad_loss)
        if not any(g is not None for g, _ in grads_and_vars):
            raise ValueError("No gradients provided for any variable, check your graph for ops that do not support "
                             "gradients, between variables %s and loss %s."
                             % ([str(v) for _, v in grads_and_vars], loss))
        return self.apply_gradients(grads_and_vars, global_step=global_step, name=name)

    def compute_gradients(self, loss, var_list=None, gate_gradients=GATE_OP, aggregation_method=None,
                          colocate_gradients_with_ops=False, grad_loss=None):
        """A list of (gradient or None, variable)."""
        if callable(loss) and not isinstance(loss, sl.Tensor):
            raise RuntimeError("`loss` must be a tensor: the graph is built before it runs, so a function has no "
                               "place here. Call it and pass what it returns.")
        if gate_gradients not in (self.GATE_NONE, self.GATE_OP, self.GATE_GRAPH):
            raise ValueError("gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, "
                             "Optimizer.GATE_GRAPH.  Not %s" % gate_gradients)
        _assert_valid_dtypes([loss] + ([] if grad_loss is None else [grad_loss]))
        if var_list is None:
            var_list = sl.trainable_variables()
        else:
            var_list = _flatten(var_list)
        if not var_list:
            raise ValueError("No variables to optimize.")
        for v in var_list:
            if not (isinstance(v, sl.Variable) or hasattr(v, "_ref") or hasattr(v, "handle")):
                raise NotImplementedError("Trying to update a %s, which is not a variable: %r" % (type(v).__name__, v))
        grads = sl.gradients(loss, var_list, grad_ys=grad_loss, gate_gradients=gate_gradients == self.GATE_OP,
                             aggregation_method=aggregation_method,
                             colocate_gradients_with_ops=colocate_gradients_with_ops)
        if gate_gradients == self.GATE_GRAPH:
            grads = sl.tuple(grads)
        result = list(zip(grads, var_list))
        _assert_valid_dtypes([v for g, v in result if g is not None])
        return result

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """The operation that updates every variable that has a gradient, then adds 1 to `global_step`."""
        grads_and_vars = tuple(grads_and_vars)
        if not grads_and_vars:
            raise ValueError("No variables provided.")
        pairs = []
        for grad, var in grads_and_vars:
            if grad is None:
                continue
            if not isinstance(grad, sl.IndexedSlices):
                try:
                    grad = sl.convert_to_tensor(grad)
                except TypeError:
                    raise TypeError("Gradient must be convertible to a Tensor or IndexedSlices, or None: %r"
                                    % (grad,)) from None
            pairs.append((grad, var))
        if not pairs:
            raise ValueError("No gradients provided for any variable: %s." % [str(v) for _, v in grads_and_vars])
        with sl.init_scope():
            self._create_slots([v for _, v in pairs])
        with sl.name_scope(name, self._name) as name:
            self._prepare()
            updates = []
            for grad, var in pairs:
                with sl.name_scope("update_" + var.op.name), sl.colocate_with(var):
                    updates.append(self._update(grad, var))
            if global_step is None:
                train_op = self._finish(updates, name)
            else:
                with sl.control_dependencies([self._finish(updates, "update")]):
                    with sl.colocate_with(global_step):
                        train_op = sl.assign_add(global_step, 1, name=name)
            operation = getattr(train_op, "op", train_op)
            if operation not in sl.get_collection_ref(sl.GraphKeys.TRAIN_OP):
                sl.add_to_collection(sl.GraphKeys.TRAIN_OP, operation)
            return operation

    # Slots.
    def get_slot(self, var, name):
        """The slot `name` of `var`, or None."""
        return self._slots.get(name, {}).get(_key(var))

    def get_slot_names(self):
        """The names of all slots, sorted."""
        return sorted(self._slots)

    def variables(self):
        """Every variable that this optimiser made in the current graph, sorted by name."""
        graph = sl.get_default_graph()
        made = [v for (_, g), v in self._non_slot_dict.items() if g is graph]
        made += [s for slots in self._slots.values() for s in slots.values() if s.graph is graph]
        return sorted(made, key=lambda v: v.name)

    def _slot(self, var, slot_name, op_name, initializer=None, shape=None, dtype=None):
        """The slot `slot_name` of `var`, made on the first call; zeros unless an initializer is given."""
        slots = self._slots.setdefault(slot_name, {})
        key = _key(var)
        found = slots.get(key)
        if found is None:
            found = slots[key] = _make_slot(var, op_name, initializer, shape, dtype)
        return found

    def _non_slot(self, name, initial_value, colocate_with):
        """A variable that belongs to the optimiser rather than to one variable."""
        key = (name, sl.get_default_graph())
        if key not in self._non_slot_dict:
            with sl.colocate_with(colocate_with):
                self._non_slot_dict[key] = sl.Variable(initial_value, name=name, trainable=False,
                                                       use_resource=is_resource(colocate_with))
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name, graph=None):
        return self._non_slot_dict.get((name, graph or sl.get_default_graph()))

    # What subclasses write.
    def _create_slots(self, var_list):
        pass

    def _prepare(self):
        pass

    @abc.abstractmethod
    def _apply_dense(self, grad, var):
        """The operation that applies a dense gradient."""

    @abc.abstractmethod
    def _apply_sparse(self, grad, var):
        """The operation that applies an IndexedSlices whose indices occur once."""

    def _apply_sparse_duplicate_indices(self, grad, var):
        """The operation that applies any IndexedSlices; the default adds rows of equal indices first."""
        return self._apply_sparse(summed_by_index(grad), var)

    def _finish(self, update_ops, name_scope):
        return sl.group(*update_ops, name=name_scope)

    def _update(self, grad, var):
        constraint = getattr(var, "constraint", None)
        if isinstance(grad, sl.IndexedSlices):
            if constraint is not None:
                raise RuntimeError("Cannot use a constraint function on a sparse variable.")
            return self._apply_sparse_duplicate_indices(grad, var)
        update = self._apply_dense(grad, var)
        if constraint is not None:
            with sl.control_dependencies([update]):
                # Read anew: the variable's usual read may have run before the update.
                return var.assign(constraint(var.read_value()), use_locking=self._use_locking)
        return update

    def _number(self, value, name):
        """A hyperparameter (a number, a tensor, or a function that gives one) as a tensor."""
        return sl.convert_to_tensor(value() if callable(value) else value, name=name)


def cast(tensor, var):
    """`tensor` in the type of `var`."""
    wanted = var.dtype.base_dtype
    return tensor if tensor.dtype is wanted and isinstance(tensor, sl.Tensor) else sl.cast(tensor, wanted)


def _key(var):
    return (var.graph, var.op.name)


def _flatten(var_list):
    result = []
    for v in var_list if isinstance(var_list, (list, tuple)) or type(var_list).__name__ == "PartitionedVariable" \
            else [var_list]:
        result.extend(list(v) if type(v).__name__ == "PartitionedVariable" or isinstance(v, (list, tuple)) else [v])
    return result


def _assert_valid_dtypes(tensors):
    for t in tensors:
        dtype = t.dtype.base_dtype
        if dtype not in (sl.float16, sl.bfloat16, sl.float32, sl.float64):
            raise ValueError("Invalid type %r for %s, expected: float16, bfloat16, float32 or float64."
                             % (dtype, t.name))


def start_value(variable):
    """What another variable that starts as a copy of `variable` is initialised with.

    A branch cannot take a reference, so a reference variable gives its initial value, which is the same tensor (and in
    one step the same value, also when random) that initialises the variable itself.
    """
    return variable.initialized_value() if is_resource(variable) else variable.initial_value


def _make_slot(primary, op_name, initializer, shape, dtype):
    """A variable named after `primary` and `op_name`, placed with it, and saved as a slice when it is one."""
    shape = primary.get_shape() if shape is None else sl.TensorShape(shape)
    dtype = primary.dtype.base_dtype if dtype is None else dtype
    if initializer is None:
        initializer = sl.zeros_initializer()
    attrs = {}
    if callable(initializer) and not shape.is_fully_defined():
        initializer = initializer(sl.shape(start_value(primary)), dtype=dtype)
        attrs["validate_shape"] = False
    elif callable(initializer):
        attrs["shape"] = shape
    with sl.variable_scope(None, default_name=primary.op.name + "/" + op_name) as scope, sl.colocate_with(primary):
        scope.set_partitioner(None)
        slot = sl.get_variable("", initializer=initializer, dtype=dtype, trainable=False,
                               use_resource=is_resource(primary), **attrs)
    info = getattr(primary, "_save_slice_info", None)
    if info is not None:
        suffix = slot.op.name[len(primary.op.name):]
        slot._set_save_slice_info(sl.Variable.SaveSliceInfo(info.full_name + suffix, list(info.full_shape),
                                                            list(info.var_offset), list(info.var_shape)))
    return slot
