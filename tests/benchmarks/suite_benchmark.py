"""One table: what each benchmark takes, how near it comes to the machine's limit, and how the peers do in the same run.

    ./dev bench                 Sluice alone
    ./dev bench --peers         TensorFlow (graph mode), PyTorch, torch.compile and JAX from PyPI, in an environment of their own
    ... suite --only b07,b08 --rounds 7 --threads 2 --html FILE

Libraries take turns, round by round, on the same cores; a figure is the median of the rounds. Inputs are random, and the results
are checked against Sluice's in the same run. Limits are measured on this machine (sluice_limits), but for those of dispatch.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

import suite_page
from suite_rows import ABSENT, ROWS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = pathlib.Path(os.environ.get("SLUICE_PEERS", pathlib.Path.home() / ".cache/sluice/peers"))
BINARIES = ROOT / "bazel-bin/tests/benchmarks"
TOLERANCE = {"b06_bf16": 1e-2}  # of the results, relative; 2e-3 elsewhere


class Worker:
    """A library in a process of its own."""

    def __init__(self, library, python, threads):
        self.library = library
        environment = dict(os.environ)
        if library != "sluice":
            environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(["taskset", "-c", cores(threads), python, str(HERE / "worker.py"), library, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env=environment, cwd=HERE)
        line = self.process.stdout.readline()
        self.version = json.loads(line)["version"] if line else None

    def ask(self, request):
        if self.version is None:
            return {"error": "it does not start"}
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.version = None
            return {"error": "it died"}
        return json.loads(line)

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self.process.kill()


def cores(threads):
    return "0,1" if threads > 1 else "1"


def step_benchmark(name, threads):
    """Seconds for each part of a step, by the C++ program."""
    program = BINARIES / "step_benchmark"
    if not program.exists():
        return {"error": "bazel build //tests/benchmarks:step_benchmark comes first"}
    done = subprocess.run(["taskset", "-c", cores(threads), str(program), "--benchmark_filter=^%s/%d/" % (name, threads),
                           "--benchmark_format=json", "--benchmark_min_time=0.2"], capture_output=True, text=True, timeout=300)
    try:
        run, = json.loads(done.stdout)["benchmarks"]
        if run.get("error_occurred"):
            return {"error": run["error_message"]}
        return {"value": 1 / run["items_per_second"], "check": None}
    except (ValueError, KeyError):
        return {"error": done.stderr.strip()[-300:] or "no figure"}


def install_peers():
    python, pip = PEERS / "bin/python", PEERS / "bin/pip"
    if not (python.exists() and pip.exists()):
        print(f"making an environment with TensorFlow, PyTorch and JAX in {PEERS} ...", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(PEERS)], check=True)
    wanted = subprocess.run([str(python), "-c", "import tensorflow, tensorboard, torch, jax"], capture_output=True)
    if wanted.returncode != 0:
        subprocess.run([str(pip), "install", "-q", "tensorflow-cpu", "tensorboard", "torch", "jax"], check=True)
    return str(python)


def differs(found, reference, tolerance):
    """Whether two results are further apart than ||difference|| / ||reference|| allows."""
    if len(found) != len(reference):
        return True
    norm = math.sqrt(sum(r * r for r in reference))
    return not math.sqrt(sum((f - r) ** 2 for f, r in zip(found, reference))) <= tolerance * max(norm, 1e-6)


def measure_row(row, workers, rounds, threads):
    """{library: value}: medians of the rounds, without libraries that fail, do not have the row, or compute something else."""
    values, checks, errors = {w.library: [] for w in workers}, {}, {}
    for _ in range(min(rounds, row.rounds or rounds)):
        for w in workers:
            if w.library in errors:
                continue
            answer = step_benchmark(row.mine, threads) if w.library == "sluice" and row.mine != "python" else w.ask(row.name)
            if "error" in answer:
                errors[w.library] = answer["error"]
            else:
                values[w.library].append(answer["value"])
                if answer["check"] is not None:
                    checks[w.library] = answer["check"]
    for w in workers:
        w.ask("forget")
    for library, error in errors.items():
        if error != "not measured":
            print(f"{row.name}: {library}: {error.strip().splitlines()[-1]}", file=sys.stderr)
    reference = checks.get("sluice")
    for library, found in checks.items():
        if reference is not None and differs(found, reference, TOLERANCE.get(row.name, 2e-3)):
            print(f"{row.name}: {library} computes {found[:4]}, sluice {reference[:4]}; it is left out", file=sys.stderr)
            values[library] = []
    return {k: statistics.median(v) for k, v in values.items() if v}


def run_table(libraries, threads, rounds, only, machine):
    workers = [Worker(name, python, threads) for name, python in libraries]
    rows = []
    try:
        for row in ROWS:
            if only and not any(row.name.startswith(o) for o in only):
                continue
            own = [Worker(name, python, threads) for name, python in libraries] if row.fresh else workers
            medians = measure_row(row, own, rounds, threads)
            mine, peers = medians.get("sluice"), {k: v for k, v in medians.items() if k != "sluice"}
            limit = row.limit(machine, threads) if row.limit and machine else None
            if row.name == "b21" and mine:
                limit = own[0].ask("?b21_bound").get("value") or None
            rows.append({"name": row.name, "title": row.title, "unit": row.unit,
                         "values": {k: v * row.scale for k, v in medians.items()}, "limit": limit * row.scale if limit else None,
                         "percent": 100 * limit / mine if limit and mine else None,
                         "ratio": min(peers.values()) / mine if peers and mine else None})
            if row.fresh:
                for w in own:
                    w.close()
            print(".", end="", file=sys.stderr, flush=True)
    finally:
        for w in workers:
            w.close()
    print(file=sys.stderr)
    return rows, {w.library: w.version for w in workers}


def print_table(rows, libraries):
    peers = [name for name, _ in libraries if name != "sluice"]
    number = lambda v: "" if v is None else f"{v:.3g}"  # noqa: E731
    head = ["benchmark", "unit", "sluice", "% of limit"] + peers + (["ratio to the best peer"] if peers else [])
    lines = []
    for row in rows:
        cells = [row["title"], row["unit"], number(row["values"].get("sluice")) or "-", "" if row["percent"] is None else f"{row['percent']:.0f}"]
        cells += [number(row["values"].get(p)) for p in peers]
        lines.append(cells + (["" if row["ratio"] is None else f"{row['ratio']:.2f}"] if peers else []))
    widths = [max(len(r[i]) for r in [head] + lines) for i in range(len(head))]
    line = lambda r: "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) + " |"  # noqa: E731
    print(line(head))
    print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for r in lines:
        print(line(r), flush=True)


def calls():
    """B04: [(what, text)]."""
    program = BINARIES / "calls_benchmark"
    if not program.exists():
        return [("B04", "bazel build //tests/benchmarks:calls_benchmark comes first")]
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=300, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return [("B04 warm training step, %s" % f["model"], "%g heap calls, %g locks, %g waits" % (f["heap"], f["locks"], f["waits"])) for f in found]


def start_up(libraries):
    """B22: import over an interpreter that has NumPy, and the first step of B07; B23: bytes. [(what, text)]."""
    programs = {"sluice": "import sluice as tf", "tensorflow": "import tensorflow", "torch": "import torch", "jax": "import jax"}
    facts = []
    for library, python in libraries:
        if library not in programs:
            continue
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is not compiled at each start
        if library != "sluice":
            environment.pop("PYTHONPATH", None)

        def median(code, n=5):
            times = []
            subprocess.run([python, "-c", code], check=True, env=environment, cwd=HERE, stderr=subprocess.DEVNULL)
            for _ in range(n):
                start = time.perf_counter()
                subprocess.run([python, "-c", code], check=True, env=environment, cwd=HERE, stderr=subprocess.DEVNULL)
                times.append(time.perf_counter() - start)
            return statistics.median(times)

        try:
            base = median("import numpy")
            facts.append((f"B22 import {library}", f"{1e3 * (median('import numpy; ' + programs[library]) - base):.0f} ms over NumPy"))
            if library in ("sluice", "tensorflow"):
                first = median(f"import sys; sys.argv=['', '', '2']; import suite_{library} as s; s.make(2).b07()[0]()")
                facts.append((f"B22 first steps of B07, cold, import included, {library}", f"{1e3 * (first - base):.0f} ms over NumPy"))
            if library != "sluice":
                code = (f"import importlib.util as u, os; d = u.find_spec('{library}').submodule_search_locations[0]; "
                        "print(sum(os.path.getsize(os.path.join(p, f)) for p, _, fs in os.walk(d) for f in fs if not os.path.islink(os.path.join(p, f))))")
                size = int(subprocess.run([python, "-c", code], check=True, env=environment, capture_output=True, text=True).stdout)
                facts.append((f"B23 installed size of {library}", f"{size / 1e6:.0f} MB, without what it depends on"))
        except subprocess.CalledProcessError as e:
            facts.append((f"B22 {library}", str(e)))
    import sluice
    native = pathlib.Path(sluice.__file__).parent / "native/libsluice.so"
    stripped = "/tmp/libsluice_stripped.%d.so" % os.getpid()
    subprocess.run(["strip", "-o", stripped, str(native.resolve())], check=True)
    facts.append(("B23 libsluice.so stripped", f"{os.path.getsize(stripped) / 1e6:.1f} MB"))
    os.unlink(stripped)
    return facts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also time TensorFlow, PyTorch, torch.compile and JAX")
    parser.add_argument("--only", default="", help="benchmarks by the beginning of their name, with commas")
    parser.add_argument("--rounds", type=int, default=0, help="default: 3 alone, 7 with peers")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="default: both")
    parser.add_argument("--html", default=str(ROOT / "build/bench.html"), help="the page with plots (default build/bench.html)")
    arguments = parser.parse_args()
    page = pathlib.Path(arguments.html)
    page.parent.mkdir(parents=True, exist_ok=True)
    page.touch()

    from sluice.profiling import _limits
    machine = _limits.find(again=True, warn=lambda text: print(text, file=sys.stderr))
    facts_of_machine = "The machine's limits are not known."
    if machine:
        facts_of_machine = "%s, %d threads: %.0f GFLOP/s (%.0f on one), %.0f GB/s copied in memory (%.0f on one)." % (
            machine.cpu, machine.threads, machine.gflops[1], machine.gflops[0], *machine.levels[-1]["copy_gbps"][::-1])
    print(facts_of_machine)
    libraries = [("sluice", sys.executable)]
    if arguments.peers:
        python = install_peers()
        libraries += [(name, python) for name in ("tensorflow", "torch", "torch_compile", "jax")]
    only = [o for o in arguments.only.split(",") if o]
    tables = []
    for threads in [arguments.threads] if arguments.threads else [1, 2]:
        rows, versions = run_table(libraries, threads, arguments.rounds or (7 if arguments.peers else 3), only, machine)
        heading = f"{threads} thread{'s' if threads > 1 else ''}; " + ", ".join(f"{k} {v}" for k, v in versions.items() if v)
        print("\n" + heading)
        print_table(rows, libraries)
        tables.append((heading, rows))
    facts = []
    if not only:
        facts = calls() + start_up(libraries) + [("absent: " + what, why) for what, why in ABSENT]
        print("\ncounts, start-up, size")
        for what, text in facts:
            print(f"  {what}: {text}")
    page.write_text(suite_page.page(tables, facts, facts_of_machine, (HERE / "RESULTS.md").read_text()))
    page.with_suffix(".json").write_text(json.dumps({"machine": machine.measured if machine else None, "tables": tables, "facts": facts}, indent=1))
    print(f"\nplots: {page}")


if __name__ == "__main__":
    main()
