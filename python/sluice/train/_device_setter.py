"""replica_device_setter: variables onto the parameter servers, everything else onto the worker."""
import random

from sluice import DeviceSpec
from sluice import logging
from sluice.train._cluster_spec import ClusterSpec

# What holds the state of a model, and so lives on a parameter server.
STANDARD_PS_OPS = ("Variable", "VariableV2", "AutoReloadVariable", "MutableHashTable", "MutableHashTableV2",
                   "MutableHashTableOfTensors", "MutableHashTableOfTensorsV2", "MutableDenseHashTable",
                   "MutableDenseHashTableV2", "VarHandleOp")


class RoundRobinStrategy:
    """Gives the parameter servers one op each, in turn."""

    def __init__(self, num_tasks):
        self._num_tasks, self._next = num_tasks, 0

    def __call__(self, op):
        task = self._next
        self._next = (task + 1) % self._num_tasks
        return task


class RandomStrategy:
    """Gives each op to a parameter server drawn at random, the same ones for the same seed."""

    def __init__(self, num_ps, seed=0):
        self._num_ps, self._random = num_ps, random.Random(seed)

    def __call__(self, op):
        return self._random.randrange(self._num_ps)


class GreedyLoadBalancingStrategy:
    """Gives each op to the parameter server with the least load so far, the first of equals.

    Args:
      num_tasks: how many parameter servers there are.
      load_fn: the load of an op, a non-negative number: byte_size_load_fn, or a function of your own.
    """

    def __init__(self, num_tasks, load_fn):
        self._loads, self._load_fn = [0] * num_tasks, load_fn

    def __call__(self, op):
        task = self._loads.index(min(self._loads))
        self._loads[task] += self._load_fn(op)
        return task


def byte_size_load_fn(op):
    """The bytes of a variable, from its op's dtype and shape; ValueError when the shape is not fully known."""
    from sluice import TensorShape
    shape = TensorShape(op.get_attr("shape"))
    if not shape.is_fully_defined():
        raise ValueError("byte_size_load_fn: the shape of '%s' is not fully known: %s" % (op.name, shape))
    return op.get_attr("dtype").size * shape.num_elements()


def replica_device_setter(ps_tasks=0, ps_device="/job:ps", worker_device="/job:worker", merge_devices=True,
                          cluster=None, ps_ops=None, ps_strategy=None):
    """A device function for `sl.device`, for replicas that share their variables on parameter servers.

        with sl.device(sl.train.replica_device_setter(cluster=cluster)):
            w = sl.get_variable("w", [784, 10])        # /job:ps/task:0
            b = sl.get_variable("b", [10])             # /job:ps/task:1
            y = sl.matmul(x, w) + b                    # /job:worker

    Args:
      ps_tasks: how many parameter servers there are; ignored when `cluster` is given.
      ps_device, worker_device: the devices of the two kinds, without the task of the former.
      merge_devices: whether an op's own device is merged with the chosen one, rather than keeping it unchanged.
      cluster: what ClusterSpec takes; the job named in `ps_device` is counted in it.
      ps_ops: the op types that go to the parameter servers; by default variables and tables.
      ps_strategy: a function from an op to the number of its parameter server; by default one after the other.

    Returns None, which `sl.device` takes, when there are no parameter servers.
    """
    if cluster is not None:
        spec = ClusterSpec(cluster)
        job = DeviceSpec.from_string(ps_device).job
        if job not in spec.jobs:
            return None
        ps_tasks = spec.num_tasks(job)
    if ps_tasks == 0:
        return None
    if not merge_devices:
        logging.warning("DEPRECATION: It is recommended to set merge_devices=true in replica_device_setter")
    strategy = RoundRobinStrategy(ps_tasks) if ps_strategy is None else ps_strategy
    if not callable(strategy):
        raise TypeError("ps_strategy must be callable")
    state_ops = frozenset(STANDARD_PS_OPS if ps_ops is None else ps_ops)

    def device_of(op):
        if not merge_devices and op.device:
            return op.device
        current = DeviceSpec.from_string(op.device or "")
        if ps_device and op.type in state_ops:
            chosen = DeviceSpec.from_string(ps_device)
            if chosen.job and (not current.job or current.job == chosen.job):
                chosen = chosen.replace(task=strategy(op))
        else:
            chosen = DeviceSpec.from_string(worker_device or "")
        return chosen.make_merged_spec(current).to_string()

    return device_of
