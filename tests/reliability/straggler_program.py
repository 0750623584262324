"""Synchronous training of a small network on Fashion-MNIST, with or without backup workers.

usage: straggler_program.py FOLDER STEPS     (started by a launcher; BENCH_BACKUPS: workers that a step need not wait for)

The chief prints each step, and at the end `accuracy PERCENT`, on images never seen.
"""
import os
import sys

import numpy as np

import sluice as sl

BATCH = 64
RATE = 0.05


def build():
    sl.set_random_seed(1)
    images, labels = sl.placeholder(sl.uint8, [None, 28, 28]), sl.placeholder(sl.int32, [None])
    x = sl.layers.flatten(sl.cast(images, sl.float32) / 255.0)
    logits = sl.layers.dense(sl.layers.dense(x, 128, activation=sl.nn.relu, name="a"), 10, name="b")
    return images, labels, logits, sl.losses.sparse_softmax_cross_entropy(labels, logits)


def batch(data, step, worker, workers):
    chosen = np.random.RandomState(step * workers + worker).randint(0, len(data.train_labels), BATCH)
    return data.train_images[chosen], data.train_labels[chosen]


def accuracy(folder, data):
    with sl.Graph().as_default(), sl.Session() as session:
        images, labels, logits, _ = build()
        sl.train.Saver().restore(session, sl.train.latest_checkpoint(folder))
        found = np.argmax(session.run(logits, {images: data.test_images, labels: data.test_labels}), 1)
    return 100 * np.mean(found == data.test_labels)


def main(folder, steps):
    resolver = sl.distribute.cluster_resolver.from_environment()
    cluster, job, task = resolver.cluster_spec(), resolver.task_type, resolver.task_id
    server = sl.train.Server(cluster, job, task)
    if job == "ps":
        server.join()
    data = sl.data_files.fashion_mnist()
    workers = cluster.num_tasks("worker")
    with sl.device(sl.train.replica_device_setter(cluster=cluster, worker_device="/job:worker/task:%d" % task)):
        images, labels, _, loss = build()
        step = sl.train.get_or_create_global_step()
        rate = RATE * (1 - sl.cast(step, sl.float32) / steps)  # to 0, so that runs of other batches end close together
        optimizer = sl.train.SyncReplicasOptimizer(sl.train.MomentumOptimizer(rate, 0.9), workers - int(os.environ["BENCH_BACKUPS"]),
                                                   workers, replica=task)
        train_op = optimizer.minimize(loss, global_step=step)
    hooks = [sl.train.StopAtStepHook(last_step=steps), optimizer.make_session_run_hook(task == 0, num_tokens=1)]
    config = sl.ConfigProto(device_filters=["/job:ps", "/job:worker/task:%d" % task])
    with sl.train.MonitoredTrainingSession(server.target, task == 0, folder, hooks=hooks, config=config, save_checkpoint_steps=steps,
                                           save_summaries_steps=None, log_step_count_steps=None) as session:
        while not session.should_stop():
            now = int(session.run_step_fn(lambda step_context: step_context.session.run(step)))
            session.run(train_op, dict(zip((images, labels), batch(data, now, task, workers))))
            print("step", now, flush=True)
    if task == 0:
        print("accuracy %.2f" % accuracy(folder, data), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
