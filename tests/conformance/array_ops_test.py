"""Ops that move elements: shapes, joins and cuts, gathers and scatters, permutations, padding, sorting by position."""

import itertools

import numpy as np
import pytest

import sluice as sl
from harness import (BOOL, COMPLEX, F16, F32, F64, REAL, cases, check, op_case, rand, randint, rng,
                     take_rows)

ANY = REAL + COMPLEX + BOOL
I32, I64 = np.int32, np.int64
STRINGS = np.array([[b"a", b"", b"ccc"], [b"dd", b"a", b"\x00\xff"]], dtype=object)


def i32(*values):
    return np.array(values, I32)


# ---- shapes

for out_type, dtype in ((sl.int32, I32), (sl.int64, I64)):
    attrs = [dict(out_type=out_type)]
    op_case("Shape", oracle=lambda x, out_type, d=dtype: np.array(x.shape, d), shapes=[((),), ((2, 0, 3),)], attrs=attrs)
    op_case("Size", oracle=lambda x, out_type, d=dtype: np.array(x.size, d), shapes=[((),), ((2, 0, 3),), ((4, 5),)], attrs=attrs)
    op_case("ShapeN", oracle=lambda xs, out_type, d=dtype: [np.array(x.shape, d) for x in xs],
            inputs=[([rand(2, 3), rand(), rand(0)],)], attrs=attrs)
op_case("Rank", oracle=lambda x: np.array(x.ndim, I32), shapes=[((),), ((2, 0, 3),)], types=ANY)
op_case("Reshape", oracle=lambda x, s: np.reshape(x, s), types=ANY,
        inputs=[(rand(2, 6), i32(3, -1)), (rand(1), i32()), (rand(), i32(1, 1)), (rand(0, 3), i32(-1, 3)), (rand(0, 3), i32(5, 0))])
op_case("Reshape", oracle=lambda x, s: np.reshape(x, s), inputs=[(STRINGS, np.array([3, 2], I64))], name="Reshape-strings", types=[F32])
op_case("Reshape", inputs=[(rand(2, 3), i32(4, -1))], error="not a multiple of 4")
op_case("Reshape", inputs=[(rand(2, 3), i32(-1, -1))], error="only one size may be -1")
op_case("Reshape", inputs=[(rand(2, 3), i32(7))], error="cannot reshape")
op_case("EnsureShape", oracle=lambda x, shape: x, inputs=[(rand(2, 3),)], attrs=[dict(shape=[None, 3]), dict(shape=[2, 3])])
op_case("EnsureShape", inputs=[(rand(2, 3),)], attrs=[dict(shape=[None, 4])], error="[2,3]")
op_case("ExpandDims", oracle=lambda x, d: np.expand_dims(x, int(d)), types=ANY,
        inputs=[(rand(2, 3), I32(0)), (rand(2, 3), I64(-1)), (rand(2, 3), I32(1)), (rand(), I32(0))])
op_case("ExpandDims", inputs=[(rand(2, 3), I32(3))], error="is not in [-3, 3)")
op_case("Squeeze", oracle=lambda x: np.squeeze(x), inputs=[(rand(1, 2, 1),), (rand(1, 1),), (rand(3, 2),)], types=ANY)
op_case("Squeeze", oracle=lambda x, squeeze_dims: np.squeeze(x, tuple(squeeze_dims)), inputs=[(rand(1, 2, 1),)],
        attrs=[dict(squeeze_dims=[0]), dict(squeeze_dims=[-1, 0])])
op_case("Squeeze", inputs=[(rand(1, 2, 1),)], attrs=[dict(squeeze_dims=[1])], error="can not squeeze dim[1]")
op_case("BroadcastTo", oracle=lambda x, s: np.broadcast_to(x, s), types=ANY,
        inputs=[(rand(3), i32(2, 3)), (rand(2, 1), np.array([4, 2, 3], I64)), (rand(), i32(2)), (rand(1, 3), i32(0, 3))])
op_case("BroadcastTo", inputs=[(rand(3), i32(2, 2))], error="cannot broadcast")
op_case("Bitcast", oracle=lambda x, type: x.astype(F32).view(I32), inputs=[(rand(2, 3),)], types=[F32], attrs=[dict(type=sl.int32)])
op_case("Bitcast", oracle=lambda x, type: x.astype(F32).view(np.uint8).reshape(2, 3, 4), inputs=[(rand(2, 3),)], types=[F32],
        attrs=[dict(type=sl.uint8)])
op_case("Bitcast", oracle=lambda x, type: x.view(F64)[..., 0], inputs=[(randint(3, 2),)], types=[F32], attrs=[dict(type=sl.float64)])

# ---- constants

op_case("Fill", oracle=lambda d, v: np.full(d, v), inputs=[(i32(2, 3), rand()), (np.array([0, 2], I64), rand()), (i32(), rand())],
        types=ANY)
op_case("Fill", inputs=[(i32(2, -3), rand())], error="-3")
op_case("ZerosLike", oracle=np.zeros_like, shapes=[((2, 3),), ((),), ((0,),)], types=ANY)
op_case("OnesLike", oracle=np.ones_like, shapes=[((2, 3),), ((),), ((0,),)], types=ANY)
op_case("Empty", oracle=lambda s, dtype, init: np.zeros(s, F32), inputs=[(i32(2, 3),)], types=[F32],
        attrs=[dict(dtype=sl.float32, init=True)])
op_case("DeepCopy", oracle=lambda x: x, shapes=[((2, 3),)], types=ANY)


def one_hot(indices, depth, on, off, axis=-1):
    hot = np.moveaxis(np.equal(indices[..., None], np.arange(depth)), -1, axis)
    return np.where(hot, on, off)


op_case("OneHot", oracle=one_hot, inputs=[(i32(0, 2, -1, 3), I32(3), rand(), rand(key=1)), (randint(2, 3, dtype=I64), I32(4), rand(), rand(key=1))],
        attrs=[{}, dict(axis=0), dict(axis=1)], types=[F32, F64, np.int32, np.bool_], gradient=False)
op_case("OneHot", inputs=[(i32(0), I32(-1), rand(), rand())], error="depth must be non-negative")

# ---- joins and cuts

op_case("Concat", oracle=lambda a, xs: np.concatenate(xs, int(a)), types=ANY,
        inputs=[(I32(0), [rand(2, 3), rand(1, 3)]), (I32(-1), [rand(2, 3), rand(2, 0), rand(2, 1)])])
op_case("ConcatV2", oracle=lambda xs, a: np.concatenate(xs, int(a)), types=ANY,
        inputs=[([rand(2, 3), rand(1, 3)], I32(0)), ([rand(2, 3), rand(2, 0), rand(2, 1)], I64(-1)),
                ([rand(2, 3, 2), rand(2, 1, 2)], I32(1)), ([rand(3), rand(0), rand(2)], I32(0))])
op_case("ConcatV2", oracle=lambda xs, a: np.concatenate(xs, int(a)), inputs=[([STRINGS, STRINGS[:1]], I32(0))], types=[F32],
        name="ConcatV2-strings")
op_case("ConcatV2", inputs=[([rand(2, 3), rand(3, 3)], I32(1))], error="may differ in dimension 1 only")
op_case("ConcatV2", inputs=[([rand(2, 3), rand(2, 3)], I32(2))], error="is not in [-2, 2)")
op_case("ConcatOffset", oracle=lambda d, s: [i32(0, 0), i32(0, 2), i32(0, 5)], types=[F32],
        inputs=[(I32(1), [i32(4, 2), i32(4, 3), i32(4, 1)]), (I32(-1), [i32(4, 2), i32(4, 3), i32(4, 1)])])
op_case("Pack", oracle=lambda xs, axis=0: np.stack(xs, axis), inputs=[([rand(2, 3), rand(2, 3, key=1)],), ([rand(2, 0)],)],
        attrs=[{}, dict(axis=1), dict(axis=-1)], types=ANY)
op_case("Pack", oracle=lambda xs: np.stack(xs), inputs=[([rand(), rand(key=1)],)])
op_case("Pack", inputs=[([rand(2, 3), rand(3, 2)],)], error="must have one shape")
op_case("Unpack", oracle=lambda x, num, axis=0: [np.take(x, i, axis) for i in range(num)], inputs=[(rand(3, 3, 2),)],
        attrs=[dict(num=3), dict(num=3, axis=1), dict(num=2, axis=-1)], types=ANY)
op_case("Unpack", inputs=[(rand(3, 2),)], attrs=[dict(num=2)], error="cannot unpack")
op_case("Split", oracle=lambda d, x, num_split: np.split(x, num_split, int(d)), types=ANY,
        inputs=[(I32(0), rand(4, 2)), (I32(1), rand(4, 6)), (I32(-1), rand(3, 0))], attrs=[dict(num_split=2), dict(num_split=1)])
op_case("Split", inputs=[(I32(0), rand(3, 2))], attrs=[dict(num_split=2)], error="equal parts")


def split_v(x, sizes, dim, num_split):
    sizes = np.where(sizes < 0, x.shape[int(dim)] - sizes.sum() - 1, sizes)
    return np.split(x, np.cumsum(sizes)[:-1], int(dim))


op_case("SplitV", oracle=split_v, types=ANY, attrs=[dict(num_split=3)],
        inputs=[(rand(4, 2), i32(1, 2, 1), I32(0)), (rand(2, 6), np.array([0, -1, 4], I64), I32(-1))])
op_case("SplitV", inputs=[(rand(4, 2), i32(1, 2, 2), I32(0))], attrs=[dict(num_split=3)], error="add up to 5")

# ---- slices


def box(x, begin, size):
    return x[tuple(slice(b, None if s < 0 else b + s) for b, s in zip(begin, size))]


op_case("Slice", oracle=box, types=ANY,
        inputs=[(rand(4, 5), i32(1, 2), i32(2, -1)), (rand(4, 5), np.array([0, 0], I64), np.array([-1, -1], I64)),
                (rand(20), i32(16), i32(3)), (rand(20, 2), i32(8, 0), i32(4, -1)), (rand(3), i32(3), i32(0)), (rand(), i32(), i32())])
op_case("Slice", oracle=box, inputs=[(STRINGS, i32(0, 1), i32(2, 1))], types=[F32], name="Slice-strings")
op_case("Slice", inputs=[(rand(4), i32(2), i32(3))], error="[0")
op_case("Slice", inputs=[(rand(4), i32(-1), i32(1))], error="begin[0] = -1")


def strided(x, begin, end, strides, begin_mask=0, end_mask=0, ellipsis_mask=0, new_axis_mask=0, shrink_axis_mask=0):
    key = []
    for i, (b, e, s) in enumerate(zip(begin, end, strides)):
        bit = 1 << i
        if ellipsis_mask & bit:
            key.append(Ellipsis)
        elif new_axis_mask & bit:
            key.append(np.newaxis)
        elif shrink_axis_mask & bit:
            key.append(int(b))
        else:
            key.append(slice(None if begin_mask & bit else int(b), None if end_mask & bit else int(e), int(s)))
    return x[tuple(key)]


MASKS = [{}, dict(begin_mask=1), dict(end_mask=2), dict(begin_mask=3, end_mask=3), dict(ellipsis_mask=1), dict(ellipsis_mask=2),
         dict(new_axis_mask=1), dict(new_axis_mask=2, end_mask=1), dict(ellipsis_mask=1, new_axis_mask=2)]
op_case("StridedSlice", oracle=strided, attrs=MASKS, types=[F32, F64, np.int8, np.complex128],
        inputs=[(rand(4, 5), i32(1, 0), i32(3, 4), i32(1, 2)), (rand(4, 5, 2), np.array([-1, -2], I64), np.array([-9, 0], I64), np.array([-2, -1], I64)),
                (rand(4, 5), i32(3, 9), i32(1, 99), i32(1, 1))])
op_case("StridedSlice", oracle=strided, types=[F32, F64],
        attrs=[dict(shrink_axis_mask=1), dict(shrink_axis_mask=3), dict(shrink_axis_mask=2, ellipsis_mask=1),
               dict(shrink_axis_mask=2, new_axis_mask=1), dict(shrink_axis_mask=1, begin_mask=2, end_mask=2)],
        inputs=[(rand(4, 5, 3), i32(1, -2), i32(2, 3), i32(1, 1))])
op_case("StridedSlice", inputs=[(rand(4), i32(4), i32(5), i32(1))], attrs=[dict(shrink_axis_mask=1)], error="out of bounds")
op_case("StridedSlice", inputs=[(rand(4), i32(0), i32(5), i32(0))], error="must be non-zero")
op_case("StridedSlice", inputs=[(rand(4), i32(0, 0), i32(1, 1), i32(1, 1))], error="input has only 1 dims")
op_case("StridedSlice", inputs=[(rand(4), i32(0, 0), i32(1, 1), i32(1, 1))], attrs=[dict(ellipsis_mask=3)], error="more than one ellipsis")


def strided_gradient(shape, begin, end, strides, dy, **masks):
    at = strided(np.arange(np.prod(shape)).reshape(shape), begin, end, strides, **masks)
    out = np.zeros(np.prod(shape), dy.dtype)
    out[at.reshape(-1)] = dy.reshape(-1)
    return out.reshape(shape)


op_case("StridedSliceGrad", oracle=strided_gradient, types=[F32, F64, np.int32],
        inputs=[(i32(4, 5), i32(1, 0), i32(3, 4), i32(1, 2), rand(2, 2)), (i32(4, 5), i32(-1, 4), i32(-9, 0), i32(-2, -3), rand(2, 2))])
op_case("StridedSliceGrad", oracle=strided_gradient, inputs=[(i32(4, 5), i32(1, 0), i32(3, 4), i32(1, 2), rand(2))],
        attrs=[dict(shrink_axis_mask=1)], types=[F32, F64])
BOX = (i32(1, -2), i32(3, 5), i32(1, 2))
ALL_MASKS = MASKS + [dict(shrink_axis_mask=1), dict(shrink_axis_mask=2, begin_mask=1), dict(shrink_axis_mask=2, new_axis_mask=1), dict(shrink_axis_mask=1, ellipsis_mask=2)]
for masks in ALL_MASKS:
    op_case("StridedSliceGrad", oracle=strided_gradient, inputs=[(i32(4, 5), *BOX, rand(*strided(np.zeros((4, 5)), *BOX, **masks).shape))], attrs=[masks],
            types=[F32, F64], name="StridedSliceGrad-" + "-".join(masks))
op_case("StridedSliceGrad", inputs=[(i32(4), i32(1), i32(3), i32(1), rand(3))], error="[3]")


def strided_update(x, begin, end, strides, value, **masks):
    out = x.copy()
    strided(out, begin, end, strides, **masks)[...] = value
    return out


for masks in ALL_MASKS:
    op_case("TensorStridedSliceUpdate", oracle=strided_update, inputs=[(rand(4, 5), *BOX, rand(*strided(np.zeros((4, 5)), *BOX, **masks).shape, key=1))],
            attrs=[masks], types=[F32, F64], name="TensorStridedSliceUpdate-" + "-".join(masks))


op_case("TensorStridedSliceUpdate", oracle=strided_update, types=[F32, F64, np.int64],
        inputs=[(rand(4, 5), i32(1, 0), i32(3, 4), i32(1, 2), rand(2, 2, key=1)), (rand(4), i32(1), i32(4), i32(1), rand())])

# ---- gathers and scatters

op_case("Gather", oracle=lambda p, i: p[i], types=ANY,
        inputs=[(rand(5, 3), i32(4, 0, 0)), (rand(5), randint(2, 3, high=5, dtype=I64)), (rand(5, 2), I32(3)), (rand(5, 3), i32())])
op_case("Gather", oracle=lambda p, i: p[i], inputs=[(STRINGS, i32(1, 1, 0))], types=[F32], name="Gather-strings")
op_case("Gather", oracle=lambda p, i, validate_indices: p[i], inputs=[(rand(5, 3), i32(4, 0, 0))], attrs=[dict(validate_indices=False)])
op_case("Gather", inputs=[(rand(10), i32(0, 1, 2, 12))], error="indices[3] = 12 is not in [0, 10)")
op_case("GatherV2", oracle=lambda p, i, a: np.take(p, i, int(a)), types=ANY,
        inputs=[(rand(5, 3), i32(4, 0, 0), I32(0)), (rand(5, 3), i32(2, 0), I64(1)), (rand(2, 5, 3), randint(2, 2, high=5), I32(-2)),
                (rand(2, 5, 3), I32(1), I32(-1)), (rand(3, 0), i32(1), I32(0))])
op_case("GatherV2", oracle=lambda p, i, a, batch_dims: np.stack([np.take(q, j, int(a) - 1) for q, j in zip(p, i)]),
        inputs=[(rand(3, 4), randint(3, 2, high=4), I32(1)), (rand(2, 3, 4), randint(2, 2, 2, high=4), I32(2)),
                (rand(2, 3, 4), randint(2, 2, high=3), I32(1))], attrs=[dict(batch_dims=1)], types=[F32, F64])
op_case("GatherV2", inputs=[(rand(2, 3), i32(0, -1), I32(1))], error="indices[1] = -1 is not in [0, 3)")
op_case("GatherNd", oracle=lambda p, i: p[tuple(np.moveaxis(i, -1, 0))], types=ANY,
        inputs=[(rand(3, 4), randint(2, 2, high=3)), (rand(3, 4, 2), randint(2, 5, 1, high=3, dtype=I64)),
                (rand(3, 4), randint(2, 3, 2, high=3)), (rand(3, 4), np.zeros((0, 2), I32))])
op_case("GatherNd", inputs=[(rand(3, 4), np.array([[0, 1], [3, 0]], I32))], error="indices[1] = [3, 0] does not index into")


def scattered(base, indices, updates, add):
    out = base.copy()
    at = tuple(np.moveaxis(indices, -1, 0))
    if add == 0:
        out[at] = updates
    elif out.dtype == np.bool_:
        np.logical_or.at(out, at, updates)
    else:
        np.add.at(out, at, add * updates)
    return out


SCATTERS = [(rand(5, 2), np.array([[1], [4], [1]], I32), rand(3, 2, key=1)), (rand(3, 3), np.array([[0, 1], [2, 2]], I64), rand(2, key=2)),
            (rand(2, 2), np.zeros((0, 1), I32), rand(0, 2))]
op_case("ScatterNd", oracle=lambda i, u, s: scattered(np.zeros(s, u.dtype), i, u, 1), types=ANY,
        inputs=[(i, u, np.array(x.shape, i.dtype)) for x, i, u in SCATTERS])
op_case("ScatterNdNonAliasingAdd", oracle=lambda x, i, u: scattered(x, i, u, 1), inputs=SCATTERS, types=ANY)
op_case("TensorScatterAdd", oracle=lambda x, i, u: scattered(x, i, u, 1), inputs=SCATTERS, types=[F32, F64, np.int32, np.complex64])
op_case("TensorScatterSub", oracle=lambda x, i, u: scattered(x, i, u, -1), inputs=SCATTERS, types=[F32, F64, np.int32, np.complex64])
op_case("TensorScatterUpdate", oracle=lambda x, i, u: scattered(x, i, u, 0), inputs=SCATTERS, types=ANY, gradient=False)
op_case("TensorScatterUpdate", oracle=lambda x, i, u: scattered(x, i, u, 0), inputs=[SCATTERS[1]], types=[F64])
op_case("ScatterNd", inputs=[(np.array([[5]], I32), rand(1), i32(5))], error="[5]")
op_case("ScatterNd", inputs=[(np.array([[0]], I32), rand(2), i32(5))], error="wanted [1]")
op_case("ScatterNd", inputs=[(np.array([[0]], I32), rand(1), i32(-5))], error="-5")

# ---- permutations

op_case("Transpose", oracle=lambda x, p: np.transpose(x, p), types=ANY,
        inputs=[(rand(2, 3), i32(1, 0)), (rand(2, 3, 4), np.array([2, 0, 1], I64)), (rand(0, 3), i32(1, 0)), (rand(), i32()),
                (rand(33, 70), i32(1, 0)), (rand(2, 9, 5, 3), i32(0, 3, 1, 2)), (rand(2, 3, 9, 5), i32(0, 2, 3, 1)), (rand(3, 1, 4), i32(1, 0, 2)), (rand(2, 3, 4), i32(-1, 0, -2))])
op_case("Transpose", oracle=lambda x, p: np.transpose(x, p), inputs=[(STRINGS, i32(1, 0))], types=[F32], name="Transpose-strings")
op_case("Transpose", inputs=[(rand(2, 3), i32(0, 0))], error="perm must hold each of [0, 2) once")
op_case("ConjugateTranspose", oracle=lambda x, p: np.conj(np.transpose(x, p)), inputs=[(rand(2, 3), i32(1, 0)), (rand(2, 3), i32(0, 1))],
        types=COMPLEX + [F32, F64])
op_case("InvertPermutation", oracle=lambda x: np.argsort(x).astype(x.dtype), inputs=[(i32(2, 0, 1),), (np.array([1, 0], I64),), (i32(),)],
        types=[F32])
op_case("InvertPermutation", inputs=[(i32(2, 0, 2),)], error="once")
op_case("Reverse", oracle=lambda x, d: np.flip(x, tuple(np.flatnonzero(d))), types=[F32, F64, np.uint8, np.bool_],
        inputs=[(rand(2, 3), np.array([False, True])), (rand(2, 3), np.array([True, True])), (rand(2, 3), np.array([False, False]))])
op_case("ReverseV2", oracle=lambda x, a: np.flip(x, tuple(a)), types=ANY,
        inputs=[(rand(2, 3, 2), i32(0)), (rand(2, 3, 2), np.array([-1, 0], I64)), (rand(2, 3), i32()), (rand(0, 3), i32(1))])
op_case("ReverseV2", inputs=[(rand(2, 3), i32(1, -1))], error="axis 1 is given twice")


def reverse_sequence(x, lengths, seq_dim, batch_dim=0):
    out = np.moveaxis(x, (batch_dim, seq_dim), (0, 1)).copy()
    for row, n in zip(out, lengths):
        row[:n] = row[:n][::-1].copy()
    return np.moveaxis(out, (0, 1), (batch_dim, seq_dim))


op_case("ReverseSequence", oracle=reverse_sequence, types=[F32, F64, np.int16], attrs=[dict(seq_dim=1)],
        inputs=[(rand(3, 4), i32(0, 2, 4)), (rand(2, 3, 2), np.array([3, 1], I64))])
op_case("ReverseSequence", oracle=reverse_sequence, attrs=[dict(seq_dim=0, batch_dim=2)], inputs=[(rand(4, 2, 3), i32(1, 3, 4))])
op_case("ReverseSequence", inputs=[(rand(2, 3), i32(4, 1))], attrs=[dict(seq_dim=1)], error="seq_lengths[0] = 4 is not in [0, 3]")
op_case("Roll", oracle=lambda x, s, a: np.roll(x, tuple(np.atleast_1d(s)), tuple(np.atleast_1d(a))), types=ANY,
        inputs=[(rand(5), I32(2), I32(0)), (rand(3, 4), i32(-1, 6), np.array([0, -1], I64)), (rand(3, 4), i32(1, 1), i32(1, 1)),
                (rand(0, 4), I32(1), I32(0))])

# ---- larger tensors

PADS = np.array([[1, 0], [0, 2]], I32)
op_case("Pad", oracle=lambda x, p: np.pad(x, p) if x.ndim else x, types=ANY,
        inputs=[(rand(2, 3), PADS), (rand(0, 3), PADS.astype(I64)), (rand(2, 3), PADS * 0), (rand(), np.zeros((0, 2), I32))])
op_case("PadV2", oracle=lambda x, p, v: np.pad(x, p, constant_values=v), inputs=[(rand(2, 3), PADS, rand(key=1))], types=ANY)
op_case("Pad", inputs=[(rand(2, 3), -PADS)], error="-1")
op_case("MirrorPad", oracle=lambda x, p, mode: np.pad(x, p, mode.lower()), attrs=[dict(mode="REFLECT"), dict(mode="SYMMETRIC")],
        inputs=[(rand(2, 3), np.array([[1, 0], [2, 2]], I32)), (rand(4), np.array([[3, 3]], I64))], types=ANY)
op_case("MirrorPad", inputs=[(rand(2), np.array([[2, 0]], I32))], attrs=[dict(mode="REFLECT")], error="at most 1")


def mirror_fold(x, pads, mode):
    inner = [n - b - a for n, (b, a) in zip(x.shape, pads)]
    at = np.pad(np.arange(np.prod(inner)).reshape(inner), pads, mode.lower())
    out = np.zeros(np.prod(inner), x.dtype)
    np.add.at(out, at.reshape(-1), x.reshape(-1))
    return out.reshape(inner)


op_case("MirrorPadGrad", oracle=mirror_fold, attrs=[dict(mode="REFLECT"), dict(mode="SYMMETRIC")], types=[F32, F64],
        inputs=[(rand(4, 7), np.array([[1, 0], [2, 2]], I32))], rtol=1e-6)
op_case("Tile", oracle=lambda x, m: np.tile(x, m), types=ANY,
        inputs=[(rand(2, 3), i32(2, 1)), (rand(2, 3), np.array([3, 2], I64)), (rand(2, 3), i32(0, 2)), (rand(), i32()), (rand(1, 3), i32(4, 1))])
op_case("Tile", inputs=[(rand(2, 3), i32(2, -1))], error="multiples[1] = -1 is negative")

# ---- partitions


def partition(x, p, num_partitions):
    return [x[p == i] for i in range(num_partitions)]


op_case("DynamicPartition", oracle=partition, attrs=[dict(num_partitions=3)], types=ANY,
        inputs=[(rand(5, 2), i32(0, 2, 0, 2, 2)), (rand(2, 3), randint(2, 3, high=3)), (rand(0), i32())])
op_case("DynamicPartition", inputs=[(rand(2), i32(0, 3))], attrs=[dict(num_partitions=3)], error="partitions[1] = 3 is not in [0, 3)")


def stitch(indices, data):
    out = np.zeros((1 + max(i.max() for i in indices if i.size),) + data[0].shape[indices[0].ndim:], data[0].dtype)
    for i, d in zip(indices, data):
        out[i] = d
    return out


for op in ("DynamicStitch", "ParallelDynamicStitch"):
    op_case(op, oracle=stitch, types=ANY, inputs=[([i32(0, 3), i32(2, 1, 4)], [rand(2, 2), rand(3, 2, key=1)]),
                                                  ([I32(1), np.array([[0, 2]], I32)], [rand(2), rand(1, 2, 2)])])
op_case("DynamicStitch", inputs=[([i32(-1)], [rand(1)])], error="indices[0][0] = -1")

# ---- sizes that depend on the elements


def unique(x, out_idx=None):
    keys, first, inverse, counts = np.unique(x, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(first)
    place = np.argsort(order)
    dtype = I64 if out_idx == sl.int64 else I32
    return keys[order], place[inverse.reshape(-1)].astype(dtype), counts[order].astype(dtype)


UNIQUE_INPUTS = [(i32(3, 1, 3, 2, 1),), (np.array([0.5, -1.0, 0.5, 0.0]),), (np.zeros(0),), (STRINGS.reshape(-1),),
                 (np.array([True, False, True]),), (rng("unique").integers(0, 50, 2000),)]
op_case("Unique", oracle=lambda x, **a: unique(x, **a)[:2], inputs=UNIQUE_INPUTS, attrs=[{}, dict(out_idx=sl.int64)])
op_case("UniqueWithCounts", oracle=unique, inputs=UNIQUE_INPUTS, attrs=[{}, dict(out_idx=sl.int64)])


def unique_rows(x, axis):
    rows = np.moveaxis(x, axis[0], 0)
    seen, index, counts = [], [], []
    for row in rows:
        for place, other in enumerate(seen):
            if np.array_equal(row, other):
                break
        else:
            place = len(seen)
            seen.append(row)
            counts.append(0)
        index.append(place)
        counts[place] += 1
    return np.moveaxis(np.stack(seen), 0, axis[0]), i32(*index), i32(*counts)


ROW_INPUTS = [(np.array([[1, 2, 1], [3, 4, 3]], I32), np.array([1], I64)), (np.array([[1.0, 2], [0, 1], [1, 2]]), np.array([0], I64)),
              (np.array([[[1, 2], [1, 2], [0, 2]], [[3, 4], [3, 4], [3, 4]]], I64), np.array([-2], I64))]
op_case("UniqueV2", oracle=lambda x, a: unique_rows(x, a)[:2], inputs=ROW_INPUTS)
op_case("UniqueWithCountsV2", oracle=unique_rows, inputs=ROW_INPUTS)


def list_diff(x, y, out_idx=None):
    kept = [i for i, v in enumerate(x) if v not in set(y.tolist())]
    return x[kept], np.array(kept, I64 if out_idx == sl.int64 else I32)


op_case("ListDiff", oracle=list_diff, attrs=[{}, dict(out_idx=sl.int64)],
        inputs=[(i32(1, 2, 3, 2, 5), i32(2, 9)), (np.array([0.5, 1.5]), np.zeros(0)), (STRINGS[0], STRINGS[1])])
op_case("Where", oracle=lambda x: np.argwhere(x), types=[F32, F64, F16, np.bool_, np.int8, np.int64, np.complex64],
        inputs=[(np.array([[0.0, 1, -0.0], [2, 0, -3]]),), (np.zeros((2, 0)),), (np.zeros((2, 2, 2)),), (np.ones((2, 1, 2)),)])

# ---- blocks of space


def space_to_batch(x, block, pads):
    m = len(block)
    x = np.pad(x, [(0, 0)] + [tuple(p) for p in pads] + [(0, 0)] * (x.ndim - 1 - m))
    shape = [x.shape[0]]
    for i, b in enumerate(block):
        shape += [x.shape[i + 1] // b, b]
    rest = x.shape[m + 1:]
    perm = [2 * i + 2 for i in range(m)] + [0] + [2 * i + 1 for i in range(m)] + list(range(2 * m + 1, 2 * m + 1 + len(rest)))
    y = x.reshape(shape + list(rest)).transpose(perm)
    return y.reshape([-1 if x.size else int(np.prod(block)) * x.shape[0]] + [x.shape[i + 1] // b for i, b in enumerate(block)] + list(rest))


def batch_to_space(x, block, crops):
    m = len(block)
    n = x.shape[0] // int(np.prod(block))
    y = x.reshape(list(block) + [n] + list(x.shape[1:]))
    perm = [m]
    for i in range(m):
        perm += [m + 1 + i, i]
    y = y.transpose(perm + list(range(2 * m + 1, y.ndim)))
    y = y.reshape([n] + [x.shape[i + 1] * b for i, b in enumerate(block)] + list(x.shape[m + 1:]))
    return y[(slice(None),) + tuple(slice(c[0], y.shape[i + 1] - c[1]) for i, c in enumerate(crops))]


op_case("SpaceToBatchND", oracle=space_to_batch, types=[F32, F64, np.int16],
        inputs=[(rand(2, 4, 2, 2), i32(2, 2), np.zeros((2, 2), I32)), (rand(1, 3, 5), i32(2, 3), np.array([[1, 0], [0, 1]], I64)),
                (rand(2, 5, 2), i32(3), np.array([[4, 0]], I32)), (rand(2, 3), i32(), np.zeros((0, 2), I32))])
op_case("SpaceToBatchND", inputs=[(rand(1, 3), i32(2), np.zeros((1, 2), I32))], error="is not a multiple of")
op_case("BatchToSpaceND", oracle=batch_to_space, types=[F32, F64, np.int16],
        inputs=[(rand(4, 2, 1, 2), i32(2, 2), np.zeros((2, 2), I32)), (rand(6, 2, 2), i32(2, 3), np.array([[1, 0], [2, 1]], I32)),
                (rand(6, 3, 2), i32(3), np.array([[4, 0]], I32))])
op_case("BatchToSpaceND", inputs=[(rand(4, 2), i32(2), np.array([[3, 2]], I32))], error="take 5 of 4 places")
op_case("SpaceToBatch", oracle=lambda x, p, block_size: space_to_batch(x, [block_size] * 2, p), attrs=[dict(block_size=2)],
        inputs=[(rand(1, 3, 4, 2), np.array([[1, 0], [0, 0]], I32))])
op_case("BatchToSpace", oracle=lambda x, c, block_size: batch_to_space(x, [block_size] * 2, c), attrs=[dict(block_size=2)],
        inputs=[(rand(4, 2, 2, 2), np.array([[1, 0], [0, 1]], I32))])


def space_to_depth(x, block_size, data_format="NHWC"):
    b = block_size
    if data_format == "NCHW":
        n, c, h, w = x.shape
        return x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4).reshape(n, b * b * c, h // b, w // b)
    n, h, w, c = x.shape
    return x.reshape(n, h // b, b, w // b, b, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // b, w // b, b * b * c)


def depth_to_space(x, block_size, data_format="NHWC"):
    b = block_size
    if data_format == "NCHW":
        n, c, h, w = x.shape
        return x.reshape(n, b, b, c // b // b, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // b // b, h * b, w * b)
    n, h, w, c = x.shape
    return x.reshape(n, h, w, b, b, c // b // b).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * b, w * b, c // b // b)


op_case("SpaceToDepth", oracle=space_to_depth, inputs=[(rand(2, 4, 2, 2),), (rand(1, 2, 2, 4),)], types=[F32, F64, np.uint8],
        attrs=[dict(block_size=2)])
op_case("SpaceToDepth", oracle=space_to_depth, inputs=[(rand(2, 3, 6, 3),)], attrs=[dict(block_size=3, data_format="NCHW")])
op_case("DepthToSpace", oracle=depth_to_space, inputs=[(rand(2, 2, 1, 8),)], types=[F32, F64, np.uint8], attrs=[dict(block_size=2)])
op_case("DepthToSpace", oracle=depth_to_space, inputs=[(rand(1, 8, 2, 2),)], attrs=[dict(block_size=2, data_format="NCHW")])
op_case("SpaceToDepth", inputs=[(rand(1, 3, 2, 1),)], attrs=[dict(block_size=2)], error="block")


def patches(x, ksizes, strides, rates, padding):
    n, h, w, c = x.shape
    (kh, kw), (sh, sw), (rh, rw) = ksizes[1:3], strides[1:3], rates[1:3]
    eh, ew = (kh - 1) * rh + 1, (kw - 1) * rw + 1
    if padding == "SAME":
        oh, ow = -(-h // sh), -(-w // sw)
        ph, pw = max((oh - 1) * sh + eh - h, 0), max((ow - 1) * sw + ew - w, 0)
        x = np.pad(x, [(0, 0), (ph // 2, ph - ph // 2), (pw // 2, pw - pw // 2), (0, 0)])
    else:
        oh, ow = max(-(-(h - eh + 1) // sh), 0), max(-(-(w - ew + 1) // sw), 0)
    out = np.zeros((n, oh, ow, kh * kw * c), x.dtype)
    for i, j in itertools.product(range(oh), range(ow)):
        out[:, i, j] = x[:, i * sh:i * sh + eh:rh, j * sw:j * sw + ew:rw].reshape(n, -1)
    return out


op_case("ExtractImagePatches", oracle=patches, inputs=[(rand(1, 5, 4, 1),), (rand(2, 3, 3, 2),)], types=[F32, F64, np.uint8],
        attrs=[dict(ksizes=[1, 2, 2, 1], strides=[1, 1, 2, 1], rates=[1, 1, 1, 1], padding=p) for p in ("SAME", "VALID")] +
        [dict(ksizes=[1, 3, 2, 1], strides=[1, 2, 1, 1], rates=[1, 2, 1, 1], padding="SAME")])

op_case("ExtractImagePatches", inputs=[(rand(1, 2, 2, 1),)], error="larger than dimension 1",
        attrs=[dict(ksizes=[1, 4, 1, 1], strides=[1, 1, 1, 1], rates=[1, 1, 1, 1], padding="VALID")])

# ---- selection


def top_k(x, k, sorted=True):
    at = np.argsort(-x.astype(np.float64), axis=-1, kind="stable")[..., :int(k)]
    return np.take_along_axis(x, at, -1), at.astype(I32)


TOPK_INPUTS = [(rand(3, 7), I32(3)), (rand(9), I32(9)), (rand(2, 2, 4), I32(1)), (rand(3), I32(0)), (rand(2, 300), I32(5))]
op_case("TopKV2", oracle=top_k, inputs=TOPK_INPUTS, types=REAL)
op_case("TopKV2", oracle=top_k, inputs=[(np.array([1.0, 3, 3, 2, 3]), I32(4))], types=REAL, gradient=False)
op_case("TopK", oracle=top_k, inputs=[(x,) for x, _ in TOPK_INPUTS[:3]], attrs=[dict(k=2)], types=[F32, F64])
op_case("TopKV2", inputs=[(rand(3), I32(4))], error="at least k = 4")
op_case("TopKV2", inputs=[(rand(3), I32(-1))], error="k must be non-negative")


def in_top_k(p, t, k):
    return np.array([np.isfinite(r).all() and 0 <= i < len(r) and (r > r[i]).sum() < k for r, i in zip(p, t)])


IN_TOP = (rand(5, 4).astype(F32), i32(0, 3, 2, 1, 9))
op_case("InTopK", oracle=in_top_k, inputs=[IN_TOP], types=[F32], attrs=[dict(k=1), dict(k=2), dict(k=4)])
op_case("InTopKV2", oracle=in_top_k, inputs=[IN_TOP + (I32(2),)], types=[F32])
op_case("NthElement", oracle=lambda x, n, reverse=False: np.sort(x, -1)[..., -1 - n if reverse else n], types=REAL,
        inputs=[(rand(3, 7), I32(0)), (rand(9), I32(8)), (rand(2, 2, 4), I32(2))], attrs=[{}, dict(reverse=True)])
op_case("NthElement", inputs=[(rand(3), I32(3))], error="n = 3")
for op, side in (("LowerBound", "left"), ("UpperBound", "right")):
    op_case(op, oracle=lambda s, v, out_type=None, side=side: np.stack([np.searchsorted(a, b, side) for a, b in zip(s, v)]).astype(
        I64 if out_type == sl.int64 else I32), types=[F32, F64, np.int32, np.int64, np.uint8],
            inputs=[(np.array([[0.0, 1, 1, 4], [2, 3, 3, 3]]), np.array([[1.0, 0, 9], [3, 2, 1]]))], attrs=[{}, dict(out_type=sl.int64)])

FARM = np.array(b"farmhash64", dtype=object)
op_case("Fingerprint", oracle=lambda x, m: np.array([[227, 117, 223, 182, 101, 66, 69, 179], [232, 12, 56, 49, 169, 229, 139, 180]], np.uint8),
        inputs=[(np.array([b"a", b"hello"], dtype=object), FARM)], types=[F32])
op_case("Fingerprint", inputs=[(i32(1), np.array(b"md5", dtype=object))], error="farmhash64")

# ---- quantization


def quantize(x, low, high, signed_input=True, num_bits=8, range_given=False, narrow_range=False, round_mode="HALF_TO_EVEN"):
    if not range_given:
        low, high = x.min(), x.max()
    least = -(1 << num_bits - 1) + narrow_range if signed_input else 0
    most = (1 << num_bits - 1) - 1 if signed_input else (1 << num_bits) - 1
    scale = min([s for s in (least / low if least * low > 0 else np.inf, most / high if most * high > 0 else np.inf)])
    y = (np.clip(x, least / scale, most / scale) if range_given else x) * scale
    return (np.floor(y + 0.5) if round_mode == "HALF_UP" else np.rint(y)) / scale


QUANTIZED = (np.array([-1.3, -0.51, 0.0, 0.26, 0.77, 2.0]), np.array(-1.0), np.array(1.5))
op_case("QuantizeAndDequantizeV2", oracle=quantize, inputs=[QUANTIZED], types=[F32, F64], gradient=False, rtol=1e-5, atol=1e-6,
        attrs=[{}, dict(range_given=True, num_bits=4), dict(range_given=True, narrow_range=True), dict(num_bits=5, round_mode="HALF_UP"), dict(range_given=True, signed_input=False, num_bits=4)])
op_case("QuantizeAndDequantizeV3", oracle=lambda x, l, h, n, **a: quantize(x, l, h, num_bits=int(n), **{"range_given": True, **a}),
        inputs=[QUANTIZED + (I32(4),)], types=[F32, F64], gradient=False, rtol=1e-5, atol=1e-6, attrs=[{}, dict(range_given=False), dict(narrow_range=True), dict(signed_input=False)])
op_case("QuantizeAndDequantize", oracle=lambda x, input_min=0, input_max=0, **a: quantize(x, input_min, input_max, **a), inputs=[QUANTIZED[:1]], types=[F32, F64], gradient=False,
        rtol=1e-5, atol=1e-6, attrs=[dict(num_bits=6), dict(range_given=True, input_min=-1.0, input_max=1.5), dict(signed_input=False)])
op_case("QuantizeAndDequantizeV2", inputs=[QUANTIZED], types=[F32], attrs=[dict(num_bits=0)], error="num_bits")


def fake_grid(low, high, num_bits=8, narrow_range=False):
    least, most = float(narrow_range), float((1 << num_bits) - 1)
    scale = (high - low) / (most - least)
    zero = np.clip(np.floor(least - low / scale + 0.5), least, most)
    return (least - zero) * scale, (most - zero) * scale, scale


def fake_quant(x, min=-6.0, max=6.0, **attrs):
    low, high, scale = fake_grid(min, max, **attrs)
    return (np.floor((np.clip(x, low, high) - low) / scale + 0.5) * scale + low).astype(F32)


def fake_quant_gradient(g, x, min=-6.0, max=6.0, **attrs):
    low, high, _ = fake_grid(min, max, **attrs)
    return [(g * ((x >= low) & (x <= high))).astype(F32), (g * (x < low)).sum(0).astype(F32), (g * (x > high)).sum(0).astype(F32)]


FAKE_X = rand(6, low=-8, high=8).astype(F32)
FAKE_G = rand(6, key=1).astype(F32)
FAKE_MATRIX, FAKE_MATRIX_G = rand(5, 3, low=-8, high=8).astype(F32), rand(5, 3, key=1).astype(F32)
FAKE_CHANNELS = (np.array([-1, -6, 0], F32), np.array([1, 5, 4], F32))
BITS = [{}, dict(num_bits=4), dict(narrow_range=True)]
op_case("FakeQuantWithMinMaxArgs", oracle=fake_quant, inputs=[(FAKE_X,)], types=[F32], atol=1e-5, attrs=BITS + [dict(min=-1.0, max=3.0)])
op_case("FakeQuantWithMinMaxArgsGradient", oracle=lambda g, x, **a: fake_quant_gradient(g, x, **a)[0], inputs=[(FAKE_G, FAKE_X)],
        types=[F32], attrs=BITS + [dict(min=-1.0, max=3.0)])
op_case("FakeQuantWithMinMaxVars", oracle=fake_quant, inputs=[(FAKE_X, F32(-5), F32(3))], types=[F32], atol=1e-5, attrs=BITS)
op_case("FakeQuantWithMinMaxVarsGradient", oracle=fake_quant_gradient, inputs=[(FAKE_G, FAKE_X, F32(-5), F32(3))], types=[F32],
        atol=1e-5, attrs=BITS)
op_case("FakeQuantWithMinMaxVarsPerChannel", oracle=fake_quant, inputs=[(FAKE_MATRIX,) + FAKE_CHANNELS], types=[F32], atol=1e-5, attrs=BITS)
op_case("FakeQuantWithMinMaxVarsPerChannelGradient", oracle=fake_quant_gradient, inputs=[(FAKE_MATRIX_G, FAKE_MATRIX) + FAKE_CHANNELS],
        types=[F32], atol=1e-5, attrs=BITS)
op_case("FakeQuantWithMinMaxArgs", inputs=[(FAKE_X,)], types=[F32], attrs=[dict(num_bits=1)], error="num_bits must be in [2, 16]")


@pytest.mark.parametrize("op", ["TopK", "TopKV2"])
def test_the_largest_need_not_be_sorted(op):
    x = rand(4, 50)
    with sl.Graph().as_default(), sl.Session() as session:
        values, at = session.run(sl.raw_ops.TopK(x, 7, sorted=False) if op == "TopK" else sl.raw_ops.TopKV2(x, 7, sorted=False))
    np.testing.assert_array_equal(np.sort(values), np.sort(x)[:, -7:])
    np.testing.assert_array_equal(np.take_along_axis(x, at, -1), values)


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)


# Second-order gradients: of the squared gradient of a smooth function, against finite differences of the first.
SECOND_ORDER = {
    "gather": lambda x: sl.gather(x, [2, 0, 2]),
    "gather_axis_1": lambda x: sl.gather(x, [1, 1, 0], axis=1),
    "gather_nd": lambda x: sl.gather_nd(x, [[0, 1], [2, 0], [0, 1]]),
    "strided_slice": lambda x: x[::-2, 1:],
    "slice": lambda x: sl.slice(x, [1, 0], [2, 1]),
    "concat": lambda x: sl.concat([x, x * 2.0, x[:1]], 0),
    "stack": lambda x: sl.stack([x, x * x], 1),
    "unstack": lambda x: sl.unstack(x, 2, axis=1)[1],
    "split": lambda x: sl.split(x, [1, 2], 0)[1],
    "transpose": lambda x: sl.transpose(x),
    "pad": lambda x: sl.pad(x, [[1, 0], [0, 1]]),
    "mirror_pad": lambda x: sl.pad(x, [[1, 0], [0, 1]], "REFLECT"),
    "tile": lambda x: sl.tile(x, [2, 3]),
    "reverse": lambda x: sl.reverse(x, [0]),
    "scatter_nd": lambda x: sl.scatter_nd([[1], [1], [3]], x, [4, 2]),
    "broadcast_to": lambda x: sl.broadcast_to(x, [2, 3, 2]),
    "top_k": lambda x: sl.nn.top_k(x, 1)[0],
}


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize("name", sorted(SECOND_ORDER))
def test_second_order(name, static):
    value = rand(3, 2, low=0.5, high=2.0, key=name)
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.placeholder(sl.float64, [3, 2] if static else None)
        y = sl.reduce_sum(SECOND_ORDER[name](x) ** 3)
        first = sl.convert_to_tensor(sl.gradients(y, x)[0])
        second = sl.convert_to_tensor(sl.gradients(sl.reduce_sum(first * first), x)[0])
        got = session.run(second, {x: value})
        numeric = np.zeros_like(value)
        for at in itertools.product(range(3), range(2)):
            moved = []
            for sign in (1, -1):
                v = value.copy()
                v[at] += sign * 1e-5
                g = session.run(first, {x: v})
                moved.append((g * g).sum())
            numeric[at] = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(got, numeric, rtol=1e-5, atol=1e-5)
