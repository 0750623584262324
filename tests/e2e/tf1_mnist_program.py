"""A TF1 program as people wrote them: the import line is its only line that knows Sluice.

usage: tf1_mnist_program.py [--log_dir DIR] [--max_steps N] [--data_dir DIR]
"""
from __future__ import absolute_import, division, print_function

import argparse
import gzip
import os
import sys

import numpy as np

import sluice as tf

FLAGS = None


def read_images(path):
    with gzip.open(path, "rb") as f:
        return np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784).astype(np.float32) / 255.0


def read_labels(path):
    with gzip.open(path, "rb") as f:
        return np.frombuffer(f.read(), np.uint8, offset=8).astype(np.int64)


class DataSet(object):
    def __init__(self, images, labels):
        self.images, self.labels = images, labels
        self._random = np.random.RandomState(0)

    def next_batch(self, size):
        chosen = self._random.randint(0, len(self.labels), size)
        return self.images[chosen], self.labels[chosen]


def weight_variable(shape):
    """Create a weight variable with appropriate initialization."""
    return tf.Variable(tf.truncated_normal(shape, stddev=0.1))


def bias_variable(shape):
    return tf.Variable(tf.constant(0.1, shape=shape))


def variable_summaries(var):
    """Attach a lot of summaries to a Tensor (for TensorBoard visualization)."""
    with tf.name_scope("summaries"):
        mean = tf.reduce_mean(var)
        tf.summary.scalar("mean", mean)
        with tf.name_scope("stddev"):
            stddev = tf.sqrt(tf.reduce_mean(tf.square(var - mean)))
        tf.summary.scalar("stddev", stddev)
        tf.summary.scalar("max", tf.reduce_max(var))
        tf.summary.scalar("min", tf.reduce_min(var))
        tf.summary.histogram("histogram", var)


def nn_layer(input_tensor, input_dim, output_dim, layer_name, act=tf.nn.relu):
    with tf.name_scope(layer_name):
        with tf.name_scope("weights"):
            weights = weight_variable([input_dim, output_dim])
            variable_summaries(weights)
        with tf.name_scope("biases"):
            biases = bias_variable([output_dim])
            variable_summaries(biases)
        with tf.name_scope("Wx_plus_b"):
            preactivate = tf.matmul(input_tensor, weights) + biases
            tf.summary.histogram("pre_activations", preactivate)
        activations = act(preactivate, name="activation")
        tf.summary.histogram("activations", activations)
        return activations


def train():
    mnist_train = DataSet(read_images(os.path.join(FLAGS.data_dir, "train-images-idx3-ubyte.gz")),
                          read_labels(os.path.join(FLAGS.data_dir, "train-labels-idx1-ubyte.gz")))
    mnist_test = DataSet(read_images(os.path.join(FLAGS.data_dir, "t10k-images-idx3-ubyte.gz")),
                         read_labels(os.path.join(FLAGS.data_dir, "t10k-labels-idx1-ubyte.gz")))
    tf.set_random_seed(1)
    sess = tf.InteractiveSession()

    with tf.name_scope("input"):
        x = tf.placeholder(tf.float32, [None, 784], name="x-input")
        y_ = tf.placeholder(tf.int64, [None], name="y-input")

    with tf.name_scope("input_reshape"):
        image_shaped_input = tf.reshape(x, [-1, 28, 28, 1])
        tf.summary.image("input", image_shaped_input, 10)

    hidden1 = nn_layer(x, 784, 300, "layer1")

    with tf.name_scope("dropout"):
        keep_prob = tf.placeholder(tf.float32)
        tf.summary.scalar("dropout_keep_probability", keep_prob)
        dropped = tf.nn.dropout(hidden1, keep_prob)

    y = nn_layer(dropped, 300, 10, "layer2", act=tf.identity)

    # The last layer, once more, by get_variable: its regularizer joins the total loss.
    with tf.variable_scope("calibration", regularizer=lambda w: 1e-4 * tf.nn.l2_loss(w)):
        scale = tf.get_variable("scale", [10], initializer=tf.ones_initializer())
        y = y * scale

    with tf.name_scope("cross_entropy"):
        with tf.name_scope("total"):
            tf.losses.sparse_softmax_cross_entropy(labels=y_, logits=y)
            cross_entropy = tf.losses.get_total_loss()
    tf.summary.scalar("cross_entropy", cross_entropy)

    global_step = tf.train.get_or_create_global_step()
    with tf.name_scope("train"):
        learning_rate = tf.train.exponential_decay(FLAGS.learning_rate, global_step, 500, 0.5, staircase=True)
        optimizer = tf.train.AdamOptimizer(learning_rate)
        grads, variables = zip(*optimizer.compute_gradients(cross_entropy))
        grads, norm = tf.clip_by_global_norm(grads, 5.0)
        tf.summary.scalar("gradient_norm", norm)
        train_step = optimizer.apply_gradients(zip(grads, variables), global_step=global_step)

    with tf.name_scope("accuracy"):
        with tf.name_scope("correct_prediction"):
            correct_prediction = tf.equal(tf.argmax(y, 1), y_)
        with tf.name_scope("accuracy"):
            accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
    tf.summary.scalar("accuracy", accuracy)

    ema = tf.train.ExponentialMovingAverage(0.9, num_updates=global_step)
    with tf.control_dependencies([train_step]):
        train_op = ema.apply([scale])

    merged = tf.summary.merge_all()
    train_writer = tf.summary.FileWriter(FLAGS.log_dir + "/train", sess.graph)
    test_writer = tf.summary.FileWriter(FLAGS.log_dir + "/test")
    saver = tf.train.Saver()
    tf.global_variables_initializer().run()

    def feed_dict(train):
        if train:
            xs, ys = mnist_train.next_batch(100)
            k = FLAGS.dropout
        else:
            xs, ys = mnist_test.images[:2000], mnist_test.labels[:2000]
            k = 1.0
        return {x: xs, y_: ys, keep_prob: k}

    for i in range(FLAGS.max_steps):
        if i % 50 == 0:
            summary, acc = sess.run([merged, accuracy], feed_dict=feed_dict(False))
            test_writer.add_summary(summary, i)
            print("Accuracy at step %s: %s" % (i, acc))
        elif i % 100 == 99:
            run_options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
            run_metadata = tf.RunMetadata()
            summary, _ = sess.run([merged, train_op], feed_dict=feed_dict(True), options=run_options,
                                  run_metadata=run_metadata)
            train_writer.add_run_metadata(run_metadata, "step%03d" % i)
            train_writer.add_summary(summary, i)
        else:
            summary, _ = sess.run([merged, train_op], feed_dict=feed_dict(True))
            train_writer.add_summary(summary, i)
    train_writer.close()
    test_writer.close()

    final = accuracy.eval(feed_dict(False))
    path = saver.save(sess, os.path.join(FLAGS.log_dir, "model.ckpt"), global_step=global_step)
    tf.global_variables_initializer().run()
    saver.restore(sess, path)
    assert accuracy.eval(feed_dict(False)) == final
    print("Final accuracy: %s" % final)
    sess.close()


def main(_):
    if tf.gfile.Exists(FLAGS.log_dir):
        tf.gfile.DeleteRecursively(FLAGS.log_dir)
    tf.gfile.MakeDirs(FLAGS.log_dir)
    train()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_steps", type=int, default=1000)
    parser.add_argument("--learning_rate", type=float, default=0.001)
    parser.add_argument("--dropout", type=float, default=0.9)
    parser.add_argument("--data_dir", default="/usr/share/datasets/fashion-mnist")
    parser.add_argument("--log_dir", default="/tmp/sluice/mnist_with_summaries")
    FLAGS, unparsed = parser.parse_known_args()
    tf.app.run(main=main, argv=[sys.argv[0]] + unparsed)
