"""Supervisor: sessions with services in threads, and loops over them."""
import glob
import os
import threading

import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


def build():
    step = sl.train.get_or_create_global_step()
    w = sl.get_variable("w", initializer=10.0)
    sl.summary.scalar("w_value", w)
    return sl.group(sl.assign_sub(w, 1.0), sl.assign_add(step, 1)), w, step


def events(folder):
    return [e for path in glob.glob(os.path.join(folder, "events*")) for e in sl.train.summary_iterator(path)]


def test_a_supervised_session_saves_summarises_and_resumes(tmp_path):
    folder = str(tmp_path)
    for start in (10.0, 7.0):
        with sl.Graph().as_default():
            train, w, step = build()
            supervisor = sl.train.Supervisor(logdir=folder, save_model_secs=3600, save_summaries_secs=3600)
            assert supervisor.save_path == os.path.join(folder, "model.ckpt")
            saved, save = threading.Event(), supervisor.saver.save

            def save_and_tell(*args, **kwargs):
                save(*args, **kwargs)
                saved.set()

            supervisor.saver.save = save_and_tell
            with supervisor.managed_session() as session:
                assert session.run(w) == start
                assert saved.wait(60)  # by the service, once at the start
                for _ in range(3):
                    session.run(train)
                supervisor.request_stop()
                supervisor.coord.join()
                save(session, supervisor.save_path, global_step=step)
    assert sl.train.load_variable(folder, "w") == 4.0
    found = events(folder)
    statuses = [e.session_log.status for e in found if e.HasField("session_log")]
    log = sl.SessionLog
    assert statuses.count(log.START) == statuses.count(log.STOP) == 2 and log.CHECKPOINT in statuses
    tags = {v.tag for e in found for v in e.summary.value}
    assert tags >= {"w_value", "global_step/sec"}
    assert os.path.exists(os.path.join(folder, "graph.pbtxt"))


def test_an_error_in_the_block_or_in_a_thread_is_raised_and_the_end_of_input_is_not():
    build()
    supervisor = sl.train.Supervisor()
    with pytest.raises(ValueError, match="in the block"):
        with supervisor.managed_session():
            raise ValueError("in the block")
    with supervisor.managed_session():
        raise sl.errors.OutOfRangeError(None, None, "no more input")

    def fail():
        raise ValueError("in a thread")

    with pytest.raises(ValueError, match="in a thread"):
        with supervisor.managed_session():
            supervisor.loop(None, fail)
            supervisor.wait_for_stop()


def test_a_supervisor_that_is_not_the_chief_waits_and_writes_nothing(tmp_path):
    with sl.device("/job:localhost"):
        train, w, _ = build()
    supervisor = sl.train.Supervisor(is_chief=False, logdir=str(tmp_path), ready_op=None)
    with supervisor.managed_session() as session:
        session.run(w.initializer)
        assert session.run(w) == 10.0
        with pytest.raises(RuntimeError, match="Only chief supervisor"):
            supervisor.start_standard_services(session)
        with pytest.raises(RuntimeError, match="requires a summary writer"):
            supervisor.summary_computed(session, b"")
    assert not os.listdir(tmp_path)


def test_replicas_want_devices_for_their_variables():
    build()
    with pytest.raises(ValueError, match="all Variables must have their device set"):
        sl.train.Supervisor(is_chief=False)


def test_a_train_loop_goes_on_in_a_new_session_after_a_loss(tmp_path):
    train, w, step = build()
    supervisor = sl.train.Supervisor(logdir=str(tmp_path), save_model_secs=3600, save_summaries_secs=None)
    lost = []

    def train_step(session, last):
        session.run(train)
        now = int(session.run(step))
        supervisor.saver.save(session, supervisor.save_path, global_step=now)
        if now == 2 and not lost:
            lost.append(now)
            raise sl.errors.AbortedError(None, None, "the server went away")
        if now == last:
            supervisor.request_stop()

    sl.train.basic_train_loop(supervisor, train_step, args=(5,))
    assert lost and sl.train.load_variable(str(tmp_path), "w") == 5.0


def test_a_looper_thread_calls_until_the_stop():
    coordinator, calls = sl.train.Coordinator(), []
    enough = threading.Event()

    def call(x, y):
        calls.append((x, y))
        if len(calls) == 3:
            enough.set()

    thread = sl.train.LooperThread.loop(coordinator, 0.001, call, args=(1,), kwargs={"y": 2})
    assert enough.wait(60)
    coordinator.request_stop()
    coordinator.join([thread])
    assert calls[:3] == [(1, 2)] * 3
    with pytest.raises(ValueError, match="must be a Coordinator"):
        sl.train.LooperThread(None, 1)
    with pytest.raises(ValueError, match="require that you also pass 'target'"):
        sl.train.LooperThread(coordinator, 1, args=(1,))
