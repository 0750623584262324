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
