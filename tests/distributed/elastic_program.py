"""A training whose workers come and go, and which counts what each of them has given.

usage: elastic_program.py {async|sync|stale} FOLDER LAST     (started by a launcher with --workers LEAST..MOST)

It ends at the step that the file LAST names, once it is there.

Every worker adds the count of its pushes to the gradients themselves: a row of the variable `ledger`, changed by the same
optimiser in the same update as the weights. So the ledger says how many pushes of each worker were applied, and each worker
prints how many it has sent. The chief prints, at the end:

    result {"steps": 300, "accuracy": 0.99, "applied": [120.0, 80.0, 100.0]}
"""
import functools
import json
import sys
import time

import numpy as np

import sluice as sl

CLASSES, FEATURES, BATCH = 8, 16, 32


def data(seed, count):
    centres = np.random.RandomState(1).randn(CLASSES, FEATURES).astype(np.float32) * 2
    random = np.random.RandomState(seed)
    labels = random.randint(0, CLASSES, count)
    return centres[labels] + random.randn(count, FEATURES).astype(np.float32), labels


def last_step(path):
    try:
        with open(path, encoding="utf-8") as f:
            return int(f.read())
    except FileNotFoundError:
        return 10**9


def main(mode, folder, last):
    sl.logging.set_verbosity(sl.logging.INFO)
    resolver = sl.distribute.cluster_resolver.from_environment()
    cluster, job, task = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    server = sl.train.Server(cluster, job, task)
    print("is %s/%d" % (job, task), flush=True)
    if job == "ps":
        server.join()
    least, most = resolver.least_tasks("worker"), resolver.most_tasks("worker")
    with sl.device(sl.train.replica_device_setter(ps_tasks=cluster.num_tasks("ps"),
                                                  worker_device="/job:worker/task:%d" % task)):
        sl.set_random_seed(7)
        x, y = sl.placeholder(sl.float32, [None, FEATURES]), sl.placeholder(sl.int32, [None])
        logits = sl.layers.dense(sl.layers.dense(x, 32, activation=sl.nn.relu, name="a"), CLASSES, name="b")
        loss = sl.losses.sparse_softmax_cross_entropy(y, logits)
        right = sl.reduce_mean(sl.cast(sl.equal(sl.argmax(logits, 1, output_type=sl.int32), y), sl.float32))
        ledger = sl.get_variable("ledger", [most], initializer=sl.zeros_initializer())
        left = sl.get_variable("left", [most], initializer=sl.zeros_initializer(), trainable=False)
        step = sl.train.get_or_create_global_step()
        plain = sl.train.GradientDescentOptimizer(0.25)
        optimizer, hooks = plain, []
        if mode == "sync":
            optimizer = sl.train.SyncReplicasOptimizer(plain, least, most, replica=task)
        elif mode == "stale":
            optimizer = sl.train.StaleSynchronousOptimizer(plain, 2, most, task, members=resolver.members)
        pairs = plain.compute_gradients(loss, [v for v in sl.trainable_variables() if v is not ledger])
        pushed = sl.constant([-4.0 * (least if mode == "sync" else 1) * (i == task) for i in range(most)])
        train_op = optimizer.apply_gradients(pairs + [(pushed, ledger)], global_step=step)
        if mode == "sync":
            hooks.append(optimizer.make_session_run_hook(task == 0, num_tokens=1))
        elif mode == "stale":
            hooks.append(optimizer.make_session_run_hook(task == 0))
        leave = sl.scatter_update(left, [task], [1.0])
    config, lease = sl.ConfigProto(device_filters=["/job:ps", "/job:worker/task:%d" % task]), None
    if isinstance(resolver, sl.distribute.cluster_resolver.EtcdClusterResolver):
        config, lease = functools.partial(resolver.session_config, config), resolver
        hooks.append(resolver.make_session_run_hook())
    xs, ys = data(100 + task, 4096)
    sent = [0]

    def push(step_context):
        now = int(step_context.session.run(step))
        if now >= last_step(last):
            step_context.request_stop()
        at = (sent[0] * BATCH) % 4096
        sent[0] += 1
        print("sends %d\n" % sent[0], end="", flush=True)  # in one write: it may be killed between two
        step_context.run_with_hooks(train_op, {x: xs[at:at + BATCH], y: ys[at:at + BATCH]})
        print("step", now, flush=True)

    with sl.train.MonitoredTrainingSession(server.target, task == 0, folder, hooks=hooks, config=config, chief_lease=lease,
                                           save_checkpoint_steps=1000000, save_summaries_steps=None,
                                           log_step_count_steps=None) as session:
        while not session.should_stop():
            session.run_step_fn(push)
    print("sent", sent[0], flush=True)
    with sl.Session(server.target, config=config() if callable(config) else config) as session:
        session.run(leave)
        if task:
            return
        deadline = time.monotonic() + 60
        while sum(session.run(left)) < least and time.monotonic() < deadline:  # the others have made their last push
            time.sleep(0.05)
        xs, ys = data(99, 2000)
        print("result", json.dumps({"steps": int(session.run(step)), "accuracy": float(session.run(right, {x: xs, y: ys})),
                                    "applied": session.run(ledger).tolist()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
