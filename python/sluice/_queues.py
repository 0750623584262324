"""Queues: tensors handed from step to step, and from session to session.

    queue = sl.FIFOQueue(capacity=10, dtypes=[sl.float32, sl.int32], shapes=[[28, 28], []])
    feed = queue.enqueue([image, label])            # waits while the queue is full
    images, labels = queue.dequeue_many(32)         # waits until there are 32 elements

A wait ends when the step is cancelled or runs out of time, or when the queue is closed.
"""

import hashlib

from sluice import _dtypes
from sluice import raw_ops
from sluice._convert import constant_value, convert_to_tensor
from sluice._graph import get_seed, name_scope
from sluice._shapes import TensorShape

_BATCH = "All components must have the same size in dimension 0"


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _types(dtypes):
    return [_dtypes.as_dtype(t).base_dtype for t in _listed(dtypes)]


def _shapes(shapes, dtypes, unknown_dimensions=False):
    """A shape for each component, or None when there are none."""
    if shapes is None:
        return None
    if isinstance(shapes, TensorShape):
        shapes = [shapes]
    shapes = list(shapes) if isinstance(shapes, (list, tuple)) else [shapes]
    if not shapes or not isinstance(shapes[0], (list, tuple, TensorShape)):
        if len(dtypes) == 1:
            shapes = [shapes]
    shapes = [TensorShape(s) for s in shapes]
    if len(shapes) != len(dtypes):
        raise ValueError("Queue shapes must have the same length as dtypes: %d shapes for %d dtypes"
                         % (len(shapes), len(dtypes)))
    for shape in shapes:
        if not (shape.ndims is not None if unknown_dimensions else shape.is_fully_defined()):
            raise ValueError("All shapes must be %s: %s"
                             % ("of known rank" if unknown_dimensions else "fully defined", shape))
    return shapes


def _names(names, dtypes):
    if names is None:
        return None
    names = _listed(names)
    if len(names) != len(dtypes):
        raise ValueError("Queue names must have the same length as dtypes: %d names for %d dtypes"
                         % (len(names), len(dtypes)))
    if len(set(names)) != len(names):
        raise ValueError("Duplicate names in queue: %s" % (names,))
    return names


class QueueBase:
    """What all queues have in common.

    Dequeues give one tensor, a list of tensors when elements have several components, or a dictionary when they have
    names; enqueues take the same.
    """

    def __init__(self, dtypes, shapes, names, queue_ref):
        self._dtypes = _types(dtypes)
        self._shapes = [TensorShape(None)] * len(self._dtypes) if shapes is None \
            else [TensorShape(s) for s in shapes]
        self._names = _names(names, self._dtypes)
        self._queue_ref = queue_ref
        self._name = queue_ref.op.name.rpartition("/")[2]

    queue_ref = property(lambda self: self._queue_ref, doc="The handle.")
    name = property(lambda self: self._queue_ref.op.name)
    dtypes = property(lambda self: self._dtypes, doc="The type of each component.")
    shapes = property(lambda self: self._shapes, doc="The shape of each component.")
    names = property(lambda self: self._names, doc="The name of each component, or None.")

    @staticmethod
    def from_list(index, queues):
        """The queue queues[index], chosen when it is used; the queues must agree in types, shapes and names."""
        if not queues or not isinstance(queues, list) or not all(isinstance(q, QueueBase) for q in queues):
            raise TypeError("A list of queues expected")
        first = queues[0]
        if any(q.dtypes != first.dtypes for q in queues):
            raise TypeError("Queues do not have matching component dtypes.")
        if any(q.names != first.names for q in queues):
            raise TypeError("Queues do not have matching component names.")
        shapes = [s[0] if all(a.as_list() == s[0].as_list() for a in s) else TensorShape(None)
                  for s in zip(*[[TensorShape(x) if x.ndims is not None else TensorShape([]) for x in q.shapes]
                                 for q in queues])] if all(s.ndims is not None for q in queues for s in q.shapes) \
            else None
        refs = raw_ops.Pack([q.queue_ref for q in queues])
        return QueueBase(first.dtypes, shapes, first.names, raw_ops.GatherV2(refs, index, 0))

    def _components(self, vals):
        """The values in the order of the components."""
        if isinstance(vals, dict):
            if not self._names:
                raise ValueError("Queue must have names to enqueue a dictionary")
            if sorted(self._names, key=str) != sorted(vals, key=str):
                raise ValueError("Keys in dictionary to enqueue do not match names of Queue.  Dictionary: %s, Queue: %s"
                                 % (sorted(vals, key=str), sorted(self._names, key=str)))
            vals = [vals[k] for k in self._names]
        else:
            if self._names:
                raise ValueError("You must enqueue a dictionary in a Queue with names")
            vals = _listed(vals)
        if len(vals) != len(self._dtypes):
            raise ValueError("the queue has %d components, found %d values" % (len(self._dtypes), len(vals)))
        return [convert_to_tensor(v, dtype=t, name="component_%d" % i)
                for i, (v, t) in enumerate(zip(vals, self._dtypes))]

    def _result(self, tensors):
        if self._names:
            return dict(zip(self._names, tensors))
        return tensors[0] if len(tensors) == 1 else tensors

    def enqueue(self, vals, name=None):
        """The operation that adds one element. It waits while the queue is full; CANCELLED when it is closed."""
        with name_scope(name, "%s_enqueue" % self._name, _listed(vals)) as scope:
            vals = self._components(vals)
            for val, shape in zip(vals, self._shapes):
                val.shape.assert_is_compatible_with(shape)
            make = raw_ops.QueueEnqueueV2 if self._is_resource else raw_ops.QueueEnqueue
            return make(self._queue_ref, vals, name=scope)

    def enqueue_many(self, vals, name=None):
        """The operation that adds an element for each row of `vals`."""
        with name_scope(name, "%s_EnqueueMany" % self._name, _listed(vals)) as scope:
            vals = self._components(vals)
            rows = None
            for val, shape in zip(vals, self._shapes):
                if val.shape.ndims == 0:
                    raise ValueError("%s, found a scalar" % _BATCH)
                if val.shape.ndims is None:
                    continue
                n = val.shape.as_list()[0]
                if None not in (n, rows) and n != rows:
                    raise ValueError("%s, found %d and %d" % (_BATCH, rows, n))
                rows = n if rows is None else rows
                val.shape[1:].assert_is_compatible_with(shape)
            make = raw_ops.QueueEnqueueManyV2 if self._is_resource else raw_ops.QueueEnqueueMany
            return make(self._queue_ref, vals, name=scope)

    def dequeue(self, name=None):
        """One element. Waits until there is one; OUT_OF_RANGE when the queue is closed and empty."""
        make = raw_ops.QueueDequeueV2 if self._is_resource else raw_ops.QueueDequeue
        tensors = make(self._queue_ref, self._dtypes, name=name or "%s_Dequeue" % self._name)
        for tensor, shape in zip(tensors, self._shapes):
            tensor.set_shape(shape)
        return self._result(tensors)

    def dequeue_many(self, n, name=None):
        """n elements, stacked. OUT_OF_RANGE when the queue is closed and has fewer."""
        make = raw_ops.QueueDequeueManyV2 if self._is_resource else raw_ops.QueueDequeueMany
        tensors = make(self._queue_ref, n, self._dtypes, name=name or "%s_DequeueMany" % self._name)
        known = constant_value(tensors[0].op.inputs[1])
        self._set_batch_shapes(tensors, None if known is None else int(known))
        return self._result(tensors)

    def dequeue_up_to(self, n, name=None):
        """n elements, stacked; a closed queue gives its last ones, at least one."""
        make = raw_ops.QueueDequeueUpToV2 if self._is_resource else raw_ops.QueueDequeueUpTo
        tensors = make(self._queue_ref, n, self._dtypes, name=name or "%s_DequeueUpTo" % self._name)
        self._set_batch_shapes(tensors, None)
        return self._result(tensors)

    def _set_batch_shapes(self, tensors, n):
        for tensor, shape in zip(tensors, self._shapes):
            tensor.set_shape(TensorShape([n]).concatenate(shape))

    def close(self, cancel_pending_enqueues=False, name=None):
        """The operation that ends the input; with `cancel_pending_enqueues` also those that wait."""
        make = raw_ops.QueueCloseV2 if self._is_resource else raw_ops.QueueClose
        return make(self._queue_ref, cancel_pending_enqueues=cancel_pending_enqueues,
                    name=name or "%s_Close" % self._name)

    def is_closed(self, name=None):
        """Whether it was closed, as a tensor."""
        make = raw_ops.QueueIsClosedV2 if self._is_resource else raw_ops.QueueIsClosed
        return make(self._queue_ref, name=name or "%s_Is_Closed" % self._name)

    def size(self, name=None):
        """How many elements it holds, as a tensor."""
        make = raw_ops.QueueSizeV2 if self._is_resource else raw_ops.QueueSize
        return make(self._queue_ref, name=name or "%s_Size" % self._name)

    @property
    def _is_resource(self):
        return self._queue_ref.dtype == _dtypes.resource


class FIFOQueue(QueueBase):
    """A queue that yields its elements in the order of their arrival.

    Args:
      capacity: how many elements it holds before an enqueue waits; -1 for no limit.
      dtypes, shapes, names: of the components. Without shapes there are no batches.
      shared_name: sessions of one server that give the same name share the queue.
    """

    def __init__(self, capacity, dtypes, shapes=None, names=None, shared_name=None, name="fifo_queue"):
        dtypes = _types(dtypes)
        shapes = _shapes(shapes, dtypes)
        super().__init__(dtypes, shapes, names, raw_ops.FIFOQueueV2(
            component_types=dtypes, shapes=shapes or [], capacity=capacity, shared_name=shared_name or "", name=name))


class RandomShuffleQueue(QueueBase):
    """A queue that yields its elements in a random order; at least `min_after_dequeue` stay behind until it is closed.

    The order repeats by seed, when elements come in the same order and dequeues find the same number of them.
    """

    def __init__(self, capacity, min_after_dequeue, dtypes, shapes=None, names=None, seed=None, shared_name=None,
                 name="random_shuffle_queue"):
        dtypes = _types(dtypes)
        shapes = _shapes(shapes, dtypes)
        first, second = get_seed(seed)
        if first is None and second is None:
            first, second = 0, 0
        elif seed is None and shared_name is not None:
            # All who share the queue must agree on the seed, which may not depend on how many nodes they made before.
            text = (str(first) + shared_name).encode()
            second = int(hashlib.md5(text).hexdigest()[:8], 16) & 0x7FFFFFFF
        super().__init__(dtypes, shapes, names, raw_ops.RandomShuffleQueueV2(
            component_types=dtypes, shapes=shapes or [], capacity=capacity, min_after_dequeue=min_after_dequeue,
            seed=first, seed2=second, shared_name=shared_name or "", name=name))


class PaddingFIFOQueue(QueueBase):
    """A first-in first-out queue of elements of various sizes: dequeue_many pads them to the largest of the batch.

    `shapes` are needed; a size of None is padded, with 0, False or "".
    """

    def __init__(self, capacity, dtypes, shapes, names=None, shared_name=None, name="padding_fifo_queue"):
        dtypes = _types(dtypes)
        shapes = _shapes(shapes, dtypes, unknown_dimensions=True)
        if shapes is None:
            raise ValueError("A PaddingFIFOQueue needs shapes")
        super().__init__(dtypes, shapes, names, raw_ops.PaddingFIFOQueueV2(
            component_types=dtypes, shapes=shapes, capacity=capacity, shared_name=shared_name or "", name=name))


class PriorityQueue(QueueBase):
    """A queue that yields the element of the least priority first, and those of equal priority as they came.

    The priority is a first component of type int64, which `types` and `shapes` do not list.
    """

    def __init__(self, capacity, types, shapes=None, names=None, shared_name=None, name="priority_queue"):
        types = _types(types)
        shapes = _shapes(shapes, types)
        ref = raw_ops.PriorityQueueV2(component_types=types, shapes=shapes or [], capacity=capacity,
                                      shared_name=shared_name or "", name=name)
        super().__init__([_dtypes.int64] + types, None if shapes is None else [TensorShape([])] + shapes, names, ref)
