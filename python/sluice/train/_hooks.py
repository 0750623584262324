"""The hooks that come with the package: logging, stopping, saving, summaries, traces."""
import os
import time

import numpy as np

import sluice as sl
from sluice import _wire
from sluice import errors
from sluice.train._global_step import get_global_step
from sluice.train._graph_io import write_graph
from sluice.train._session_epoch import LeaseUnknownError, SessionEpoch
from sluice.train.session_run_hook import SessionRunArgs, SessionRunHook


class SecondOrStepTimer:
    """Fires every so many steps or seconds."""

    def __init__(self, every_secs=None, every_steps=None):
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._secs, self._steps = every_secs, every_steps
        self.reset()

    def reset(self):
        self._step = self._time = None

    def should_trigger_for_step(self, step):
        """Whether it fires at this step."""
        if self._step is None:
            return True
        if self._step == step:
            return False
        if self._secs is not None:
            return time.time() >= self._time + self._secs
        return step >= self._step + self._steps

    def update_last_triggered_step(self, step):
        """Notes that it fired; returns (seconds, steps) since the time before, or (None, None)."""
        now = time.time()
        elapsed = (None, None) if self._step is None else (now - self._time, step - self._step)
        self._time, self._step = now, step
        return elapsed

    def last_triggered_step(self):
        return self._step


def _required_global_step(hook):
    step = get_global_step()
    if step is None:
        raise RuntimeError("Global step should be created to use %s." % type(hook).__name__)
    return step


class LoggingTensorHook(SessionRunHook):
    """Logs tensors (a list, or {label: tensor}) every so many steps or seconds."""

    def __init__(self, tensors, every_n_iter=None, every_n_secs=None, at_end=False, formatter=None):
        if not at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError("either at_end and/or exactly one of every_n_iter and every_n_secs must be provided.")
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError("invalid every_n_iter=%s." % every_n_iter)
        self._tensors = tensors if isinstance(tensors, dict) else {getattr(t, "name", t): t for t in tensors}
        self._timer = None if every_n_iter is None and every_n_secs is None \
            else SecondOrStepTimer(every_n_secs, every_n_iter)
        self._at_end, self._formatter = at_end, formatter
        self._count = 0

    def begin(self):
        graph = sl.get_default_graph()
        self._current = {k: graph.as_graph_element(t) for k, t in self._tensors.items()}

    def before_run(self, run_context):
        self._fire = self._timer is not None and self._timer.should_trigger_for_step(self._count)
        return SessionRunArgs(self._current) if self._fire else None

    def after_run(self, run_context, run_values):
        if self._fire:
            seconds, _ = self._timer.update_last_triggered_step(self._count)
            self._log(run_values.results, seconds)
        self._count += 1

    def end(self, session):
        if self._at_end:
            self._log(session.run(self._current), None)

    def _log(self, values, seconds):
        if self._formatter is not None:
            sl.logging.info(self._formatter(values))
        else:
            text = ", ".join("%s = %s" % (k, values[k]) for k in self._tensors)
            sl.logging.info("%s%s", text, "" if seconds is None else " (%.3f sec)" % seconds)


class StopAtStepHook(SessionRunHook):
    """Asks for a stop after `num_steps` more steps, or at the global step `last_step`."""

    def __init__(self, num_steps=None, last_step=None):
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps, self._last_step = num_steps, last_step

    def begin(self):
        self._step = _required_global_step(self)

    def after_create_session(self, session, coord):
        if self._last_step is None:
            self._last_step = int(session.run(self._step)) + self._num_steps

    def before_run(self, run_context):
        return SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        # The step was fetched beside its own update: read it again before deciding.
        if int(run_values.results) + 1 >= self._last_step and \
                int(run_context.session.run(self._step)) >= self._last_step:
            run_context.request_stop()


class NanLossDuringTrainingError(RuntimeError):
    """The loss became NaN."""

    def __str__(self):
        return "NaN loss during training."


class NanTensorHook(SessionRunHook):
    """Stops, with an error unless told otherwise, when a loss is NaN."""

    def __init__(self, loss_tensor, fail_on_nan_loss=True):
        self._loss, self._fail = loss_tensor, fail_on_nan_loss

    def before_run(self, run_context):
        return SessionRunArgs(self._loss)

    def after_run(self, run_context, run_values):
        if np.any(np.isnan(run_values.results)):
            if self._fail:
                sl.logging.error("Model diverged with loss = NaN.")
                raise NanLossDuringTrainingError
            sl.logging.warning("Model diverged with loss = NaN.")
            run_context.request_stop()


class CheckpointSaverListener:
    """What wants to know of checkpoints."""

    def begin(self):
        pass

    def before_save(self, session, global_step_value):
        pass

    def after_save(self, session, global_step_value):
        """Returns True to ask for a stop."""

    def end(self, session, global_step_value):
        pass


class CheckpointSaverHook(SessionRunHook):
    """Saves a checkpoint at the start, every so many steps or seconds, and at the end.

    Each session takes the next epoch of the folder, so a chief that was replaced can no longer save there: it gets a
    FailedPreconditionError that names its successor.

    A disk that is full or fails, or a lease that cannot be checked now, does not end the training: the error is logged, and
    the next save tries again. What the training begins and ends with must be saved.
    """

    def __init__(self, checkpoint_dir, save_secs=None, save_steps=None, saver=None, checkpoint_basename="model.ckpt",
                 scaffold=None, listeners=None, save_graph_def=True):
        if saver is not None and scaffold is not None:
            raise ValueError("You cannot provide both saver and scaffold.")
        self._dir, self._path = checkpoint_dir, os.path.join(checkpoint_dir, checkpoint_basename)
        self._saver, self._scaffold = saver, scaffold
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._listeners = list(listeners or [])
        self._save_graph_def = save_graph_def
        self._unsaved = None  # the last step that could not be saved, when none was saved since
        self.session_epoch = None  # set by who takes the epoch before restoring

    def begin(self):
        self._step = _required_global_step(self)
        self._writer = sl.summary.FileWriterCache.get(self._dir)
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session, coord):
        step = int(session.run(self._step))
        if self.session_epoch is None:
            epoch = SessionEpoch(self._dir)
            epoch.acquire()
            self._get_saver().session_epoch = epoch
        if self._save_graph_def:
            _write_graph(session.graph, self._dir)
        self._save(session, step)
        self._timer.update_last_triggered_step(step)

    def before_run(self, run_context):
        return SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        if self._timer.should_trigger_for_step(int(run_values.results) + 1):
            step = int(run_context.session.run(self._step))
            if self._timer.should_trigger_for_step(step):
                self._timer.update_last_triggered_step(step)
                if self._save(run_context.session, step, must=False):
                    run_context.request_stop()

    def end(self, session):
        step = int(session.run(self._step))
        deadline = time.monotonic() + _LEASE_WAIT_SECS
        while step != self._timer.last_triggered_step() or self._unsaved is not None:
            try:
                self._save(session, step)
                break
            except LeaseUnknownError as e:
                if time.monotonic() > deadline:
                    raise
                sl.logging.warning("The last checkpoint waits: %s", e)
                time.sleep(1.0)
        for listener in self._listeners:
            listener.end(session, step)

    def _save(self, session, step, must=True):
        """Saves; whether a listener asks for a stop."""
        sl.logging.info("Saving checkpoints for %d into %s.", step, self._path)
        for listener in self._listeners:
            listener.before_save(session, step)
        try:
            self._get_saver().save(session, self._path, global_step=step)
        except (errors.ResourceExhaustedError, errors.UnknownError, errors.DataLossError, OSError, LeaseUnknownError) as e:
            if must:
                raise
            # A disk that is full or fails, or nobody to say who the chief is: the older checkpoints are whole, and the next
            # save may succeed.
            sl.logging.error("No checkpoint of step %d, training goes on: %s", step, e)
            self._unsaved = step
            return False
        self._unsaved = None
        self._writer.add_session_log(_session_log(_CHECKPOINT, self._path), step)
        return any([listener.after_save(session, step) for listener in self._listeners])

    def _get_saver(self):
        if self._saver is None:
            if self._scaffold is not None:
                self._saver = self._scaffold.saver
            else:
                savers = sl.get_collection(sl.GraphKeys.SAVERS)
                if len(savers) != 1:
                    raise RuntimeError("CheckpointSaverHook needs a saver, a scaffold, or exactly one item in the "
                                       "collection SAVERS, which has %d" % len(savers))
                self._saver = savers[0]
        return self._saver


_LEASE_WAIT_SECS = 300.0
_START, _CHECKPOINT = 1, 3  # of SessionLog.SessionStatus


def _session_log(status, path=None):
    return _wire.encode((1, status), (2, path))


def _write_graph(graph, folder):
    try:
        write_graph(graph, folder, "graph.pbtxt")
    except ImportError as e:
        sl.logging.log_first_n(sl.logging.WARN, "graph.pbtxt is not written: %s", 1, e)


class SummarySaverHook(SessionRunHook):
    """Writes summaries every so many steps or seconds."""

    def __init__(self, save_steps=None, save_secs=None, output_dir=None, summary_writer=None, scaffold=None,
                 summary_op=None):
        if (scaffold is None) == (summary_op is None):
            raise ValueError("Exactly one of scaffold or summary_op must be provided.")
        self._summary_op, self._scaffold = summary_op, scaffold
        self._writer, self._dir = summary_writer, output_dir
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self):
        if self._writer is None and self._dir:
            self._writer = sl.summary.FileWriterCache.get(self._dir)
        self._step = _required_global_step(self)
        self._next = None

    def before_run(self, run_context):
        self._fire = self._next is None or self._timer.should_trigger_for_step(self._next)
        fetches = {"step": self._step}
        summary = self._summary_op if self._summary_op is not None else self._scaffold.summary_op
        if self._fire and summary is not None:
            fetches["summary"] = summary
        return SessionRunArgs(fetches)

    def after_run(self, run_context, run_values):
        step = int(run_values.results["step"]) + 1
        if self._writer and self._fire:
            if self._next is None:
                self._writer.add_session_log(_session_log(_START), step)
            self._timer.update_last_triggered_step(step)
            summaries = run_values.results.get("summary", [])
            for summary in summaries if isinstance(summaries, (list, tuple)) else [summaries]:
                self._writer.add_summary(summary, step)
        self._next = step + 1

    def end(self, session):
        if self._writer:
            self._writer.flush()


class StepCounterHook(SessionRunHook):
    """Logs, and writes as a summary, how many steps a second are made."""

    def __init__(self, every_n_steps=100, every_n_secs=None, output_dir=None, summary_writer=None):
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._writer, self._dir = summary_writer, output_dir

    def begin(self):
        if self._writer is None and self._dir:
            self._writer = sl.summary.FileWriterCache.get(self._dir)
        self._step = _required_global_step(self)
        self._tag = self._step.op.name + "/sec"

    def after_create_session(self, session, coord):
        self._timer.reset()  # a restored session may begin at an earlier step

    def before_run(self, run_context):
        return SessionRunArgs(self._step)

    def after_run(self, run_context, run_values):
        step = int(run_values.results) + 1
        if not self._timer.should_trigger_for_step(step):
            return
        seconds, steps = self._timer.update_last_triggered_step(step)
        if seconds:
            sl.logging.info("%s: %g", self._tag, steps / seconds)
            if self._writer is not None:
                value = _wire.encode((1, self._tag), (2, _wire.Float(steps / seconds)))
                self._writer.add_summary(_wire.encode((1, value)), step)


class GlobalStepWaiterHook(SessionRunHook):
    """Holds a worker back until the others have made the global step reach `wait_until_step`, so that workers start
    one after the other. Waits at most `max_wait_secs`."""

    def __init__(self, wait_until_step, max_wait_secs=7200):
        self._until, self._max_wait_secs = wait_until_step, max_wait_secs

    def begin(self):
        self._started = self._until <= 0
        self._step = _required_global_step(self)

    def before_run(self, run_context):
        if self._started:
            return
        sl.logging.info("Waiting for global step %d before starting training.", self._until)
        deadline, logged = time.monotonic() + self._max_wait_secs, 0
        while True:
            step = int(run_context.session.run(self._step))
            if step >= self._until:
                self._started = True
                return
            if step - logged > 1000:
                sl.logging.info("Waiting for global step %d before starting training. Current step is %d.",
                                self._until, step)
                logged = step
            if time.monotonic() > deadline:
                raise errors.DeadlineExceededError(
                    None, None, "the global step reached %d of the %d to wait for within %d s"
                    % (step, self._until, self._max_wait_secs))
            time.sleep(0.5)


class FinalOpsHook(SessionRunHook):
    """Runs tensors once at the end."""

    def __init__(self, final_ops, final_ops_feed_dict=None):
        self._ops, self._feeds = final_ops, final_ops_feed_dict
        self.final_ops_values = None

    def end(self, session):
        if self._ops is not None:
            self.final_ops_values = session.run(self._ops, self._feeds)


class FeedFnHook(SessionRunHook):
    """Feeds what a function gives, in every step."""

    def __init__(self, feed_fn):
        self.feed_fn = feed_fn

    def before_run(self, run_context):
        return SessionRunArgs(None, self.feed_fn())


class ProfilerHook(SessionRunHook):
    """Writes a Chrome trace (timeline-STEP.json) of a step every so many steps or seconds."""

    def __init__(self, save_steps=None, save_secs=None, output_dir="", show_dataflow=True, show_memory=False):
        self._dir, self._show = output_dir, (show_dataflow, show_memory)
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self):
        self._step = _required_global_step(self)
        self._next = None

    def before_run(self, run_context):
        self._fire = self._next is not None and self._timer.should_trigger_for_step(self._next)
        options = sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE) if self._fire else None
        return SessionRunArgs(self._step, options=options)

    def after_run(self, run_context, run_values):
        step = int(run_values.results) + 1
        if self._next is None:
            self._timer.update_last_triggered_step(step)
        if self._fire:
            self._timer.update_last_triggered_step(step)
            path = os.path.join(self._dir, "timeline-%d.json" % step)
            with open(path, "w", encoding="utf-8") as f:
                f.write(sl.timeline.Timeline(run_values.run_metadata.step_stats)
                        .generate_chrome_trace_format(*self._show))
        self._next = step + 1
