"""The examples and a TF1 program, run as their users run them."""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, "python", "examples")
FASHION_MNIST = os.path.join(EXAMPLES, "fashion_mnist.py")


def run(program, *arguments, folder=None, timeout=300):
    """(exit status, output, errors) of a program in a fresh process."""
    done = subprocess.run([sys.executable, program, *map(str, arguments)], capture_output=True, text=True,
                          cwd=folder, timeout=timeout)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name,arguments,expected", [
    ("linear_regression.py", [], r"y = 2\.9\d x \+ (1\.9|2\.0)\d"),
    ("mlp.py", [], r"test accuracy: (1\.0|0\.9)"),
    ("word_embedding.py", ["--steps", "50"], r"IndexedSlices"),
    ("custom_gradient.py", [], r"quantised  \[ 0\.(25|375) +-0\.(5|625|75)"),
    ("custom_op.py", [], r"its gradient at -2, 0.3, 2: \[1. 0. 1.\]\nweights that are not zero: {3: 1.9\d*, 8: -1.4\d*, 13: 0.9\d*}"),
    ("save_restore.py", [], r"rebuilt:  the same values"),
])
def test_an_example_does_what_it_says(name, arguments, expected):
    status, output, errors = run(os.path.join(EXAMPLES, name), *arguments)
    assert status == 0, errors
    assert re.search(expected, output), output


def test_the_distributed_example_trains_alone_and_a_resumed_run_ends_with_the_same_bits(tmp_path):
    program, weights = os.path.join(EXAMPLES, "mnist_distributed.py"), []
    for folder, stops in (("whole", [24]), ("resumed", [11, 24])):
        for stop in stops:
            status, output, errors = run(program, "--steps", stop, "--save_steps", 10, "--batch_size", 32, "--model_dir",
                                         tmp_path / folder)
            assert status == 0, errors
        weights.append(re.search(r"weights: sha256 (\w+)", output).group(1))
    assert weights[0] == weights[1]


def test_a_tf1_program_runs_with_its_import_line_changed(tmp_path):
    program = os.path.join(ROOT, "tests", "e2e", "tf1_mnist_program.py")
    with open(program, encoding="utf-8") as f:
        assert [line for line in f if "import" in line and "sluice" in line] == ["import sluice as tf\n"]
    status, output, errors = run(program, "--max_steps", 101, "--log_dir", tmp_path / "logs")
    assert status == 0, errors
    assert float(re.search(r"Final accuracy: (\S+)", output).group(1)) > 0.7
    assert glob.glob(str(tmp_path / "logs" / "train" / "events.out.tfevents.*"))


def test_the_main_job_leaves_everything_that_it_names(tmp_path):
    status, output, errors = run(FASHION_MNIST, "--steps", 60, "--model_dir", "model", folder=tmp_path)
    assert status == 0, errors
    accuracy = float(re.search(r"test accuracy: +(\S+) %", output).group(1))
    assert accuracy > 70, output
    assert "the same accuracy and loss, bit for bit" in output
    model = tmp_path / "model"
    with open(model / "trace.json") as f:
        trace = json.load(f)
    assert any("conv1" in e.get("args", {}).get("name", "") for e in trace["traceEvents"])
    assert (model / "predictions.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (model / "model.ckpt-60.index").exists() and list(model.glob("events.out.tfevents.*"))
    assert re.search(r"training +100%", errors)


def test_the_same_seed_gives_the_same_bits(tmp_path):
    found = []
    for name in ("a", "b"):
        status, output, errors = run(FASHION_MNIST, "--steps", 10, "--model_dir", name, folder=tmp_path)
        assert status == 0, errors
        found.append((tmp_path / name / "model.ckpt-10.data-00000-of-00001").read_bytes())
    assert found[0] == found[1]


def test_ctrl_c_leaves_a_checkpoint_and_running_again_goes_on(tmp_path):
    command = [sys.executable, FASHION_MNIST, "--steps", "400", "--model_dir", "model"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.time() + 120
        while not (tmp_path / "model" / "trace.json").exists() and time.time() < deadline:
            time.sleep(0.05)  # the trace is written in the 21st step
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, output + errors
    step = int(re.search(r"checkpoint: .*model\.ckpt-(\d+)", output).group(1))
    assert 20 <= step < 400
    status, output, errors = run(FASHION_MNIST, "--steps", step + 20, "--model_dir", "model", folder=tmp_path)
    assert status == 0, errors
    assert "going on from  model/model.ckpt-%d" % step in output and "model.ckpt-%d\n" % (step + 20) in output


@pytest.mark.parametrize("arguments,words", [
    (["--batch_size", "0"], "batch_size"), (["--epochs", "-1"], "epochs"), (["--data_dir", "/nowhere"], "/nowhere"),
    (["--speed", "9"], "--speed")])
def test_a_wrong_argument_is_named(arguments, words, tmp_path):
    status, _, errors = run(FASHION_MNIST, *arguments, folder=tmp_path)
    assert status != 0 and words in errors


@pytest.mark.full
def test_the_main_job_reaches_ninety_percent(tmp_path):
    status, output, errors = run(FASHION_MNIST, "--model_dir", tmp_path / "model", timeout=1200)
    assert status == 0, errors
    assert float(re.search(r"test accuracy: +(\S+) %", output).group(1)) >= 90
