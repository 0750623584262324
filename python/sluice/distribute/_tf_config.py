"""The cluster in the environment variable TF_CONFIG."""
import json
import os

from sluice.distribute._resolver import ClusterResolver, format_master_url
from sluice.train import ClusterSpec


class TFConfigClusterResolver(ClusterResolver):
    """Reads TF_CONFIG, for instance

        {"cluster": {"ps": ["h0:2222"], "worker": ["h1:2222", "h2:2222"]}, "task": {"type": "worker", "index": 1}}

    `python3 -m sluice launch` and most schedulers set it. The arguments win over what it says. Where the launcher was told
    --workers 2..4, the cluster has addresses for four workers, and "least" says that two are enough.
    """

    def __init__(self, task_type=None, task_id=None, rpc_layer=None, environment=None, environ=None):
        self._environ = os.environ if environ is None else environ
        self._task_type, self._task_id = task_type, task_id
        self._rpc_layer, self._environment = rpc_layer, environment

    def _config(self):
        text = self._environ.get("TF_CONFIG") or "{}"
        try:
            config = json.loads(text)
        except ValueError as e:
            raise ValueError("TF_CONFIG is not JSON (%s): %s" % (e, text)) from None
        if not isinstance(config, dict):
            raise ValueError("TF_CONFIG must be a JSON object: %s" % text)
        return config

    @property
    def environment(self):
        return self._environment if self._environment is not None else self._config().get("environment", "")

    @property
    def rpc_layer(self):
        return self._rpc_layer or self._config().get("rpc_layer", "grpc")

    @property
    def task_type(self):
        if self._task_type is not None:
            return self._task_type
        found = self._config().get("task", {}).get("type")
        return None if found is None else str(found)

    @property
    def task_id(self):
        found = self._task_id if self._task_id is not None else self._config().get("task", {}).get("index")
        try:
            return None if found is None else int(found)
        except (TypeError, ValueError):
            raise ValueError("TF_CONFIG: the task's index is not a number: %r" % (found,)) from None

    def cluster_spec(self):
        cluster = self._config().get("cluster", {})
        if not isinstance(cluster, dict):
            raise ValueError("TF_CONFIG: the cluster must be an object of jobs, found %r" % (cluster,))
        # JSON's keys are texts: {"worker": {"1": "h:1"}}.
        return ClusterSpec({job: {int(i): a for i, a in tasks.items()} if isinstance(tasks, dict) else tasks
                            for job, tasks in cluster.items()})

    def least_tasks(self, job):
        return int(self._config().get("least", {}).get(job, super().least_tasks(job)))

    def master(self, task_type=None, task_id=None, rpc_layer=None):
        given = self._config().get("session_master")
        if given is not None:
            return given
        cluster = self.cluster_spec()
        if sum(cluster.num_tasks(job) for job in cluster.jobs) <= 1:
            return ""
        return format_master_url(
            cluster.task_address(self.task_type if task_type is None else task_type,
                                 self.task_id if task_id is None else task_id), rpc_layer or self.rpc_layer)
