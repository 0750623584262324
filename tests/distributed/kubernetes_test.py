"""The manifest in the guide: every pod of it finds the same cluster, and itself in it."""
import os
import re

import sluice as sl

MANIFEST = os.path.join(os.path.dirname(__file__), "..", "..", "python", "docs", "kubernetes.yaml")


def test_every_pod_of_the_manifest_finds_the_same_cluster():
    with open(MANIFEST, encoding="utf-8") as f:
        parts = f.read().split("\n---\n")
    sets = [p for p in parts if "kind: StatefulSet" in p]
    clusters = []
    for part in sets:
        name = re.search(r"^  name: (\S+)", part, re.M).group(1)
        service, replicas = re.search(r"serviceName: (\S+)", part).group(1), int(re.search(r"replicas: (\d+)", part).group(1))
        jobs = re.search(r'SLUICE_KUBERNETES_JOBS, value: "([^"]*)"', part).group(1)
        port = re.search(r"containerPort: (\d+)", part).group(1)
        for i in range(replicas):
            environ = {"SLUICE_KUBERNETES_JOBS": jobs, "HOSTNAME": "%s-%d" % (name, i)}
            resolver = sl.distribute.cluster_resolver.from_environment(environ=environ)
            clusters.append(resolver.cluster_spec())
            address = clusters[-1].task_address(resolver.task_type, resolver.task_id)
            assert address == "%s-%d.%s:%s" % (name, i, service, port)
    assert len(clusters) == 3 and all(c == clusters[0] for c in clusters)
    assert sum(clusters[0].num_tasks(job) for job in clusters[0].jobs) == len(clusters)
