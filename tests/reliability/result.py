"""What one test of the bench found: counts, the slowest recovery, and a way to repeat each failure."""
import dataclasses


def bound(trials, lost):
    """The failure rate that is exceeded with a probability of 5 % at most, after so many trials of which none failed.

    It is 1 - 0.05 ** (1 / trials), which the rule of three writes as 3 / trials when there are many. None when it says nothing.
    """
    return 1 - 0.05 ** (1 / trials) if trials and not lost else None


@dataclasses.dataclass
class Result:
    """Counts of one test. A trial is one chance to fail; a fault is what was really done to the system."""
    name: str
    title: str
    seed: int
    trials: int = 0
    faults: int = 0
    survived: int = 0
    lost: int = 0
    worst: float = 0.0         # seconds
    worst_is: str = ""         # of what
    seconds: float = 0.0
    skipped: str = ""          # why it did not run
    counts: dict = dataclasses.field(default_factory=dict)  # of what the histories of the runs have
    notes: list = dataclasses.field(default_factory=list)
    failures: list = dataclasses.field(default_factory=list)

    def trial(self, why=None, faults=1):
        """Counts a trial with so many faults: survived, or lost when there is a reason."""
        self.trials += 1
        self.faults += faults
        if why is None:
            self.survived += 1
        else:
            self.lost += 1
            self.failures.append(" ".join(str(why).split())[:2000])

    def count(self, run):
        """Adds what the history of a run has."""
        for name, number in run.counts.items():
            self.counts[name] = self.counts.get(name, 0) + number

    def took(self, seconds, what):
        """Notes how long something took; the longest is reported."""
        if seconds > self.worst:
            self.worst = seconds
        self.worst_is = what

    def repro(self):
        return "./dev test reliability --only %s --seed %d" % (self.name, self.seed)

    def line(self):
        """The one line of the report."""
        head = "%s  %-22s" % (self.name, self.title)
        if self.skipped:
            return "%s skipped: %s" % (head, self.skipped)
        limit = bound(self.trials, self.lost)
        text = "%s trials %-5d faults %-5d survived %-5d lost %-3d" % (head, self.trials, self.faults, self.survived, self.lost)
        if self.worst_is:
            text += "  worst %s %.1f s" % (self.worst_is, self.worst)
        text += "  bound %s" % ("none" if limit is None else "< %.2g %%" % (100 * limit))
        return "%s  seed %d%s" % (text, self.seed, "".join("  " + note for note in self.notes))

    def as_json(self):
        return dict(dataclasses.asdict(self), bound=bound(self.trials, self.lost), repro=self.repro())
