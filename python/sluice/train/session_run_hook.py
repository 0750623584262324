"""What a hook is: code that a MonitoredSession calls around every step.

    class CountSteps(sl.train.SessionRunHook):
        def before_run(self, run_context):
            return sl.train.SessionRunArgs(step)          # fetched with the caller's step
        def after_run(self, run_context, run_values):
            print(run_values.results)

Order: begin (nodes may be added), then for every session after_create_session, before_run and after_run around each
step, and end. A session that is made anew after a failure calls after_create_session again, begin and end not.
"""
import collections

SessionRunArgs = collections.namedtuple("SessionRunArgs", "fetches feed_dict options", defaults=(None, None))
SessionRunValues = collections.namedtuple("SessionRunValues", "results options run_metadata")


class SessionRunContext:
    """What a hook sees of the step: the caller's arguments, the session, and the way to ask for a stop."""

    def __init__(self, original_args, session):
        self.original_args, self.session = original_args, session
        self.stop_requested = False

    def request_stop(self):
        """Makes should_stop() of the monitored session true after this step."""
        self.stop_requested = True


class SessionRunHook:
    """Base of the hooks; every method does nothing."""

    def begin(self):
        """Before the session: nodes may still be added."""

    def after_create_session(self, session, coord):
        """After the session was made, and again after it was made anew."""

    def before_run(self, run_context):
        """Before a step; returns None, or SessionRunArgs with more to fetch and feed."""

    def after_run(self, run_context, run_values):
        """After a step, with the values that before_run asked for."""

    def end(self, session):
        """Before the session is closed, unless an error closes it."""
