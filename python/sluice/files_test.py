"""Records, files, flags, progress, timeline and data sets: the parts that need no graph."""
import gzip
import io
import json
import os

import numpy as np
import pytest

import sluice as sl
from sluice import _progress, _records, _wire, flags, timeline


@pytest.mark.parametrize("data,crc", [
    (b"123456789", 0xE3069283), (b"", 0), (b"\0" * 32, 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E)])
def test_the_checksum_has_its_published_values(data, crc):
    assert _records.crc32c(data) == crc == _records._crc32c_python(data)


@pytest.mark.parametrize("options", ["", "GZIP", "ZLIB"])
def test_records_come_back(tmp_path, options):
    path = str(tmp_path / "r")
    records = [b"", b"a", os.urandom(1000)]
    with sl.python_io.TFRecordWriter(path, options) as writer:
        for r in records:
            writer.write(r)
    assert list(sl.python_io.tf_record_iterator(path, options)) == records


@pytest.mark.parametrize("damage,words", [
    (lambda d: d[:-1], "truncated"), (lambda d: d[:5], "truncated"), (lambda d: b"\xff" + d[1:], "length"),
    (lambda d: d[:12] + b"X" + d[13:], "corrupted")])
def test_a_damaged_record_is_an_error_that_names_the_file(tmp_path, damage, words):
    path = tmp_path / "r"
    path.write_bytes(damage(_records.frame(b"hello")))
    with pytest.raises(sl.errors.DataLossError, match=words) as e:
        list(sl.python_io.tf_record_iterator(str(path)))
    assert str(path) in str(e.value)


def test_the_wire_format_is_that_of_the_messages():
    data = _wire.encode((1, 1.5), (2, 7), (5, _wire.encode((1, _wire.encode((1, "loss"), (2, _wire.Float(0.5)))))))
    event = sl.Event.FromString(data)
    assert (event.wall_time, event.step, event.summary.value[0].tag) == (1.5, 7, "loss")
    assert event.summary.value[0].simple_value == 0.5
    assert dict(_wire.decode(_wire.encode((2, -1))))[2] == 2 ** 64 - 1
    for bad in (b"\x0a\x05ab", b"\xff" * 11, b"\x0b"):
        with pytest.raises(ValueError):
            _wire.decode(bad)


def test_gfile_does_what_its_names_say(tmp_path):
    g = sl.gfile
    folder = str(tmp_path / "a" / "b")
    g.MakeDirs(folder)
    g.MakeDirs(folder)
    with g.GFile(folder + "/x.txt", "w") as f:
        f.write("one\ntwo\n")
    assert g.Exists(folder + "/x.txt") and g.IsDirectory(folder) and g.ListDirectory(folder) == ["x.txt"]
    assert g.GFile(folder + "/x.txt").readlines() == ["one\n", "two\n"]
    assert g.GFile(folder + "/x.txt", "rb").read(3) == b"one" and g.Stat(folder + "/x.txt").length == 8
    g.Copy(folder + "/x.txt", folder + "/y.txt")
    with pytest.raises(sl.errors.AlreadyExistsError):
        g.Copy(folder + "/x.txt", folder + "/y.txt")
    g.Rename(folder + "/y.txt", folder + "/z.txt")
    assert g.Glob(folder + "/*.txt") == [folder + "/x.txt", folder + "/z.txt"]
    g.Remove(folder + "/x.txt")
    g.DeleteRecursively(str(tmp_path / "a"))
    assert not g.Exists(folder)
    with pytest.raises(sl.errors.NotFoundError, match="nowhere"):
        g.GFile(str(tmp_path / "nowhere")).read()


def parsed(*argv):
    values = flags.FlagValues()
    flags.DEFINE_integer("steps", 10, "how many", lower_bound=0, flag_values=values)
    flags.DEFINE_float("rate", 0.1, "how fast", flag_values=values)
    flags.DEFINE_bool("shuffle", True, "mix", flag_values=values)
    flags.DEFINE_enum("mode", "train", ["train", "eval"], "which", flag_values=values)
    flags.DEFINE_list("layers", "1,2", "sizes", flag_values=values)
    flags.DEFINE_string("name", None, "who", flag_values=values)
    flags.mark_flag_as_required("name", values)
    return values, values(["program", *argv])


def test_flags_are_read_from_the_command_line():
    values, rest = parsed("--steps=3", "--rate", "2", "--noshuffle", "file", "--name=x", "--layers=8,4", "--", "--odd")
    assert rest == ["program", "file", "--odd"]
    assert (values.steps, values.rate, values.shuffle, values.mode, values.layers) == (3, 2.0, False, "train",
                                                                                     ["8", "4"])


@pytest.mark.parametrize("argv,words", [
    (["--name=x", "--steps=many"], "steps"), (["--name=x", "--steps=-1"], "steps"), (["--name=x", "--nope"], "nope"),
    ([], "name"), (["--name=x", "--mode=rest"], "train|eval"), (["--name"], "needs a value")])
def test_a_wrong_flag_is_named(argv, words):
    with pytest.raises(flags.Error, match=words):
        parsed(*argv)


def test_progress_prints_plain_lines_where_there_is_no_terminal():
    out = io.StringIO()
    with sl.progress(total=200, label="training", unit="images", interval=0, file=out) as bar:
        bar.update(100, loss=0.25)
        bar.update(100)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("training   50%  100/200  loss 0.25") and lines[-1].startswith("training  100%  200/200")
    assert "\r" not in out.getvalue() and "\033" not in out.getvalue()


def test_progress_honours_no_color_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True
    for no_color in ("1", ""):
        monkeypatch.setenv("NO_COLOR", no_color)
        monkeypatch.setenv("TERM", "xterm")
        out = Terminal()
        assert list(_progress.progress([1, 2, 3], file=out)) == [1, 2, 3]
        assert ("\033" in out.getvalue()) == (not no_color) and out.getvalue().startswith("\r")


def test_a_timeline_has_an_event_for_each_node_and_arrows_between_them():
    stats = sl.RunMetadata().step_stats
    device = stats.dev_stats.add(device="/cpu:0")
    for name, op, start, end, thread in (("a", "Const()", 10, 5, 1), ("b", "Neg(a)", 16, 4, 1), ("c", "Abs(a)", 17, 9, 1)):
        device.node_stats.add(node_name=name, all_start_micros=start, all_end_rel_micros=end, thread_id=thread,
                              timeline_label="%s = %s" % (name, op))
    trace = json.loads(timeline.Timeline(stats).generate_chrome_trace_format())["traceEvents"]
    complete = {e["args"]["name"]: e for e in trace if e["ph"] == "X"}
    assert {n: (e["ts"], e["dur"], e["name"]) for n, e in complete.items()} == {
        "a": (10, 5, "Const"), "b": (16, 4, "Neg"), "c": (17, 9, "Abs")}
    assert complete["b"]["tid"] != complete["c"]["tid"]  # they overlap
    assert len([e for e in trace if e["ph"] == "s"]) == 2


def test_an_idx_file_is_checked_before_it_is_used(tmp_path):
    path = str(tmp_path / "x.gz")
    with gzip.open(path, "wb") as f:
        f.write(b"\0\0\x08\x02" + (2).to_bytes(4, "big") + (3).to_bytes(4, "big") + bytes(range(6)))
    np.testing.assert_array_equal(sl.data_files.read_idx(path), np.arange(6).reshape(2, 3))
    with gzip.open(path, "wb") as f:
        f.write(b"\0\0\x08\x02" + (2).to_bytes(4, "big") + (300).to_bytes(4, "big") + bytes(range(6)))
    with pytest.raises(ValueError, match="600"):
        sl.data_files.read_idx(path)
    with pytest.raises(FileNotFoundError, match="dataset-fashion-mnist"):
        sl.data_files.fashion_mnist(str(tmp_path))
