"""R19: trainings on clusters that exist in one thread (tests/simulation), by seeds."""
import os
import re
import subprocess

import binaries

_SHARD = 2000
_MESSAGE_FAULTS = ("messages lost", "messages cut off", "messages doubled", "messages reordered", "messages delayed")
_OTHER_FAULTS = ("kills", "pauses", "cuts", "one-way cuts", "takeovers", "checkpoints lost")


def play(first, seeds):
    """(what a shard of seeds did {what: how often}, [(seed, why)] of the red ones, why it failed altogether or None)."""
    program = binaries.find("simulation_test")
    if program is None:
        return {}, [], "the simulation is not built and cannot be: bazel build //tests/simulation:simulation_test"
    environ = dict(os.environ, SLUICE_SIMULATION_FIRST=str(first), SLUICE_SIMULATION_SEEDS=str(seeds))
    done = subprocess.run([program, "--gtest_filter=SimulationTest.Every*"], env=environ, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    red = [(int(s), why) for s, why in re.findall(r"^seed (\d+): (.*)$", done.stdout, re.MULTILINE)]
    summary = re.search(r"^(\d+ trainings, .*) simulated$", done.stdout, re.MULTILINE)
    counts = {what: int(n) for n, what in re.findall(r"(\d+) ([a-z][a-z -]*)", summary.group(1))} if summary else {}
    failed = done.returncode and not red and "the simulation ended with %d: %s" % (done.returncode, done.stdout[-600:])
    return counts, red, failed or None


def _add(result, counts):
    for what, n in counts.items():
        result.counts[what] = result.counts.get(what, 0) + n


def simulation(result, tier):
    """Every seed keeps the invariants, and a red one is red each time."""
    left = {"smoke": 50, "commit": 2000, "nightly": 100000, "release": 1000000}[tier]
    first = (result.seed - 7) * 10**7 % 2**40  # the usual seed plays those that the tests play
    while left > 0:
        seeds = min(left, _SHARD)
        counts, red, failed = play(first, seeds)
        _add(result, counts)
        if failed:
            result.trial(failed, faults=0)
            return
        for _ in range(counts.get("trainings", 0) - len(red)):
            result.trial(faults=0)
        for seed, why in red:
            again = sum(bool(play(seed, 1)[1]) for _ in range(10))
            result.trial("seed %d: %s (red %d times of 10; SLUICE_SIMULATION_FIRST=%d SLUICE_SIMULATION_SEEDS=1 "
                         "bazel-bin/tests/simulation/simulation_test)" % (seed, why, again, seed), faults=0)
        first += seeds
        left -= seeds
    result.faults = sum(result.counts.get(f, 0) for f in _OTHER_FAULTS + _MESSAGE_FAULTS)
    result.notes.append(", ".join("%d %s" % (result.counts.get(f, 0), f) for f in _OTHER_FAULTS + _MESSAGE_FAULTS))


def until(result, faults):
    """Adds simulated trainings until so many messages were damaged."""
    first = trainings = 0
    while result.faults < faults and not result.lost:
        counts, red, failed = play(first, _SHARD)
        damaged = sum(counts.get(f, 0) for f in _MESSAGE_FAULTS)
        result.trial(failed or ("; ".join("seed %d: %s" % r for r in red) or None), faults=damaged)
        first += _SHARD
        trainings += _SHARD
    result.notes.append("of the faults, those of %d simulated trainings" % trainings)
