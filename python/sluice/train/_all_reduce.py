"""AllReduceOptimizer: data parallelism without parameter servers. Every rank has all variables."""
import sluice as sl
from sluice.distribute import _collectives
from sluice.train._optimizer import Optimizer
from sluice.train.session_run_hook import SessionRunHook


class AllReduceOptimizer(Optimizer):
    """Wraps an optimiser so that each rank applies the mean of the gradients of all ranks.

        server = sl.train.Server(cluster, "worker", rank)
        with sl.device("/job:worker/task:%d" % rank):
            loss = model(my_part_of_the_batch)
            optimizer = sl.train.AllReduceOptimizer(sl.train.MomentumOptimizer(0.1, 0.9), ranks=4, rank=rank)
            train_op = optimizer.minimize(loss, global_step=sl.train.get_or_create_global_step())
        config = sl.ConfigProto(device_filters=["/job:worker/task:%d" % rank])
        with sl.train.MonitoredTrainingSession(server.target, is_chief=True, checkpoint_dir=folder if rank == 0 else None,
                                               hooks=[optimizer.make_session_run_hook()], config=config) as session:
            while not session.should_stop():
                session.run(train_op)

    Every rank builds the same graph, holds all variables and makes the same update. It begins with the values of rank 0:
    the hook sends them to the others whenever a session begins, so rank 0 alone restores and saves checkpoints (and
    every rank is the chief of its own variables).

    Gradients are packed into buckets of `bucket_bytes`, in the order in which the backward pass makes them, and a bucket
    is reduced as soon as its gradients are there, while the backward pass goes on:

        backward:   d layer 9, 8, 7 | d layer 6, 5, 4 | d layer 3, 2, 1
        reduce:                       bucket 1          bucket 2          bucket 3

    compute_gradients returns the means, so what is done to gradients before apply_gradients (clipping by their norm) sees
    the same on every rank.

    The weights are the same bits on every rank, and in every run with as many ranks and the same way between them.

    When a rank is lost, the others get an error that names it (UNAVAILABLE or ABORTED), on which a
    MonitoredTrainingSession begins anew: rank 0 restores the last checkpoint, and training goes on when the lost rank
    is back.

    Args:
      opt: the optimiser that applies the means.
      ranks: how many ranks there are.
      rank: the number of this one, of which the tasks' order must be the same.
      mean: False adds gradients without dividing.
      bucket_bytes: gradients are packed until a bucket has as much; larger ones go alone. 0: each goes alone.
      sparse_as_dense: turns IndexedSlices into dense gradients before they are reduced. Otherwise the indices and
        values of all ranks are gathered, for which their shapes must be known and the same on all ranks.
      group: the key of the group of collectives, and `group + 1` that of the hook.
    """

    def __init__(self, opt, ranks, rank, mean=True, bucket_bytes=2 << 20, sparse_as_dense=False, group=1001,
                 name="all_reduce"):
        super().__init__(False, name)
        if ranks < 1 or not 0 <= rank < ranks:
            raise ValueError("rank must be one of 0 to ranks - 1, found rank=%d, ranks=%d" % (rank, ranks))
        self._opt, self._ranks, self._rank, self._mean = opt, ranks, rank, mean
        self._bucket_bytes, self._sparse_as_dense, self._group = bucket_bytes, sparse_as_dense, group

    def minimize(self, loss, global_step=None, var_list=None, gate_gradients=Optimizer.GATE_NONE, **kwargs):
        """compute_gradients followed by apply_gradients. Gradients are not gated: a gate would end the overlap."""
        return super().minimize(loss, global_step, var_list, gate_gradients=gate_gradients, **kwargs)

    def compute_gradients(self, loss, var_list=None, gate_gradients=Optimizer.GATE_NONE, **kwargs):
        """Those of the wrapped optimiser, reduced over all ranks: a list of (gradient or None, variable)."""
        return self.reduce_gradients(self._opt.compute_gradients(loss, var_list, gate_gradients=gate_gradients, **kwargs))

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """Of the wrapped optimiser, with gradients that compute_gradients has reduced."""
        return self._opt.apply_gradients(grads_and_vars, global_step=global_step, name=name)

    def get_slot(self, *args, **kwargs):
        return self._opt.get_slot(*args, **kwargs)

    def get_slot_names(self, *args, **kwargs):
        return self._opt.get_slot_names(*args, **kwargs)

    def variables(self):
        return self._opt.variables()

    def _apply_dense(self, grad, var):
        return self._opt._apply_dense(grad, var)

    def _apply_sparse(self, grad, var):
        return self._opt._apply_sparse(grad, var)

    def reduce_gradients(self, grads_and_vars):
        """The same list with each gradient replaced by the mean (or sum) over all ranks."""
        grads_and_vars = list(grads_and_vars)
        if self._ranks == 1:
            return grads_and_vars
        reduced = [g for g, _ in grads_and_vars]
        with sl.name_scope(self._name):
            dense = []
            for i, (grad, var) in enumerate(grads_and_vars):
                if grad is None:
                    continue
                if not isinstance(grad, sl.IndexedSlices):
                    dense.append((i, grad))
                elif self._sparse_as_dense:
                    dense.append((i, sl.convert_to_tensor(grad)))
                else:
                    reduced[i] = self._gather(grad, var)
            # Operations are numbered as the backward pass makes them.
            dense.sort(key=lambda pair: pair[1].op._id)
            for bucket in self._buckets(dense):
                for (i, _), mean in zip(bucket, self._reduce_bucket([g for _, g in bucket])):
                    reduced[i] = mean
        return [(g, v) for g, (_, v) in zip(reduced, grads_and_vars)]

    def _buckets(self, dense):
        """Lists of neighbours of one type, each as large as a bucket may be. A shape that is not known goes alone."""
        open_buckets = {}  # type -> (list, bytes)
        for i, grad in dense:
            size = grad.get_shape().num_elements()
            size = None if size is None else size * grad.dtype.size
            if size is None or size >= self._bucket_bytes:
                yield [(i, grad)]
                continue
            key = grad.dtype.base_dtype
            bucket, filled = open_buckets.pop(key, ([], 0))
            bucket.append((i, grad))
            if filled + size >= self._bucket_bytes:
                yield bucket
            else:
                open_buckets[key] = (bucket, filled + size)
        for key in sorted(open_buckets, key=lambda t: t.name):
            yield open_buckets[key][0]

    def _reduce_bucket(self, grads):
        if len(grads) == 1:
            return [self._reduce(grads[0])]
        flat = sl.concat([sl.reshape(g, [-1]) for g in grads], 0, name="bucket")
        parts = sl.split(self._reduce(flat), [g.get_shape().num_elements() for g in grads])
        return [sl.reshape(p, g.get_shape()) for p, g in zip(parts, grads)]

    def _reduce(self, tensor):
        return _collectives.all_reduce(tensor, self._ranks, mean=self._mean, group=self._group, member=self._rank)

    def _gather(self, grad, var):
        for what, tensor in (("indices", grad.indices), ("values", grad.values)):
            if not tensor.get_shape().is_fully_defined():
                raise ValueError(
                    "The gradient of %s is sparse, and the shape of its %s is %s: ranks can gather sparse gradients only when all "
                    "have the same number of rows, known when the graph is built. Make the batch's size static, or pass "
                    "sparse_as_dense=True." % (var.name, what, tensor.get_shape()))
        values = _collectives.all_gather(grad.values, self._ranks, group=self._group, member=self._rank)
        indices = _collectives.all_gather(grad.indices, self._ranks, group=self._group, member=self._rank)
        if self._mean:
            values = values / sl.cast(self._ranks, values.dtype)
        return sl.IndexedSlices(values, indices, grad.dense_shape)

    def make_session_run_hook(self, root=0):
        """A hook that gives every rank the variables of rank `root` when a session begins, on each rank."""
        return BroadcastVariablesHook(self._ranks, self._rank, root, self._group + 1)


class BroadcastVariablesHook(SessionRunHook):
    """Gives every rank the global variables of one rank when a session begins: after it has initialised or restored them.

    Args:
      ranks: how many ranks there are; each must use the hook.
      rank: the number of this one.
      root: the rank whose values all get.
      group: the key of the group of collectives.
    """

    def __init__(self, ranks, rank, root=0, group=1002):
        self._ranks, self._rank, self._root, self._group = ranks, rank, root, group
        self._op = None

    def begin(self):
        if self._ranks > 1:
            self._op = _collectives.broadcast_variables(sl.global_variables(), self._ranks, self._rank, self._root,
                                                        self._group)

    def after_create_session(self, session, coord):
        if self._op is not None:
            session.run(self._op)
