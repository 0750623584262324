"""Finding the cluster: from flags, TF_CONFIG, Slurm, Open MPI, Kubernetes or etcd.

    resolver = sl.distribute.cluster_resolver.from_environment({"ps": 1})     # ps: 1 task, worker: the others
    server = sl.train.Server(resolver.cluster_spec(), resolver.task_type, resolver.task_id)
    if resolver.task_type == "ps":
        server.join()
"""
import os

from sluice.distribute._etcd_resolver import EtcdClusterResolver
from sluice.distribute._flags import FlagsClusterResolver
from sluice.distribute._kubernetes import KubernetesClusterResolver
from sluice.distribute._mpi import MpiClusterResolver
from sluice.distribute._resolver import ClusterResolver, SimpleClusterResolver, UnionResolver
from sluice.distribute._slurm import SlurmClusterResolver
from sluice.distribute._tf_config import TFConfigClusterResolver

__all__ = ["ClusterResolver", "EtcdClusterResolver", "FlagsClusterResolver", "KubernetesClusterResolver",
           "MpiClusterResolver", "SimpleClusterResolver", "SlurmClusterResolver", "TFConfigClusterResolver", "UnionResolver",
           "from_environment"]


def from_environment(jobs=None, environ=None):
    """The resolver for whoever started this process, by the first of these that the environment holds:

        SLUICE_ETCD               EtcdClusterResolver (python3 -m sluice launch --etcd)
        TF_CONFIG                 TFConfigClusterResolver (python3 -m sluice launch, and most schedulers of others)
        SLUICE_KUBERNETES_JOBS    KubernetesClusterResolver
        OMPI_COMM_WORLD_RANK      MpiClusterResolver (mpirun)
        SLURM_PROCID              SlurmClusterResolver (srun)

    or None when there is none of them: a process on its own.

    Args:
      jobs: for mpirun and srun, {job: number of tasks} in the order of ranks; what is left over is job "worker".
      environ: the environment, by default that of the process.
    """
    environ = os.environ if environ is None else environ
    if environ.get("SLUICE_ETCD"):
        return _of_this_process(environ)
    if environ.get("TF_CONFIG"):
        return TFConfigClusterResolver(environ=environ)
    if environ.get("SLUICE_KUBERNETES_JOBS"):
        return KubernetesClusterResolver(environ=environ)
    if environ.get("OMPI_COMM_WORLD_RANK"):
        return MpiClusterResolver(jobs, environ=environ)
    if environ.get("SLURM_PROCID") and int(environ.get("SLURM_STEP_NUM_TASKS") or environ.get("SLURM_NTASKS") or 1) > 1:
        return SlurmClusterResolver(jobs, environ=environ)
    return None


_resolvers = {}


def _of_this_process(environ):
    """The same resolver however often it is asked for: a process has one place in a cluster."""
    key = tuple(environ.get(v) for v in ("SLUICE_ETCD", "SLUICE_JOB_NAME", "SLUICE_TASK_INDEX")) + (os.getpid(),)
    if key not in _resolvers:
        _resolvers[key] = EtcdClusterResolver(environ=environ)
    return _resolvers[key]
