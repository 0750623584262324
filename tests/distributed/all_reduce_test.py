"""All-reduce data parallelism over processes: the same bits on every rank and in every run, errors that name the rank, recovery."""
import os
import re
import sys

import numpy as np
import pytest

import all_reduce_program as program
import sluice as sl
from exact_test import Output, run_in_time
from sluice.distribute.launcher import Launcher

PROGRAM = program.__file__
STEPS = 30


def train(folder, ranks, kill=None, environment=None):
    """(the digest that every rank printed, all output); rank 1 is killed when rank 0 has done step `kill`."""
    folder.mkdir(exist_ok=True)
    output, weights, killed = Output(), {}, []

    def watch(launcher, task, line):
        if line.startswith("weights "):
            weights[task] = line
        step = re.match(r"step (\d+)", line)
        if kill is not None and not killed and task == "worker/0" and step and int(step.group(1)) >= kill:
            killed.append(launcher.kill("worker/1"))

    launcher = Launcher({"worker": ranks}, [sys.executable, "-u", PROGRAM, str(folder), str(STEPS)], restarts=4,
                        output=output, watch=watch, environ=dict(os.environ, **(environment or {})))
    code = run_in_time(launcher)
    text = output.getvalue().decode()
    assert code == 0, "exit code %d\n%s" % (code, text)
    assert bool(killed) == (kill is not None), text
    assert len(weights) == ranks and len(set(weights.values())) == 1, text
    return weights["worker/0"], text


def one_process(ranks):
    """The variables after as many steps on the batches of all ranks together, from the same start."""
    with sl.Graph().as_default(), sl.Session() as session:
        x, y, loss = program.build(0)
        step = sl.train.get_or_create_global_step()
        train_op = sl.train.MomentumOptimizer(0.1, 0.9).minimize(loss, global_step=step)
        session.run(sl.global_variables_initializer())
        for now in range(STEPS):
            parts = [program.batch(now, r) for r in range(ranks)]
            session.run(train_op, {x: np.concatenate([p[0] for p in parts]), y: np.concatenate([p[1] for p in parts])})
        return {v.op.name.replace("/", "."): session.run(v) for v in sl.global_variables()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return {}


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_end_with_the_same_bits_in_every_run_and_with_the_weights_of_one_process(tmp_path, undisturbed, ranks):
    first, _ = train(tmp_path / "first", ranks)
    second, _ = train(tmp_path / "second", ranks)
    assert first == second
    undisturbed[ranks] = first
    wanted = one_process(ranks)
    got = np.load(str(tmp_path / "first" / "final-0.npz"))
    assert sorted(got.files) == sorted(wanted)
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("ranks, environment", [
    (2, {"SLUICE_TRANSPORT": "grpc"}), (2, {"SLUICE_TRANSPORT": "tcp"}), (4, {"RANKS_PER_HOST": "2"}),
], ids=lambda x: "-".join(x) if isinstance(x, dict) else str(x))
def test_other_ways_between_ranks_give_the_weights_of_one_process(tmp_path, ranks, environment):
    train(tmp_path, ranks, environment=environment)
    wanted, got = one_process(ranks), np.load(str(tmp_path / "final-0.npz"))
    for name in wanted:
        np.testing.assert_allclose(got[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_killed_rank_is_named_and_training_recovers_with_the_same_bits(tmp_path, undisturbed):
    if 2 not in undisturbed:
        undisturbed[2] = train(tmp_path / "undisturbed", 2)[0]
    weights, text = train(tmp_path / "disturbed", 2, kill=14)
    assert weights == undisturbed[2], text
    assert re.search(r"worker/0.*\n?.*task:1", text), text
