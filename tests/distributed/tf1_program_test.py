"""A parameter-server program for TensorFlow 1 runs with its import line changed, in each of its ways."""
import os
import re
import subprocess
import sys

import pytest

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tf1_replica_program.py")


@pytest.mark.parametrize("ways", [[], ["--sync"], ["--supervisor"], ["--supervisor", "--sync"]],
                         ids=lambda ways: "".join(ways) or "--async")
def test_a_parameter_server_program_runs_with_its_import_line_changed(tmp_path, ways):
    with open(PROGRAM, encoding="utf-8") as f:
        assert [line for line in f if "import" in line and "sluice" in line] == ["import sluice as tf\n"]
    done = subprocess.run([sys.executable, "-m", "sluice", "launch", "--flags", "--ps", "2", "--workers", "2", PROGRAM,
                           "--train_dir", str(tmp_path)] + ways, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(re.search(r"After training, accuracy = (\S+)", done.stdout).group(1)) > 0.95
    assert len(re.findall(r"worker \d: \d+ local steps", done.stdout)) == 2
