"""Dropout."""
import numbers

import sluice as sl
from sluice import raw_ops


def dropout(x, keep_prob=None, noise_shape=None, seed=None, name=None, rate=None):
    """Sets a random share `rate` (or 1 - keep_prob) of `x` to zero and scales the rest so that the mean stays."""
    if keep_prob is not None and rate is not None:
        raise ValueError("Cannot specify both 'rate' and 'keep_prob'")
    if keep_prob is None and rate is None:
        raise ValueError("You must provide a rate to dropout.")
    if rate is None:
        if isinstance(keep_prob, numbers.Real) and not 0 < keep_prob <= 1:
            raise ValueError("keep_prob must be a scalar tensor or a float in the range (0, 1], got %g" % keep_prob)
        rate = 1 - keep_prob
    is_number = isinstance(rate, numbers.Real)
    if is_number and not 0 <= rate < 1:
        raise ValueError("rate must be a scalar tensor or a float in the range [0, 1), got %g" % rate)
    with sl.name_scope(name, "dropout", [x]):
        x = sl.convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError("x has to be a floating point tensor since it's going to be scaled. Got a %s tensor "
                             "instead." % x.dtype)
        if is_number and rate == 0:
            return x
        if is_number:
            scaled = raw_ops.Mul(x, sl.constant(1.0 / (1.0 - float(rate)), dtype=x.dtype))
        else:
            rate = sl.convert_to_tensor(rate, dtype=x.dtype, name="rate")
            rate.shape.assert_has_rank(0)
            scaled = raw_ops.RealDiv(x, raw_ops.Sub(sl.constant(1, dtype=x.dtype), rate))
        shape = sl.shape(x) if noise_shape is None else _noise_shape(x, noise_shape)
        noise = sl.random_uniform(shape, seed=seed, dtype=x.dtype)
        keep = noise >= rate
        result = raw_ops.SelectV2(keep, scaled, sl.constant(0, dtype=x.dtype))
        result.set_shape(x.shape)
        return result


def _noise_shape(x, noise_shape):
    """`noise_shape` with its unknown entries filled from the shape of `x`."""
    if isinstance(noise_shape, sl.Tensor):
        return noise_shape
    wanted = sl.TensorShape(noise_shape).as_list()
    if x.shape.ndims is not None and len(wanted) == x.shape.ndims and None in wanted:
        have = x.shape.as_list()
        wanted = [h if w is None else w for w, h in zip(wanted, have)]
        if None in wanted:
            dynamic = sl.shape(x)
            wanted = sl.stack([dynamic[i] if w is None else w for i, w in enumerate(wanted)])
    return wanted
