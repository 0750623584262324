"""Products and the ops on them give the same bits with and without the epilogue_fusion pass."""

import numpy as np
import pytest
import sluice as sl
from fusion_test import fused_nodes, needs_fusion, run
from harness import proves


def bias_and_activation(p, row, one, whole):
    return sl.nn.relu(sl.nn.bias_add(p, row))


def arithmetic(p, row, one, whole):
    return sl.tanh(one - sl.square(p * row)) + one


def gradient(p, row, one, whole):
    return sl.nn.elu(p * whole - row)


EPILOGUES = [bias_and_activation, arithmetic, gradient]
# One row, tiles with rests, one column, loops of every kind, several blocks of columns and of depth, nothing.
SIZES = [(1, 7, 5), (3, 16, 8), (5, 1, 9), (40, 33, 17), (64, 128, 256), (37, 700, 900), (130, 600, 40), (0, 4, 3), (3, 0, 4), (3, 4, 0)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("epilogue", EPILOGUES, ids=lambda e: e.__name__)
def test_same_bits(epilogue, dtype):
    for seed, (m, n, k) in enumerate(SIZES):
        rng = np.random.default_rng(seed)
        ta, tb, known = rng.integers(2, size=3).astype(bool)
        known |= epilogue is gradient
        with sl.Graph().as_default():
            x = sl.placeholder(dtype, ((k, m) if ta else (m, k)) if known else (None, m if ta else k))
            w = sl.placeholder(dtype, (n, k) if tb else (k, n))
            row, one, whole = sl.placeholder(dtype, [n]), sl.placeholder(dtype, []), sl.placeholder(dtype, [m, n])
            feeds = {x: rng.normal(size=(k, m) if ta else (m, k)), w: rng.normal(size=w.shape.as_list()), row: rng.normal(size=n), one: 0.75,
                     whole: rng.normal(size=(m, n))}
            feeds = {a: np.asarray(b, dtype) for a, b in feeds.items()}
            y = [epilogue(sl.matmul(x, w, transpose_a=ta, transpose_b=tb), row, one, whole)]
            plain = run(feeds, y, False, 1)[0]
            assert plain.shape == (m, n)
            for threads in (1, 2, 4):
                np.testing.assert_array_equal(run(feeds, y, True, threads)[0], plain, err_msg=f"{m} x {n} x {k}, {threads} threads")


@needs_fusion
def test_the_pass_makes_one_node():
    with sl.Graph().as_default():
        x, w, b = sl.placeholder("float32", [4, 3]), sl.placeholder("float32", [3, 2]), sl.placeholder("float32", [2])
        y = sl.nn.relu(sl.nn.bias_add(sl.matmul(x, w), b))
        name = y.op.name
        assert fused_nodes([y], {x: np.ones((4, 3), "f"), w: np.ones((3, 2), "f"), b: np.zeros(2, "f")}) == [f"{name}/_fused"]


def test_wrong_sizes_are_errors_that_name_the_line():
    with sl.Graph().as_default(), sl.Session() as session:
        x, w, b = sl.placeholder("float32", [None, None]), sl.placeholder("float32", [3, 2]), sl.placeholder("float32", [2])
        y = sl.nn.relu(sl.matmul(x, w) + b)
        np.testing.assert_array_equal(session.run(y, {x: np.ones((1, 3)), w: np.ones((3, 2)), b: [-4, 4]}), [[0, 7]])
        with pytest.raises(sl.errors.InvalidArgumentError, match=r"MatMul 'MatMul' \(epilogue_fusion_test.py:\d+\): inner sizes differ"):
            session.run(y, {x: np.ones((1, 4)), w: np.ones((3, 2)), b: [1, 1]})


@proves("_FusedMatMul")
@pytest.mark.parametrize("attrs, message", [
    (dict(program=["AddV2", "Relu"], operands=[0, 2, 3, -1]), None),
    (dict(program=["Relu", "AddV2"], operands=[0, -1, 2, 3]), None),
    (dict(program=["AddV2"], operands=[0, 1]), "reads value 1"),
    (dict(program=["Relu", "Relu"], operands=[0, -1, 0, -1]), "reads value 0"),
    (dict(program=["AddV2"], operands=[0, 9]), "operands"),
    (dict(program=["MatMul"], operands=[0, 2]), "MatMul"),
    (dict(program=["AddV2"], operands=[0, 2], bias=[1, 2, 3]), r"\[3\] beside a product of \[2,2\]"),
])
def test_hand_made_programs(attrs, message):
    node = sl.NodeDef(name="f", op="_FusedMatMul", input=["x", "x", "b"])
    node.attr["Tin"].list.type.extend([1, 1, 1])
    node.attr["T"].type = 1
    for op in attrs["program"]:
        node.attr["program"].list.func.add(name=op).attr["T"].type = 1
    node.attr["operands"].list.i.extend(attrs["operands"])
    node.attr["types"].list.type.extend([1] * len(attrs["program"]))
    graph_def = sl.GraphDef()
    for name in "xb":
        graph_def.node.add(name=name, op="Placeholder").attr["dtype"].type = 1
    graph_def.node.append(node)
    x, bias = np.float32([[1, -2], [3, 4]]), np.float32(attrs.get("bias", [1, 2]))
    with sl.Graph().as_default():
        sl.import_graph_def(graph_def, name="")
        with sl.Session() as session:
            if message is None:
                z = x @ x
                wanted = np.maximum(z + bias, 0) if attrs["program"][0] == "AddV2" else np.maximum(z, 0) + bias
                np.testing.assert_allclose(session.run("f:0", {"x:0": x, "b:0": bias}), wanted)
            else:
                with pytest.raises((ValueError, sl.errors.OpError), match=message):
                    session.run("f:0", {"x:0": x, "b:0": bias})
