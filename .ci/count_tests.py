"""Counts test cases of one run: GoogleTest cases that Bazel ran (from its event file) and pytest's.

The last line is `N passed, N failed`; the exit status is 1 when anything failed, a build did, or no test ran.
"""

import argparse
import json
import pathlib
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree


class Count:
    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.skipped = 0
        self.failures = []

    def fail(self, name):
        self.failed += 1
        self.failures.append(name)

    def add_report(self, path, prefix):
        """Adds one JUnit file and returns the number of failures in it."""
        before = self.failed
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            name = "%s%s.%s" % (prefix, case.get("classname", ""), case.get("name", ""))
            if case.find("failure") is not None or case.find("error") is not None:
                self.fail(name)
            elif case.find("skipped") is not None or case.get("status") == "notrun" or case.get("result") == "skipped":
                self.skipped += 1
            else:
                self.passed += 1
        return self.failed - before


def _add_bazel(count, path):
    tests, results = set(), {}
    for line in path.read_text().splitlines():
        event = json.loads(line)
        event_id = event.get("id", {})
        if "targetConfigured" in event_id and "testSize" in event.get("configured", {}):
            tests.add(event_id["targetConfigured"]["label"])
        elif "testResult" in event_id and "testResult" in event:
            # A later attempt of the same test takes the earlier one's place.
            key = (event_id["testResult"]["label"], event_id["testResult"].get("run"), event_id["testResult"].get("shard"))
            results[key] = event["testResult"]
    for (label, _, _), result in sorted(results.items()):
        reports = [o["uri"] for o in result.get("testActionOutput", []) if o.get("name") == "test.xml"]
        failed = 0
        for uri in reports:
            report = pathlib.Path(urllib.parse.unquote(urllib.parse.urlparse(uri).path))
            if report.exists():
                failed += count.add_report(report, label + " ")
        if result.get("status") not in ("PASSED", "FLAKY") and not failed:
            count.fail("%s (%s)" % (label, result.get("status", "no status")))
    for label in sorted(tests - {key[0] for key in results}):
        count.fail(label + " (did not build or run)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpp", type=pathlib.Path, help="Bazel's --build_event_json_file")
    parser.add_argument("--cpp-status", type=int, default=0)
    parser.add_argument("--python", type=pathlib.Path, action="append", default=[], help="pytest's --junitxml; of several each is named")
    parser.add_argument("--python-status", type=int, default=0)
    arguments = parser.parse_args()

    count = Count()
    if arguments.cpp and arguments.cpp.exists():
        _add_bazel(count, arguments.cpp)
    if arguments.cpp_status and not count.failed:
        count.fail("bazel ended with status %d" % arguments.cpp_status)
    failed_in_cpp = count.failed
    for report in filter(pathlib.Path.exists, arguments.python):
        count.add_report(report, report.stem + " " if len(arguments.python) > 1 else "")
    if arguments.python_status and count.failed == failed_in_cpp:
        count.fail("building or testing the Python package ended with status %d" % arguments.python_status)

    if not count.passed + count.failed + count.skipped:
        count.fail("no test ran")

    for name in count.failures:
        print("FAILED " + name)
    if count.skipped:
        print("%d skipped" % count.skipped)
    print("%d passed, %d failed" % (count.passed, count.failed))
    sys.exit(1 if count.failed else 0)


if __name__ == "__main__":
    main()
