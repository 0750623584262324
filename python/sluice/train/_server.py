"""Server: a task of a cluster inside this process: a master for clients, a worker for masters."""
import os

from sluice._native import _sluice
from sluice.train._cluster_spec import ClusterSpec


class Server:
    """Makes this process a task of a cluster, listening at the address that the cluster names for it.

        server = sl.train.Server(cluster, job_name="worker", task_index=0)
        with sl.Session(server.target) as session: ...

    Args:
      server_or_cluster_def: a ServerDef, or what ClusterSpec takes.
      job_name, task_index: which task this is; each may be left out when there is only one.
      protocol: "grpc".
      config: a ConfigProto, the default of the sessions that are made here.
      start: whether to start listening at once.
      metrics_port: where to serve numbers for Prometheus: `http://localhost:PORT/metrics`, 0 for any free port; the
        environment's SLUICE_METRICS_PORT when it is None, nowhere when that is not set either. Other machines can read
        them only with SLUICE_INSECURE_BIND=1.
    """

    def __init__(self, server_or_cluster_def, job_name=None, task_index=None, protocol=None, config=None, start=True,
                 metrics_port=None):
        self._server_def = _server_def(server_or_cluster_def, job_name, task_index, protocol, config)
        self._native = _sluice.Server(self._server_def.SerializeToString())
        if metrics_port is None:
            metrics_port = os.environ.get("SLUICE_METRICS_PORT") or None
        if metrics_port is not None:
            host = "0.0.0.0" if os.environ.get("SLUICE_INSECURE_BIND") == "1" else "localhost"
            self._native.serve_metrics("%s:%s" % (host, metrics_port))
        if start:
            self.start()

    def start(self):
        """Starts to listen; once started, it stays so."""
        self._native.start()

    def join(self):
        """Blocks until the server is shut down, which by itself it never does; Ctrl-C ends the wait."""
        while not self._native.join(1.0):
            pass

    @property
    def server_def(self):
        """The ServerDef message: the cluster and which task of it this is."""
        return self._server_def

    @property
    def target(self):
        """What a Session is given to run here: "grpc://host:port"."""
        return self._native.target()

    @property
    def metrics_address(self):
        """The "host:port" whose page /metrics has numbers for Prometheus; None when they are not served."""
        return self._native.metrics_address() or None

    @staticmethod
    def create_local_server(config=None, start=True):
        """A cluster of one task (/job:local/task:0) on a free port of this machine."""
        return Server({"local": ["localhost:0"]}, job_name="local", task_index=0, protocol="grpc", config=config,
                      start=start)


def _server_def(source, job_name, task_index, protocol, config):
    """The ServerDef that `source` and the arguments, which win over it, describe."""
    from sluice.protos import tensorflow_server_pb2
    message = tensorflow_server_pb2.ServerDef()
    if hasattr(source, "DESCRIPTOR") and source.DESCRIPTOR.name == "ServerDef":
        message.CopyFrom(source)
        cluster = ClusterSpec(message.cluster)
        job_name = message.job_name if job_name is None else job_name
        task_index = message.task_index if task_index is None else task_index
        protocol = protocol or message.protocol
    else:
        try:
            cluster = ClusterSpec(source)
        except TypeError as e:
            raise TypeError("Could not convert `server_or_cluster_def` to a `sl.train.ServerDef` or "
                            "`sl.train.ClusterSpec`: %s" % e) from None
        if job_name is None:
            if len(cluster.jobs) != 1:
                raise ValueError("Must specify an explicit `job_name`.")
            job_name = cluster.jobs[0]
        if task_index is None:
            tasks = cluster.task_indices(job_name)
            if len(tasks) != 1:
                raise ValueError("Must specify an explicit `task_index`.")
            task_index = tasks[0]
        message.cluster.CopyFrom(cluster.as_cluster_def())
    cluster.task_address(job_name, task_index)  # names the job or the task that is not in the cluster
    message.job_name, message.task_index, message.protocol = job_name, task_index, protocol or "grpc"
    if config is not None:
        message.default_session_config.MergeFrom(config)
    return message
