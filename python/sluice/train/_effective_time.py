"""Where the time of a training goes: into steps, or lost to failures."""
import collections
import os
import time

from sluice import _wire
from sluice._native import _sluice

LOSSES = ("detect", "restart", "restore", "reexecute")


class EffectiveTime:
    """Splits the time since a training began, as its MonitoredSession sees it.

        productive   the loop of steps that counted, with what the program does between them
        detect       from the end of the last step that counted until the loss of a server was known
        restart      until there was a session again, and since the process was lost, where a launcher started it again; also
                     what a step took beyond the usual when it stood still for long, since then it waits for another
                     task that was lost (more than ten times the median of the steps before it, and a second)
        restore      of that, reading the checkpoint
        reexecute    steps that had been made before, and were undone by the restore

    What is left of `wall` is the beginning: until there was a session for the first time.
    `ratio` is productive / wall. `text()` says it in a line. Other processes see it in `python3 -m sluice top`.
    """

    def __init__(self, clock=time.monotonic, environ=None, tell=True):
        self._clock, self._tell, self._told = clock, tell, None
        self.productive = self.detect = self.restart = self.restore = self.reexecute = 0.0
        self.failures = 0
        self._reached = self._at = None  # the highest step that was seen, and where the session is
        self._begin = self._last = clock()
        self._opened = False
        self._usual, self._beyond = collections.deque(maxlen=64), 0.0  # what steps take; what the last one took too long
        self._failed = False  # the session that is opened now takes the place of one that was lost
        environ = os.environ if environ is None else environ
        try:
            down = float(environ.get("SLUICE_DOWN_SECONDS", ""))
        except ValueError:
            down = None
        if down is not None:  # this process is the next life of one that was lost
            self.failures, self._failed = 1, True
            self.restart = max(0.0, down)
            self._begin -= self.restart

    # What the session tells.
    def restored(self, seconds):
        """Part of opening a session was reading a checkpoint."""
        if self._failed:
            self.restore += seconds
            self.restart -= seconds

    def opened(self, step=None):
        """There is a session, at global step `step`."""
        now = self._clock()
        if self._failed:
            self.restart += now - self._last
        self._at, self._opened, self._failed, self._last = step, True, False, now
        self.publish()

    def ran(self, seconds):
        """A step took so long in the runtime, without the hooks around it."""
        self._beyond = 0.0
        if seconds > 1 and len(self._usual) >= 10:
            median = sorted(self._usual)[len(self._usual) // 2]
            if seconds > 10 * median:
                self._beyond = seconds - median
                return
        self._usual.append(seconds)

    def stepped(self, step=None):
        """A step has ended well; `step` is the global step that it saw, when it is known."""
        now = self._clock()
        if self._beyond:
            self.restart += self._beyond
            self._last += self._beyond
            self.failures += 1
            self._beyond = 0.0
        if step is not None:
            self._at = step
        elif self._at is not None:
            self._at += 1
        again = self._reached is not None and self._at is not None and self._at <= self._reached
        if again:
            self.reexecute += now - self._last
        else:
            self.productive += now - self._last
            self._reached = self._at
        self._last = now
        if self._told is None or now - self._told >= 1:
            self.publish()

    def failed(self):
        """A server was lost, which is known now."""
        if not self._opened:
            return  # nothing was lost but time to begin
        now = self._clock()
        self._beyond = 0.0
        self.failures += 1
        self.detect += now - self._last
        self._last, self._failed = now, True
        self.publish()

    # What others ask.
    @property
    def wall(self):
        return self._clock() - self._begin

    @property
    def ratio(self):
        return self.productive / self.wall if self.wall > 0 else 0.0

    def text(self):
        return "effective time: %.1f %% of %.1f s; lost in %d failure%s: detecting %.1f s, restarting %.1f s, restoring %.1f s, " \
            "re-executing %.1f s" % (100 * self.ratio, self.wall, self.failures, "" if self.failures == 1 else "s",
                                     self.detect, self.restart, self.restore, self.reexecute)

    def publish(self):
        """Makes the numbers known to who asks the server of this process."""
        self._told = self._clock()
        if self._tell:
            _sluice.set_effective_time(_wire.encode(
                (1, self.wall), (2, self.productive), (3, self.detect), (4, self.restart), (5, self.restore),
                (6, self.reexecute), (7, self.failures)))
