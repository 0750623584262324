"""Starting variables from a checkpoint of another model."""
import os

import sluice as sl
from sluice import raw_ops
from sluice.train._optimizer import is_resource
from sluice.train._reader import load_checkpoint


def init_from_checkpoint(ckpt_dir_or_file, assignment_map):
    """Makes the initialisation of variables read a checkpoint. `assignment_map` has, from the checkpoint to the graph:

        "name": variable, or "variable name"        one variable (a list for a partitioned one)
        "scope/": "other scope/"                    every variable below other scope that the checkpoint has
        "/": "scope/"                               the same from the top of the checkpoint
    """
    reader = load_checkpoint(ckpt_dir_or_file)
    path = os.fspath(ckpt_dir_or_file)
    prefix = sl.train.latest_checkpoint(path) if os.path.isdir(path) else path
    shapes = reader.get_variable_to_shape_map()
    for source, target in dict(assignment_map).items():
        if not (isinstance(target, str) and target.endswith("/") or source.endswith("/")):
            _set(prefix, shapes, source, _variables(target))
            continue
        source_scope, scope = ("" if source == "/" else source), ("" if target == "/" else target)
        if not (isinstance(scope, str) and (scope == "" or scope.endswith("/"))):
            raise ValueError("Assignment map with scope only name %r should map to scope only, not to %r"
                             % (source, target))
        found = {}
        for variable in sl.global_variables():
            name = _full_name(variable)
            if name.startswith(scope) and source_scope + name[len(scope):] in shapes:
                found.setdefault(source_scope + name[len(scope):], []).append(variable)
        if not found:
            raise ValueError("No variable of the graph below %r is in checkpoint %s below %r" % (scope, prefix, source))
        for name, variables in sorted(found.items()):
            _set(prefix, shapes, name, variables)


def _full_name(variable):
    info = getattr(variable, "_save_slice_info", None)
    return variable.op.name if info is None else info.full_name


def _variables(target):
    if isinstance(target, str):
        found = [v for v in sl.global_variables() if _full_name(v) == target]
        if not found:
            raise ValueError("Variable %s is not in the graph" % target)
        return found
    return list(target) if isinstance(target, (list, tuple)) or type(target).__name__ == "PartitionedVariable" \
        else [target]


def _set(prefix, shapes, name, variables):
    if name not in shapes:
        raise ValueError("Tensor %s is not found in %s checkpoint %s" % (name, prefix, sorted(shapes)))
    for variable in variables:
        info = getattr(variable, "_save_slice_info", None)
        shape = sl.TensorShape(info.full_shape if info is not None else variable.get_shape())
        if not shape.is_compatible_with(shapes[name]):
            raise ValueError("Shape of variable %s (%s) doesn't match with shape of tensor %s (%s) from checkpoint "
                             "reader." % (variable.name, shape, name, shapes[name]))
        with sl.init_scope(), sl.device("/device:CPU:0"):
            value = raw_ops.RestoreV2(prefix, [name], [info.spec if info is not None else ""],
                                      dtypes=[variable.dtype.base_dtype], name="checkpoint_initializer")
            value = value[0] if isinstance(value, (list, tuple)) else value
            value.set_shape(variable.get_shape())
        with sl.init_scope(), sl.colocate_with(variable.op):
            if is_resource(variable):
                variable._initializer_op = raw_ops.AssignVariableOp(variable.handle, value)
            else:
                variable._initializer_op = sl.assign(variable._ref(), value).op
        variable._initial_value = value
