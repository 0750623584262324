"""The table of benchmarks: its rows can be asked for, results are compared, and the page shows them."""
import json
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import suite_benchmark  # noqa: E402
import suite_page  # noqa: E402
import suite_rows  # noqa: E402
import suite_tf1  # noqa: E402
import worker  # noqa: E402

from sluice.profiling import _limits  # noqa: E402

LEVELS = [{"name": n, "bytes": b, "read_gbps": [100.0, 200.0], "copy_gbps": [g, g]}
          for n, b, g in (("L1", 1 << 15, 200.0), ("L2", 1 << 20, 100.0), ("L3", 1 << 25, 50.0), ("memory", 0, 10.0))]
MACHINE = _limits.Limits({"cpu": "x", "threads": 2, "isa": "avx2", "f32_gflops": [100.0, 200.0], "levels": LEVELS})


def test_every_row_can_be_measured_and_has_a_sensible_limit():
    steps = (HERE / "steps.cc").read_text()
    assert len({r.name for r in suite_rows.ROWS}) == len({r.title for r in suite_rows.ROWS}) == len(suite_rows.ROWS)
    for row in suite_rows.ROWS:
        if row.mine == "python":
            assert hasattr(suite_tf1.Suite, row.name), row.name
        else:
            assert '"%s"' % row.mine in steps, row.name
        for threads in (1, 2):
            assert row.limit is None or 1e-10 < row.limit(MACHINE, threads) < 1, row.name


@pytest.mark.parametrize("found, reference, differ", [
    ([1.0, 2.0], [1.0, 2.0], False), ([1.0, 2.001], [1.0, 2.0], False), ([1.0, 2.1], [1.0, 2.0], True), ([1.0], [1.0, 2.0], True),
    ([float("nan"), 2.0], [1.0, 2.0], True), ([0.0], [0.0], False),
])
def test_results_are_compared_by_their_distance(found, reference, differ):
    assert suite_benchmark.differs(found, reference, 2e-3) == differ


class Asked:
    """A worker that answers from a list."""

    def __init__(self, library, answers):
        self.library, self.answers = library, list(answers)

    def ask(self, request):
        return {} if request == "forget" else self.answers.pop(0)


def test_a_library_that_computes_something_else_is_left_out(capsys):
    row = suite_rows.Row("b07", "B07", "us", 1e6)
    good = [{"value": v, "check": [1.0, 2.0]} for v in (3.0, 1.0, 2.0)]
    workers = [Asked("sluice", good), Asked("same", good), Asked("other", [{"value": 0.1, "check": [9.0, 2.0]}] * 3),
               Asked("broken", [{"error": "Traceback\nboom"}]), Asked("without", [{"error": "not measured"}])]
    assert suite_benchmark.measure_row(row, workers, 3, 1) == {"sluice": 2.0, "same": 2.0}
    said = capsys.readouterr().err
    assert "other computes" in said and "broken: boom" in said and "without" not in said


def test_a_worker_divides_by_parts_and_tells_errors(monkeypatch):
    class Suite:
        def parts(self):
            return (lambda: None), (lambda: [1.0]), 10

        def measured(self):
            return (lambda: 7.0), None, "measured"

        def bad(self):
            raise RuntimeError("no")

        def bound(self):
            return 5
    monkeypatch.setattr(worker, "time_step", lambda step: 20.0)
    w = worker.Worker(Suite())
    assert w.answer("parts") == {"value": 2.0, "check": [1.0]} and w.answer("parts")["value"] == 2.0
    assert w.answer("measured") == {"value": 7.0, "check": None} and w.answer("?bound") == {"value": 5}
    assert w.answer("nothing") == {"error": "not measured"}
    with pytest.raises(RuntimeError):
        w.answer("bad")


def test_a_worker_answers_line_by_line():
    done = subprocess.run([sys.executable, str(HERE / "worker.py"), "sluice", "1"], input="b03_callable\nno_such_row\nforget\n",
                          capture_output=True, text=True, timeout=120, cwd=HERE)
    version, step, unknown, forgotten = [json.loads(line) for line in done.stdout.splitlines()]
    assert version["version"] and step["check"] == [2.0] and 0 < step["value"] < 1
    assert unknown == {"error": "not measured"} and forgotten == {}


def test_the_page_shows_bars_limits_and_what_was_before():
    results = "# Results\n\n## Second (bbb)\n\n| benchmark | unit | sluice |\n|---|---|---|\n| B07 <step> | us | 421 |\n\n## First (aaa)\n\n| B07 <step> | us | 500 |\n"
    assert suite_page.history(results) == {"B07 <step>": [("First (aaa)", "500 us"), ("Second (bbb)", "421 us")]}
    row = {"name": "b07", "title": "B07 <step>", "unit": "us", "values": {"sluice": 400.0, "jax": 800.0}, "limit": 200.0, "percent": 50.0, "ratio": 2.0}
    empty = dict(row, title="none", values={}, limit=None, percent=None, ratio=None)
    text = suite_page.page([("2 threads", [row, empty])], [("B23", "12 <MB>")], "a machine", results)
    assert text.count("<svg") == 1 and text.count("<rect") == 2 and text.count("<line") == 1
    assert "B07 &lt;step&gt;" in text and "12 &lt;MB&gt;" in text and "http" not in text
    assert "50 % of the limit; 2.00 times the best peer; before: 500 us (First (aaa)), 421 us (Second (bbb))" in text
