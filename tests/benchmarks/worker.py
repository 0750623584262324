"""Runs the benchmarks of one library in a process of its own, on request: the parent interleaves the libraries.

    python worker.py LIBRARY THREADS < requests > answers

A request is the name of a benchmark; the answer is a line of JSON: {"seconds": per step, "check": a number of the result} or
{"error": text}. The first request of a benchmark builds and warms it; later ones only time it.
"""

import importlib
import json
import os
import sys
import time
import traceback


def time_step(step, at_least=0.25):
    """Seconds for each call: the best of three batches, each long enough for the clock."""
    n, elapsed = 1, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(n):
            step()
        elapsed = time.perf_counter() - start
        if elapsed > at_least / 4:
            break
        n *= 2 if elapsed < at_least / 40 else 1 + int(at_least / 4 / max(elapsed, 1e-9))
    best = elapsed / n
    for _ in range(2):
        start = time.perf_counter()
        for _ in range(n):
            step()
        best = min(best, (time.perf_counter() - start) / n)
    return best


def main():
    library, threads = sys.argv[1], int(sys.argv[2])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    module = importlib.import_module("suite_" + library)
    suite = module.make(threads)
    print(json.dumps({"version": suite.version}), file=answers, flush=True)
    built = {}
    for request in sys.stdin:
        name = request.strip()
        try:
            if name not in built:
                step, check = getattr(suite, name)()
                for _ in range(3):
                    step()
                built[name] = (step, check() if check else None)
            step, checked = built[name]
            answer = {"seconds": time_step(step), "check": checked}
        except AttributeError as e:
            answer = {"error": f"not measured: {e}"}
        except Exception:
            answer = {"error": traceback.format_exc(limit=3)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
