"""R08: single messages between tasks lost, doubled, reordered and delayed."""
import random

import cluster
import simulate

# What is done to messages, and how many steps are made with it.
_MIXES = (
    ("duplicate=0.05,reorder=0.05,delay=0.001", 200),
    ("duplicate=0.02,reorder=0.02,drop=0.002", 60),
    ("duplicate=0.05,reorder=0.01,delay=0.005,drop=0.001", 60),
)
_WANTED = {"smoke": 200, "commit": 10**4, "nightly": 10**6, "release": 10**7}
_REAL = {"smoke": 200, "commit": 2000, "nightly": 10**5, "release": 10**6}  # of these, by real processes


class DamagedMessages(cluster.Run):
    """A run whose tasks damage the messages that they send, each in its own way."""

    def __init__(self, mix, seed, **more):
        super().__init__(**more)
        self._mix, self._seed = mix, seed

    def _environ_of(self, task):
        number = [t.name for t in self.tasks].index(task.name)
        faults = "seed=%d,%s" % (self._seed + 100 * number + task.restarts, self._mix)
        return dict(super()._environ_of(task), SLUICE_MESSAGE_FAULTS=faults)


def message_faults(result, tier):
    """Each step runs at most once at each task, and training ends with the same bits."""
    rng = random.Random("R08 %d" % result.seed)
    number = 0
    while sum(_faults(result.counts).values()) < _REAL[tier] and not result.lost:
        mix, steps = _MIXES[number % len(_MIXES)]
        number += 1
        run = DamagedMessages(mix, rng.randrange(1 << 30), steps=steps, deadline=300, ttl=5 if tier != "release" else 60)
        why = run.why_not(cluster.golden(steps=steps))
        result.count(run)
        result.trial(why and "%s: %s" % (mix, why), faults=sum(_faults(run.counts).values()))
    kinds = _faults(result.counts)
    result.notes.append(", ".join("%d %s" % (n, what) for what, n in sorted(kinds.items())))
    result.notes.append("%d calls refused" % result.counts.get("refused", 0))
    if result.faults < _WANTED[tier] and not result.lost:
        simulate.until(result, _WANTED[tier])


def _faults(counts):
    return {name[len("fault "):]: n for name, n in counts.items() if name.startswith("fault ")}
