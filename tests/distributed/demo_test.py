"""`./dev demo distributed`, shortened: it kills a worker and the parameter server and says what came of it."""
import os
import re
import subprocess
import sys

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "python", "examples", "distributed_demo.py")


def test_the_demo_kills_two_tasks_and_ends_with_the_same_weights(tmp_path):
    done = subprocess.run([sys.executable, DEMO, "--steps", "90", "--batch_size", "8", "--folder", str(tmp_path)],
                          capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"launch: kill -9 of (\S+)", done.stdout) == ["worker/1", "ps/0"]
    assert "result:      the same weights, bit for bit" in done.stdout
    trace = re.search(r"trace: +(\S+)", done.stdout).group(1)
    with open(trace, encoding="utf-8") as f:
        text = f.read()
    assert "/job:ps/replica:0/task:0" in text and "/job:worker/replica:0/task:0" in text
