"""Sessions that are prepared, recovered and waited for, and which chief may commit a checkpoint."""
import os

import numpy as np
import pytest

import sluice as sl
from sluice.train import _session_epoch
from sluice.train._session_epoch import SessionEpoch


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


def save(folder, value=5.0):
    """A checkpoint of v = value in the folder; returns (v, saver)."""
    v = sl.get_variable("v", initializer=value)
    saver = sl.train.Saver()
    with sl.Session() as session:
        session.run(v.initializer)
        saver.save(session, os.path.join(str(folder), "m"), global_step=1)
    return v, saver


def manager(**options):
    return sl.train.SessionManager(ready_op=sl.report_uninitialized_variables(), recovery_wait_secs=0.01, **options)


def test_a_chief_initialises_when_there_is_no_checkpoint(tmp_path):
    v = sl.get_variable("v", initializer=3.0)
    w = sl.get_variable("w", initializer=0.0, collections=[sl.GraphKeys.LOCAL_VARIABLES])
    feed = sl.placeholder(sl.float32, [])
    fill = sl.assign(v, feed)
    session = manager(local_init_op=w.initializer).prepare_session(
        "", init_op=fill, init_feed_dict={feed: 7.0}, saver=sl.train.Saver(), checkpoint_dir=str(tmp_path),
        init_fn=lambda session: session.run(sl.assign_add(v, 1.0)))
    assert session.run([v, w]) == [8.0, 0.0]


def test_a_chief_restores_what_was_saved(tmp_path):
    v, saver = save(tmp_path)
    path = saver.last_checkpoints[0]
    fail = sl.Assert(False, ["must not run"])
    for where in (dict(checkpoint_dir=str(tmp_path)), dict(checkpoint_filename_with_path=path)):
        assert manager().prepare_session("", init_op=fail, saver=saver, **where).run(v) == 5.0
        session, restored = manager().recover_session("", saver=saver, **where)
        assert restored and session.run(v) == 5.0
    with pytest.raises(ValueError, match="Can not provide both"):
        manager().prepare_session("", saver=saver, checkpoint_dir=str(tmp_path), checkpoint_filename_with_path=path)
    assert not manager().recover_session("", saver=saver, checkpoint_dir=str(tmp_path / "other"))[1]


def test_a_model_that_stays_unready_is_named(tmp_path):
    sl.get_variable("forgotten", [2])
    with pytest.raises(RuntimeError, match="no init_op or init_fn or local_init_op was given"):
        manager().prepare_session("")
    with pytest.raises(RuntimeError, match="did not make model ready.*forgotten"):
        manager().prepare_session("", init_op=sl.no_op())
    with pytest.raises(RuntimeError, match="ready for local_init.*forgotten"):
        manager(local_init_op=sl.no_op(), ready_for_local_init_op=sl.report_uninitialized_variables()).prepare_session(
            "", init_op=sl.no_op())
    with pytest.raises(ValueError, match="must also pass a local_init_op"):
        manager(ready_for_local_init_op=sl.report_uninitialized_variables())
    with pytest.raises(sl.errors.DeadlineExceededError, match="Session was not ready after waiting 0 secs.*forgotten"):
        manager().wait_for_session("", max_wait_secs=0)


def test_a_worker_waits_until_the_model_is_ready():
    answers = [[b"v"], [b"v"], []]
    ready = sl.py_func(lambda: np.array(answers.pop(0), object), [], sl.string)
    session = sl.train.SessionManager(ready_op=ready, recovery_wait_secs=0.01).wait_for_session("", max_wait_secs=60)
    assert not answers and session.run(sl.constant(1)) == 1


def test_reading_a_variable_too_early_counts_as_not_ready():
    v = sl.get_variable("v", initializer=1.0)
    with pytest.raises(sl.errors.DeadlineExceededError, match="'v'|uninitialized"):
        sl.train.SessionManager(ready_op=v + 1, recovery_wait_secs=0.01).wait_for_session("", max_wait_secs=0)
    copy = sl.get_variable("copy", initializer=0.0, collections=[sl.GraphKeys.LOCAL_VARIABLES])
    with pytest.raises(sl.errors.DeadlineExceededError, match="'v'|uninitialized"):
        sl.train.SessionManager(local_init_op=sl.assign(copy, v + 1),
                                recovery_wait_secs=0.01).wait_for_session("", max_wait_secs=0)


# Who may commit.
def test_epochs_of_a_folder_only_grow(tmp_path):
    assert _session_epoch.read(str(tmp_path)) == (0, None)
    assert [SessionEpoch(tmp_path).acquire() for _ in range(3)] == [1, 2, 3]
    epoch, holder = _session_epoch.read(str(tmp_path))
    assert epoch == 3 and holder.endswith(":%d" % os.getpid())
    (tmp_path / "checkpoint.epoch").write_text("garbage\n")
    with pytest.raises(sl.errors.DataLossError, match="does not hold an epoch"):
        SessionEpoch(tmp_path).acquire()


def test_a_chief_that_was_replaced_cannot_commit(tmp_path):
    v, zombie_saver = save(tmp_path, 1.0)
    saver = sl.train.Saver()
    old, new = SessionEpoch(tmp_path), SessionEpoch(tmp_path)
    old.acquire()
    zombie_saver.session_epoch = old
    path = str(tmp_path / "m")
    with sl.Session() as zombie, sl.Session() as session:
        for s, value in ((zombie, 2.0), (session, 3.0)):
            s.run(v.initializer)
            v.load(value, s)
        zombie_saver.save(zombie, path, global_step=2)
        new.acquire()
        saver.session_epoch = new
        saver.save(session, path, global_step=3)
        before = sorted(os.listdir(tmp_path))
        for step in (3, 4):  # even of the very step that its successor saved
            with pytest.raises(sl.errors.FailedPreconditionError,
                               match=r"holds epoch 1, but epoch 2 was taken by .*this one must stop"):
                zombie_saver.save(zombie, path, global_step=step)
    assert sorted(os.listdir(tmp_path)) == before
    assert sl.train.latest_checkpoint(str(tmp_path)) == path + "-3"
    assert sl.train.load_variable(str(tmp_path), "v") == 3.0


def test_a_chief_replaced_while_it_saves_leaves_no_trace(tmp_path):
    v, saver = save(tmp_path, 1.0)
    saver.session_epoch = SessionEpoch(tmp_path)
    saver.session_epoch.acquire()

    class TakenOverBeforeCommit(sl.Session):
        def run(self, *args, **kwargs):
            result = super().run(*args, **kwargs)
            SessionEpoch(tmp_path).acquire()
            return result

    before = sorted(os.listdir(tmp_path))
    with TakenOverBeforeCommit() as session:
        sl.Session.run(session, v.initializer)
        with pytest.raises(sl.errors.FailedPreconditionError, match="refused"):
            saver.save(session, str(tmp_path / "m"), global_step=2)
    assert sorted(f for f in os.listdir(tmp_path) if "epoch" not in f) == [f for f in before if "epoch" not in f]


def test_a_chief_stopped_in_the_middle_of_a_commit_does_not_hold_up_its_successor(tmp_path, monkeypatch):
    monkeypatch.setattr(_session_epoch, "_LOCK_SECS", 0.1)
    old, new = SessionEpoch(tmp_path), SessionEpoch(tmp_path)
    old.acquire()
    temporary = old.temporary(str(tmp_path / "m"))
    for end in (".index", ".data-00000-of-00001"):
        with open(temporary + end, "w", encoding="utf-8") as f:
            f.write("x")
    with pytest.raises(sl.errors.FailedPreconditionError, match="refused"), old.commit():
        assert new.acquire() == 2  # breaks the lock
        with new.commit():
            _session_epoch.move(temporary, str(tmp_path / "m"), old.check)
    assert not os.path.exists(tmp_path / "m.index")


def test_leftovers_of_a_chief_that_died_while_saving_are_removed(tmp_path):
    first = SessionEpoch(tmp_path)
    first.acquire()
    os.makedirs(first.temporary(str(tmp_path / "m-5")) + "_temp")
    for name in ("m-5.tmp-1-3.index", "m-5.tmp-1-3.data-00000-of-00001", "m-5.tmp-9-1.index", "m-4.index"):
        (tmp_path / name).write_text("x")
    SessionEpoch(tmp_path).acquire()
    assert sorted(f for f in os.listdir(tmp_path) if f.startswith("m-")) == ["m-4.index", "m-5.tmp-9-1.index"]


def test_a_checkpoint_saved_again_unchanged_is_left_alone(tmp_path):
    v, saver = save(tmp_path)
    saver.session_epoch = SessionEpoch(tmp_path)
    saver.session_epoch.acquire()
    before = os.stat(tmp_path / "m-1.index")
    with sl.Session() as session:
        saver.restore(session, str(tmp_path / "m-1"))
        saver.save(session, str(tmp_path / "m"), global_step=1)
        assert os.stat(tmp_path / "m-1.index").st_ino == before.st_ino
        v.load(6.0, session)
        saver.save(session, str(tmp_path / "m"), global_step=1)
    assert sl.train.load_variable(str(tmp_path), "v") == 6.0
