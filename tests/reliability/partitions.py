"""R06: clusters whose network falls apart, one way or both, and comes together again."""
import json
import random
import subprocess
import sys
import threading
import time

import cluster
import history
import namespaces
import network

_PORT = 2222
_BOUND = 11.0  # a step that cannot go on is aborted within so many seconds
_CUT_SECS = 14.0
KINDS = ("full", "one-way", "ps only", "chief isolated", "flapping")


class Partition(cluster.Run):
    """A run that is cut at a step and healed some seconds later. Subclasses have the network."""

    def __init__(self, kind, rng, **more):
        super().__init__(**more)
        self._kind, self._step = kind, rng.randrange(10, 30)
        self._worker, self._ps = "worker/%d" % rng.randrange(1, 3), "ps/%d" % rng.randrange(2)
        self.began = self.ended = None
        self.worst = 0.0

    def pairs(self):
        """The pairs of tasks of which the first no longer reaches the second."""
        names = [t.name for t in self.tasks]
        if self._kind == "one-way":
            return [(self._worker, self._ps)]
        if self._kind == "ps only":
            return [("ps/0", "ps/1"), ("ps/1", "ps/0")]
        alone = "worker/0" if self._kind == "chief isolated" else self._worker
        return [p for n in names if n != alone for p in ((n, alone), (alone, n))]

    @property
    def waits(self):
        """The task whose steps cannot go on."""
        return "worker/0" if self._kind in ("ps only", "chief isolated") else self._worker

    def on_step(self, step):
        if self.began is None and step >= self._step:
            self.began = time.monotonic()
            self.say("cut: %s, %s" % (self._kind, self.pairs()))
            self.note_fault("network", "partition: " + self._kind)
            self.kills.append(self._kind)
            threading.Thread(target=self._flap if self._kind == "flapping" else self._cut_and_heal, daemon=True).start()

    def _cut_and_heal(self):
        self.cut(self.pairs())
        time.sleep(_CUT_SECS)
        self.heal()
        self._healed()

    def _flap(self):
        for _ in range(4):
            self.cut(self.pairs())
            time.sleep(1)
            self.heal()
            time.sleep(1)
        self._healed()

    def _healed(self):
        self.ended = time.monotonic()
        self.say("healed")

    def look_back(self):
        """By the history: steps across the cut were aborted in time."""
        if self.ended is None or self._kind == "flapping":
            return None
        for arrived, answered, _ in history.calls(self.history, cluster.full_name(self.waits), "RunCallable"):
            if arrived > self.ended or (answered is not None and answered < self.began):
                continue
            end = answered if answered is not None else self.ended
            waited = min(end, self.ended) - max(arrived, self.began)
            self.worst = max(self.worst, waited)
            if waited > _BOUND + 1:
                return "a step of %s went on for %.1f s across the cut (%s)" % (self.waits, waited, self._kind)
        return None


class InNamespaces(Partition):
    """Tasks in network namespaces; a router loses what is cut off."""

    def __init__(self, kind, rng, **more):
        super().__init__(kind, rng, environ={"SLUICE_INSECURE_BIND": "1"}, **more)
        self._network = namespaces.Network([t.name for t in self.tasks])

    def _command_of(self, task):
        return ["ip", "netns", "exec", self._network.space(task.name)] + super()._command_of(task)

    def _environ_of(self, task):
        environ = super()._environ_of(task)
        config = json.loads(environ["TF_CONFIG"])
        for job, addresses in config["cluster"].items():
            config["cluster"][job] = ["%s:%d" % (self._network.address("%s/%d" % (job, i)), _PORT) for i in range(len(addresses))]
        return dict(environ, TF_CONFIG=json.dumps(config))

    def held(self, task):
        program = "import sys; sys.path.insert(0, %r); import cluster; print(cluster.in_words(cluster.top.ask(%r, 5)))" % (
            sys.path[0], "%s:%d" % (self._network.address(task.name), _PORT))
        done = subprocess.run(["ip", "netns", "exec", self._network.space(task.name), sys.executable, "-c", program],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60, check=False)
        return done.stdout.strip() if done.returncode == 0 else "no answer"

    def cut(self, pairs):
        if self._kind == "full":  # as when a cable is pulled out
            self._network.link(self._worker, False)
        self._network.cut(pairs)

    def heal(self):
        self._network.heal()
        if self._kind == "full":
            self._network.link(self._worker, True)

    def close(self):
        self._network.close()


class BehindProxies(network.Edges, Partition):
    """Where there are no namespaces: a proxy on each edge keeps back what is cut off."""

    def __init__(self, kind, rng, **more):
        network.Edges.__init__(self, network.Weather(), rng.randrange(1 << 30), kind=kind, rng=rng, **more)

    def cut(self, pairs):
        for a, b in pairs:
            self._proxies[a, b].hold(forward=True)
            self._proxies[b, a].hold(backward=True)

    def heal(self):
        for proxy in self._proxies.values():
            proxy.hold()


def partition(result, tier):
    """The network falls apart; steps across the cut are aborted in time, one epoch commits, training ends with the same bits."""
    rng = random.Random("R06 %d" % result.seed)
    golden = cluster.golden()
    missing = namespaces.missing()
    kind_of_run = BehindProxies if missing else InNamespaces
    for number in range({"smoke": 1, "commit": 5, "nightly": 60, "release": 300}[tier]):
        kind = KINDS[number % len(KINDS)]
        # Servers keep the sessions of masters that they do not hear for longer than a cut.
        run = kind_of_run(kind, rng, ttl=60 if tier == "release" else 16)
        try:
            why = run.why_not(golden)
        finally:
            run.close()
        result.count(run)
        result.trial(why and "%s: %s" % (kind, why), faults=len(run.kills))
        result.took(run.worst, "abort")
    result.notes.append("by proxies: " + missing if missing else "in network namespaces")
