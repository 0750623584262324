"""Runs the benchmarks of one library in a process of its own, on request: the parent interleaves the libraries.

    python worker.py LIBRARY THREADS < requests > answers

A request is the name of a benchmark; the answer is a line of JSON: {"value": seconds for each part of a step (or bytes), "check":
numbers of the result, or null} or {"error": text}. The first request of a benchmark builds and warms it; later ones only time it.

A suite's method gives (step, check) or (step, check, parts): the time of a step is divided by its parts; "measured" in their
place means that the step returns the value itself.
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


class Worker:
    def __init__(self, suite):
        self.suite = suite
        self.built = {}

    def answer(self, name):
        if name.startswith("?"):  # a figure that is no benchmark
            return {"value": getattr(self.suite, name[1:])()}
        if not hasattr(self.suite, name):
            return {"error": "not measured"}
        if name not in self.built:
            step, check, parts = (getattr(self.suite, name)() + (1,))[:3]
            if parts != "measured":
                for _ in range(3):
                    step()
                self.built[name] = step, check() if check else None, parts
            else:
                value = step()
                self.built[name] = step, check() if check else None, parts
                return {"value": value, "check": self.built[name][1]}
        step, checked, parts = self.built[name]
        return {"value": step() if parts == "measured" else time_step(step) / parts, "check": checked}

    def forget(self):
        """Frees what was built, so that a large row does not weigh on the next."""
        self.built.clear()


def main():
    library, threads = sys.argv[1], int(sys.argv[2])
    os.environ["OMP_NUM_THREADS"] = str(threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    suite = importlib.import_module("suite_" + library).make(threads)
    print(json.dumps({"version": suite.version}), file=answers, flush=True)
    worker = Worker(suite)
    for request in sys.stdin:
        try:
            if request.strip() == "forget":
                worker.forget()
                answer = {}
            else:
                answer = worker.answer(request.strip())
        except Exception:
            answer = {"error": traceback.format_exc(limit=3)}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
