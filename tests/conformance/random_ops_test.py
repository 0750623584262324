"""Random ops: distributions against SciPy's, seeds, types, shapes, and the gradient of gamma samples.

That the bits are TensorFlow's is checked in `kernels/random/random_kernels_test.cc`.
"""

import inspect

import numpy as np
import pytest
import scipy.special
import scipy.stats

import sluice as sl
from harness import F16, F32, F64, cases, check, op_case, proves, rand, take_rows

I32, I64 = np.int32, np.int64
ops = sl.raw_ops
N = 20000


def draw(build, steps=1):
    """The values of a node in one step (or a list of those of several), as NumPy arrays."""
    with sl.Graph().as_default(), sl.Session() as session:
        node = build()
        node = sl.cast(node, sl.float32) if node.dtype == sl.bfloat16 else node
        found = [session.run(node) for _ in range(steps)]
    return found[0] if steps == 1 else found


def assert_from(sample, cdf, at_least=1e-3):
    """Kolmogorov-Smirnov: with a fixed seed this is the same answer every time."""
    assert scipy.stats.kstest(np.asarray(sample, F64).reshape(-1), cdf).pvalue > at_least


SEEDED = dict(seed=3, seed2=5)
TRUNCATED = scipy.stats.truncnorm(-2, 2).cdf
CONTINUOUS = {
    "RandomUniform": (lambda n, t: ops.RandomUniform(n, t, **SEEDED), scipy.stats.uniform.cdf),
    "RandomStandardNormal": (lambda n, t: ops.RandomStandardNormal(n, t, **SEEDED), scipy.stats.norm.cdf),
    "TruncatedNormal": (lambda n, t: ops.TruncatedNormal(n, t, **SEEDED), TRUNCATED),
    "StatelessRandomUniform": (lambda n, t: ops.StatelessRandomUniform(n, [1, 2], dtype=t), scipy.stats.uniform.cdf),
    "StatelessRandomNormal": (lambda n, t: ops.StatelessRandomNormal(n, [1, 2], dtype=t), scipy.stats.norm.cdf),
    "StatelessTruncatedNormal": (lambda n, t: ops.StatelessTruncatedNormal(n, [1, 2], dtype=t), TRUNCATED),
}


@proves(*CONTINUOUS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("op", CONTINUOUS)
def test_numbers_follow_their_distribution(op, dtype):
    build, cdf = CONTINUOUS[op]
    for shape_type in (I32, I64):
        x = draw(lambda: build(shape_type([100, N // 100]), dtype))
        assert x.shape == (100, N // 100)
        if dtype in ("float32", "float64"):
            assert_from(x, cdf)
        else:  # few distinct values
            assert abs(np.mean(cdf(np.asarray(x, F64))) - 0.5) < 0.02
        if "Uniform" in op:
            assert x.min() >= 0 and x.max() < 1
        if "Truncated" in op:
            assert np.abs(x).max() <= 2
        # Neighbours do not depend on each other.
        flat = np.asarray(x, F64).reshape(-1)
        assert abs(np.corrcoef(flat[:-1], flat[1:])[0, 1]) < 0.03
    assert draw(lambda: build([0, 3], dtype)).shape == (0, 3) and draw(lambda: build(I32([]), dtype)).shape == ()


@proves("RandomUniformInt", "StatelessRandomUniformInt")
@pytest.mark.parametrize("dtype", [I32, I64])
@pytest.mark.parametrize("op", ["RandomUniformInt", "StatelessRandomUniformInt"])
def test_integers_are_equally_likely(op, dtype):
    def build(shape, low, high):
        return getattr(ops, op)(shape, *([[7, 8]] if op.startswith("Stateless") else []), dtype(low), dtype(high), **({} if op.startswith("Stateless") else SEEDED))

    x = draw(lambda: build([N], -3, 7))
    assert x.dtype == dtype and set(x) == set(range(-3, 7))
    assert scipy.stats.chisquare(np.bincount(x + 3)).pvalue > 1e-3
    info = np.iinfo(dtype)
    wide = draw(lambda: build([N], info.min, info.max))
    assert_from(wide.astype(F64), scipy.stats.uniform(float(info.min), float(info.max) - float(info.min)).cdf)
    for low, high in ((5, 5), (5, 4)):
        with pytest.raises((sl.errors.InvalidArgumentError, ValueError), match="5"):
            draw(lambda: build([2], low, high))


@proves("ParameterizedTruncatedNormal")
@pytest.mark.parametrize("dtype", [F32, F64, F16])
def test_truncated_normals_have_parameters_for_each_row(dtype):
    # Both tails, the middle, one side open, and a far tail.
    means, deviations = [0, 1, -2, 0], [1, 2, 0.5, 1]
    low, high = [-1, 1, -np.inf, 5], [2, np.inf, -2, 9]
    x = draw(lambda: ops.ParameterizedTruncatedNormal([4, 4000], *[np.array(v, dtype) for v in (means, deviations, low, high)], **SEEDED))
    for row, m, s, a, b in zip(x.astype(F64), means, deviations, low, high):
        assert row.min() >= a and row.max() <= b
        if dtype != F16:
            assert_from(row, scipy.stats.truncnorm((a - m) / s, (b - m) / s, m, s).cdf)
    one = draw(lambda: ops.ParameterizedTruncatedNormal([3, 50], *[dtype(v) for v in (0, 1, -1, 1)], **SEEDED))
    assert one.shape == (3, 50) and np.abs(one).max() <= 1
    for means, deviations, low, high in (((0,), (-1,), (0,), (1,)), ((0,), (1,), (1,), (0,)), ((0, 0, 0), (1,), (0,), (1,))):
        with pytest.raises((sl.errors.InvalidArgumentError, ValueError)):
            draw(lambda: ops.ParameterizedTruncatedNormal([2, 5], *[np.array(v, dtype) for v in (means, deviations, low, high)], **SEEDED))


@proves("RandomGamma")
@pytest.mark.parametrize("dtype", [F32, F64, F16])
def test_gamma_numbers_follow_their_distribution(dtype):
    alphas = [0.05, 0.5, 1, 3, 100]
    x = draw(lambda: ops.RandomGamma([4000], np.array(alphas, dtype).reshape(5, 1), **SEEDED))
    assert x.shape == (4000, 5, 1) and x.dtype == dtype and x.min() >= 0
    for i, alpha in enumerate(alphas):
        if dtype != F16:
            assert_from(x[:, i], scipy.stats.gamma(alpha).cdf)
        else:
            assert abs(x[:, i].astype(F64).mean() - alpha) < 6 * np.sqrt(alpha / 4000) + 0.01
    assert draw(lambda: ops.RandomGamma([3], np.zeros((0, 2), dtype), **SEEDED)).shape == (3, 0, 2)


@proves("RandomPoissonV2")
@pytest.mark.parametrize("rate_type", [F16, F32, F64, I32, I64])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "float64", "float16"])
def test_poisson_numbers_follow_their_distribution(rate_type, dtype):
    rates = [1, 4, 30] if np.dtype(rate_type).kind == "i" else [0.5, 4, 30]
    x = draw(lambda: ops.RandomPoissonV2([4000], np.array(rates, rate_type), dtype=dtype, **SEEDED))
    assert x.shape == (4000, 3) and x.dtype == dtype
    for i, rate in enumerate(rates):
        counts = np.bincount(x[:, i].astype(I64), minlength=100)[:100]
        wanted = scipy.stats.poisson(rate).pmf(np.arange(100)) * 4000
        often = wanted > 5
        found, wanted = np.r_[counts[often], counts[~often].sum()], np.r_[wanted[often], 4000 - wanted[often].sum()]
        assert scipy.stats.chisquare(found, wanted).pvalue > 1e-3


@proves("Multinomial", "StatelessMultinomial")
@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("op", ["Multinomial", "StatelessMultinomial"])
def test_classes_are_as_likely_as_their_logits_say(op, dtype):
    def build(logits, n=6000):
        rest = dict(seed=[3, 4]) if op.startswith("Stateless") else SEEDED
        return getattr(ops, op)(logits, n, output_dtype=dtype, **rest)

    p = np.array([[0.1, 0.2, 0.3, 0.4], [0.25, 0.5, 0, 0.25]])
    with np.errstate(divide="ignore"):
        logits = np.log(p) + 7
    for logits_type in (F32, F64, F16):
        x = draw(lambda: build(logits.astype(logits_type)))
        assert x.shape == (2, 6000) and x.dtype == dtype
        for row, chances in zip(x, p):
            counts = np.bincount(row, minlength=4)
            assert counts[chances == 0].sum() == 0
            assert scipy.stats.chisquare(counts[chances > 0], chances[chances > 0] * 6000).pvalue > 1e-3
    assert draw(lambda: build(np.zeros((0, 3), F32))).shape == (0, 6000) and draw(lambda: build(np.zeros((2, 3), F32), 0)).shape == (2, 0)
    for bad in (np.zeros((2, 0), F32), np.zeros(3, F32)):
        with pytest.raises((sl.errors.InvalidArgumentError, ValueError)):
            draw(lambda: build(bad))


@proves("RandomShuffle")
def test_a_shuffle_keeps_the_rows_and_every_order_is_as_likely():
    for value in (np.arange(24).reshape(6, 4), np.array([b"a", b"b", b"c"], object), np.zeros((0, 3), F32), F32(5), rand(4, 1, 2).astype(F16)):
        found = draw(lambda: ops.RandomShuffle(value, **SEEDED))
        assert np.shape(found) == np.shape(value) and sorted(map(str, np.atleast_1d(found))) == sorted(map(str, np.atleast_1d(value)))
    orders = [tuple(x) for x in draw(lambda: ops.RandomShuffle([0, 1, 2], **SEEDED), steps=1200)]
    assert len(set(orders)) == 6 and scipy.stats.chisquare(list(map(orders.count, set(orders)))).pvalue > 1e-3


STATEFUL = {
    "RandomUniform": lambda **s: ops.RandomUniform([9], sl.float32, **s),
    "RandomStandardNormal": lambda **s: ops.RandomStandardNormal([9], sl.float32, **s),
    "TruncatedNormal": lambda **s: ops.TruncatedNormal([9], sl.float32, **s),
    "RandomUniformInt": lambda **s: ops.RandomUniformInt([9], 0, 1 << 30, **s),
    "ParameterizedTruncatedNormal": lambda **s: ops.ParameterizedTruncatedNormal([9], 0.0, 1.0, -3.0, 3.0, **s),
    "RandomGamma": lambda **s: ops.RandomGamma([9], 2.0, **s),
    "RandomPoissonV2": lambda **s: ops.RandomPoissonV2([9], 1000.0, **s),
    "Multinomial": lambda **s: ops.Multinomial(np.zeros((1, 1000), F32), 9, **s),
    "RandomShuffle": lambda **s: ops.RandomShuffle(np.arange(100), **s),
    "UniformCandidateSampler": lambda **s: ops.UniformCandidateSampler([[1]], 1, 9, False, 1 << 30, **s)[0],
    "LogUniformCandidateSampler": lambda **s: ops.LogUniformCandidateSampler([[1]], 1, 9, False, 1 << 30, **s)[0],
}


@proves(*STATEFUL)
@pytest.mark.parametrize("op", STATEFUL)
def test_a_seed_gives_one_sequence(op):
    build = STATEFUL[op]
    first, second = draw(lambda: build(seed=1, seed2=2), steps=2)
    assert not np.array_equal(first, second)  # steps differ
    np.testing.assert_array_equal(draw(lambda: build(seed=1, seed2=2), steps=2), [first, second])  # sessions do not
    for other in (dict(seed=1, seed2=3), dict(seed=2, seed2=2), {}, {}):
        assert not np.array_equal(draw(lambda: build(**other)), first)


STATELESS = [op for op in dir(ops) if op.startswith("Stateless") and "seed" in inspect.signature(getattr(ops, op)).parameters]


@proves(*STATELESS)
@pytest.mark.parametrize("op", STATELESS)
def test_a_stateless_op_is_a_function_of_its_seed(op):
    def build(seed):
        if op == "StatelessMultinomial":
            return ops.StatelessMultinomial(np.zeros((1, 1000), F32), 9, seed)
        return getattr(ops, op)([9], seed, *([0, 1 << 30] if op.endswith("Int") else []))

    first, second = draw(lambda: build(I64([1, 2])), steps=2)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(draw(lambda: build(I32([1, 2]))), first)
    for other in ([2, 1], [1, 3], [-1, 2], [1 << 40, 2]):
        assert not np.array_equal(draw(lambda: build(I64(other))), first)
    with pytest.raises((sl.errors.InvalidArgumentError, ValueError), match="2"):
        draw(lambda: build(I64([1, 2, 3])))


for op in ("RandomUniform", "RandomStandardNormal", "TruncatedNormal"):
    op_case(op, inputs=[(I32([2, -3]),)], types=[F32], attrs=[dict(dtype=sl.float32)], error="-3")
    op_case(op, inputs=[(I64([1 << 40, 1 << 40]),)], types=[F32], attrs=[dict(dtype=sl.float32)], error=op)
op_case("RandomGamma", inputs=[(I32([-1]), np.array([1.0]))], error="-1")
op_case("RandomPoissonV2", inputs=[(I32([-1]), np.array([1.0]))], error="-1")


# ---- candidates


@proves("UniformCandidateSampler", "LogUniformCandidateSampler")
@pytest.mark.parametrize("unique", [True, False])
@pytest.mark.parametrize("op", ["UniformCandidateSampler", "LogUniformCandidateSampler"])
def test_candidates_come_as_often_as_expected(op, unique):
    top, wanted_number = 20, 8
    true = I64([[0, 3], [19, 7]])
    chances = np.full(top, 1 / top) if op.startswith("Uniform") else np.log((np.arange(top) + 2) / (np.arange(top) + 1)) / np.log(top + 1)
    with sl.Graph().as_default(), sl.Session() as session:
        node = getattr(ops, op)(true, 2, wanted_number, unique, top, **SEEDED)
        found = [session.run(node) for _ in range(1500)]
    for sampled, true_count, sampled_count in found[:50]:
        assert sampled.shape == (wanted_number,) and true_count.shape == (2, 2) and sampled_count.shape == (wanted_number,)
        assert sampled.min() >= 0 and sampled.max() < top and (len(set(sampled)) == wanted_number or not unique)
        if unique:  # one number of draws explains both counts
            draws = np.log1p(-sampled_count[0].astype(F64)) / np.log1p(-chances[sampled[0]])
            np.testing.assert_allclose(true_count, -np.expm1(draws * np.log1p(-chances[true])), rtol=1e-4)
        else:
            np.testing.assert_allclose(true_count, chances[true] * wanted_number, rtol=1e-5)
            np.testing.assert_allclose(sampled_count, chances[sampled] * wanted_number, rtol=1e-5)
    counts = np.bincount(np.concatenate([f[0] for f in found]), minlength=top)
    if unique:
        expected = np.zeros(top)
        for sampled, _, sampled_count in found:
            draws = np.log1p(-sampled_count[0].astype(F64)) / np.log1p(-chances[sampled[0]])
            expected += -np.expm1(draws * np.log1p(-chances))
        np.testing.assert_allclose(counts, expected, rtol=0.12)
    else:
        assert scipy.stats.chisquare(counts, chances * counts.sum()).pvalue > 1e-3
    for bad in (dict(num_sampled=21, unique=True), dict(num_true=3), dict(range_max=0), dict(num_sampled=0)):
        with pytest.raises((sl.errors.InvalidArgumentError, ValueError), match=next(iter(bad))):
            draw(lambda: getattr(ops, op)(true, **{**dict(num_true=2, num_sampled=8, unique=unique, range_max=top), **bad})[0])


def accidental_hits(true, sampled, num_true):
    at = {int(c): i for i, c in enumerate(sampled)}
    hits = [(row, at[int(c)]) for row, classes in enumerate(true) for c in classes if int(c) in at]
    return [np.array([h[0] for h in hits], I32), np.array([h[1] for h in hits], I64), np.full(len(hits), -np.finfo(F32).max, F32)]


op_case("ComputeAccidentalHits", accidental_hits, types=[F32], attrs=[dict(num_true=2)],
        inputs=[(I64([[1, 2], [5, 1], [9, 9]]), I64([5, 7, 1])), (I64([[1, 2]]), I64([3])), (np.zeros((0, 2), I64), I64([3])), (I64([[1, 2]]), I64([]))])
op_case("ComputeAccidentalHits", types=[F32], inputs=[(I64([[1, 2, 3]]), I64([3]))], attrs=[dict(num_true=2)], error="2")

# ---- gradients of gamma samples


def igamma_by_a(a, x, step=1e-4):
    """Five-point difference of the regularised incomplete gamma function."""
    p = scipy.special.gammainc
    return (p(a - 2 * step, x) - 8 * p(a - step, x) + 8 * p(a + step, x) - p(a + 2 * step, x)) / (12 * step)


GAMMA_AT = (np.array([0.3, 0.8, 1.0, 2.5, 6.0, 20.0, 3.0]), np.array([0.2, 1.5, 0.9, 2.0, 4.0, 25.0, 1e-2]))
op_case("IgammaGradA", igamma_by_a, inputs=[GAMMA_AT, (np.array([[1.0], [2.0]]), np.array([0.5, 1.0, 3.0])), (rand(0), rand(0))], rtol=2e-5, atol=1e-7)
op_case("IgammaGradA", inputs=[(rand(2), rand(3))], error="[2]")
op_case("RandomGammaGrad", lambda a, x: -igamma_by_a(a, x) / scipy.stats.gamma(a).pdf(x), rtol=2e-4, atol=1e-6,
        inputs=[GAMMA_AT, (np.array([[1.0], [2.0]]), np.array([0.5, 1.0, 3.0])), (rand(0), rand(0))])


@proves("RandomGamma", "RandomGammaGrad")
def test_the_gradient_of_the_mean_of_gamma_samples_is_one():
    with sl.Graph().as_default(), sl.Session() as session:
        alpha = sl.constant([0.5, 2.0, 10.0], sl.float64)
        mean = sl.reduce_mean(ops.RandomGamma([4000], alpha, **SEEDED), 0)
        np.testing.assert_allclose(session.run(sl.gradients(mean, alpha)[0]), [1, 1, 1], rtol=0.06)


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)
