"""Collectives: what the members of a group do together, each with a tensor of its own.

A group is a number of members that know the same key. A member is a device: one in each of several processes that build
the same graph (between-graph), or several devices of one graph (in-graph). Members meet call by call, in the order in
which each of them builds its graph, so members must make the same calls in the same order.
"""
import sluice as sl
from sluice import raw_ops

DEFAULT_GROUP = 1
_MERGES = {"add": "Add", "sum": "Add", "mul": "Mul", "prod": "Mul", "max": "Max", "min": "Min"}


def all_reduce(value, members=None, merge_op="add", mean=False, group=DEFAULT_GROUP, name=None, member=0):
    """The sum (product, maximum, minimum) over all members, element by element; every member gets the same bits.

        mean = sl.distribute.all_reduce(gradient, members=4, mean=True)          # in each of four processes
        sums = sl.distribute.all_reduce([on_cpu0, on_cpu1])                      # two devices of one graph

    Args:
      value: a numeric tensor of the same shape and type on each member; or a list of such tensors, one for each of several
        devices of this graph, each reduced on the device that it is on.
      members: how many members there are in all. With a list: its length, unless other processes take part too.
      merge_op: "add", "mul", "max" or "min".
      mean: divides the result by the number of members (integers are truncated).
      group: the key of the group: members of different groups do not meet.
      name: of the operation.
      member: which member this call is for, when one graph makes the calls of several one after the other.

    Returns:
      A tensor of the shape of `value`; for a list, a list.

    Raises:
      ValueError: when the number of members is not known, or `merge_op` is another one.
    When it runs: InvalidArgumentError when members differ in shape, type or operation; UnavailableError or AbortedError
    when a member is lost or its step fails; DeadlineExceededError when one does not come (after ten minutes, or
    SLUICE_COLLECTIVE_TIMEOUT seconds). Each names the member.
    """
    if merge_op.lower() not in _MERGES:
        raise ValueError("merge_op must be one of 'add', 'mul', 'max', 'min', found %r" % merge_op)

    def one(tensor, size, instance):
        return raw_ops.CollectiveReduce(tensor, group_size=size, group_key=group, instance_key=instance,
                                        merge_op=_MERGES[merge_op.lower()], final_op="Div" if mean else "Id",
                                        subdiv_offsets=[0], name=name or "all_reduce")

    return _on_each(one, value, members, group, member)


def all_gather(value, members=None, group=DEFAULT_GROUP, name=None, member=0):
    """The tensors of all members, one after the other along dimension 0, in the order of members.

    Args, errors: as all_reduce. The shape must be known, and be the same on every member: where members have different
    numbers of rows, pad them and gather the numbers too.
    """
    def one(tensor, size, instance):
        shape = tensor.get_shape()
        if not shape.is_fully_defined() or shape.ndims == 0:
            raise ValueError("all_gather needs a tensor with a known shape of at least one dimension, since every member must "
                             "have the same; %s has %s" % (tensor.name, shape))
        whole = [shape.as_list()[0] * size] + shape.as_list()[1:]
        return raw_ops.CollectiveGather(tensor, group_size=size, group_key=group, instance_key=instance, shape=whole,
                                        name=name or "all_gather")

    return _on_each(one, value, members, group, member)


def broadcast(value, members, source, shape=None, dtype=None, group=DEFAULT_GROUP, name=None, member=0):
    """The tensor of one member, on all members.

        step = sl.distribute.broadcast(step, members=4, source=rank == 0)

    Args:
      value: the tensor, whose shape must be known. Members that receive use its shape and type alone, and do not
        compute it; they may pass None with `shape` and `dtype`.
      members: how many there are.
      source: whether this member is the one that gives its value; exactly one must be.
      shape, dtype: what is received, when `value` is None.
      group, name, member: as in all_reduce.
    """
    if value is not None:
        value = sl.convert_to_tensor(value)
        shape, dtype = value.get_shape(), value.dtype.base_dtype
    if shape is None or dtype is None:
        raise ValueError("broadcast needs a value, or the shape and dtype of what is received")
    shape = sl.TensorShape(shape)
    if not shape.is_fully_defined():
        raise ValueError("broadcast needs a known shape, found %s" % shape)
    attrs = dict(group_size=members, group_key=group, instance_key=_next_instance(group, member), shape=shape.as_list(),
                 name=name or "broadcast")
    if source:
        if value is None:
            raise ValueError("the source of a broadcast must have a value")
        return raw_ops.CollectiveBcastSend(value, **attrs)
    return raw_ops.CollectiveBcastRecv(T=dtype, **attrs)


def broadcast_variables(variables, members, rank, root=0, group=DEFAULT_GROUP, name=None):
    """An operation that gives every variable the value that member `root` has. All variables need known shapes."""
    with sl.name_scope(name, "broadcast_variables"):
        done = []
        for v in sorted(variables, key=lambda v: v.op.name):
            with sl.colocate_with(v):
                if rank == root:
                    done.append(broadcast(v.read_value(), members, True, group=group, member=rank).op)
                else:
                    got = broadcast(None, members, False, v.get_shape(), v.dtype.base_dtype, group=group, member=rank)
                    done.append(sl.assign(v, got))
        return sl.group(*done)


def _on_each(one, value, members, group, member):
    instance = _next_instance(group, member)
    if not isinstance(value, (list, tuple)):
        if members is None:
            raise ValueError("how many members are there? (members=)")
        tensor = sl.convert_to_tensor(value)
        return one(tensor, members, instance)
    tensors = [sl.convert_to_tensor(v) for v in value]
    results = []
    for t in tensors:
        with sl.colocate_with(t.op):
            results.append(one(t, members or len(tensors), instance))
    return results


def _next_instance(group, member):
    """Members number their calls alike: the n-th of a member in a group has the key n."""
    made = sl.get_collection_ref("sluice_collectives_%d_%d" % (group, member))
    made.append(len(made) + 1)
    return made[-1]
