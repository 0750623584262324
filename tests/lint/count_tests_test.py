"""The count at the end of `./dev test` counts every case once, and nothing that failed can go missing."""

import json
import pathlib
import subprocess
import sys

COUNTER = pathlib.Path(__file__).resolve().parents[2] / ".ci" / "count_tests.py"

TWO_PASS_ONE_FAILS = """<testsuites><testsuite name="S">
  <testcase name="a" classname="S" status="run"/><testcase name="b" classname="S" status="run"/>
  <testcase name="c" classname="S" status="run"><failure message="1 is not 2"/></testcase>
  <testcase name="d" classname="S" status="notrun"/>
</testsuite></testsuites>"""
ONE_PASSES = '<testsuites><testsuite><testcase name="a" classname="S"/></testsuite></testsuites>'


def _configured(label):
    return {"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"}}


def _result(label, status, report, attempt=1):
    return {
        "id": {"testResult": {"label": label, "run": 1, "attempt": attempt}},
        "testResult": {"status": status, "testActionOutput": [{"name": "test.xml", "uri": "file://%s" % report}]},
    }


def _count(folder, events=(), *arguments):
    log = folder / "events.json"
    log.write_text("\n".join(json.dumps(event) for event in events))
    run = subprocess.run([sys.executable, COUNTER, "--cpp", log, *arguments], capture_output=True, text=True)
    return run.stdout.splitlines(), run.returncode


def _report(folder, name, text):
    (folder / name).write_text(text)
    return folder / name


def test_cases_are_counted_one_by_one(tmp_path):
    report = _report(tmp_path, "a.xml", TWO_PASS_ONE_FAILS)
    lines, status = _count(tmp_path, [_configured("//a:t"), _result("//a:t", "FAILED", report)])
    assert lines == ["FAILED //a:t S.c", "1 skipped", "2 passed, 1 failed"]
    assert status == 1


def test_a_target_that_does_not_build_is_a_failure(tmp_path):
    lines, status = _count(tmp_path, [_configured("//a:t")], "--cpp-status", "1")
    assert lines == ["FAILED //a:t (did not build or run)", "0 passed, 1 failed"]
    assert status == 1


def test_a_process_that_fails_after_its_cases_passed_is_a_failure(tmp_path):
    report = _report(tmp_path, "a.xml", ONE_PASSES)
    lines, status = _count(tmp_path, [_configured("//a:t"), _result("//a:t", "FAILED", report)])
    assert lines == ["FAILED //a:t (FAILED)", "1 passed, 1 failed"]
    assert status == 1


def test_a_later_attempt_takes_the_place_of_an_earlier_one(tmp_path):
    bad, good = _report(tmp_path, "bad.xml", TWO_PASS_ONE_FAILS), _report(tmp_path, "good.xml", ONE_PASSES)
    events = [_configured("//a:t"), _result("//a:t", "FAILED", bad), _result("//a:t", "PASSED", good, attempt=2)]
    assert _count(tmp_path, events) == (["1 passed, 0 failed"], 0)


def test_a_build_that_ends_early_is_a_failure_without_any_result(tmp_path):
    lines, status = _count(tmp_path, [], "--cpp-status", "36")
    assert lines == ["FAILED bazel ended with status 36", "0 passed, 1 failed"]
    assert status == 1


def test_a_python_run_that_ends_early_is_a_failure(tmp_path):
    report = _report(tmp_path, "py.xml", ONE_PASSES)
    lines, status = _count(tmp_path, [], "--python", report, "--python-status", "2")
    assert lines[-1] == "1 passed, 1 failed"
    assert status == 1


def test_a_run_without_any_test_is_a_failure(tmp_path):
    assert _count(tmp_path) == (["FAILED no test ran", "0 passed, 1 failed"], 1)
