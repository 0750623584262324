"""Learning rates as functions of the global step."""
import math

import sluice as sl


def _step(global_step, name):
    if global_step is None:
        raise ValueError("global_step is required for %s." % name)
    return global_step


def _start(learning_rate):
    return sl.convert_to_tensor(learning_rate, name="learning_rate")


def exponential_decay(learning_rate, global_step, decay_steps, decay_rate, staircase=False, name=None):
    """learning_rate * decay_rate ** (global_step / decay_steps)."""
    _step(global_step, "exponential_decay")
    with sl.name_scope(name, "ExponentialDecay", [learning_rate, global_step, decay_steps, decay_rate]) as scope:
        rate = _start(learning_rate)
        exponent = sl.cast(global_step, rate.dtype) / sl.cast(decay_steps, rate.dtype)
        exponent = sl.floor(exponent) if staircase else exponent
        return sl.multiply(rate, sl.pow(sl.cast(decay_rate, rate.dtype), exponent), name=scope)


def natural_exp_decay(learning_rate, global_step, decay_steps, decay_rate, staircase=False, name=None):
    """learning_rate * exp(-decay_rate * global_step / decay_steps)."""
    _step(global_step, "natural_exp_decay")
    with sl.name_scope(name, "NaturalExpDecay", [learning_rate, global_step, decay_rate]) as scope:
        rate = _start(learning_rate)
        exponent = sl.cast(global_step, rate.dtype) / sl.cast(decay_steps, rate.dtype)
        exponent = sl.floor(exponent) if staircase else exponent
        return sl.multiply(rate, sl.exp(-sl.cast(decay_rate, rate.dtype) * exponent), name=scope)


def inverse_time_decay(learning_rate, global_step, decay_steps, decay_rate, staircase=False, name=None):
    """learning_rate / (1 + decay_rate * global_step / decay_steps)."""
    _step(global_step, "inverse_time_decay")
    with sl.name_scope(name, "InverseTimeDecay", [learning_rate, global_step, decay_rate]) as scope:
        rate = _start(learning_rate)
        ratio = sl.cast(global_step, rate.dtype) / sl.cast(decay_steps, rate.dtype)
        ratio = sl.floor(ratio) if staircase else ratio
        return sl.divide(rate, 1 + sl.cast(decay_rate, rate.dtype) * ratio, name=scope)


def piecewise_constant(x, boundaries, values, name=None):
    """values[0] up to boundaries[0], values[1] up to boundaries[1], ... and values[-1] above the last boundary."""
    if len(boundaries) != len(values) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    with sl.name_scope(name, "PiecewiseConstant", [x, boundaries, values, name]) as scope:
        x = sl.convert_to_tensor(x)
        values = [sl.convert_to_tensor(v) for v in values]
        for v in values[1:]:
            if v.dtype.base_dtype != values[0].dtype.base_dtype:
                raise ValueError("Values must have elements all with the same dtype (%s vs %s)."
                                 % (values[0].dtype.base_dtype.name, v.dtype.base_dtype.name))
        for b in boundaries:
            if isinstance(b, float) and x.dtype.base_dtype.is_integer:
                raise ValueError("Boundaries (%r) must have the same dtype as x (%s)." % (b, x.dtype.base_dtype.name))
        if not boundaries:
            return sl.identity(values[0], name=scope)
        above = [sl.cast(x > sl.cast(b, x.dtype.base_dtype), sl.int32) for b in boundaries]
        return sl.gather(sl.stack(values), sl.add_n(above), name=scope)


piecewise_constant_decay = piecewise_constant


def polynomial_decay(learning_rate, global_step, decay_steps, end_learning_rate=0.0001, power=1.0, cycle=False,
                     name=None):
    """From learning_rate to end_learning_rate as (1 - step / decay_steps) ** power; `cycle` starts again."""
    _step(global_step, "polynomial_decay")
    with sl.name_scope(name, "PolynomialDecay", [learning_rate, global_step, decay_steps, end_learning_rate,
                                                 power]) as scope:
        rate = _start(learning_rate)
        dtype = rate.dtype
        end, power = sl.cast(end_learning_rate, dtype), sl.cast(power, dtype)
        step, total = sl.cast(global_step, dtype), sl.cast(decay_steps, dtype)
        if cycle:
            one = sl.constant(1.0, dtype=dtype)
            total = total * sl.where(sl.equal(step, 0), one, sl.ceil(step / total))
        else:
            step = sl.minimum(step, total)
        return sl.add((rate - end) * sl.pow(1 - step / total, power), end, name=scope)


def cosine_decay(learning_rate, global_step, decay_steps, alpha=0.0, name=None):
    """Half a cosine from learning_rate down to alpha * learning_rate."""
    _step(global_step, "cosine decay")
    with sl.name_scope(name, "CosineDecay", [learning_rate, global_step]):
        rate = _start(learning_rate)
        total = sl.cast(decay_steps, rate.dtype)
        done = sl.minimum(sl.cast(global_step, rate.dtype), total) / total
        cosine = 0.5 * (1.0 + sl.cos(sl.constant(math.pi, dtype=rate.dtype) * done))
        return rate * ((1 - alpha) * cosine + alpha)


def cosine_decay_restarts(learning_rate, global_step, first_decay_steps, t_mul=2.0, m_mul=1.0, alpha=0.0, name=None):
    """cosine_decay that restarts; each period is t_mul times as long and starts m_mul times as high."""
    _step(global_step, "cosine decay restarts")
    with sl.name_scope(name, "SGDRDecay", [learning_rate, global_step]) as scope:
        rate = _start(learning_rate)
        dtype = rate.dtype
        done = sl.cast(global_step, dtype) / sl.cast(first_decay_steps, dtype)
        if float(t_mul) == 1.0:
            period = sl.floor(done)
            done -= period
        else:
            ratio = float(t_mul)
            period = sl.floor(sl.log(1.0 - done * (1.0 - ratio)) / math.log(ratio))
            start = (1.0 - sl.pow(sl.constant(ratio, dtype=dtype), period)) / (1.0 - ratio)
            done = (done - start) / sl.pow(sl.constant(ratio, dtype=dtype), period)
        height = sl.pow(sl.constant(float(m_mul), dtype=dtype), period)
        cosine = 0.5 * height * (1.0 + sl.cos(sl.constant(math.pi, dtype=dtype) * done))
        return sl.multiply(rate, (1 - alpha) * cosine + alpha, name=scope)


def linear_cosine_decay(learning_rate, global_step, decay_steps, num_periods=0.5, alpha=0.0, beta=0.001, name=None):
    """A cosine under a line that falls to zero: (alpha + line) * cosine + beta."""
    _step(global_step, "linear cosine decay")
    with sl.name_scope(name, "LinearCosineDecay", [learning_rate, global_step]) as scope:
        rate = _start(learning_rate)
        line, cosine = _line_and_cosine(rate, global_step, decay_steps, num_periods)
        return sl.multiply(rate, (alpha + line) * cosine + beta, name=scope)


def noisy_linear_cosine_decay(learning_rate, global_step, decay_steps, initial_variance=1.0, variance_decay=0.55,
                              num_periods=0.5, alpha=0.0, beta=0.001, name=None):
    """linear_cosine_decay with Gaussian noise whose variance falls with the step."""
    _step(global_step, "noisy linear cosine decay")
    with sl.name_scope(name, "NoisyLinearCosineDecay", [learning_rate, global_step]) as scope:
        rate = _start(learning_rate)
        step = sl.minimum(sl.cast(global_step, rate.dtype), sl.cast(decay_steps, rate.dtype))
        line, cosine = _line_and_cosine(rate, global_step, decay_steps, num_periods)
        deviation = sl.sqrt(initial_variance / sl.pow(1.0 + step, variance_decay))
        noise = sl.random_normal([], dtype=rate.dtype) * deviation
        return sl.multiply(rate, (alpha + line + noise) * cosine + beta, name=scope)


def _line_and_cosine(rate, global_step, decay_steps, num_periods):
    total = sl.cast(decay_steps, rate.dtype)
    step = sl.minimum(sl.cast(global_step, rate.dtype), total)
    angle = sl.constant(2.0 * math.pi * num_periods, dtype=rate.dtype) * (step / total)
    return (total - step) / total, 0.5 * (1.0 + sl.cos(angle))
