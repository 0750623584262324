"""Decisions of the launcher that need no processes: the budget of restarts, and who is started, given up and replaced."""
import io
import json
import signal

import pytest

from sluice.distribute.launcher import Launcher, _count


class Process:
    """A process that has ended with a code."""

    def __init__(self, code):
        self.returncode, self.stdout = code, io.BytesIO()


class Output(io.BytesIO):
    def isatty(self):
        return False


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def launcher(jobs, **options):
    made = Launcher(jobs, ["true"], output=Output(), **options)
    made._drain = lambda task: None
    return made


def end(launcher, name, code=1):
    """What becomes of it when a task ends so: the launcher's exit code, or None when it goes on."""
    task = next(t for t in launcher.tasks if t.name == name)
    task.process, task.start_at = Process(code), None
    return launcher._ended(task)


def lines(launcher):
    return launcher._output.getvalue().decode().splitlines()


def test_a_task_may_be_started_again_so_often_within_the_time():
    clock = Clock()
    made = launcher({"worker": 1}, restarts=10, within=600, clock=clock)
    for i in range(30):  # one failure a minute, for half an hour
        clock.now += 61
        assert end(made, "worker/0") is None, i
    clock.now += 601
    for i in range(10):
        clock.now += 1
        assert end(made, "worker/0") is None
    assert end(made, "worker/0", -signal.SIGKILL) == 75
    assert lines(made)[-1] == ("launch: worker/0 was ended by SIGKILL and was started again 10 times within 600 s, which is all it "
                               "may be; giving up")


def test_pauses_before_restarts_grow_and_start_anew_when_the_failures_are_old():
    clock, pauses = Clock(), []
    made = launcher({"worker": 1}, restarts=10, clock=clock)
    for wait in (1, 1, 1, 1, 1, 1, 700):
        clock.now += wait
        end(made, "worker/0")
        pauses.append(made.tasks[0].start_at or 0)
        pauses[-1] -= clock.now
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 0.25]


def test_a_worker_that_fails_for_good_is_given_up_while_enough_are_left():
    made = launcher({"ps": 1, "worker": (2, 4)})
    assert [t.name for t in made.tasks] == ["ps/0", "worker/0", "worker/1"]
    for job in ("worker", "ps", "worker", "worker"):
        made._add(job)
    assert [t.name for t in made.tasks] == ["ps/0", "worker/0", "worker/1", "worker/2", "worker/3"]
    assert end(made, "worker/1", 3) is None and end(made, "worker/3", -9) is None
    assert lines(made)[-1] == "launch: worker/3 was ended by SIGKILL and is not started again; going on with 2 of job worker"
    made._add("worker")
    assert [t.name for t in made.tasks][-1] == "worker/1"  # the first place that is free
    assert end(made, "worker/2", 3) is None
    assert end(made, "worker/1", 3) == 3  # one would be left


def test_the_chief_and_the_servers_are_never_given_up():
    assert end(launcher({"ps": 1, "worker": (1, 3)}), "worker/0", 4) == 4
    assert end(launcher({"ps": 1, "worker": (1, 3)}), "ps/0", 4) == 4


def test_tasks_of_a_changing_cluster_are_told_how_few_are_enough():
    made = launcher({"ps": 1, "worker": (2, 4)})
    config = json.loads(made._environ_of(made.tasks[1])["TF_CONFIG"])
    assert config["least"] == {"worker": 2} and len(config["cluster"]["worker"]) == 4
    environ = launcher({"ps": 1, "worker": (2, 4)}, etcd="etcd://h:1/x")._environ_of(made.tasks[1])
    assert "TF_CONFIG" not in environ and json.loads(environ["SLUICE_ETCD_JOBS"]) == {"ps": [1, 1], "worker": [2, 4]}


@pytest.mark.parametrize("text, count", [("3", 3), ("2..4", (2, 4)), ("1..1", (1, 1))])
def test_a_number_of_workers_may_be_a_range(text, count):
    assert _count(text) == count


@pytest.mark.parametrize("text", ["4..2", "0..2", "x", "2..", ""])
def test_a_range_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError):
        _count(text)
