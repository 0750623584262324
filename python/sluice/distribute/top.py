"""python3 -m sluice top: what the tasks of a cluster do, live.

Each task is asked for its own numbers, so the view needs no master and disturbs no step. A task that does not answer in
time is shown as lost, and the others are shown all the same.
"""
import argparse
import concurrent.futures
import json
import os
import shutil
import struct
import sys
import time

from sluice import errors
from sluice._native import _sluice
from sluice.distribute import _task_state
from sluice.distribute._task_state import State
from sluice.distribute._tf_config import TFConfigClusterResolver
from sluice.train import ClusterSpec

_COLUMNS = ("task", "address", "incarnation", "up", "heard", "steps/s", "p50 ms", "p90 ms", "p99 ms", "work ms", "sessions",
            "running", "failed", "refused", "live MB", "peak MB")
_LEFT = 3
_LONG_WAIT = 5.0


def ask(address, timeout):
    """The State of the task at an address, or the error in its place."""
    try:
        return State(_sluice.task_state("grpc://" + address, timeout))
    except (errors.OpError, ValueError, struct.error) as e:
        return e


def look(addresses, timeout, pool):
    """{task: State or error}, within the time though some tasks are dead, stopped, or no tasks at all."""
    asked = {task: pool.submit(ask, address, timeout) for task, address in addresses.items()}
    end = time.monotonic() + timeout + 0.5
    answers = {}
    for task, future in asked.items():
        try:
            answers[task] = future.result(max(0.0, end - time.monotonic()))
        except concurrent.futures.TimeoutError:
            answers[task] = TimeoutError("no answer within %g s" % timeout)
    return answers


def view(addresses, now, before):
    """Everything there is to show, as one object that JSON can hold."""
    shown = {"time": time.time(), "tasks": [], "jobs": [], "wire": [], "stragglers": [], "waiting": [], "stuck": [],
             "errors": [], "effective": []}
    named = set()
    for task, address in addresses.items():
        state, old = now[task], before.get(task)
        if not isinstance(state, State):
            shown["tasks"].append({"task": task, "address": address, "lost": str(state).splitlines()[0] if str(state) else
                                   type(state).__name__})
            continue
        same = isinstance(old, State) and old.incarnation == state.incarnation and old.done <= state.done
        seconds = state.at - old.at if same else 0.0
        shown["tasks"].append({
            "task": task, "address": address, "incarnation": "%016x" % state.incarnation, "uptime": state.uptime,
            "heard": state.heard, "steps_per_second": (state.done - old.done) / seconds if seconds > 0 else None,
            "p50": state.p50, "p90": state.p90, "p99": state.p99, "work_p50": _task_state.percentile(state.busy, 0.5),
            "sessions": state.sessions, "running": len(state.steps), "done": state.done, "failed": state.failed,
            "refused": state.refused, "live_bytes": state.live, "peak_bytes": state.peak})
        earlier = {(w["from"], w["over"]): w for w in old.wire} if same else {}
        for w in state.wire:
            since = earlier.get((w["from"], w["over"]), {"bytes": 0, "tensors": 0, "wait": 0.0})
            row = {"from": _task_state.short(w["from"]), "to": task, "over": w["over"], "bytes": w["bytes"],
                   "tensors": w["tensors"], "wait": w["wait"], "bytes_per_second": None, "tensors_per_second": None,
                   "waits_at_once": None}
            if seconds > 0:
                row.update(bytes_per_second=(w["bytes"] - since["bytes"]) / seconds,
                           tensors_per_second=(w["tensors"] - since["tensors"]) / seconds,
                           waits_at_once=(w["wait"] - since["wait"]) / seconds)
            shown["wire"].append(row)
        for s in state.stragglers:
            if s["name"] not in named:
                named.add(s["name"])
                shown["stragglers"].append(s)
        for step in state.steps:
            if step["seconds"] > _LONG_WAIT:
                shown["waiting"].append({"task": task, "seconds": step["seconds"], "for": step["waiting_for"],
                                         "running": step["running"]})
        shown["stuck"] += [{"master": task, "report": m["stuck"]} for m in state.masters if m["stuck"] and m["running"]]
        if state.last_error:
            shown["errors"].append({"task": task, "error": state.last_error, "age": state.last_error_age})
        if state.effective:
            shown["effective"].append(dict(state.effective, task=task))
    for job in sorted({task.partition("/")[0] for task in addresses}):
        counts = _task_state.merged(s.times for t, s in now.items() if t.partition("/")[0] == job and isinstance(s, State))
        if sum(task.partition("/")[0] == job for task in addresses) > 1 and counts:
            shown["jobs"].append(dict({"job": job}, **{name: _task_state.percentile(counts, p) for name, p in (
                ("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}))
    return shown


def text(shown):
    """The view in words."""
    table = []
    for t in shown["tasks"]:
        if "lost" in t:
            table.append((t["task"], t["address"], "lost: " + t["lost"]))
            continue
        table.append((t["task"], t["address"], t["incarnation"][:8], _span(t["uptime"]),
                      _span(t["heard"]) if t["heard"] >= 0 else "never", _number(t["steps_per_second"]),
                      _number(1e3 * t["p50"]), _number(1e3 * t["p90"]), _number(1e3 * t["p99"]), _number(1e3 * t["work_p50"]),
                      str(t["sessions"]), str(t["running"]), str(t["failed"]), str(t["refused"]),
                      _number(t["live_bytes"] / 1e6), _number(t["peak_bytes"] / 1e6)))
    for j in shown["jobs"]:
        table.append((j["job"] + "/*", "all of them", "", "", "", "", _number(1e3 * j["p50"]), _number(1e3 * j["p90"]),
                      _number(1e3 * j["p99"]), "", "", "", "", "", "", ""))
    lines = _aligned(_COLUMNS, table, _LEFT)
    if shown["wire"]:
        rows = [(w["from"] + " -> " + w["to"], w["over"], _scaled(w["bytes_per_second"], 1e6),
                 _number(w["tensors_per_second"]), _number(w["waits_at_once"]), _number(w["bytes"] / 1e6), str(w["tensors"]))
                for w in shown["wire"]]
        lines += [""] + _aligned(("tensors", "over", "MB/s", "tensors/s", "waits", "MB", "count"), rows, 2)
    notes = []
    for s in shown["stragglers"]:
        notes.append("straggler: %s of %s takes %.1f ms, %.1f times the median of its peers" % (
            s["what"] or "a step", s["name"], 1e3 * s["seconds"], s["seconds"] / s["median"] if s["median"] > 0 else 0))
    for w in shown["waiting"]:
        what = (", for " + ", ".join(w["for"][:3]) if w["for"] else "") + (", runs " + w["running"] if w["running"] else "")
        notes.append("waiting: a step of %s for %.0f s%s" % (w["task"], w["seconds"], what))
    for s in shown["stuck"]:
        notes.append("stuck, says the master of %s: %s" % (s["master"], s["report"]))
    for e in shown["effective"]:
        notes.append("effective time of the training at %s: %s" % (e["task"], effective_text(e)))
    for e in shown["errors"]:
        notes.append("last error of %s, %s ago: %s" % (e["task"], _span(e["age"]), e["error"].splitlines()[0][:200]))
    return "\n".join(lines + ([""] + notes if notes else []))


def effective_text(e):
    """"93.1 % of 120.3 s; lost in 2 failures: detecting 1.0 s, restarting 3.1 s, restoring 0.4 s, re-executing 2.2 s"."""
    share = 100 * e["productive"] / e["wall"] if e["wall"] > 0 else 0.0
    return "%.1f %% of %.1f s; lost in %d failure%s: detecting %.1f s, restarting %.1f s, restoring %.1f s, re-executing %.1f s" % (
        share, e["wall"], e["failures"], "" if e["failures"] == 1 else "s", e["detect"], e["restart"], e["restore"],
        e["reexecute"])


def _aligned(columns, table, left):
    """Lines of a table whose first columns are flush left; rows that are shorter end in free text."""
    whole = [r for r in table if len(r) == len(columns)]
    widths = [max([len(c)] + [len(r[i]) for r in (table if i < 2 else whole)]) for i, c in enumerate(columns)]
    return ["  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in [columns] + table]


def _number(value):
    if value is None:
        return "-"
    for least, digits in ((100, 0), (10, 1), (0.1, 2), (1e-9, 4)):
        if value >= least:
            return "%.*f" % (digits, value)
    return "0.00"


def _scaled(value, unit):
    return _number(None if value is None else value / unit)


def _span(seconds):
    """"4.2s", "3m12s", "5h03m", "2d04h"."""
    whole = int(seconds)
    if seconds < 60:
        return "%.1fs" % seconds
    if whole < 3600:
        return "%dm%02ds" % divmod(whole, 60)
    if whole < 86400:
        return "%dh%02dm" % divmod(whole // 60, 60)
    return "%dd%02dh" % divmod(whole // 3600, 24)


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


def _draw(shown, out):
    """In place on a terminal, without a blank moment; one look after the other elsewhere."""
    if not out.isatty():
        print(shown + "\n", file=out, flush=True)
        return
    size = shutil.get_terminal_size()
    lines = [line[:size.columns - 1] for line in shown.splitlines()[:max(1, size.lines - 1)]]
    out.write("\033[H" + "".join(line + "\033[K\n" for line in lines) + "\033[J")
    out.flush()


def main(arguments):
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python3 -m sluice top", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Shows what the tasks of a cluster do, live. Ctrl-C ends it.",
        epilog="up         since the task started, under this incarnation\n"
               "heard      since a master's last heartbeat\n"
               "steps/s    the task's own; p50, p90 and p99 are the times of its last 256 steps, work the median without waiting\n"
               "refused    calls of sessions and steps that are over\n"
               "waits      how many tensors were waited for at once, on average\n"
               "Exit code: 0; 1 when a task did not answer in the last look; 130 after Ctrl-C.")
    parser.add_argument("cluster", nargs="*", help="the --log-dir of a launcher, or addresses as ps=host:port "
                        "worker=host:port,host:port; by default the cluster in TF_CONFIG")
    parser.add_argument("--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (default 1)")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="for an answer (default 2)")
    parser.add_argument("--count", type=int, metavar="N", help="end after so many looks")
    parser.add_argument("--once", action="store_true", help="one look, without rates")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each look")
    options = parser.parse_args(arguments)
    if options.once:
        options.count = 1
    try:
        addresses = find_cluster(options.cluster, os.environ)
    except (OSError, ValueError, TypeError) as e:
        parser.error(str(e))
    if not addresses:
        parser.error("no cluster: name addresses or a folder, or set TF_CONFIG")
    before, looks = {}, 0
    pool = concurrent.futures.ThreadPoolExecutor(2 * len(addresses))
    try:
        while options.count is None or looks < options.count:
            if looks:
                time.sleep(options.interval)
            elif sys.stdout.isatty() and not options.json:
                sys.stdout.write("\033[2J")
            now = look(addresses, options.timeout, pool)
            shown = view(addresses, now, before)
            if options.json:
                print(json.dumps(shown), flush=True)
            else:
                _draw(text(shown), sys.stdout)
            before, looks = now, looks + 1
    except KeyboardInterrupt:
        return 130
    finally:
        pool.shutdown(wait=False)
    return 0 if all(isinstance(s, State) for s in before.values()) else 1
