"""A distributed program as they were written for TensorFlow 1: flags, ClusterSpec, Server, a device setter, a Supervisor
or a MonitoredTrainingSession. Only the import line names Sluice.

usage: tf1_replica_program.py --ps_hosts=... --worker_hosts=... --job_name=worker --task_index=0 [--sync] [--supervisor]
"""
import math
import time

import numpy as np

import sluice as tf

flags = tf.app.flags
flags.DEFINE_string("ps_hosts", "", "parameter servers, with commas between")
flags.DEFINE_string("worker_hosts", "", "workers, with commas between")
flags.DEFINE_string("job_name", "", "ps or worker")
flags.DEFINE_integer("task_index", 0, "which of them")
flags.DEFINE_integer("train_steps", 200, "global steps")
flags.DEFINE_integer("hidden_units", 32, "units of the hidden layer")
flags.DEFINE_integer("batch_size", 50, "examples in a batch")
flags.DEFINE_float("learning_rate", 0.05, "of Adam")
flags.DEFINE_boolean("sync", False, "synchronous replicas")
flags.DEFINE_boolean("supervisor", False, "a Supervisor instead of a MonitoredTrainingSession")
flags.DEFINE_string("train_dir", "", "checkpoints and events")
FLAGS = flags.FLAGS
FEATURES, CLASSES = 20, 4


def examples(random, count):
    """Points around one of four centres."""
    centres = np.random.RandomState(5).randn(CLASSES, FEATURES)
    labels = random.randint(0, CLASSES, count)
    return centres[labels] + 0.5 * random.randn(count, FEATURES), np.eye(CLASSES)[labels]


def main(_):
    ps_spec = FLAGS.ps_hosts.split(",")
    worker_spec = FLAGS.worker_hosts.split(",")
    num_workers = len(worker_spec)
    cluster = tf.train.ClusterSpec({"ps": ps_spec, "worker": worker_spec})
    server = tf.train.Server(cluster, job_name=FLAGS.job_name, task_index=FLAGS.task_index)
    if FLAGS.job_name == "ps":
        server.join()

    is_chief = (FLAGS.task_index == 0)
    with tf.device(tf.train.replica_device_setter(worker_device="/job:worker/task:%d" % FLAGS.task_index,
                                                  ps_device="/job:ps/cpu:0", cluster=cluster)):
        global_step = tf.Variable(0, name="global_step", trainable=False,
                                  collections=[tf.GraphKeys.GLOBAL_VARIABLES, tf.GraphKeys.GLOBAL_STEP])
        hid_w = tf.Variable(tf.truncated_normal([FEATURES, FLAGS.hidden_units], stddev=1.0 / math.sqrt(FEATURES)),
                            name="hid_w")
        hid_b = tf.Variable(tf.zeros([FLAGS.hidden_units]), name="hid_b")
        sm_w = tf.Variable(tf.truncated_normal([FLAGS.hidden_units, CLASSES],
                                               stddev=1.0 / math.sqrt(FLAGS.hidden_units)), name="sm_w")
        sm_b = tf.Variable(tf.zeros([CLASSES]), name="sm_b")
        x = tf.placeholder(tf.float32, [None, FEATURES])
        y_ = tf.placeholder(tf.float32, [None, CLASSES])
        hid = tf.nn.relu(tf.nn.xw_plus_b(x, hid_w, hid_b))
        y = tf.nn.softmax(tf.nn.xw_plus_b(hid, sm_w, sm_b))
        cross_entropy = -tf.reduce_mean(tf.reduce_sum(y_ * tf.log(tf.clip_by_value(y, 1e-10, 1.0)), 1))
        accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1)), tf.float32))

        opt = tf.train.AdamOptimizer(FLAGS.learning_rate)
        if FLAGS.sync:
            opt = tf.train.SyncReplicasOptimizer(opt, replicas_to_aggregate=num_workers,
                                                 total_num_replicas=num_workers, name="mnist_sync_replicas")
        train_step = opt.minimize(cross_entropy, global_step=global_step)
        init_op = tf.global_variables_initializer()

    sess_config = tf.ConfigProto(allow_soft_placement=True, log_device_placement=False,
                                 device_filters=["/job:ps", "/job:worker/task:%d" % FLAGS.task_index])
    random = np.random.RandomState(FLAGS.task_index)

    def train(sess, should_stop):
        local_step = 0
        while not should_stop():
            batch_xs, batch_ys = examples(random, FLAGS.batch_size)
            _, step = sess.run([train_step, global_step], feed_dict={x: batch_xs, y_: batch_ys})
            local_step += 1
            if step >= FLAGS.train_steps:
                break
        print("worker %d: %d local steps" % (FLAGS.task_index, local_step), flush=True)

    time_begin = time.time()
    if FLAGS.supervisor:
        if FLAGS.sync:
            chief_queue_runner, sync_init_op = opt.get_chief_queue_runner(), opt.get_init_tokens_op()
            local_init_op = opt.chief_init_op if is_chief else opt.local_step_init_op
            sv = tf.train.Supervisor(is_chief=is_chief, logdir=FLAGS.train_dir, init_op=init_op, local_init_op=local_init_op,
                                     ready_for_local_init_op=opt.ready_for_local_init_op, recovery_wait_secs=1,
                                     global_step=global_step, save_model_secs=0)
        else:
            sv = tf.train.Supervisor(is_chief=is_chief, logdir=FLAGS.train_dir, init_op=init_op, recovery_wait_secs=1,
                                     global_step=global_step, save_model_secs=0)
        sess = sv.prepare_or_wait_for_session(server.target, config=sess_config)
        if FLAGS.sync and is_chief:
            sess.run(sync_init_op)
            sv.start_queue_runners(sess, [chief_queue_runner])
        train(sess, sv.should_stop)
    else:
        hooks = [tf.train.StopAtStepHook(last_step=FLAGS.train_steps)]
        if FLAGS.sync:
            hooks.append(opt.make_session_run_hook(is_chief))
        sess = tf.train.MonitoredTrainingSession(master=server.target, is_chief=is_chief, hooks=hooks, config=sess_config,
                                                 checkpoint_dir=FLAGS.train_dir or None)
        train(sess, sess.should_stop)
    print("Training elapsed time: %f s" % (time.time() - time_begin))
    if is_chief:
        test_xs, test_ys = examples(np.random.RandomState(99), 1000)
        raw = sess if FLAGS.supervisor else sess._tf_sess()
        print("After training, accuracy = %.3f" % raw.run(accuracy, feed_dict={x: test_xs, y_: test_ys}), flush=True)


if __name__ == "__main__":
    tf.app.run()
