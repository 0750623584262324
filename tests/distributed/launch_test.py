"""The launcher: what its tasks see, and how it ends."""
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

DEADLINE = 120


def launch(tmp_path, program, *options, arguments=()):
    path = tmp_path / "program.py"
    path.write_text("import json, os, signal, sys, time\nname = os.environ['SLUICE_JOB_NAME'] + os.environ['SLUICE_TASK_INDEX']\n"
                    + textwrap.dedent(program))
    return subprocess.Popen([sys.executable, "-m", "sluice", "launch", *options, str(path), *arguments],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process):
    """(exit code, lines)."""
    try:
        output, _ = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    return process.returncode, output.splitlines()


def wait_for_line(process, text):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError("no line with %r in:\n%s" % (text, "".join(lines)))


def is_running(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            return f.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_gone(pids):
    end = time.monotonic() + DEADLINE
    while any(is_running(p) for p in pids):
        assert time.monotonic() < end, "still running: %s" % [p for p in pids if is_running(p)]
        time.sleep(0.02)


def test_each_task_finds_itself_in_the_cluster(tmp_path):
    code, lines = finished(launch(tmp_path, """
        config = json.loads(os.environ["TF_CONFIG"])
        if config["task"]["type"] == "ps":
            signal.pause()                       # a server: it is stopped when the others are done
        print(json.dumps([config, sys.argv[1:]]))
        """, "--ps", "2", "--workers", "2", "--chief", "--log-dir", str(tmp_path / "logs"), arguments=["--steps", "5"]))
    assert code == 0
    found = {line.split("]")[0] + "]": json.loads(line.split("] ", 1)[1]) for line in lines}
    assert sorted(found) == ["[chief/0]", "[worker/0]", "[worker/1]"]
    config, arguments = found["[worker/1]"]
    assert config["task"] == {"type": "worker", "index": 1} and arguments == ["--steps", "5"]
    addresses = [a for job in config["cluster"].values() for a in job]
    assert {j: len(a) for j, a in config["cluster"].items()} == {"ps": 2, "chief": 1, "worker": 2}
    assert len(set(addresses)) == 5 and all(a.startswith("localhost:") for a in addresses)
    assert json.loads((tmp_path / "logs" / "worker-1.log").read_text())[0] == config


def test_a_task_that_fails_is_started_again_within_its_budget(tmp_path):
    program = """
        restart = int(os.environ["SLUICE_RESTART"])
        print("run", restart)
        if name == "worker1" and restart < 2:
            os.kill(os.getpid(), signal.SIGKILL) if restart else sys.exit(3)
        """
    code, lines = finished(launch(tmp_path, program, "--workers", "2", "--restarts", "2"))
    assert code == 0
    assert [line for line in lines if "worker/1" in line] == [
        "[worker/1] run 0", "launch: worker/1 ended with code 3; restart 1 of 2", "[worker/1] run 1",
        "launch: worker/1 was ended by SIGKILL; restart 2 of 2", "[worker/1] run 2"]
    code, lines = finished(launch(tmp_path, program, "--workers", "2", "--restarts", "1"))
    assert code == 75 and "all it may be; giving up" in lines[-1]


@pytest.mark.parametrize("failure, code", [("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGSEGV)", 139)])
def test_a_failure_stops_the_others_and_is_the_exit_code(tmp_path, failure, code):
    found, lines = finished(launch(tmp_path, """
        if name == "worker1":
            %s
        signal.pause()
        """ % failure, "--ps", "1", "--workers", "2"))
    assert found == code and "worker/1" in lines[-1] and lines[-1].endswith("stopping the others")


def test_a_server_that_fails_is_started_again(tmp_path):
    code, lines = finished(launch(tmp_path, """
        restart, flag = int(os.environ["SLUICE_RESTART"]), sys.argv[1]
        if name == "ps0" and restart == 0:
            sys.exit(1)
        if name == "ps0":
            open(flag, "w").close()
            signal.pause()
        end = time.monotonic() + 100
        while not os.path.exists(flag) and time.monotonic() < end:
            time.sleep(0.01)
        """, "--ps", "1", "--restarts", "1", arguments=[str(tmp_path / "flag")]))
    assert (code, lines) == (0, ["launch: ps/0 ended with code 1; restart 1 of 1"])


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_every_task_and_its_children(tmp_path, number, code):
    process = launch(tmp_path, """
        import subprocess
        child = subprocess.Popen(["sleep", "1000"])
        if name == "worker1":                    # this one must be killed
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(os.path.join(sys.argv[1], name), "w").write("%d %d" % (os.getpid(), child.pid))
        print("ready")
        signal.pause() if name != "worker1" else time.sleep(1000)
        """, "--workers", "2", "--grace", "0.5", arguments=[str(tmp_path)])
    wait_for_line(process, "ready")
    wait_for_line(process, "ready")
    process.send_signal(number)
    found, lines = finished(process)
    assert found == code
    assert lines == ["launch: %s: stopping" % number.name, "launch: killing worker/1, which did not end within 0.5 s"]
    wait_until_gone([int(p) for name in ("worker0", "worker1") for p in (tmp_path / name).read_text().split()])


def test_tasks_die_with_a_launcher_that_is_killed(tmp_path):
    process = launch(tmp_path, "print('pid', os.getpid())\nsignal.pause()")
    pid = int(process.stdout.readline().split()[-1])
    process.send_signal(signal.SIGKILL)
    finished(process)
    wait_until_gone([pid])


def test_long_and_unfinished_lines_are_passed_on(tmp_path):
    code, lines = finished(launch(tmp_path, """
        sys.stdout.write("x" * 300000 + "\\nlast")
        """))
    assert (code, [len(line) for line in lines]) == (0, [300011, 15]) and lines[1] == "[worker/0] last"


def test_the_command_explains_itself_and_refuses_nonsense():
    def run(*arguments):
        done = subprocess.run([sys.executable, "-m", "sluice", *arguments], capture_output=True, text=True, timeout=DEADLINE)
        return done.returncode, done.stdout + done.stderr

    assert run()[0] == 0 and "launch" in run()[1]
    assert run("launch", "--help")[0] == 0
    for arguments, text in ((["x"], "no command 'x'"), (["launch"], "required"),
                            (["launch", "--workers", "0", "x.py"], "there must be a task"),
                            (["launch", "missing.py"], "there is no file missing.py"),
                            (["launch", os.devnull + "x"], "cannot run")):
        code, output = run(*arguments)
        assert code != 0 and text in output, arguments
