"""Convolution layers."""
import sluice as sl
from sluice.layers._base import InputSpec, Layer, channels_first, padding_of, tuple_of, window_length
from sluice.layers._core import finish


class _Conv(Layer):
    """activation(convolution(inputs, kernel) + bias) over `rank` spatial dimensions."""

    def __init__(self, rank, filters, kernel_size, strides=1, padding="valid", data_format="channels_last",
                 dilation_rate=1, activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None,
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, trainable=True, name=None, **kwargs):
        super().__init__(trainable=trainable, name=name, **kwargs)
        self.rank, self.filters = rank, filters
        self.kernel_size = tuple_of(kernel_size, rank, "kernel_size")
        self.strides = tuple_of(strides, rank, "strides")
        self.dilation_rate = tuple_of(dilation_rate, rank, "dilation_rate")
        if any(s > 1 for s in self.strides) and any(d > 1 for d in self.dilation_rate):
            raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
        self.padding = padding.lower()
        self._padding = padding_of(padding)
        self.data_format = data_format.lower()
        self._first = channels_first(data_format)
        self.activation, self.use_bias = activation, use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = sl.zeros_initializer() if bias_initializer is None else bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.kernel = self.bias = None
        self.input_spec = InputSpec(ndim=rank + 2)

    def _channels(self, input_shape):
        axis = 1 if self._first else -1
        size = sl.TensorShape(input_shape).as_list()[axis]
        if size is None:
            raise ValueError("The channel dimension of the inputs to `%s` should be defined. Found `None`."
                             % type(self).__name__)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: size})
        return size

    def _add_bias(self):
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.filters], initializer=self.bias_initializer,
                                        regularizer=self.bias_regularizer, constraint=self.bias_constraint)
        self.built = True

    def build(self, input_shape):
        size = self._channels(input_shape)
        self.kernel = self.add_weight("kernel", list(self.kernel_size) + [size, self.filters],
                                      initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
                                      constraint=self.kernel_constraint)
        self._add_bias()

    @property
    def _op_format(self):
        return {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW")}[self.rank][self._first]

    def call(self, inputs):
        op, name = (sl.nn.conv1d, "conv1d") if self.rank == 1 else (sl.nn.conv2d, "Conv2D")
        outputs = op(inputs, self.kernel, list(self.strides), self._padding, data_format=self._op_format,
                     dilations=list(self.dilation_rate), name=name)
        return self._finish(inputs, outputs)

    def _finish(self, inputs, outputs):
        if self.use_bias:
            outputs = sl.nn.bias_add(outputs, self.bias, data_format="NCHW" if self._first else "NHWC")
        return finish(self, inputs, outputs)

    def compute_output_shape(self, input_shape):
        sizes = sl.TensorShape(input_shape).as_list()
        spatial = sizes[2:] if self._first else sizes[1:-1]
        out = [window_length(n, k, self._padding, s, d)
               for n, k, s, d in zip(spatial, self.kernel_size, self.strides, self.dilation_rate)]
        return sl.TensorShape([sizes[0], self.filters] + out if self._first else [sizes[0]] + out + [self.filters])


class Conv1D(_Conv):
    """1-D convolution layer (over time, for example)."""

    def __init__(self, filters, kernel_size, strides=1, padding="valid", data_format="channels_last",
                 dilation_rate=1, *args, **kwargs):
        super().__init__(1, filters, kernel_size, strides, padding, data_format, dilation_rate, *args, **kwargs)


class Conv2D(_Conv):
    """2-D convolution layer (over images)."""

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
                 dilation_rate=(1, 1), *args, **kwargs):
        super().__init__(2, filters, kernel_size, strides, padding, data_format, dilation_rate, *args, **kwargs)


class Conv2DTranspose(_Conv):
    """The transpose of Conv2D, which makes images larger."""

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
                 *args, **kwargs):
        super().__init__(2, filters, kernel_size, strides, padding, data_format, 1, *args, **kwargs)

    def build(self, input_shape):
        size = self._channels(input_shape)
        self.kernel = self.add_weight("kernel", list(self.kernel_size) + [self.filters, size],
                                      initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
                                      constraint=self.kernel_constraint)
        self._add_bias()

    def call(self, inputs):
        known = inputs.get_shape().as_list()
        dynamic = sl.shape(inputs) if None in known else None
        size = [dynamic[i] if n is None else n for i, n in enumerate(known)]
        axes = (2, 3) if self._first else (1, 2)
        spatial = [self._grow(size[a], i) for i, a in enumerate(axes)]
        shape = [size[0], self.filters] + spatial if self._first else [size[0]] + spatial + [self.filters]
        shape = shape if dynamic is None else sl.stack(shape)
        outputs = sl.nn.conv2d_transpose(inputs, self.kernel, shape, list(self.strides), self._padding,
                                         data_format=self._op_format)
        outputs.set_shape(self.compute_output_shape(inputs.get_shape()))
        return self._finish(inputs, outputs)

    def _grow(self, length, i):
        if length is None:
            return None
        length = length * self.strides[i]
        return length if self._padding == "SAME" else length + max(self.kernel_size[i] - self.strides[i], 0)

    def compute_output_shape(self, input_shape):
        sizes = sl.TensorShape(input_shape).as_list()
        spatial = [self._grow(n, i) for i, n in enumerate(sizes[2:] if self._first else sizes[1:-1])]
        return sl.TensorShape([sizes[0], self.filters] + spatial if self._first
                              else [sizes[0]] + spatial + [self.filters])


class SeparableConv2D(_Conv):
    """A depthwise convolution followed by a pointwise one."""

    def __init__(self, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
                 dilation_rate=(1, 1), depth_multiplier=1, depthwise_initializer=None, pointwise_initializer=None,
                 depthwise_regularizer=None, pointwise_regularizer=None, depthwise_constraint=None,
                 pointwise_constraint=None, **kwargs):
        super().__init__(2, filters, kernel_size, strides, padding, data_format, dilation_rate, **kwargs)
        self.depth_multiplier = depth_multiplier
        self._depthwise = (depthwise_initializer, depthwise_regularizer, depthwise_constraint)
        self._pointwise = (pointwise_initializer, pointwise_regularizer, pointwise_constraint)
        self.depthwise_kernel = self.pointwise_kernel = None

    def build(self, input_shape):
        size = self._channels(input_shape)
        wide = size * self.depth_multiplier
        self.depthwise_kernel = self._kernel("depthwise_kernel", list(self.kernel_size) + [size, self.depth_multiplier],
                                             self._depthwise)
        self.pointwise_kernel = self._kernel("pointwise_kernel", [1, 1, wide, self.filters], self._pointwise)
        self._add_bias()

    def _kernel(self, name, shape, settings):
        initializer, regularizer, constraint = settings
        return self.add_weight(name, shape, initializer=initializer, regularizer=regularizer, constraint=constraint)

    def call(self, inputs):
        strides = (1, 1) + self.strides if self._first else (1,) + self.strides + (1,)
        outputs = sl.nn.separable_conv2d(inputs, self.depthwise_kernel, self.pointwise_kernel, list(strides),
                                         self._padding, rate=list(self.dilation_rate), data_format=self._op_format)
        return self._finish(inputs, outputs)


def conv1d(inputs, filters, kernel_size, strides=1, padding="valid", data_format="channels_last", dilation_rate=1,
           activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None, kernel_regularizer=None,
           bias_regularizer=None, activity_regularizer=None, kernel_constraint=None, bias_constraint=None,
           trainable=True, name=None, reuse=None):
    """A 1-D convolution layer."""
    return Conv1D(filters, kernel_size, strides, padding, data_format, dilation_rate, activation=activation,
                  use_bias=use_bias, kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                  kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                  activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
                  bias_constraint=bias_constraint, trainable=trainable, name=name, _scope=name,
                  _reuse=reuse).apply(inputs)


def conv2d(inputs, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
           dilation_rate=(1, 1), activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None,
           kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
           bias_constraint=None, trainable=True, name=None, reuse=None):
    """A 2-D convolution layer."""
    return Conv2D(filters, kernel_size, strides, padding, data_format, dilation_rate, activation=activation,
                  use_bias=use_bias, kernel_initializer=kernel_initializer, bias_initializer=bias_initializer,
                  kernel_regularizer=kernel_regularizer, bias_regularizer=bias_regularizer,
                  activity_regularizer=activity_regularizer, kernel_constraint=kernel_constraint,
                  bias_constraint=bias_constraint, trainable=trainable, name=name, _scope=name,
                  _reuse=reuse).apply(inputs)


def conv2d_transpose(inputs, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
                     activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None,
                     kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None,
                     kernel_constraint=None, bias_constraint=None, trainable=True, name=None, reuse=None):
    """A transposed 2-D convolution layer."""
    return Conv2DTranspose(filters, kernel_size, strides, padding, data_format, activation=activation,
                           use_bias=use_bias, kernel_initializer=kernel_initializer,
                           bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                           bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                           kernel_constraint=kernel_constraint, bias_constraint=bias_constraint,
                           trainable=trainable, name=name, _scope=name, _reuse=reuse).apply(inputs)


def separable_conv2d(inputs, filters, kernel_size, strides=(1, 1), padding="valid", data_format="channels_last",
                     dilation_rate=(1, 1), depth_multiplier=1, activation=None, use_bias=True,
                     depthwise_initializer=None, pointwise_initializer=None, bias_initializer=None,
                     depthwise_regularizer=None, pointwise_regularizer=None, bias_regularizer=None,
                     activity_regularizer=None, depthwise_constraint=None, pointwise_constraint=None,
                     bias_constraint=None, trainable=True, name=None, reuse=None):
    """A separable 2-D convolution layer."""
    return SeparableConv2D(filters, kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier,
                           activation=activation, use_bias=use_bias, depthwise_initializer=depthwise_initializer,
                           pointwise_initializer=pointwise_initializer, bias_initializer=bias_initializer,
                           depthwise_regularizer=depthwise_regularizer, pointwise_regularizer=pointwise_regularizer,
                           bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                           depthwise_constraint=depthwise_constraint, pointwise_constraint=pointwise_constraint,
                           bias_constraint=bias_constraint, trainable=trainable, name=name, _scope=name,
                           _reuse=reuse).apply(inputs)
