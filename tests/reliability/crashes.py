"""R01 to R05: killed and paused tasks; the weights of an undisturbed run, bit for bit."""
import random
import threading

import cluster
from proxy import Proxy

_KILLS = 5  # in one run


class Kills(cluster.Run):
    """Kills tasks one after the other, each when training has recovered from the one before."""

    def __init__(self, rng, names, count, **more):
        super().__init__(**more)
        self._random, self._names = rng, names
        self._left = sorted(rng.randrange(3, self.steps - 2) for _ in range(count))

    def on_step(self, step):
        if self._left and step >= self._left[0] and not self.recovering:
            self._left.pop(0)
            self.strike(self._random.choice(self._names), delay=self._random.random() * 0.05)


def _kill(result, tier, names, counts, check=lambda run: None, **more):
    rng = random.Random("%s %d" % (result.name, result.seed))
    golden = cluster.golden()
    left = counts[tier]
    while left > 0:
        run = Kills(rng, names, min(_KILLS, left), ttl=ttl(tier), **more)
        left -= _KILLS
        why = run.why_not(golden) or check(run)
        _count(result, run, why)


def ttl(tier):
    """What servers wait before they drop the sessions of masters that are gone: short where time is, else the default."""
    return 60 if tier == "release" else 5


def _count(result, run, why):
    """A kill is a trial; when the run was lost, the last one is to blame."""
    result.count(run)
    for _ in run.kills[1:]:
        result.trial()
    result.trial(why, faults=min(1, len(run.kills)))
    for seconds in run.resumed:
        result.took(seconds, "resume")


def worker_killed(result, tier):
    """kill -9 of a random worker that is not the chief, at a random moment."""
    _kill(result, tier, ["worker/1", "worker/2"], {"smoke": 1, "commit": 5, "nightly": 100, "release": 1000})


def ps_killed(result, tier):
    """kill -9 of a random parameter server; no other process is started again."""
    def check(run):
        again = [t.name for t in run.tasks if t.restarts and t.job != "ps"]
        return "these were started again, too: %s" % again if again else None
    _kill(result, tier, ["ps/0", "ps/1"], {"smoke": 1, "commit": 5, "nightly": 100, "release": 500}, check)


def chief_killed(result, tier):
    """kill -9 of the chief: anywhere, while it saves, commits, restores, and makes its session."""
    rng = random.Random("%s %d" % (result.name, result.seed))
    phases = ["save", "commit", "restore", "create"]
    golden = cluster.golden()
    for number in range({"smoke": 1, "commit": 1, "nightly": 12, "release": 60}[tier]):
        if number:
            rng.shuffle(phases)
        run = Kills(rng, ["worker/0"], 1, ttl=ttl(tier), environ={"BENCH_DIE": ",".join("%d=%s" % p for p in enumerate(phases))})
        _count(result, run, run.why_not(golden))
        result.notes = ["own deaths " + ",".join(sorted({k[8:] for k in run.kills if k.startswith("dies")}))]


class Storm(cluster.Run):
    """Kills any task, one to three at once, again and again, recovered or not."""

    def __init__(self, rng, most, pause, **more):
        super().__init__(**more)
        self._random, self._most, self._pause = rng, most, pause
        self._ended_storm = threading.Event()

    def train(self):
        thread = threading.Thread(target=self._blow)
        thread.start()
        try:
            return super().train()
        finally:
            self._ended_storm.set()
            thread.join()

    def _blow(self):
        names = [t.name for t in self.tasks]
        while self._most > 0 and not self._ended_storm.wait(self._random.uniform(*self._pause)):
            for name in self._random.sample(names, self._random.choice((1, 1, 2, 3))):
                self._most -= 1
                self.strike(name)


def storm(result, tier):
    """Any task, every 0.5 to 3 s, also during recovery."""
    rng = random.Random("%s %d" % (result.name, result.seed))
    steps, most, runs = {"smoke": (60, 3, 1), "commit": (1000, 12, 1), "nightly": (2000, 60, 5), "release": (2000, 200, 10)}[tier]
    golden, calm = cluster.golden(steps=steps), cluster.undisturbed_seconds(steps=steps)
    ratios = []
    for _ in range(runs):
        run = Storm(rng, most, (0.5, 3.0), steps=steps, deadline=600, ttl=ttl(tier))
        _count(result, run, run.why_not(golden))
        ratios.append(calm / run.seconds)
    result.notes.append("effective time %.0f %%" % (100 * min(ratios)))


class Pause(cluster.Run):
    """Stops a task for a while, without killing it."""

    def __init__(self, name, step, seconds, **more):
        super().__init__(**more)
        self._name, self._step, self._seconds, self.done = name, step, seconds, False

    def on_step(self, step):
        if not self.done and step >= self._step:
            self.done = True
            self.kill(self._name, 19)  # SIGSTOP
            self.note_fault(self._name, "pause")
            self.kills.append(self._name)
            self.say("paused %s for %.1f s" % (self._name, self._seconds))
            threading.Timer(self._seconds, self.kill, [self._name, 18]).start()  # SIGCONT


def zombie(result, tier):
    """Tasks that stand still longer than it takes to be given up, and come back; a chief comes back to its successor."""
    rng = random.Random("%s %d" % (result.name, result.seed))
    golden = cluster.golden()
    refused = 0
    for number in range({"smoke": 1, "commit": 3, "nightly": 40, "release": 200}[tier]):
        kind = ("chief", "ps/%d" % rng.randrange(2), "worker/%d" % rng.randrange(1, 3))[number % 3]
        step = rng.randrange(12, 30)
        if kind != "chief":
            run = Pause(kind, step, rng.uniform(11, 16), ttl=3 * ttl(tier))  # longer than detection
            why = run.why_not(golden)
            result.count(run)
            result.trial(why, faults=len(run.kills))
            continue
        with Proxy() as proxy:
            run = cluster.TwoChiefs(step, rng.uniform(1, 12), 3, proxy, steps=400, ttl=3 * ttl(tier))
            why = run.why_not(cluster.golden(steps=400))
            result.count(run)
            ending = "\n".join(run.zombie_lines[-3:])
            if why is None and "another chief has taken over" in ending:
                refused += 1
            elif why is None:
                why = "the old chief ended with %s: %s" % (run.zombie_code, ending)
            result.trial(why, faults=int(bool(run.woken)))
    result.notes.append("old chiefs refused %d, calls of theirs %d, all refused" % (refused, result.counts.get("stale", 0)))
