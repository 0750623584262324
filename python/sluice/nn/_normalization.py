"""Moments and normalisations."""
import sluice as sl
from sluice import raw_ops


def moments(x, axes, shift=None, name=None, keep_dims=None, keepdims=None):
    """(mean, variance) of `x` along `axes`; half floats are summed in float32."""
    keepdims = bool(keep_dims if keepdims is None else keepdims)
    with sl.name_scope(name, "moments", [x, axes]):
        x = sl.convert_to_tensor(x)
        narrow = x.dtype in (sl.float16, sl.bfloat16)
        y = sl.cast(x, sl.float32) if narrow else x
        mean = sl.reduce_mean(y, axes, keepdims=True, name="mean")
        # The gradient of the variance through the mean is exactly zero, so it is not computed.
        variance = sl.reduce_mean(sl.squared_difference(y, sl.stop_gradient(mean)), axes, keepdims=True,
                                  name="variance")
        if not keepdims:
            mean, variance = sl.squeeze(mean, axes), sl.squeeze(variance, axes)
        return (sl.cast(mean, x.dtype), sl.cast(variance, x.dtype)) if narrow else (mean, variance)


def sufficient_statistics(x, axes, shift=None, keep_dims=None, name=None, keepdims=None):
    """(count, sum, sum of squares, shift) of `x` along `axes`."""
    axes = sorted(set(axes))
    keepdims = bool(keep_dims if keepdims is None else keepdims)
    with sl.name_scope(name, "sufficient_statistics", [x, shift]):
        x = sl.convert_to_tensor(x, name="x")
        if x.shape.ndims is not None and all(x.shape.as_list()[d] is not None for d in axes):
            count = 1
            for d in axes:
                count *= x.shape.as_list()[d]
            count = sl.constant(count, dtype=x.dtype)
        else:
            count = sl.cast(sl.reduce_prod(sl.gather(sl.shape(x), axes)), x.dtype, name="count")
        if shift is not None:
            shift = sl.convert_to_tensor(shift, dtype=x.dtype, name="shift")
            mean_ss, var_ss = x - shift, sl.squared_difference(x, shift)
        else:
            mean_ss, var_ss = x, sl.square(x)
        mean_ss = sl.reduce_sum(mean_ss, axes, keepdims=keepdims, name="mean_ss")
        var_ss = sl.reduce_sum(var_ss, axes, keepdims=keepdims, name="var_ss")
    return count, mean_ss, var_ss, shift


def normalize_moments(counts, mean_ss, variance_ss, shift, name=None):
    """(mean, variance) from sufficient statistics."""
    with sl.name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = sl.reciprocal(counts, name="divisor")
        if shift is not None:
            shifted_mean = sl.multiply(mean_ss, divisor, name="shifted_mean")
            mean = sl.add(shifted_mean, shift, name="mean")
        else:
            mean = shifted_mean = sl.multiply(mean_ss, divisor, name="mean")
        variance = sl.subtract(variance_ss * divisor, sl.square(shifted_mean), name="variance")
    return mean, variance


def weighted_moments(x, axes, frequency_weights, name=None, keep_dims=None, keepdims=None):
    """(mean, variance) where each element counts `frequency_weights` times."""
    keepdims = bool(keep_dims if keepdims is None else keepdims)
    with sl.name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = sl.convert_to_tensor(x, name="x")
        weights = sl.cast(sl.convert_to_tensor(frequency_weights, name="frequency_weights"), x.dtype)
        total = sl.reduce_sum(weights * x, axes, keepdims=True, name="weighted_input_sum")
        weight = sl.reduce_sum(weights + sl.zeros_like(x), axes, keepdims=True, name="sum_of_weights")
        mean = sl.div_no_nan(total, weight)
        distance = sl.reduce_sum(weights * sl.squared_difference(x, mean), axes, keepdims=True,
                                 name="weighted_distsq")
        variance = sl.div_no_nan(distance, weight)
        if not keepdims:
            mean, variance = sl.squeeze(mean, axes), sl.squeeze(variance, axes)
        return mean, variance


def batch_normalization(x, mean, variance, offset, scale, variance_epsilon, name=None):
    """(x - mean) / sqrt(variance + epsilon) * scale + offset; scale and offset may be None."""
    with sl.name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        inverse = sl.rsqrt(variance + variance_epsilon)
        if scale is not None:
            inverse = inverse * scale
        scaled = x * sl.cast(inverse, x.dtype)
        shift = -mean * inverse if offset is None else offset - mean * inverse
        return scaled + sl.cast(shift, x.dtype)


def batch_norm_with_global_normalization(t=None, m=None, v=None, beta=None, gamma=None, variance_epsilon=None,
                                         scale_after_normalization=None, name=None, input=None, mean=None,
                                         variance=None):
    """The oldest spelling of batch_normalization."""
    pick = lambda new, old: old if new is None else new
    return batch_normalization(pick(input, t), pick(mean, m), pick(variance, v), beta,
                               gamma if scale_after_normalization else None, variance_epsilon, name)


def fused_batch_norm(x, scale, offset, mean=None, variance=None, epsilon=0.001, data_format="NHWC", is_training=True,
                     name=None, exponential_avg_factor=1.0):
    """(y, mean, variance) by one op; in training the moments come from the batch."""
    if is_training and exponential_avg_factor == 1.0 and (mean is not None or variance is not None):
        raise ValueError("Both `mean` and `variance` must be None when is_training is True and "
                         "exponential_avg_factor is 1.0")
    if not is_training and (mean is None or variance is None):
        raise ValueError("fused_batch_norm needs `mean` and `variance` when is_training is False")
    x = sl.convert_to_tensor(x, name="input")
    scale = sl.convert_to_tensor(scale, name="scale")
    offset = sl.convert_to_tensor(offset, name="offset")
    mean = sl.constant([], dtype=sl.float32) if mean is None else mean
    variance = sl.constant([], dtype=sl.float32) if variance is None else variance
    attrs = {} if exponential_avg_factor == 1.0 else {"exponential_avg_factor": exponential_avg_factor}
    out = raw_ops.FusedBatchNormV3(x, scale, offset, mean, variance, epsilon=max(epsilon, 1.001e-5),
                                   data_format=data_format, is_training=is_training, name=name, **attrs)
    return out[0], out[1], out[2]


def l2_normalize(x, axis=None, epsilon=1e-12, name=None, dim=None):
    """x / sqrt(max(sum(x ** 2), epsilon)) along `axis`."""
    axis = dim if axis is None else axis
    with sl.name_scope(name, "l2_normalize", [x]) as scope:
        x = sl.convert_to_tensor(x, name="x")
        total = sl.reduce_sum(sl.square(x), axis, keepdims=True)
        return sl.multiply(x, sl.rsqrt(sl.maximum(total, epsilon)), name=scope)


def lrn(input, depth_radius=5, bias=1, alpha=1, beta=0.5, name=None):
    """Local response normalisation over neighbouring channels."""
    return raw_ops.LRN(input, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta, name=name)


local_response_normalization = lrn
