"""Graphs of element-wise ops give the same bits with and without the fusion pass."""

import os

import numpy as np
import pytest
import sluice as sl
from harness import proves

UNARY = [sl.negative, sl.exp, sl.tanh, sl.sigmoid, sl.abs, sl.square, sl.nn.relu, sl.sin, sl.math.log1p, sl.floor, sl.sign]
BINARY = [sl.add, sl.subtract, sl.multiply, sl.maximum, sl.minimum, sl.squared_difference, sl.divide]
# What operands broadcast to the shape from.
SHAPES = {
    (): [()],
    (7,): [(7,), (), (1,)],
    (3, 5): [(3, 5), (5,), (3, 1), (), (1, 5)],
    (64, 1000): [(64, 1000), (1000,), (64, 1), ()],
    (2, 3, 0): [(2, 3, 0), (3, 1), (1,)],
    (5, 2, 3, 4): [(5, 2, 3, 4), (2, 1, 4), (4,), (5, 1, 1, 1), ()],
    (300007,): [(300007,), ()],
}

needs_fusion = pytest.mark.skipif("fusion" in os.environ.get("SLUICE_DISABLE_PASSES", ""), reason="fusion is switched off for this run")


def config(fusion, threads=1):
    c = sl.ConfigProto(intra_op_parallelism_threads=threads)
    if not fusion:
        c.graph_options.rewrite_options.remapping = 2  # OFF
    return c


def random_graph(rng, shape, dtype, static):
    """Feeds, and the fetches of a random graph over them."""
    feeds, pool = {}, []
    for i in range(rng.integers(1, 6)):
        of = SHAPES[shape][rng.integers(len(SHAPES[shape]))] if i else shape
        value = rng.uniform(0.1, 2, of).astype(dtype)
        x = sl.placeholder(dtype, of if static else [None] * len(of) if rng.integers(2) else None)
        feeds[x] = value
        pool.append(x)
    made = []
    for _ in range(rng.integers(2, 30)):
        if rng.integers(3) == 0:
            y = UNARY[rng.integers(len(UNARY))](pool[rng.integers(len(pool))])
        else:
            a = pool[-1 - rng.integers(min(4, len(pool)))]
            y = BINARY[rng.integers(len(BINARY))](a, pool[rng.integers(len(pool))])
        pool.append(y)
        made.append(y)
    some = [made[-1]] + [made[i] for i in rng.integers(0, len(made), 2)]
    return feeds, [sl.reduce_max(made[0])] + some


def run(feeds, fetches, fusion, threads):
    with sl.Session(config=config(fusion, threads)) as session:
        first = session.run(fetches, feeds)
        again = session.run(fetches, feeds)
    for a, b in zip(first, again):
        np.testing.assert_array_equal(a, b)
    return first


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_same_bits(shape, dtype, monkeypatch):
    if dtype == "int32":
        monkeypatch.setitem(globals(), "UNARY", [sl.negative, sl.abs, sl.square, sl.sign])
        monkeypatch.setitem(globals(), "BINARY", [sl.add, sl.subtract, sl.multiply, sl.maximum, sl.floordiv])
    big = int(np.prod(shape)) > 10000
    for seed in range(3 if big else 12):
        rng = np.random.default_rng([seed, len(shape), int(np.prod(shape))])
        with sl.Graph().as_default():
            feeds, fetches = random_graph(rng, shape, dtype, static=bool(seed % 2))
            try:
                plain = run(feeds, fetches, False, 1)
            except sl.errors.InvalidArgumentError as e:
                # A zero divisor: the fused graph must find it too.
                with pytest.raises(type(e)):
                    run(feeds, fetches, True, 1)
                continue
            for threads in (1, 2, 4):
                for a, b in zip(plain, run(feeds, fetches, True, threads)):
                    np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}, {threads} threads")


SPECIAL = [0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-42, -1e-42, 3.4e38, -3.4e38, 2.0]


@pytest.mark.parametrize("size", [1, 31, 127, 128, 129, 1000, 1024, 1025, 5000])
@pytest.mark.parametrize("op", [sl.add, sl.subtract, sl.multiply, sl.divide, sl.maximum, sl.minimum, sl.squared_difference])
def test_same_bits_of_special_values(op, size):
    """Both orders of operands, scalars, rows of the same values, and results that several nodes read."""
    rng = np.random.default_rng(size)
    a, b = (rng.choice(SPECIAL, size).astype(np.float32) for _ in range(2))
    for one in SPECIAL:
        with sl.Graph().as_default():
            x, y, c = sl.placeholder("float32", [size]), sl.placeholder("float32", [size]), sl.placeholder("float32", [])
            z = op(sl.nn.relu(op(sl.negative(x), y)), op(op(c, x), sl.abs(y)))
            w = op(op(sl.square(y), c), z)
            fetches = [sl.identity(op(op(c, w), op(z, z)))]
            feeds = {x: a, y: b, c: np.float32(one)}
            fused, plain = run(feeds, fetches, True, 2)[0], run(feeds, fetches, False, 1)[0]
            np.testing.assert_array_equal(fused, plain)
            # Which of two nans comes out is up to the processor, and to the order in which a compiler names them.
            np.testing.assert_array_equal(np.signbit(fused[fused == fused]), np.signbit(plain[plain == plain]))


@pytest.mark.parametrize("dtype, size", [("float32", 2097152 + 3), ("float32", 2500096), ("float64", 1048579)])
def test_same_bits_of_results_larger_than_the_caches(dtype, size):
    """They are written past them, as whole vectors or from a block."""
    x = np.random.default_rng(0).uniform(0.1, 2, size).astype(dtype)
    for last in (sl.negative, sl.tanh):
        with sl.Graph().as_default():
            a = sl.placeholder(dtype, [size])
            fetches = [sl.identity(last(sl.maximum(a * 3 - 1, a) * a))]
            plain = run({a: x}, fetches, False, 1)
            for threads in (1, 2):
                np.testing.assert_array_equal(run({a: x}, fetches, True, threads)[0], plain[0])


def fused_nodes(fetches, feeds):
    options = sl.RunOptions(output_partition_graphs=True, trace_level=sl.RunOptions.FULL_TRACE)
    metadata = sl.RunMetadata()
    with sl.Session() as session:
        session.run(fetches, feeds, options=options, run_metadata=metadata)
    stats = metadata.step_stats.dev_stats
    return [n.node_name for d in stats for n in d.node_stats if "_fused" in n.node_name]


@needs_fusion
def test_a_chain_is_one_node():
    with sl.Graph().as_default():
        x = sl.placeholder("float32", [None, 8])
        y = sl.tanh(sl.exp(-x) * 2.0 + 1.0, name="y")
        z = sl.reduce_sum(y)
        names = fused_nodes(z, {x: np.ones((3, 8), np.float32)})
    assert names == ["y/_fused"], names


def test_a_wrong_shape_names_the_node_that_the_user_wrote():
    with sl.Graph().as_default():
        a = sl.placeholder("float32", [None])
        b = sl.placeholder("float32", [None])
        y = sl.reduce_sum(sl.exp(sl.add(sl.negative(a), b, name="the_sum")))
        with sl.Session() as session:
            with pytest.raises(sl.errors.InvalidArgumentError, match=r"the_sum.*fusion_test\.py") as e:
                session.run(y, {a: np.ones(3, np.float32), b: np.ones(4, np.float32)})
            assert "[3]" in str(e.value) and "[4]" in str(e.value)
            assert session.run(y, {a: np.zeros(3, np.float32), b: np.zeros(3, np.float32)}) == 3


def test_a_variable_read_before_its_update_is_the_old_one():
    with sl.Graph().as_default():
        v = sl.get_variable("v", initializer=np.ones(5000, np.float32), use_resource=True)
        old = sl.reduce_sum(sl.exp(sl.negative(v.read_value())) * 2.0)
        with sl.control_dependencies([old]):
            update = v.assign_add(np.ones(5000, np.float32))
        with sl.Session() as session:
            session.run(sl.global_variables_initializer())
            for step in range(1, 4):
                got = session.run([old, update])[0]
                np.testing.assert_allclose(got, 5000 * 2 * np.exp(-step), rtol=1e-5)


@proves("_Fused")
@pytest.mark.parametrize("attrs, message", [
    (dict(program=["Neg"], operands=[0, -1], types=["float32"]), None),
    (dict(program=["Neg"], operands=[7, -1], types=["float32"]), "operands"),
    (dict(program=["Neg"], operands=[0], types=["float32"]), "operands"),
    (dict(program=["Neg", "Neg"], operands=[0, -1, 2, -1], types=["float32", "float32"]), "operands"),
    (dict(program=["MatMul"], operands=[0, 0], types=["float32"]), "MatMul"),
    (dict(program=["NoSuchOp"], operands=[0, -1], types=["float32"]), "NoSuchOp"),
    (dict(program=["Neg"], operands=[0, -1], types=["int32"]), "int32"),
    (dict(program=["AddV2"], operands=[0, -1], types=["float32"]), "AddV2"),
])
def test_hand_made_programs(attrs, message):
    program = attrs.pop("program")
    node = sl.NodeDef(name="f", op="_Fused", input=["x"])
    node.attr["Tin"].list.type.append(1)
    node.attr["T"].type = 1
    for op in program:
        node.attr["program"].list.func.add(name=op).attr["T"].type = 1
    node.attr["operands"].list.i.extend(attrs["operands"])
    node.attr["types"].list.type.extend([sl.as_dtype(t).as_datatype_enum for t in attrs["types"]])
    graph_def = sl.GraphDef()
    graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph_def.node.append(node)
    with sl.Graph().as_default() as graph:
        try:
            sl.import_graph_def(graph_def, name="")
            with sl.Session() as session:
                got = session.run("f:0", {"x:0": np.float32([1, 2])})
        except (ValueError, sl.errors.OpError) as e:
            assert message is not None and message in str(e), e
        else:
            assert message is None
            np.testing.assert_array_equal(got, [-1, -2])
