"""One parameter server and workers, the same program for Sluice and for TensorFlow: what cluster_benchmark.py times.

usage: cluster_program.py LIBRARY ADDRESSES JOB TASK      LIBRARY: sluice or tensorflow; ADDRESSES: ps:port,worker:port,...

Worker 0 prints one line of JSON: the medians in seconds.
"""
import json
import sys
import time

import numpy as np


def main(library, addresses, job, task):
    if library == "sluice":
        import sluice as tf
    else:
        import tensorflow.compat.v1 as tf
        tf.disable_eager_execution()
    first, *others = addresses.split(",")
    cluster = tf.train.ClusterSpec({"ps": [first], "worker": others})
    server = tf.train.Server(cluster, job_name=job, task_index=task)
    if job == "ps" or task > 0:
        server.join()
    workers = len(others)

    def variable(name, shape):
        with tf.device("/job:ps/task:0"):
            return tf.get_variable(name, shape, initializer=tf.zeros_initializer(), use_resource=True)

    # In-graph replicas: every worker pulls, makes a gradient, and the server applies their sum when all have come.
    def replicated(v, make):
        pieces = []
        for w in range(workers):
            with tf.device("/job:worker/task:%d" % w):
                pieces.append(make(v))
        with tf.device("/job:ps/task:0"):
            return tf.assign_sub(v, pieces[0] if workers == 1 else tf.add_n(pieces)).op

    scalar = variable("scalar", [])
    steps = {"null": replicated(scalar, lambda v: v.read_value() * 0.0 + 1.0)}
    if workers == 1:
        dense = variable("dense", [25_000_000])
        steps["dense_100mb"] = replicated(dense, lambda v: v.read_value() * 0.5)
        table = variable("table", [1_000_000, 64])
        ids = np.random.RandomState(1).randint(0, 1_000_000, 32).astype(np.int32)
        with tf.device("/job:ps/task:0"):
            rows = tf.gather(table, ids)
        with tf.device("/job:worker/task:0"):
            gradient = rows * 0.5 + 1.0
        with tf.device("/job:ps/task:0"):
            steps["sparse_32_rows"] = tf.scatter_sub(table, ids, gradient).op
    config = tf.ConfigProto()
    session = tf.Session(server.target, config=config)
    session.run(tf.global_variables_initializer())
    figures = {}
    for name, op in steps.items():
        count = 15 if name == "dense_100mb" else 400
        run = session.make_callable(op)
        for _ in range(max(3, count // 10)):
            run()
        times = []
        for _ in range(count):
            began = time.perf_counter()
            run()
            times.append(time.perf_counter() - began)
        figures[name] = sorted(times)[count // 2]
    # Checked: every step took one from each replica.
    total = 400 + 40
    assert session.run(scalar) == -total * workers, session.run(scalar)
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
