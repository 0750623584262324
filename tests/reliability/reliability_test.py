"""The bench of failures at its smallest, and, in `./dev test all`, at the size that every change should pass."""
import json
import os
import subprocess
import sys

import pytest

BENCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")


def bench(tmp_path, name, tier, deadline):
    report = tmp_path / "report.json"
    done = subprocess.run([sys.executable, BENCH, "--only", name, "--tier", tier, "--json", str(report)], timeout=deadline,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    result, = json.loads(report.read_text())
    assert result["lost"] == 0
    if result["skipped"]:
        pytest.skip(result["skipped"])
    if result["trials"] == 0 and "without strace" in done.stdout:
        pytest.skip("neither strace nor a small file system can be had here: " + done.stdout.strip())
    assert result["trials"] == result["survived"] > 0 and result["faults"] > 0, done.stdout


@pytest.mark.parametrize("name", ["R10", "R11", "R12", "R13"])
def test_a_few_faults(tmp_path, name):
    bench(tmp_path, name, "smoke", 120)


@pytest.mark.full
@pytest.mark.parametrize("name", ["R01", "R02", "R03", "R04", "R05", "R06", "R07", "R08", "R09", "R10", "R11", "R12", "R13", "R19"])
def test_the_commit_tier(tmp_path, name):
    bench(tmp_path, name, "commit", 900)
