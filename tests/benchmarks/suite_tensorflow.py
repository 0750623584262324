import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf  # noqa: E402

from suite_tf1 import Suite  # noqa: E402


def make(threads):
    tf.compat.v1.disable_eager_execution()
    return Suite(tf.compat.v1, tf.__version__, threads)
