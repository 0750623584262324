"""StaleSynchronousOptimizer: workers that go on without each other, but never too far."""
import contextlib

import sluice as sl
from sluice.train._looper_thread import LooperThread
from sluice.train._optimizer import Optimizer
from sluice.train.session_run_hook import SessionRunHook

_LOOK_SECS = 1.0


class StaleSynchronousOptimizer(Optimizer):
    """Wraps an optimiser so that each worker applies its own gradients at once, and waits when it is too far ahead.

        optimizer = sl.train.StaleSynchronousOptimizer(sl.train.GradientDescentOptimizer(0.1), staleness=3,
                                                       num_workers=4, worker=task_index)
        train_op = optimizer.minimize(loss, global_step=step)
        hook = optimizer.make_session_run_hook(is_chief=(task_index == 0))

    A worker's clock is the number of steps that it has finished. A step at clock c begins when every worker has reached
    c - staleness, so it sees all updates of clocks up to c - staleness - 1, all of its own, and perhaps some later ones
    (Ho et al., More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server, NIPS 2013). The bound is
    never exceeded, not after a worker, a server or the chief was lost either: the clocks are a variable beside the
    others, restored with them. staleness=0 makes all workers take the same step; there is no upper limit.

    A worker that is lost holds up the others when they are `staleness` steps ahead of it, until it comes back. The
    error of a step that runs out of time names the worker that is waited for. One that has finished (the hook's `end`)
    holds up nobody.

    Workers may come and go where `members` says who is there: a function from the job's name to a dictionary by worker number,
    as EtcdClusterResolver.members. `num_workers` is then how many there can be. The chief looks every second; who is not
    there holds up nobody, and who comes begins with the clock of the foremost. The bound holds among those who are there.

    Updates are added as they come, so unlike with SyncReplicasOptimizer runs do not repeat bit for bit.
    """

    def __init__(self, opt, staleness, num_workers, worker, use_locking=False, name="stale_synchronous", members=None,
                 job="worker"):
        super().__init__(use_locking, name)
        if staleness < 0:
            raise ValueError("staleness must be at least 0, found %d" % staleness)
        if not 0 <= worker < num_workers:
            raise ValueError("worker must be one of 0 to %d, found %d" % (num_workers - 1, worker))
        self._opt, self._staleness, self._num_workers, self._worker = opt, staleness, num_workers, worker
        self._members = None if members is None else lambda: members(job)
        self._gone_ops = []
        self._clocks = self._handle = self._init_op = self._chief_init_op = self._wait_op = self._end_op = None

    def compute_gradients(self, *args, **kwargs):
        """Of the wrapped optimiser."""
        return self._opt.compute_gradients(*args, **kwargs)

    def get_slot(self, *args, **kwargs):
        return self._opt.get_slot(*args, **kwargs)

    def get_slot_names(self, *args, **kwargs):
        return self._opt.get_slot_names(*args, **kwargs)

    def variables(self):
        return self._opt.variables() + [self._clocks]

    def _apply_dense(self, grad, var):
        return self._opt._apply_dense(grad, var)

    def _apply_sparse(self, grad, var):
        return self._opt._apply_sparse(grad, var)

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """The operation of this worker: applies its gradients, advances its clock, waits for those that are too far
        behind."""
        if self._clocks is not None:
            raise ValueError("apply_gradients of a StaleSynchronousOptimizer can be called once")
        update = self._opt.apply_gradients(grads_and_vars, global_step)
        with sl.init_scope(), sl.variable_scope(sl.get_variable_scope(), reuse=sl.AUTO_REUSE):
            self._clocks = sl.get_variable(self._name + "/clocks", shape=[self._num_workers], dtype=sl.int64,
                                           initializer=sl.zeros_initializer(), trainable=False)
        with sl.name_scope(name, self._name), sl.device(self._clocks.device), sl.colocate_with(self._clocks):
            # On the server of the variable, so the two are lost and restored together.
            self._handle = sl.raw_ops.WorkerClock(num_workers=self._num_workers,
                                                  shared_name=self._clocks.op.name + "/clock")
            with sl.control_dependencies([update]):
                tick = sl.scatter_add(self._clocks, [self._worker], sl.constant([1], sl.int64))
            with sl.control_dependencies([tick]):
                train_op = sl.group(self._wait(self._clocks.read_value()[self._worker], tell=True))
            # A session begins with what the variable says: of this worker, on the chief of all.
            now = self._clocks.read_value()
            self._init_op = self._tell(self._worker, now)
            if self._members is not None:
                foremost = sl.scatter_update(self._clocks, [self._worker], [sl.reduce_max(now)])
                with sl.control_dependencies([foremost]):
                    self._init_op = self._tell(self._worker, self._clocks.read_value())
            self._chief_init_op = sl.group(*[self._tell(w, now) for w in range(self._num_workers)])
            self._wait_op = sl.group(self._wait(now[self._worker]))
            never = sl.constant(2**63 - 1, sl.int64)  # waited for by nobody
            self._end_op = sl.raw_ops.WorkerClockSet(self._handle, self._worker, never)
            if self._members is not None:
                self._gone_ops = [sl.raw_ops.WorkerClockSet(self._handle, w, never) for w in range(self._num_workers)]
        return train_op

    def _tell(self, worker, clocks):
        return sl.raw_ops.WorkerClockSet(self._handle, worker, clocks[worker])

    def _wait(self, clock, tell=False):
        """The tensor that is there once every worker has reached `clock` - staleness."""
        told = [sl.raw_ops.WorkerClockSet(self._handle, self._worker, clock)] if tell else []
        with sl.control_dependencies(told):
            return sl.raw_ops.WorkerClockWait(self._handle, clock - self._staleness)

    def clocks(self):
        """The clocks of all workers as they stand, as a tensor."""
        if self._handle is None:
            raise ValueError("clocks should be called after apply_gradients().")
        return sl.raw_ops.WorkerClockRead(self._handle)

    def make_session_run_hook(self, is_chief):
        """A hook for MonitoredTrainingSession that starts the clocks of a session."""
        return _StaleSynchronousHook(self, is_chief)


class _StaleSynchronousHook(SessionRunHook):
    """Tells the clock where a worker (the chief: where all) stands, and waits for the others before the first step."""

    def __init__(self, optimizer, is_chief):
        self._optimizer, self._is_chief, self._wait = optimizer, is_chief, False

    def begin(self):
        if self._optimizer._handle is None:
            raise ValueError("make_session_run_hook needs apply_gradients() before")

    def after_create_session(self, session, coord):
        session.run(self._optimizer._chief_init_op if self._is_chief else self._optimizer._init_op)
        self._wait = True
        if self._is_chief and self._optimizer._members is not None:
            self._release_absent(session)
            LooperThread.loop(coord, _LOOK_SECS, self._release_absent, args=(session,))

    def _release_absent(self, session):
        """Lets nobody wait for workers that are not there. One that comes back says so with its first step."""
        there, optimizer = self._optimizer._members(), self._optimizer
        absent = [op for w, op in enumerate(optimizer._gone_ops) if w not in there and w != optimizer._worker]
        with contextlib.suppress(sl.errors.OpError, RuntimeError):  # a session that is lost or closed
            session.run(absent)

    def before_run(self, run_context):
        if self._wait:
            run_context.session.run(self._optimizer._wait_op)
            self._wait = False

    def end(self, session):
        # Nobody waits for a worker that has finished.
        with contextlib.suppress(sl.errors.OpError):  # a server may be gone by now
            session.run(self._optimizer._end_op)
