"""The profiler: programs of many kinds, what it makes of a step, the machine's limits, and its pages."""
import concurrent.futures
import html.parser
import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import sluice as sl
from sluice.profiling import _costs, _limits, _pages, _steps, command

MACHINE = {"cpu": "a <machine>", "threads": 2, "isa": "avx2", "f32_gflops": [100.0, 200.0],
           "levels": [{"name": name, "bytes": size, "read_gbps": [gbps, 2 * gbps], "copy_gbps": [gbps, 2 * gbps]}
                      for name, size, gbps in (("L1", 1 << 15, 200.0), ("L2", 1 << 20, 100.0), ("L3", 1 << 25, 50.0), ("memory", 0, 10.0))]}

TRAIN = """
    import sys
    import numpy as np
    import sluice as tf
    with tf.Graph().as_default():
      x = tf.placeholder(tf.float32, [None, 20])
      w = tf.get_variable("w", [20, 30])
      with tf.name_scope("model"):
        y = tf.matmul(x, w, name="product")
      train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(tf.nn.relu(y)))
      with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for i in range(int(sys.argv[1])):
          session.run([train, y], {x: np.ones((8, 20), np.float32)})
      print("trained", __name__, sys.argv[1:])
    """


@pytest.fixture
def profile(tmp_path, monkeypatch, capfd):
  """Runs `profile` on a program's text: (status, stdout, stderr, the report)."""
  monkeypatch.setattr(command._limits, "find", lambda again, warn: _limits.Limits(MACHINE))

  def run(text, *arguments, options=()):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(text))
    status = command.main(["--output", str(tmp_path / "out"), *options, str(program), *arguments])
    out, err = capfd.readouterr()
    return status, out, err, json.loads((tmp_path / "out/profile.json").read_text())
  return run


def test_a_program_runs_unchanged_and_its_step_adds_up(profile, tmp_path):
  status, out, _, report = profile(TRAIN, "40", "--steps")  # what follows the program is the program's
  assert status == 0 and "trained __main__ ['40', '--steps']" in out and report["notes"] in ([], report["notes"][:1])
  step = report["step"]
  assert report["kinds"][0]["steps"] == 40 and report["kinds"][0]["traced"] == 10 and not step["is_cold"]
  assert step["us"] == pytest.approx(step["kernels_us"] + step["runtime_us"] + step["python_us"])
  for table in ("ops", "nodes"):
    assert sum(row["step_us"] for row in step[table]) == pytest.approx(step["kernels_us"])
  product = [n for n in step["nodes"] if n["name"] == "model/product"][0]
  assert (product["op"], product["line"], product["runs"]) == ("MatMul", "program.py:9", 1)
  assert (product["flop"], product["bytes"]) == (2 * 8 * 20 * 30, 4 * (8 * 20 + 20 * 30 + 8 * 30))
  assert product["gflops"] > 0 and product["percent_of_limit"] > 0 and product["bound_by"] in ("compute", "L1")
  assert "model/product" in out and "in Python" in out and all(os.path.exists(f) and f in out for f in report["files"].values())
  events = json.loads((tmp_path / "out/trace.json").read_text())["traceEvents"]
  assert sum(e["ph"] == "X" and e.get("args", {}).get("name") == "model/product" for e in events) == 10
  assert sum(e.get("cat") == "Python" for e in events) == 20


@pytest.mark.parametrize("text, arguments, wanted_status, note", [
    ("raise ValueError('boom')", [], 1, "it failed with ValueError: boom"),
    ("import sys; sys.exit(3)", [], 3, "status 3"),
    ("import sys; sys.exit('no data')", [], 1, "no data"),
    ("raise KeyboardInterrupt", [], 130, "interrupted"),
    ("import os, signal, time; os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", [], 143, "terminated"),
    ("x = (", [], 1, "SyntaxError"),
    ("pass", [], 0, "ran no step of a session"),
    (TRAIN, ["1"], 0, "this is its first step"),
    (TRAIN, ["7"], 0, "1 steps were traced, not 10"),
    (TRAIN + "  raise ValueError('boom')", ["40"], 1, "it failed with ValueError: boom"),
], ids=["raise", "exit_3", "exit_text", "interrupt", "terminate", "syntax", "no_step", "one_step", "seven_steps", "raise_late"])
def test_a_program_that_ends_early_or_badly_keeps_what_it_has(profile, text, arguments, wanted_status, note):
  status, out, err, report = profile(text, *arguments)
  assert status == wanted_status and any(note in n for n in report["notes"]), report["notes"]
  assert note.split(" with ")[0] in out
  assert (report["step"] is not None) == ("sluice" in text)
  assert "command.py" not in err and "runpy" not in err


def test_a_step_that_fails_is_counted(profile):
  _, _, _, report = profile("""
      import sluice as tf
      with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.int32, [])
        y = 6 // x
        for divisor in (1, 2, 3, 0, 4):
          try:
            session.run(y, {x: divisor})
          except tf.errors.InvalidArgumentError as e:
            pass
      """, options=["--warmup", "0"])
  kind, = report["kinds"]
  assert (kind["steps"], kind["failed"]) == (5, 1)


MONITORED = """
    import sluice as tf
    with tf.Graph().as_default():
      w = tf.get_variable("w", initializer=10.0)
      train = tf.train.GradientDescentOptimizer(1.0).minimize(w, global_step=tf.train.get_or_create_global_step())
      with tf.train.MonitoredTrainingSession(hooks=[tf.train.StopAtStepHook(last_step=40)], log_step_count_steps=None) as session:
        while not session.should_stop():
          session.run(train)
    """
CALLABLE = """
    import sluice as tf
    with tf.Graph().as_default(), tf.Session() as session:
      x = tf.placeholder(tf.float32, [])
      call = session.make_callable(tf.multiply(x, 2, name="double"), [x])
      assert [call(i) for i in range(40)] == [2 * i for i in range(40)]
    """
THREADS = """
    import threading
    import sluice as tf
    def work(size):
      with tf.Graph().as_default(), tf.Session() as session:
        y = tf.ones([size]) * tf.random_uniform([size])
        for _ in range(40):
          assert session.run(y).shape == (size,)
    threads = [threading.Thread(target=work, args=(n,)) for n in (3, 4, 5)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    """
OWN_TRACE = """
    import sluice as tf
    with tf.Graph().as_default(), tf.Session() as session:
      y = tf.random_uniform([3]) + 1
      for level in [tf.RunOptions.NO_TRACE, tf.RunOptions.FULL_TRACE] * 20:
        data = tf.RunMetadata()
        session.run(y, options=tf.RunOptions(trace_level=level), run_metadata=data)
        assert (len(data.step_stats.dev_stats) > 0) == (level == tf.RunOptions.FULL_TRACE)
    """


@pytest.mark.parametrize("text, counts", [(MONITORED, [40]), (CALLABLE, [40]), (THREADS, [40, 40, 40]), (OWN_TRACE, [40])],
                         ids=["monitored", "callable", "threads", "own_trace"])
def test_sessions_of_every_kind_are_seen(profile, text, counts):
  status, out, err, report = profile(text)
  assert status == 0, err
  assert sorted(k["steps"] for k in report["kinds"] if k["steps"] >= 40) == counts
  assert report["step"]["nodes"] and report["step"]["python_us"] >= 0


def test_another_kind_is_looked_into_on_request(profile):
  _, _, _, report = profile(TRAIN, "20", options=["--kind", "2"])
  assert report["step"]["name"] == report["kinds"][1]["name"]
  _, _, _, report = profile(TRAIN, "20", options=["--kind", "9"])
  assert report["step"] is None and "only 2 kinds" in report["notes"][0]


def test_json_is_all_that_is_printed(profile):
  status, out, err, report = profile(TRAIN, "20", options=["--json"])
  assert status == 0 and json.loads(out) == report and "trained" in err


def test_nothing_stays_behind(profile):
  before = sl.Session.run, sl.Session.make_callable, list(sys.path), list(sys.argv), signal.getsignal(signal.SIGTERM)
  profile("raise ValueError")
  assert before == (sl.Session.run, sl.Session.make_callable, list(sys.path), list(sys.argv), signal.getsignal(signal.SIGTERM))


@pytest.mark.parametrize("arguments, message", [
    (["--steps", "0", "p.py"], "--steps is 0, wanted at least 1"), (["--warmup", "-1", "p.py"], "--warmup is -1"),
    (["missing.py"], "there is no program 'missing.py'"), (["--output", "/proc/x", __file__], "--output cannot be written"), ([], "PROGRAM"),
])
def test_bad_options_are_refused_before_anything_runs(capsys, arguments, message):
  with pytest.raises(SystemExit) as e:
    command.main(arguments)
  assert e.value.code == 2 and message in capsys.readouterr().err


def test_a_module_is_run_from_a_shell(tmp_path):
  (tmp_path / "work.py").write_text(textwrap.dedent(TRAIN))
  cache = tmp_path / "cache/sluice"
  cache.mkdir(parents=True)
  done = subprocess.run([sys.executable, "-m", "sluice", "profile", "-m", "work", "30"], capture_output=True, text=True, cwd=tmp_path,
                        timeout=120, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")})
  assert done.returncode == 0, done.stderr
  assert "trained __main__ ['30']" in done.stdout and (tmp_path / "sluice_profile/flame.html").exists()
  # Measured on this machine, and kept.
  machine, = json.loads((cache / "limits.json").read_text())["machines"].values()
  assert machine["f32_gflops"][1] >= machine["f32_gflops"][0] > 1 and [x["name"] for x in machine["levels"]] == ["L1", "L2", "L3", "memory"]
  assert all(0.1 < x[kind][0] <= x[kind][1] < 1e5 for x in machine["levels"] for kind in ("read_gbps", "copy_gbps"))
  assert machine["cpu"] in done.stdout


# ---- a step's time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels, shares, gaps", [
    ([("a", 1, 0, 10), ("b", 1, 12, 20)], {"a": 10, "b": 8}, [(2, "a", "b")]),
    ([("a", 1, 0, 10), ("b", 2, 5, 15)], {"a": 7.5, "b": 7.5}, []),              # two threads share what overlaps
    ([("loop", 1, 0, 10), ("body", 1, 2, 5)], {"loop": 7, "body": 3}, []),       # the innermost is at work
    ([("a", 1, 0, 4), ("zero", 1, 4, 4), ("b", 1, 6, 8)], {"a": 4, "zero": 0, "b": 2}, [(2, "a", "b")]),
    ([("a", 1, 0, 4), ("b", 2, 1, 2), ("c", 1, 9, 10)], {"a": 3.5, "b": 0.5, "c": 1}, [(5, "a", "c")]),
    ([], {}, []),
])
def test_kernels_and_gaps_share_the_time(kernels, shares, gaps):
  made = [_steps.Kernel(name, "Op", "cpu", thread, begin, end) for name, thread, begin, end in kernels]
  found = _steps.share_time(made)
  assert {k.name: k.share for k in made} == shares
  assert [(ns, before.name, after.name) for ns, before, after in found] == gaps


def values(text):
  """"[2,3] f8[4] ?": Values of four bytes an element, unless a size is given."""
  found = []
  for part in text.split():
    size, _, dims = part.partition("[")
    found.append(None if part == "?" else _costs.Value([int(d) for d in dims[:-1].split(",") if d], int(size[1:] or 4) if size else 4))
  return found


@pytest.mark.parametrize("op, inputs, outputs, wanted", [
    ("MatMul", "[64,784] [784,256]", "[64,256]", (2 * 64 * 784 * 256, 4 * (64 * 784 + 784 * 256 + 64 * 256))),
    ("MatMul", "[784,64] [784,256]", "[64,256]", (2 * 64 * 784 * 256, 4 * (64 * 784 + 784 * 256 + 64 * 256))),  # transposed
    ("BatchMatMulV2", "[5,2,3] [5,3,4]", "[5,2,4]", (2 * 5 * 2 * 3 * 4, 4 * (30 + 60 + 40))),
    ("_FusedMatMul", "[2,3] [3,4] [4]", "[2,4]", (48, 4 * (6 + 12 + 4 + 8))),
    ("Conv2D", "[1,8,8,3] [5,5,3,7]", "[1,8,8,7]", (2 * 64 * 7 * 75, 4 * (192 + 525 + 448))),
    ("Conv2DBackpropInput", "[4] [5,5,3,7] [1,8,8,7]", "[1,8,8,3]", (2 * 64 * 7 * 75, 4 * (4 + 525 + 448 + 192))),
    ("Conv2DBackpropFilter", "[1,8,8,3] [4] [1,8,8,7]", "[5,5,3,7]", (2 * 64 * 7 * 75, 4 * (192 + 4 + 448 + 525))),
    ("DepthwiseConv2dNative", "[1,8,8,3] [5,5,3,1]", "[1,8,8,3]", (2 * 192 * 25, 4 * (192 + 75 + 192))),
    ("Add", "[10] []", "[10]", (10, 84)),
    ("Sum", "[4,5] [1]", "[4]", (20, 100)),
    ("Tanh", "f8[6]", "f8[6]", (6, 96)),
    ("Transpose", "[2,3] [2]", "[3,2]", (0, 56)),
    ("GatherV2", "[1000,8] [4] []", "[4,8]", (0, 2 * 128 + 16)),
    ("ResourceApplyAdam", "f8[] f8[] f8[] [] [] [] [] [] [] [100]", "", (1200, 2800)),
    ("ApplyGradientDescent", "[100] [] [100]", "[100]", (200, 1200)),
    ("Reshape", "[4] [2]", "[2,2]", (0, 0)),
    ("_ReadRef", "[4]", "[4]", (0, 0)),
    ("NoOp", "", "", (0, 0)),
    ("Add", "? []", "[10]", None),
    ("MatMul", "[0,3] [3,4]", "[0,4]", (0, 48)),
])
def test_costs_follow_from_shapes(op, inputs, outputs, wanted):
  assert _costs.cost(op, values(inputs), values(outputs)) == wanted


# ---- the machine's limits --------------------------------------------------------------------------------------------


def probe(folder, gflops=100.0, body=None):
  """A stand-in for sluice_limits."""
  path = folder / "probe"
  path.write_text("#!/bin/sh\n" + (body or "echo '%s'\n" % json.dumps({**MACHINE, "f32_gflops": [gflops, 2 * gflops]})))
  path.chmod(0o755)
  return str(path)


def test_limits_are_kept_and_only_get_better(tmp_path):
  folder = str(tmp_path / "cache")
  assert _limits.find(folder=folder, probe=probe(tmp_path)).gflops == [100.0, 200.0]
  for gflops, again, wanted in ((1.0, False, 100.0), (1.0, True, 100.0), (300.0, True, 300.0), (5.0, False, 300.0)):
    assert _limits.find(again, folder=folder, probe=probe(tmp_path, gflops)).gflops[0] == wanted


@pytest.mark.parametrize("content", ["", "{", "[]", "{\"format\": 1}", "{\"format\": 1, \"machines\": 7}", "{\"format\": 9, \"machines\": {}}"])
def test_a_damaged_cache_is_made_anew(tmp_path, content):
  (tmp_path / "limits.json").write_text(content)
  assert _limits.find(folder=str(tmp_path), probe=probe(tmp_path)).gflops[0] == 100
  assert len(json.loads((tmp_path / "limits.json").read_text())["machines"]) == 1


@pytest.mark.parametrize("body, said", [("exit 3", "status 3"), ("echo nonsense", "not measured"), ("echo '{}'", "not measured")])
def test_a_probe_that_fails_is_no_end(tmp_path, body, said):
  warnings = []
  assert _limits.find(folder=str(tmp_path), probe=probe(tmp_path, body=body), warn=warnings.append) is None
  assert said in warnings[0]
  assert _limits.find(folder=str(tmp_path), probe="/no/such/probe", warn=warnings.append) is None


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
  (tmp_path / "file").write_text("")
  warnings = []
  assert _limits.find(folder=str(tmp_path / "file"), probe=probe(tmp_path), warn=warnings.append).gflops[0] == 100
  assert any("measured again next time" in w for w in warnings)


def test_many_may_measure_at_once(tmp_path):
  path = probe(tmp_path)
  with concurrent.futures.ThreadPoolExecutor(8) as pool:
    found = list(pool.map(lambda i: _limits.find(again=i % 2 == 0, folder=str(tmp_path / "cache"), probe=path).gflops[0], range(24)))
  assert set(found) == {100.0}
  assert [f.name for f in (tmp_path / "cache").iterdir()] == ["limits.json"]


def test_the_limit_is_that_of_the_level_and_the_threads():
  limits = _limits.Limits(MACHINE)
  assert [limits.peak(n) for n in (1, 2, 64)] == [100, 200, 200]
  assert limits.bandwidth(1000, 1) == ("L1", 200) and limits.bandwidth(40000, 2) == ("L1", 400) and limits.bandwidth(40000, 1) == ("L2", 100)
  assert limits.bandwidth(1 << 30, 2) == ("memory", 20)
  assert limits.seconds(1e9, 1000, 1) == (0.01, "compute") and limits.seconds(10, 1e9, 1) == (0.1, "memory")


# ---- pages -----------------------------------------------------------------------------------------------------------


class Checker(html.parser.HTMLParser):
  """Fails for tags that do not match, and for anything fetched from elsewhere."""

  def __init__(self):
    super().__init__()
    self.open, self.seen = [], []

  def handle_starttag(self, tag, attrs):
    self.seen.append(tag)
    assert not any(k in ("src", "href") for k, _ in attrs)
    if tag not in ("meta", "line", "rect"):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.seen.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag


def checked(text):
  checker = Checker()
  checker.feed(text)
  checker.close()
  assert not checker.open and "http" not in text
  return checker.seen


def test_pages_are_whole_and_escape_names():
  row = {"op": "Mat<Mul>", "line": "a.py:1", "device": "", "runs": 1, "us": 5.0, "step_us": 5.0, "percent_of_step": 50.0, "flop": 1e6, "bytes": 1e5,
         "gflops": 200.0, "gbps": 20.0, "percent_of_limit": 99.0, "bound_by": "compute"}
  report = {"name": "</script><b>", "us": 10.0, "threads": 2, "runtime_us": 4.0, "python_us": 1.0, "ops": [{**row, "name": "Mat<Mul>"}],
            "nodes": [{**row, "name": "a/b"}, {**row, "name": "a/c", "step_us": 0.0}]}
  tree = _pages.tree_of(report)
  assert tree["t"] == 10000 and [c["n"] for c in tree["c"]] == ["a", "(runtime: dispatch, feeds, fetches)", "(Python)"]
  assert [c["n"] for c in tree["c"][0]["c"]] == ["b", "c"]
  assert "script" in checked(_pages.flame_page(report))
  assert checked(_pages.roofline_page(report, _limits.Limits(MACHINE))).count("circle") == 1
  assert "limits are not known" in _pages.roofline_page(report, None)
  assert "circle" not in checked(_pages.roofline_page({**report, "ops": []}, _limits.Limits(MACHINE)))
