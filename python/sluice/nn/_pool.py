"""Pooling."""
import sluice as sl
from sluice import raw_ops
from sluice.nn._conv import _as_2d, _insert, _per_dimension, _pick


def _window(value, data_format, name, n=2):
    return _per_dimension(value, n, 1 if data_format.startswith("NC") else n + 1, name)


def max_pool(value=None, ksize=None, strides=None, padding=None, data_format="NHWC", name=None, input=None):
    """The largest value of each window."""
    value = _pick("input", input, "value", value)
    data_format = data_format or "NHWC"
    if not isinstance(padding, str):
        pads = [list(p) for p in padding]
        value = sl.convert_to_tensor(value)
        value, padding = sl.pad(value, pads, constant_values=value.dtype.min), "VALID"
    with sl.name_scope(name, "MaxPool", [value]) as scope:
        return raw_ops.MaxPool(value, ksize=_window(ksize, data_format, "ksize"),
                               strides=_window(strides, data_format, "strides"), padding=padding,
                               data_format=data_format, name=scope)


def avg_pool(value=None, ksize=None, strides=None, padding=None, data_format="NHWC", name=None, input=None):
    """The mean of each window; padding does not count."""
    value = _pick("input", input, "value", value)
    data_format = data_format or "NHWC"
    with sl.name_scope(name, "AvgPool", [value]) as scope:
        return raw_ops.AvgPool(value, ksize=_window(ksize, data_format, "ksize"),
                               strides=_window(strides, data_format, "strides"), padding=padding,
                               data_format=data_format, name=scope)


def max_pool2d(input, ksize, strides, padding, data_format="NHWC", name=None):
    """max_pool under its dimensioned name."""
    return max_pool(input, ksize, strides, padding, data_format, name or "MaxPool2d")


def avg_pool2d(input, ksize, strides, padding, data_format="NHWC", name=None):
    """avg_pool under its dimensioned name."""
    return avg_pool(input, ksize, strides, padding, data_format, name or "AvgPool2D")


def _pool1d(op, default, input, ksize, strides, padding, data_format, name):
    axis, format_2d = _as_2d(data_format)
    with sl.name_scope(name, default, [input]) as scope:
        ksize = _insert(_window(ksize, data_format, "ksize", 1), axis)
        strides = _insert(_window(strides, data_format, "strides", 1), axis)
        result = op(sl.expand_dims(input, axis), ksize=ksize, strides=strides, padding=padding,
                    data_format=format_2d, name=scope)
        return sl.squeeze(result, [axis])


def max_pool1d(input, ksize, strides, padding, data_format="NWC", name=None):
    """The largest value of each window of a 3-D input."""
    return _pool1d(raw_ops.MaxPool, "MaxPool1d", input, ksize, strides, padding, data_format, name)


def avg_pool1d(input, ksize, strides, padding, data_format="NWC", name=None):
    """The mean of each window of a 3-D input."""
    return _pool1d(raw_ops.AvgPool, "AvgPool1D", input, ksize, strides, padding, data_format, name)


def max_pool_with_argmax(input, ksize, strides, padding, data_format="NHWC", Targmax=None, name=None,
                         output_dtype=None, include_batch_in_index=False):
    """(output, argmax): the largest values and their flat positions."""
    if data_format != "NHWC":
        raise ValueError("max_pool_with_argmax takes data_format 'NHWC' alone, got %r" % (data_format,))
    return raw_ops.MaxPoolWithArgmax(input, ksize=_window(ksize, data_format, "ksize"),
                                     strides=_window(strides, data_format, "strides"), padding=padding,
                                     Targmax=Targmax or output_dtype or sl.int64,
                                     include_batch_in_index=include_batch_in_index, name=name)


def pool(input, window_shape, pooling_type, padding, dilation_rate=None, strides=None, name=None, data_format=None,
         dilations=None):
    """Pooling over 1 or 2 spatial dimensions; pooling_type is 'MAX' or 'AVG'."""
    rate = _pick("dilations", dilations, "dilation_rate", dilation_rate)
    if rate is not None and any(int(r) != 1 for r in ([rate] if isinstance(rate, int) else rate)):
        raise ValueError("pool does not take a dilation_rate other than 1, got %r" % (rate,))
    n = len(window_shape)
    ops = {("MAX", 1): max_pool1d, ("AVG", 1): avg_pool1d, ("MAX", 2): max_pool, ("AVG", 2): avg_pool}
    if (pooling_type, n) not in ops:
        raise ValueError("pool takes pooling_type 'MAX' or 'AVG' over 1 or 2 spatial dimensions, got %r over %d"
                         % (pooling_type, n))
    with sl.name_scope(name, "%s_pool" % pooling_type.lower(), [input]) as scope:
        return ops[pooling_type, n](input, list(window_shape), list(strides or [1] * n), padding,
                                    data_format or ("NWC" if n == 1 else "NHWC"), name=scope)
