"""One table: what each benchmark takes, how near it comes to the machine's limit, and how the peers do in the same run.

    ./dev bench                 Sluice alone
    ./dev bench --peers         TensorFlow (graph mode), PyTorch and JAX from PyPI, in an environment of their own, interleaved
    ... suite --only b07,b08 --rounds 7 --threads 2 --markdown

Libraries take turns, round by round, on the same cores; a figure is the median of the rounds. Inputs are random and the results are
checked against each other. Limits are those of the reference machine (2 cores of AMD Zen 5): 256 GFLOP/s and 40.5 GB/s a core.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PEERS = pathlib.Path(os.environ.get("SLUICE_PEERS", pathlib.Path.home() / ".cache/sluice/peers"))
GFLOPS = 256e9  # f32 multiply-adds of one core, counted as two

# B01 is runtime/session/session_benchmark.cc: from Python a plan leaves nodes without effect out, so there is nothing to time.
# name, what it says, unit, scale from seconds, limit in seconds on (1, 2) threads or None
ROWS = [
    ("b03_run", "B03 step, Session.run", "us", 1e6, (0.18e-6, 0.18e-6)),
    ("b03_callable", "B03 step, callable", "us", 1e6, (0.18e-6, 0.18e-6)),
    ("b03_run_100", "B03 100 feeds, Session.run", "us", 1e6, (5.8e-6, 5.8e-6)),
    ("b03_callable_100", "B03 100 feeds, callable", "us", 1e6, (5.8e-6, 5.8e-6)),
    ("b06_16", "B06 matmul 16", "us", 1e6 / 100, (100 * 2 * 16**3 / GFLOPS,) * 2),
    ("b06_32", "B06 matmul 32", "us", 1e6 / 100, (100 * 2 * 32**3 / GFLOPS,) * 2),
    ("b06_64", "B06 matmul 64", "us", 1e6 / 100, (100 * 2 * 64**3 / GFLOPS,) * 2),
    ("b06_1024", "B06 matmul 1024", "ms", 1e3, (2 * 1024**3 / GFLOPS, 1024**3 / GFLOPS)),
    ("b06_2048", "B06 matmul 2048", "ms", 1e3, (2 * 2048**3 / GFLOPS, 2048**3 / GFLOPS)),
    ("b07", "B07 MLP training step", "us", 1e6, (64.5e6 / GFLOPS, 32.25e6 / GFLOPS)),
    ("b08", "B08 LeNet training step", "ms", 1e3, (2.3e9 / GFLOPS, 1.15e9 / GFLOPS)),
    ("build_graph", "building a graph", "us/op", 1e6 / 201, None),
]


class Worker:
    """A library in a process of its own."""

    def __init__(self, library, python, threads):
        self.library = library
        cores = "0,1" if threads > 1 else "1"
        environment = dict(os.environ)
        if library != "sluice":
            environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(["taskset", "-c", cores, python, str(HERE / "worker.py"), library, str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env=environment, cwd=HERE)
        line = self.process.stdout.readline()
        self.version = json.loads(line)["version"] if line else None

    def measure(self, name):
        if self.version is None:
            return {"error": "it does not start"}
        try:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.version = None
            return {"error": "it died"}
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def install_peers():
    python = PEERS / "bin/python"
    if not python.exists():
        print(f"making an environment with TensorFlow, PyTorch and JAX in {PEERS} ...", file=sys.stderr)
        subprocess.run(["/usr/bin/python3", "-m", "venv", str(PEERS)], check=True)
    wanted = subprocess.run([str(python), "-c", "import tensorflow, torch, jax"], capture_output=True)
    if wanted.returncode != 0:
        subprocess.run([str(PEERS / "bin/pip"), "install", "-q", "tensorflow-cpu", "torch", "jax"], check=True)
    return str(python)


def run_table(libraries, threads, rounds, only):
    workers = [Worker(name, python, threads) for name, python in libraries]
    table = []
    for row in ROWS:
        name = row[0]
        if only and not any(name.startswith(o) for o in only):
            continue
        seconds = {w.library: [] for w in workers}
        checks, errors = {}, {}
        for _ in range(rounds):
            for w in workers:
                if w.library in errors:
                    continue
                answer = w.measure(name)
                if "error" in answer:
                    errors[w.library] = answer["error"]
                else:
                    seconds[w.library].append(answer["seconds"])
                    if answer["check"] is not None:
                        checks[w.library] = answer["check"]
        if errors.get("sluice"):
            print(f"{name}: {errors['sluice']}", file=sys.stderr)
        reference = checks.get("sluice")
        for library, value in checks.items():
            if reference is not None and abs(value - reference) > 2e-3 * max(1.0, abs(reference)):
                print(f"{name}: {library} computes {value}, sluice {reference}", file=sys.stderr)
                seconds[library] = []
        table.append((row, {k: statistics.median(v) for k, v in seconds.items() if v}))
    versions = {w.library: w.version for w in workers}
    for w in workers:
        w.close()
    return table, versions


def print_table(table, versions, threads, libraries):
    peers = [name for name, _ in libraries if name != "sluice"]
    print(f"\n{threads} thread{'s' if threads > 1 else ''}; " + ", ".join(f"{k} {v}" for k, v in versions.items() if v))
    head = ["benchmark", "unit", "sluice", "% of limit"] + peers + (["ratio to the best peer"] if peers else [])
    rows = []
    for (name, title, unit, scale, limit), medians in table:
        mine = medians.get("sluice")
        cells = [title, unit, f"{mine * scale:.3g}" if mine else "-"]
        cells.append(f"{100 * limit[threads - 1] / mine:.0f}" if mine and limit else "")
        cells += [f"{medians[p] * scale:.3g}" if p in medians else "" for p in peers]
        if peers:
            best = min((medians[p] for p in peers if p in medians), default=None)
            cells.append(f"{best / mine:.2f}" if best and mine else "")
        rows.append(cells)
    widths = [max(len(r[i]) for r in [head] + rows) for i in range(len(head))]
    line = lambda r: "| " + " | ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) + " |"  # noqa: E731
    print(line(head))
    print("|" + "|".join("-" * (w + 2) for w in widths) + "|")
    for r in rows:
        print(line(r))
    return rows


def start_up(libraries):
    """B22: import over an interpreter that has NumPy, and the first step of B07; B23: bytes of the library."""
    print("\nstart-up and size")
    programs = {"sluice": "import sluice as tf", "tensorflow": "import tensorflow", "torch": "import torch", "jax": "import jax"}
    for library, python in libraries:
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
        if library != "sluice":
            environment.pop("PYTHONPATH", None)

        def median(code, n=5):
            times = []
            for _ in range(n):
                start = time.perf_counter()
                subprocess.run([python, "-c", code], check=True, env=environment, cwd=HERE, stderr=subprocess.DEVNULL)
                times.append(time.perf_counter() - start)
            return statistics.median(times)

        try:
            base = median("import numpy")
            print(f"  B22 import {library}: {1e3 * (median('import numpy; ' + programs[library]) - base):.0f} ms over NumPy")
            if library in ("sluice", "tensorflow"):
                first = median(f"import sys; sys.argv=['', '', '2']; import suite_{library} as s; s.make(2).b07()[0]()")
                print(f"  B22 first step of B07, cold, import included, {library}: {1e3 * (first - base):.0f} ms over NumPy")
        except subprocess.CalledProcessError as e:
            print(f"  B22 {library}: {e}")
    import sluice
    native = pathlib.Path(sluice.__file__).parent / "native/libsluice.so"
    stripped = "/tmp/libsluice_stripped.so"
    subprocess.run(["strip", "-o", stripped, str(native.resolve())], check=True)
    print(f"  B23 libsluice.so stripped: {os.path.getsize(stripped) / 1e6:.1f} MB")
    os.unlink(stripped)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also time TensorFlow, PyTorch and JAX")
    parser.add_argument("--only", default="", help="benchmarks by the beginning of their name, with commas")
    parser.add_argument("--rounds", type=int, default=0, help="default: 3 alone, 7 with peers")
    parser.add_argument("--threads", type=int, choices=(1, 2), help="default: both")
    arguments = parser.parse_args()
    libraries = [("sluice", sys.executable)]
    if arguments.peers:
        python = install_peers()
        libraries += [(name, python) for name in ("tensorflow", "torch", "jax")]
    only = [o for o in arguments.only.split(",") if o]
    for threads in [arguments.threads] if arguments.threads else [1, 2]:
        table, versions = run_table(libraries, threads, arguments.rounds or (7 if arguments.peers else 3), only)
        print_table(table, versions, threads, libraries)
    if not only:
        start_up(libraries)


if __name__ == "__main__":
    main()
