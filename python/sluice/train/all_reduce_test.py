"""AllReduceOptimizer with a rank on each device of one session. Over processes: tests/distributed/all_reduce_test.py."""
import numpy as np
import pytest

import sluice as sl

RANKS, ROWS, STEPS = 3, 8, 6
CONFIG = sl.ConfigProto(device_count={"CPU": RANKS})
OPTIONS = sl.RunOptions(timeout_in_ms=60000)


def data(rank, step):
    return np.random.default_rng([rank, step]).normal(size=(ROWS, 12)).astype(np.float32)


def model(x):
    def layer(x, units, seed, activation=None):
        start = sl.random_uniform_initializer(-0.4, 0.4, seed=seed)
        return sl.layers.dense(x, units, activation, name="layer%d" % seed, kernel_initializer=start)

    hidden = layer(layer(x, 16, 1, sl.nn.tanh), 16, 2, sl.nn.tanh)
    return sl.reduce_mean(sl.square(layer(hidden, 4, 3) - 1.0))


def train(optimizer, **options):
    """(the variables of each rank, the graph) after STEPS steps."""
    with sl.Graph().as_default() as graph:
        inputs, ops, variables = [], [], []
        for r in range(RANKS):
            with sl.device("/cpu:%d" % r), sl.variable_scope("rank%d" % r):
                x = sl.placeholder(sl.float32, [ROWS, 12])
                wrapped = sl.train.AllReduceOptimizer(optimizer(), RANKS, r, **options)
                mine = lambda: [v for v in sl.trainable_variables() if v.name.startswith("rank%d/" % r)]
                loss = model(x)
                inputs.append(x)
                ops.append(wrapped.minimize(loss, var_list=mine()))
                variables.append(mine())
        with sl.Session(config=CONFIG) as session:
            session.run(sl.global_variables_initializer())
            for step in range(STEPS):
                session.run(ops, {x: data(r, step) for r, x in enumerate(inputs)}, options=OPTIONS)
            return session.run(variables), graph


def alone(optimizer):
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.placeholder(sl.float32, [RANKS * ROWS, 12])
        op = optimizer().minimize(model(x))
        session.run(sl.global_variables_initializer())
        for step in range(STEPS):
            session.run(op, {x: np.concatenate([data(r, step) for r in range(RANKS)])})
        return session.run(sl.trainable_variables())


@pytest.mark.parametrize("optimizer", [lambda: sl.train.MomentumOptimizer(0.1, 0.9), lambda: sl.train.AdamOptimizer(0.01)],
                         ids=["momentum", "adam"])
@pytest.mark.parametrize("bucket_bytes", [0, 600, 2 << 20])
def test_ranks_have_the_same_bits_in_every_run_and_the_weights_of_one_process(optimizer, bucket_bytes):
    first, _ = train(optimizer, bucket_bytes=bucket_bytes)
    second, _ = train(optimizer, bucket_bytes=bucket_bytes)
    for a, b in zip(first, second):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)
    for other in first[1:]:
        for x, y in zip(other, first[0]):
            np.testing.assert_array_equal(x, y)
    for x, y in zip(first[0], alone(optimizer)):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def ancestors(op, seen=None):
    seen = set() if seen is None else seen
    for before in [t.op for t in op.inputs] + list(op.control_inputs):
        if before not in seen:
            seen.add(before)
            ancestors(before, seen)
    return seen


def test_a_bucket_waits_for_its_own_gradients_alone():
    """What overlaps: the layers' gradients are made from the last to the first, and each bucket needs a part of them."""
    _, graph = train(lambda: sl.train.GradientDescentOptimizer(0.1), bucket_bytes=1100)
    reduces = [op for op in graph.get_operations() if op.type == "CollectiveReduce" and op.name.startswith("rank0/")]
    layers = [{layer for layer in ("layer1", "layer2", "layer3") for op in ancestors(r)
               if "gradients" in op.name and layer in op.name and op.type == "MatMul" and "MatMul_1" in op.name}
              for r in reduces]
    assert layers == [{"layer2", "layer3"}, {"layer1"}], layers
    assert not any("layer1" in op.name and "grad" in op.name for op in ancestors(reduces[0])), "it waits for more"


def test_sparse_gradients_are_gathered_or_made_dense():
    results = []
    for as_dense in (False, True):
        with sl.Graph().as_default():
            tables, ops = [], []
            for r in range(RANKS):
                with sl.device("/cpu:%d" % r):
                    table = sl.Variable(np.ones((6, 2), np.float32), use_resource=True)
                    picked = sl.gather(table, [r, 2, 4])
                    opt = sl.train.AllReduceOptimizer(sl.train.GradientDescentOptimizer(1.0), RANKS, r,
                                                      sparse_as_dense=as_dense)
                    ops.append(opt.minimize(sl.reduce_sum(picked * float(r + 1)), var_list=[table]))
                    tables.append(table)
            with sl.Session(config=CONFIG) as session:
                session.run(sl.global_variables_initializer())
                session.run(ops, options=OPTIONS)
                results.append(session.run(tables))
    wanted = np.ones((6, 2), np.float32)
    for r in range(RANKS):
        for row in (r, 2, 4):
            wanted[row] -= (r + 1) / RANKS
    for tables in results:
        for t in tables:
            np.testing.assert_allclose(t, wanted, rtol=1e-6)


def test_sparse_gradients_of_unknown_size_are_refused_with_the_cure():
    with sl.Graph().as_default():
        table = sl.Variable(np.ones((6, 2), np.float32), use_resource=True)
        loss = sl.reduce_sum(sl.gather(table, sl.placeholder(sl.int32, [None])))
        with pytest.raises(ValueError, match="sparse_as_dense=True"):
            sl.train.AllReduceOptimizer(sl.train.GradientDescentOptimizer(1.0), 2, 0).minimize(loss)


def test_variables_come_from_the_root():
    with sl.Graph().as_default():
        ops, variables = [], []
        for r in range(RANKS):
            with sl.device("/cpu:%d" % r):
                mine = [sl.Variable(np.full((r_size,), r, np.float32), name="v%d" % r_size) for r_size in (3, 5)]
                variables.append(mine)
                ops.append(sl.distribute.broadcast_variables(mine, RANKS, r, root=1))
        with sl.Session(config=CONFIG) as session:
            session.run(sl.global_variables_initializer())
            session.run(ops, options=OPTIONS)
            for values in session.run(variables):
                assert [list(v) for v in values] == [[1.0] * 3, [1.0] * 5]


def test_mistakes_are_told_when_the_graph_is_built():
    with pytest.raises(ValueError, match="rank must be one of 0 to ranks - 1"):
        sl.train.AllReduceOptimizer(sl.train.GradientDescentOptimizer(1.0), 2, 2)
    with sl.Graph().as_default():
        with pytest.raises(ValueError, match="merge_op must be one of"):
            sl.distribute.all_reduce(1.0, 2, merge_op="mean")
        with pytest.raises(ValueError, match="how many members"):
            sl.distribute.all_reduce(1.0)
        with pytest.raises(ValueError, match="known shape"):
            sl.distribute.all_gather(sl.placeholder(sl.float32, [None]), 2)
