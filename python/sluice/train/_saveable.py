"""What a Saver saves: named tensors, each with the way back into the variable it came from."""
import sluice as sl
from sluice.train._optimizer import is_resource


class SaveSpec:
    """One tensor of a checkpoint: the tensor, its slice ("" for a whole tensor), and its name in the file."""

    def __init__(self, tensor, slice_spec, name, dtype=None):
        self.tensor, self.slice_spec, self.name = tensor, slice_spec, name
        self.dtype = dtype or tensor.dtype.base_dtype


class SaveableObject:
    """Anything whose state is saved as the tensors of `specs` and set again by `restore`."""

    def __init__(self, op, specs, name):
        self.op, self.specs, self.name = op, specs, name

    @property
    def device(self):
        return self.specs[0].tensor.device

    def restore(self, restored_tensors, restored_shapes):
        """The operation that sets the state from the tensors read from a checkpoint."""
        raise NotImplementedError("%s cannot be restored" % type(self).__name__)


class _VariableSaveable(SaveableObject):
    """A variable, or one part of a partitioned variable."""

    def __init__(self, variable, name):
        info = getattr(variable, "_save_slice_info", None)
        self._variable = variable
        with sl.init_scope(), sl.colocate_with(variable.op, ignore_existing=True):
            tensor = _read(variable, info is not None)
        super().__init__(variable, [SaveSpec(tensor, info.spec if info is not None else "", name,
                                             variable.dtype.base_dtype)], name)

    @property
    def device(self):
        return self._variable.device or ""

    def restore(self, restored_tensors, restored_shapes):
        value, = restored_tensors
        if restored_shapes is not None:
            value = sl.reshape(value, restored_shapes[0])
        variable = self._variable
        if is_resource(variable):
            with sl.device(variable.device or None):
                value = sl.identity(value)
                value.set_shape(variable.get_shape())
                return sl.raw_ops.AssignVariableOp(variable.handle, value)
        return sl.assign(variable._ref(), value, validate_shape=restored_shapes is None
                         and variable.get_shape().is_fully_defined())


def _read(variable, sliced):
    """The tensor that SaveV2 gets: a reference itself, else the variable's value."""
    if is_resource(variable):
        read = getattr(variable, "_graph_element", None)
        return read if read is not None else variable.read_value()
    return variable.value() if sliced else variable._ref()


def saveables_of(var_list):
    """Saveables for a list or a dict {name: variable}, sorted by name; every variable and every name once."""
    named = {}
    if isinstance(var_list, dict):
        for name, value in var_list.items():
            named[name] = [value] if isinstance(value, SaveableObject) else _parts(value)
    else:
        if hasattr(var_list, "op") and not isinstance(var_list, (list, tuple)):
            var_list = [var_list]
        for value in var_list:
            if isinstance(value, SaveableObject):
                _add(named, value.name, value, False)
                continue
            for part in _parts(value):
                info = getattr(part, "_save_slice_info", None)
                _add(named, part.op.name if info is None else info.full_name, part, info is not None)
    saveables, seen = [], set()
    for name in sorted(named):
        for value in named[name]:
            if id(value) in seen:
                raise ValueError("The same saveable will be restored with two names: %s" % name)
            seen.add(id(value))
            saveables.append(value if isinstance(value, SaveableObject) else _VariableSaveable(value, name))
    return saveables


def _add(named, name, value, sliced):
    have = named.setdefault(name, [])
    if have and not (sliced and getattr(have[0], "_save_slice_info", None) is not None):
        raise ValueError("At least two variables have the same name: %s" % name)
    have.append(value)


def _parts(value):
    if type(value).__name__ == "PartitionedVariable" or isinstance(value, (list, tuple)):
        return [p for v in value for p in _parts(v)]
    if not (isinstance(value, sl.Variable) or is_resource(value)):
        if isinstance(value, sl.Tensor) and value.op.type in ("VariableV2", "Variable", "AutoReloadVariable"):
            raise TypeError("names_to_saveables must be a dict mapping string names to variables: pass the Variable "
                            "rather than its tensor %s" % value.name)
        raise TypeError("Variable to save is not a Variable: %s" % (value,))
    return [value]
