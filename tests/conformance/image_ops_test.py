"""Ops on images: sizes, colours, boxes and JPEG files, against formulas written here, `colorsys` and PIL."""

import colorsys
import io

import numpy as np
import PIL.Image
import pytest

import sluice as sl
from harness import BF16, F16, F32, F64, cases, check, op_case, rand, randint, take_rows

I32, I64 = np.int32, np.int64
PIXELS = [np.uint8, np.int8, np.uint16, np.int16, I32, I64, F16, BF16, F32, F64]
OPTIONS = [{}, dict(align_corners=True), dict(half_pixel_centers=True)]


def images(*shape, key=0):
    """Values that every pixel type holds exactly."""
    return randint(*shape, low=0, high=100, key=key).astype(np.float64)


# ---- resizing


def scale_of(n_in, n_out, align_corners):
    return F32(n_in - 1) / F32(n_out - 1) if align_corners and n_out > 1 else F32(n_in) / F32(n_out)


def blend(n_in, n_out, align_corners=False, half_pixel_centers=False):
    """The [n_out, n_in] weights of linear interpolation along one axis."""
    weights = np.zeros((n_out, n_in))
    for i in range(n_out):
        scale = scale_of(n_in, n_out, align_corners)
        at = (F32(i) + F32(0.5)) * scale - F32(0.5) if half_pixel_centers else F32(i) * scale
        low = int(np.floor(at))
        part = float(at) - low
        weights[i, min(max(low, 0), n_in - 1)] += 1 - part
        weights[i, min(max(low + 1, 0), n_in - 1)] += part
    return weights


def nearest(n_in, n_out, align_corners=False, half_pixel_centers=False):
    weights = np.zeros((n_out, n_in))
    for i in range(n_out):
        at = F32(i + (0.5 if half_pixel_centers else 0)) * scale_of(n_in, n_out, align_corners)
        weights[i, min(int(np.floor(at + F32(0.5)) if align_corners else np.floor(at)), n_in - 1)] = 1
    return weights


def resized(weights):
    def oracle(x, size, **options):
        x = x.astype(F64)
        return np.einsum("yh,xw,bhwc->byxc", weights(x.shape[1], int(size[0]), **options), weights(x.shape[2], int(size[1]), **options), x)

    return oracle


def resized_gradient(weights):
    """The transpose of the linear map above. `target`: images, or their height and width."""
    def oracle(grads, target, **options):
        height, width = target.shape[1:3] if np.ndim(target) == 4 else target
        grads = grads.astype(F64)
        return np.einsum("yh,xw,byxc->bhwc", weights(int(height), grads.shape[1], **options), weights(int(width), grads.shape[2], **options), grads)

    return oracle


SIZES = [(images(2, 4, 6, 3), I32([8, 3])), (images(1, 5, 3, 1), I32([2, 7])), (images(1, 1, 1, 2), I32([3, 4])), (images(2, 4, 4, 1), I32([1, 1])),
         (images(1, 3, 5, 2), I32([3, 5])), (images(0, 3, 5, 2), I32([6, 2]))]
op_case("ResizeBilinear", resized(blend), inputs=SIZES, types=PIXELS, attrs=OPTIONS, rtol=1e-5, atol=1e-4)
op_case("ResizeNearestNeighbor", resized(nearest), inputs=SIZES, types=PIXELS, attrs=OPTIONS)
op_case("ResizeBilinearGrad", resized_gradient(blend), types=[F32, F64, F16, BF16], fixed=[0], attrs=OPTIONS, rtol=1e-5, atol=1e-4,
        inputs=[(images(2, 8, 3, 3).astype(F32), images(2, 4, 6, 3)), (images(1, 1, 1, 2).astype(F32), images(1, 3, 5, 2)), (images(0, 2, 2, 1).astype(F32), images(0, 3, 5, 1))])
op_case("ResizeNearestNeighborGrad", resized_gradient(nearest), types=[np.uint8, np.int8, I32, F16, F32, F64], attrs=OPTIONS,
        inputs=[(images(2, 8, 3, 3) // 32, I32([4, 6])), (images(1, 1, 1, 2), I32([3, 5])), (images(0, 2, 2, 1), I32([3, 5]))])
for op in ("ResizeBilinear", "ResizeNearestNeighbor"):
    op_case(op, inputs=[(images(2, 4, 3), I32([2, 2]))], error="[2,4,3]")
    op_case(op, inputs=[(images(2, 4, 3, 1), I32([0, 2])), (images(2, 4, 3, 1), I32([2, 0]))], error="positive")
    op_case(op, inputs=[(images(2, 4, 3, 1), I32([-1, 2]))], error="-1")
    op_case(op, inputs=[(images(2, 4, 3, 1), I32([2]))], error="[height, width]")
    op_case(op, inputs=[(images(2, 0, 3, 1), I32([2, 2]))], error="non-zero size")
    op_case(op, inputs=[(images(2, 4, 3, 1), I32([2, 2]))], attrs=[dict(align_corners=True, half_pixel_centers=True)], error="exclude each other")
op_case("ResizeBilinearGrad", inputs=[(images(2, 4, 3, 1).astype(F32), images(1, 4, 3, 1))], error="[2,4,3,1] for images [1,4,3,1]")
op_case("ResizeNearestNeighborGrad", inputs=[(images(2, 4, 3, 1), I32([2, -2]))], error="-2")


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o) or "plain")
@pytest.mark.parametrize("resize,weights", [(sl.raw_ops.ResizeBilinear, blend), (sl.raw_ops.ResizeNearestNeighbor, nearest)])
def test_gradients_of_resizing_spread_over_the_pixels_used(resize, weights, options):
    x, dy = images(2, 4, 6, 3).astype(F32), images(2, 3, 8, 3, key=1).astype(F32)
    with sl.Graph().as_default(), sl.Session() as session:
        p = sl.placeholder(sl.float32, [None, None, None, 3])
        gradient = sl.gradients(resize(p, [3, 8], **options), p, grad_ys=dy)[0]
        np.testing.assert_allclose(session.run(gradient, {p: x}), resized_gradient(weights)(dy, x, **options), rtol=1e-5)


# ---- boxes


def crop_and_resize(x, boxes, index, size, method="bilinear", extrapolation_value=0.0):
    height, width = x.shape[1:3]
    out = np.full((len(boxes), size[0], size[1], x.shape[3]), extrapolation_value, F64)

    def places(low, high, n, pixels):
        return [0.5 * (low + high) * (pixels - 1)] if n == 1 else [low * (pixels - 1) + i * (high - low) * (pixels - 1) / (n - 1) for i in range(n)]

    for b, (y1, x1, y2, x2) in enumerate(boxes.astype(F64)):
        for i, y in enumerate(places(y1, y2, size[0], height)):
            for j, at in enumerate(places(x1, x2, size[1], width)):
                if not (0 <= y <= height - 1 and 0 <= at <= width - 1):
                    continue
                if method == "nearest":
                    out[b, i, j] = x[index[b], int(np.floor(y + 0.5)), int(np.floor(at + 0.5))]
                    continue
                top, left = int(np.floor(y)), int(np.floor(at))
                bottom, right = int(np.ceil(y)), int(np.ceil(at))
                dy, dx = y - top, at - left
                pick = x[index[b]].astype(F64)
                out[b, i, j] = ((pick[top, left] * (1 - dx) + pick[top, right] * dx) * (1 - dy) + (pick[bottom, left] * (1 - dx) + pick[bottom, right] * dx) * dy)
    return out


BOXES = F32([[0, 0, 1, 1], [0.125, 0.25, 0.75, 0.5], [1, 1, 0, 0], [-0.5, 0, 0.5, 1.5], [0.5, 0.5, 0.5, 0.5]])
OF_IMAGE = I32([0, 1, 1, 0, 1])
op_case("CropAndResize", crop_and_resize, types=PIXELS[:6] + [F16, F32, F64], attrs=[{}, dict(method="nearest"), dict(extrapolation_value=-7.5)], rtol=1e-5, atol=1e-4,
        inputs=[(images(2, 5, 9, 3), BOXES, OF_IMAGE, I32([3, 4])), (images(2, 5, 9, 1), BOXES, OF_IMAGE, I32([1, 1])), (images(2, 5, 9, 1), BOXES[:0], OF_IMAGE[:0], I32([2, 2]))])
op_case("CropAndResize", lambda *_: np.zeros((1, 2, 2, 1)), inputs=[(images(1, 4, 4, 1), F32([[np.nan, 0, 1, 1]]), I32([0]), I32([2, 2]))], name="CropAndResize-nan")
op_case("CropAndResize", inputs=[(images(2, 5, 9, 3), BOXES, OF_IMAGE + 1, I32([3, 4])), (images(2, 5, 9, 3), BOXES, OF_IMAGE - 1, I32([3, 4]))], error="outside [0, 2)")
op_case("CropAndResize", inputs=[(images(2, 5, 9, 3), BOXES, OF_IMAGE, I32([0, 4]))], error="positive")
op_case("CropAndResize", inputs=[(images(2, 5, 9, 3), BOXES, OF_IMAGE[:2], I32([3, 4]))], error="5")
op_case("CropAndResize", inputs=[(images(2, 5, 9, 3), BOXES[:, :3], OF_IMAGE, I32([3, 4]))], error="boxes")
op_case("CropAndResize", inputs=[(images(2, 5, 9, 3), BOXES, OF_IMAGE, I32([3, 4]))], attrs=[dict(method="cubic")], error="cubic")


def suppressed(boxes, scores, most, iou=0.5, least=-np.inf, iou_threshold=None):
    iou = iou if iou_threshold is None else iou_threshold
    chosen = []

    def overlap(a, b):
        (ay1, ay2), (ax1, ax2), (by1, by2), (bx1, bx2) = sorted(a[0::2]), sorted(a[1::2]), sorted(b[0::2]), sorted(b[1::2])
        areas = (ay2 - ay1) * (ax2 - ax1), (by2 - by1) * (bx2 - bx1)
        both = max(0, min(ay2, by2) - max(ay1, by1)) * max(0, min(ax2, bx2) - max(ax1, bx1))
        return both / (sum(areas) - both) if min(areas) > 0 else 0

    for i in np.argsort(-scores.astype(F64), kind="stable"):
        if len(chosen) < most and scores[i] > least and all(overlap(boxes[i], boxes[j]) <= iou for j in chosen):
            chosen.append(i)
    return np.array(chosen, I32)


def random_boxes(n, key):
    return np.round(np.concatenate([rand(n, 2, low=0, high=1, key=key), rand(n, 2, low=0, high=1, key=key + 1)], axis=1) * 64) / 64


SCORES = np.round(rand(40, low=-1, high=1, key=9) * 64) / 64
CLUSTERS = [(random_boxes(40, 3), SCORES), (random_boxes(12, 5) * 0.25, SCORES[:12]), (random_boxes(1, 7), SCORES[:1]), (np.zeros((0, 4)), np.zeros(0)),
            (np.float64([[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 5], [0, 0.25, 1, 1.25]]), np.float64([0.5, 0.5, 0.75, 0.25]))]
op_case("NonMaxSuppression", suppressed, types=[F32], inputs=[(b, s, I32(n)) for b, s in CLUSTERS for n in (0, 3, 100)], attrs=[{}, dict(iou_threshold=0.0), dict(iou_threshold=0.1)])
op_case("NonMaxSuppressionV2", suppressed, types=[F32, F16], inputs=[(b, s, I32(n), np.float64(t)) for b, s in CLUSTERS for n in (3, 100) for t in (0, 0.25, 1)])
op_case("NonMaxSuppressionV3", suppressed, types=[F32, F16], inputs=[(b, s, I32(100), np.float64(0.25), np.float64(t)) for b, s in CLUSTERS for t in (-1, 0.25, 2)])
for op, extra in (("NonMaxSuppression", ()), ("NonMaxSuppressionV2", (np.float64(0.5),)), ("NonMaxSuppressionV3", (np.float64(0.5), np.float64(0)))):
    op_case(op, types=[F32], inputs=[(rand(3, 5), rand(3), I32(1)) + extra], error="[3,5]")
    op_case(op, types=[F32], inputs=[(rand(3, 4), rand(2), I32(1)) + extra], error="3")
    op_case(op, types=[F32], inputs=[(rand(3, 4), rand(3), I32(-1)) + extra], error="-1")
op_case("NonMaxSuppressionV2", types=[F32], inputs=[(rand(3, 4), rand(3), I32(1), np.float64(1.5))], error="[0, 1]")

# ---- colours


def by_colour(function):
    """An oracle from a function of one pixel's three values."""
    def oracle(x, *rest):
        out = np.array([function(*p, *[float(r) for r in rest]) for p in x.reshape(-1, 3).astype(F64)])
        return out.reshape(x.shape)

    return oracle


def turned(r, g, b, delta):
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb((h + delta) % 1, s, v)


def saturated(r, g, b, scale):
    h, s, v = colorsys.rgb_to_hsv(r, g, b)
    return colorsys.hsv_to_rgb(h, min(max(s * scale, 0), 1), v)


GREYS = np.repeat(np.array([0.0, 0.25, 1.0])[:, None], 3, axis=1)
PURE = np.float64([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]])
COLOURS = [(rand(2, 4, 5, 3, low=0, high=1),), (PURE,), (GREYS,), (rand(0, 3),), (rand(3, low=0, high=1),)]
# Colours from halves differ from those of their exact values most where a hue is hardly defined.
op_case("RGBToHSV", by_colour(colorsys.rgb_to_hsv), inputs=COLOURS, types=[F32, F64], rtol=2e-5, atol=2e-5)
op_case("RGBToHSV", by_colour(colorsys.rgb_to_hsv), inputs=[(PURE,), (GREYS,)], types=[F16, BF16])
op_case("HSVToRGB", by_colour(colorsys.hsv_to_rgb), inputs=COLOURS, types=[F32, F64, F16, BF16], rtol=1e-5, atol=5e-6)
PICTURES = [rand(2, 4, 5, 3, low=0, high=1), PURE.reshape(1, 2, 4, 3), GREYS.reshape(3, 1, 3), rand(0, 2, 2, 3)]
op_case("AdjustHue", by_colour(turned), inputs=[(p, F32(d)) for p in PICTURES for d in (0, 0.3, -0.45, 1)], types=[F32], atol=5e-5)
op_case("AdjustHue", by_colour(turned), inputs=[(PICTURES[1], F32(0.25))], types=[F16])
op_case("AdjustSaturation", by_colour(saturated), inputs=[(p, F32(s)) for p in PICTURES for s in (0, 0.5, 1, 3)], types=[F32], atol=5e-5)
op_case("AdjustSaturation", by_colour(saturated), inputs=[(PICTURES[1], F32(0.5))], types=[F16])
op_case("AdjustContrastv2", lambda x, f: (x - x.mean((-3, -2), keepdims=True)) * f + x.mean((-3, -2), keepdims=True) if x.size else x, types=[F32, F16], atol=1e-5,
        inputs=[(p, F32(f)) for p in PICTURES + [rand(3, 2, 4, 4, 2), rand(3, 4, 7)] for f in (0, 0.5, 1, -2)])
for op in ("RGBToHSV", "HSVToRGB"):
    op_case(op, inputs=[(rand(2, 4),)], error="3 channels")
    op_case(op, inputs=[(rand(),)], error="found")
for op in ("AdjustHue", "AdjustSaturation"):
    op_case(op, types=[F32], inputs=[(rand(2, 2, 4), F32(1))], error="3 channels")
    op_case(op, types=[F32], inputs=[(rand(2, 2, 3), F32([1, 2]))], error=op)
op_case("AdjustContrastv2", types=[F32], inputs=[(rand(2, 3), F32(1))], error="[2,3]")
op_case("AdjustContrastv2", types=[F32], inputs=[(rand(2, 3, 3), F32([1, 2]))], error="AdjustContrastv2")

# ---- JPEG


def text(value):
    out = np.empty((), object)
    out[()] = value
    return out


def jpeg(pixels, **options):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "JPEG", **options)
    return text(file.getvalue())


def decoded(contents, channels=0):
    picture = PIL.Image.open(io.BytesIO(contents))
    picture = np.asarray(picture.convert({0: picture.mode, 1: "L", 3: "RGB"}[channels]))
    return picture[..., None] if picture.ndim == 2 else picture


def smooth(height, width, channels):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return (127 + 60 * np.sin(y / 5 + c) + 60 * np.cos(x / 7 - c)).astype(np.uint8)


COLOUR, GREY = smooth(21, 34, 3), smooth(16, 9, 1)
FILES = [jpeg(COLOUR), jpeg(COLOUR, quality=30, progressive=True), jpeg(COLOUR, subsampling=0), jpeg(GREY), jpeg(smooth(1, 1, 3))]
op_case("DecodeJpeg", lambda f, dct_method: decoded(f[()]), inputs=[(f,) for f in FILES], types=[F32], attrs=[dict(dct_method="INTEGER_ACCURATE")])
op_case("DecodeJpeg", lambda f, channels, dct_method: decoded(f[()], channels), inputs=[(FILES[3],)], types=[F32], attrs=[dict(channels=c, dct_method="INTEGER_ACCURATE") for c in (1, 3)])
op_case("DecodeJpeg", inputs=[(FILES[0],)], types=[F32], attrs=[dict(channels=2)], error="channels")
op_case("DecodeJpeg", inputs=[(FILES[0],)], types=[F32], attrs=[dict(ratio=3)], error="ratio")
op_case("DecodeJpeg", inputs=[(text(b"not a JPEG"),), (text(b""),), (text(FILES[0][()][:200]),)], types=[F32], error="JPEG")
op_case("ExtractJpegShape", lambda f, output_type: np.array(decoded(f[()]).shape, output_type.as_numpy_dtype), inputs=[(f,) for f in FILES], types=[F32],
        attrs=[dict(output_type=sl.int32), dict(output_type=sl.int64)])
op_case("ExtractJpegShape", inputs=[(text(b"not a JPEG"),)], types=[F32], error="JPEG")
op_case("EncodeJpeg", inputs=[(COLOUR,)], types=[F32], attrs=[dict(format="grayscale")], error="1 channels")
op_case("EncodeJpeg", inputs=[(COLOUR,)], types=[F32], attrs=[dict(quality=101), dict(quality=-1)], error="quality")
op_case("EncodeJpeg", inputs=[(COLOUR[0],)], types=[F32], error="[34,3]")
op_case("EncodeJpeg", inputs=[(np.zeros((2, 2, 2), np.uint8),), (np.zeros((0, 2, 3), np.uint8),)], types=[F32], error="[")


@pytest.mark.parametrize("options", [{}, dict(quality=100), dict(progressive=True), dict(optimize_size=True), dict(chroma_downsampling=False)], ids=str)
@pytest.mark.parametrize("picture", [COLOUR, GREY], ids=["colour", "grey"])
def test_what_is_written_is_read_alike_by_others(picture, options):
    with sl.Graph().as_default(), sl.Session() as session:
        file = session.run(sl.raw_ops.EncodeJpeg(picture, **options))
        back = session.run(sl.raw_ops.DecodeJpeg(file, dct_method="INTEGER_ACCURATE"))
    np.testing.assert_array_equal(back, decoded(file))
    assert np.abs(back.astype(int) - picture).max() < 12
    assert PIL.Image.open(io.BytesIO(file)).info.get("progressive", 0) == int(options.get("progressive", False))


def test_metadata_is_part_of_the_file():
    packet = "<x:xmpmeta xmlns:x='adobe:ns:meta/'>caf\u00e9</x:xmpmeta>"
    with sl.Graph().as_default(), sl.Session() as session:
        def header(**options):
            return PIL.Image.open(io.BytesIO(session.run(sl.raw_ops.EncodeJpeg(COLOUR, **options))))

        assert header().info["jfif_density"] == (300, 300) and header().info["jfif_unit"] == 1
        picture = header(density_unit="cm", x_density=20, y_density=30)
        assert picture.info["jfif_density"] == (20, 30) and picture.info["jfif_unit"] == 2
        picture = header(xmp_metadata=packet)
        assert dict(picture.applist)["APP1"] == b"http://ns.adobe.com/xap/1.0/\0" + packet.encode() and picture.size == (34, 21)
        with pytest.raises(sl.errors.InvalidArgumentError, match="at most 65504 bytes, found 65505"):
            header(xmp_metadata="x" * 65505)
        np.testing.assert_array_equal(np.asarray(header(format="rgb")), np.asarray(header()))


def test_a_cut_off_file_gives_the_rows_it_has():
    whole = jpeg(randint(64, 48, 3, low=0, high=256).astype(np.uint8), subsampling=0)[()]
    with sl.Graph().as_default(), sl.Session() as session:
        def decode(contents, **options):
            return session.run(sl.raw_ops.DecodeJpeg(contents, **options))

        cut = decode(whole[:len(whole) // 2], try_recover_truncated=True, acceptable_fraction=0.1)
        same = np.all(cut == decode(whole), axis=(1, 2))
        assert cut.shape == (64, 48, 3) and same[:8].all() and not same[-8:].any()
        for options in ({}, dict(try_recover_truncated=True, acceptable_fraction=0.9)):
            with pytest.raises(sl.errors.InvalidArgumentError, match="JPEG"):
                decode(whole[:len(whole) // 2], **options)
        plain, fancy = [decode(FILES[0][()], fancy_upscaling=f).astype(int) for f in (False, True)]
        assert 0 < np.abs(plain - fancy).mean() < 5


def test_a_smaller_ratio_gives_a_smaller_picture_of_the_same():
    picture = smooth(24, 32, 3)
    with sl.Graph().as_default(), sl.Session() as session:
        for ratio in (1, 2, 4, 8):
            small = session.run(sl.raw_ops.DecodeJpeg(jpeg(picture)[()], ratio=ratio))
            assert small.shape == (24 // ratio, 32 // ratio, 3)
            means = picture.reshape(24 // ratio, ratio, 32 // ratio, ratio, 3).mean((1, 3))
            assert np.abs(small - means).max() < 20


op_case("EncodeJpeg", lambda x: None, inputs=[(COLOUR,), (GREY,)], types=[F32])


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)
