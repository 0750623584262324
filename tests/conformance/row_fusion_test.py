"""Element-wise ops and reductions of rows give the same bits with and without the row_fusion pass."""

import numpy as np
import pytest
import sluice as sl
from fusion_test import fused_nodes, needs_fusion, run
from harness import proves


def mean(x):
    return sl.reduce_mean(x, axis=-1, keepdims=True)


def layer_norm(x, other, row):
    h = x + other
    centred = h - mean(h)
    return centred * sl.rsqrt(mean(sl.square(centred)) + 1e-5) * row + 0.25


def moments_and_batch_normalization(x, other, row):
    m, v = sl.nn.moments(x, axes=[-1], keep_dims=True)
    return sl.nn.batch_normalization(x, m, v, row, row, 1e-3) - other


def softmax(x, other, row):
    e = sl.exp(x * row - sl.reduce_max(x * row, axis=-1, keepdims=True))
    return e / sl.reduce_sum(e, axis=-1, keepdims=True)


def norm_of_rows(x, other, row):
    return sl.sqrt(sl.reduce_sum(sl.square(x - other), axis=-1))


def scale_of_rows(x, other, row):
    return 1.0 / (sl.sqrt(sl.reduce_sum(sl.square(x - other), axis=-1, keepdims=True)) + 1.0)


def extremes(x, other, row):
    low = sl.reduce_min(x, axis=-1, keepdims=True)
    return (x - low) / (sl.reduce_max(sl.maximum(x, other), axis=-1, keepdims=True) - low + 1.0)


def spread_operands(x, other, row):
    by_row = sl.reduce_sum(row * row, axis=-1, keepdims=True)  # one row for all
    return sl.square(x - mean(x)) * (by_row + mean(x))


PROGRAMS = [layer_norm, moments_and_batch_normalization, softmax, norm_of_rows, scale_of_rows, extremes, spread_operands]
# The shape of x; the shapes of `other`.
SHAPES = [((7,), [(7,), ()]), ((3, 5), [(3, 5), (1, 5), (3, 1), ()]), ((130, 33), [(130, 33), (130, 1)]), ((3, 4, 64), [(1, 4, 64), (3, 1, 1)]),
          ((2, 3, 2), [(2, 3, 2)]), ((0, 4), [(0, 4), ()]), ((300, 768), [(300, 768)]), ((5, 8192), [(5, 8192)])]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_same_bits(program, dtype):
    for seed, (shape, others) in enumerate(SHAPES):
        for known in ("all", "last", "rank"):
            rng = np.random.default_rng(seed)
            with sl.Graph().as_default():
                feeds, args = {}, []
                for of in (shape, others[seed % len(others)], shape[-1:]):
                    static = list(of) if known == "all" else [None] * len(of[:-1]) + list(of[-1:]) if known == "last" else [None] * len(of)
                    x = sl.placeholder(dtype, static)
                    feeds[x] = rng.uniform(-1, 1, of).astype(dtype)
                    args.append(x)
                y = sl.identity(program(*args))
                plain = run(feeds, [y], False, 1)
                for threads in (1, 2, 4):
                    for a, b in zip(plain, run(feeds, [y], True, threads)):
                        np.testing.assert_array_equal(a, b, err_msg=f"{shape} {known} {threads} threads")


@pytest.mark.parametrize("n", [32, 64, 96, 128, 192, 256, 640, 8192])
def test_same_bits_of_sums_of_whole_tiles(n):
    """Sums that are made in registers, of special values too, beside values that are read before and after them."""
    rng = np.random.default_rng(n)
    rows = rng.uniform(-1, 1, (7, n)).astype(np.float32)
    rows[1] = -0.0
    rows[2, 5], rows[3, 7], rows[4, :2], rows[5] = np.inf, np.nan, [-np.inf, np.inf], 1e-42
    with sl.Graph().as_default():
        x = sl.placeholder("float32", [None, n])
        twice = x * 2.0 - mean(x)
        y = [sl.identity(f) for f in (
            layer_norm(x, x * 0.5, np.float32(3)), mean(sl.maximum(x, 0.25)) + sl.reduce_sum(x, axis=-1, keepdims=True) * x,
            sl.reduce_sum(sl.square(twice), axis=-1), mean(twice * twice) - (twice - sl.reduce_sum(twice, axis=-1, keepdims=True)))]
        plain = run({x: rows}, y, False, 1)
        for threads in (1, 2):
            for a, b in zip(plain, run({x: rows}, y, True, threads)):
                np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(np.signbit(a[a == a]), np.signbit(b[b == b]))


@needs_fusion
@pytest.mark.parametrize("shape", [(3000, 704), (3001, 701), (300, 8000)], ids=str)
def test_same_bits_of_results_larger_than_the_caches(shape):
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    for program in (layer_norm, softmax):
        with sl.Graph().as_default():
            a = sl.placeholder("float32", [None, shape[1]])
            y = [sl.identity(program(a, np.float32(0.5), x[0]))]
            plain = run({a: x}, y, False, 1)
            for threads in (1, 2):
                np.testing.assert_array_equal(run({a: x}, y, True, threads)[0], plain[0])


@needs_fusion
@pytest.mark.parametrize("program", [layer_norm, softmax, norm_of_rows, scale_of_rows], ids=lambda p: p.__name__)
def test_a_program_of_rows_is_one_node(program):
    with sl.Graph().as_default():
        x = sl.placeholder("float32", [None, 8])
        y = sl.identity(program(x, np.float32(0.5), sl.placeholder_with_default(np.ones(8, np.float32), [8])), name="y")
        names = fused_nodes(y, {x: np.ones((3, 8), np.float32)})
    assert len(names) == 1, names


def test_rows_of_an_operand_meet_the_others_at_run_time():
    x = np.random.default_rng(0).standard_normal((6, 8)).astype(np.float32)
    with sl.Graph().as_default():
        a, b = sl.placeholder("float32", [None, 8]), sl.placeholder("float32", [None, 8])
        y = sl.identity(layer_norm(a, b, np.float32(1)))
        with sl.Session() as session:
            for rows in (6, 1):
                h = x + x[:rows]
                c = h - h.mean(-1, keepdims=True)
                wanted = c / np.sqrt((c * c).mean(-1, keepdims=True) + 1e-5) + 0.25
                np.testing.assert_allclose(session.run(y, {a: x, b: x[:rows]}), wanted, rtol=1e-5, atol=1e-5)
            with pytest.raises(sl.errors.InvalidArgumentError, match=r"\[6,8\].*\[4,8\]"):
                session.run(y, {a: x, b: x[:4]})


@proves("_FusedRows")
@pytest.mark.parametrize("attrs, message", [
    (dict(program=["Square", "Sum"], operands=[0, -1, 1, -1], types=["float32"] * 2, row=2), None),
    (dict(program=["Sum"], operands=[0, -1], types=["float32"], row=3), "rows of 3"),
    (dict(program=["Sum"], operands=[0, -1], types=["float32"], row=1), "rows of 1"),
    (dict(program=["Sum", "Sum"], operands=[0, -1, 1, -1], types=["float32"] * 2, row=2), "rows of 1"),
    (dict(program=["Sum"], operands=[0, 0], types=["float32"], row=2), "Sum"),
    (dict(program=["Sum"], operands=[5, -1], types=["float32"], row=2), "operands"),
    (dict(program=["Sum"], operands=[0, -1], types=["int32"], row=2), "int32"),
    (dict(program=["MatMul"], operands=[0, 0], types=["float32"], row=2), "MatMul"),
    (dict(program=["Sum"], operands=[0, -1], types=["float32"], row=1 << 40), "rows of"),
])
def test_hand_made_programs(attrs, message):
    node = sl.NodeDef(name="f", op="_FusedRows", input=["x"])
    node.attr["Tin"].list.type.append(1)
    node.attr["T"].type = 1
    for op in attrs["program"]:
        node.attr["program"].list.func.add(name=op).attr["T"].type = 1
    node.attr["operands"].list.i.extend(attrs["operands"])
    node.attr["types"].list.type.extend([sl.as_dtype(t).as_datatype_enum for t in attrs["types"]])
    node.attr["row"].i = attrs["row"]
    graph_def = sl.GraphDef()
    graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph_def.node.append(node)
    with sl.Graph().as_default():
        try:
            sl.import_graph_def(graph_def, name="")
            with sl.Session() as session:
                got = session.run("f:0", {"x:0": np.float32([[1, 2], [3, 4]])})
        except (ValueError, sl.errors.OpError) as e:
            assert message is not None and message in str(e), e
        else:
            assert message is None
            np.testing.assert_array_equal(got, [[5], [25]])
