"""R09: one of four workers ten times slower than the others, with and without a backup worker."""
import re
import threading
import time

import cluster
from sluice.distribute import top

_JOBS = {"ps": 1, "worker": 4}
_SLOW = "worker/3"
_FROM = 20        # the step from which on it is slow
_REPLICA = "replica 3"  # what servers call it, who see its gradients come late
_PERIOD = 0.01    # seconds, of which it runs a tenth: shorter than its steps, so that each of them is slow
_PROGRAM = cluster.os.path.join(cluster.os.path.dirname(cluster.PROGRAM), "straggler_program.py")


class Slowed(cluster.Run):
    """A run with a worker that stands still nine tenths of the time, from a step on."""

    def __init__(self, backups, slow, **more):
        super().__init__(jobs=_JOBS, program=_PROGRAM, environ={"BENCH_BACKUPS": str(backups)}, **more)
        self._slow, self._began, self._over = slow, None, threading.Event()
        self.accuracy, self.rate, self.named_after = None, 0.0, None
        self._times = {}

    def train(self):
        try:
            return super().train()
        finally:
            self._over.set()

    def _why_not(self, code):
        if code == 0 and self.accuracy is not None:
            return None
        self.weights = [""]
        return super()._why_not(code) or "no accuracy was reported"

    def on_step(self, step):
        self._times[step] = time.monotonic()
        if step >= _FROM and self._began is None:
            self._began = step
            if self._slow:
                self.kills.append(_SLOW)
                self.note_fault(_SLOW, "pause: nine tenths of the time")
                threading.Thread(target=self._hold_up, daemon=True).start()
                threading.Thread(target=self._look, daemon=True).start()

    def on_line(self, task, line):
        found = re.match(r"accuracy ([\d.]+)", line)
        if found:
            self.accuracy = float(found.group(1))
            first = min(t for s, t in self._times.items() if s >= _FROM)
            self.rate = (max(self._times) - _FROM) / (max(self._times.values()) - first)

    def _hold_up(self):
        while not self._over.wait(_PERIOD / 10):
            self.kill(_SLOW, 19)  # SIGSTOP
            self._over.wait(_PERIOD * 9 / 10)
            self.kill(_SLOW, 18)  # SIGCONT

    def _look(self):
        """Notes how many steps it takes until the slow worker is named."""
        while self.named_after is None and not self._over.wait(0.05):
            addresses = {t.name: self.cluster[t.job][t.index] for t in self.tasks}
            shown = top.view(addresses, {name: top.ask(a, 2) for name, a in addresses.items()}, {})
            if any(s["name"] in (_SLOW, _REPLICA) for s in shown["stragglers"]):
                self.named_after = max(self._times) - self._began


def straggler(result, tier):
    """The slow worker is named; a backup worker makes up for it, at the same accuracy."""
    steps = 120 if tier == "smoke" else 500
    for _ in range({"smoke": 1, "commit": 1, "nightly": 5, "release": 20}[tier]):
        runs = {}
        for name, backups, slow in (("undisturbed", 0, False), ("slowed", 0, True), ("with a backup", 1, True)):
            runs[name] = Slowed(backups, slow, steps=steps, ttl=5, deadline=300)
            why = runs[name].train()
            result.count(runs[name])
            if why is None and slow:
                difference = abs(runs[name].accuracy - runs["undisturbed"].accuracy)
                if difference > 0.5 and steps >= 500:
                    why = "the accuracy is %.2f points from that of the undisturbed run" % difference
            result.trial(why and "%s: %s" % (name, why), faults=len(runs[name].kills))
            if why:
                return
        whole = runs["undisturbed"].rate
        result.notes.append("rate %.0f steps/s, %.0f %% slowed, %.0f %% with a backup (the aim is 70 %%)" % (
            whole, 100 * runs["slowed"].rate / whole, 100 * runs["with a backup"].rate / whole))
        result.notes.append("accuracy %s" % ", ".join("%.2f" % r.accuracy for r in runs.values()))
        result.notes.append("named after %s steps" % ", ".join(str(runs[n].named_after) for n in ("slowed", "with a backup")))
