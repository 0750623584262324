"""Pooling layers."""
import sluice as sl
from sluice.layers._base import InputSpec, Layer, channels_first, padding_of, tuple_of, window_length


class _Pooling(Layer):
    rank = 2
    op_names = None  # (1-D function, 2-D function) of sl.nn

    def __init__(self, pool_size, strides, padding="valid", data_format="channels_last", name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.pool_size = tuple_of(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else tuple_of(strides, self.rank, "strides")
        self.padding = padding
        self._padding = padding_of(padding)
        self.data_format = data_format
        self._first = channels_first(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs):
        op = getattr(sl.nn, self.op_names[self.rank - 1])
        data_format = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW")}[self.rank][self._first]
        return op(inputs, list(self.pool_size), list(self.strides), self._padding, data_format=data_format)

    def compute_output_shape(self, input_shape):
        sizes = sl.TensorShape(input_shape).as_list()
        start = 2 if self._first else 1
        for i in range(self.rank):
            sizes[start + i] = window_length(sizes[start + i], self.pool_size[i], self._padding, self.strides[i])
        return sl.TensorShape(sizes)


class MaxPooling1D(_Pooling):
    """The largest value of each window of 3-D inputs."""
    rank, op_names = 1, ("max_pool1d", "max_pool")


class MaxPooling2D(_Pooling):
    """The largest value of each window of 4-D inputs."""
    rank, op_names = 2, ("max_pool1d", "max_pool")


class AveragePooling1D(_Pooling):
    """The mean of each window of 3-D inputs."""
    rank, op_names = 1, ("avg_pool1d", "avg_pool")


class AveragePooling2D(_Pooling):
    """The mean of each window of 4-D inputs."""
    rank, op_names = 2, ("avg_pool1d", "avg_pool")


def max_pooling1d(inputs, pool_size, strides, padding="valid", data_format="channels_last", name=None):
    """Max pooling of 3-D inputs."""
    return MaxPooling1D(pool_size, strides, padding, data_format, name).apply(inputs)


def max_pooling2d(inputs, pool_size, strides, padding="valid", data_format="channels_last", name=None):
    """Max pooling of 4-D inputs."""
    return MaxPooling2D(pool_size, strides, padding, data_format, name).apply(inputs)


def average_pooling1d(inputs, pool_size, strides, padding="valid", data_format="channels_last", name=None):
    """Average pooling of 3-D inputs."""
    return AveragePooling1D(pool_size, strides, padding, data_format, name).apply(inputs)


def average_pooling2d(inputs, pool_size, strides, padding="valid", data_format="channels_last", name=None):
    """Average pooling of 4-D inputs."""
    return AveragePooling2D(pool_size, strides, padding, data_format, name).apply(inputs)
