"""What every library computes: the same weights and data, made by NumPy from one seed."""

import numpy as np


def mlp(seed=1):
    """B07: 784-256-128-10, batch 64."""
    r = np.random.default_rng(seed)
    sizes = [784, 256, 128, 10]
    weights = [(r.standard_normal((a, b)) * np.sqrt(2 / a)).astype(np.float32) for a, b in zip(sizes, sizes[1:])]
    biases = [np.zeros(b, np.float32) for b in sizes[1:]]
    x = r.standard_normal((64, 784)).astype(np.float32)
    y = r.integers(0, 10, 64).astype(np.int32)
    return weights, biases, x, y


def lenet(seed=2):
    """B08: conv5x5->32, pool2, conv5x5->64, pool2, fc 3136-512-10, batch 32; filters are [height, width, in, out]."""
    r = np.random.default_rng(seed)

    def init(*shape):
        fan_in = int(np.prod(shape[:-1]))
        return (r.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)

    weights = [init(5, 5, 1, 32), init(5, 5, 32, 64), init(3136, 512), init(512, 10)]
    biases = [np.zeros(w.shape[-1], np.float32) for w in weights]
    x = r.standard_normal((32, 28, 28, 1)).astype(np.float32)
    y = r.integers(0, 10, 32).astype(np.int32)
    return weights, biases, x, y


def matrices(n, seed=3):
    r = np.random.default_rng(seed)
    a, b = r.standard_normal((n, n)).astype(np.float32), r.standard_normal((n, n)).astype(np.float32)
    return a, b / np.float32(np.sqrt(n))  # so that a chain of products neither grows nor dies out
