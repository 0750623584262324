"""LooperThread: calls a function again and again until its Coordinator stops."""
import threading
import time

from sluice.train._coordinator import Coordinator


class LooperThread(threading.Thread):
    """A thread that calls `run_loop`, by default `target(*args, **kwargs)`, until the coordinator stops.

    Every `timer_interval_secs`, at the start first; None: without a pause. An exception stops all threads of the
    coordinator, whose join raises it.
    """

    def __init__(self, coord, timer_interval_secs, target=None, args=None, kwargs=None):
        if not isinstance(coord, Coordinator):
            raise ValueError("'coord' argument must be a Coordinator: %s" % (coord,))
        if target is None and (args or kwargs):
            raise ValueError("'args' and 'kwargs' argument require that you also pass 'target'")
        super().__init__(daemon=True)
        self._coord, self._interval = coord, timer_interval_secs
        self._function, self._arguments = target, (tuple(args or ()), dict(kwargs or {}))
        coord.register_thread(self)

    @staticmethod
    def loop(coord, timer_interval_secs, target, args=None, kwargs=None):
        """Starts a thread that calls target(*args, **kwargs); returns it."""
        thread = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        thread.start()
        return thread

    def run(self):
        with self._coord.stop_on_exception():
            self.start_loop()
            at = time.monotonic()
            while not (self._coord.should_stop() if self._interval is None
                       else self._coord.wait_for_stop(max(0, at - time.monotonic()))):
                at += self._interval or 0
                self.run_loop()
            self.stop_loop()

    def start_loop(self):
        """Called once, before the first run_loop."""

    def stop_loop(self):
        """Called once, after the last run_loop."""

    def run_loop(self):
        """Called at every turn."""
        if self._function is not None:
            self._function(*self._arguments[0], **self._arguments[1])
