"""Convolutions: argument forms of tf.compat.v1.nn over the Conv ops."""
import sluice as sl
from sluice import raw_ops


def _pick(new_name, new, old_name, old):
    """One of two spellings of an argument."""
    if new is not None and old is not None:
        raise ValueError("Cannot specify both '%s' and '%s'" % (old_name, new_name))
    return old if new is None else new


def _per_dimension(value, n, channel_index, name):
    """`value` (None, an int, n, or n + 2 numbers) as a list for every dimension, batch and channel included."""
    if value is None:
        value = [1]
    elif isinstance(value, int):
        value = [value]
    value = [int(v) for v in value]
    if len(value) == n + 2:
        return value
    if len(value) == 1:
        value = value * n
    if len(value) != n:
        raise ValueError("%s should be of length 1, %d or %d but was %d" % (name, n, n + 2, len(value)))
    return [1, 1] + value if channel_index == 1 else [1] + value + [1]


def _padding(padding, data_format):
    """(padding, explicit_paddings) of the Conv2D op."""
    if isinstance(padding, str):
        return padding.upper(), []
    pads = [tuple(p) for p in padding]
    if len(pads) != 4 or any(len(p) != 2 for p in pads):
        raise ValueError("explicit padding must be a list of 4 pairs, got %r" % (padding,))
    channel = 1 if data_format.startswith("NC") else 3
    if pads[0] != (0, 0) or pads[channel] != (0, 0):
        raise ValueError("explicit padding in the batch and channel dimensions must be zero, got %r" % (padding,))
    return "EXPLICIT", [int(v) for p in pads for v in p]


def conv2d(input, filter=None, strides=None, padding=None, use_cudnn_on_gpu=True, data_format="NHWC",
           dilations=[1, 1, 1, 1], name=None, filters=None):
    """2-D convolution (cross-correlation) of a 4-D input with a [height, width, in, out] filter."""
    filter = _pick("filters", filters, "filter", filter)
    data_format = data_format or "NHWC"
    padding, explicit = _padding(padding, data_format)
    channel = 1 if data_format.startswith("NC") else 3
    return raw_ops.Conv2D(input, filter, strides=_per_dimension(strides, 2, channel, "strides"),
                          use_cudnn_on_gpu=use_cudnn_on_gpu, padding=padding, explicit_paddings=explicit,
                          data_format=data_format, dilations=_per_dimension(dilations, 2, channel, "dilations"),
                          name=name)


def conv2d_backprop_input(input_sizes, filter=None, out_backprop=None, strides=None, padding=None,
                          use_cudnn_on_gpu=True, data_format="NHWC", dilations=[1, 1, 1, 1], name=None, filters=None):
    """The gradient of conv2d with respect to its input."""
    filter = _pick("filters", filters, "filter", filter)
    padding, explicit = _padding(padding, data_format)
    return raw_ops.Conv2DBackpropInput(input_sizes, filter, out_backprop, strides=list(strides),
                                       use_cudnn_on_gpu=use_cudnn_on_gpu, padding=padding,
                                       explicit_paddings=explicit, data_format=data_format,
                                       dilations=list(dilations), name=name)


def conv2d_backprop_filter(input, filter_sizes, out_backprop, strides, padding, use_cudnn_on_gpu=True,
                           data_format="NHWC", dilations=[1, 1, 1, 1], name=None):
    """The gradient of conv2d with respect to its filter."""
    padding, explicit = _padding(padding, data_format)
    return raw_ops.Conv2DBackpropFilter(input, filter_sizes, out_backprop, strides=list(strides),
                                        use_cudnn_on_gpu=use_cudnn_on_gpu, padding=padding,
                                        explicit_paddings=explicit, data_format=data_format,
                                        dilations=list(dilations), name=name)


def conv2d_transpose(value=None, filter=None, output_shape=None, strides=None, padding="SAME", data_format="NHWC",
                     name=None, input=None, filters=None, dilations=None):
    """The transpose of conv2d: filter is [height, width, out, in], the result has `output_shape`."""
    value = _pick("input", input, "value", value)
    filter = _pick("filters", filters, "filter", filter)
    data_format = data_format or "NHWC"
    channel = 1 if data_format.startswith("NC") else 3
    padding, explicit = _padding(padding, data_format)
    with sl.name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        return raw_ops.Conv2DBackpropInput(
            output_shape, filter, value, strides=_per_dimension(strides, 2, channel, "strides"), padding=padding,
            explicit_paddings=explicit, data_format=data_format,
            dilations=_per_dimension(dilations, 2, channel, "dilations"), name=scope)


def _as_2d(data_format):
    """(axis of the length-1 dimension to add, data format of the 2-D op) for a 1-D data format."""
    if data_format in (None, "NHWC", "NWC"):
        return 1, "NHWC"
    if data_format in ("NCHW", "NCW"):
        return 2, "NCHW"
    raise ValueError("data_format must be 'NWC' or 'NCW', got %r" % (data_format,))


def conv1d(value=None, filters=None, stride=None, padding=None, use_cudnn_on_gpu=None, data_format=None, name=None,
           input=None, dilations=None):
    """1-D convolution of a 3-D input with a [width, in, out] filter."""
    value = _pick("input", input, "value", value)
    axis, format_2d = _as_2d(data_format)
    with sl.name_scope(name, "conv1d", [value, filters]) as scope:
        channel = 1 if format_2d == "NCHW" else 2
        strides = _insert(_per_dimension(stride, 1, channel, "stride"), axis)
        rates = _insert(_per_dimension(dilations, 1, channel, "dilations"), axis)
        value = sl.expand_dims(value, axis)
        filters = sl.expand_dims(filters, 0)
        result = raw_ops.Conv2D(value, filters, strides=strides, padding=padding, data_format=format_2d,
                                use_cudnn_on_gpu=True if use_cudnn_on_gpu is None else use_cudnn_on_gpu,
                                dilations=rates, name=scope)
        return sl.squeeze(result, [axis])


def _insert(values, axis):
    return values[:axis] + [1] + values[axis:]


def conv1d_transpose(input, filters, output_shape, strides, padding="SAME", data_format="NWC", dilations=None,
                     name=None):
    """The transpose of conv1d: filters is [width, out, in]."""
    axis, format_2d = _as_2d(data_format)
    with sl.name_scope(name, "conv1d_transpose", [input, filters, output_shape]) as scope:
        channel = 1 if format_2d == "NCHW" else 2
        strides = _insert(_per_dimension(strides, 1, channel, "strides"), axis)
        rates = _insert(_per_dimension(dilations, 1, channel, "dilations"), axis)
        if isinstance(output_shape, (list, tuple)):
            output_shape = _insert(list(output_shape), axis)
        else:
            output_shape = sl.concat([output_shape[:axis], [1], output_shape[axis:]], 0)
        result = raw_ops.Conv2DBackpropInput(output_shape, sl.expand_dims(filters, 0), sl.expand_dims(input, axis),
                                             strides=strides, padding=padding, data_format=format_2d,
                                             dilations=rates, name=scope)
        return sl.squeeze(result, [axis])


def conv3d(input, filter=None, strides=None, padding=None, data_format="NDHWC", dilations=[1, 1, 1, 1, 1], name=None,
           filters=None):
    """3-D convolution of a 5-D input."""
    filter = _pick("filters", filters, "filter", filter)
    return raw_ops.Conv3D(input, filter, strides=list(strides), padding=padding, data_format=data_format,
                          dilations=list(dilations), name=name)


def convolution(input, filter, padding, strides=None, dilation_rate=None, name=None, data_format=None, filters=None,
                dilations=None):
    """A convolution over 1, 2 or 3 spatial dimensions, told from the rank of the filter."""
    filter = _pick("filters", filters, "filter", filter)
    dilation_rate = _pick("dilations", dilations, "dilation_rate", dilation_rate)
    with sl.name_scope(name, "convolution", [input, filter]) as scope:
        input = sl.convert_to_tensor(input, name="input")
        filter = sl.convert_to_tensor(filter, name="filter")
        rank = filter.shape.ndims
        if rank not in (3, 4, 5):
            raise ValueError("convolution needs a filter of rank 3, 4 or 5, got shape %s" % filter.shape)
        n = rank - 2
        default = {1: "NWC", 2: "NHWC", 3: "NDHWC"}[n]
        data_format = data_format or default
        channel = 1 if data_format.startswith("NC") else n + 1
        strides = _per_dimension(strides, n, channel, "strides")
        rates = _per_dimension(dilation_rate, n, channel, "dilation_rate")
        if any(s > 1 for s in strides) and any(r > 1 for r in rates):
            raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
        if n == 1:
            return conv1d(input, filter, strides, padding, data_format=data_format, dilations=rates, name=scope)
        op = conv2d if n == 2 else conv3d
        return op(input, filter, strides=strides, padding=padding, data_format=data_format, dilations=rates,
                  name=scope)


def atrous_conv2d(value, filters, rate, padding, name=None):
    """conv2d with `rate` - 1 zeros between the filter's values."""
    return convolution(value, filters, padding, dilation_rate=[rate, rate], name=name)


def depthwise_conv2d_native(input, filter, strides, padding, data_format="NHWC", dilations=[1, 1, 1, 1], name=None):
    """Each input channel with filters of its own: filter is [height, width, in, multiplier]."""
    padding, explicit = _padding(padding, data_format or "NHWC")
    if explicit:
        pads = [explicit[i:i + 2] for i in range(0, 8, 2)]
        input, padding = sl.pad(input, pads), "VALID"
    return raw_ops.DepthwiseConv2dNative(input, filter, strides=list(strides), padding=padding,
                                         data_format=data_format or "NHWC", dilations=list(dilations), name=name)


def depthwise_conv2d_backprop_input(input_sizes, filter, out_backprop, strides, padding, data_format="NHWC",
                                    dilations=[1, 1, 1, 1], name=None):
    """The gradient of depthwise_conv2d_native with respect to its input."""
    return raw_ops.DepthwiseConv2dNativeBackpropInput(input_sizes, filter, out_backprop, strides=list(strides),
                                                      padding=padding, data_format=data_format,
                                                      dilations=list(dilations), name=name)


def depthwise_conv2d_backprop_filter(input, filter_sizes, out_backprop, strides, padding, data_format="NHWC",
                                     dilations=[1, 1, 1, 1], name=None):
    """The gradient of depthwise_conv2d_native with respect to its filter."""
    return raw_ops.DepthwiseConv2dNativeBackpropFilter(input, filter_sizes, out_backprop, strides=list(strides),
                                                       padding=padding, data_format=data_format,
                                                       dilations=list(dilations), name=name)


def depthwise_conv2d(input, filter, strides, padding, rate=None, name=None, data_format=None, dilations=None):
    """Depthwise 2-D convolution; `rate` (or `dilations`) spreads the filter."""
    rate = _pick("dilations", dilations, "rate", rate)
    data_format = data_format or "NHWC"
    channel = 1 if data_format.startswith("NC") else 3
    with sl.name_scope(name, "depthwise", [input, filter]) as scope:
        return depthwise_conv2d_native(sl.convert_to_tensor(input, name="tensor_in"),
                                       sl.convert_to_tensor(filter, name="filter_in"), strides, padding, data_format,
                                       _per_dimension(rate, 2, channel, "rate"), name=scope)


def separable_conv2d(input, depthwise_filter, pointwise_filter, strides, padding, rate=None, name=None,
                     data_format=None, dilations=None):
    """A depthwise convolution followed by a 1x1 convolution that mixes the channels."""
    rate = _pick("dilations", dilations, "rate", rate)
    data_format = data_format or "NHWC"
    channel = 1 if data_format.startswith("NC") else 3
    with sl.name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        depthwise = depthwise_conv2d_native(input, depthwise_filter, strides, padding, data_format,
                                            _per_dimension(rate, 2, channel, "rate"), name="depthwise")
        return conv2d(depthwise, pointwise_filter, [1, 1, 1, 1], "VALID", data_format=data_format, name=scope)
