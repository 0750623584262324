"""What every library computes: the same weights and data, made by NumPy from one seed."""

import re

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


def matrices(m, n, k, seed=3):
    r = np.random.default_rng(seed)
    a, b = r.standard_normal((m, k)).astype(np.float32), r.standard_normal((k, n)).astype(np.float32)
    return a, b / np.float32(np.sqrt(k))  # so that a chain of products neither grows nor dies out


def cell(seed=4):
    """B05b: W [64,64], b and h [64,1]."""
    r = np.random.default_rng(seed)
    return tuple((0.1 * r.standard_normal(s)).astype(np.float32) for s in ((64, 64), (64, 1), (64, 1)))


def floats(*shape, seed=5):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def norm():
    """B13b: x and the residual [4096,768], gain and bias [768]."""
    return floats(4096, 768), floats(4096, 768, seed=6), floats(768, seed=7), floats(768, seed=8)


def adds(x, add):
    """B02: 511 additions in a tree, 489 in a chain."""
    level = [x] * 512
    while len(level) > 1:
        level = [add(a, b) for a, b in zip(level[::2], level[1::2])]
    y = level[0]
    for _ in range(1000 - 511):
        y = add(y, x)
    return y


def chain(m, x):
    """B13a: ten element-wise operations, with the functions of a library `m`."""
    y = m.maximum(x * 1.01 + 0.1, 0.0) * 0.5 - 0.2
    return m.minimum(m.abs(y) * y + 0.3, 2.0) * 0.7


def sample(array):
    """64 numbers of a result and its size, enough to tell it from another."""
    flat = np.asarray(array, dtype=np.float32).reshape(-1)
    return flat[np.linspace(0, flat.size - 1, min(64, flat.size)).astype(int)].tolist() + [float(np.sqrt(np.mean(flat.astype(np.float64)**2)))]


def _status(field):
    with open("/proc/self/status", encoding="ascii") as f:
        return 1024 * int(re.search(field + r":\s*(\d+) kB", f.read()).group(1))


def grown(build, copies=3, steps=20):
    """Bytes that the process's peak rises by when a step of B08 is built and run, less what it must keep: so many `copies`
    of the weights (they themselves, Adam's two slots). Pages of files, which is code, are left out."""
    for _ in range(3):  # the last time in memory that the C library keeps and will use again for the numbers of the model
        weights, biases, _, _ = lenet()
    kept = copies * sum(a.nbytes for a in weights + biases)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("5")  # the peak begins anew
    before = _status("RssAnon")
    step, _ = build()
    for _ in range(steps):
        step()
    return _status("VmHWM") - _status("RssFile") - before - kept
