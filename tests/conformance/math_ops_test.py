"""Rows for ops/math and ops/random: NumPy is the oracle, SciPy for special functions and factorisations."""

import numpy as np
import pytest
import scipy.linalg
import scipy.special

import sluice as sl
from harness import (BF16, BOOL, BROADCAST_PAIRS, COMPLEX, F16, F32, F64, FLOATS, INTS, REAL, SHAPES, SIGNED, SPECIAL, cases, check,
                     op_case, rand, randint, take_rows)

WIDE = [F32, F64]
I32, I64 = np.int32, np.int64
EDGES = [-100.0, -20.0, -3.0, -1.0, -0.5, -1e-3, -1e-7, 0.0, 1e-7, 1e-3, 0.5, 0.9, 1.0, 3.0, 20.0, 80.0]
POSITIVE = [1e-30, 1e-7, 1e-3, 0.1, 0.5, 0.999, 1.0, 1.001, 2.0, 10.0, 1e4]
UNIT = [-0.99, -0.7, -0.3, -1e-3, 0.0, 1e-3, 0.3, 0.7, 0.99]


def unary(op, oracle, *, x=EDGES, types=FLOATS, domain=(-2.0, 2.0), complex_oracle=None, **more):
    # Finite differences say little at the edges of a domain.
    op_case(op, oracle, x=x, types=types, name=op + "-edges", **{**more, "gradient": False})
    op_case(op, oracle, shapes=SHAPES, types=types, domain=domain, **more)
    if complex_oracle is not None:
        op_case(op, complex_oracle, shapes=[((3,),), ((2, 3),)], types=COMPLEX, domain=domain, name=op + "-complex", gradient=False)


def same(f):
    return dict(oracle=f, complex_oracle=f)


def reciprocal(x):
    # Of whole numbers only 1 and -1 have one that is not cut to 0; TensorFlow gives 0 for 0, too.
    return np.where(np.abs(x) == 1, x, 0) if x.dtype.kind in "iu" else 1 / x


unary("Exp", **same(np.exp))
unary("Expm1", **same(np.expm1))
unary("Log", x=POSITIVE, domain=(0.2, 3), **same(np.log))
unary("Log1p", x=POSITIVE, domain=(-0.6, 3), **same(np.log1p))
unary("Sqrt", x=POSITIVE, domain=(0.2, 3), **same(np.sqrt))
unary("Rsqrt", x=POSITIVE, domain=(0.2, 3), **same(lambda x: 1 / np.sqrt(x)))
unary("Square", lambda x: x * x, types=FLOATS + SIGNED, complex_oracle=np.square)
unary("Reciprocal", reciprocal, x=POSITIVE, domain=(0.3, 3), types=FLOATS, complex_oracle=np.reciprocal)
unary("Inv", reciprocal, x=POSITIVE, domain=(0.3, 3), types=FLOATS)
unary("Sin", **same(np.sin))
unary("Cos", **same(np.cos))
unary("Tan", x=UNIT, domain=(-1, 1), **same(np.tan))
unary("Asin", x=UNIT, domain=(-0.9, 0.9), **same(np.arcsin))
unary("Acos", x=UNIT, domain=(-0.9, 0.9), **same(np.arccos))
unary("Atan", **same(np.arctan))
unary("Sinh", x=UNIT, rtol=1e-5, **same(np.sinh))
unary("Cosh", x=UNIT, rtol=1e-5, **same(np.cosh))
unary("Asinh", x=UNIT, **same(np.arcsinh))
unary("Acosh", x=[1.5, 2, 10], domain=(1.2, 3), **same(np.arccosh))
unary("Atanh", x=UNIT, domain=(-0.9, 0.9), **same(np.arctanh))
unary("Tanh", **same(np.tanh))
unary("Sigmoid", lambda x: scipy.special.expit(x), complex_oracle=lambda x: 1 / (1 + np.exp(-x)), x=UNIT)
unary("Erf", scipy.special.erf)
unary("Erfc", scipy.special.erfc, rtol=1e-5)
unary("Lgamma", scipy.special.gammaln, x=[0.1, 0.5, 1.5, 3, 10, 100], domain=(0.2, 4), rtol=1e-5, atol=1e-6)
unary("Digamma", scipy.special.digamma, x=[0.1, 0.5, 3, 10, 100], domain=(0.2, 4), rtol=1e-5, atol=2e-6)
unary("BesselI0e", scipy.special.i0e, x=[-20, -3, 0, 1e-3, 1, 8, 50], rtol=2e-6)
unary("BesselI1e", scipy.special.i1e, x=[-20, -3, 0, 1e-3, 1, 8, 50], rtol=2e-6)
op_case("NextAfter", lambda x, y: np.nextafter(x, y), shapes=BROADCAST_PAIRS, types=[F64], gradient=False)
unary("Abs", np.abs, types=FLOATS + SIGNED, gradient=False)
op_case("Abs", np.abs, inputs=[(np.array([-2.0, 1.5, 3]),)], types=[F64], name="Abs-gradient")
unary("Neg", np.negative, types=FLOATS + SIGNED, complex_oracle=np.negative)
unary("Sign", np.sign, types=FLOATS + SIGNED, gradient=False)
op_case("Sign", lambda x: x / np.abs(x), shapes=[((5,),)], types=COMPLEX, gradient=False, name="Sign-complex")
for name, f in dict(Floor=np.floor, Ceil=np.ceil, Rint=np.rint).items():
    unary(name, f, x=EDGES + [0.5, 1.5, 2.5], types=FLOATS, gradient=False)
unary("Round", np.rint, x=EDGES + [0.5, 1.5, 2.5], types=FLOATS + SIGNED, gradient=False)
for name, f in dict(IsNan=np.isnan, IsInf=np.isinf, IsFinite=np.isfinite).items():
    unary(name, f, x=SPECIAL, types=WIDE, gradient=False)
op_case("LogicalNot", np.logical_not, shapes=SHAPES, types=BOOL)
op_case("Invert", lambda x: ~x, shapes=SHAPES, types=INTS, domain=(-9, 9))
op_case("PopulationCount", lambda x: np.array([bin(int(v) & (2 ** (8 * x.itemsize) - 1)).count("1") for v in x.reshape(-1)], np.uint8)
        .reshape(x.shape), shapes=SHAPES, types=INTS, domain=(-90, 90))

# Gradients of the gradients' ops: functions of an output and its gradient.
PAIRS = [((5,), (5,)), ((2, 3), (2, 3)), ((0,), (0,))]
op_case("SqrtGrad", lambda y, dy: dy * 0.5 / np.conj(y), shapes=PAIRS, types=FLOATS, domain=(0.3, 2))
op_case("RsqrtGrad", lambda y, dy: -0.5 * dy * np.conj(y)**3, shapes=PAIRS, types=FLOATS, domain=(0.3, 2), rtol=1e-5)
op_case("ReciprocalGrad", lambda y, dy: -dy * np.conj(y)**2, shapes=PAIRS, types=FLOATS)
op_case("InvGrad", lambda y, dy: -dy * np.conj(y)**2, shapes=PAIRS, types=FLOATS)
op_case("SigmoidGrad", lambda y, dy: dy * y * (1 - y), shapes=PAIRS, types=FLOATS)
op_case("TanhGrad", lambda y, dy: dy * (1 - y * y), shapes=PAIRS, types=FLOATS)


def cast(x, DstT):
    return x.astype(sl.as_dtype(DstT).as_numpy_dtype)


op_case("Cast", cast, shapes=[((4,),), ((0, 2),)], types=FLOATS, attrs=[dict(DstT=sl.as_dtype(t)) for t in ("int32", "float64", "bool", "float32")],
        gradient=False)
op_case("Cast", cast, x=[-3.7, 0, 2.2], types=INTS, attrs=[dict(DstT=sl.as_dtype(t)) for t in ("int8", "uint16", "int64", "complex64", "float32")],
        domain=(0, 9), gradient=False, name="Cast-integers")

# To bfloat16, to the nearest or (Truncate) without the bits behind.
NEAR_BF16 = np.float32([1.0, 1.0 + 2**-8, 1.0 + 3 * 2**-9, -3.14159, 1e-30, 65504, np.inf])
op_case("Cast", lambda x, DstT, Truncate: (NEAR_BF16.view(np.uint32) & 0xffff0000).view(F32), inputs=[(NEAR_BF16,)], types=[F32],
        attrs=[dict(DstT=sl.bfloat16, Truncate=True)], gradient=False, name="Cast-truncated")

# Complex numbers.
C = [((3,),), ((2, 2),), ((0,),)]
for name, f in dict(ComplexAbs=np.abs, Real=np.real, Imag=np.imag, Angle=np.angle).items():
    op_case(name, f, shapes=C, types=[np.complex64], gradient=False)
    op_case(name, lambda x, Tout, f=f: f(x), shapes=C, types=[np.complex128], attrs=[dict(Tout=sl.float64)], gradient=False, name=name + "-double")
op_case("Conj", np.conj, shapes=C, types=COMPLEX, gradient=False)
op_case("Complex", lambda re, im: re + 1j * im, shapes=BROADCAST_PAIRS, types=[F32], gradient=False)
op_case("Complex", lambda re, im, Tout: re + 1j * im, shapes=BROADCAST_PAIRS, types=[F64], attrs=[dict(Tout=sl.complex128)], gradient=False, name="Complex-double")

# Arithmetic of two tensors.
for name, f in dict(AddV2=np.add, Add=np.add, Sub=np.subtract, Mul=np.multiply).items():
    op_case(name, f, shapes=BROADCAST_PAIRS, types=REAL + COMPLEX)
op_case("SquaredDifference", lambda x, y: (x - y) * np.conj(x - y), shapes=BROADCAST_PAIRS, types=FLOATS + [I32, I64])
op_case("RealDiv", np.divide, shapes=BROADCAST_PAIRS, types=FLOATS + COMPLEX, domain=(0.5, 2))
op_case("Div", np.divide, shapes=BROADCAST_PAIRS, types=FLOATS + COMPLEX, domain=(0.5, 2))
op_case("DivNoNan", lambda x, y: np.where(y == 0, 0, x / np.where(y == 0, 1, y)),
        inputs=[(np.array([1.0, 2, -3, 0]), np.array([0.0, 4, 2, 0]))], types=FLOATS, gradient=False)
op_case("DivNoNan", np.divide, shapes=[((2, 3), (3,))], types=[F64], domain=(0.5, 2), name="DivNoNan-gradient")
op_case("MulNoNan", lambda x, y: np.where(y == 0, 0, x * y), inputs=[(np.array([np.inf, np.nan, 3]), np.array([0.0, 0, 2]))], types=WIDE, gradient=False)
op_case("MulNoNan", np.multiply, shapes=[((2, 3), (3,))], types=[F64], domain=(0.5, 2), name="MulNoNan-gradient")
DIVIDENDS = [(np.array([-7, 7, -7, 7, 0, 9], dtype=t), np.array([2, -2, -2, 2, 3, 9], dtype=t)) for t in SIGNED]
op_case("FloorDiv", np.floor_divide, inputs=DIVIDENDS, types=[I32])
op_case("FloorDiv", lambda x, y: np.floor(x / y), shapes=BROADCAST_PAIRS, types=WIDE, domain=(0.5, 9))
WHOLE = [np.int8, np.int16, I32, I64, np.uint8, np.uint16, np.uint32, np.uint64]
for name in ("Div", "RealDiv", "TruncateDiv"):
    op_case(name, lambda x, y: np.trunc(x / y).astype(x.dtype), shapes=BROADCAST_PAIRS, types=WHOLE, domain=(3, 99), name=name + "-whole")
op_case("FloorDiv", np.floor_divide, shapes=BROADCAST_PAIRS, types=WHOLE, domain=(3, 99), name="FloorDiv-whole")
op_case("FloorMod", np.mod, inputs=DIVIDENDS, types=[I32])
op_case("FloorMod", np.mod, inputs=[(np.array([-5.3, 5.3, -5.3, 5.3]), np.array([2.1, -2.1, -2.1, 2.1]))], types=WIDE, rtol=1e-5, gradient=False)
op_case("TruncateDiv", lambda x, y: np.trunc(x / y).astype(x.dtype), inputs=DIVIDENDS, types=[I32])
op_case("Mod", np.fmod, inputs=DIVIDENDS, types=[I32])
op_case("TruncateMod", np.fmod, inputs=DIVIDENDS, types=[I32])
for name in ("FloorDiv", "FloorMod", "TruncateDiv", "Mod", "Div"):
    op_case(name, inputs=[(np.array([1, 2], I32), np.array([1, 0], I32))], types=[I32], error="division by zero", name=name + "-by-zero")
op_case("Pow", np.power, shapes=BROADCAST_PAIRS, types=FLOATS + COMPLEX, domain=(0.5, 2), rtol=1e-5)
op_case("Pow", np.power, inputs=[(np.array([2, -3, 5, 0], I32), np.array([10, 3, 0, 0], I32))], types=[I32], name="Pow-integers")
op_case("Maximum", np.maximum, shapes=BROADCAST_PAIRS, types=REAL)
op_case("Minimum", np.minimum, shapes=BROADCAST_PAIRS, types=REAL)
op_case("Maximum", np.maximum, inputs=[(np.array(SPECIAL), np.array(SPECIAL[::-1]))], types=WIDE, gradient=False, name="Maximum-special")
op_case("Xdivy", np.divide, shapes=[((2, 3), (3,))], types=FLOATS, domain=(0.5, 2))
op_case("Xlogy", scipy.special.xlogy, shapes=[((2, 3), (3,))], types=FLOATS, domain=(0.5, 2))
op_case("Xlog1py", scipy.special.xlog1py, shapes=[((2, 3), (3,))], types=FLOATS, domain=(0.5, 2))
op_case("Xlogy", scipy.special.xlogy, inputs=[(np.array([0.0, 0, 2]), np.array([0.0, -1, 3]))], types=WIDE, gradient=False, name="Xlogy-zero")
op_case("Atan2", np.arctan2, shapes=BROADCAST_PAIRS, types=FLOATS)
op_case("Igamma", scipy.special.gammainc, shapes=[((4,), (4,)), ((2, 1), (3,))], types=WIDE, domain=(0.5, 4), rtol=2e-5)
op_case("Igammac", scipy.special.gammaincc, shapes=[((4,), (4,)), ((2, 1), (3,))], types=WIDE, domain=(0.5, 4), rtol=2e-5)
op_case("Zeta", scipy.special.zeta, shapes=[((4,), (4,))], types=WIDE, domain=(1.5, 4), rtol=2e-5, gradient=False)
op_case("Polygamma", lambda a, x: scipy.special.polygamma(a.astype(int), x), inputs=[(np.array([1.0, 2, 3]), np.array([0.5, 1.5, 3]))],
        types=WIDE, rtol=2e-5, gradient=False)
op_case("ClipByValue", np.clip, inputs=[(rand(2, 3), np.array(-0.5), np.array(0.7)), (rand(3), np.array([-1.0, 0, 1]), np.array([0.0, 1, 2]))],
        types=FLOATS)
for name, f in dict(BitwiseAnd=np.bitwise_and, BitwiseOr=np.bitwise_or, BitwiseXor=np.bitwise_xor).items():
    op_case(name, f, shapes=BROADCAST_PAIRS, types=INTS, domain=(-90, 90))
op_case("LeftShift", np.left_shift, inputs=[(np.array([1, -3, 7], I32), np.array([0, 3, 30], I32))], types=[I32])
op_case("RightShift", np.right_shift, inputs=[(np.array([1, -3, 1 << 30], I32), np.array([0, 1, 30], I32))], types=[I32])

# Comparisons and choices.
for name, f in dict(Less=np.less, LessEqual=np.less_equal, Greater=np.greater, GreaterEqual=np.greater_equal).items():
    op_case(name, f, shapes=BROADCAST_PAIRS, types=REAL)
    op_case(name, f, inputs=[(np.array(SPECIAL), np.array(SPECIAL[::-1]))], types=WIDE, name=name + "-special")
op_case("Equal", np.equal, shapes=BROADCAST_PAIRS, types=REAL + COMPLEX + BOOL)
op_case("NotEqual", np.not_equal, shapes=BROADCAST_PAIRS, types=REAL + COMPLEX + BOOL)
op_case("Equal", lambda x, y, incompatible_shape_error: np.array(False), shapes=[((2,), (3,))], attrs=[dict(incompatible_shape_error=False)],
        types=[F32], name="Equal-incompatible")
op_case("NotEqual", lambda x, y, incompatible_shape_error: np.array(True), shapes=[((2,), (3,))], attrs=[dict(incompatible_shape_error=False)],
        types=[F32], name="NotEqual-incompatible")
op_case("ApproximateEqual", lambda x, y, tolerance: np.abs(x - y) < tolerance, inputs=[(np.array([1.0, 2, 3]), np.array([1.05, 2.5, 3]))],
        attrs=[dict(tolerance=0.1)], types=WIDE)
op_case("LogicalAnd", np.logical_and, shapes=BROADCAST_PAIRS, types=BOOL)
op_case("LogicalOr", np.logical_or, shapes=BROADCAST_PAIRS, types=BOOL)
TRUTH = np.array([True, False, True])
op_case("Select", np.where, inputs=[(TRUTH, rand(3), rand(3, key=1)), (np.array(True), rand(2, 2), rand(2, 2, key=1))], types=REAL + COMPLEX)
op_case("Select", lambda c, t, e: np.where(c[:, None], t, e), inputs=[(TRUTH, rand(3, 2), rand(3, 2, key=1))], types=WIDE, name="Select-rows")
op_case("SelectV2", np.where, inputs=[(TRUTH, rand(2, 3), rand(1, 3)), (np.array([[True], [False]]), np.array(1.5), rand(3))], types=REAL)

# Sums of many.
op_case("AddN", sum, inputs=[([rand(2, 3)],), ([rand(4), rand(4, key=1)],), ([rand(5, key=i) for i in range(5)],)], types=REAL + COMPLEX)
op_case("AccumulateNV2", lambda xs, shape: sum(xs), inputs=[([rand(4), rand(4, key=1)],)], attrs=[dict(shape=[4])])

# Reductions.
AXES = [((), []), ((4,), [0]), ((2, 3), [0]), ((2, 3), [1]), ((2, 3), [0, 1]), ((2, 3), []), ((2, 3, 4), [-1, 0]), ((3, 2, 4), [1]),
        ((2, 2, 2, 3), [0, 2]), ((2, 2, 2, 3), [1, 3]), ((3, 1, 4), [1]), ((2, 0, 3), [1]), ((0, 3), [1]), ((70, 5), [0]), ((5, 300), [1])]
KEEP = [{}, dict(keep_dims=True)]


def reduction(f):
    return lambda x, axes, keep_dims=False: f(x, tuple(int(a) for a in np.atleast_1d(axes)), keep_dims)


def reductions(shapes):
    return [(rand(*s, key=i), np.array(a, I32)) for i, (s, a) in enumerate(shapes)]


NOT_EMPTY = [(s, a) for s, a in AXES if 0 not in s]
op_case("Sum", reduction(lambda x, a, k: x.sum(a, keepdims=k, dtype=x.dtype)), inputs=reductions(AXES), attrs=KEEP, types=REAL + COMPLEX, rtol=1e-5)
op_case("Mean", reduction(lambda x, a, k: x.mean(a, keepdims=k)), inputs=reductions(AXES), attrs=KEEP, types=FLOATS + COMPLEX, rtol=1e-5)
op_case("Prod", reduction(lambda x, a, k: x.prod(a, keepdims=k, dtype=x.dtype)), inputs=reductions(AXES[:-2]), attrs=KEEP,
        types=[F32, F64, I32, I64] + COMPLEX, rtol=1e-5)
op_case("Prod", reduction(lambda x, a, k: x.prod(a, keepdims=k)), inputs=[(np.array([[0.0, 2, 3], [4, 0, 0]]), np.array([1], I32))], types=[F64],
        name="Prod-zeros")
op_case("Max", reduction(lambda x, a, k: x.max(a, keepdims=k)), inputs=reductions(NOT_EMPTY), attrs=KEEP, types=REAL)
op_case("Min", reduction(lambda x, a, k: x.min(a, keepdims=k)), inputs=reductions(NOT_EMPTY), attrs=KEEP, types=REAL)
op_case("EuclideanNorm", reduction(lambda x, a, k: np.sqrt((x * np.conj(x)).sum(a, keepdims=k))), inputs=reductions(AXES), attrs=KEEP, types=WIDE, rtol=1e-5)
op_case("All", reduction(lambda x, a, k: x.all(a, keepdims=k)), inputs=reductions(AXES), attrs=KEEP, types=BOOL)
op_case("Any", reduction(lambda x, a, k: x.any(a, keepdims=k)), inputs=reductions(AXES), attrs=KEEP, types=BOOL)
op_case("Sum", inputs=[(rand(2, 3), np.array([2], I32))], error="2", name="Sum-axis")
for name, f in dict(ArgMax=np.argmax, ArgMin=np.argmin).items():
    op_case(name, lambda x, axis, f=f: f(x, int(axis)), inputs=[(rand(4), I32(0)), (rand(2, 3), I32(0)), (rand(2, 3), I32(-1)), (rand(2, 3, 4), I32(1))],
            types=REAL)
    op_case(name, lambda x, axis, f=f: f(x, int(axis)), inputs=[(randint(3, 200).astype(F64), I32(1)), (randint(50, 130).astype(F64), I32(0))],
            types=[F32, I32], name=name + "-ties")


def scan(f, start):
    def run(x, axis, exclusive=False, reverse=False):
        x = np.moveaxis(x, int(axis), 0)
        x = x[::-1] if reverse else x
        y = f(x, 0, dtype=x.dtype)
        if exclusive:
            y = np.concatenate([np.full_like(x[:1], start), y[:-1]])
        return np.moveaxis(y[::-1] if reverse else y, 0, int(axis))
    return run


SCANS = [dict(exclusive=e, reverse=r) for e in (False, True) for r in (False, True)]
for name, f, start in (("Cumsum", np.cumsum, 0), ("Cumprod", np.cumprod, 1)):
    op_case(name, scan(f, start), inputs=[(rand(5, low=0.5), I32(0)), (rand(2, 3, low=0.5), I32(1)), (rand(2, 3, 2, low=0.5), I32(-2))],
            attrs=SCANS, types=[F32, F64, I32], rtol=1e-5)


# Segments.
def segments(join, empty):
    def run(data, ids, n=None):
        n = int(n) if n is not None else (int(ids.max()) + 1 if ids.size else 0)
        flat = data.reshape((ids.size,) + data.shape[ids.ndim:])
        out = np.full((n,) + flat.shape[1:], empty(data.dtype), data.dtype)
        for s in range(n):
            rows = flat[ids.reshape(-1) == s]
            if len(rows):
                out[s] = join(rows)
        return out
    return run


def constant(v):
    return lambda t: v


def lowest(t):
    return np.finfo(F32).min if t.kind == "f" else np.iinfo(t).min


def highest(t):
    return np.finfo(F32).max if t.kind == "f" else np.iinfo(t).max


JOINS = dict(Sum=(lambda r: r.sum(0), constant(0)), Mean=(lambda r: r.mean(0), constant(0)), Prod=(lambda r: r.prod(0), constant(1)),
             Max=(lambda r: r.max(0), constant(0)), Min=(lambda r: r.min(0), constant(0)))
SORTED = [(rand(5), np.array([0, 0, 1, 3, 3], I32)), (rand(4, 3), np.array([0, 1, 1, 2], I64)), (rand(0, 2), np.array([], I32))]
for name, (join, empty) in JOINS.items():
    op_case("Segment" + name, segments(join, empty), inputs=SORTED, types=WIDE, rtol=1e-5)
UNSORTED = [(rand(5), np.array([3, 0, -1, 0, 3], I32), I32(4)), (rand(4, 3), np.array([1, 0, 1, 2], I64), I32(3)),
            (rand(2, 2, 3), np.array([[0, 1], [1, 2]], I32), I32(3))]
EMPTY = dict(Sum=constant(0), Prod=constant(1), Max=lowest, Min=highest)
for name in ("Sum", "Prod"):
    op_case("UnsortedSegment" + name, segments(JOINS[name][0], EMPTY[name]), inputs=UNSORTED, types=WIDE, rtol=1e-5)
for name in ("Max", "Min"):
    full = [(rand(5), np.array([2, 0, -1, 0, 1], I32), I32(3)), UNSORTED[1], UNSORTED[2]]
    op_case("UnsortedSegment" + name, segments(JOINS[name][0], EMPTY[name]), inputs=full, types=WIDE)
op_case("UnsortedSegmentSum", inputs=[(rand(2), np.array([0, 5], I32), I32(3))], error="not in [0, 3)", name="UnsortedSegmentSum-range")


def sparse(kind):
    scale = dict(Sum=lambda n: 1, Mean=lambda n: n, SqrtN=np.sqrt)[kind]
    return lambda data, i, s, n=None: segments(lambda r: r.sum(0) / scale(len(r)), constant(0))(data[i], s, n)


for kind in ("Sum", "Mean", "SqrtN"):
    picked = (rand(4, 3), np.array([0, 2, 2, 3], I32), np.array([0, 0, 1, 3], I32))
    op_case("SparseSegment" + kind, sparse(kind), inputs=[picked], types=WIDE, rtol=1e-5)
    op_case("SparseSegment" + kind + "WithNumSegments", sparse(kind), inputs=[picked + (I32(6),)], types=WIDE, rtol=1e-5)
for kind in ("Mean", "SqrtN"):
    def grad(dy, i, s, n, kind=kind):
        out = np.zeros((int(n),) + dy.shape[1:])
        for a, b in zip(i, s):
            out[a] += dy[b] / (np.sum(s == b) if kind == "Mean" else np.sqrt(np.sum(s == b)))
        return out
    op_case(f"SparseSegment{kind}Grad", grad, inputs=[(rand(2, 3), np.array([0, 2, 2], I32), np.array([0, 0, 1], I32), I32(4))], types=WIDE, rtol=1e-5)

# Products of matrices.
FLAGS = [dict(transpose_a=a, transpose_b=b) for a in (False, True) for b in (False, True)]


def matmul(a, b, transpose_a=False, transpose_b=False, **_):
    return (a.T if transpose_a else a) @ (b.T if transpose_b else b)


for flags in FLAGS:
    for m, k, n in ((2, 3, 4), (1, 5, 3), (4, 2, 1), (3, 0, 2), (0, 2, 3), (33, 17, 40)):
        a, b = (k, m) if flags["transpose_a"] else (m, k), (n, k) if flags["transpose_b"] else (k, n)
        op_case("MatMul", matmul, shapes=[(a, b)], attrs=[flags], types=FLOATS + [I32, I64] + COMPLEX, rtol=1e-5, atol=2e-5)
op_case("MatMul", shapes=[((2, 3), (4, 3))], error="transpose_b=True would give [2,4]", name="MatMul-sizes")
op_case("SparseMatMul", matmul, shapes=[((2, 3), (3, 4))], types=[F32], rtol=1e-5)
for flags in FLAGS:
    op_case("SparseMatMul", matmul, inputs=[(rand(*((3, 2) if flags["transpose_a"] else (2, 3))) * randint(1, 1, low=1, high=2),
                                             rand(*((4, 3) if flags["transpose_b"] else (3, 4))))], types=[F32], rtol=1e-5,
            attrs=[{**flags, **hint} for hint in (dict(a_is_sparse=True), dict(b_is_sparse=True), dict(a_is_sparse=True, b_is_sparse=True))])


def batch_matmul(x, y, adj_x=False, adj_y=False):
    turn = lambda m: np.conj(np.swapaxes(m, -1, -2))
    return (turn(x) if adj_x else x) @ (turn(y) if adj_y else y)


for adj_x in (False, True):
    for adj_y in (False, True):
        x, y = (3, 2) if adj_x else (2, 3), (4, 3) if adj_y else (3, 4)
        attrs = [dict(adj_x=adj_x, adj_y=adj_y)]
        op_case("BatchMatMul", batch_matmul, shapes=[((2,) + x, (2,) + y), (x, y)], attrs=attrs, types=[F32, F64] + COMPLEX, rtol=1e-5, atol=1e-5)
        op_case("BatchMatMulV2", batch_matmul, shapes=[((2,) + x, (2,) + y), ((2, 1) + x, (3,) + y), (x, (2,) + y), ((2,) + x, y), ((0,) + x, y)],
                attrs=attrs, types=[F32, F64, I32] + COMPLEX, rtol=1e-5, atol=1e-5)

# Diagonals and bands.
op_case("Diag", lambda d: np.diag(d), shapes=[((3,),), ((0,),)], types=WIDE + [I32])
op_case("DiagPart", lambda x: np.diag(x), shapes=[((3, 3),)], types=WIDE)
op_case("MatrixDiag", lambda d: d[..., None] * np.eye(d.shape[-1], dtype=d.dtype), shapes=[((3,),), ((2, 3),)], types=WIDE + [I32])
op_case("MatrixDiagPart", lambda x: np.diagonal(x, axis1=-2, axis2=-1), shapes=[((3, 3),), ((2, 3, 2),), ((2, 3),)], types=WIDE + [I32])


def set_diag(x, d):
    y = x.copy()
    for i in range(d.shape[-1]):
        y[..., i, i] = d[..., i]
    return y


op_case("MatrixSetDiag", set_diag, shapes=[((3, 3), (3,)), ((2, 3, 2), (2, 2))], types=WIDE)
op_case("MatrixBandPart", lambda x, l, u: np.triu(np.tril(x, x.shape[-1] if u < 0 else int(u)), -x.shape[-2] if l < 0 else -int(l)),
        inputs=[(rand(4, 5), I64(l), I64(u)) for l, u in ((0, 0), (1, 2), (-1, 0), (0, -1), (-1, -1), (4, 5))], types=WIDE)
op_case("Cross", np.cross, shapes=[((3,), (3,)), ((2, 3), (2, 3))], types=WIDE + [I32])

# Linear algebra.
POSITIVE_DEFINITE = rand(2, 3, 3) @ np.swapaxes(rand(2, 3, 3), -1, -2) + 2 * np.eye(3)
op_case("Cholesky", np.linalg.cholesky, inputs=[(POSITIVE_DEFINITE,), (np.array([[4.0]]),)], types=WIDE, rtol=1e-4, atol=1e-5, gradient=False)
op_case("Cholesky", np.linalg.cholesky, inputs=[(POSITIVE_DEFINITE + 0.3j * np.float64([[0, 1, -2], [-1, 0, 1], [2, -1, 0]]),)], types=COMPLEX, rtol=1e-4, atol=1e-5, gradient=False,
        name="Cholesky-complex")
op_case("MatrixInverse", lambda x, adjoint=False: np.linalg.inv(np.swapaxes(x, -1, -2) if adjoint else x), inputs=[(POSITIVE_DEFINITE,)],
        attrs=[{}, dict(adjoint=True)], types=WIDE, rtol=1e-4, atol=1e-5)
op_case("MatrixDeterminant", np.linalg.det, inputs=[(POSITIVE_DEFINITE,)], types=WIDE, rtol=1e-4)
op_case("MatrixSolve", lambda a, b, adjoint=False: np.linalg.solve(np.swapaxes(a, -1, -2) if adjoint else a, b),
        inputs=[(POSITIVE_DEFINITE + np.triu(np.ones((3, 3))), rand(2, 3, 2))], attrs=[{}, dict(adjoint=True)], types=WIDE, rtol=1e-4, atol=1e-5)
op_case("MatrixTriangularSolve",
        lambda a, b, lower=True, adjoint=False: np.stack([scipy.linalg.solve_triangular(m, r, lower=lower, trans=2 if adjoint else 0) for m, r in zip(a, b)]),
        inputs=[(POSITIVE_DEFINITE, rand(2, 3, 2))], attrs=[dict(lower=l, adjoint=a) for l in (True, False) for a in (True, False)],
        types=WIDE, rtol=1e-4, atol=1e-5)

# Sequences, shapes, counts.
op_case("Range", np.arange, inputs=[(I32(3), I32(10), I32(3)), (I32(3), I32(0), I32(-2)), (I32(2), I32(2), I32(1))], types=[I32])
for t in (np.int8, np.int16, I64, np.uint16, np.uint32, np.float16):
    op_case("Range", lambda a, b, d, t=t: np.arange(a, b, d).astype(t), inputs=[(np.array(3.0), np.array(10.0), np.array(3.0))], types=[t], name="Range-whole", gradient=False)
op_case("Range", lambda a, b, d: np.arange(a, b, d), inputs=[(np.array(0.5), np.array(3.0), np.array(0.75))], types=WIDE)
op_case("LinSpace", lambda a, b, n: np.linspace(a, b, int(n)), inputs=[(np.array(1.0), np.array(4.0), I32(7)), (np.array(2.0), np.array(5.0), I32(1))],
        types=WIDE, rtol=1e-5)
op_case("BroadcastArgs", lambda a, b: np.array(np.broadcast_shapes(tuple(a), tuple(b)), I32), inputs=[(np.array([2, 1], I32), np.array([3], I32))], types=[I32])
op_case("BroadcastGradientArgs", lambda a, b: (np.array([2], I32), np.array([0], I32)), inputs=[(np.array([2, 3, 1], I32), np.array([3, 5], I32))],
        types=[I32])
op_case("Bincount", lambda a, n, w: np.bincount(a.reshape(-1), w.reshape(-1) if w.size else None, int(n))[:int(n)],
        inputs=[(randint(9), I32(12), rand(9)), (randint(2, 3), I32(5), rand(0))], types=WIDE, rtol=1e-5)
op_case("Bucketize", lambda x, boundaries: np.digitize(x, boundaries).astype(I32), shapes=[((3, 4),)], attrs=[dict(boundaries=[-1.0, 0.0, 0.5])], types=WIDE)
op_case("Bucketize", lambda x, boundaries: np.digitize(x, boundaries).astype(I32), x=[-1, 0, 1, 5, 100], types=[I32, I64], attrs=[dict(boundaries=[-0.5, 0.5, 4.75])],
        name="Bucketize-between")
op_case("HistogramFixedWidth", lambda x, r, n: np.histogram(np.clip(x, *r), int(n), tuple(r))[0].astype(I32),
        inputs=[(rand(50), np.array([-1.5, 1.5]), I32(6))], types=WIDE)

ROWS = take_rows()


@pytest.mark.parametrize("row,t,values,attrs", cases(ROWS))
def test_math(row, t, values, attrs):
    check(row, t, values, attrs)


# Second derivatives, against differences of the first.
@pytest.mark.parametrize("f,low", [(sl.tanh, -1), (sl.sigmoid, -1), (sl.sqrt, 0.5), (sl.rsqrt, 0.5), (sl.reciprocal, 0.5), (sl.exp, -1), (sl.log, 0.5),
                                   (lambda x: x * sl.reduce_sum(x * x), -1), (lambda x: sl.matmul(x[:, None], x[None, :]), -1),
                                   (lambda x: sl.reduce_prod(x) * x, 0.5), (lambda x: sl.pow(x, 3.0), 0.5)])
def test_second_derivatives_agree_with_differences(f, low):
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.placeholder(sl.float64, [3])
        g, = sl.gradients(sl.reduce_sum(f(x)), x)
        gg, = sl.gradients(sl.reduce_sum(g * [1.0, 2.0, 3.0]), x)
        at = rand(3, low=low, high=low + 1)
        step = 1e-5
        for i in range(3):
            d = np.zeros(3)
            d[i] = step
            numeric = (session.run(g, {x: at + d}) - session.run(g, {x: at - d})) @ [1, 2, 3] / (2 * step)
            np.testing.assert_allclose(session.run(gg, {x: at})[i], numeric, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("op,low,high", [("RandomUniform", 0.5, 1 / np.sqrt(12)), ("RandomStandardNormal", 0, 1), ("TruncatedNormal", 0, 0.8796)])
def test_random_numbers_have_their_mean_and_deviation(op, low, high):
    with sl.Graph().as_default(), sl.Session() as session:
        for t in ("float32", "float64", "float16", "bfloat16"):
            x = session.run(sl.cast(getattr(sl.raw_ops, op)([100, 1000], dtype=t, seed=3, seed2=4), sl.float32))
            assert abs(x.mean() - low) < 0.02
            assert abs(x.std() - high) < 0.02


def test_seeded_random_ops_start_again_in_a_new_session():
    with sl.Graph().as_default():
        x = sl.random_uniform([4], seed=7)
        with sl.Session() as one, sl.Session() as two:
            first, second = one.run(x), one.run(x)
            assert not np.array_equal(first, second)
            np.testing.assert_array_equal(two.run(x), first)
