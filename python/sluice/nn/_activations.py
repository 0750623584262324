"""Activations, bias, and the small dense helpers."""
import numbers

import sluice as sl
from sluice import raw_ops


def relu(features, name=None):
    """max(features, 0)."""
    return raw_ops.Relu(features, name=name)


def relu6(features, name=None):
    """min(max(features, 0), 6)."""
    return raw_ops.Relu6(features, name=name)


def elu(features, name=None):
    """features where positive, exp(features) - 1 elsewhere."""
    return raw_ops.Elu(features, name=name)


def selu(features, name=None):
    """The self-normalising scaled elu."""
    return raw_ops.Selu(features, name=name)


def softplus(features, name=None):
    """log(1 + exp(features))."""
    return raw_ops.Softplus(features, name=name)


def softsign(features, name=None):
    """features / (1 + |features|)."""
    return raw_ops.Softsign(features, name=name)


def sigmoid(x, name=None):
    """1 / (1 + exp(-x))."""
    return sl.sigmoid(x, name=name)


def tanh(x, name=None):
    """Hyperbolic tangent."""
    return sl.tanh(x, name=name)


def leaky_relu(features, alpha=0.2, name=None):
    """features where positive, alpha * features elsewhere."""
    with sl.name_scope(name, "LeakyRelu", [features, alpha]) as scope:
        features = sl.convert_to_tensor(features, name="features")
        if features.dtype.is_integer:
            features = sl.cast(features, sl.float32)
        return raw_ops.LeakyRelu(features, alpha=float(alpha), name=scope)


def crelu(features, name=None, axis=-1):
    """relu of the features and of their negation, side by side along `axis`."""
    with sl.name_scope(name, "CRelu", [features]) as scope:
        features = sl.convert_to_tensor(features, name="features")
        return raw_ops.Relu(sl.concat([features, -features], axis, name=scope))


def swish(features=None, beta=1.0, name=None):
    """features * sigmoid(beta * features)."""
    with sl.name_scope(name, "swish", [features]):
        features = sl.convert_to_tensor(features, name="features")
        scaled = features if isinstance(beta, numbers.Number) and beta == 1.0 else features * beta
        return features * sl.sigmoid(scaled)


silu = swish


def gelu(features, approximate=False, name=None):
    """features * P(X <= features) for a standard normal X; `approximate` uses the tanh form."""
    with sl.name_scope(name, "Gelu", [features]):
        features = sl.convert_to_tensor(features, name="features")
        if approximate:
            inner = 0.7978845608028654 * (features + 0.044715 * features * features * features)
            return 0.5 * features * (1.0 + sl.tanh(inner))
        return 0.5 * features * (1.0 + sl.erf(features / 1.4142135623730951))


def softmax(logits, axis=None, name=None, dim=None):
    """exp(logits) / sum(exp(logits)) along `axis` (the last one by default)."""
    return _along_axis(raw_ops.Softmax, logits, _axis(axis, dim), name)


def log_softmax(logits, axis=None, name=None, dim=None):
    """logits - log(sum(exp(logits))) along `axis` (the last one by default)."""
    return _along_axis(raw_ops.LogSoftmax, logits, _axis(axis, dim), name)


def _axis(axis, dim):
    if axis is not None and dim is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'")
    axis = dim if axis is None else axis
    return -1 if axis is None else axis


def _along_axis(op, logits, axis, name):
    """Applies `op`, which works on the last axis, along `axis`."""
    logits = sl.convert_to_tensor(logits)
    rank = logits.shape.ndims
    if axis == -1 or (rank is not None and axis == rank - 1):
        return op(logits, name=name)
    if rank is None:
        raise ValueError("softmax along axis %s needs logits of a known rank" % axis)
    if not -rank <= axis < rank:
        raise sl.errors.InvalidArgumentError(
            None, None, "Invalid 'axis' argument: axis must be in [%d, %d), got %d" % (-rank, rank, axis))
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return sl.transpose(op(sl.transpose(logits, order)), order, name=name)


def bias_add(value, bias, data_format=None, name=None):
    """Adds a vector along the channels of `value`."""
    if data_format is None or data_format == "N...C":
        data_format = "NHWC"
    elif data_format.startswith("NC"):
        data_format = "NCHW"
    elif data_format.startswith("N") and data_format.endswith("C"):
        data_format = "NHWC"
    else:
        raise ValueError("data_format must be of the form `N...C` or `NC...`, got %r" % (data_format,))
    with sl.name_scope(name, "BiasAdd", [value, bias]) as scope:
        value = sl.convert_to_tensor(value, name="input")
        bias = sl.convert_to_tensor(bias, dtype=value.dtype, name="bias")
        return raw_ops.BiasAdd(value, bias, data_format=data_format, name=scope)


def xw_plus_b(x, weights, biases, name=None):
    """matmul(x, weights) + biases."""
    with sl.name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        x = sl.convert_to_tensor(x, name="x")
        weights = sl.convert_to_tensor(weights, name="weights")
        biases = sl.convert_to_tensor(biases, name="biases")
        return bias_add(sl.matmul(x, weights), biases, name=scope)


def relu_layer(x, weights, biases, name=None):
    """relu(matmul(x, weights) + biases)."""
    with sl.name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        x = sl.convert_to_tensor(x, name="x")
        weights = sl.convert_to_tensor(weights, name="weights")
        biases = sl.convert_to_tensor(biases, name="biases")
        return raw_ops.Relu(bias_add(sl.matmul(x, weights), biases), name=scope)


def l2_loss(t, name=None):
    """sum(t ** 2) / 2."""
    return raw_ops.L2Loss(t, name=name)


def zero_fraction(value, name=None):
    """The share of the elements of `value` that are zero, as a float32 scalar."""
    with sl.name_scope(name, "zero_fraction", [value]):
        value = sl.convert_to_tensor(value, name="value")
        size = sl.size(value, out_type=sl.int64)
        nonzero = sl.reduce_sum(sl.cast(sl.not_equal(value, sl.zeros([], value.dtype)), sl.int64))
        fraction = sl.cast(size - nonzero, sl.float32) / sl.cast(size, sl.float32)
        return sl.identity(fraction, "fraction")
