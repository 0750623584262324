"""The example under a real mpirun and a real Slurm: the weights are those of the local launcher."""
import os
import re
import shutil
import subprocess
import sys

import pytest

import slurm

pytestmark = pytest.mark.full
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python", "examples",
                       "mnist_distributed.py")
DEADLINE = 240


def train(command, folder, environ=None):
    """The hash of the weights after 30 steps of 1 parameter server and 2 workers."""
    done = subprocess.run(command + [sys.executable, "-u", PROGRAM, "--steps", "30", "--batch_size", "16", "--model_dir",
                                     str(folder)], env=environ, capture_output=True, text=True, timeout=DEADLINE,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.search(r"weights: sha256 (\w+)", done.stdout).group(1)


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    return train([sys.executable, "-m", "sluice", "launch", "--ps", "1", "--workers", "2"],
                 tmp_path_factory.mktemp("launched"))


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun: install openmpi-bin")
def test_a_job_of_mpirun_trains(tmp_path, launched):
    assert train(["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3"], tmp_path) == launched


@pytest.mark.skipif(slurm.missing() is not None, reason=str(slurm.missing()))
def test_a_job_of_slurm_trains(tmp_path, launched):
    with slurm.cluster(tmp_path / "slurm") as environ:
        assert train(["srun", "--ntasks=3"], tmp_path / "model", environ) == launched
