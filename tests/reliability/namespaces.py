"""A network of the bench's own: each task in a network namespace, all joined by a router that loses what it is told to.

It needs root and the kernel's namespaces; `missing()` says why it cannot be had.
"""
import itertools
import os
import subprocess

_numbers = itertools.count()


def _ip(*lines):
    """Runs commands of ip(8) in order; RuntimeError with what it said when one fails."""
    done = subprocess.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError("ip: %s" % " ".join(done.stderr.split()))


def missing():
    """Why there can be no namespaces here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with Network(["a", "b"]) as network:
            network.cut([("a", "b")])
    except (OSError, RuntimeError) as e:
        return "no network namespaces (%s)" % e
    return None


class Network:
    """Hosts by name. Each has an address of its own, which only the others reach."""

    def __init__(self, names):
        self._prefix = "slb%d_%d_" % (os.getpid(), next(_numbers))
        self._numbers = {name: i + 1 for i, name in enumerate(names)}
        self._cuts = {}
        self._router = self._prefix + "r"
        self._made = []
        try:
            for space in [self._router] + [self.space(n) for n in names]:
                _ip("netns add %s" % space)
                self._made.append(space)
            subprocess.run(["ip", "netns", "exec", self._router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"], check=True)
            for name, i in self._numbers.items():
                _ip("link add e%d netns %s type veth peer name r%d netns %s" % (i, self.space(name), i, self._router))
                subprocess.run(["ip", "-n", self.space(name), "-batch", "-"], check=True, text=True, input="""
                    addr add %s/24 dev e%d
                    link set lo up
                    link set e%d up
                    route add default via 10.77.%d.1""" % (self.address(name), i, i, i))
                subprocess.run(["ip", "-n", self._router, "-batch", "-"], check=True, text=True, input="""
                    addr add 10.77.%d.1/24 dev r%d
                    link set r%d up""" % (i, i, i))
        except (OSError, RuntimeError, subprocess.CalledProcessError):
            self.close()
            raise

    def space(self, name):
        """The namespace of a host."""
        return "%s%d" % (self._prefix, self._numbers[name])

    def address(self, name):
        return "10.77.%d.2" % self._numbers[name]

    def cut(self, pairs):
        """From now on nothing comes from the first of each pair to the second; nobody is told."""
        for pair in pairs:
            if pair in self._cuts:
                continue
            self._cuts[pair] = 100 + len(self._cuts)
            self._router_rule("add", pair)

    def heal(self):
        for pair in self._cuts:
            self._router_rule("del", pair)
        self._cuts = {}

    def link(self, name, up):
        """Pulls a host's cable out, or puts it back."""
        subprocess.run(["ip", "-n", self._router, "link", "set", "r%d" % self._numbers[name], "up" if up else "down"], check=True)

    def _router_rule(self, what, pair):
        subprocess.run(["ip", "-n", self._router, "rule", what, "from", self.address(pair[0]), "to", self.address(pair[1]),
                        "blackhole", "pref", str(self._cuts[pair])], check=True)

    def close(self):
        for space in self._made:
            subprocess.run(["ip", "netns", "del", space], check=False)
        self._made = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
