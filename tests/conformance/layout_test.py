"""Networks of images with channels first compute the same with and without the layout pass, which turns their regions round."""

import os

import numpy as np
import pytest
import sluice as sl


def session(layout):
    config = sl.ConfigProto(intra_op_parallelism_threads=2)
    config.graph_options.rewrite_options.layout_optimizer = 0 if layout else 2
    return sl.Session(config=config)


def variable(name, rng, *shape):
    return sl.get_variable(name, initializer=rng.normal(0, 0.3, shape).astype(np.float32))


def conv(x, w, **more):
    more = {"strides": [1, 1, 1, 1], "padding": "SAME", **more}
    return sl.nn.conv2d(x, w, data_format="NCHW", **more)


def small_network(x, rng):
    h = sl.nn.relu(sl.nn.bias_add(conv(x, variable("w1", rng, 3, 3, 3, 6)), variable("b1", rng, 6), data_format="NCHW"))
    h = sl.nn.max_pool(h, [1, 1, 2, 2], [1, 1, 2, 2], "VALID", data_format="NCHW")
    h = sl.nn.relu(conv(h, variable("w2", rng, 3, 3, 6, 8), strides=[1, 1, 2, 1]))
    h = sl.reshape(h, [-1, int(np.prod(h.shape.as_list()[1:]))])
    return sl.matmul(h, variable("w3", rng, h.shape.as_list()[1], 5))


def residual_network(x, rng):
    h = conv(x, variable("w1", rng, 3, 3, 3, 8))
    for i in range(2):
        scale, offset = variable("scale%d" % i, rng, 8), variable("offset%d" % i, rng, 8)
        normal = sl.nn.fused_batch_norm(h, scale, offset, data_format="NCHW", is_training=True)[0]
        h = h + conv(sl.nn.relu(normal), variable("wr%d" % i, rng, 3, 3, 8, 8))
    h = sl.pad(h, [[0, 0], [0, 0], [1, 2], [0, 1]])
    h = sl.concat([h, sl.nn.avg_pool(h, [1, 1, 3, 3], [1, 1, 1, 1], "SAME", data_format="NCHW")], axis=1)
    return sl.reduce_mean(h * variable("gain", rng, 1, 16, 1, 1) + variable("shift", rng, 16, 1, 1), axis=[2, 3])


def depthwise_network(x, rng):
    h = sl.nn.depthwise_conv2d(x, variable("w1", rng, 3, 3, 3, 2), [1, 1, 1, 1], "SAME", data_format="NCHW")
    h = sl.tanh(h) * sl.sigmoid(conv(x, variable("w2", rng, 1, 1, 3, 6)))
    return sl.reduce_max(h - sl.reduce_sum(h, axis=1, keepdims=True), axis=[1, 2]) + sl.reduce_sum(h[:, 0], axis=1)


NETWORKS = [small_network, residual_network, depthwise_network]
IMAGES = np.random.default_rng(1).normal(0, 1, (4, 3, 10, 12)).astype(np.float32)


def train(network, layout, static):
    """What three steps of training fetch: losses, what comes out, gradients, variables."""
    rng = np.random.default_rng(0)
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, IMAGES.shape if static else [None, 3, 10, 12])
        out = network(x, rng)
        loss = sl.reduce_mean(sl.square(out - 0.5))
        gradients = sl.gradients(loss, [x] + sl.trainable_variables())
        step = sl.train.GradientDescentOptimizer(0.05).minimize(loss)
        with session(layout) as s:
            s.run(sl.global_variables_initializer())
            fetched = []
            for _ in range(3):
                fetched += s.run([loss, out] + gradients, {x: IMAGES})
                s.run(step, {x: IMAGES})
            return fetched + s.run(sl.trainable_variables())


@pytest.mark.parametrize("static", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda n: n.__name__)
def test_training_is_the_same(network, static):
    for on, off in zip(train(network, True, static), train(network, False, static)):
        np.testing.assert_allclose(on, off, rtol=2e-4, atol=2e-5)


def test_convolution_pooling_and_element_wise_ops_keep_their_bits():
    rng = np.random.default_rng(0)
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [None, 3, 10, 12])
        h = sl.nn.relu(conv(x, variable("w", rng, 3, 3, 3, 6)) + 0.25)
        y = sl.nn.max_pool(h, [1, 1, 3, 2], [1, 1, 2, 2], "SAME", data_format="NCHW") * 2.0
        found = []
        for layout in (True, False):
            with session(layout) as s:
                s.run(sl.variables_initializer(sl.global_variables()))
                found.append(s.run([h, y], {x: IMAGES}))
        assert found[0][0].shape == (4, 6, 10, 12) and found[0][1].shape == (4, 6, 5, 6)
        for on, off in zip(*found):
            np.testing.assert_array_equal(on, off)


def test_what_is_fetched_or_fed_in_the_middle_has_channels_first():
    rng = np.random.default_rng(0)
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [4, 3, 10, 12])
        a = conv(x, variable("w1", rng, 3, 3, 3, 6))
        b = sl.nn.relu(a)
        c = conv(b, variable("w2", rng, 3, 3, 6, 2))
        fetches, feeds = [a, b, c, sl.shape(b)], {x: IMAGES}
        results = {}
        for layout in (True, False):
            with session(layout) as s:
                s.run(sl.global_variables_initializer())
                values = s.run(fetches, feeds)
                results[layout] = values + [s.run(c, {b: values[1] * 2}), s.run([c, a], {a: values[0]})[0]]
        assert results[True][3].tolist() == [4, 6, 10, 12]
        for on, off in zip(results[True], results[False]):
            np.testing.assert_array_equal(on, off)


def test_order_by_control_edges_is_kept():
    rng = np.random.default_rng(0)
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [4, 3, 10, 12])
        count = sl.get_variable("count", initializer=np.float32(0), use_resource=True)
        h = conv(x, variable("w", rng, 1, 1, 3, 3))
        with sl.control_dependencies([h]):
            one = count.assign_add(1.0)
        with sl.control_dependencies([one]):
            late = sl.nn.relu(h) * count.read_value()
        y = conv(late, sl.constant(np.ones((1, 1, 3, 1), np.float32)))
        with session(True) as s, session(False) as plain:
            for t in (s, plain):
                t.run(sl.global_variables_initializer())
            plain.run(sl.assign(sl.trainable_variables()[-1], s.run(sl.trainable_variables()[-1])))
            for _ in range(3):
                np.testing.assert_array_equal(s.run(y, {x: IMAGES}), plain.run(y, {x: IMAGES}))


def transposes(layout, fetches, feeds):
    options, metadata = sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), sl.RunMetadata()
    with session(layout) as s:
        s.run(sl.global_variables_initializer())
        s.run(fetches, feeds, options=options, run_metadata=metadata)
    names = [n.node_name for d in metadata.step_stats.dev_stats for n in d.node_stats]
    return [n for n in names if n.endswith("/channels_first") or (n.startswith("_arg") and n.endswith("/channels_last"))]


@pytest.mark.skipif("layout" in os.environ.get("SLUICE_DISABLE_PASSES", ""), reason="layout is switched off for this run")
def test_a_region_has_one_transpose_at_each_border():
    rng = np.random.default_rng(0)
    with sl.Graph().as_default():
        x = sl.placeholder(sl.float32, [None, 3, 10, 12])
        h = sl.nn.relu(sl.nn.bias_add(conv(x, variable("w1", rng, 3, 3, 3, 6)), variable("b1", rng, 6), data_format="NCHW"))
        y = sl.identity(conv(h, variable("w2", rng, 3, 3, 6, 8)))
        feeds = {x: IMAGES}
        assert transposes(True, y, feeds) == ["_arg_0/channels_last", "Conv2D_1/channels_first"]
        assert transposes(False, y, feeds) == []
