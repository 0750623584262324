"""ClusterSpec: which jobs a cluster has, how many tasks each has, and where each task listens."""


class ClusterSpec:
    """The tasks of a cluster.

        cluster = sl.train.ClusterSpec({"ps": ["ps0.example.com:2222"],
                                        "worker": {1: "worker1.example.com:2222"}})    # task 1 alone

    Args:
      cluster: a dictionary from job names to a list of addresses, or to a dictionary from task numbers to addresses;
        a ClusterDef message; or another ClusterSpec.
    """

    def __init__(self, cluster):
        if isinstance(cluster, ClusterSpec):
            jobs = {job: dict(tasks) for job, tasks in cluster._jobs.items()}
        elif isinstance(cluster, dict):
            jobs = {}
            for job, tasks in cluster.items():
                if isinstance(tasks, (list, tuple)):
                    jobs[job] = dict(enumerate(tasks))
                elif isinstance(tasks, dict):
                    jobs[job] = dict(tasks)
                else:
                    raise TypeError("The tasks for job %r must be a list or a dictionary from integers to strings." % (job,))
        elif _is_cluster_def(cluster):
            jobs = {job.name: dict(job.tasks) for job in cluster.job}
        else:
            raise TypeError("`cluster` must be a dictionary mapping one or more job names to lists of network addresses, "
                            "or a `ClusterDef` protocol buffer")
        self._jobs = {_text(job, "Job name"): {_task(i, job): _text(address, "Task address")
                                               for i, address in tasks.items()} for job, tasks in jobs.items()}

    def __bool__(self):
        return bool(self._jobs)

    def __eq__(self, other):
        if not isinstance(other, (ClusterSpec, dict)) and not _is_cluster_def(other):
            return NotImplemented
        try:
            return self._jobs == ClusterSpec(other)._jobs
        except TypeError:
            return False

    __hash__ = None

    def __repr__(self):
        jobs = self.as_dict()
        return "ClusterSpec({%s})" % ", ".join("%r: %r" % (job, jobs[job]) for job in sorted(jobs))

    def as_dict(self):
        """{job: [address, ...]}, or {job: {task: address}} where a job's tasks do not count 0, 1, 2, ..."""
        return {job: [tasks[i] for i in range(len(tasks))] if self._is_dense(job) else dict(tasks)
                for job, tasks in self._jobs.items()}

    def as_cluster_def(self):
        """The ClusterDef message."""
        from sluice.protos import cluster_pb2
        message = cluster_pb2.ClusterDef()
        for job in sorted(self._jobs):
            entry = message.job.add(name=job)
            for task, address in sorted(self._jobs[job].items()):
                entry.tasks[task] = address
        return message

    @property
    def jobs(self):
        """The names of the jobs."""
        return list(self._jobs)

    def num_tasks(self, job_name):
        """How many tasks a job has."""
        return len(self._tasks(job_name))

    def task_indices(self, job_name):
        """The numbers of a job's tasks, sorted."""
        return sorted(self._tasks(job_name))

    def task_address(self, job_name, task_index):
        """Where a task listens."""
        tasks = self._tasks(job_name)
        if task_index not in tasks:
            raise ValueError("No task with index %r in job %r" % (task_index, job_name))
        return tasks[task_index]

    def job_tasks(self, job_name):
        """The addresses of a job's tasks by number; None where a number has no task."""
        tasks = self._tasks(job_name)
        return [tasks.get(i) for i in range(max(tasks) + 1)] if tasks else []

    def _tasks(self, job_name):
        if job_name not in self._jobs:
            raise ValueError("No such job in cluster: %r" % job_name)
        return self._jobs[job_name]

    def _is_dense(self, job):
        return sorted(self._jobs[job]) == list(range(len(self._jobs[job])))


def _is_cluster_def(value):
    return hasattr(value, "DESCRIPTOR") and value.DESCRIPTOR.name == "ClusterDef"


def _text(value, what):
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError("%s %r must be bytes or unicode" % (what, value))
    return value


def _task(index, job):
    if isinstance(index, bool) or not hasattr(index, "__index__"):
        raise TypeError("Task index %r of job %r must be an integer" % (index, job))
    if index < 0:
        raise ValueError("Task index %r of job %r is negative" % (index, job))
    return index.__index__()
