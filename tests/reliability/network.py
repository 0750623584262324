"""R07: bad networks between the tasks, by a proxy on each edge of the cluster."""
import json
import random

import cluster
from proxy import Proxy, Weather
from sluice.distribute.launcher import free_ports

_KILO = 1024


def _weathers(rng):
    """(name, what happens to each direction of each connection)."""
    return [
        ("delay", Weather(delay=0.001 * rng.uniform(1, 20), jitter=0.001 * rng.uniform(0, 10))),
        ("narrow", Weather(bytes_a_second=rng.uniform(1, 50) * 1e6 / 8)),
        ("resets", Weather(cut_after=(50 * _KILO, 500 * _KILO))),
        ("cut inside a frame", Weather(cut_after=(2 * _KILO, 200 * _KILO), reset=False)),
        ("half open", Weather(pause_after=(20 * _KILO, 200 * _KILO), pause=rng.uniform(3, 15))),
        ("delay and resets", Weather(delay=0.002, jitter=0.01, cut_after=(100 * _KILO, 400 * _KILO))),
    ]


class Edges(cluster.Run):
    """A run whose tasks reach each other through proxies, one for each pair and direction."""

    def __init__(self, weather, seed, **more):
        super().__init__(environ={"SLUICE_TRANSPORT": "grpc"}, **more)  # one connection, by the address that is a proxy's
        self._weather, self._seed, self._proxies = weather, seed, {}
        ports = dict(zip([t.name for t in self.tasks], free_ports("localhost", len(self.tasks))))
        self._own = ports
        for a in ports:
            for b in ports:
                if a != b:
                    self._proxies[a, b] = Proxy(weather, seed="%s %s %s" % (seed, a, b))
                    self._proxies[a, b].lead_to(ports[b])

    def _environ_of(self, task):
        environ = super()._environ_of(task)
        config = json.loads(environ["TF_CONFIG"])
        for job, addresses in config["cluster"].items():
            for i in range(len(addresses)):
                other = "%s/%d" % (job, i)
                port = self._own[other] if other == task.name else self._proxies[task.name, other].port
                addresses[i] = "localhost:%d" % port
        return dict(environ, TF_CONFIG=json.dumps(config))

    def held(self, task):
        return cluster.in_words(cluster.top.ask("localhost:%d" % self._own[task.name], 5))

    @property
    def faults(self):
        return sum(p.faults for p in self._proxies.values())

    def close(self):
        for proxy in self._proxies.values():
            proxy.close()


def bad_network(result, tier):
    """Training over a bad network ends, with the weights of an undisturbed run."""
    rng = random.Random("R07 %d" % result.seed)
    golden = cluster.golden()
    for number in range({"smoke": 1, "commit": 6, "nightly": 80, "release": 400}[tier]):
        name, weather = _weathers(rng)[number % 6]
        run = Edges(weather, rng.randrange(1 << 30), deadline=240, ttl=15 if tier != "release" else 60)
        try:
            why = run.why_not(golden)
        finally:
            run.close()
        result.count(run)
        result.trial(why and "%s (%s): %s" % (name, weather, why), faults=run.faults or 1)
        result.took(run.seconds, "run")
