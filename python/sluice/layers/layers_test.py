"""Layers: variables, names, collections, sharing, and what they compute."""
import numpy as np
import pytest

import sluice as sl

X = np.random.RandomState(0).normal(size=[4, 8, 8, 3]).astype(np.float32)


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        sl.set_random_seed(1)
        yield g


def names(values):
    return [v.name for v in values]


def test_layers_name_their_variables_and_nodes():
    x = sl.placeholder(sl.float32, [None, 8, 8, 3])
    h = sl.layers.conv2d(x, 4, 3, activation=sl.nn.relu)
    assert h.op.name == "conv2d/Relu"
    h = sl.layers.max_pooling2d(h, 2, 2)
    assert h.op.name == "max_pooling2d/MaxPool"
    h = sl.layers.flatten(h)
    assert h.op.name == "flatten/Reshape" and h.shape.as_list() == [None, 36]
    h = sl.layers.dense(h, 10)
    assert h.op.name == "dense/BiasAdd"
    h = sl.layers.dense(h, 10, use_bias=False)
    assert h.op.name == "dense_1/MatMul"
    sl.layers.dense(h, 2, name="out")
    assert names(sl.trainable_variables()) == [
        "conv2d/kernel:0", "conv2d/bias:0", "dense/kernel:0", "dense/bias:0", "dense_1/kernel:0", "out/kernel:0",
        "out/bias:0"]


def test_a_layer_object_shares_its_variables_between_calls():
    layer = sl.layers.Dense(3)
    a, b = layer(sl.ones([2, 5])), layer(sl.ones([4, 5]))
    assert len(sl.global_variables()) == 2 and len(layer.weights) == 2
    assert (a.op.name, b.op.name) == ("dense/BiasAdd", "dense/BiasAdd_1")
    assert layer.count_params() == 18 and layer.scope_name == "dense"


def test_functions_share_variables_by_name_and_reuse_alone():
    x = sl.ones([2, 5])
    sl.layers.dense(x, 3, name="fc")
    with pytest.raises(ValueError, match="fc/kernel"):
        sl.layers.dense(x, 3, name="fc")
    sl.layers.dense(x, 3, name="fc", reuse=True)
    sl.layers.dense(x, 3, name="other", reuse=sl.AUTO_REUSE)
    assert len(sl.global_variables()) == 4


def test_layers_compute_what_their_variables_say():
    conv = sl.layers.Conv2D(4, [3, 2], strides=2, padding="same", bias_initializer=sl.ones_initializer())
    dense = sl.layers.Dense(5, activation=sl.tanh)
    y = conv(X)
    same = sl.nn.conv2d(X, conv.kernel, [1, 2, 2, 1], "SAME") + conv.bias
    z = dense(X)
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        a, b = session.run([y, same])
        np.testing.assert_allclose(a, b, rtol=1e-6)
        got, kernel = session.run([z, dense.kernel])
        np.testing.assert_allclose(got, np.tanh(X @ kernel), rtol=1e-4, atol=1e-5)


def test_regularizers_and_partial_training_go_to_their_collections():
    sl.layers.dense(X[:, 0, 0], 3, kernel_regularizer=lambda w: 0.1 * sl.nn.l2_loss(w), trainable=False)
    losses = sl.losses.get_regularization_losses()
    assert len(losses) == 1 and losses[0].op.name.startswith("dense/kernel/Regularizer/")
    assert sl.trainable_variables() == [] and len(sl.global_variables()) == 2
    sl.layers.dense(X[:, 0, 0], 3, name="dense", reuse=True, kernel_regularizer=lambda w: 0.1 * sl.nn.l2_loss(w))
    assert len(sl.losses.get_regularization_losses()) == 1


@pytest.mark.parametrize("shape,axis", [([4, 8, 8, 3], -1), ([4, 8, 8, 3], 1), ([16, 3], -1)])
def test_batch_normalization_uses_the_batch_in_training_and_moving_averages_after(shape, axis):
    x = np.random.RandomState(0).normal(2, 3, size=shape).astype(np.float32)
    training = sl.placeholder_with_default(False, [])
    layer = sl.layers.BatchNormalization(axis=axis, momentum=0.5)
    y = layer(x, training=training)
    updates = sl.get_collection(sl.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    assert sorted(names(sl.trainable_variables())) == ["batch_normalization/beta:0", "batch_normalization/gamma:0"]
    axes = tuple(a for a in range(len(shape)) if a != axis % len(shape))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    with sl.Session() as session:
        session.run(sl.global_variables_initializer())
        got, _ = session.run([y, updates], {training: True})
        np.testing.assert_allclose(got, (x - mean) / np.sqrt(var + 1e-3), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(session.run(layer.moving_mean), 0.5 * mean.ravel(), rtol=1e-4, atol=1e-5)
        got, moving, variance = session.run([y, layer.moving_mean, layer.moving_variance])
        expected = (x - moving.reshape(mean.shape)) / np.sqrt(variance.reshape(mean.shape) + 1e-3)
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_dropout_acts_in_training_alone():
    x = np.ones([50, 50], np.float32)
    off, on = sl.layers.dropout(x, 0.5), sl.layers.dropout(x, 0.5, training=True)
    switch = sl.placeholder(sl.bool, [])
    either = sl.layers.dropout(x, 0.5, training=switch)
    with sl.Session() as session:
        assert (session.run(off) == 1).all()
        assert 0.4 < (session.run(on) == 0).mean() < 0.6
        assert (session.run(either, {switch: False}) == 1).all()
        assert (session.run(either, {switch: True}) == 0).any()


def test_the_gradient_of_dropout_has_the_noise_of_its_output():
    switch = sl.placeholder(sl.bool, [])
    x = sl.ones([50, 50])
    for y in (sl.layers.dropout(x, 0.5, training=True), sl.layers.dropout(x, 0.5, training=switch)):
        with sl.Session() as session:
            out, gradient = session.run([y, sl.gradients(y, x)[0]], {switch: True})
            np.testing.assert_array_equal(out, gradient)


@pytest.mark.parametrize("build,words", [
    (lambda: sl.layers.dense(sl.placeholder(sl.float32, [3, None]), 2), "last dimension"),
    (lambda: sl.layers.conv2d(X[0], 2, 3), "expected ndim=4, found ndim=3"),
    (lambda: sl.layers.conv2d(X, 2, [3, 3, 3]), "kernel_size"),
    (lambda: sl.layers.conv2d(X, 2, 3, padding="some"), "padding"),
    (lambda: sl.layers.conv2d(X, 2, 3, data_format="nhwc"), "data_format"),
    (lambda: sl.layers.conv2d(X, 2, 3, strides=2, dilation_rate=2), "strides > 1"),
    (lambda: sl.layers.batch_normalization(X, axis=7), "axis"),
])
def test_a_wrong_layer_is_refused_at_the_line_that_makes_it(build, words):
    with pytest.raises(ValueError, match=words):
        build()
