"""python3 -m sluice top: what the tasks of a cluster do, live.

Each task is asked for its own numbers, so the view needs no master and disturbs no step. A task that does not answer is
shown as lost; one whose steps take much longer than those of its job is named a straggler.
"""
import argparse
import concurrent.futures
import json
import os
import struct
import sys
import time

from sluice import _wire
from sluice import errors
from sluice._native import _sluice
from sluice.distribute._tf_config import TFConfigClusterResolver
from sluice.train import ClusterSpec

_COLUMNS = ("task", "address", "steps/s", "p50 ms", "p90 ms", "p99 ms", "sessions", "running", "failed", "refused",
            "in MB/s", "live MB", "peak MB")
_SLOW = 1.5  # times the median of its job


class State:
    """The numbers of one task at one time (WorkerStateResponse of distributed/proto/worker.proto)."""

    def __init__(self, data=b""):
        self.at = time.monotonic()
        self.sessions, self.steps, self.peers = 0, [], []
        values = {}
        for number, value in _wire.decode(data):
            if number == 1:
                self.sessions += 1
            elif number == 2:
                fields = _wire.decode(value)
                seconds = [struct.unpack("<d", v)[0] for n, v in fields if n == 2]
                self.steps.append((seconds[0] if seconds else 0.0, [v.decode() for n, v in fields if n == 3]))
            elif number == 3:
                fields = dict(_wire.decode(value))
                self.peers.append((fields.get(1, b"").decode(), fields.get(3, 0), fields.get(4, b"").decode()))
            elif number in (9, 10, 11):
                values[number] = struct.unpack("<d", value)[0]
            else:
                values[number] = value
        self.done, self.failed, self.refused, self.live, self.peak = (values.get(n, 0) for n in (4, 5, 6, 7, 8))
        self.p50, self.p90, self.p99 = (values.get(n, 0.0) for n in (9, 10, 11))
        self.received = sum(size for _, size, _ in self.peers)


def ask(address, timeout):
    """The State of the task at an address, or the error in its place."""
    try:
        return State(_sluice.task_state("grpc://" + address, timeout))
    except errors.OpError as e:
        return e


def stragglers(states):
    """{task: how many times slower than the median of its job}, of those that are much slower."""
    slow = {}
    for job in {task.partition("/")[0] for task in states}:
        times = {t: s.p50 for t, s in states.items() if t.partition("/")[0] == job and isinstance(s, State) and s.p50 > 0}
        for task, seconds in times.items():
            others = sorted(v for t, v in times.items() if t != task)
            if others and seconds > _SLOW * others[len(others) // 2]:
                slow[task] = seconds / others[len(others) // 2]
    return slow


def rows(addresses, now, before):
    """The table: a row of texts for each task."""
    table = []
    for task, address in addresses.items():
        state, old = now[task], before.get(task)
        if not isinstance(state, State):
            table.append((task, address, "lost: %s" % str(state).splitlines()[0]))
            continue
        rate = received = None
        if isinstance(old, State) and old.done <= state.done and state.at > old.at:
            rate = (state.done - old.done) / (state.at - old.at)
            received = max(0, state.received - old.received) / (state.at - old.at) / 1e6
        table.append((task, address, _number(rate), _number(1e3 * state.p50), _number(1e3 * state.p90),
                      _number(1e3 * state.p99), str(state.sessions), str(len(state.steps)), str(state.failed),
                      str(state.refused), _number(received), _number(state.live / 1e6), _number(state.peak / 1e6)))
    return table


def _number(value):
    if value is None:
        return "-"
    return "%.0f" % value if value >= 100 else "%.1f" % value if value >= 10 else "%.2f" % value


def text(addresses, now, before):
    """What is shown: the table, stragglers, and steps that have waited for long."""
    table = rows(addresses, now, before)
    widths = [max(len(c), *(len(r[i]) for r in table if len(r) == len(_COLUMNS)), 0) if any(
        len(r) == len(_COLUMNS) for r in table) else len(c) for i, c in enumerate(_COLUMNS)]
    widths[0], widths[1] = (max(len(_COLUMNS[i]), *(len(r[i]) for r in table)) for i in (0, 1))
    lines = ["  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(_COLUMNS, widths)))]
    for row in table:
        lines.append("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))))
    for task, times in sorted(stragglers(now).items()):
        lines.append("straggler: the steps of %s take %.1f times as long as those of its job" % (task, times))
    for task, state in now.items():
        for seconds, waiting in state.steps if isinstance(state, State) else ():
            if seconds > 5:
                lines.append("waiting: a step of %s for %.0f s%s" % (
                    task, seconds, ", for " + ", ".join(waiting[:3]) if waiting else ""))
    return "\n".join(lines)


def find_cluster(sources, environ):
    """{"job/number": address} from addresses (job=host:port,... or host:port), a file of a launcher, or TF_CONFIG."""
    if not sources:
        cluster = TFConfigClusterResolver(environ=environ).cluster_spec()
    elif len(sources) == 1 and os.path.exists(sources[0]):
        path = sources[0]
        with open(os.path.join(path, "cluster.json") if os.path.isdir(path) else path, encoding="utf-8") as f:
            cluster = ClusterSpec(json.load(f))
    else:
        jobs = {}
        for source in sources:
            job, _, listed = source.rpartition("=")
            jobs.setdefault(job or "task", []).extend(a.replace("grpc://", "") for a in listed.split(",") if a)
        cluster = ClusterSpec(jobs)
    return {"%s/%d" % (job, i): cluster.task_address(job, i) for job in cluster.jobs for i in cluster.task_indices(job)}


def main(arguments):
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m sluice top", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Shows what the tasks of a cluster do, live. Ctrl-C ends it.",
        epilog="steps/s are the task's own; p50, p90 and p99 are the times of its last 256 steps; 'in' is what it received\n"
               "from other tasks; 'refused' counts calls of sessions and steps that are over.")
    parser.add_argument("cluster", nargs="*", help="the --log-dir of a launcher, or addresses as ps=host:port "
                        "worker=host:port,host:port; by default the cluster in TF_CONFIG")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default 1)")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="for an answer (default 2)")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many looks")
    options = parser.parse_args(arguments)
    try:
        addresses = find_cluster(options.cluster, os.environ)
    except (OSError, ValueError, TypeError) as e:
        parser.error(str(e))
    if not addresses:
        parser.error("no cluster: name addresses or a folder, or set TF_CONFIG")
    before, looks = {}, 0
    with concurrent.futures.ThreadPoolExecutor(len(addresses)) as pool:
        try:
            while options.count is None or looks < options.count:
                if looks:
                    time.sleep(options.interval)
                asked = {task: pool.submit(ask, address, options.timeout) for task, address in addresses.items()}
                now = {task: future.result() for task, future in asked.items()}
                shown = text(addresses, now, before)
                print("\033[H\033[J" + shown if sys.stdout.isatty() else shown + "\n", flush=True)
                before, looks = now, looks + 1
        except KeyboardInterrupt:
            return 130
    return 0 if all(isinstance(s, State) for s in before.values()) else 1
