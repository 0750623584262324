"""The cluster of the pods of Kubernetes StatefulSets, found by their names alone."""
import os
import re
import socket

from sluice.distribute._resolver import ClusterResolver
from sluice.train import ClusterSpec


class KubernetesClusterResolver(ClusterResolver):
    """Each job is a StatefulSet named APP-JOB under one headless service, so that pod i of it is found in the cluster's
    DNS as APP-JOB-i.SERVICE. Nothing is asked of Kubernetes itself, so pods need no rights there.

    Args:
      jobs: {job: number of pods}; by default SLUICE_KUBERNETES_JOBS of the environment, as "ps=1,worker=4".
      app: the start of the StatefulSets' names; by default taken from this pod's own name.
      service: the headless service; by default SLUICE_KUBERNETES_SERVICE, else `app`.
      namespace: by default that of this pod, which needs no name.
      port: where every pod listens; by default SLUICE_KUBERNETES_PORT, else 2222.
      hostname: the name of this pod.
      rpc_layer: "grpc".
    """

    def __init__(self, jobs=None, app=None, service=None, namespace=None, port=None, hostname=None, rpc_layer="grpc",
                 environ=None):
        environ = os.environ if environ is None else environ
        jobs = _parse(environ.get("SLUICE_KUBERNETES_JOBS", "")) if jobs is None else dict(jobs)
        if not jobs:
            raise ValueError("no jobs: give them, or set SLUICE_KUBERNETES_JOBS to a list as ps=1,worker=4")
        hostname = hostname or environ.get("HOSTNAME") or socket.gethostname()
        found = re.fullmatch(r"(.+)-(%s)-(\d+)" % "|".join(map(re.escape, jobs)), hostname)
        if found:
            self.task_type, self.task_id = found.group(2), int(found.group(3))
            if self.task_id >= jobs[self.task_type]:
                raise ValueError("this pod is %s, but job '%s' has %d pods" % (hostname, self.task_type,
                                                                             jobs[self.task_type]))
            app = app or found.group(1)
        elif app is None:
            raise ValueError("the name of this pod, %s, is not APP-JOB-NUMBER for a job of %s: it must be of a StatefulSet"
                             % (hostname, ", ".join(jobs)))
        service = service or environ.get("SLUICE_KUBERNETES_SERVICE") or app
        domain = service if namespace is None else "%s.%s.svc" % (service, namespace)
        port = port or int(environ.get("SLUICE_KUBERNETES_PORT") or 2222)
        self.rpc_layer = rpc_layer
        self._addresses = {job: ["%s-%s-%d.%s:%d" % (app, job, i, domain, port) for i in range(count)]
                           for job, count in jobs.items()}

    def cluster_spec(self):
        return ClusterSpec(self._addresses)


def _parse(text):
    jobs = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        job, equals, count = part.partition("=")
        if not (job and equals and count.strip().isdigit()):
            raise ValueError("SLUICE_KUBERNETES_JOBS must be a list as ps=1,worker=4, found %r" % text)
        jobs[job.strip()] = int(count)
    return jobs
