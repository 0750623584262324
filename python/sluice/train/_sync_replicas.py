"""SyncReplicasOptimizer: one update from the gradients of several workers, as if one had computed them all."""
import contextlib
import time

import sluice as sl
from sluice.train._looper_thread import LooperThread
from sluice.train._optimizer import Optimizer
from sluice.train._queue_runner import QueueRunner
from sluice.train.session_run_hook import SessionRunHook

_LAST_STEP = 2**63 - 1  # ends the takes of an accumulator
_WATCH_SECS = 2.0
_GENERATION = 2**32  # steps of one generation


class SyncReplicasOptimizer(Optimizer):
    """Wraps an optimiser so that each update averages the gradients of several replicas, all of the same step.

        optimizer = sl.train.SyncReplicasOptimizer(sl.train.GradientDescentOptimizer(0.1), replicas_to_aggregate=4,
                                                   total_num_replicas=5, replica=task_index)
        train_op = optimizer.minimize(loss, global_step=sl.train.get_or_create_global_step())
        hook = optimizer.make_session_run_hook(is_chief=(task_index == 0))
        with sl.train.MonitoredTrainingSession(server.target, is_chief=(task_index == 0), hooks=[hook]) as session:
            while not session.should_stop():
                session.run(train_op)

    A worker gives its gradients to an accumulator for each variable and waits for a token. A thread of the chief takes
    the averages when `replicas_to_aggregate` have come, applies them, and puts out tokens with the new step.

        worker r:  gradients --> accumulators (drop those of an earlier step) --> wait for a token --> local step = token
        chief:     accumulators --> averages --> the optimiser, global step + 1 --> tokens

    With total_num_replicas > replicas_to_aggregate the rest are backups: the first gradients of a step count, those of
    slow workers are dropped. With total_num_replicas < replicas_to_aggregate workers give several in a step.

    Order. Without `replica` it is as in TensorFlow: gradients are added as they come, each variable takes what it has,
    a worker may count twice in a step, and with three workers or more the last bits of a run vary. With `replica`, the
    number of this worker, the update is a function of who took part:

      - the gradients of a step are added in the order of replicas, each counts once, and the sum is divided by their
        number (also that of sparse gradients, which TensorFlow averages row by row);
      - every worker has a token queue of its own and skips to the newest token, so one that fell behind catches up;
      - nothing is changed before all gradients of all variables are there, and gradients count for their own step only:
        a worker or chief that is lost at any instant leaves no trace in the weights;
      - each session of the chief is a generation of its own, whose number stands before the step in tokens and gradients:
        what a worker computed before a checkpoint was restored, perhaps from weights of two steps, is dropped;
      - with backups one decision is made for all variables: the first `replicas_to_aggregate` workers that have given
        *all* their gradients.

    So without backups a run ends with the same bits, whatever the timing, as one worker that adds the gradients in that
    order. With backups it depends on who was late, and on nothing else. It costs the parameter servers the memory of
    one gradient for each replica.

    Workers may come and go where replicas_to_aggregate is the least number that is ever there and total_num_replicas the most:
    a worker that is not there counts as one that is late. Who comes begins with the step of the moment. Each worker that is
    not there costs the server of the global step a token for each step, about a hundred bytes.

    The token queue stays open when the chief loses its session, so that the next one may go on; `end` of the hook
    closes it, and then workers that wait for a token get OUT_OF_RANGE, which ends their loop.
    """

    def __init__(self, opt, replicas_to_aggregate, total_num_replicas=None, variable_averages=None,
                 variables_to_average=None, use_locking=False, name="sync_replicas", replica=None):
        super().__init__(use_locking, name)
        total = replicas_to_aggregate if total_num_replicas is None else total_num_replicas
        if replicas_to_aggregate < 1 or total < 1:
            raise ValueError("replicas_to_aggregate and total_num_replicas must be positive, found %d and %d"
                             % (replicas_to_aggregate, total))
        if replica is not None and not 0 <= replica < total:
            raise ValueError("replica must be one of 0 to %d, found %d" % (total - 1, replica))
        if replica is not None and replicas_to_aggregate > total:
            raise ValueError("with `replica` each worker gives one gradient in a step: replicas_to_aggregate=%d is more "
                             "than the %d workers" % (replicas_to_aggregate, total))
        self._opt, self._required, self._total, self._replica = opt, replicas_to_aggregate, total, replica
        self._variable_averages, self._variables_to_average = variable_averages, variables_to_average
        self._applied = False
        self._accumulators, self._token_queues = [], []
        self._global_step = self._local_step = None
        self._local_step_init_op = self._chief_init_op = self._ready_for_local_init_op = None
        self._runner = self._end_op = self._generation = self._new_generation = None

    # What the wrapped optimiser does.
    def compute_gradients(self, *args, **kwargs):
        """Of the wrapped optimiser."""
        return self._opt.compute_gradients(*args, **kwargs)

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

    def apply_gradients(self, grads_and_vars, global_step=None, name=None):
        """The operation of this worker: gives its gradients, waits for the update, and notes the new step."""
        grads_and_vars = list(grads_and_vars)
        if not grads_and_vars:
            raise ValueError("Must supply at least one variable")
        if global_step is None:
            raise ValueError("Global step is required to check staleness")
        if self._applied:
            raise ValueError("apply_gradients of a SyncReplicasOptimizer can be called once")
        self._applied, self._global_step = True, global_step
        with sl.init_scope(), sl.colocate_with(sl.no_op(name="sync_rep_local_anchor")):  # on the worker
            self._local_step = sl.Variable(sl.constant(0, self._token_type()), trainable=False,
                                           collections=[sl.GraphKeys.LOCAL_VARIABLES], name="sync_rep_local_step")
        self._ready_for_local_init_op = sl.report_uninitialized_variables(sl.global_variables())
        self._make_generation()
        self._local_step_init_op = sl.assign(self._local_step, self._label())
        with sl.name_scope(name, self._name):
            self._make_token_queues()
            given, averages = self._exchange(grads_and_vars)
            train_op = self._wait_for_token(given)
        self._make_chief(averages)
        return train_op

    def _make_token_queues(self):
        with self._beside_the_step():
            shared = ["sync_token_q"] if self._replica is None else \
                ["sync_token_q_%d" % r for r in range(self._total)]
            self._token_queues = [sl.FIFOQueue(-1, [self._token_type()], [[]], shared_name=s, name=s)
                                  for s in shared]

    def _token_type(self):
        return self._global_step.dtype.base_dtype if self._replica is None else sl.int64

    def _make_generation(self):
        """The number of the chief's session, beside the step. It is never saved, and only the chief sets it."""
        if self._replica is None:
            return
        with sl.init_scope(), self._beside_the_step():
            self._generation = sl.raw_ops.VarHandleOp(dtype=sl.int64, shape=[], shared_name=self._name + "/generation",
                                                      name="sync_rep_generation")
            self._new_generation = sl.placeholder_with_default(sl.constant(0, sl.int64), [], name="sync_rep_new_generation")

    def _label(self):
        """What tokens and gradients are marked with: the step, behind the number of the generation."""
        if self._replica is None:
            return self._global_step.read_value()
        with self._beside_the_step():
            # Before there was a chief, and after its server was lost: what is marked so is dropped later.
            generation = sl.cond(sl.raw_ops.VarIsInitializedOp(resource=self._generation), self._read_generation,
                                 lambda: sl.constant(0, sl.int64))
            return self._join(generation)

    def _read_generation(self):
        return sl.raw_ops.ReadVariableOp(resource=self._generation, dtype=sl.int64)

    def _join(self, generation):
        return generation * _GENERATION + sl.cast(self._global_step.read_value(), sl.int64)

    def _beside_the_step(self):
        return sl.device(self._global_step.device)

    def _exchange(self, grads_and_vars):
        """(operations that give this worker's gradients, averages of all with their variables)."""
        step = sl.cast(self._local_step, sl.int64)
        given, accumulators = [], []
        for grad, var in grads_and_vars:
            if grad is None:
                accumulators.append(None)
                continue
            sparse = isinstance(grad, sl.IndexedSlices)
            kind = sl.SparseConditionalAccumulator if sparse else sl.ConditionalAccumulator
            # What is sparse is divided by the number of replicas at the end, not row by row.
            reduction = "SUM" if sparse and self._replica is not None else "MEAN"
            with sl.device(var.device):
                accumulator = kind(grad.dtype.base_dtype, shape=var.get_shape(), shared_name=var.name + "/grad_accum",
                                   reduction_type=reduction)
                apply = accumulator.apply_indexed_slices_grad if sparse else accumulator.apply_grad
                given.append(apply(grad, local_step=step, replica=self._replica))
            accumulators.append(accumulator)
        self._accumulators = [a for a in accumulators if a is not None]
        required = self._required
        if self._replica is not None:
            required = list(range(self._total))
            if self._required < self._total:
                given, required = self._vote(given, step)
        averages = []
        for accumulator, (_, var) in zip(accumulators, grads_and_vars):
            if accumulator is not None:
                with sl.device(var.device):
                    averages.append((self._average(accumulator, required), var))
        return given, averages

    def _vote(self, given, step):
        """(operations that also say that this worker has given all, the replicas that make the update)."""
        with self._beside_the_step():
            ballot = sl.ConditionalAccumulator(sl.int32, shape=[self._total], reduction_type="SUM",
                                               shared_name=self._name + "/ballot", name="ballot")
            with sl.control_dependencies(given):
                mine = [int(r == self._replica) for r in range(self._total)]
                given = [ballot.apply_grad(sl.constant(mine, sl.int32), local_step=step, replica=self._replica)]
            chosen = sl.where(sl.greater(ballot.take_grad(self._required), 0))
        self._accumulators.append(ballot)
        return given, sl.cast(sl.reshape(chosen, [-1]), sl.int32)

    def _average(self, accumulator, required):
        if isinstance(accumulator, sl.ConditionalAccumulator):
            return accumulator.take_grad(required)
        taken = accumulator.take_indexed_slices_grad(required)
        if self._replica is None:
            return taken
        count = sl.constant(self._required, accumulator.dtype)
        return sl.IndexedSlices(taken.values / count, taken.indices, taken.dense_shape)

    def _wait_for_token(self, given):
        """The operation that waits for the next step and notes it, once all is given."""
        with sl.control_dependencies(given), self._beside_the_step():
            if self._replica is None:
                token = self._token_queues[0].dequeue()
            else:
                queue = self._token_queues[self._replica]
                # Nobody else takes from it, so as many as it holds can be had at once. The last one counts, which may be
                # of an earlier step than those before it, when the chief has restored a checkpoint.
                token = queue.dequeue_many(sl.maximum(queue.size(), 1))[-1]
        with sl.colocate_with(self._local_step):
            return sl.group(sl.assign(self._local_step, token))

    def _make_chief(self, averages):
        """What the thread of the chief runs, and what starts and ends it."""
        step = self._global_step
        # Nothing changes before all averages are there: a worker that has not given all its gradients (or was lost, and
        # computes them anew) may still read the variables.
        gradients = sl.tuple([g for g, _ in averages])
        with self._beside_the_step():
            update = self._opt.apply_gradients(list(zip(gradients, [v for _, v in averages])), step)
            done = [update]
            if self._variable_averages is not None:
                with sl.control_dependencies([update]), sl.name_scope(""):
                    done = [self._variable_averages.apply(self._variables_to_average)]
            with sl.control_dependencies(done):
                sync_op = self._put_tokens(max(self._total, self._required))
            self._chief_init_op = self._begin_generation()
            pause = sl.group(*[a.set_global_step(_LAST_STEP) for a in self._accumulators])
            close = [q.close(cancel_pending_enqueues=True) for q in self._token_queues]
            with sl.control_dependencies(close):
                # Later sessions make new queues under the same names.
                self._end_op = sl.group(*[sl.raw_ops.DestroyResourceOp(q.queue_ref) for q in self._token_queues])
        # The queues stay open when the thread stops: they are closed at the end of training, not of a session.
        self._runner = QueueRunner(self._token_queues[0], [sync_op], close_op=sl.no_op(), cancel_op=pause)

    def _begin_generation(self):
        """The operation that makes all that is marked with an earlier generation old."""
        if self._replica is None:
            now = sl.cast(self._global_step, sl.int64)
            return sl.group(self._local_step_init_op, *[a.set_global_step(now) for a in self._accumulators])
        begun = sl.raw_ops.AssignVariableOp(resource=self._generation, value=self._new_generation)
        with sl.control_dependencies([begun]):
            now = self._join(sl.identity(self._new_generation))
            with sl.colocate_with(self._local_step):
                mine = sl.assign(self._local_step, now)
            return sl.group(mine, *[a.set_global_step(now) for a in self._accumulators])

    def _put_tokens(self, count):
        """The operation that tells `count` workers the global step (in order: all workers)."""
        if self._replica is None:
            step = sl.identity(self._global_step.read_value())
            return self._token_queues[0].enqueue_many([sl.fill([count], step)])
        label = self._join(self._read_generation())
        return sl.group(*[q.enqueue(label) for q in self._token_queues])

    def _needs_gradients(self, what):
        if not self._applied:
            raise ValueError("%s should be called after apply_gradients()." % what)

    def get_chief_queue_runner(self):
        """The QueueRunner whose thread makes the updates; for the chief."""
        self._needs_gradients("get_chief_queue_runner")
        return self._runner

    @property
    def chief_init_op(self):
        """Sets the local step and the step of the accumulators to the global one; for the chief, in each session."""
        self._needs_gradients("chief_init_op")
        return self._chief_init_op

    @property
    def local_step_init_op(self):
        """Sets the local step to the global one; for the other workers, in each session."""
        self._needs_gradients("local_step_init_op")
        return self._local_step_init_op

    @property
    def ready_for_local_init_op(self):
        """The names of global variables that are not initialised."""
        self._needs_gradients("ready_for_local_init_op")
        return self._ready_for_local_init_op

    def get_init_tokens_op(self, num_tokens=-1):
        """The operation that puts out tokens before the first update.

        -1 stands for `replicas_to_aggregate` tokens, and with `replica` for one to each worker: it lets workers that
        wait since a chief was lost give their gradients again. A worker that did not need it computes the gradients of
        its first step twice, and the second ones are dropped; so feed by the step, or pass 0 and give up such recovery.
        """
        self._needs_gradients("get_init_tokens_op")
        needed = self._required - self._total
        if num_tokens == -1:
            num_tokens = self._required
        elif num_tokens < needed:
            raise ValueError("Too few tokens to finish the first step: %d (given) vs %d (needed)" % (num_tokens, needed))
        if num_tokens <= 0:
            return sl.no_op(name="no_init_tokens")
        with self._beside_the_step():
            return self._put_tokens(num_tokens)

    def make_session_run_hook(self, is_chief, num_tokens=-1):
        """A hook for MonitoredTrainingSession that initialises steps and, on the chief, runs the thread of updates."""
        return _SyncReplicasHook(self, is_chief, num_tokens)


class _SyncReplicasHook(SessionRunHook):
    """Starts and ends what a SyncReplicasOptimizer needs beside the train op."""

    def __init__(self, optimizer, is_chief, num_tokens):
        self._optimizer, self._is_chief, self._num_tokens = optimizer, is_chief, num_tokens
        self._coordinator, self._threads = None, []
        self._was_behind = False
        self._last_generation = 0

    def begin(self):
        optimizer = self._optimizer
        self._ready = optimizer.ready_for_local_init_op
        self._init = optimizer.chief_init_op if self._is_chief else optimizer.local_step_init_op
        self._tokens = optimizer.get_init_tokens_op(self._num_tokens) if self._is_chief else None
        if optimizer._replica is not None:
            queue = optimizer._token_queues[optimizer._replica]
            now = optimizer._label()
            self._state = [optimizer._local_step, now, queue.size()]
            self._token = queue.enqueue(now)

    def after_create_session(self, session, coord):
        missing = session.run(self._ready)
        if len(missing):
            raise RuntimeError("Init operations did not make model ready for local_init. Init op: %s, error: variables "
                               "not initialized: %s" % (self._init.name, ", ".join(sorted(map(str, missing)))))
        session.run(self._init, self._generation(session))
        if self._is_chief:
            session.run(self._tokens)
            self._coordinator = coord
            self._threads = self._optimizer.get_chief_queue_runner().create_threads(session, coord, daemon=True,
                                                                                    start=True)

        if self._optimizer._replica is not None:
            self._was_behind = False
            LooperThread.loop(coord, _WATCH_SECS, self.replace_lost_token, args=(session,))

    def _generation(self, session):
        """What the chief feeds as the number of this session: higher than that of every chief before it."""
        if not self._is_chief or self._optimizer._replica is None:
            return None
        epochs = [s.session_epoch for s in session.graph.get_collection(sl.GraphKeys.SAVERS)]
        numbers = [e.number for e in epochs if e is not None and e.number is not None]
        # Without checkpoints there is no epoch, and nothing is restored either.
        self._last_generation = max(numbers, default=max(self._last_generation + 1, int(time.time()) % 2**31))
        return {self._optimizer._new_generation: self._last_generation}

    def replace_lost_token(self, session):
        """Gives this worker a token when it is behind and has none, twice in a row.

        A worker that was lost while it waited may leave a step behind, on the server of its queue, that takes a token
        after the worker has come back. A token too many does no harm.
        """
        with contextlib.suppress(sl.errors.OpError, RuntimeError):  # a session that is lost or closed
            local_step, global_step, tokens = session.run(self._state)
            behind = local_step < global_step and tokens == 0
            if behind and self._was_behind:
                session.run(self._token)
            self._was_behind = behind

    def end(self, session):
        if not self._is_chief:
            return
        self._coordinator.request_stop()
        for thread in self._threads:
            thread.join(timeout=60)
        with contextlib.suppress(sl.errors.OpError):  # a server may be gone by now
            session.run(self._optimizer._end_op)
