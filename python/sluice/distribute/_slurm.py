"""The cluster of a job step that Slurm's srun started."""
import os
import re

from sluice.distribute._resolver import ClusterResolver, number, split_ranks
from sluice.train import ClusterSpec


class SlurmClusterResolver(ClusterResolver):
    """Reads the variables that srun sets for each task; task `i` on a node listens at port_base + i (of
    localhost, when there is only one node).

    Args:
      jobs: {job: number of tasks} in the order of ranks; what is left over is job "worker".
      port_base: the port of the first task on each node.
      gpus_per_node, gpus_per_task: how many GPUs; by default what Slurm gave the node, and 1.
      tasks_per_node: a number or a list for each node, instead of Slurm's.
      auto_set_gpu: whether to show each task its own GPUs only, by CUDA_VISIBLE_DEVICES.
      rpc_layer: "grpc".
    """

    def __init__(self, jobs=None, port_base=8888, gpus_per_node=None, gpus_per_task=None, tasks_per_node=None,
                 auto_set_gpu=True, rpc_layer="grpc", environ=None):
        self._environ = environ = os.environ if environ is None else environ
        self._rank = number(environ, "SLURM_PROCID")
        hosts = expand_hostlist(_first(environ, "SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"))
        if tasks_per_node is None:
            counts = expand_tasks_per_node(_first(environ, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"))
        else:
            counts = [tasks_per_node] * len(hosts) if isinstance(tasks_per_node, int) else list(tasks_per_node)
        if len(counts) != len(hosts):
            raise ValueError("Slurm names %d nodes (%s) but tasks for %d" % (len(hosts), ",".join(hosts), len(counts)))
        if len(hosts) == 1:
            hosts = ["localhost"]  # one node: nobody outside has to reach the tasks
        places = [(host, i) for host, count in zip(hosts, counts) for i in range(count)]
        self._tasks = split_ranks(jobs, len(places))
        if self._rank >= len(places):
            raise ValueError("SLURM_PROCID is %d, but the job step has %d tasks" % (self._rank, len(places)))
        self._addresses = {}
        for (job, task), (host, i) in zip(self._tasks, places):
            self._addresses.setdefault(job, {})[task] = "%s:%d" % (host, port_base + i)
        self.task_type, self.task_id = self._tasks[self._rank]
        self.rpc_layer = rpc_layer
        per_node = number(environ, "SLURM_GPUS_ON_NODE", 0) if gpus_per_node is None else gpus_per_node
        self._gpus = (1 if gpus_per_task is None else gpus_per_task) if per_node else 0
        if auto_set_gpu and self._gpus:
            first = places[self._rank][1] * self._gpus
            environ["CUDA_VISIBLE_DEVICES"] = ",".join(str(i) for i in range(first, first + self._gpus))

    def cluster_spec(self):
        return ClusterSpec(self._addresses)

    def get_task_info(self):
        """(job, number) of this task."""
        return self.task_type, self.task_id

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        return {"GPU": self._gpus} if self._gpus else {}


def _first(environ, *names):
    for name in names:
        if environ.get(name):
            return environ[name]
    raise ValueError("the environment has none of %s: start the program with srun" % ", ".join(names))


def expand_hostlist(text):
    """Slurm's short form of node names, as "n[01-03,7],login" or "r[0-1]n[0-1]", as a list."""
    hosts = []
    for part in re.findall(r"(?:\[[^\]]*\]|[^,\[])+", text):
        names = [""]
        for piece in re.findall(r"\[[^\]]*\]|[^\[]+", part.strip()):
            if piece[0] != "[":
                names = [n + piece for n in names]
                continue
            choices = []
            for choice in piece[1:-1].split(","):
                found = re.fullmatch(r"(\d+)(?:-(\d+))?", choice)
                if not found:
                    raise ValueError("not a list of Slurm nodes: %r" % text)
                low, high = found.group(1), found.group(2) or found.group(1)
                choices += ["%0*d" % (len(low), i) for i in range(int(low), int(high) + 1)]
            names = [n + c for n in names for c in choices]
        hosts += names
    return hosts


def expand_tasks_per_node(text):
    """"2(x3),1" as [2, 2, 2, 1]."""
    counts = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?:\(x(\d+)\))?\s*", part)
        if not found:
            raise ValueError("not a list of tasks for each Slurm node: %r" % text)
        counts += [int(found.group(1))] * int(found.group(2) or 1)
    return counts
