"""The bench of failures: what is promised when things break, tried.

usage: ./dev test reliability [--tier commit|nightly|release] [--seed S] [--only R01,R10] [--json FILE]

One line for each test: trials, faults that were really injected, survived, lost, the slowest recovery, and the rate of
failures that is excluded with 95 % confidence. The exit code is 1 when anything was lost.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import crashes  # noqa: E402
import disk  # noqa: E402
import hang  # noqa: E402
import messages  # noqa: E402
import network  # noqa: E402
import partitions  # noqa: E402
import simulate  # noqa: E402
import straggler  # noqa: E402
from result import Result  # noqa: E402

TESTS = {
    "R01": ("worker killed", crashes.worker_killed),
    "R02": ("ps killed", crashes.ps_killed),
    "R03": ("chief killed", crashes.chief_killed),
    "R04": ("storm", crashes.storm),
    "R05": ("zombie", crashes.zombie),
    "R06": ("partition", partitions.partition),
    "R07": ("bad network", network.bad_network),
    "R08": ("message faults", messages.message_faults),
    "R09": ("straggler", straggler.straggler),
    "R10": ("no hang", hang.no_hang),
    "R11": ("torn checkpoint", disk.torn_checkpoint),
    "R12": ("save killed", disk.crash_points),
    "R13": ("disk errors", disk.disk_errors),
    "R19": ("simulation", simulate.simulation),
}


# What a tier leaves out unless it is named.
LEFT_OUT = {"commit": {"R04"}, "smoke": {"R04"}}
# Those that take longest begin first.
FIRST = ("R07", "R10", "R06", "R12", "R05", "R13")


def run_test(name, tier, seed):
    """The Result of one test; an error of the test itself counts as lost."""
    title, function = TESTS[name]
    result, start = Result(name, title, seed), time.monotonic()
    try:
        function(result, tier)
    except Exception:  # pylint: disable=broad-except
        result.trial(traceback.format_exc(), faults=0)
    result.seconds = time.monotonic() - start
    if result.counts.get("history not checked"):
        result.notes.append("histories not checked: tests/simulation:check_history is not built")
    return result


def run_apart(name, tier, seed):
    """As run_test, in a process of its own: several at once do not meet."""
    with tempfile.NamedTemporaryFile("r") as report:
        done = subprocess.run([sys.executable, os.path.abspath(__file__), "--only", name, "--tier", tier, "--seed", str(seed),
                               "--json", report.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        try:
            fields = json.load(report)[0]
        except (ValueError, IndexError):
            result = Result(name, TESTS[name][0], seed)
            result.trial("the test ended with %d: %s" % (done.returncode, done.stdout[-1500:]), faults=0)
            return result
    return Result(**{f.name: fields[f.name] for f in dataclasses.fields(Result)})


def headline(results):
    """The sentence that sums it up."""
    found = {r.name: r for r in results}

    def total(names, what=lambda r: r.faults):
        return sum(what(found[n]) for n in names if n in found)

    simulated = ("messages lost", "messages cut off", "messages doubled", "messages reordered", "messages delayed")
    parts = [(total(["R01", "R02", "R03", "R04"]), "kills of every role"), (total(["R05"]), "pauses"),
             (total(["R06"]), "partitions"), (total(["R11"]), "torn-checkpoint states"),
             (total(["R12", "R13"]), "killed or failed saves"),
             (total(["R08"]) + total(["R19"], lambda r: sum(r.counts.get(s, 0) for s in simulated)), "faulted messages")]
    text = ", ".join("%d %s" % p for p in parts if p[0])
    lost = sum(r.lost for r in results)
    if lost:
        return "%s: %d of %d trials lost" % (text, lost, sum(r.trials for r in results))
    return "%s: 0 updates lost or doubled, final weights identical bit for bit" % text


def show(result, tier):
    print(result.line(), flush=True)
    for failure in result.failures[:5]:
        print("     lost: %s\n     again: %s --tier %s" % (failure, result.repro(), tier), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", choices=["smoke", "commit", "nightly", "release"], default="commit", help="how much (default commit)")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default 7)")
    parser.add_argument("--only", metavar="R01,R10", help="these tests alone")
    parser.add_argument("--json", metavar="FILE", help="write every count and every failure there, too")
    parser.add_argument("--jobs", type=int, default=2, help="tests at once (default 2): most of them wait most of the time")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else sorted(set(TESTS) - LEFT_OUT.get(options.tier, set()))
    unknown = [n for n in names if n not in TESTS]
    if unknown:
        parser.error("there is no test %s; there are %s" % (", ".join(unknown), ", ".join(sorted(TESTS))))
    results = []

    def note(result):
        results.append(result)
        show(result, options.tier)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump([r.as_json() for r in sorted(results, key=lambda r: r.name)], f, indent=1)

    if len(names) == 1 or options.jobs == 1:
        for name in names:
            note(run_test(name, options.tier, options.seed))
    else:
        names.sort(key=lambda n: (FIRST.index(n) if n in FIRST else len(FIRST), n))
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            running = [pool.submit(run_apart, name, options.tier, options.seed) for name in names]
            for future in concurrent.futures.as_completed(running):
                note(future.result())
        print(headline(results))
    failed = sum(bool(r.lost) for r in results)
    print("%d passed, %d failed" % (sum(r.trials > 0 for r in results) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
