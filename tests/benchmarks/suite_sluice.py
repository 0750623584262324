import sluice as sl
from suite_tf1 import Suite


def make(threads):
    return Suite(sl, sl.__version__, threads)
