"""The cluster in a program's flags, as the programs of `tf.compat.v1` have them."""
from sluice.distribute._resolver import ClusterResolver
from sluice.train import ClusterSpec


class FlagsClusterResolver(ClusterResolver):
    """Reads --ps_hosts, --worker_hosts, --chief_hosts (addresses with commas between), --job_name and --task_index.

    Args:
      flags: an object with these attributes, of which any but job_name may be missing: what argparse gives, or
        sl.flags.FLAGS. None: sl.flags.FLAGS, and the five flags are defined there where they are not yet.
    """

    def __init__(self, flags=None):
        self._flags = _defined() if flags is None else flags

    @property
    def task_type(self):
        return getattr(self._flags, "job_name", None) or None

    @property
    def task_id(self):
        return int(getattr(self._flags, "task_index", 0) or 0)

    def cluster_spec(self):
        jobs = {}
        for job in ("ps", "worker", "chief"):
            hosts = getattr(self._flags, job + "_hosts", None)
            hosts = hosts.split(",") if isinstance(hosts, str) else list(hosts or [])
            hosts = [h.strip() for h in hosts if h.strip()]
            if hosts:
                jobs[job] = hosts
        return ClusterSpec(jobs)


def _defined():
    import sluice as sl
    for name, define, default, text in (
            ("ps_hosts", sl.flags.DEFINE_string, "", "addresses of the parameter servers, with commas between"),
            ("worker_hosts", sl.flags.DEFINE_string, "", "addresses of the workers"),
            ("chief_hosts", sl.flags.DEFINE_string, "", "address of the chief, where it is not worker 0"),
            ("job_name", sl.flags.DEFINE_string, "", "the job of this task: ps, worker or chief"),
            ("task_index", sl.flags.DEFINE_integer, 0, "the number of this task in its job")):
        if name not in sl.flags.FLAGS:
            define(name, default, text)
    return sl.flags.FLAGS
