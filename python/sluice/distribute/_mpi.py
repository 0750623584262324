"""The cluster of the processes that Open MPI's mpirun started."""
import os
import re
import socket
import time

from sluice import _files
from sluice.distribute._resolver import ClusterResolver, number, split_ranks
from sluice.train import ClusterSpec


class MpiClusterResolver(ClusterResolver):
    """Reads the variables that mpirun sets for each process; no MPI library is needed.

    On one machine process `i` listens at port_base + i. Over several machines mpirun does not say who is where, so the
    processes tell one another through a folder that all of them see.

    Args:
      jobs: {job: number of tasks} in the order of ranks; what is left over is job "worker".
      port_base: the port of the first process on each machine.
      folder: the shared folder; by default SLUICE_MPI_FOLDER of the environment.
      timeout_secs: how long to wait there for the others.
      rpc_layer: "grpc".
    """

    def __init__(self, jobs=None, port_base=8888, folder=None, timeout_secs=120, rpc_layer="grpc", environ=None):
        environ = os.environ if environ is None else environ
        rank, size = number(environ, "OMPI_COMM_WORLD_RANK"), number(environ, "OMPI_COMM_WORLD_SIZE")
        local = number(environ, "OMPI_COMM_WORLD_LOCAL_RANK", rank)
        folder = folder or environ.get("SLUICE_MPI_FOLDER")
        if number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE", size) == size:
            places = ["localhost:%d" % (port_base + i) for i in range(size)]
        elif folder:
            run = re.sub(r"\W", "_", environ.get("PMIX_NAMESPACE") or environ.get("OMPI_MCA_ess_base_jobid") or "run")
            places = exchange(os.path.join(folder, run), rank, size, "%s:%d" % (socket.gethostname(), port_base + local),
                              timeout_secs)
        else:
            raise ValueError("the %d processes of mpirun are on several machines: name a folder that all of them see, by "
                             "the argument folder or by mpirun -x SLUICE_MPI_FOLDER=..." % size)
        self.rpc_layer = rpc_layer
        tasks = split_ranks(jobs, size)
        self.task_type, self.task_id = tasks[rank]
        self._addresses = {}
        for (job, task), place in zip(tasks, places):
            self._addresses.setdefault(job, {})[task] = place

    def cluster_spec(self):
        return ClusterSpec(self._addresses)


def exchange(folder, rank, size, address, timeout_secs):
    """The addresses of all ranks, each of which calls this with its own."""
    os.makedirs(folder, exist_ok=True)
    _files.write_atomically(os.path.join(folder, "rank-%d" % rank), address)
    deadline = time.monotonic() + timeout_secs
    while True:
        found = {}
        for other in range(size):
            try:
                with open(os.path.join(folder, "rank-%d" % other), encoding="utf-8") as f:
                    found[other] = f.read()
            except FileNotFoundError:
                pass
        if len(found) == size:
            return [found[i] for i in range(size)]
        if time.monotonic() > deadline:
            raise TimeoutError("after %d s the ranks %s of %d have not written their addresses to %s"
                               % (timeout_secs, sorted(set(range(size)) - set(found)), size, folder))
        time.sleep(0.05)
