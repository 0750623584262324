"""Batch normalisation."""
import sluice as sl
from sluice.layers._base import InputSpec, Layer
from sluice.layers._core import constant_value, smart_cond


class BatchNormalization(Layer):
    """Normalises each channel: by the batch's moments in training, by moving averages otherwise.

    The updates of the moving averages go to the UPDATE_OPS collection; a training program runs them with its train op:

        with sl.control_dependencies(sl.get_collection(sl.GraphKeys.UPDATE_OPS)):
            train_op = optimizer.minimize(loss)
    """

    def __init__(self, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer=None,
                 gamma_initializer=None, moving_mean_initializer=None, moving_variance_initializer=None,
                 beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                 renorm=False, renorm_clipping=None, renorm_momentum=0.99, fused=None, trainable=True,
                 virtual_batch_size=None, adjustment=None, name=None, **kwargs):
        super().__init__(trainable=trainable, name=name, **kwargs)
        if renorm or virtual_batch_size is not None or adjustment is not None:
            raise ValueError("BatchNormalization does not offer renorm, virtual_batch_size or adjustment")
        self.axis = list(axis) if isinstance(axis, (list, tuple)) else axis
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, center, scale
        self.beta_initializer = beta_initializer or sl.zeros_initializer()
        self.gamma_initializer = gamma_initializer or sl.ones_initializer()
        self.moving_mean_initializer = moving_mean_initializer or sl.zeros_initializer()
        self.moving_variance_initializer = moving_variance_initializer or sl.ones_initializer()
        self.beta_regularizer, self.gamma_regularizer = beta_regularizer, gamma_regularizer
        self.beta_constraint, self.gamma_constraint = beta_constraint, gamma_constraint
        self.fused = fused
        self.beta = self.gamma = self.moving_mean = self.moving_variance = None

    def build(self, input_shape):
        shape = sl.TensorShape(input_shape)
        if shape.ndims is None:
            raise ValueError("Input has undefined rank: %s" % shape)
        sizes = shape.as_list()
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        self._axes = [a + len(sizes) if a < 0 else a for a in axes]
        if any(not 0 <= a < len(sizes) for a in self._axes) or len(set(self._axes)) != len(self._axes):
            raise ValueError("Invalid axis %r for an input of shape %s" % (self.axis, shape))
        if any(sizes[a] is None for a in self._axes):
            raise ValueError("Input has undefined `axis` dimension. Input shape: %s" % shape)
        self.input_spec = InputSpec(ndim=len(sizes), axes={a: sizes[a] for a in self._axes})
        can_fuse = len(sizes) == 4 and self._axes in ([1], [3])
        if self.fused and not can_fuse:
            raise ValueError("fused batch normalisation needs a 4-D input and axis 1 or 3, got shape %s and axis %r"
                             % (shape, self.axis))
        self.fused = can_fuse if self.fused is None else self.fused
        dtype = sl.float32 if self._dtype in (sl.float16, sl.bfloat16) else self._dtype or sl.float32
        if len(self._axes) == 1:
            param = [sizes[self._axes[0]]]
        else:
            param = [n if i in self._axes else 1 for i, n in enumerate(sizes)]
        self._param_shape = param
        if self.scale:
            self.gamma = self.add_weight("gamma", param, dtype=dtype, initializer=self.gamma_initializer,
                                         regularizer=self.gamma_regularizer, constraint=self.gamma_constraint)
        if self.center:
            self.beta = self.add_weight("beta", param, dtype=dtype, initializer=self.beta_initializer,
                                        regularizer=self.beta_regularizer, constraint=self.beta_constraint)
        self.moving_mean = self.add_weight("moving_mean", param, dtype=dtype, trainable=False,
                                           initializer=self.moving_mean_initializer)
        self.moving_variance = self.add_weight("moving_variance", param, dtype=dtype, trainable=False,
                                               initializer=self.moving_variance_initializer)
        self.built = True

    def call(self, inputs, training=False):
        inputs = sl.convert_to_tensor(inputs)
        return self._fused(inputs, training) if self.fused else self._plain(inputs, training)

    def _update_averages(self, inputs, training, mean, variance):
        """Adds the updates of both moving averages unless `training` is known to be false."""
        known = constant_value(training)
        if known is False:
            return
        if known is None:
            with sl.name_scope("momentum"):
                keep = sl.cond(training, lambda: sl.constant(float(self.momentum)), lambda: sl.constant(1.0))
        else:
            keep = self.momentum
        for variable, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            with sl.name_scope("AssignMovingAvg") as scope, sl.colocate_with(variable):
                decay = sl.convert_to_tensor(1.0 - keep, dtype=variable.dtype.base_dtype, name="decay")
                delta = (variable - sl.cast(value, variable.dtype.base_dtype)) * decay
                self.add_update(sl.assign_sub(variable, delta, name=scope), inputs=inputs)

    def _fused(self, inputs, training):
        data_format = "NCHW" if self._axes == [1] else "NHWC"
        gamma = self.gamma if self.scale else sl.ones(self._param_shape, sl.float32)
        beta = self.beta if self.center else sl.zeros(self._param_shape, sl.float32)

        def train():
            return list(sl.nn.fused_batch_norm(inputs, gamma, beta, epsilon=self.epsilon, data_format=data_format))

        def infer():
            return list(sl.nn.fused_batch_norm(inputs, gamma, beta, mean=self.moving_mean,
                                               variance=self.moving_variance, epsilon=self.epsilon,
                                               is_training=False, data_format=data_format))

        output, mean, variance = smart_cond(training, train, infer)
        self._update_averages(inputs, training, mean, variance)
        return output

    def _plain(self, inputs, training):
        rank = inputs.get_shape().ndims
        reduce = [i for i in range(rank) if i not in self._axes]
        last = self._axes == [rank - 1]
        broadcast = [inputs.get_shape().as_list()[i] if i in self._axes else 1 for i in range(rank)]

        def spread(value):
            return value if value is None or last or len(self._axes) > 1 else sl.reshape(value, broadcast)

        keep = len(self._axes) > 1
        if constant_value(training) is False:
            mean, variance = self.moving_mean, self.moving_variance
        else:
            mean, variance = sl.nn.moments(inputs, reduce, keep_dims=keep)
            batch_mean, batch_variance = mean, variance
            mean = smart_cond(training, lambda: batch_mean, lambda: sl.identity(self.moving_mean))
            variance = smart_cond(training, lambda: batch_variance, lambda: sl.identity(self.moving_variance))
            self._update_averages(inputs, training, mean, variance)
        outputs = sl.nn.batch_normalization(inputs, spread(sl.cast(mean, inputs.dtype)),
                                            spread(sl.cast(variance, inputs.dtype)), _as(spread(self.beta), inputs),
                                            _as(spread(self.gamma), inputs), self.epsilon)
        outputs.set_shape(inputs.get_shape())
        return outputs

    def compute_output_shape(self, input_shape):
        return sl.TensorShape(input_shape)


def _as(value, like):
    return None if value is None else sl.cast(value, like.dtype)


def batch_normalization(inputs, axis=-1, momentum=0.99, epsilon=1e-3, center=True, scale=True, beta_initializer=None,
                        gamma_initializer=None, moving_mean_initializer=None, moving_variance_initializer=None,
                        beta_regularizer=None, gamma_regularizer=None, beta_constraint=None, gamma_constraint=None,
                        training=False, trainable=True, name=None, reuse=None, renorm=False, renorm_clipping=None,
                        renorm_momentum=0.99, fused=None, virtual_batch_size=None, adjustment=None):
    """A batch normalisation layer; `training` is a bool or a boolean tensor."""
    return BatchNormalization(
        axis=axis, momentum=momentum, epsilon=epsilon, center=center, scale=scale, beta_initializer=beta_initializer,
        gamma_initializer=gamma_initializer, moving_mean_initializer=moving_mean_initializer,
        moving_variance_initializer=moving_variance_initializer, beta_regularizer=beta_regularizer,
        gamma_regularizer=gamma_regularizer, beta_constraint=beta_constraint, gamma_constraint=gamma_constraint,
        renorm=renorm, renorm_clipping=renorm_clipping, renorm_momentum=renorm_momentum, fused=fused,
        trainable=trainable, virtual_batch_size=virtual_batch_size, adjustment=adjustment, name=name, _reuse=reuse,
        _scope=name).apply(inputs, training=training)
