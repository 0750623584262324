"""A small cluster program: synchronous training whose weights depend on nothing but its arguments.

usage: exact_program.py FOLDER STEPS     (started by a launcher: one parameter server or more, workers)
"""
import functools
import hashlib
import sys
import time

import numpy as np

import sluice as sl


def batch(step, worker):
    random = np.random.RandomState(1000 * worker + step)
    return random.rand(16, 64).astype(np.float32), random.randint(0, 10, 16)


def build(task):
    sl.set_random_seed(7)
    x, y = sl.placeholder(sl.float32, [None, 64]), sl.placeholder(sl.int32, [None])
    logits = sl.layers.dense(sl.layers.dense(x, 32, activation=sl.nn.relu, name="a"), 10, name="b")
    return x, y, sl.losses.sparse_softmax_cross_entropy(y, logits)


def main(folder, steps):
    sl.logging.set_verbosity(sl.logging.INFO)
    resolver = sl.distribute.cluster_resolver.from_environment()
    cluster, job, task = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    server = sl.train.Server(cluster, job, task)
    if job == "ps":
        server.join()
    workers = cluster.num_tasks("worker")
    with sl.device(sl.train.replica_device_setter(cluster=cluster, worker_device="/job:worker/task:%d" % task)):
        x, y, loss = build(task)
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.SyncReplicasOptimizer(sl.train.MomentumOptimizer(0.1, 0.9), workers, workers, replica=task)
        train_op = optimizer.minimize(loss, global_step=step)
    hooks = [sl.train.StopAtStepHook(last_step=steps), optimizer.make_session_run_hook(task == 0, num_tokens=1)]
    config = sl.ConfigProto(device_filters=["/job:ps", "/job:worker/task:%d" % task])
    lease = None
    if isinstance(resolver, sl.distribute.cluster_resolver.EtcdClusterResolver):
        hooks.append(resolver.make_session_run_hook())
        config, lease = functools.partial(resolver.session_config, config), resolver

    def train_step(step_context):
        now = int(step_context.session.run(step))
        if now >= steps:
            step_context.request_stop()
            return now
        step_context.run_with_hooks(train_op, dict(zip((x, y), batch(now, task))))
        return now

    while True:
        with sl.train.MonitoredTrainingSession(server.target, task == 0, folder, hooks=hooks, config=config,
                                               save_checkpoint_steps=10, save_summaries_steps=None,
                                               log_step_count_steps=None, chief_lease=lease) as session:
            while not session.should_stop():
                print("step", session.run_step_fn(train_step), flush=True)
        # Until the last checkpoint is there, the chief may have to go back, and then it needs every worker.
        if task == 0 or str(sl.train.latest_checkpoint(folder)).endswith("-%d" % steps):
            break
        time.sleep(0.2)
    if task == 0:
        reader = sl.train.load_checkpoint(folder)
        digest = hashlib.sha256()
        for name in sorted(reader.get_variable_to_shape_map()):
            digest.update(np.ascontiguousarray(reader.get_tensor(name)).tobytes())
        print("weights", reader.get_tensor("global_step"), digest.hexdigest(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
