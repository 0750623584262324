"""Monitored sessions: start, hooks, stop, resume, and threads that end together."""
import glob
import os
import threading

import pytest

import sluice as sl


def build():
    """A model whose loss is its weight, which falls by 1 in each step; returns (train op, loss, step)."""
    step = sl.train.get_or_create_global_step()
    w = sl.get_variable("w", initializer=10.0)
    loss = sl.identity(w, name="loss")
    sl.summary.scalar("loss_value", loss)
    return sl.train.GradientDescentOptimizer(1.0).minimize(loss, global_step=step), loss, step


def test_training_stops_at_its_step_saves_summarises_and_resumes(tmp_path):
    folder = str(tmp_path)
    for last in (5, 8):
        with sl.Graph().as_default():
            train, loss, step = build()
            hooks = [sl.train.StopAtStepHook(last_step=last)]
            with sl.train.MonitoredTrainingSession(checkpoint_dir=folder, hooks=hooks, save_checkpoint_steps=2,
                                                   save_summaries_steps=1, log_step_count_steps=None) as session:
                while not session.should_stop():
                    session.run(train)
        assert sl.train.load_variable(folder, "w") == 10 - last
        assert sl.train.latest_checkpoint(folder).endswith("model.ckpt-%d" % last)
    sl.summary.FileWriterCache.clear()
    tags = [v.tag for path in glob.glob(os.path.join(folder, "events*"))
            for event in sl.train.summary_iterator(path) for v in event.summary.value]
    assert tags.count("loss_value") == 8
    logs = [(event.step, event.session_log.status) for path in glob.glob(os.path.join(folder, "events*"))
            for event in sl.train.summary_iterator(path) if event.HasField("session_log")]
    saved = sl.SessionLog.CHECKPOINT
    assert [step for step, status in sorted(logs) if status == saved] == [0, 2, 4, 5, 5, 7, 8]


def test_hooks_see_every_step_and_may_fetch_and_feed():
    seen = []

    class Watch(sl.train.SessionRunHook):
        def begin(self):
            seen.append("begin")

        def after_create_session(self, session, coord):
            seen.append("session")

        def before_run(self, run_context):
            return sl.train.SessionRunArgs({"y": y}, feed_dict={x: 3.0})

        def after_run(self, run_context, run_values):
            seen.append(float(run_values.results["y"]))
            run_context.request_stop()

        def end(self, session):
            seen.append("end")

    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [])
        y = x * 2
        z = y + 1
        with sl.train.SingularMonitoredSession(hooks=[Watch()]) as session:
            assert session.run(z) == 7
            assert session.should_stop()
            assert session.graph is y.graph
    assert seen == ["begin", "session", 6.0, "end"]


def test_a_nan_loss_stops_training():
    for fail in (True, False):
        with sl.Graph().as_default():
            loss = sl.constant(0.0) / sl.constant(0.0)
            session = sl.train.SingularMonitoredSession([sl.train.NanTensorHook(loss, fail_on_nan_loss=fail)])
            if fail:
                with pytest.raises(sl.train.NanLossDuringTrainingError), session:
                    session.run(loss)
            else:
                session.run(loss)
                assert session.should_stop()
                session.close()


def test_a_monitored_session_reports_what_is_not_initialised():
    with sl.Graph().as_default():
        sl.get_variable("forgotten", [2])
        scaffold = sl.train.Scaffold(init_op=sl.no_op())
        with pytest.raises(RuntimeError, match="forgotten"):
            sl.train.SingularMonitoredSession(scaffold=scaffold)


def test_a_lost_server_is_replaced_from_the_checkpoint(tmp_path):
    failures = [sl.errors.AbortedError(None, None, "the server went away")]

    class Fail(sl.train.SessionRunHook):
        def before_run(self, run_context):
            if failures and int(run_context.session.run(step)) == 3:
                raise failures.pop()

    with sl.Graph().as_default():
        train, _, step = build()
        hooks = [Fail(), sl.train.StopAtStepHook(last_step=6)]
        with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), hooks=hooks, save_checkpoint_steps=1,
                                               log_step_count_steps=None) as session:
            while not session.should_stop():
                session.run(train)
    sl.summary.FileWriterCache.clear()
    assert not failures and sl.train.load_variable(str(tmp_path), "w") == 4


def test_threads_stop_together_and_join_raises_what_stopped_them():
    coordinator = sl.train.Coordinator()
    ended = []

    def wait():
        coordinator.wait_for_stop()
        ended.append(1)

    def fail():
        with coordinator.stop_on_exception():
            raise ValueError("from a thread")

    threads = [threading.Thread(target=f) for f in (wait, wait, fail)]
    for thread in threads:
        thread.start()
    with pytest.raises(ValueError, match="from a thread"):
        coordinator.join(threads)
    assert len(ended) == 2
    coordinator.clear_stop()
    assert not coordinator.should_stop()


def test_the_timer_fires_by_steps():
    timer = sl.train.SecondOrStepTimer(every_steps=3)
    fired = []
    for step in range(8):
        if timer.should_trigger_for_step(step):
            timer.update_last_triggered_step(step)
            fired.append(step)
    assert fired == [0, 3, 6]
    with pytest.raises(ValueError):
        sl.train.SecondOrStepTimer()


@pytest.mark.parametrize("make, text", [
    (lambda t: t.StopAtStepHook(), "One of num_steps or last_step must be specified."),
    (lambda t: t.StopAtStepHook(1, 2), "Only one of num_steps or last_step can be specified."),
    (lambda t: t.SecondOrStepTimer(1, 2), "Can not provide both every_secs and every_steps."),
    (lambda t: t.CheckpointSaverHook("x"), "Either every_secs or every_steps should be provided."),
    (lambda t: t.CheckpointSaverHook("x", 1, saver=1, scaffold=2), "You cannot provide both saver and scaffold."),
    (lambda t: t.SummarySaverHook(1), "Exactly one of scaffold or summary_op must be provided."),
    (lambda t: t.StepCounterHook(every_n_secs=1), "exactly one of every_n_steps and every_n_secs should be provided."),
    (lambda t: t.LoggingTensorHook([], every_n_iter=0), "invalid every_n_iter=0."),
    (lambda t: t.LoggingTensorHook([]), "either at_end and/or exactly one of every_n_iter and every_n_secs"),
])
def test_wrong_arguments_of_hooks_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make(sl.train)


def test_feeding_a_tensor_twice_is_refused():
    for hooks, feed, who in ((1, {}, None), (2, {}, "two hooks"), (1, {"x:0": 3.0}, "a SessionRunHook and user")):
        with sl.Graph().as_default():
            x = sl.placeholder(sl.float32, [], name="x")
            with sl.train.MonitoredSession(hooks=[sl.train.FeedFnHook(lambda: {"x:0": 2.0}) for _ in range(hooks)]) as s:
                if who is None:
                    assert s.run(x) == 2.0
                else:
                    with pytest.raises(RuntimeError, match="Same tensor is fed by %s" % who):
                        s.run(x, feed)


def test_a_new_session_is_tried_until_the_servers_are_back():
    class Creator(sl.train.ChiefSessionCreator):
        failures = 3

        def create_session(self):
            if self.failures:
                self.failures -= 1
                raise sl.errors.UnavailableError(None, None, "connection refused: task /job:ps/task:0")
            return super().create_session()

    with sl.Graph().as_default():
        train, _, step = build()
        creator = Creator()
        with sl.train.MonitoredSession(creator, [sl.train.StopAtStepHook(last_step=2)]) as session:
            while not session.should_stop():
                session.run(train)
            assert session.raw_session().run(step) == 2
        assert not creator.failures


@pytest.mark.parametrize("where", ["creating", "running"])
def test_recovery_gives_up_when_its_budget_is_spent(where):
    class Impatient(sl.train.MonitoredSession):
        restarts, recovery_secs = (2, 600.0), 0.3

    class Fail(sl.train.SessionRunHook):
        sessions = 0

        def after_create_session(self, session, coord):
            self.sessions += 1
            if where == "creating":
                raise sl.errors.UnavailableError(None, None, "ps 0 is gone")

        def before_run(self, run_context):
            raise sl.errors.UnavailableError(None, None, "ps 0 is gone")

    with sl.Graph().as_default():
        train, _, _ = build()
        hook = Fail()
        text = "no session could be made.*ps 0 is gone" if where == "creating" else \
            "lost 3 times within 600 s.*2 restarts allowed.*ps 0 is gone"
        with pytest.raises(sl.errors.UnavailableError, match=text):
            with Impatient(hooks=[hook]) as session:
                session.run(train)
        assert where == "creating" or hook.sessions == 3


def test_a_step_function_is_called_again_after_a_loss_with_the_restored_step(tmp_path):
    seen = []

    def step_fn(step_context):
        now = int(step_context.session.run(step))
        seen.append(now)
        if seen.count(5) == 1 and now == 5:
            raise sl.errors.AbortedError(None, None, "lost")
        if now == 7:
            step_context.request_stop()
        return step_context.run_with_hooks(train, {x: float(now)})

    with sl.Graph().as_default():
        step = sl.train.get_or_create_global_step()
        x = sl.placeholder(sl.float32, [])
        total = sl.get_variable("total", initializer=0.0)
        train = sl.group(sl.assign_add(total, x), sl.assign_add(step, 1))
        with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), save_checkpoint_steps=2,
                                               save_summaries_steps=None, log_step_count_steps=None) as session:
            while not session.should_stop():
                session.run_step_fn(step_fn)
    assert seen == [0, 1, 2, 3, 4, 5, 4, 5, 6, 7]
    assert sl.train.load_variable(str(tmp_path), "total") == sum(range(7))
    sl.summary.FileWriterCache.clear()
    with sl.Graph().as_default():
        sl.constant(1)
        with pytest.raises(ValueError, match="may either have one `step_context` argument"):
            sl.train.MonitoredSession().run_step_fn(lambda x: x)


def test_a_chief_that_was_replaced_stops_instead_of_recovering(tmp_path):
    from sluice.train._session_epoch import SessionEpoch
    with sl.Graph().as_default():
        train, _, _ = build()
        with pytest.raises(sl.errors.FailedPreconditionError, match="another chief has taken over"):
            with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), save_checkpoint_steps=2,
                                                   log_step_count_steps=None, save_summaries_steps=None) as session:
                session.run(train)
                SessionEpoch(tmp_path).acquire()
                while not session.should_stop():
                    session.run(train)
    sl.summary.FileWriterCache.clear()
    assert sl.train.latest_checkpoint(str(tmp_path)).endswith("-0")


def test_a_worker_waits_for_its_turn():
    with sl.Graph().as_default():
        train, _, step = build()
        ten = sl.constant(10, sl.int64)
        waiter = sl.train.GlobalStepWaiterHook(10, max_wait_secs=0)
        session = sl.train.SingularMonitoredSession([waiter])
        with pytest.raises(sl.errors.DeadlineExceededError, match="reached 0 of the 10 to wait for within 0 s"):
            session.run(train)
        waiter._step = ten  # what the other workers did meanwhile
        session.run(train)
        assert session.raw_session().run(step) == 1


def test_the_graph_is_final_while_the_session_lives():
    with sl.Graph().as_default() as graph:
        sl.constant(1.0)
        with sl.train.MonitoredSession():
            with pytest.raises(RuntimeError, match="final"):
                sl.constant(2.0)
        sl.constant(2.0)
        assert not graph.finalized


def test_a_scaffold_takes_what_it_is_not_given_from_another_or_from_collections():
    with sl.Graph().as_default():
        v = sl.get_variable("v", initializer=1.0)
        base = sl.train.Scaffold(init_fn=lambda scaffold, session: scaffold.seen.append(session.run(v)))
        base.seen = []
        init = sl.global_variables_initializer()
        sl.add_to_collection(sl.GraphKeys.INIT_OP, init)
        scaffold = sl.train.Scaffold(copy_from_scaffold=base).finalize()
        assert scaffold.init_op is init
        assert sl.get_collection(sl.GraphKeys.SAVERS) == [scaffold.saver]
    with sl.Graph().as_default():
        v = sl.get_variable("v", initializer=1.0)
        sl.train.SingularMonitoredSession(scaffold=base).close()
        assert base.seen == [1.0]
        sl.add_to_collection(sl.GraphKeys.READY_OP, v)
        sl.add_to_collection(sl.GraphKeys.READY_OP, v)
        with pytest.raises(RuntimeError, match='More than one item in the collection "ready_op"'):
            sl.train.Scaffold().finalize()
    with pytest.raises(TypeError, match="not a Scaffold"):
        sl.train.Scaffold(copy_from_scaffold=3)
