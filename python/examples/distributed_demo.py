"""Kills tasks of a training cluster on purpose, and shows that training ends as if nothing had happened.

It starts python/examples/mnist_distributed.py on 1 parameter server and 2 workers, as processes of this machine, twice:
undisturbed; and with kill -9 of a worker after a third of the steps and of the parameter server after two thirds. Then
it compares accuracy and weights. `./dev demo distributed` runs it.
"""
import argparse
import collections
import os
import re
import shutil
import sys
import time

from sluice.distribute.launcher import Launcher

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mnist_distributed.py")
Result = collections.namedtuple("Result", "code accuracy weights seconds trace effective")


def run(title, folder, options, kills):
    """Trains on a cluster of its own; `kills` is [(step, task)]. Returns a Result."""
    print("== %s" % title, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    found, left, died = {}, list(kills), {}

    def watch(launcher, task, line):
        step = re.match(r"step +(\d+)", line)
        if step and task == "worker/0" and left and int(step.group(1)) >= left[0][0]:
            _, victim = left.pop(0)
            pid = launcher.kill(victim)
            died[victim] = time.monotonic()
            launcher.say("kill -9 of %s (process %s) at step %s" % (victim, pid, step.group(1)))
        elif step and died and task == "worker/0":
            victim, at = died.popitem()
            launcher.say("%.1f s after the loss of %s the chief is at step %s" % (time.monotonic() - at, victim,
                                                                                 step.group(1)))
        for key in ("test accuracy", "weights"):
            if line.startswith(key + ": "):
                found[key] = line.split(": ", 1)[1]
        if task == "worker/0" and "effective time: " in line:
            found["effective"] = line.split("effective time: ", 1)[1]

    start = time.monotonic()
    command = [sys.executable, "-u", PROGRAM, "--model_dir", folder, "--steps", str(options.steps), "--print_steps", "10",
               "--batch_size", str(options.batch_size), "--trace_step", str(max(2, options.steps // 2))]
    code = Launcher({"ps": 1, "worker": 2}, command, restarts=5, log_dir=os.path.join(folder, "logs"), watch=watch).run()
    if left:
        print("not killed, because training had ended: %s" % left)
        code = code or 1
    traces = sorted(name for name in os.listdir(folder) if name.startswith("timeline-"))
    return Result(code, found.get("test accuracy"), found.get("weights"), time.monotonic() - start,
                  os.path.join(folder, traces[-1]) if traces else None, found.get("effective"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="training steps of each run (default 600)")
    parser.add_argument("--batch_size", type=int, default=64, help="images of each worker in a step (default 64)")
    parser.add_argument("--folder", default="distributed_demo", help="where everything is written")
    options = parser.parse_args()
    kills = [(options.steps // 3, "worker/1"), (2 * options.steps // 3, "ps/0")]
    results = {}
    for title, planned in (("undisturbed", []), ("disturbed", kills)):
        results[title] = run(title, os.path.join(os.path.abspath(options.folder), title), options, planned)
        if results[title].code:
            print("the %s run failed: its launcher ended with code %d" % (title, results[title].code))
            return 1
    print()
    for title, result in results.items():
        print("%-12s test accuracy %s after %d steps, %.0f s, weights %s..." % (
            title + ":", result.accuracy, options.steps, result.seconds, (result.weights or "")[:23]))
    a, b = results.values()
    same = a.weights is not None and (a.accuracy, a.weights) == (b.accuracy, b.weights)
    print("result:      %s" % ("the same weights, bit for bit" if same else "the weights DIFFER"))
    print("killed:      %s" % ", ".join("%s at step %d" % (task, step) for step, task in kills))
    print("effective:   %s" % b.effective)
    print("trace:       %s" % b.trace)
    print("             a step of the chief and the parameter server on one clock, with arrows from Send to Recv: open the")
    print("             file in https://ui.perfetto.dev (\"Open trace file\") or chrome://tracing (\"Load\")")
    print("logs:        %s" % os.path.join(os.path.abspath(options.folder), "disturbed", "logs"))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
