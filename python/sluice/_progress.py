"""A progress bar that stays readable everywhere: a line that is redrawn on a terminal, one line now and then elsewhere."""
import os
import shutil
import sys
import time


class progress:  # pylint: disable=invalid-name
    """Shows how far a loop is, how fast, and how long it will take.

        for batch in sl.progress(batches):
            ...

        with sl.progress(total=60000, label="epoch 1", unit="images") as bar:
            bar.update(256, loss=0.41, accuracy=0.86)

    On a terminal the line is redrawn at most ten times a second, in colour unless NO_COLOR is set. Elsewhere (a log
    file, a pipe) a plain line is printed every `interval` seconds and at the end.
    """

    def __init__(self, iterable=None, total=None, label="", unit="it", initial=0, interval=10.0, file=None,
                 disable=False, **shown):
        if total is None and hasattr(iterable, "__len__"):
            total = len(iterable)
        self._iterable, self.total, self.label, self.unit = iterable, total, label, unit
        self.n = self._initial = initial
        self._file = file or sys.stderr
        self._terminal = bool(getattr(self._file, "isatty", lambda: False)()) and os.environ.get("TERM") != "dumb"
        self._colour = self._terminal and not os.environ.get("NO_COLOR")
        self._gap = 0.1 if self._terminal else interval
        self._shown = dict(shown)
        self._disable = disable
        self._start = time.monotonic()
        self._last = self._start if not self._terminal else 0.0
        self._closed = False
        self._width = 0

    def __iter__(self):
        try:
            for item in self._iterable:
                yield item
                self.update(1)
        finally:
            self.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def update(self, n=1, **shown):
        """Counts n more items; keyword arguments are shown after the bar."""
        self.n += n
        self._shown.update(shown)
        now = time.monotonic()
        if now - self._last >= self._gap:
            self._last = now
            self._show()

    def set_postfix(self, **shown):
        """Sets what is shown after the bar."""
        self._shown.update(shown)

    def close(self):
        """Shows the final state and ends the line."""
        if self._closed:
            return
        self._closed = True
        self._show()
        if self._terminal and not self._disable:
            self._file.write("\n")
            self._file.flush()

    @property
    def rate(self):
        """Items per second since the start."""
        return (self.n - self._initial) / max(time.monotonic() - self._start, 1e-9)

    def _show(self):
        if self._disable:
            return
        text = self.text()
        if self._terminal:
            width = shutil.get_terminal_size((80, 24)).columns - 1
            text = text[:width]
            padding = " " * max(0, self._width - len(text))
            self._width = len(text)
            if self._colour:
                text = text.replace("█", "\033[32m█", 1)
                last = text.rfind("█") + 1
                text = text[:last] + "\033[0m" + text[last:] if last else text
            self._file.write("\r" + text + padding)
        else:
            self._file.write(text + "\n")
        self._file.flush()

    def text(self):
        """The line as plain text."""
        parts = [self.label] if self.label else []
        if self.total:
            done = min(self.n / self.total, 1.0)
            if self._terminal:
                cells = int(done * 20)
                parts.append("█" * cells + "·" * (20 - cells))
            parts.append("%3d%%" % (100 * done))
            parts.append("%d/%d" % (self.n, self.total))
        else:
            parts.append("%d" % self.n)
        for name, value in self._shown.items():
            parts.append("%s %s" % (name, "%.4g" % value if isinstance(value, float) else value))
        rate = self.rate
        parts.append("%s %s/s" % (_short(rate), self.unit))
        if self._closed or not self.total:
            parts.append("%s" % _clock(time.monotonic() - self._start))
        elif rate > 0:
            parts.append("%s left" % _clock(max(self.total - self.n, 0) / rate))
        return "  ".join(parts)


def _short(value):
    return "%.0f" % value if value >= 100 else "%.3g" % value


def _clock(seconds):
    seconds = int(seconds + 0.5)
    hours, rest = divmod(seconds, 3600)
    return "%d:%02d:%02d" % (hours, rest // 60, rest % 60) if hours else "%d:%02d" % (rest // 60, rest % 60)
