"""The manifest of a folder of checkpoints: what it says, who is believed when files differ, what must never be committed."""
import errno
import hashlib
import json
import os

import pytest

import sluice as sl
from sluice.train import _manifest, _session_epoch
from sluice.train._manifest import Manifest
from sluice.train._session_epoch import SessionEpoch


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


class Model:
    """A model with an optimiser's state, saved into a folder; its step is the value of its only weight."""

    def __init__(self, folder, epoch=False, **options):
        self.folder = str(folder)
        self._weight = sl.get_variable("w", initializer=[0.0, 0.0])
        step = sl.train.get_or_create_global_step()
        train = sl.train.MomentumOptimizer(-1.0, 0.0).minimize(sl.reduce_sum(self._weight), step)
        self.saver, self.session = sl.train.Saver(**options), sl.Session()
        self.session.run(sl.global_variables_initializer())
        self.train = lambda: self.session.run(train)
        if epoch:
            self.saver.session_epoch = SessionEpoch(folder)
            self.saver.session_epoch.acquire()

    def save(self, step):
        self.train()
        return self.saver.save(self.session, os.path.join(self.folder, "m"), global_step=step, write_meta_graph=False)


def change(path, at=-1):
    """Flips a bit of a file."""
    data = bytearray(open(path, "rb").read())
    data[at] ^= 1
    with open(path, "wb") as f:
        f.write(data)


def latest(folder):
    found = sl.train.latest_checkpoint(str(folder))
    return found and os.path.basename(found)


def test_each_checkpoint_has_a_line_with_its_files_and_what_it_holds(tmp_path):
    model = Model(tmp_path, epoch=True, max_to_keep=2)
    for step in (1, 2, 3):
        model.save(step)
    first, *lines = (tmp_path / "checkpoint.manifest").read_text().splitlines()
    assert "checkpoint" in json.loads(first.split(" ", 1)[1])
    lines = [json.loads(line.split(" ", 1)[1]) for line in lines]
    assert [(line["prefix"], line["step"], line["epoch"]) for line in lines] == [("m-2", 2, 1), ("m-3", 3, 1)]
    assert lines[-1]["holds"] == ["optimizer", "step"]
    for name, (size, digest) in lines[-1]["files"].items():
        data = (tmp_path / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)
    assert sorted(lines[-1]["files"]) == ["m-3.data-00000-of-00001", "m-3.index"]


@pytest.mark.parametrize("names, holds", [
    ({"w": 0}, []), ({"global_step": 0, "w": 0}, ["step"]), ({"a/w": 0, "a/w/Adam": 0}, ["optimizer"]),
    ({"beta1_power": 0}, ["optimizer"]), ({"rng_state": 0, "input/iterator": 0}, ["iterator", "random"])])
def test_the_kinds_of_state_are_known_by_their_names(names, holds):
    assert _manifest._kinds(names) == holds


def test_a_damaged_checkpoint_is_known_by_its_hash_and_passed_over(tmp_path):
    model = Model(tmp_path)
    for step in (1, 2):
        model.save(step)
    change(tmp_path / "m-2.data-00000-of-00001", at=0)  # its size and its index are sound
    assert latest(tmp_path) == "m-1"


def test_the_manifest_is_believed_where_the_state_file_lags_behind_or_is_lost(tmp_path):
    model = Model(tmp_path, epoch=True)
    model.save(1)
    before = (tmp_path / "checkpoint").read_bytes()
    model.save(2)
    (tmp_path / "checkpoint").write_bytes(before)  # a crash between the manifest and `checkpoint`
    assert latest(tmp_path) == "m-2"
    (tmp_path / "checkpoint").write_bytes(b"\0garbage")
    assert latest(tmp_path) == "m-2"
    (tmp_path / "checkpoint").unlink()
    assert latest(tmp_path) == "m-2"


def test_whoever_writes_the_state_file_by_other_means_is_believed(tmp_path):
    model = Model(tmp_path)
    for step in (1, 2, 3):
        model.save(step)
    sl.train.update_checkpoint_state(str(tmp_path), str(tmp_path / "m-1"), [str(tmp_path / "m-1")])  # back to an older one
    assert latest(tmp_path) == "m-1"
    model.save(4)
    assert latest(tmp_path) == "m-4"


@pytest.mark.parametrize("line", range(3))
def test_a_damaged_line_costs_that_line_alone(tmp_path, line):
    model = Model(tmp_path)
    for step in (1, 2):
        model.save(step)
    lines = (tmp_path / "checkpoint.manifest").read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b":", b";", 1)
    (tmp_path / "checkpoint.manifest").write_bytes(b"".join(lines))
    manifest = Manifest(tmp_path)
    assert manifest.damaged and len(manifest.entries) == (2 if line == 0 else 1)
    assert latest(tmp_path) == "m-2"
    change(tmp_path / "m-2.data-00000-of-00001", at=0)
    assert latest(tmp_path) == ("m-2" if line == 2 else "m-1")  # without its line, restoring finds the damage


def test_an_epoch_older_than_that_of_a_commit_is_refused_even_when_its_file_was_lost(tmp_path):
    old, model = SessionEpoch(tmp_path), Model(tmp_path)
    old.acquire()
    model.saver.session_epoch = SessionEpoch(tmp_path)
    model.saver.session_epoch.acquire()
    model.save(1)
    (tmp_path / "checkpoint.epoch").unlink()
    with pytest.raises(sl.errors.FailedPreconditionError, match="holds epoch 1, but epoch 2 was taken"), old.commit():
        raise AssertionError("committed")
    assert SessionEpoch(tmp_path).acquire() == 3


def test_older_checkpoints_stay_until_the_new_one_reads_back_as_it_was_written(tmp_path, monkeypatch):
    model = Model(tmp_path, epoch=True, max_to_keep=1)
    model.save(1)
    move = _session_epoch.move

    def move_and_lose(temporary, prefix, check):
        move(temporary, prefix, check)
        change(prefix + ".data-00000-of-00001", at=0)  # what a disk may do to data that it has acknowledged

    monkeypatch.setattr(_session_epoch, "move", move_and_lose)
    with pytest.raises(sl.errors.DataLossError, match="m-2 does not read back as it was written: tensor '.*' in .*m-2.data"):
        model.save(2)
    assert latest(tmp_path) == "m-1" and model.saver.last_checkpoints == [str(tmp_path / "m-1")]
    monkeypatch.undo()
    model.save(3)
    assert latest(tmp_path) == "m-3" and not (tmp_path / "m-1.index").exists()


def test_a_full_disk_is_named_with_the_bytes_needed_and_training_goes_on(tmp_path, monkeypatch):
    step = sl.train.get_or_create_global_step()
    train = sl.assign_add(step, 1)
    full = []
    write = _session_epoch._files.write_atomically

    def write_unless_full(path, data):
        if full and path.endswith("checkpoint.manifest"):
            raise OSError(errno.ENOSPC, "No space left on device", path)
        write(path, data)

    logged = []
    monkeypatch.setattr(_session_epoch._files, "write_atomically", write_unless_full)
    monkeypatch.setattr(sl.logging, "error", lambda text, *args: logged.append(text % args))
    with sl.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path), save_checkpoint_steps=2, save_summaries_steps=None,
                                           log_step_count_steps=None) as session:
        for i in range(8):
            full[:] = [True] if 3 <= i < 5 else []
            session.run(train)
    assert len(logged) == 1 and "training goes on" in logged[0] and "checkpoint.manifest" in logged[0], logged
    assert "A checkpoint here needs 8 bytes" in logged[0]
    assert sl.train.load_variable(str(tmp_path), "global_step") == 8
