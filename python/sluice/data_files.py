"""Data sets that are installed on the machine."""
import collections
import gzip
import os
import struct

import numpy as np

FASHION_MNIST_CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                         "Ankle boot")
FashionMnist = collections.namedtuple("FashionMnist", "train_images train_labels test_images test_labels")


def read_idx(path):
    """The array in an IDX file (the format of MNIST), plain or gzip-compressed. Raises ValueError when it is damaged."""
    opener = gzip.open if os.fspath(path).endswith(".gz") else open
    try:
        with opener(path, "rb") as f:
            data = f.read()
    except (EOFError, gzip.BadGzipFile) as e:
        raise ValueError("%s is damaged: %s" % (path, e)) from None
    types = {8: np.uint8, 9: np.int8, 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in types or len(data) < 4 + 4 * data[3]:
        raise ValueError("%s is not an IDX file" % path)
    shape = struct.unpack_from(">%dI" % data[3], data, 4)
    dtype = np.dtype(types[data[2]])
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    start = 4 + 4 * data[3]
    if len(data) != start + size:
        raise ValueError("%s holds %d bytes of data where its shape %s needs %d"
                         % (path, len(data) - start, list(shape), size))
    return np.frombuffer(data, dtype, offset=start).reshape(shape)


def fashion_mnist(folder=None):
    """Fashion-MNIST (60,000 and 10,000 images of 28x28 bytes, with labels 0-9) from a folder with its four IDX files.

    Without a folder, from $SLUICE_FASHION_MNIST or from where Debian's package dataset-fashion-mnist puts it.
    """
    folder = folder or os.environ.get("SLUICE_FASHION_MNIST") or "/usr/share/datasets/fashion-mnist"
    arrays = []
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                 "t10k-labels-idx1-ubyte"):
        path = os.path.join(folder, name)
        path = path if os.path.exists(path) else path + ".gz"
        if not os.path.exists(path):
            raise FileNotFoundError("%s is not there: install Debian's package dataset-fashion-mnist, or name a folder "
                                    "that has the four files" % path)
        arrays.append(read_idx(path))
    return FashionMnist(*arrays)
