"""Dense, Dropout, Flatten."""
import sluice as sl
from sluice.layers._base import InputSpec, Layer


class Dense(Layer):
    """activation(inputs . kernel + bias), over the last axis of inputs of any rank from 2."""

    def __init__(self, units, activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None,
                 kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
                 bias_constraint=None, trainable=True, name=None, **kwargs):
        super().__init__(trainable=trainable, name=name, **kwargs)
        self.units = int(units)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = sl.zeros_initializer() if bias_initializer is None else bias_initializer
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.kernel = self.bias = None
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape):
        size = sl.TensorShape(input_shape).as_list()[-1]
        if size is None:
            raise ValueError("The last dimension of the inputs to `Dense` should be defined. Found `None`.")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        self.kernel = self.add_weight("kernel", [size, self.units], initializer=self.kernel_initializer,
                                      regularizer=self.kernel_regularizer, constraint=self.kernel_constraint)
        if self.use_bias:
            self.bias = self.add_weight("bias", [self.units], initializer=self.bias_initializer,
                                        regularizer=self.bias_regularizer, constraint=self.bias_constraint)
        self.built = True

    def call(self, inputs):
        inputs = sl.convert_to_tensor(inputs)
        rank = inputs.get_shape().ndims
        if rank == 2:
            outputs = sl.matmul(inputs, self.kernel)
        else:
            outputs = sl.tensordot(inputs, self.kernel, [[rank - 1], [0]])
            outputs.set_shape(inputs.get_shape().as_list()[:-1] + [self.units])
        if self.use_bias:
            outputs = sl.nn.bias_add(outputs, self.bias)
        return finish(self, inputs, outputs)

    def compute_output_shape(self, input_shape):
        return sl.TensorShape(sl.TensorShape(input_shape).as_list()[:-1] + [self.units])


def finish(layer, inputs, outputs):
    """Applies a layer's activation and its activity regulariser."""
    if layer.activation is not None:
        outputs = layer.activation(outputs)
    if layer.activity_regularizer is not None:
        with sl.name_scope("ActivityRegularizer"):
            layer.add_loss(layer.activity_regularizer(outputs), inputs=inputs)
    return outputs


class Dropout(Layer):
    """In training, sets a share `rate` of the inputs to zero and scales the rest; else the identity."""

    def __init__(self, rate=0.5, noise_shape=None, seed=None, name=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs, training=False):
        inputs = sl.convert_to_tensor(inputs)
        known = constant_value(training)
        if known is False:
            return sl.identity(inputs)
        rate = self.rate
        if known is None:
            # A rate of zero keeps every bit of the inputs, so one path serves both: it needs no branch, whose gradient
            # would have to remember the noise.
            rate = sl.where(training, sl.convert_to_tensor(rate, inputs.dtype), sl.zeros([], inputs.dtype))
        return sl.nn.dropout(inputs, rate=rate, noise_shape=self.noise_shape, seed=self.seed)

    def compute_output_shape(self, input_shape):
        return sl.TensorShape(input_shape)


def smart_cond(pred, true_fn, false_fn):
    """sl.cond, decided while building when `pred` is a Python value or a constant tensor."""
    value = constant_value(pred)
    if value is None:
        return sl.cond(pred, true_fn, false_fn)
    return true_fn() if value else false_fn()


def constant_value(pred):
    """`pred` as a bool when it is known while building, else None."""
    if isinstance(pred, sl.Variable):
        return None
    if isinstance(pred, sl.Tensor):
        value = sl.get_static_value(pred)
        return None if value is None else bool(value)
    return bool(pred)


class Flatten(Layer):
    """Keeps the batch axis and flattens the others."""

    def __init__(self, data_format=None, **kwargs):
        super().__init__(**kwargs)
        self.data_format = data_format or "channels_last"
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs):
        inputs = sl.convert_to_tensor(inputs)
        rank = inputs.get_shape().ndims
        if self.data_format == "channels_first" and rank is not None and rank > 2:
            inputs = sl.transpose(inputs, [0] + list(range(2, rank)) + [1])
        shape = self.compute_output_shape(inputs.get_shape())
        batch, size = shape.as_list()
        if size is not None:
            flat = [-1 if batch is None else batch, size]
        elif batch is not None:
            flat = [batch, -1]
        else:
            flat = sl.stack([sl.shape(inputs)[0], -1])
        outputs = sl.reshape(inputs, flat)
        outputs.set_shape(shape)
        return outputs

    def compute_output_shape(self, input_shape):
        sizes = sl.TensorShape(input_shape).as_list()
        size = 1
        for n in sizes[1:]:
            size = None if n is None or size is None else size * n
        return sl.TensorShape([sizes[0], size])


def dense(inputs, units, activation=None, use_bias=True, kernel_initializer=None, bias_initializer=None,
          kernel_regularizer=None, bias_regularizer=None, activity_regularizer=None, kernel_constraint=None,
          bias_constraint=None, trainable=True, name=None, reuse=None):
    """A densely connected layer: activation(inputs . kernel + bias)."""
    return Dense(units, activation=activation, use_bias=use_bias, kernel_initializer=kernel_initializer,
                 bias_initializer=bias_initializer, kernel_regularizer=kernel_regularizer,
                 bias_regularizer=bias_regularizer, activity_regularizer=activity_regularizer,
                 kernel_constraint=kernel_constraint, bias_constraint=bias_constraint, trainable=trainable, name=name,
                 _scope=name, _reuse=reuse).apply(inputs)


def dropout(inputs, rate=0.5, noise_shape=None, seed=None, training=False, name=None):
    """Dropout while `training` (a bool or a boolean tensor) holds."""
    return Dropout(rate, noise_shape=noise_shape, seed=seed, name=name, _scope=name).apply(inputs, training=training)


def flatten(inputs, name=None, data_format="channels_last"):
    """Keeps the batch axis and flattens the others."""
    return Flatten(data_format=data_format, name=name, _scope=name).apply(inputs)
