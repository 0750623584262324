"""Rows for ops/nn: NumPy is the oracle. The updates of optimisers are tested through whole training steps."""

import itertools
import math

import numpy as np
import pytest

import sluice as sl
from harness import BF16, F16, F32, F64, FLOATS, REAL, SHAPES, cases, check, op_case, rand, randint, take_rows

EDGES = [-100.0, -3.0, -1.0, -0.5, -1e-3, 0.0, 1e-3, 0.5, 1.0, 3.0, 7.0, 100.0]


def where(condition, a, b):
    return np.where(condition, a, b)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# Activations. Their gradients take (gradients, features) or (gradients, outputs).
SCALE, ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
PAIRS = [((5,), (5,)), ((3, 4), (3, 4)), ((0,), (0,))]
op_case("Relu", lambda x: np.maximum(x, 0), x=EDGES, shapes=SHAPES, types=REAL, gradient=False)
op_case("Relu", lambda x: np.maximum(x, 0), shapes=[((3, 4),)], types=[F64], name="Relu-gradient")
op_case("ReluGrad", lambda g, x: where(x > 0, g, 0), shapes=PAIRS, types=REAL)
op_case("Relu6", lambda x: np.clip(x, 0, 6), x=EDGES, shapes=SHAPES, types=REAL, gradient=False)
op_case("Relu6Grad", lambda g, x: where((x > 0) & (x < 6), g, 0), shapes=PAIRS, types=REAL, domain=(-4, 10))
op_case("LeakyRelu", lambda x, alpha=0.2: where(x > 0, x, np.float32(alpha) * x), shapes=SHAPES, types=FLOATS,
        attrs=[{}, dict(alpha=0.5)])
op_case("LeakyReluGrad", lambda g, x, alpha=0.2: where(x > 0, g, np.float32(alpha) * g), shapes=PAIRS, types=FLOATS, attrs=[{}, dict(alpha=0.5)])
op_case("Elu", lambda x: where(x < 0, np.expm1(np.minimum(x, 0)), x), x=EDGES, shapes=SHAPES, types=FLOATS, gradient=False)
op_case("Elu", lambda x: where(x < 0, np.expm1(np.minimum(x, 0)), x), shapes=[((3, 4),)], types=[F64], name="Elu-gradient")
op_case("EluGrad", lambda g, y: where(y < 0, g * (y + 1), g), shapes=PAIRS, types=FLOATS, domain=(-0.9, 2))
op_case("Selu", lambda x: where(x < 0, SCALE * ALPHA * np.expm1(np.minimum(x, 0)), SCALE * x), shapes=SHAPES, types=FLOATS)
op_case("SeluGrad", lambda g, y: where(y < 0, g * (y + SCALE * ALPHA), g * SCALE), shapes=PAIRS, types=FLOATS, domain=(-0.9, 2))
op_case("Softplus", lambda x: np.logaddexp(x, 0), x=EDGES, shapes=SHAPES, types=FLOATS)
op_case("SoftplusGrad", lambda g, x: g * sigmoid(x), shapes=PAIRS, types=FLOATS)
op_case("Softsign", lambda x: x / (1 + np.abs(x)), shapes=SHAPES, types=FLOATS)
op_case("SoftsignGrad", lambda g, x: g / (1 + np.abs(x)) ** 2, shapes=PAIRS, types=FLOATS)

# Bias.
NHWC_BIAS = [((2, 3), (3,)), ((2, 2, 2, 3), (3,)), ((0, 3), (3,))]
op_case("BiasAdd", lambda x, b: x + b, shapes=NHWC_BIAS, types=REAL)
op_case("BiasAddV1", lambda x, b: x + b, shapes=NHWC_BIAS, types=REAL)
op_case("BiasAdd", lambda x, b, data_format: x + b.reshape(-1, *[1] * (x.ndim - 2)), shapes=[((2, 3, 2, 2), (3,)), ((2, 3, 2), (3,))],
        attrs=[dict(data_format="NCHW")], types=FLOATS, name="BiasAdd-NCHW")
op_case("BiasAdd", shapes=[((2, 3), (4,))], error="3 channels")
op_case("BiasAddGrad", lambda g: g.sum(tuple(range(g.ndim - 1))), shapes=[((2, 3),), ((2, 2, 2, 3),), ((0, 3),)], types=FLOATS)
op_case("BiasAddGrad", lambda g, data_format: g.sum((0,) + tuple(range(2, g.ndim))), shapes=[((2, 3, 2, 2),)],
        attrs=[dict(data_format="NCHW")], name="BiasAddGrad-NCHW")


# Convolutions, from their definition: each tap of the filter multiplies a strided view of the padded input.
class Conv:
    def __init__(self, x_shape, f_shape, depthwise, strides, padding, data_format=None, dilations=None, explicit_paddings=None):
        self.n = n = len(x_shape) - 2
        self.first = data_format in ("NCHW", "NCDHW")
        self.depthwise, self.f_shape = depthwise, f_shape
        at = [i + 2 if self.first else i + 1 for i in range(n)]
        self.channels = x_shape[1 if self.first else n + 1]
        self.sizes, self.strides = [x_shape[i] for i in at], [strides[i] for i in at]
        self.dilations = [(dilations or [1] * (n + 2))[i] for i in at]
        self.spans = [(k - 1) * d + 1 for k, d in zip(f_shape, self.dilations)]
        self.pads = []
        for i, (size, s, span) in enumerate(zip(self.sizes, self.strides, self.spans)):
            total = max((-(-size // s) - 1) * s + span - size, 0) if padding == "SAME" else 0
            explicit = padding == "EXPLICIT"
            self.pads.append(tuple(explicit_paddings[2 * at[i]:2 * at[i] + 2]) if explicit else (total // 2, total - total // 2))
        self.out = [(size + sum(p) - span) // s + 1 for size, p, span, s in zip(self.sizes, self.pads, self.spans, self.strides)]

    def last(self, x):
        return np.moveaxis(x, 1, -1) if self.first else x

    def back(self, y):
        return np.moveaxis(y, -1, 1) if self.first else y

    def padded(self, x):
        return np.pad(x, [(0, 0), *self.pads, (0, 0)])

    def taps(self):
        """(place in the filter, slices of the padded input) of every tap."""
        for tap in itertools.product(*[range(k) for k in self.f_shape[:self.n]]):
            yield tap, (slice(None), *[slice(t * d, t * d + (o - 1) * s + 1, s)
                                       for t, d, o, s in zip(tap, self.dilations, self.out, self.strides)])

    def matrix(self, f, tap):
        """The tap as a matrix [channels in, channels out], zero between groups."""
        m = f[tap]
        if self.depthwise:
            return np.concatenate([np.where(np.arange(len(m))[:, None] == c, m[c], 0) for c in range(len(m))], 1)
        groups = self.channels // m.shape[0]
        return np.concatenate([np.pad(part, [(g * len(m), self.channels - (g + 1) * len(m)), (0, 0)])
                               for g, part in enumerate(np.split(m, groups, 1))], 1)

    def fold(self, m):
        """The inverse of matrix for gradients."""
        i, o = self.f_shape[self.n:]
        if self.depthwise:
            return np.stack([m[c, c * o:(c + 1) * o] for c in range(i)])
        groups = self.channels // i
        return np.concatenate([m[g * i:(g + 1) * i, g * (o // groups):(g + 1) * (o // groups)] for g in range(groups)], 1)


def conv_oracles(depthwise):
    def forward(x, f, **attrs):
        c = Conv(x.shape, f.shape, depthwise, **attrs)
        x = c.padded(c.last(x))
        return c.back(sum(x[view] @ c.matrix(f, tap) for tap, view in c.taps()))

    def backprop_input(sizes, f, dy, **attrs):
        c = Conv(tuple(sizes), f.shape, depthwise, **attrs)
        dx = c.padded(np.zeros((sizes[0], *c.sizes, c.channels)))
        for tap, view in c.taps():
            dx[view] += c.last(dy) @ c.matrix(f, tap).T
        inner = tuple(slice(p[0], p[0] + size) for p, size in zip(c.pads, c.sizes))
        return c.back(dx[(slice(None), *inner)])

    def backprop_filter(x, sizes, dy, **attrs):
        c = Conv(x.shape, tuple(sizes), depthwise, **attrs)
        x, dy, df = c.padded(c.last(x)), c.last(dy), np.zeros(sizes)
        for tap, view in c.taps():
            df[tap] = c.fold(x[view].reshape(-1, c.channels).T @ dy.reshape(-1, dy.shape[-1]))
        return df

    return forward, backprop_input, backprop_filter


# (input, filter, attributes)
CONVS = [
    ((2, 4, 5, 2), (3, 2, 2, 2), dict(strides=[1, 1, 1, 1], padding="SAME")),
    ((1, 5, 5, 1), (3, 3, 1, 2), dict(strides=[1, 2, 1, 1], padding="VALID")),
    ((1, 6, 5, 1), (2, 2, 1, 1), dict(strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 3, 1])),
    ((1, 4, 4, 1), (2, 2, 1, 2), dict(strides=[1, 1, 2, 1], padding="EXPLICIT", explicit_paddings=[0, 0, 1, 0, 2, 1, 0, 0])),
    ((1, 4, 4, 4), (2, 2, 2, 2), dict(strides=[1, 1, 1, 1], padding="SAME")),
    ((1, 2, 4, 4), (2, 2, 2, 2), dict(strides=[1, 1, 1, 2], padding="SAME", data_format="NCHW")),
    ((8, 14, 14, 16), (5, 5, 16, 32), dict(strides=[1, 1, 1, 1], padding="SAME")),
]
DEPTHWISE = [
    ((2, 4, 4, 2), (2, 3, 2, 2), dict(strides=[1, 1, 1, 1], padding="SAME")),
    ((1, 5, 5, 3), (3, 3, 3, 1), dict(strides=[1, 2, 2, 1], padding="VALID")),
    ((1, 2, 4, 4), (2, 2, 2, 1), dict(strides=[1, 1, 1, 1], padding="SAME", data_format="NCHW")),
    ((1, 5, 6, 2), (2, 2, 2, 2), dict(strides=[1, 1, 1, 1], padding="SAME", dilations=[1, 2, 3, 1])),
]
CONVS_3D = [((1, 3, 4, 3, 2), (2, 2, 2, 2, 1), dict(strides=[1, 1, 2, 1, 1], padding="SAME")),
            ((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), dict(strides=[1, 1, 1, 2, 1], padding="VALID", data_format="NCDHW")),
            ((1, 4, 4, 5, 1), (2, 2, 2, 1, 2), dict(strides=[1, 1, 1, 1, 1], padding="SAME", dilations=[1, 2, 1, 3, 1]))]
for names, table, is_depthwise in [
        (("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter"), CONVS, False),
        (("DepthwiseConv2dNative", "DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"), DEPTHWISE, True),
        (("Conv3D", "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"), CONVS_3D, False)]:
    forward, backprop_input, backprop_filter = conv_oracles(is_depthwise)
    for i, (x_shape, f_shape, attrs) in enumerate(table):
        x, f = rand(*x_shape, low=-1, high=1, key=1), rand(*f_shape, low=-1, high=1, key=2)
        dy = rand(*forward(x, f, **attrs).shape, low=-1, high=1, key=3)
        large = x.size > 1000
        settings = dict(types=[F32, F64] if large else FLOATS, attrs=[attrs], rtol=1e-5, atol=1e-4 if large else None)
        op_case(names[0], forward, inputs=[(x, f)], name=f"{names[0]}-{i}", **settings)
        op_case(names[1], backprop_input, inputs=[(np.int32(x_shape), f, dy)], name=f"{names[1]}-{i}", **settings)
        op_case(names[2], backprop_filter, inputs=[(x, np.int32(f_shape), dy)], name=f"{names[2]}-{i}", **settings)
SAME = dict(strides=[1, 1, 1, 1], padding="SAME")
op_case("Conv2D", lambda x, f, **_: np.zeros((0, 4, 4, 3)), inputs=[(np.zeros((0, 4, 4, 2)), rand(3, 3, 2, 3))], attrs=[SAME],
        name="Conv2D-empty")
op_case("Conv2D", inputs=[(rand(1, 4, 4, 2), rand(3, 3, 3, 3))], attrs=[SAME], error="has 2 channels")
op_case("Conv2D", inputs=[(rand(1, 4, 4, 2), rand(3, 3, 2, 3))], attrs=[dict(strides=[1, 0, 1, 1], padding="SAME")], error="strides")
op_case("Conv2D", inputs=[(rand(1, 4, 4, 2), rand(6, 6, 2, 3))], attrs=[dict(strides=[1, 1, 1, 1], padding="VALID")], error="spans 6")
op_case("Conv2DBackpropInput", inputs=[(np.int32([1, 4, 4, 2]), rand(3, 3, 2, 3), rand(1, 3, 4, 3))], attrs=[SAME],
        error="out_backprop is [1,3,4,3], wanted [1,4,4,3]")


# Pooling, straight from its definition.
def windows(x, ksize, strides, padding, data_format=None, **_):
    """Yields (output index, [input index of each element inside the window]) for every output, in order."""
    n = x.ndim
    lists = []
    for size, k, s in zip(x.shape, ksize, strides):
        out = -(-size // s) if padding == "SAME" else (size - k + s) // s
        total = max((out - 1) * s + k - size, 0) if padding == "SAME" else 0
        lists.append([[p for p in range(o * s - total // 2, o * s - total // 2 + k) if 0 <= p < size] for o in range(out)])
    shape = tuple(len(v) for v in lists)
    for o in itertools.product(*[range(v) for v in shape]):
        yield o, list(itertools.product(*[lists[i][o[i]] for i in range(n)]))


def pooled_shape(x, **attrs):
    return tuple(np.max([np.array(o) for o, _ in windows(x, **attrs)], 0) + 1) if x.size else None


def reduce_windows(x, f, **attrs):
    y = np.zeros(pooled_shape(x, **attrs))
    for o, inside in windows(x, **attrs):
        y[o] = f([x[i] for i in inside])
    return y


def max_pool(x, **attrs):
    return reduce_windows(x, max, **attrs)


def first_largest(x, inside):
    return max(inside, key=lambda i: (x[i], [-p for p in i]))


def max_pool_grad(x, y, g, **attrs):
    dx = np.zeros(x.shape)
    for o, inside in windows(x, **attrs):
        dx[first_largest(x, inside)] += g[o]
    return dx


def max_pool_grad_grad(x, y, g, **attrs):
    out = np.zeros(y.shape)
    for o, inside in windows(x, **attrs):
        out[o] = g[first_largest(x, inside)]
    return out


def avg_pool(x, **attrs):
    return reduce_windows(x, np.mean, **attrs)


def avg_pool_grad(sizes, g, **attrs):
    dx = np.zeros(sizes)
    for o, inside in windows(dx, **attrs):
        for i in inside:
            dx[i] += g[o] / len(inside)
    return dx


POOLS = [((2, 4, 5, 3), dict(ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")),
         ((1, 5, 4, 2), dict(ksize=[1, 3, 2, 1], strides=[1, 1, 2, 1], padding="VALID")),
         ((1, 5, 4, 2), dict(ksize=[1, 3, 3, 1], strides=[1, 2, 1, 1], padding="SAME")),
         ((1, 2, 4, 5), dict(ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2], padding="SAME", data_format="NCHW"))]
POOLS_3D = [((1, 3, 4, 3, 2), dict(ksize=[1, 2, 2, 2, 1], strides=[1, 1, 2, 1, 1], padding="SAME")),
            ((1, 2, 3, 4, 3), dict(ksize=[1, 1, 2, 2, 2], strides=[1, 1, 1, 2, 1], padding="VALID", data_format="NCDHW"))]
for prefix, table in [("", POOLS), ("3D", POOLS_3D)]:
    for i, (x_shape, attrs) in enumerate(table):
        # Distinct values, far enough apart for finite differences and for bfloat16.
        x = np.random.default_rng(i).permutation(np.arange(1.0, np.prod(x_shape) + 1)).reshape(x_shape) / 4
        y = max_pool(x, **attrs)
        g = rand(*y.shape, key=4)
        label = f"{prefix}-{i}"
        types = FLOATS if prefix else REAL
        op_case("MaxPool" + prefix, max_pool, inputs=[(x,)], types=FLOATS, attrs=[attrs], name="MaxPool" + label)
        op_case(f"MaxPool{prefix}Grad", max_pool_grad, inputs=[(x, y, g)], types=FLOATS, attrs=[attrs], gradient=False,
                rtol=1e-5, name="MaxPoolGrad" + label)
        op_case(f"MaxPool{prefix}GradGrad", max_pool_grad_grad, inputs=[(x, y, x)], types=FLOATS, attrs=[attrs], gradient=False,
                name="MaxPoolGradGrad" + label)
        op_case("AvgPool" + prefix, avg_pool, inputs=[(x / 16,)], types=FLOATS, attrs=[attrs], name="AvgPool" + label)
        op_case(f"AvgPool{prefix}Grad", avg_pool_grad, inputs=[(np.int32(x_shape), g)], types=FLOATS, attrs=[attrs], rtol=1e-5,
                name="AvgPoolGrad" + label)
op_case("MaxPool", lambda x, **_: x.reshape(1, 1, 2, 2, 2).max(-1), inputs=[(rand(1, 1, 2, 4),)],
        attrs=[dict(ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="VALID")], gradient=False, name="MaxPool-channels")
op_case("MaxPool", lambda x, **_: np.zeros((0, 2, 2, 3)), inputs=[(np.zeros((0, 4, 4, 3)),)], attrs=[POOLS[0][1]], name="MaxPool-empty")
op_case("MaxPool", inputs=[(rand(1, 1, 2, 4),)], attrs=[dict(ksize=[1, 1, 2], strides=[1, 1, 1, 2], padding="VALID")], error="ksize")
op_case("MaxPoolGrad", inputs=[(rand(1, 4, 4, 1), rand(1, 2, 2, 1), rand(1, 2, 3, 1))], attrs=[POOLS[0][1]], error="wanted [1,2,2,1]")
WINDOW = np.int32([1, 2, 2, 1])
KEYS = dict(ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1])
X4 = np.random.default_rng(9).permutation(np.arange(32.0)).reshape(1, 4, 4, 2)
Y4 = max_pool(X4, padding="SAME", **KEYS)
op_case("MaxPoolV2", lambda x, k, s, padding: max_pool(x, padding=padding, **KEYS), inputs=[(X4, WINDOW, WINDOW)],
        attrs=[dict(padding="SAME")], types=FLOATS)
op_case("MaxPoolGradV2", lambda x, y, g, k, s, padding: max_pool_grad(x, y, g, padding=padding, **KEYS),
        inputs=[(X4, Y4, rand(1, 2, 2, 2), WINDOW, WINDOW)], attrs=[dict(padding="SAME")], gradient=False)
op_case("MaxPoolGradGradV2", lambda x, y, g, k, s, padding: max_pool_grad_grad(x, y, g, padding=padding, **KEYS),
        inputs=[(X4, Y4, X4, WINDOW, WINDOW)], attrs=[dict(padding="SAME")], gradient=False)
CHANNELS_FIRST = dict(ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2], padding="SAME")
X6, WINDOW6, V2 = np.moveaxis(X4, -1, 1), np.int32([1, 1, 2, 2]), dict(attrs=[dict(padding="SAME", data_format="NCHW")], types=[F32, F64], gradient=False)
Y6 = max_pool(X6, **CHANNELS_FIRST)
op_case("MaxPoolV2", lambda x, k, s, **_: max_pool(x, **CHANNELS_FIRST), inputs=[(X6, WINDOW6, WINDOW6)], name="MaxPoolV2-NCHW", **V2)
op_case("MaxPoolGradV2", lambda x, y, g, k, s, **_: max_pool_grad(x, y, g, **CHANNELS_FIRST), inputs=[(X6, Y6, rand(1, 2, 2, 2), WINDOW6, WINDOW6)],
        name="MaxPoolGradV2-NCHW", **V2)
op_case("MaxPoolGradGradV2", lambda x, y, g, k, s, **_: max_pool_grad_grad(x, y, g, **CHANNELS_FIRST), inputs=[(X6, Y6, X6, WINDOW6, WINDOW6)],
        name="MaxPoolGradGradV2-NCHW", **V2)


def argmaxes(x, include_batch_in_index=False, **attrs):
    out = np.zeros(pooled_shape(x, **attrs), np.int64)
    for o, inside in windows(x, **attrs):
        at = np.ravel_multi_index(first_largest(x, inside), x.shape)
        out[o] = at if include_batch_in_index else at % x[0].size
    return out


ARGMAX = dict(ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
X5 = np.random.default_rng(8).permutation(np.arange(36.0)).reshape(2, 3, 3, 2)
for batch in (False, True):
    settings = dict(attrs=[dict(include_batch_in_index=batch, **ARGMAX)])
    taken = argmaxes(X5, batch, **ARGMAX)
    flat = argmaxes(X5, True, **ARGMAX)
    op_case("MaxPoolWithArgmax", lambda x, **a: (max_pool(x, **ARGMAX), argmaxes(x, **a)), inputs=[(X5,)], name=f"MaxPoolWithArgmax-{batch}",
            **settings)
    op_case("MaxPoolGradWithArgmax", lambda x, g, at, flat=flat, **_: np.bincount(flat.ravel(), g.ravel(), x.size).reshape(x.shape),
            inputs=[(X5, rand(2, 2, 2, 2), taken)], name=f"MaxPoolGradWithArgmax-{batch}", **settings)
    op_case("MaxPoolGradGradWithArgmax", lambda x, g, at, flat=flat, **_: g.ravel()[flat], inputs=[(X5, X5, taken)],
            name=f"MaxPoolGradGradWithArgmax-{batch}", **settings)


# Dilation: the taps of a convolution, with max for sum and + for *.
def dilation_sums(x, f, strides, rates, padding):
    c = Conv(x.shape, f.shape, True, strides, padding, dilations=rates)
    padded = np.pad(np.asarray(x, F64), [(0, 0), *c.pads, (0, 0)], constant_values=-np.inf)
    return c, np.stack([padded[view] + f[tap] for tap, view in c.taps()])


def dilation_grads(x, f, g, strides, rates, padding):
    c, sums = dilation_sums(x, f, strides, rates, padding)
    dx, df = np.zeros(np.pad(x, [(0, 0), *c.pads, (0, 0)]).shape), np.zeros(f.shape)
    for i, (tap, view) in enumerate(c.taps()):
        share = np.where(sums.argmax(0) == i, g, 0)
        dx[view] += share
        df[tap] += share.sum((0, 1, 2))
    return dx[:, c.pads[0][0]:c.pads[0][0] + x.shape[1], c.pads[1][0]:c.pads[1][0] + x.shape[2]], df


for padding in ("SAME", "VALID"):
    a = dict(strides=[1, 1, 2, 1], rates=[1, 2, 1, 1], padding=padding)
    x, f = rand(2, 4, 4, 2, key=7), rand(2, 3, 2, key=8)
    g = rand(*dilation_sums(x, f, **a)[1].shape[1:], key=9)
    op_case("Dilation2D", lambda x, f, **k: dilation_sums(x, f, **k)[1].max(0), inputs=[(x, f)], types=[F32, F64], attrs=[a], gradient=False,
            name="Dilation2D-" + padding)
    op_case("Dilation2DBackpropInput", lambda x, f, g, **k: dilation_grads(x, f, g, **k)[0], inputs=[(x, f, g)], types=[F32, F64],
            attrs=[a], name="Dilation2DBackpropInput-" + padding)
    op_case("Dilation2DBackpropFilter", lambda x, f, g, **k: dilation_grads(x, f, g, **k)[1], inputs=[(x, f, g)], types=[F32, F64],
            attrs=[a], name="Dilation2DBackpropFilter-" + padding)


# Normalization.
def lrn(x, depth_radius=5, bias=1.0, alpha=1.0, beta=0.5):
    return x / lrn_norm(x, depth_radius, bias, alpha) ** beta


def lrn_norm(x, r, bias, alpha):
    c = x.shape[-1]
    return bias + alpha * np.stack([np.sum(x[..., max(i - r, 0):i + r + 1] ** 2, -1) for i in range(c)], -1)


def lrn_grad(g, x, y, depth_radius=5, bias=1.0, alpha=1.0, beta=0.5):
    n = lrn_norm(x, depth_radius, bias, alpha)
    share = g * y / n
    c, r = x.shape[-1], depth_radius
    near = np.stack([np.sum(share[..., max(i - r, 0):i + r + 1], -1) for i in range(c)], -1)
    return g * n ** -beta - 2 * alpha * beta * x * near


LRN = [{}, dict(depth_radius=1, bias=2.0, alpha=0.5, beta=0.75)]
IMAGE = rand(2, 2, 2, 7)
op_case("LRN", lrn, inputs=[(IMAGE,)], types=[F32, F16, BF16], attrs=LRN, rtol=1e-5)
for a in LRN:
    op_case("LRNGrad", lrn_grad, inputs=[(rand(2, 2, 2, 7, key=1), IMAGE, lrn(IMAGE, **a))], types=[F32], attrs=[a], rtol=1e-4, atol=1e-5)


def moments(x, data_format):
    axes = (0, 2, 3) if data_format == "NCHW" else (0, 1, 2)
    shape = [-1 if i not in axes else 1 for i in range(4)]
    return axes, shape, x.mean(axes), x.var(axes), x.size // x.shape[1 if data_format == "NCHW" else 3]


def batch_norm(x, scale, offset, mean, variance, epsilon=1e-4, data_format="NHWC", is_training=True):
    _, shape, m, v, n = moments(x, data_format)
    if not is_training:
        m, v = mean, variance
    y = (x - m.reshape(shape)) / np.sqrt(v.reshape(shape) + epsilon) * scale.reshape(shape) + offset.reshape(shape)
    return y, m, v * n / (n - 1) if is_training else v, m, v


def batch_norm_grad(dy, x, scale, mean, variance, epsilon=1e-4, data_format="NHWC", is_training=True):
    axes, shape, _, _, n = moments(x, data_format)
    r = 1 / np.sqrt(variance + epsilon)
    h = (x - mean.reshape(shape)) * r.reshape(shape)
    doffset, dscale = dy.sum(axes), (dy * h).sum(axes)
    mid = dy
    if is_training:
        mid = dy - doffset.reshape(shape) / n - h * dscale.reshape(shape) / n
    return mid * (scale * r).reshape(shape), dscale, doffset, None, None


NORM_ATTRS = [dict(is_training=t, data_format=f, epsilon=0.01) for t in (True, False) for f in ("NHWC", "NCHW")]
for version, extra in (("", 0), ("V2", 0), ("V3", 1)):
    for a in NORM_ATTRS:
        label = f"{version}-{a['data_format']}-{'train' if a['is_training'] else 'infer'}"
        x = rand(3, 2, 4, 3) if a["data_format"] == "NHWC" else rand(3, 3, 2, 4)
        v = [rand(3, low=0.5, high=1.5, key=k) for k in range(4)]
        _, _, m, var, _ = moments(x, a["data_format"])
        stats = [np.zeros(0), np.zeros(0)] if a["is_training"] else v[2:]
        given = [m, var] if a["is_training"] else v[2:]
        types, fixed = ([F32], ()) if version == "" else ([F32, F16, BF16], (1, 2, 3, 4))
        single = [np.float32(s) if version else s for s in v[:2] + stats]
        op_case("FusedBatchNorm" + version, lambda *args, extra=extra, **k: batch_norm(*args, **k) + (None,) * extra,
                inputs=[(x, *single)], types=types, attrs=[a], rtol=1e-5, atol=1e-5 if version == "" else None, fixed=fixed,
                name="FusedBatchNorm" + label)
        rest = [np.float32(s) if version else s for s in [v[0]] + given] + [np.zeros(0, np.float32)] * extra
        op_case("FusedBatchNormGrad" + version, lambda *args, extra=extra, **k: batch_norm_grad(*args[:5], **k),
                inputs=[(rand(*x.shape, key=6), x, *rest)], types=types, attrs=[a], rtol=1e-4, atol=1e-5 if version == "" else None,
                fixed=(2, 3, 4, 5) if version else (), name="FusedBatchNormGrad" + label)


@pytest.mark.parametrize("attrs", NORM_ATTRS, ids=lambda a: f"{a['data_format']}-{'train' if a['is_training'] else 'infer'}")
def test_batch_norm_differentiates_twice(attrs):
    """Gradients of a function of gradients, against the same made of elementary ops."""
    first, training = attrs["data_format"] == "NCHW", attrs["is_training"]
    shape = (3, 2, 2, 3)
    x0, w0, scale0 = rand(*shape, key=1), rand(*shape, key=2), rand(2 if first else 3, low=0.5, high=1.5, key=3)
    stats0 = [rand(*scale0.shape, low=0.5, high=1.5, key=k) for k in (4, 5)]
    results = []
    with sl.Graph().as_default(), sl.Session() as session:
        for fused in (True, False):
            x, w, scale = (sl.constant(np.float32(v)) for v in (x0, w0, scale0))
            offset = sl.zeros(scale0.shape)
            mean, variance = (sl.constant(np.float32(s)) for s in stats0)
            if fused:
                empty = sl.zeros([0])
                y = sl.raw_ops.FusedBatchNormV3(x, scale, offset, *([empty, empty] if training else [mean, variance]), **attrs)[0]
            else:
                axes, along = ([0, 2, 3], [1, -1, 1, 1]) if first else ([0, 1, 2], [1, 1, 1, -1])
                if training:
                    mean = sl.reduce_mean(x, axes)
                    variance = sl.reduce_mean(sl.square(x - sl.reshape(mean, along)), axes)
                factor = sl.reshape(scale * sl.rsqrt(variance + attrs["epsilon"]), along)
                y = (x - sl.reshape(mean, along)) * factor + sl.reshape(offset, along)
            grads = sl.gradients(sl.reduce_sum(w * sl.square(y)), [x, scale, offset])
            total = sl.add_n([sl.reduce_sum(sl.sin(g)) for g in grads])
            results.append(session.run(sl.gradients(total, [x, scale, w])))
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)


# Softmax and losses.
def log_softmax(x):
    z = x - x.max(-1, keepdims=True) if x.size else x
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


MATRICES = [((3, 4),), ((2, 17),), ((5,),), ((2, 3, 4),), ((0, 3),)]
op_case("Softmax", lambda x: np.exp(log_softmax(x)), shapes=MATRICES, types=FLOATS)
op_case("Softmax", lambda x: np.exp(log_softmax(x)), inputs=[(np.array([[1e3, 1e3, -1e3]]),)], types=[F32, F64], name="Softmax-large")
op_case("LogSoftmax", log_softmax, shapes=MATRICES, types=FLOATS)


def cross_entropy(x, labels):
    lp = log_softmax(np.broadcast_to(x, np.broadcast_shapes(x.shape, labels.shape)))
    return -(labels * lp).sum(-1), np.exp(lp) - labels


def distributions(*shape):
    p = rand(*shape, low=0.1, high=1, key="labels")
    return p / p.sum(-1, keepdims=True)


# The op takes labels for distributions: its gradient is that of the formula only when they add up to one.
op_case("SoftmaxCrossEntropyWithLogits", cross_entropy, types=FLOATS,
        inputs=[(rand(3, 5), distributions(3, 5)), (rand(4, 20), distributions(4, 20)), (rand(0, 3), distributions(0, 3))])
op_case("SoftmaxCrossEntropyWithLogits", cross_entropy, name="SoftmaxCrossEntropy-broadcast",
        inputs=[(rand(3, 5), distributions(1, 5)), (rand(1, 5), distributions(3, 5))])
op_case("SparseSoftmaxCrossEntropyWithLogits", lambda x, at: cross_entropy(x, np.eye(x.shape[1])[at]),
        inputs=[(rand(3, 5), np.int64([4, 0, 2])), (rand(2, 3), np.int32([1, 1])), (rand(0, 3), np.int64([]))], types=FLOATS)
for bad in (5, -1):
    op_case("SparseSoftmaxCrossEntropyWithLogits", inputs=[(rand(2, 5), np.int64([1, bad]))],
            error=f"labels[1] is {bad}, outside the valid range of [0, 5)")
op_case("L2Loss", lambda x: (x * x).sum() / 2, shapes=SHAPES, types=FLOATS, rtol=1e-5)


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_row(row, t, values, attrs):
    check(row, t, values, attrs)


# Optimisers: three steps on both kinds of variables, dense and by rows, must agree with the rule in float64.
def rules():
    def adam(x, g, step):
        m, v = x[1] * 0.9 + g * 0.1, x[2] * 0.99 + g * g * 0.01
        rate = 0.1 * np.sqrt(1 - 0.99 ** step) / (1 - 0.9 ** step)
        return [x[0] - rate * m / (np.sqrt(v) + 1e-3), m, v]

    def momentum(x, g, step):
        accum = x[1] * 0.9 + g
        return [x[0] - 0.1 * accum, accum]

    def adagrad(x, g, step):
        accum = x[1] + g * g
        return [x[0] - 0.1 * g / np.sqrt(accum), accum]

    def rms(x, g, step):
        ms = x[1] * 0.9 + 0.1 * g * g
        mom = x[2] * 0.5 + 0.1 * g / np.sqrt(ms + 1e-3)
        return [x[0] - mom, ms, mom]

    def ftrl(x, g, step):
        accum = x[1] + g * g
        linear = x[2] + g - (np.sqrt(accum) - np.sqrt(x[1])) / 0.1 * x[0]
        var = np.where(np.abs(linear) > 0.2, (0.2 * np.sign(linear) - linear) / (np.sqrt(accum) / 0.1 + 0.6), 0)
        return [var, accum, linear]

    train = sl.train
    return {
        "sgd": (lambda: train.GradientDescentOptimizer(0.1), lambda x, g, step: [x[0] - 0.1 * g], []),
        "momentum": (lambda: train.MomentumOptimizer(0.1, 0.9), momentum, [0.0]),
        "adagrad": (lambda: train.AdagradOptimizer(0.1, 0.1), adagrad, [0.1]),
        "rmsprop": (lambda: train.RMSPropOptimizer(0.1, 0.9, 0.5, 1e-3), rms, [1.0, 0.0]),
        "ftrl": (lambda: train.FtrlOptimizer(0.1, l1_regularization_strength=0.2, l2_regularization_strength=0.3), ftrl, [0.1, 0.0]),
        "adam": (lambda: train.AdamOptimizer(0.1, 0.9, 0.99, 1e-3), adam, [0.0, 0.0]),
    }


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("kind", ["dense", "rows"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "adagrad", "rmsprop", "ftrl", "adam"])
def test_optimiser_steps_follow_their_rule(name, kind, use_resource):
    make, rule, slots = rules()[name]
    start, target = rand(4, 3, key=1), rand(4, 3, key=2)
    rows = np.array([2, 0])
    with sl.Graph().as_default(), sl.Session() as session:
        v = sl.Variable(np.float32(start), use_resource=use_resource)
        part = v if kind == "dense" else sl.gather(v, rows)
        wanted_part = target if kind == "dense" else target[rows]
        step = make().minimize(sl.reduce_sum(sl.square(part - np.float32(wanted_part))))
        session.run(sl.global_variables_initializer())
        state = [start] + [np.full((4, 3), s) for s in slots]
        for i in range(1, 4):
            session.run(step)
            g = 2 * (state[0] - target)
            if kind == "dense":
                state = rule(state, g, i)
            elif name == "adam":
                # TensorFlow's sparse Adam moves every row by its moments.
                mask = np.isin(np.arange(4), rows)[:, None]
                state = rule(state, g * mask, i)
            else:
                moved = rule([s[rows] for s in state], g[rows], i)
                for s, m in zip(state, moved):
                    s[rows] = m
            np.testing.assert_allclose(session.run(v), state[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("approximate", [False, True], ids=["erf", "tanh"])
def test_gelu_of_both_forms(approximate):
    """Within 2 units of the last place of max(|x|, 1): 1 + erf(x) and 1 + tanh(x) cancel where x is negative."""
    x = np.concatenate([np.linspace(-12, 12, 40001), [0.0, -0.0, 1e-30, 3e38, -3e4]]).astype(np.float32)
    wide = x.astype(np.float64)
    if approximate:
        inner = 0.7978845608028654 * (wide + 0.044715 * wide**3)
        wanted = 0.5 * wide * (1 + np.tanh(inner))
    else:
        wanted = 0.5 * wide * (1 + np.array([math.erf(v / math.sqrt(2)) for v in wide]))
    with sl.Graph().as_default(), sl.Session() as session:
        found = session.run(sl.nn.gelu(sl.constant(x), approximate=approximate))
    unit = np.spacing(np.maximum(np.abs(x), 1).astype(np.float32)).astype(np.float64)
    assert np.max(np.abs(found - wanted) / unit) <= 2
