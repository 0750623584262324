"""SyncReplicasOptimizer: several workers in threads of one session make the updates that one would make."""
import contextlib
import tempfile
import threading
import time

import numpy as np
import pytest

import sluice as sl

DEADLINE = 60  # seconds: no wait of a test lasts longer
ROWS, SIZE = 8, 17


def data(replica, step):
    """The batch of a replica in a step; sums of several depend on their order."""
    rng = np.random.default_rng([replica, step])
    return rng.normal(size=(ROWS, SIZE)).astype(np.float32) * np.float32(10.0 ** (replica % 4))


def model(x):
    """A loss of three variables, one of them read by rows."""
    with sl.variable_scope("model", reuse=sl.AUTO_REUSE):
        w = sl.get_variable("w", [SIZE, 4], initializer=sl.constant_initializer(0.01))
        b = sl.get_variable("b", [4], initializer=sl.zeros_initializer())
        table = sl.get_variable("table", [6, 4], initializer=sl.ones_initializer())
    picked = sl.gather(table, sl.cast(sl.reduce_sum(sl.abs(x), axis=1), sl.int32) % 6)
    return sl.reduce_mean(sl.square(sl.tanh(sl.matmul(x, w) + b) - picked)), [w, b, table]


def base_optimizer(kind):
    return {"sgd": lambda: sl.train.GradientDescentOptimizer(0.1), "adam": lambda: sl.train.AdamOptimizer(0.01),
            "momentum": lambda: sl.train.MomentumOptimizer(0.1, 0.9)}[kind]()


class Cluster:
    """`total` workers of one graph and session, each with its own optimiser object, as in processes of their own."""

    def __init__(self, total, required=None, ordered=True, kind="sgd", averages=None):
        self.total = total
        self.step = sl.train.get_or_create_global_step()
        base = base_optimizer(kind)
        self.inputs, self.train_ops, self.optimizers = [], [], []
        for r in range(total):
            x = sl.placeholder(sl.float32, [ROWS, SIZE])
            loss, self.variables = model(x)
            optimizer = sl.train.SyncReplicasOptimizer(base, required or total, total, replica=r if ordered else None,
                                                       variable_averages=averages if r == 0 else None,
                                                       variables_to_average=self.variables[:1])
            self.train_ops.append(optimizer.minimize(loss, global_step=self.step))
            self.inputs.append(x)
            self.optimizers.append(optimizer)

    def start(self, session):
        session.run(sl.global_variables_initializer())
        session.run(sl.local_variables_initializer())
        session.run([o.local_step_init_op for o in self.optimizers])
        session.run(self.optimizers[0].chief_init_op)
        tokens = -1 if self.optimizers[0]._replica is None else 0  # here each run of a worker is a step
        session.run(self.optimizers[0].get_init_tokens_op(tokens))
        self.coordinator = sl.train.Coordinator()
        self.optimizers[0].get_chief_queue_runner().create_threads(session, self.coordinator, daemon=True, start=True)

    def work(self, session, replica, steps, pause=lambda replica, step: None, first=0):
        for step in range(first, first + steps):
            pause(replica, step)
            session.run(self.train_ops[replica], {self.inputs[replica]: data(replica, step)},
                        options=sl.RunOptions(timeout_in_ms=1000 * DEADLINE))

    def run(self, session, steps, replicas=None, first=0):
        """Runs the workers, each in a thread."""
        failures = []

        def body(r):
            try:
                self.work(session, r, steps, first=first)
            except Exception as e:  # pylint: disable=broad-except
                failures.append(e)

        threads = [threading.Thread(target=body, args=(r,)) for r in (range(self.total) if replicas is None else replicas)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(2 * DEADLINE)
        assert not failures, failures

    def stop(self):
        self.coordinator.request_stop()
        self.coordinator.join(stop_grace_period_secs=DEADLINE)


def alone(total, steps, kind):
    """The weights after `steps` updates by one worker that adds the gradients of all, in order."""
    with sl.Graph().as_default(), sl.Session() as session:
        base = base_optimizer(kind)
        inputs, towers = [], []
        for _ in range(total):
            x = sl.placeholder(sl.float32, [ROWS, SIZE])
            loss, variables = model(x)
            inputs.append(x)
            towers.append(base.compute_gradients(loss, variables))
        means = []
        for pairs in zip(*towers):
            grads, n = [g for g, _ in pairs], np.float32(total)
            if isinstance(grads[0], sl.IndexedSlices):
                # Row by row in the order of replicas, as a dense sum would.
                dense = [sl.unsorted_segment_sum(g.values, g.indices, 6) for g in grads]
                total_sum = dense[0]
                for d in dense[1:]:
                    total_sum = total_sum + d
                touched = sl.where(sl.reduce_any(sl.not_equal(total_sum, 0.0), axis=1))[:, 0]
                means.append((sl.IndexedSlices(sl.gather(total_sum, touched) / n, touched, sl.constant([6, 4])), pairs[0][1]))
                continue
            total_sum = grads[0]
            for g in grads[1:]:
                total_sum = total_sum + g
            means.append((total_sum / n, pairs[0][1]))
        train = base.apply_gradients(means)
        session.run(sl.global_variables_initializer())
        for step in range(steps):
            session.run(train, {x: data(r, step) for r, x in enumerate(inputs)})
        return session.run(variables)


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_without_backups_the_weights_are_those_of_one_worker_bit_for_bit(kind):
    steps, total = 12, 4
    wanted = alone(total, steps, kind)
    for _ in range(2):
        with sl.Graph().as_default(), sl.Session() as session:
            cluster = Cluster(total, kind=kind)
            cluster.start(session)
            cluster.run(session, steps)
            cluster.stop()
            assert session.run(cluster.step) == steps
            for got, want in zip(session.run(cluster.variables), wanted):
                np.testing.assert_array_equal(got, want)


def test_arrival_order_does_not_matter():
    """Workers give their gradients in an order that is forced, another one in each run."""
    results = []
    for shift in range(3):
        with sl.Graph().as_default(), sl.Session() as session:
            cluster = Cluster(3)
            cluster.start(session)
            turn = threading.Condition()
            finished = []

            # A worker begins a step when those before it in this run's order have given their gradients of it.
            counts = [cluster.optimizers[0]._accumulators[0].num_accumulated()]

            def pause(replica, step):
                place = (replica + shift) % 3
                if place == 0:
                    return
                with turn:
                    assert turn.wait_for(lambda: session.run(counts[0]) >= place or len(finished) > step * 3, DEADLINE)

            def work(r):
                cluster.work(session, r, 5, pause)
                with turn:
                    finished.append(r)
                    turn.notify_all()

            stop = threading.Event()

            def poke():
                while not stop.wait(0.001):
                    with turn:
                        turn.notify_all()

            threads = [threading.Thread(target=work, args=(r,)) for r in range(3)] + [threading.Thread(target=poke)]
            for t in threads:
                t.start()
            for t in threads[:3]:
                t.join(2 * DEADLINE)
            stop.set()
            threads[3].join()
            cluster.stop()
            results.append(session.run(cluster.variables))
    for other in results[1:]:
        for got, want in zip(other, results[0]):
            np.testing.assert_array_equal(got, want)


def test_as_in_tensorflow_without_replica_numbers():
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2, ordered=False)
        cluster.start(session)
        start = session.run(cluster.variables)

        def work(r):
            # Who is quick takes more tokens, so a worker runs until the step is reached, not a number of times.
            try:
                while session.run(cluster.step) < 10:
                    cluster.work(session, r, 1)
                session.run(cluster.optimizers[0]._end_op)
            except (sl.errors.OutOfRangeError, sl.errors.CancelledError):
                pass  # the other one has closed the token queue

        threads = [threading.Thread(target=work, args=(r,)) for r in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(2 * DEADLINE)
        with contextlib.suppress(sl.errors.CancelledError):  # of tokens put into the closed queue
            cluster.stop()
        assert not any(t.is_alive() for t in threads) and session.run(cluster.step) >= 10
        assert all(np.any(a != b) for a, b in zip(start, session.run(cluster.variables)))


def test_backups_are_left_out_and_catch_up():
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(3, required=2)
        cluster.start(session)
        cluster.run(session, 5, replicas=[0, 2])  # worker 1 sleeps
        assert session.run(cluster.step) == 5
        before = session.run(cluster.variables)
        # Its gradient is of step 0: dropped; then it skips to the newest token.
        cluster.run(session, 1, replicas=[1])
        assert session.run(cluster.step) == 5
        for a, b in zip(before, session.run(cluster.variables)):
            np.testing.assert_array_equal(a, b)
        assert session.run(cluster.optimizers[1]._local_step) == 5
        cluster.run(session, 3, replicas=[1, 2])
        assert session.run(cluster.step) == 8
        cluster.stop()


def test_with_backups_the_update_is_that_of_the_workers_that_took_part():
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(3, required=2)
        cluster.start(session)
        cluster.run(session, 1, replicas=[0, 1])
        cluster.stop()
        got = session.run(cluster.variables)
    for g, w in zip(got, alone(2, 1, "sgd")):
        np.testing.assert_array_equal(g, w)


def test_averages_of_variables_follow_the_updates():
    with sl.Graph().as_default(), sl.Session() as session:
        averages = sl.train.ExponentialMovingAverage(0.5)
        cluster = Cluster(2, averages=averages)
        average = averages.average(cluster.variables[0])
        cluster.start(session)
        start = session.run(cluster.variables[0])
        cluster.run(session, 1)
        cluster.stop()
        now = session.run(cluster.variables[0])
        np.testing.assert_allclose(session.run(average), 0.5 * start + 0.5 * now, rtol=1e-6)


def test_hooks_run_the_chief_and_end_the_others():
    """A chief and a worker with monitored sessions' hooks, on one plain session: the chief ends, the worker learns it."""
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        hooks = [o.make_session_run_hook(is_chief=(r == 0), num_tokens=0) for r, o in enumerate(cluster.optimizers)]
        for hook in hooks:
            hook.begin()
        with pytest.raises(RuntimeError, match="Init operations did not make model ready for local_init"):
            hooks[1].after_create_session(session, None)
        session.run([sl.global_variables_initializer(), sl.local_variables_initializer()])
        coordinator = sl.train.Coordinator()
        for hook in hooks:
            hook.after_create_session(session, coordinator)
        cluster.run(session, 4)
        ended = []

        def wait():
            try:
                cluster.work(session, 1, 1)
            except sl.errors.OutOfRangeError as e:
                ended.append(e)

        worker = threading.Thread(target=wait)
        worker.start()
        hooks[1].end(session)
        hooks[0].end(session)
        coordinator.join(stop_grace_period_secs=DEADLINE)
        worker.join(DEADLINE)
        assert len(ended) == 1 and "sync_token_q_1" in str(ended[0])
        assert session.run(cluster.step) == 4


def test_nothing_changes_before_all_gradients_of_all_variables_are_there():
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        cluster.start(session)
        start = session.run(cluster.variables)
        whole = threading.Thread(target=cluster.work, args=(session, 0, 1))
        whole.start()
        # Worker 1 has given the gradient of one variable when it is lost; that one is even taken.
        accumulator = cluster.optimizers[1]._accumulators[0]
        part = accumulator.apply_grad(np.ones((SIZE, 4), np.float32), local_step=0, replica=1)
        session.run(part)
        count, limit = accumulator.num_accumulated(), time.monotonic() + DEADLINE
        while session.run(count) != 0:
            assert time.monotonic() < limit
        for _ in range(50):
            for a, b in zip(session.run(cluster.variables), start):
                np.testing.assert_array_equal(a, b)
        cluster.run(session, 1, replicas=[1])
        whole.join(DEADLINE)
        assert session.run(cluster.step) == 1
        cluster.stop()


def test_a_worker_whose_token_was_lost_gets_another():
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        hook = cluster.optimizers[1].make_session_run_hook(is_chief=False)
        hook.begin()
        cluster.start(session)
        queue = cluster.optimizers[1]._token_queues[1]
        for step, tokens in ((0, [0, 0, 0]), (3, [0, 1, 1])):  # at its step it waits for others, behind it lacks a token
            session.run(sl.assign(cluster.step, step))
            for wanted in tokens:
                hook.replace_lost_token(session)
                assert session.run(queue.size()) == wanted
        assert session.run(queue.dequeue()) == 3
        cluster.stop()


def test_gradients_of_an_undone_step_do_not_count():
    """A checkpoint is restored while a worker is at a later step: what it gives then is not taken for the earlier one."""
    wanted = alone(2, 4, "sgd")
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        saver = sl.train.Saver(cluster.variables + [cluster.step])
        cluster.start(session)
        cluster.run(session, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = saver.save(session, folder + "/at2")
            cluster.stop()
            # Step 2 by one worker on variables that are about to be undone; it never gets its token.
            session.run([v.assign(v + 100.0) for v in cluster.variables] + [cluster.step.assign(9)])
            session.run(cluster.optimizers[1].local_step_init_op)
            with pytest.raises(sl.errors.DeadlineExceededError):
                session.run(cluster.train_ops[1], {cluster.inputs[1]: data(1, 9)}, options=sl.RunOptions(timeout_in_ms=200))
            saver.restore(session, path)
        for o in cluster.optimizers:
            session.run(o.local_step_init_op)
        session.run(cluster.optimizers[0].chief_init_op)
        cluster.coordinator = sl.train.Coordinator()
        cluster.optimizers[0].get_chief_queue_runner().create_threads(session, cluster.coordinator, daemon=True, start=True)
        cluster.run(session, 2, first=2)
        cluster.stop()
        for got, want in zip(session.run(cluster.variables), wanted):
            np.testing.assert_array_equal(got, want)


def test_gradients_that_come_after_a_restore_and_were_computed_before_it_do_not_count():
    wanted = alone(2, 4, "sgd")
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        cluster.start(session)
        cluster.run(session, 2)
        cluster.stop()
        # A new chief has restored step 2, at which worker 1 is, too. What the worker gives now it has computed before, from
        # weights that were half updated.
        session.run(cluster.optimizers[0].chief_init_op, {cluster.optimizers[0]._new_generation: 1})
        right = session.run(cluster.variables)
        session.run([v.assign(v + 100.0) for v in cluster.variables])
        with pytest.raises(sl.errors.DeadlineExceededError):
            session.run(cluster.train_ops[1], {cluster.inputs[1]: data(1, 2)}, options=sl.RunOptions(timeout_in_ms=200))
        for v, value in zip(cluster.variables, right):
            v.load(value, session)
        session.run(cluster.optimizers[1].local_step_init_op)
        cluster.coordinator = sl.train.Coordinator()
        cluster.optimizers[0].get_chief_queue_runner().create_threads(session, cluster.coordinator, daemon=True, start=True)
        cluster.run(session, 2, first=2)
        cluster.stop()
        for got, want in zip(session.run(cluster.variables), wanted):
            np.testing.assert_array_equal(got, want)


def test_a_new_chief_goes_on_where_the_last_one_was_lost():
    """The thread of the chief stops and another one starts: gradients given meanwhile count."""
    wanted = alone(2, 3, "sgd")
    with sl.Graph().as_default(), sl.Session() as session:
        cluster = Cluster(2)
        cluster.start(session)
        cluster.run(session, 2)
        cluster.stop()
        threads = [threading.Thread(target=lambda r=r: session.run(
            cluster.train_ops[r], {cluster.inputs[r]: data(r, 2)}, options=sl.RunOptions(timeout_in_ms=1000 * DEADLINE)))
            for r in range(2)]
        for t in threads:
            t.start()
        session.run(cluster.optimizers[0].chief_init_op)
        coordinator = sl.train.Coordinator()
        cluster.optimizers[0].get_chief_queue_runner().create_threads(session, coordinator, daemon=True, start=True)
        for t in threads:
            t.join(2 * DEADLINE)
        coordinator.request_stop()
        coordinator.join(stop_grace_period_secs=DEADLINE)
        for got, want in zip(session.run(cluster.variables), wanted):
            np.testing.assert_array_equal(got, want)


def test_one_monitored_worker_trains_to_its_last_step(tmp_path):
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [ROWS, SIZE])
        loss, variables = model(x)
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.SyncReplicasOptimizer(base_optimizer("sgd"), 1, replica=0)
        train = optimizer.minimize(loss, global_step=step)
        hooks = [optimizer.make_session_run_hook(True), sl.train.StopAtStepHook(last_step=6)]
        with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), hooks=hooks, log_step_count_steps=None,
                                               stop_grace_period_secs=DEADLINE) as session:
            while not session.should_stop():
                session.run_step_fn(lambda step_context: step_context.run_with_hooks(
                    train, {x: data(0, int(step_context.session.run(step)))}))
    sl.summary.FileWriterCache.clear()
    np.testing.assert_array_equal(sl.train.load_variable(str(tmp_path), "model/w"), alone(1, 6, "sgd")[0])


def test_a_step_ends_when_the_thread_that_it_waits_for_has_failed(tmp_path, monkeypatch):
    run_updates, failed = sl.train.QueueRunner._run, []

    def fails_first(self, session, op, coordinator):
        if failed:
            return run_updates(self, session, op, coordinator)
        while not session.run(given):
            pass
        failed.append(op)  # the chief has given its gradients and waits for a token, which nobody will make
        coordinator.request_stop(sl.errors.UnavailableError(None, None, "the server of a variable is silent"))

    monkeypatch.setattr(sl.train.QueueRunner, "_run", fails_first)
    with sl.Graph().as_default() as graph:
        x = sl.placeholder(sl.float32, [ROWS, SIZE])
        loss, _ = model(x)
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.SyncReplicasOptimizer(base_optimizer("sgd"), 1, replica=0)
        train = optimizer.minimize(loss, global_step=step)
        given = optimizer._accumulators[0].num_accumulated()
        hooks = [optimizer.make_session_run_hook(True, num_tokens=0), sl.train.StopAtStepHook(last_step=3)]

        def work():
            with graph.as_default(), sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), hooks=hooks,
                                                                       log_step_count_steps=None) as session:
                while not session.should_stop():
                    session.run(train, {x: data(0, 0)})

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        worker.join(DEADLINE)
    sl.summary.FileWriterCache.clear()
    assert failed and not worker.is_alive()
    assert sl.train.load_variable(str(tmp_path), "global_step") == 3


def test_mistakes_are_told_when_the_graph_is_built():
    def make(*args, **kwargs):
        return sl.train.SyncReplicasOptimizer(base_optimizer("sgd"), *args, **kwargs)

    with sl.Graph().as_default():
        loss, _ = model(sl.placeholder(sl.float32, [ROWS, SIZE]))
        with pytest.raises(ValueError, match="Global step is required"):
            make(2).minimize(loss)
        with pytest.raises(ValueError, match="should be called after apply_gradients"):
            make(2).get_chief_queue_runner()
        with pytest.raises(ValueError, match="replica must be one of 0 to 1"):
            make(2, replica=2)
        with pytest.raises(ValueError, match="more than the 1 workers"):
            make(2, 1, replica=0)
        optimizer = make(4, 2)
        optimizer.minimize(loss, global_step=sl.train.get_or_create_global_step())
        with pytest.raises(ValueError, match="Too few tokens"):
            optimizer.get_init_tokens_op(1)
