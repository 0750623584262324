"""The bench of failures: what is promised when things break, tried.

usage: ./dev python tests/reliability/run.py [--tier commit|nightly|release] [--seed S] [--only R01,R10] [--json FILE]

One line for each test: trials, faults that were really injected, survived, lost, the slowest recovery, and the rate of
failures that is excluded with 95 % confidence. The exit code is 1 when anything was lost.
"""
import argparse
import json
import os
import sys
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


def run_test(name, tier, seed):
    """The Result of one test; an error of the test itself counts as lost."""
    title, function = TESTS[name]
    result, start = Result(name, title, seed), time.monotonic()
    try:
        function(result, tier)
    except Exception:  # pylint: disable=broad-except
        result.trial(traceback.format_exc(), faults=0)
    result.seconds = time.monotonic() - start
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tier", choices=["smoke", "commit", "nightly", "release"], default="commit", help="how much (default commit)")
    parser.add_argument("--seed", type=int, default=7, help="of everything that is left to chance (default 7)")
    parser.add_argument("--only", metavar="R01,R10", help="these tests alone")
    parser.add_argument("--json", metavar="FILE", help="write every count and every failure there, too")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else sorted(TESTS)
    unknown = [n for n in names if n not in TESTS]
    if unknown:
        parser.error("there is no test %s; there are %s" % (", ".join(unknown), ", ".join(sorted(TESTS))))
    results = []
    for name in names:
        result = run_test(name, options.tier, options.seed)
        results.append(result)
        print(result.line(), flush=True)
        for failure in result.failures[:5]:
            print("     lost: %s\n     again: %s --tier %s" % (failure, result.repro(), options.tier), flush=True)
        if options.json:
            with open(options.json, "w", encoding="utf-8") as f:
                json.dump([r.as_json() for r in results], f, indent=1)
    return 1 if any(r.lost for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
