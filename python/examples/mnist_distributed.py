"""Trains a network to recognise clothes (Fashion-MNIST) on a cluster: parameter servers, a chief, workers.

Every task runs this program, and finds out from its environment which task it is (TF_CONFIG, srun, mpirun, Kubernetes):

    python3 -m sluice launch --ps 1 --workers 2 --restarts 10 mnist_distributed.py --model_dir /tmp/model

Workers are synchronous: each step averages a gradient of every worker, in the order of workers, over batches that
depend on the step and the worker alone. So a task may be killed at any time: it is started again, the last checkpoint is
restored, and training ends with the same bits as if nothing had happened. Without a cluster it trains in one process.
"""
import argparse
import hashlib
import os
import sys
import time

import numpy as np

import sluice as sl


def build_model(seed):
    """Adds a small convolutional network; returns (images, labels, loss, number of right predictions)."""
    sl.set_random_seed(seed)
    images = sl.placeholder(sl.uint8, [None, 28, 28], name="images")
    labels = sl.placeholder(sl.int32, [None], name="labels")
    x = sl.expand_dims(sl.cast(images, sl.float32) / 255.0, -1)
    x = sl.layers.conv2d(x, 16, 5, strides=2, padding="same", activation=sl.nn.relu, name="conv1")
    x = sl.layers.conv2d(x, 32, 3, strides=2, padding="same", activation=sl.nn.relu, name="conv2")
    x = sl.layers.dense(sl.layers.flatten(x), 128, activation=sl.nn.relu, name="dense")
    logits = sl.layers.dense(x, 10, name="logits")
    loss = sl.losses.sparse_softmax_cross_entropy(labels, logits)
    right = sl.reduce_sum(sl.cast(sl.equal(sl.argmax(logits, 1, output_type=sl.int32), labels), sl.int32))
    return images, labels, loss, right


def batch(data, step, worker, workers, size, seed):
    """The images and labels of one worker in one step: a function of its arguments, so a step can be made again."""
    per_epoch = len(data.train_labels) // (size * workers)
    order = np.random.RandomState(seed + step // per_epoch).permutation(len(data.train_labels))
    at = (step % per_epoch * workers + worker) * size
    chosen = order[at:at + size]
    return data.train_images[chosen], data.train_labels[chosen]


def train(options, data, cluster, job, task):
    """Trains as one task of a cluster, or alone when `cluster` is None, up to the last step."""
    workers, device, target, config = 1, None, "", None
    if cluster is not None:
        server = sl.train.Server(cluster, job, task)
        if job == "ps":
            wait_for_workers(cluster, task, server)
            return
        workers, target = cluster.num_tasks("worker"), server.target
        device = sl.train.replica_device_setter(cluster=cluster, worker_device="/job:worker/task:%d" % task)
        # A worker needs the parameter servers and itself, and so is not disturbed by the loss of another worker.
        config = sl.ConfigProto(device_filters=["/job:ps", "/job:worker/task:%d" % task])
    is_chief = task == 0

    with sl.device(device):
        images, labels, loss, _ = build_model(options.seed)
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.MomentumOptimizer(options.learning_rate, 0.9)
        hooks = [sl.train.StopAtStepHook(last_step=options.steps)]
        if workers > 1:
            optimizer = sl.train.SyncReplicasOptimizer(optimizer, workers, workers, replica=task)
            # A token for each worker in each session: they go on although it is a new chief that makes the updates.
            hooks.append(optimizer.make_session_run_hook(is_chief, num_tokens=1))
        train_op = optimizer.minimize(loss, global_step=step)
    chief_hooks = []
    if options.trace_step is not None:
        chief_hooks.append(sl.train.ProfilerHook(save_steps=options.trace_step, output_dir=options.model_dir))

    def train_step(step_context):
        now = int(step_context.session.run(step))
        if now >= options.steps:
            step_context.request_stop()
        feed = dict(zip((images, labels), batch(data, now, task, workers, options.batch_size, options.seed)))
        _, value = step_context.run_with_hooks([train_op, loss], feed)
        return now, value

    start = time.monotonic()
    with sl.train.MonitoredTrainingSession(
            target, is_chief, options.model_dir, hooks=hooks, chief_only_hooks=chief_hooks, config=config,
            save_checkpoint_steps=options.save_steps, save_summaries_steps=None, log_step_count_steps=None) as session:
        while not session.should_stop():
            now, value = session.run_step_fn(train_step)  # called again, for the restored step, after a failure
            if now % options.print_steps == 0:
                print("step %4d  loss %.4f  %.1f s" % (now, value, time.monotonic() - start), flush=True)
    if cluster is not None:
        tell_parameter_servers(cluster, target, config)


def done_queue(cluster, task):
    """The queue of a parameter server that each worker puts a word into when it has ended."""
    with sl.device("/job:ps/task:%d" % task):
        return sl.FIFOQueue(cluster.num_tasks("worker"), [sl.int32], [[]], shared_name="done", name="done_%d" % task)


def wait_for_workers(cluster, task, server):
    """Serves until every worker has ended."""
    config = sl.ConfigProto(device_filters=["/job:ps/task:%d" % task])
    with sl.Graph().as_default(), sl.Session(server.target, config=config) as session:
        word = done_queue(cluster, task).dequeue()
        for _ in range(cluster.num_tasks("worker")):
            session.run(word)


def tell_parameter_servers(cluster, target, config):
    """Tells every parameter server that this worker has ended."""
    with sl.Graph().as_default(), sl.Session(target, config=config) as session:
        for task in range(cluster.num_tasks("ps")):
            try:
                session.run(done_queue(cluster, task).enqueue(0))
            except (sl.errors.UnavailableError, sl.errors.AbortedError, sl.errors.CancelledError):
                pass  # it has heard this word, the last one, and ended before its answer was here


def evaluate(options, data):
    """Prints the accuracy of the last checkpoint on images never seen, and a hash of its weights."""
    with sl.Graph().as_default(), sl.Session() as session:
        images, labels, _, right = build_model(options.seed)
        path = sl.train.latest_checkpoint(options.model_dir)
        sl.train.Saver().restore(session, path)
        total = sum(int(session.run(right, {images: data.test_images[i:i + 1000], labels: data.test_labels[i:i + 1000]}))
                    for i in range(0, len(data.test_labels), 1000))
        digest = hashlib.sha256()
        for variable in sl.trainable_variables():
            digest.update(session.run(variable).tobytes())
    print("checkpoint: %s" % path)
    print("test accuracy: %.2f %%" % (100 * total / len(data.test_labels)))
    print("weights: sha256 %s" % digest.hexdigest(), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="train so many steps (default 600)")
    parser.add_argument("--batch_size", type=int, default=64, help="images of each worker in a step (default 64)")
    parser.add_argument("--learning_rate", type=float, default=0.05, help="(default 0.05)")
    parser.add_argument("--model_dir", default="mnist_distributed_model", help="a folder that all tasks see")
    parser.add_argument("--save_steps", type=int, default=50, help="steps between checkpoints (default 50)")
    parser.add_argument("--print_steps", type=int, default=50, help="steps between lines (default 50)")
    parser.add_argument("--trace_step", type=int, help="write a Chrome trace of one step every so many steps")
    parser.add_argument("--ps", type=int, default=1, help="parameter servers among the tasks of srun or mpirun (default 1)")
    parser.add_argument("--data_dir", help="folder with the four IDX files (default: Debian's dataset-fashion-mnist)")
    parser.add_argument("--seed", type=int, default=1, help="of weights and batches (default 1)")
    options = parser.parse_args()
    sl.logging.set_verbosity(sl.logging.INFO)

    resolver = sl.distribute.cluster_resolver.from_environment({"ps": options.ps})
    cluster, job, task = (None, "worker", 0) if resolver is None else \
        (resolver.cluster_spec(), resolver.task_type, resolver.task_id)
    data = None if job == "ps" else sl.data_files.fashion_mnist(options.data_dir)
    os.makedirs(options.model_dir, exist_ok=True)
    train(options, data, cluster, job, task)
    if job != "ps" and task == 0:
        evaluate(options, data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
