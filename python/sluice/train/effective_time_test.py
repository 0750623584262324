"""The split of a training's time, on a clock of the test's own and around a session whose server is lost."""
import pytest

import sluice as sl
from sluice.train._effective_time import EffectiveTime


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def times(e):
    return {name: round(getattr(e, name), 3) for name in
            ("wall", "productive", "detect", "restart", "restore", "reexecute", "failures")}


def test_each_second_belongs_to_one_kind():
    clock = Clock()

    def after(seconds, what, *arguments):
        clock.now += seconds
        what(*arguments)

    e = EffectiveTime(clock, {}, tell=False)
    after(5, e.opened, 0)
    for step in range(10):
        after(1, e.stepped, step)
    after(3, e.failed)
    e.failed()       # once more, by another thread
    after(2, e.restored, 2)
    after(4, e.opened, 6)
    for step in range(6, 14):
        after(1, e.stepped, step)
    assert times(e) == {"wall": 32, "productive": 14, "detect": 3, "restart": 4, "restore": 2, "reexecute": 4, "failures": 2}
    assert e.wall == 5 + e.productive + e.detect + e.restart + e.restore + e.reexecute
    assert e.ratio == 14 / 32
    assert e.text() == ("effective time: 43.8 % of 32.0 s; lost in 2 failures: detecting 3.0 s, restarting 4.0 s, restoring "
                        "2.0 s, re-executing 4.0 s")


def test_without_a_global_step_steps_are_counted():
    clock = Clock()
    e = EffectiveTime(clock, {}, tell=False)
    e.opened(0)
    for _ in range(4):
        clock.now += 1
        e.stepped()
    e.failed()
    e.opened(2)
    for _ in range(3):
        clock.now += 1
        e.stepped()
    assert (e.productive, e.reexecute) == (5, 2)


def test_a_step_that_waits_for_a_lost_task_is_not_productive_for_so_long():
    clock = Clock()
    e = EffectiveTime(clock, {}, tell=False)
    e.opened(0)
    for seconds in [0.1] * 20 + [5.1] + [0.1] * 5:
        clock.now += seconds
        e.ran(seconds)
        e.stepped()
    assert times(e) == {"wall": 7.6, "productive": 2.6, "detect": 0, "restart": 5, "restore": 0, "reexecute": 0, "failures": 1}


def test_a_process_that_was_started_again_counts_the_time_it_was_down():
    clock = Clock()
    e = EffectiveTime(clock, {"SLUICE_DOWN_SECONDS": "2.5"}, tell=False)
    clock.now += 4
    e.restored(1)
    e.opened(7)
    clock.now += 10
    e.stepped(7)
    assert times(e) == {"wall": 16.5, "productive": 10, "detect": 0, "restart": 5.5, "restore": 1, "reexecute": 0,
                        "failures": 1}
    assert EffectiveTime(clock, {"SLUICE_DOWN_SECONDS": "soon"}, tell=False).failures == 0


def test_a_monitored_session_tells_what_a_lost_server_cost(tmp_path):
    lost = []

    class Loses(sl.train.SessionRunHook):
        def after_run(self, run_context, run_values):
            if step_of(run_context.session) == 7 and not lost:
                lost.append(True)
                raise sl.errors.UnavailableError(None, None, "the server is gone")

    with sl.Graph().as_default():
        step = sl.train.get_or_create_global_step()
        train = sl.assign_add(step, 1)

        def step_of(session):
            return int(session.run(step))

        hooks = [sl.train.StopAtStepHook(last_step=10), Loses()]
        with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), hooks=hooks, save_checkpoint_steps=4) as session:
            while not session.should_stop():
                session.run(train)
            e = session.effective_time
    assert lost and e.failures == 1
    assert min(e.productive, e.detect, e.restart, e.restore, e.reexecute) > 0
    assert e.productive + e.detect + e.restart + e.restore + e.reexecute <= e.wall
    assert e.ratio == pytest.approx(e.productive / e.wall, rel=0.5)
