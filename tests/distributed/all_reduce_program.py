"""Data parallelism by all-reduce: a rank in each process, no parameter server.

usage: all_reduce_program.py FOLDER STEPS     (started by a launcher: workers)
"""
import hashlib
import os
import sys

import numpy as np

import sluice as sl

ROWS = 16  # of a rank


def batch(step, rank):
    random = np.random.RandomState(1000 * rank + step)
    return random.rand(ROWS, 64).astype(np.float32), random.randint(0, 10, ROWS)


def build(rank):
    sl.set_random_seed(7 + rank)  # ranks begin with the weights of rank 0, not with their own
    x, y = sl.placeholder(sl.float32, [None, 64]), sl.placeholder(sl.int32, [None])
    logits = sl.layers.dense(sl.layers.dense(x, 32, activation=sl.nn.tanh, name="a"), 10, name="b")
    return x, y, sl.losses.sparse_softmax_cross_entropy(y, logits)


def main(folder, steps):
    sl.logging.set_verbosity(sl.logging.INFO)
    resolver = sl.distribute.cluster_resolver.from_environment()
    cluster, rank = resolver.cluster_spec(), resolver.task_id
    ranks = cluster.num_tasks("worker")
    per_host = int(os.environ.get("RANKS_PER_HOST", "0"))
    if per_host:
        os.environ["SLUICE_COLLECTIVE_HOST"] = str(rank // per_host)
    server = sl.train.Server(cluster, "worker", rank)
    with sl.device("/job:worker/task:%d" % rank):
        x, y, loss = build(rank)
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.AllReduceOptimizer(sl.train.MomentumOptimizer(0.1, 0.9), ranks, rank, bucket_bytes=4096)
        train_op = optimizer.minimize(loss, global_step=step)
    weights = sorted(sl.global_variables(), key=lambda v: v.name)
    hooks = [optimizer.make_session_run_hook(), sl.train.StopAtStepHook(last_step=steps)]
    config = sl.ConfigProto(device_filters=["/job:worker/task:%d" % rank])
    final = []

    def train_step(step_context):
        now = int(step_context.session.run(step))
        if now < steps:
            step_context.run_with_hooks(train_op, dict(zip((x, y), batch(now, rank))))
            print("step", now, flush=True)
        if now >= steps - 1:
            final[:] = step_context.session.run(weights)
            step_context.request_stop()

    with sl.train.MonitoredTrainingSession(server.target, True, folder if rank == 0 else None, hooks=hooks, config=config,
                                           save_checkpoint_steps=10, save_checkpoint_secs=None, save_summaries_steps=None,
                                           log_step_count_steps=None) as session:
        while not session.should_stop():
            session.run_step_fn(train_step)
    digest = hashlib.sha256()
    for value in final:
        digest.update(np.ascontiguousarray(value).tobytes())
    np.savez("%s/final-%d.npz" % (folder, rank), **{v.op.name.replace("/", "."): f for v, f in zip(weights, final)})
    print("weights", digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
