"""ClusterResolver, the interface; resolvers of given clusters; what resolvers share."""
import abc

from sluice.train import ClusterSpec


class ClusterResolver(abc.ABC):
    """Says which tasks a cluster has, which of them this process is, and where to send sessions."""

    task_type = None
    task_id = None
    environment = ""
    rpc_layer = "grpc"

    @abc.abstractmethod
    def cluster_spec(self):
        """The ClusterSpec."""

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        """The target of sessions on a task, by default on this one; "" when the cluster is this process alone."""
        task_type = self.task_type if task_type is None else task_type
        task_id = self.task_id if task_id is None else task_id
        cluster = self.cluster_spec()
        if task_type is None or task_id is None or sum(cluster.num_tasks(job) for job in cluster.jobs) <= 1:
            return ""
        return format_master_url(cluster.task_address(task_type, task_id), rpc_layer or self.rpc_layer)

    def least_tasks(self, job):
        """With how few tasks of a job the training goes on: all of them, unless tasks of the job come and go."""
        return self.cluster_spec().num_tasks(job)

    def most_tasks(self, job):
        """How many tasks of a job there can be at once; their numbers are below that."""
        return self.cluster_spec().num_tasks(job)

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        """{device type: how many} of a task, by default of this one."""
        import sluice as sl
        counts = {}
        with sl.Graph().as_default(), sl.Session(self.master(task_type, task_id), config=config_proto) as session:
            for device in session.list_devices():
                if device.device_type != "CPU":
                    counts[device.device_type] = counts.get(device.device_type, 0) + 1
        return counts


class SimpleClusterResolver(ClusterResolver):
    """A cluster that the program knows.

    Args:
      cluster_spec: a ClusterSpec.
      master: the target that `master()` gives when no task is named.
      task_type, task_id: which task this process is.
      environment, num_accelerators, rpc_layer: what the methods of these names give.
    """

    def __init__(self, cluster_spec, master="", task_type=None, task_id=None, environment="", num_accelerators=None,
                 rpc_layer=None):
        if not isinstance(cluster_spec, ClusterSpec):
            raise TypeError("cluster_spec must be a `sl.train.ClusterSpec`, found %r" % (cluster_spec,))
        if not isinstance(master, str):
            raise TypeError("master must be a string, found %r" % (master,))
        self._cluster, self._master, self._accelerators = cluster_spec, master, num_accelerators
        self.task_type, self.task_id, self.environment, self.rpc_layer = task_type, task_id, environment, rpc_layer

    def cluster_spec(self):
        return self._cluster

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        if task_type is not None and task_id is not None:
            address = self._cluster.task_address(task_type, task_id)
        else:
            address = self._master
        return format_master_url(address, rpc_layer or self.rpc_layer)

    def num_accelerators(self, task_type=None, task_id=None, config_proto=None):
        if self._accelerators is None:
            return super().num_accelerators(task_type, task_id, config_proto)
        return self._accelerators


class UnionResolver(ClusterResolver):
    """The tasks of several resolvers together; which task this is, and the rest, the first of them says.

    Tasks of one job are numbered on where all resolvers number them 0, 1, 2, ...; otherwise a number may be given by
    one resolver only.
    """

    def __init__(self, *resolvers, rpc_layer=None):
        if not resolvers:
            raise ValueError("At least one `ClusterResolver` is required.")
        for resolver in resolvers:
            if not isinstance(resolver, ClusterResolver):
                raise TypeError("All arguments must be a `ClusterResolver`, found %r" % (resolver,))
        self._resolvers = resolvers
        first = resolvers[0]
        self.task_type, self.task_id, self.environment = first.task_type, first.task_id, first.environment
        self.rpc_layer = rpc_layer or first.rpc_layer

    def cluster_spec(self):
        parts = {}
        for resolver in self._resolvers:
            for job, tasks in resolver.cluster_spec().as_dict().items():
                parts.setdefault(job, []).append(tasks)
        merged = {}
        for job, lists in parts.items():
            if all(isinstance(tasks, list) for tasks in lists):
                merged[job] = sum(lists, [])
                continue
            merged[job] = {}
            for tasks in lists:
                for index, address in (enumerate(tasks) if isinstance(tasks, list) else tasks.items()):
                    if index in merged[job]:
                        raise KeyError("Duplicate keys detected when merging two ClusterSpecs: task %d of job '%s'"
                                       % (index, job))
                    merged[job][index] = address
        return ClusterSpec(merged)

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        if task_type is not None and task_id is not None:
            return format_master_url(self.cluster_spec().task_address(task_type, task_id), rpc_layer or self.rpc_layer)
        return self._resolvers[0].master(rpc_layer=rpc_layer)


def format_master_url(master, rpc_layer=None):
    """`master` as "rpc_layer://master"; unchanged where one of them is empty."""
    return "%s://%s" % (rpc_layer, master) if rpc_layer and master else master


def split_ranks(jobs, total):
    """[(job, task)] for each of `total` ranks: the jobs in their order, then job "worker" with what is left."""
    jobs = dict(jobs or {})
    used = sum(jobs.values())
    if used > total:
        raise ValueError("%d tasks were started, but the jobs %s want %d" % (total, jobs, used))
    if used < total:
        if "worker" in jobs:
            raise ValueError("%d tasks were started, but the jobs %s name only %d" % (total, jobs, used))
        jobs["worker"] = total - used
    return [(job, task) for job, count in jobs.items() for task in range(count)]


def number(environ, name, default=None):
    """An integer of the environment; ValueError names the variable."""
    text = environ.get(name)
    if text is None or text == "":
        if default is None:
            raise ValueError("the environment has no %s: was this process started by another program?" % name)
        return default
    try:
        return int(text)
    except ValueError:
        raise ValueError("%s is not a number: %r" % (name, text)) from None
