"""StaleSynchronousOptimizer: the bound holds, is reached, and survives the loss of a session."""
import contextlib
import random
import threading
import time

import numpy as np
import pytest

import sluice as sl

DEADLINE = 60


class Workers:
    """`n` workers on one graph and session. Worker w adds 1 to element w of a variable in each step."""

    def __init__(self, n, staleness):
        self.n, self.staleness = n, staleness
        self.counts = sl.get_variable("counts", [n], initializer=sl.zeros_initializer())
        self.optimizers, self.losses, self.train_ops = [], [], []
        for w in range(n):
            loss = -self.counts[w]
            optimizer = sl.train.StaleSynchronousOptimizer(sl.train.GradientDescentOptimizer(1.0), staleness, n, w)
            self.train_ops.append(optimizer.minimize(loss))
            self.optimizers.append(optimizer)
        self.seen = sl.identity(self.counts.read_value())
        self.clocks = self.optimizers[0].clocks()

    def start(self, session):
        session.run(sl.global_variables_initializer())
        session.run(self.optimizers[0]._chief_init_op)

    def step(self, session, w):
        session.run(self.train_ops[w], options=sl.RunOptions(timeout_in_ms=1000 * DEADLINE))

    @contextlib.contextmanager
    def waiting_step(self, session, w, clocks):
        """A step that advances the clocks to `clocks` and waits as long as the block lasts, which must end the wait."""
        failures = []

        def body():
            try:
                self.step(session, w)
            except sl.errors.OpError as e:
                failures.append(e)

        thread = threading.Thread(target=body)
        thread.start()
        limit = time.monotonic() + DEADLINE
        while session.run(self.clocks).tolist() != clocks:
            assert time.monotonic() < limit
        for _ in range(20):
            session.run(self.clocks)
        assert thread.is_alive()
        yield
        thread.join(DEADLINE)
        assert not thread.is_alive() and not failures, failures


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_a_worker_gets_exactly_so_far_ahead(staleness):
    with sl.Graph().as_default(), sl.Session() as session:
        workers = Workers(2, staleness)
        workers.start(session)
        for _ in range(staleness):
            workers.step(session, 1)  # does not wait: at the next read it is `staleness` ahead at most
        with workers.waiting_step(session, 1, [0, staleness + 1]):
            workers.step(session, 0)


@pytest.mark.parametrize("staleness", [0, 2])
def test_no_read_is_older_than_the_bound(staleness):
    n, steps = 4, 25
    with sl.Graph().as_default(), sl.Session() as session:
        workers = Workers(n, staleness)
        workers.start(session)
        leads, failures = [], []

        def work(w):
            uneven = random.Random(w)
            try:
                for clock in range(steps):
                    seen = session.run(workers.seen)
                    assert seen[w] == clock, "its own updates"
                    assert min(seen) >= clock - staleness, "updates of clocks up to %d" % (clock - staleness - 1)
                    leads.append(clock - min(seen))
                    for _ in range(uneven.choice([0, 0, 0, 40])):
                        session.run(workers.clocks)
                    workers.step(session, w)
            except Exception as e:  # pylint: disable=broad-except
                failures.append(e)

        threads = [threading.Thread(target=work, args=(w,)) for w in range(n)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(DEADLINE)
        assert not failures, failures
        assert max(leads) <= staleness and session.run(workers.counts).tolist() == [steps] * n


def test_nobody_waits_for_a_worker_that_has_finished():
    with sl.Graph().as_default(), sl.Session() as session:
        workers = Workers(2, 0)
        workers.start(session)
        with workers.waiting_step(session, 1, [0, 1]):
            workers.optimizers[0].make_session_run_hook(is_chief=True).end(session)
        workers.step(session, 1)
        assert session.run(workers.counts).tolist() == [0, 2]


def test_clocks_are_restored_with_the_variables(tmp_path):
    with sl.Graph().as_default():
        workers = Workers(2, 1)
        saver = sl.train.Saver()
        with sl.Session() as session:
            workers.start(session)
            for w in (0, 1, 1):
                workers.step(session, w)
            path = saver.save(session, str(tmp_path / "model"))
        hooks = [o.make_session_run_hook(is_chief=(w == 0)) for w, o in enumerate(workers.optimizers)]
        with sl.Session() as session:
            saver.restore(session, path)
            for hook in hooks:
                hook.begin()
                hook.after_create_session(session, None)
                hook.before_run(sl.train.SessionRunContext(None, session))
            assert session.run(workers.clocks).tolist() == [1, 2]
            with workers.waiting_step(session, 1, [1, 3]):
                workers.step(session, 0)
            # The chief restores while the others live: the clocks go back with the variables.
            saver.restore(session, path)
            hooks[0].after_create_session(session, None)
            assert session.run(workers.clocks).tolist() == [1, 2]
            workers.step(session, 0)
            workers.step(session, 1)
            assert session.run(workers.counts).tolist() == [2, 3]


def test_monitored_sessions_train_within_the_bound():
    with sl.Graph().as_default():
        step = sl.train.get_or_create_global_step()
        w = sl.get_variable("w", initializer=5.0)
        optimizer = sl.train.StaleSynchronousOptimizer(sl.train.AdamOptimizer(0.5), 2, 1, 0)
        train = optimizer.minimize(sl.square(w), global_step=step)
        clocks = optimizer.clocks()
        first = clocks[0]
        hooks = [optimizer.make_session_run_hook(True), sl.train.StopAtStepHook(last_step=20)]
        with sl.train.MonitoredTrainingSession(hooks=hooks) as session:
            while not session.should_stop():
                session.run(train)
            assert session.raw_session().run([step, first, w])[:2] == [20, 20]


def test_mistakes_are_told():
    base = sl.train.GradientDescentOptimizer(0.1)
    for arguments, message in (((-1, 2, 0), "at least 0"), ((1, 2, 2), "one of 0 to 1")):
        with pytest.raises(ValueError, match=message):
            sl.train.StaleSynchronousOptimizer(base, *arguments)
    with pytest.raises(ValueError, match="after apply_gradients"):
        sl.train.StaleSynchronousOptimizer(base, 1, 2, 0).clocks()
