"""Slurm on this machine, for a test: its own munged, slurmctld and slurmd, and everything they write, in one folder."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time

from sluice.distribute.launcher import free_ports

_CONFIG = """ClusterName=sluice
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sinfo")
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def missing():
    """What this machine lacks to run Slurm, or None."""
    lacking = [p for p in _PROGRAMS if shutil.which(p, path=_PATH) is None]
    if lacking:
        return "no %s: install slurm-wlm" % ", ".join(lacking)
    return None if os.geteuid() == 0 else "Slurm's daemons want root"


@contextlib.contextmanager
def cluster(folder, deadline=60):
    """A block with a Slurm of one node; gives the environment for srun."""
    folder = str(folder)
    for name in ("state", "spool"):
        os.makedirs(os.path.join(folder, name))
    os.chmod(folder, 0o711)  # munged refuses a folder that others may write to
    key = os.path.join(folder, "munge.key")
    with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
        f.write(os.urandom(1024))
    config = os.path.join(folder, "slurm.conf")
    with open(config, "w", encoding="utf-8") as f:
        f.write(_CONFIG.format(host=socket.gethostname().split(".")[0], folder=folder, ports=free_ports("localhost", 2)))
    environ = dict(os.environ, SLURM_CONF=config, PATH=_PATH)
    daemons = [["munged", "--foreground", "--force", "--key-file=" + key, "--socket=%s/munge.socket" % folder,
                "--pid-file=%s/munged.pid" % folder, "--log-file=%s/munged.log" % folder,
                "--seed-file=%s/munge.seed" % folder],
               ["slurmctld", "-D", "-f", config], ["slurmd", "-D", "-f", config]]
    processes, before = [], _steps()
    try:
        for command in daemons:
            with open(os.path.join(folder, command[0] + ".out"), "wb") as out:
                processes.append(subprocess.Popen(command, env=environ, stdout=out, stderr=out))
            if command[0] == "munged":
                _wait(lambda: os.path.exists(os.path.join(folder, "munge.socket")), deadline, folder)
        _wait(lambda: b"idle" in _nodes(environ), deadline, folder)
        yield environ
        # The daemon of a step that is not over when Slurm stops would stay for ever.
        _wait(lambda: not _steps() - before and b"idle" in _nodes(environ), deadline, folder)
    finally:
        for pid in _steps() - before:
            os.kill(pid, signal.SIGKILL)
        for process in reversed(processes):
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _nodes(environ):
    return subprocess.run(["sinfo", "-h"], env=environ, capture_output=True, timeout=60, check=False).stdout


def _steps():
    """The daemons of steps that run on this machine."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, encoding="utf-8") as f:
                name, _, rest = f.read().partition("(")[2].rpartition(")")
            if name.startswith("slurmstepd") and rest.split()[0] != "Z":
                found.add(int(pid))
        except OSError:  # it has ended
            pass
    return found


def _wait(condition, deadline, folder):
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            logs = []
            for name in sorted(os.listdir(folder)):
                if name.endswith((".log", ".out")):
                    with open(os.path.join(folder, name), errors="replace", encoding="utf-8") as f:
                        logs.append("== %s\n%s" % (name, f.read()[-2000:]))
            raise AssertionError("Slurm did not start within %d s\n%s" % (deadline, "\n".join(logs)))
        time.sleep(0.1)
