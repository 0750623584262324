"""Training gives the same bits with and without the update_fusion pass."""

import numpy as np
import pytest
import sluice as sl
from fusion_test import config, needs_fusion
from harness import proves

OPTIMIZERS = {
    "sgd": lambda: sl.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: sl.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: sl.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "adagrad": lambda: sl.train.AdagradOptimizer(0.1),
    "adadelta": lambda: sl.train.AdadeltaOptimizer(0.5),
    "rmsprop": lambda: sl.train.RMSPropOptimizer(0.01, momentum=0.5),
    "centered": lambda: sl.train.RMSPropOptimizer(0.01, centered=True),
    "adam": lambda: sl.train.AdamOptimizer(0.01),
    "ftrl": lambda: sl.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
    "decayed": lambda: sl.train.MomentumOptimizer(sl.train.exponential_decay(0.1, sl.train.get_or_create_global_step(), 2, 0.5), 0.9),
}


def network(optimizer, dtype="float32", use_resource=False):
    """A training step of three layers, and all variables."""
    rng = np.random.default_rng(7)
    h = sl.constant(rng.normal(size=(8, 40)), dtype)
    with sl.variable_scope("net", use_resource=use_resource):
        for i, units in enumerate([50, 11, 1]):
            w = sl.get_variable(f"w{i}", initializer=rng.normal(0, 0.1, (int(h.shape[1]), units)).astype(dtype))
            b = sl.get_variable(f"b{i}", initializer=np.zeros(units, dtype))
            h = sl.tanh(sl.matmul(h, w) + b)
    step = sl.train.get_or_create_global_step()
    return OPTIMIZERS[optimizer]().minimize(sl.reduce_mean(sl.square(h - 0.5)), global_step=step), sl.global_variables()


def trained(optimizer, fusion, threads, **kwargs):
    with sl.Graph().as_default():
        train, variables = network(optimizer, **kwargs)
        with sl.Session(config=config(fusion, threads)) as session:
            session.run(sl.global_variables_initializer())
            start = session.run(variables)
            for _ in range(4):
                session.run(train)
            return start, session.run(variables)


@pytest.mark.parametrize("use_resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits(optimizer, use_resource):
    start, plain = trained(optimizer, False, 1, use_resource=use_resource)
    assert all(np.any(a != b) for a, b in zip(start, plain) if a.size > 1)
    for threads in (1, 2, 4):
        for a, b in zip(trained(optimizer, True, threads, use_resource=use_resource)[1], plain):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_same_bits_of_other_types(dtype):
    plain = trained("momentum", False, 1, dtype=dtype)[1]
    for a, b in zip(trained("momentum", True, 2, dtype=dtype)[1], plain):
        np.testing.assert_array_equal(a, b)


def nodes_that_ran(train):
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        metadata = sl.RunMetadata()
        session.run(train, options=sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), run_metadata=metadata)
        return [n.node_name for d in metadata.step_stats.dev_stats for n in d.node_stats]


@needs_fusion
@pytest.mark.parametrize("use_resource", [False, True], ids=["reference", "resource"])
def test_the_pass_makes_one_node(use_resource):
    with sl.Graph().as_default():
        train, _ = network("adam", use_resource=use_resource)
        updates = [n for n in nodes_that_ran(train) if "Apply" in n]
        assert len(updates) == 1 and updates[0].endswith("/_fused"), updates


def test_errors_name_the_update_and_change_nothing():
    with sl.Graph().as_default():
        a, b = sl.get_variable("a", initializer=[1.0, 2.0]), sl.get_variable("b", shape=[2])
        train = sl.train.GradientDescentOptimizer(1.0).apply_gradients([(sl.constant([1.0, 1.0]), a), (sl.constant([1.0, 1.0]), b)])
        with sl.Session() as session:
            session.run(a.initializer)
            with pytest.raises(sl.errors.FailedPreconditionError, match=r"b.*update_fusion_test.py:\d+"):
                session.run(train)
            session.run(b.initializer)
            before = session.run([a, b])
            session.run(train)
            for old, new in zip(before, session.run([a, b])):
                np.testing.assert_array_equal(new, old - 1)


def test_another_update_of_the_same_variables_in_the_step():
    with sl.Graph().as_default():
        a, b = sl.get_variable("a", initializer=[1.0, 2.0]), sl.get_variable("b", initializer=[3.0])
        optimizer = sl.train.GradientDescentOptimizer(0.5)
        first = optimizer.apply_gradients([(sl.constant([1.0, 1.0]), a), (sl.constant([1.0]), b)])
        with sl.control_dependencies([first]):
            second = optimizer.apply_gradients([(sl.constant([2.0, 4.0]), a), (sl.constant([8.0]), b)])
        with sl.Session() as session:
            session.run(sl.global_variables_initializer())
            session.run(second)
            np.testing.assert_array_equal(session.run(a), [-0.5, -0.5])
            np.testing.assert_array_equal(session.run(b), [-1.5])


@proves("_FusedUpdates")
@pytest.mark.parametrize("attrs, inputs, message", [
    (dict(), ["v", "g", "w", "g", "r"], None),
    (dict(count=3), ["v", "g", "w", "g", "r"], "count is 3"),
    (dict(op="Assign"), ["v", "g", "w", "g", "r"], "'Assign' is no update"),
    (dict(op="ResourceApplyAdam"), ["v", "g", "w", "g", "r"], "found 5 inputs"),
    (dict(), ["v", "g", "v", "r"], "found 4 inputs"),
    (dict(), ["v", "g", "g", "g", "r"], "input 2 is float"),
    (dict(), ["v", "g", "w", "g", "g"], r"alpha is \[2\]"),
    (dict(), ["v", "g", "w", "r", "r"], r"second: the gradient is \[\]"),
])
def test_hand_made_nodes(attrs, inputs, message):
    graph_def = sl.GraphDef()
    for name in "vw":
        node = graph_def.node.add(name=name, op="VarHandleOp")
        node.attr["dtype"].type = 1
        node.attr["shape"].shape.dim.add(size=2)
        node.attr["shared_name"].s = name.encode()
    for name in "gr":
        graph_def.node.add(name=name, op="Placeholder").attr["dtype"].type = 1
    for name in "vw":
        node = graph_def.node.add(name="set_" + name, op="AssignVariableOp", input=[name, "g"])
        node.attr["dtype"].type = 1
        node = graph_def.node.add(name="get_" + name, op="ReadVariableOp", input=[name])
        node.attr["dtype"].type = 1
    node = graph_def.node.add(name="f", op="_FusedUpdates", input=inputs)
    node.attr["Tin"].list.type.extend([20 if i in "vw" else 1 for i in inputs])
    node.attr["T"].type = 1
    node.attr["op"].s = attrs.get("op", "ResourceApplyGradientDescent").encode()
    node.attr["count"].i = attrs.get("count", 2)
    node.attr["states"].list.s.append(b"var")
    node.attr["sources"].list.s.extend([b"first", b"second"])
    g = np.float32([1, 2])
    with sl.Graph().as_default(), sl.Session() as session:
        if message is None:
            sl.import_graph_def(graph_def, name="")
            session.run(["set_v", "set_w"], {"g:0": g})
            session.run("f", {"g:0": 2 * g, "r:0": np.float32(0.25)})
            for name in ("get_v:0", "get_w:0"):
                np.testing.assert_array_equal(session.run(name), 0.5 * g)
        else:
            with pytest.raises((ValueError, sl.errors.OpError), match=message):
                sl.import_graph_def(graph_def, name="")
                session.run(["set_v", "set_w"], {"g:0": g})
                session.run("f", {"g:0": g, "r:0": np.float32(0.25)})
