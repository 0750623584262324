"""Ops on bytes and files: decoding, tables, Example messages, summaries, checkpoints; against `struct`, `zlib`, `csv`, PIL
and messages read by protobuf's own classes."""

import csv
import gzip
import io
import os
import wave
import zlib

import numpy as np
import PIL.Image
import pytest

import sluice as sl
from harness import COMPLEX, F16, F32, F64, INTS, REAL, cases, check, op_case, proves, rand, randint, rng, take_rows
from sluice.protos import example_pb2, summary_pb2, tensor_pb2

I32, I64 = np.int32, np.int64


def strings(values, shape=None):
    """An array of byte strings (which NumPy's own type would cut at zeros)."""
    values = [v.encode() if isinstance(v, str) else v for v in values]
    out = np.empty(len(values), object)
    out[:] = values
    return out if shape is None else out.reshape(shape)


def scalar(value):
    return strings([value], ())


def data_case(op, oracle=None, **kwargs):
    """A row of an op whose types are its own."""
    op_case(op, oracle, types=[F32], **kwargs)


# ---- raw bytes

RAW = rng("raw").integers(0, 256, 96, dtype=np.uint8).tobytes()


def raw(x, out_type, little_endian=True):
    rows = [np.frombuffer(s, np.dtype(out_type.as_numpy_dtype).newbyteorder("<" if little_endian else ">")) for s in x.reshape(-1)]
    return np.array(rows).reshape(x.shape + (len(rows[0]) if rows else 0,)).astype(out_type.as_numpy_dtype)


for dtype in INTS + [F16, F32, F64] + COMPLEX:
    data_case("DecodeRaw", raw, inputs=[(strings([RAW[:48], RAW[48:]]),), (scalar(RAW),), (strings([]),), (strings([""] * 4, (2, 2)),), (strings([RAW[i::6] for i in range(6)], (2, 3)),)],
              attrs=[dict(out_type=sl.as_dtype(dtype)), dict(out_type=sl.as_dtype(dtype), little_endian=False)], name=f"DecodeRaw-{np.dtype(dtype).name}")
data_case("DecodeRaw", lambda x, out_type: np.array([[False, True, True]]), inputs=[(strings([b"\0\1\x80"]),)], attrs=[dict(out_type=sl.bool)], name="DecodeRaw-bool")
data_case("DecodeRaw", inputs=[(strings(["ab", "abc"]),)], attrs=[dict(out_type=sl.uint8)], error="element 1 has size 3 != 2")
data_case("DecodeRaw", inputs=[(strings(["abc"]),)], attrs=[dict(out_type=sl.int16)], error="not a multiple of 2")

PLAIN = strings([b"", b"hello " * 50, RAW], (3,))


def packed(pack):
    return strings([pack(s) for s in PLAIN])


for kind, pack in (("", bytes), ("ZLIB", zlib.compress), ("GZIP", gzip.compress)):
    data_case("DecodeCompressed", lambda x, compression_type: PLAIN if x.ndim == 1 else x, attrs=[dict(compression_type=kind)], inputs=[(packed(pack),), (strings([], (0, 2)),)],
              name=f"DecodeCompressed-{kind or 'none'}")
data_case("DecodeCompressed", inputs=[(packed(gzip.compress),)], attrs=[dict(compression_type="ZLIB")], error="element 0")
data_case("DecodeCompressed", inputs=[(strings([b"", zlib.compress(RAW)[:-9]]),)], attrs=[dict(compression_type="ZLIB")], error="element")
data_case("DecodeCompressed", inputs=[(PLAIN,)], attrs=[dict(compression_type="LZ4")], error="LZ4")

# ---- tensors as messages

VALUES = [rand(2, 3).astype(F32), rand(0, 4), np.bool_([True, False]), np.array(5, np.uint64), strings(["a", b"\0\xff"]), (rand(2) + 1j * rand(2, key=1)).astype(np.complex64), np.arange(6, dtype=np.int8).reshape(1, 2, 3)]
for value in VALUES:
    dtype = sl.string if value.dtype == object else sl.as_dtype(value.dtype)
    message = sl.make_tensor_proto(value)
    sparse_message = tensor_pb2.TensorProto(dtype=message.dtype, tensor_shape=message.tensor_shape)  # no values: zeros
    data_case("ParseTensor", lambda s, out_type, v=value: v, inputs=[(scalar(message.SerializeToString()),)], attrs=[dict(out_type=dtype)], name=f"ParseTensor-{dtype.name}")
    data_case("ParseTensor", lambda s, out_type, v=value: np.zeros_like(v) if v.dtype != object else np.full(v.shape, b"", object), attrs=[dict(out_type=dtype)],
              inputs=[(scalar(sparse_message.SerializeToString()),)], name=f"ParseTensor-{dtype.name}-zeros")
data_case("ParseTensor", inputs=[(scalar(sl.make_tensor_proto(F32([1])).SerializeToString()),)], attrs=[dict(out_type=sl.int32)], error="Type mismatch between parsed tensor")
data_case("ParseTensor", inputs=[(scalar(b"\xff\xff"),)], attrs=[dict(out_type=sl.int32)], error="TensorProto")
data_case("ParseTensor", inputs=[(strings(["", ""]),)], attrs=[dict(out_type=sl.int32)], error="ParseTensor")


@proves("SerializeTensor")
@pytest.mark.parametrize("value", VALUES, ids=lambda v: v.dtype.name)
def test_a_serialized_tensor_is_the_same_tensor(value):
    with sl.Graph().as_default(), sl.Session() as session:
        message = tensor_pb2.TensorProto.FromString(session.run(sl.raw_ops.SerializeTensor(value)))
    back = sl.make_ndarray(message)
    assert back.shape == value.shape and back.dtype == value.dtype and back.tolist() == value.tolist()


# ---- tables


def parse_csv(records, defaults, field_delim=",", use_quote_delim=True, na_value="", select_cols=()):
    out = [np.empty(records.shape, object if d.dtype == object else d.dtype) for d in defaults]
    for at in np.ndindex(records.shape):
        line = records[at].decode("latin-1")
        fields = next(csv.reader([line], delimiter=field_delim)) if use_quote_delim else line.split(field_delim)
        for i, d in enumerate(defaults):
            field = fields[select_cols[i] if select_cols else i]
            if field in ("", na_value):
                out[i][at] = d.reshape(-1)[0]
            else:
                out[i][at] = field.encode("latin-1") if d.dtype == object else d.dtype.type(field)
    return out


TABLE = strings(["1,2.5,x,-7", ",,,", '3,-1e3,"a,""b"" c",9', "2147483647,inf,,-9223372036854775808"])
DEFAULTS = [I32([-1]), F32([0.5]), strings(["none"]), I64([8])]
data_case("DecodeCSV", parse_csv, inputs=[(TABLE, DEFAULTS), (TABLE[:2].reshape(2, 1), DEFAULTS), (TABLE[0:0], DEFAULTS), (scalar(TABLE[0]), DEFAULTS)])
data_case("DecodeCSV", parse_csv, inputs=[(strings(["1;NA;z", "NA;2;"]), [F64([7]), F64([8]), strings([""])])], attrs=[dict(field_delim=";", na_value="NA")])
data_case("DecodeCSV", parse_csv, inputs=[(strings(['a"b,"c', '","']), [strings([""]), strings([""])])], attrs=[dict(use_quote_delim=False)])
data_case("DecodeCSV", parse_csv, inputs=[(TABLE, [F32([0]), I64([0])])], attrs=[dict(select_cols=[1, 3])])
data_case("DecodeCSV", parse_csv, inputs=[(strings(["1\t2"]), [I32([]), I32(0)])], attrs=[dict(field_delim="\t")], name="DecodeCSV-required")
data_case("DecodeCSV", inputs=[(strings(["1,2", "1,"]), [I32([]), I32([])])], error="Field 1 is required but missing in record 1!")
data_case("DecodeCSV", inputs=[(strings(["1,2,3"]), [I32([0]), I32([0])]), (strings(["1"]), [I32([0]), I32([0])])], error="Expect 2 fields but have")
data_case("DecodeCSV", inputs=[(strings(["1,x"]), [I32([0]), I32([0])]), (strings(["1,1.5"]), [I32([0]), I32([0])])], error="Field 1 in record 0 is not a valid int32")
data_case("DecodeCSV", inputs=[(strings(['"1']), [I32([0])]), (strings(['a"b"']), [strings([""])]), (strings(['"a"b']), [strings([""])])], error="uote")
data_case("DecodeCSV", inputs=[(strings(["1"]), [I32([0, 1])])], error="1")
data_case("DecodeCSV", inputs=[(TABLE, [F32([0])])], attrs=[dict(field_delim=",,")], error="field_delim")
data_case("DecodeCSV", inputs=[(TABLE, [F32([0]), F32([0])])], attrs=[dict(select_cols=[1, 0])], error="strictly increasing")

# ---- Example messages


def example(**features):
    message = example_pb2.Example()
    for name, values in features.items():
        feature = message.features.feature[name]
        if values is None:
            continue
        kind = {"f": feature.float_list, "i": feature.int64_list, "O": feature.bytes_list}[np.asarray(values, object if values and isinstance(values[0], bytes) else None).dtype.kind]
        kind.value.extend(values)
        kind.SetInParent()
    return message.SerializeToString()


def values_of(serialized, key):
    features = example_pb2.Example.FromString(serialized).features.feature
    if key.decode() not in features or features[key.decode()].WhichOneof("kind") is None:
        return None
    feature = features[key.decode()]
    return list(getattr(feature, feature.WhichOneof("kind")).value)


def parsed(serialized, sparse_keys, dense_keys, dense_defaults, sparse_types, dense_shapes):
    """What ParseExample should give for a batch."""
    indices, values, shapes, dense = [], [], [], []
    for key, dtype in zip(sparse_keys, sparse_types):
        rows = [values_of(s, key) or [] for s in serialized]
        indices.append(np.array([[i, j] for i, row in enumerate(rows) for j in range(len(row))], I64).reshape(-1, 2))
        flat = [v for row in rows for v in row]
        values.append(strings(flat) if dtype == sl.string else np.array(flat, dtype.as_numpy_dtype))
        shapes.append(np.array([len(rows), max(map(len, rows), default=0)], I64))
    for key, default, shape in zip(dense_keys, dense_defaults, dense_shapes):
        rows = [values_of(s, key) for s in serialized]
        kind = default.dtype
        fill = default.reshape(-1) if default.size else np.array([b"" if kind == object else 0], kind)
        inner = int(np.prod([n for n in shape if n is not None]))
        steps = max([len(r) // inner for r in rows if r], default=0) if None in shape else 1
        full = np.empty((len(rows), steps * inner), kind)
        for i, row in enumerate(rows):
            full[i] = np.resize(fill, steps * inner)
            if row is not None:
                full[i, :len(row)] = row
        dense.append(full.reshape([len(rows)] + [steps if n is None else n for n in shape]))
    return indices + values + shapes + dense


BATCH = strings([example(a=[1, 2, 3], f=[0.5, -1.5], s=[b"x", b""], t=[b"p", b"q"], one=[4]), example(f=[2.0, 8.0], one=[5], none=None),
                 example(a=[9], f=[1.0, 1e30], s=[b"\0\xff"], t=[b"r"], one=[-6], none=None)])
NAMES = strings(["first", "second", "third"])
SPARSE = ([scalar("a"), scalar("t"), scalar("absent")], [sl.int64, sl.string, sl.float32])
DENSE = ([scalar("f"), scalar("one"), scalar("s"), scalar("none")], [F32([]), I64([]), strings(["none", "given"], (1, 2)), I64([7, 8, 9])], [[2], [], [1, 2], [3]])


def parse_batch(serialized, names, sparse_keys, dense_keys, dense_defaults, sparse_types, dense_shapes):
    return parsed(serialized, [k[()] for k in sparse_keys], [k[()] for k in dense_keys], dense_defaults, sparse_types, dense_shapes)


FULL = strings([BATCH[0], BATCH[0]])  # has every feature
data_case("ParseExample", parse_batch, attrs=[dict(sparse_types=SPARSE[1], dense_shapes=DENSE[2])],
          inputs=[(FULL, strings([]), SPARSE[0], DENSE[0], DENSE[1]), (FULL, NAMES[:2], SPARSE[0], DENSE[0], DENSE[1]), (BATCH[0:0], strings([]), SPARSE[0], DENSE[0], DENSE[1])])
data_case("ParseExample", parse_batch, attrs=[dict(sparse_types=SPARSE[1], dense_shapes=[])], inputs=[(BATCH, NAMES, SPARSE[0], [], [])], name="ParseExample-sparse")
data_case("ParseExample", parse_batch, attrs=[dict(sparse_types=[], dense_shapes=[[2], [], [None], [None], [None]])], name="ParseExample-padded",
          inputs=[(BATCH, NAMES, [], [scalar(k) for k in ("f", "one", "a", "s", "absent")], [F32([]), I64(0), I64([-1]), strings(["pad"]), F32(3)])])
data_case("ParseExample", parse_batch, attrs=[dict(sparse_types=[], dense_shapes=[[None, 2]])], inputs=[(strings([example(a=[1, 2, 3, 4]), example(), example(a=[5, 6])]), strings([]), [], [scalar("a")], [I64(0)])],
          name="ParseExample-padded-rows")


def bad_examples(error, serialized, key, default, shape, sparse=()):
    data_case("ParseExample", inputs=[(serialized, strings([]), [scalar(k) for k, _ in sparse], [scalar(key)], [default])], error=error,
              attrs=[dict(sparse_types=[t for _, t in sparse], dense_shapes=[shape])])


bad_examples("is required but could not be found", BATCH, "a", I64([]), [3])
bad_examples("Data types don't match", BATCH, "f", I64([0, 0]), [2])
bad_examples("Data types don't match", BATCH, "f", F32([0, 0]), [2], [("a", sl.string)])
bad_examples("Number of", BATCH, "f", F32([0, 0, 0]), [3])
bad_examples("Could not parse example input", strings([BATCH[0], b"\xff"]), "f", F32([0, 0]), [2])
bad_examples("wanted float [2]", BATCH, "f", F32([0, 0, 0]), [2])
data_case("ParseExample", inputs=[(BATCH, NAMES[:2], [scalar("a")], [], [])], attrs=[dict(sparse_types=[sl.int64], dense_shapes=[])], error="names has 2")


def parse_one(serialized, dense_defaults, num_sparse, sparse_keys, dense_keys, sparse_types, dense_shapes):
    out = parsed([serialized[()]], [k.encode() for k in sparse_keys], [k.encode() for k in dense_keys], dense_defaults, sparse_types, dense_shapes)
    n = num_sparse
    return [x[:, 1:] for x in out[:n]] + out[n:2 * n] + [x[1:] for x in out[2 * n:3 * n]] + [x[0] for x in out[3 * n:]]


data_case("ParseSingleExample", parse_one, inputs=[(scalar(BATCH[0]), DENSE[1]), (scalar(FULL[1]), DENSE[1])],
          attrs=[dict(num_sparse=3, sparse_keys=["a", "t", "absent"], dense_keys=["f", "one", "s", "none"], sparse_types=SPARSE[1], dense_shapes=DENSE[2])])
data_case("ParseSingleExample", parse_one, inputs=[(scalar(BATCH[2]), [I64(0)])],
          attrs=[dict(num_sparse=0, sparse_keys=[], dense_keys=["a"], sparse_types=[], dense_shapes=[[None]])])
data_case("ParseSingleExample", inputs=[(scalar(BATCH[1]), [I64([])])], error="is required but could not be found",
          attrs=[dict(num_sparse=0, sparse_keys=[], dense_keys=["a"], sparse_types=[], dense_shapes=[[1]])])
data_case("ParseSingleExample", inputs=[(BATCH, [I64([])])], error="ParseSingleExample",
          attrs=[dict(num_sparse=0, sparse_keys=[], dense_keys=["a"], sparse_types=[], dense_shapes=[[1]])])

# ---- PNG


def png(pixels, **options):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG", **options)
    return scalar(file.getvalue())


PICTURES = [randint(7, 5, c, low=0, high=256).astype(np.uint8) for c in (1, 2, 3, 4)]
PNGS = [png(PICTURES[0]), scalar(b""), png(PICTURES[2]), png(PICTURES[3])]
_la = io.BytesIO()
PIL.Image.fromarray(PICTURES[1], "LA").save(_la, "PNG")
PNGS[1] = scalar(_la.getvalue())
_palette = io.BytesIO()
PIL.Image.fromarray(PICTURES[2]).quantize(16).save(_palette, "PNG")
PALETTE = scalar(_palette.getvalue())
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def png_pixels(contents, channels=0, dtype=sl.uint8):
    picture = PIL.Image.open(io.BytesIO(contents[()]))
    if channels:
        picture = picture.convert(MODES[channels])
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    # 16 bits of an 8-bit file: TensorFlow repeats the byte.
    return pixels if dtype == sl.uint8 else pixels.astype(np.uint16) * 257


data_case("DecodePng", png_pixels, inputs=[(f,) for f in PNGS + [PALETTE]], attrs=[{}, dict(dtype=sl.uint16)])
data_case("DecodePng", png_pixels, inputs=[(PNGS[0],), (PNGS[2],), (PALETTE,)], attrs=[dict(channels=3), dict(channels=4)])
data_case("DecodePng", png_pixels, inputs=[(PNGS[0],), (PNGS[1],)], attrs=[dict(channels=1)])
data_case("DecodePng", inputs=[(scalar(b"not a PNG"),), (scalar(b""),), (scalar(PNGS[2][()][:60]),)], error="PNG")
data_case("DecodePng", inputs=[(PNGS[0],)], attrs=[dict(channels=2)], error="channels")
data_case("DecodePng", inputs=[(strings(["", ""]),)], error="DecodePng")
data_case("EncodePng", inputs=[(PICTURES[0][..., 0],), (np.zeros((2, 2, 5), np.uint8),), (np.zeros((0, 2, 3), np.uint8),)], error="[")


@proves("EncodePng", "DecodePng")
@pytest.mark.parametrize("compression", [-1, 0, 9])
@pytest.mark.parametrize("picture", PICTURES + [(PICTURES[2].astype(np.uint16) << 8) + 77], ids=lambda p: f"{p.dtype}-{p.shape[2]}")
def test_a_png_file_holds_the_same_pixels(picture, compression):
    with sl.Graph().as_default(), sl.Session() as session:
        file = session.run(sl.raw_ops.EncodePng(sl.constant(picture), compression=compression))
        back = session.run(sl.raw_ops.DecodePng(file, dtype=sl.as_dtype(picture.dtype)))
    np.testing.assert_array_equal(back, picture)
    if picture.dtype == np.uint8:
        pixels = np.asarray(PIL.Image.open(io.BytesIO(file)))
        np.testing.assert_array_equal(pixels.reshape(picture.shape), picture)


# ---- summaries


def summary(op, tag, *args, **attrs):
    """The message that a node makes. An argument is a constant of its own type, not of the op's default one."""
    with sl.Graph().as_default(), sl.Session() as session:
        args = [sl.constant(a) for a in ((tag,) if tag is not None else ()) + args]
        return summary_pb2.Summary.FromString(session.run(getattr(sl.raw_ops, op)(*args, **attrs)))


@proves("ScalarSummary")
@pytest.mark.parametrize("dtype", [t for t in REAL if t != "bfloat16"], ids=lambda t: np.dtype(t).name)
def test_scalars_have_their_tags(dtype):
    found = summary("ScalarSummary", strings(["a", "b/c"]), np.array([3, 100], dtype))
    assert [(v.tag, v.simple_value) for v in found.value] == [("a", 3), ("b/c", 100)]
    assert [v.simple_value for v in summary("ScalarSummary", "x", dtype(7)).value] == [7]
    assert not summary("ScalarSummary", strings([]), np.zeros(0, dtype)).value


data_case("ScalarSummary", inputs=[(strings(["a", "b"]), F32([1])), (scalar("a"), F32([1]))], error="ScalarSummary")


@proves("HistogramSummary")
@pytest.mark.parametrize("dtype", [t for t in REAL if t != "bfloat16"], ids=lambda t: np.dtype(t).name)
def test_a_histogram_counts_values_between_its_limits(dtype):
    values = randint(4, 30, low=0, high=120).astype(dtype)
    histogram = summary("HistogramSummary", "h", values).value[0].histo
    exact = values.astype(F64)
    assert (histogram.min, histogram.max, histogram.num) == (exact.min(), exact.max(), exact.size)
    np.testing.assert_allclose([histogram.sum, histogram.sum_squares], [exact.sum(), (exact**2).sum()])
    limits = np.array(histogram.bucket_limit)
    assert np.all(np.diff(limits) > 0) and sum(histogram.bucket) == exact.size
    wanted = [np.sum((exact >= low) & (exact < high)) for low, high in zip(np.r_[-np.inf, limits], limits)]
    np.testing.assert_array_equal(histogram.bucket, wanted)
    # Neighbouring limits are 10 % apart, so quantiles are this exact.
    filled = [(low, high) for low, high, n in zip(np.r_[0, limits], limits, histogram.bucket) if n and low > 1e-3]
    assert all(high / low < 1.101 for low, high in filled)


@proves("HistogramSummary")
def test_an_empty_histogram_is_empty():
    histogram = summary("HistogramSummary", "h", np.zeros((0, 3), F32)).value[0].histo
    assert histogram.num == 0 and sum(histogram.bucket) == 0


data_case("HistogramSummary", inputs=[(scalar("tag"), F32([1, np.nan]))], error="Nan in summary histogram for: tag")
data_case("HistogramSummary", inputs=[(scalar("tag"), F32([1, -np.inf]))], error="Infinity in summary histogram for: tag")
data_case("HistogramSummary", inputs=[(strings(["a", "b"]), F32([1, 2]))], error="HistogramSummary")


@proves("ImageSummary")
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_image_summaries_are_png_files(channels):
    bytes_ = randint(5, 4, 6, channels, low=0, high=256).astype(np.uint8)
    found = summary("ImageSummary", "t", bytes_)
    assert [v.tag for v in found.value] == ["t/image/0", "t/image/1", "t/image/2"]
    for value, picture in zip(found.value, bytes_):
        assert (value.image.height, value.image.width, value.image.colorspace) == (4, 6, channels)
        pixels = np.asarray(PIL.Image.open(io.BytesIO(value.image.encoded_image_string)))
        np.testing.assert_array_equal(pixels.reshape(picture.shape), picture)
    assert [v.tag for v in summary("ImageSummary", "t", bytes_, max_images=1).value] == ["t/image"]
    assert not summary("ImageSummary", "t", bytes_[:0]).value


@proves("ImageSummary")
@pytest.mark.parametrize("dtype", [F32, F16, F64])
def test_image_summaries_of_real_numbers_are_stretched(dtype):
    def pixels(values):
        file = summary("ImageSummary", "t", np.array(values, dtype).reshape(1, 1, -1, 1)).value[0].image.encoded_image_string
        return np.asarray(PIL.Image.open(io.BytesIO(file)).convert("RGB")).reshape(-1, 3)[:, 0].tolist()

    assert pixels([0, 1, 2, 4]) == [0, 63, 127, 255]
    assert pixels([-2, 0, 1, 2]) == [1, 128, 191, 255]
    assert pixels([0, 0]) == [0, 0]
    assert pixels([np.nan, 1, 0.5]) == [255, 255, 127]  # the bad colour's red


data_case("ImageSummary", inputs=[(scalar("t"), np.zeros((1, 2, 2, 2), F32)), (scalar("t"), np.zeros((2, 2, 1), F32))], error="ImageSummary")


@proves("AudioSummary", "AudioSummaryV2")
@pytest.mark.parametrize("channels", [None, 2])
def test_audio_summaries_are_wav_files(channels):
    sounds = rand(4, 50, *([channels] if channels else []), low=-1.2, high=1.2).astype(F32)
    for found in (summary("AudioSummaryV2", "s", sounds, F32(8000)), summary("AudioSummary", "s", sounds, sample_rate=8000.0)):
        assert [v.tag for v in found.value] == ["s/audio/0", "s/audio/1", "s/audio/2"]
        for value, sound in zip(found.value, sounds):
            assert (value.audio.sample_rate, value.audio.num_channels, value.audio.length_frames) == (8000, channels or 1, 50)
            with wave.open(io.BytesIO(value.audio.encoded_audio_string)) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth(), file.getnframes()) == (8000, channels or 1, 2, 50)
                samples = np.frombuffer(file.readframes(50), "<i2")
            np.testing.assert_allclose(samples, np.clip(sound.reshape(-1) * 32768, -32768, 32767), atol=0.51)


data_case("AudioSummaryV2", inputs=[(scalar("t"), np.zeros((1, 2, 2, 2), F32), F32(1)), (scalar("t"), np.zeros(2, F32), F32(1))], error="AudioSummaryV2")
data_case("AudioSummaryV2", inputs=[(scalar("t"), np.zeros((1, 2), F32), F32(0)), (scalar("t"), np.zeros((1, 2), F32), F32(np.nan))], error="sample_rate")


@proves("MergeSummary")
def test_merging_keeps_every_value_and_refuses_a_tag_twice():
    def one(tag):
        return summary_pb2.Summary(value=[dict(tag=tag, simple_value=1.5)]).SerializeToString()

    with sl.Graph().as_default(), sl.Session() as session:
        merged = session.run(sl.raw_ops.MergeSummary([scalar(one("a")), strings([one("b"), one("c")]), strings([])]))
        assert [v.tag for v in summary_pb2.Summary.FromString(merged).value] == ["a", "b", "c"]
        with pytest.raises(sl.errors.InvalidArgumentError, match="Duplicate tag a found"):
            session.run(sl.raw_ops.MergeSummary([one("a"), one("a")]))
        with pytest.raises(sl.errors.InvalidArgumentError, match="input 1 is not a Summary"):
            session.run(sl.raw_ops.MergeSummary([one("a"), b"\xff"]))


@proves("TensorSummary", "TensorSummaryV2")
@pytest.mark.parametrize("value", VALUES, ids=lambda v: v.dtype.name)
def test_tensor_summaries_hold_the_tensor(value):
    metadata = summary_pb2.SummaryMetadata(display_name="shown")
    old = summary("TensorSummary", None, value, name="node").value[0]
    new = summary("TensorSummaryV2", "tag", value, metadata.SerializeToString()).value[0]
    assert old.node_name == "node" and new.tag == "tag" and new.metadata.display_name == "shown"
    for found in (old, new):
        assert sl.make_ndarray(found.tensor).tolist() == value.tolist()


data_case("TensorSummaryV2", inputs=[(scalar("t"), F32(1), scalar(b"\xff"))], error="SummaryMetadata")

# ---- files


@proves("WriteFile", "ReadFile", "MatchingFiles")
def test_files_are_written_found_and_read(tmp_path):
    ops = sl.raw_ops
    with sl.Graph().as_default(), sl.Session() as session:
        for name, contents in (("new/b.txt", b"\0two\xff"), ("new/a.txt", b""), ("new/c.bin", b"x" * 100000)):
            session.run(ops.WriteFile(str(tmp_path / name), contents))
            assert (tmp_path / name).read_bytes() == contents == session.run(ops.ReadFile(str(tmp_path / name)))
        session.run(ops.WriteFile(str(tmp_path / "new/b.txt"), b"again"))
        assert (tmp_path / "new/b.txt").read_bytes() == b"again"
        assert sorted(os.listdir(tmp_path / "new")) == ["a.txt", "b.txt", "c.bin"]  # nothing temporary stays

        def found(*patterns):
            return [os.path.relpath(p.decode(), tmp_path / "new") for p in session.run(ops.MatchingFiles([str(tmp_path / "new" / p) for p in patterns]))]

        assert found("*.txt") == ["a.txt", "b.txt"]
        assert found("?.bin", "[ab].*", "a*") == ["a.txt", "b.txt", "c.bin"]
        assert found("nothing*") == []
        with pytest.raises(sl.errors.NotFoundError, match="missing"):
            session.run(ops.ReadFile(str(tmp_path / "missing")))
        with pytest.raises(sl.errors.OpError, match="b.txt"):
            session.run(ops.WriteFile(str(tmp_path / "new/b.txt/inside"), b""))


data_case("ShardedFilename", lambda b, i, n: scalar(b"%s-%05d-of-%05d" % (b[()], i, n)), inputs=[(scalar("dir/base"), I32(1), I32(4)), (scalar(""), I32(0), I32(123456))])
data_case("ShardedFilespec", lambda b, n: scalar(b"%s-?????-of-%05d" % (b[()], n)), inputs=[(scalar("dir/base"), I32(4))])
data_case("ShardedFilename", inputs=[(scalar("b"), I32([1, 2]), I32(2))], error="ShardedFilename")
data_case("ShardedFilespec", inputs=[(strings(["a", "b"]), I32(2))], error="ShardedFilespec")

# ---- checkpoints

SAVED = {"f": rand(4, 3).astype(F32), "i": np.arange(5), "s": strings(["a", b"\0\xff", ""]), "b": np.bool_(True), "empty": np.zeros((0, 2), F64),
         "h": rand(3).astype(F16), "c": (rand(2) * 1j).astype(np.complex128)}


def save(session, prefix, tensors, parts=None):
    session.run(sl.raw_ops.SaveV2(str(prefix), list(tensors), parts or [""] * len(tensors), [sl.constant(t) for t in tensors.values()]))


@proves("SaveV2", "RestoreV2", "Restore", "RestoreSlice")
def test_what_is_saved_is_restored(tmp_path):
    ops = sl.raw_ops
    prefix = str(tmp_path / "model")
    with sl.Graph().as_default(), sl.Session() as session:
        save(session, prefix, SAVED)
        types = [sl.string if t.dtype == object else sl.as_dtype(t.dtype) for t in SAVED.values()]
        restored = session.run(ops.RestoreV2(prefix, list(SAVED), [""] * len(SAVED), types))
        for found, wanted in zip(restored, SAVED.values()):
            assert np.shape(found) == wanted.shape and np.asarray(found, wanted.dtype).tolist() == wanted.tolist()
        np.testing.assert_array_equal(session.run(ops.Restore(prefix, "f", sl.float32)), SAVED["f"])
        np.testing.assert_array_equal(session.run(ops.RestoreSlice(prefix, "f", "4 3 1,2:-", sl.float32)), SAVED["f"][1:3])
        np.testing.assert_array_equal(session.run(ops.RestoreV2(prefix, ["f"], ["4 3 0,1:2,1"], [sl.float32]))[0], SAVED["f"][:1, 2:3])
        for error, text, name, part, dtype in ((sl.errors.NotFoundError, "absent", "absent", "", sl.float32),
                                               (sl.errors.InvalidArgumentError, "expected dtype int32", "f", "", sl.int32),
                                               (sl.errors.InvalidArgumentError, r"\[5,3\]", "f", "5 3 0,1:-", sl.float32),
                                               (sl.errors.InvalidArgumentError, "f", "f", "4 3 nonsense", sl.float32)):
            with pytest.raises(error, match=text):
                session.run(ops.RestoreV2(prefix, [name], [part], [dtype]))
        with pytest.raises(sl.errors.NotFoundError, match="nowhere"):
            session.run(ops.Restore(str(tmp_path / "nowhere"), "f", sl.float32))


@proves("SaveV2", "RestoreV2", "MergeV2Checkpoints")
def test_parts_saved_apart_become_one_checkpoint(tmp_path):
    ops = sl.raw_ops
    whole = rand(4, 6)
    with sl.Graph().as_default(), sl.Session() as session:
        parts = []
        for i in range(3):
            parts.append(str(tmp_path / f"part{i}" / "model"))
            save(session, parts[-1], {"w": whole[:, 2 * i:2 * i + 2], f"own{i}": np.int32([i])}, [f"4 6 -:{2 * i},2", ""])
        session.run(ops.MergeV2Checkpoints(parts, str(tmp_path / "merged")))
        w, own = session.run(ops.RestoreV2(str(tmp_path / "merged"), ["w", "own2"], ["", ""], [sl.float64, sl.int32]))
        np.testing.assert_array_equal(w, whole)
        assert own == [2]
        assert not any((tmp_path / f"part{i}").exists() for i in range(3))
        with pytest.raises(sl.errors.OpError, match="part0"):
            session.run(ops.MergeV2Checkpoints(parts, str(tmp_path / "again")))
        with pytest.raises(ValueError, match="tensor_names has 2"):
            session.run(ops.SaveV2(str(tmp_path / "x"), ["a", "b"], ["", ""], [sl.constant(1)]))


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)
