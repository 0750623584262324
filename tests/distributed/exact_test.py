"""Whatever task is killed, and when: training goes on by itself and ends with the bits of an undisturbed run."""
import io
import os
import random
import re
import signal
import sys
import threading

import pytest

from sluice.distribute.launcher import Launcher

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "exact_program.py")
STEPS = 60
DEADLINE = 120


class Output(io.BytesIO):
    def isatty(self):
        return False


def launcher_of(folder, ps, workers, restarts, steps, watch=None):
    """(a launcher of the program, its output, a list that gets the line with the weights)."""
    output, weights = Output(), []

    def note(launcher, task, line):
        if line.startswith("weights "):
            weights.append(line)
        if watch:
            watch(launcher, task, line)

    command = [sys.executable, "-u", PROGRAM, str(folder), str(steps)]
    return Launcher({"ps": ps, "worker": workers}, command, restarts=restarts, output=output, watch=note), output, weights


def run_in_time(launcher):
    timer = threading.Timer(DEADLINE, launcher.interrupt)
    timer.start()
    try:
        return launcher.run()
    finally:
        timer.cancel()


def train(folder, ps=1, workers=2, kills=(), steps=STEPS):
    """(weights, everything printed) of a run in which the task `kills[i][1]` is killed at step `kills[i][0]`."""
    left = list(kills)

    def watch(launcher, task, line):
        step = re.match(r"step (\d+)", line)
        if step and task == "worker/0" and left and int(step.group(1)) >= left[0][0]:
            launcher.say("killed %s: %s" % (left[0][1], launcher.kill(left[0][1])))
            left.pop(0)

    launcher, output, weights = launcher_of(folder, ps, workers, 8, steps, watch)
    code = run_in_time(launcher)
    text = output.getvalue().decode()
    assert code == 0, "exit code %d\n%s" % (code, text)
    assert not left, "training ended before all kills\n" + text
    assert len(weights) == 1 and weights[0].startswith("weights %d " % steps), text
    return weights[0], text


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return train(tmp_path_factory.mktemp("undisturbed"))[0]


@pytest.mark.parametrize("kills", [
    [(15, "worker/1")], [(25, "ps/0")], [(33, "worker/0")], [(14, "worker/1"), (27, "ps/0"), (38, "worker/0")],
], ids=lambda kills: "+".join(k[1].replace("/", "") for k in kills))
def test_a_killed_task_leaves_no_trace_in_the_weights(tmp_path, undisturbed, kills):
    weights, text = train(tmp_path, kills=kills)
    assert weights == undisturbed, text


@pytest.mark.full
@pytest.mark.parametrize("seed", range(12))
def test_tasks_killed_at_random_leave_no_trace_in_the_weights(tmp_path, undisturbed, seed):
    draw, servers = random.Random(seed), 1 + seed % 2
    tasks = ["worker/0", "worker/1"] + ["ps/%d" % i for i in range(servers)]
    kills = sorted((draw.randrange(1, STEPS - 5), draw.choice(tasks)) for _ in range(draw.randrange(1, 4)))
    weights, text = train(tmp_path, ps=servers, kills=kills)
    assert weights == undisturbed, "killed %s\n%s" % (kills, text)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_kills_at_any_instant_leaves_no_trace_in_the_weights(tmp_path, seed):
    draw, kills, stop = random.Random(seed), [], threading.Event()

    def storm(launcher):
        # Not when the chief has done its work: nobody would give a server that is killed then its variables back.
        while not stop.wait(draw.uniform(0.2, 2.0)) and len(kills) < 12 and not weights:
            for _ in range(draw.choice([1, 1, 1, 2])):  # sometimes two at once, sometimes again while they recover
                name = draw.choice(["ps/0", "ps/1", "worker/0", "worker/1"])
                if launcher.kill(name):
                    kills.append(name)

    launcher, output, weights = launcher_of(tmp_path, 2, 2, restarts=100, steps=4 * STEPS)
    thread = threading.Thread(target=storm, args=(launcher,))
    thread.start()
    code = run_in_time(launcher)
    stop.set()
    thread.join()
    quiet = train(tmp_path / "quiet", ps=2, steps=4 * STEPS)[0]
    assert code == 0 and weights == [quiet], "killed %s\n%s" % (kills, output.getvalue().decode())


@pytest.mark.full
@pytest.mark.parametrize("victim", ["ps/0", "worker/1", "worker/0"])
def test_a_task_that_is_paused_beyond_detection_and_returns_leaves_no_trace_in_the_weights(tmp_path, undisturbed, victim):
    timers = []

    def watch(launcher, task, line):
        if line == "step 20" and task == "worker/0" and not timers:
            launcher.kill(victim, signal.SIGSTOP)
            timers.append(threading.Timer(14, lambda: launcher.kill(victim, signal.SIGCONT)))
            timers[0].start()

    launcher, output, weights = launcher_of(tmp_path, 1, 2, 8, STEPS, watch)
    code = run_in_time(launcher)
    assert timers and code == 0 and weights == [undisturbed], output.getvalue().decode()
