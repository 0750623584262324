"""The nn functions against NumPy, and the node names that programs and checkpoints rely on."""
import numpy as np
import pytest

import sluice as sl


def run(build, feeds=()):
    """The value of what `build` returns, in a graph of its own."""
    with sl.Graph().as_default(), sl.Session() as session:
        return session.run(build(), dict(feeds))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


X = np.random.RandomState(0).normal(size=[4, 5]).astype(np.float32)
Y = softmax(np.random.RandomState(1).normal(size=[4, 5])).astype(np.float32)
LABELS = np.array([0, 4, 2, 2], np.int32)


@pytest.mark.parametrize("function,expected", [
    (lambda: sl.nn.relu(X), np.maximum(X, 0)),
    (lambda: sl.nn.relu6(X * 8), np.clip(X * 8, 0, 6)),
    (lambda: sl.nn.elu(X), np.where(X > 0, X, np.expm1(X))),
    (lambda: sl.nn.leaky_relu(X, 0.3), np.where(X > 0, X, 0.3 * X)),
    (lambda: sl.nn.crelu(X), np.maximum(np.concatenate([X, -X], -1), 0)),
    (lambda: sl.nn.softplus(X), np.log1p(np.exp(X))),
    (lambda: sl.nn.softsign(X), X / (1 + np.abs(X))),
    (lambda: sl.nn.swish(X), X / (1 + np.exp(-X))),
    (lambda: sl.nn.softmax(X), softmax(X)),
    (lambda: sl.nn.softmax(X, axis=0), softmax(X, 0)),
    (lambda: sl.nn.log_softmax(X), np.log(softmax(X))),
    (lambda: sl.nn.l2_loss(X), (X ** 2).sum() / 2),
    (lambda: sl.nn.bias_add(X, np.arange(5, dtype=np.float32)), X + np.arange(5)),
    (lambda: sl.nn.xw_plus_b(X, X.T, np.ones(4, np.float32)), X @ X.T + 1),
    (lambda: sl.nn.zero_fraction(np.array([0., 1, 0, 2])), 0.5),
    (lambda: sl.nn.l2_normalize(X, 1), X / np.sqrt((X ** 2).sum(1, keepdims=True))),
    (lambda: sl.nn.moments(X, [0])[1], X.var(0)),
    (lambda: sl.nn.moments(X, [0], keep_dims=True)[0], X.mean(0, keepdims=True)),
    (lambda: sl.nn.batch_normalization(X, X.mean(0), X.var(0), 0.5, 2.0, 1e-3),
     (X - X.mean(0)) / np.sqrt(X.var(0) + 1e-3) * 2 + 0.5),
    (lambda: sl.nn.softmax_cross_entropy_with_logits_v2(labels=Y, logits=X), -(Y * np.log(softmax(X))).sum(-1)),
    (lambda: sl.nn.softmax_cross_entropy_with_logits(labels=Y, logits=X, dim=0),
     -(Y * np.log(softmax(X, 0))).sum(0)),
    (lambda: sl.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=X),
     -np.log(softmax(X))[np.arange(4), LABELS]),
    (lambda: sl.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS.reshape(2, 2), logits=X.reshape(2, 2, 5)),
     -np.log(softmax(X))[np.arange(4), LABELS].reshape(2, 2)),
    (lambda: sl.nn.sigmoid_cross_entropy_with_logits(labels=Y, logits=X),
     np.maximum(X, 0) - X * Y + np.log1p(np.exp(-np.abs(X)))),
    (lambda: sl.nn.weighted_cross_entropy_with_logits(labels=Y, logits=X, pos_weight=3.0),
     (1 - Y) * X + (1 + 2 * Y) * np.log1p(np.exp(-X))),
    (lambda: sl.nn.in_top_k(X, LABELS, 2), [LABELS[i] in np.argsort(-X[i])[:2] for i in range(4)]),
    (lambda: sl.nn.top_k(X, 2)[0], -np.sort(-X, 1)[:, :2]),
    (lambda: sl.clip_by_value(X, -0.5, 0.5), np.clip(X, -0.5, 0.5)),
    (lambda: sl.clip_by_norm(X, 1.0), X / np.sqrt((X ** 2).sum())),
    (lambda: sl.clip_by_global_norm([X, None, X], 0.5)[0][2], X * 0.5 / np.sqrt(2 * (X ** 2).sum())),
    (lambda: sl.global_norm([X, X]), np.sqrt(2 * (X ** 2).sum())),
])
def test_a_function_computes_what_numpy_does(function, expected):
    np.testing.assert_allclose(run(function), expected, rtol=2e-5, atol=2e-6)


def convolve(image, kernel):
    """A 'VALID' convolution of [h, w, in] with [kh, kw, in, out], by its definition."""
    kh, kw = kernel.shape[:2]
    h, w = image.shape[0] - kh + 1, image.shape[1] - kw + 1
    return np.array([[np.tensordot(image[i:i + kh, j:j + kw], kernel, 3) for j in range(w)] for i in range(h)])


IMAGE = np.random.RandomState(2).normal(size=[1, 6, 7, 3]).astype(np.float32)
KERNEL = np.random.RandomState(3).normal(size=[3, 2, 3, 4]).astype(np.float32)


def test_convolution_matches_its_definition_in_one_and_two_dimensions():
    expected = convolve(IMAGE[0], KERNEL)[np.newaxis]
    for function in (lambda: sl.nn.conv2d(IMAGE, KERNEL, [1, 1, 1, 1], "VALID"),
                     lambda: sl.nn.conv2d(IMAGE, KERNEL, 1, "VALID"),
                     lambda: sl.nn.convolution(IMAGE, KERNEL, "VALID")):
        np.testing.assert_allclose(run(function), expected, rtol=1e-4, atol=1e-5)
    line = run(lambda: sl.nn.conv1d(IMAGE[:, 0], KERNEL[0], 1, "VALID"))
    np.testing.assert_allclose(line[0], convolve(IMAGE[0, :1], KERNEL[:1])[0], rtol=1e-4, atol=1e-5)


def test_transposed_convolution_is_the_gradient_of_convolution():
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.constant(IMAGE)
        y = sl.nn.conv2d(x, KERNEL, [1, 2, 2, 1], "SAME")
        dy = sl.constant(np.random.RandomState(4).normal(size=y.shape.as_list()).astype(np.float32))
        gradient = sl.gradients(y, x, grad_ys=dy)[0]
        transposed = sl.nn.conv2d_transpose(dy, KERNEL, IMAGE.shape, [1, 2, 2, 1])
        a, b = session.run([gradient, transposed])
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_pooling_takes_the_largest_or_the_mean_of_each_window():
    windows = IMAGE[:, :6, :6].reshape(1, 3, 2, 3, 2, 3)
    np.testing.assert_allclose(run(lambda: sl.nn.max_pool(IMAGE, 2, 2, "VALID")), windows.max((2, 4)), rtol=1e-6)
    np.testing.assert_allclose(run(lambda: sl.nn.avg_pool(IMAGE, [1, 2, 2, 1], [1, 2, 2, 1], "VALID")),
                               windows.mean((2, 4)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(lambda: sl.nn.max_pool1d(IMAGE[:, 0], 2, 2, "VALID")),
                               IMAGE[:, 0, :6].reshape(1, 3, 2, 3).max(2), rtol=1e-6)


def test_dropout_keeps_the_mean_and_zeroes_the_share_that_was_asked_for():
    ones = np.ones([200, 200], np.float32)
    for arguments in ({"rate": 0.3}, {"keep_prob": 0.7}):
        out = run(lambda: sl.nn.dropout(ones, seed=3, **arguments))
        assert abs((out == 0).mean() - 0.3) < 0.02
        assert abs(out.mean() - 1) < 0.03
        np.testing.assert_allclose(np.unique(out), [0, 1 / 0.7], rtol=1e-6)
    columns = run(lambda: sl.nn.dropout(ones, rate=0.5, noise_shape=[1, 200], seed=3))
    assert (columns == columns[0]).all() and 60 < (columns[0] == 0).sum() < 140


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_embedding_lookup_finds_every_row_of_a_partitioned_table(strategy):
    table = np.arange(22, dtype=np.float32).reshape(11, 2)
    if strategy == "mod":
        shards = [table[i::3] for i in range(3)]
    else:
        shards = [table[0:4], table[4:8], table[8:11]]
    ids = np.array([[0, 10, 3], [7, 8, 4]])
    np.testing.assert_array_equal(run(lambda: sl.nn.embedding_lookup(shards, ids, strategy)), table[ids])
    clipped = run(lambda: sl.nn.embedding_lookup(table, ids, max_norm=1.0))
    assert np.sqrt((clipped ** 2).sum(-1)).max() < 1.00001


@pytest.mark.parametrize("build,name", [
    (lambda: sl.nn.relu(X), "Relu"),
    (lambda: sl.nn.bias_add(X, np.ones(5, np.float32)), "BiasAdd"),
    (lambda: sl.nn.conv2d(IMAGE, KERNEL, [1, 1, 1, 1], "SAME"), "Conv2D"),
    (lambda: sl.nn.conv1d(IMAGE[:, 0], KERNEL[0], 1, "SAME"), "conv1d/Squeeze"),
    (lambda: sl.nn.max_pool(IMAGE, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"), "MaxPool"),
    (lambda: sl.nn.dropout(X, 0.5), "dropout/SelectV2"),
    (lambda: sl.nn.moments(X, [0])[0], "moments/Squeeze"),
    (lambda: sl.nn.batch_normalization(X, X[0], sl.constant(X[1]), X[2], X[3], 1e-3), "batchnorm/add_1"),
    (lambda: sl.nn.l2_normalize(X, 1), "l2_normalize"),
    (lambda: sl.nn.embedding_lookup(X, [1, 2]), "embedding_lookup/Identity"),
    (lambda: sl.nn.top_k(X)[0], "TopKV2"),
    (lambda: sl.nn.softmax_cross_entropy_with_logits_v2(labels=Y, logits=X), "softmax_cross_entropy_with_logits"),
    (lambda: sl.nn.sparse_softmax_cross_entropy_with_logits(labels=LABELS, logits=X),
     "SparseSoftmaxCrossEntropyWithLogits/SparseSoftmaxCrossEntropyWithLogits"),
    (lambda: sl.nn.sigmoid_cross_entropy_with_logits(labels=Y, logits=X), "logistic_loss"),
    (lambda: sl.nn.xw_plus_b(X, X.T, np.ones(4, np.float32)), "xw_plus_b"),
    (lambda: sl.clip_by_value(X, 0., 1.), "clip_by_value"),
    (lambda: sl.global_norm([X]), "global_norm/global_norm"),
])
def test_a_node_has_its_expected_name(build, name):
    with sl.Graph().as_default():
        assert build().op.name == name


@pytest.mark.parametrize("build,words", [
    (lambda: sl.nn.dropout(X), "rate"),
    (lambda: sl.nn.dropout(X, rate=1.5), r"\[0, 1\)"),
    (lambda: sl.nn.dropout(X, keep_prob=0.5, rate=0.5), "both"),
    (lambda: sl.nn.sparse_softmax_cross_entropy_with_logits(labels=X, logits=X), "Rank mismatch"),
    (lambda: sl.nn.sigmoid_cross_entropy_with_logits(labels=X[:2], logits=X), "same shape"),
    (lambda: sl.nn.softmax_cross_entropy_with_logits(X, Y), "named arguments"),
    (lambda: sl.nn.embedding_lookup([], [1]), "at least one"),
    (lambda: sl.nn.embedding_lookup([X, X], [1], "other"), "partition strategy"),
    (lambda: sl.nn.bias_add(X, X[0], data_format="XYZ"), "data_format"),
    (lambda: sl.nn.conv2d(IMAGE, KERNEL, [1, 2, 3], "SAME"), "strides"),
])
def test_a_wrong_argument_is_named_in_the_error(build, words):
    with sl.Graph().as_default(), pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize("combiner,scale", [("sum", [1, 1]), ("mean", [3, 4]), ("sqrtn", [5 ** 0.5, 4])])
def test_embeddings_of_sparse_rows_are_combined(combiner, scale):
    table = np.arange(22, dtype=np.float32).reshape(11, 2)
    where, ids, weights = [[0, 0], [0, 1], [1, 0]], [3, 5, 10], np.array([1, 2, 4], np.float32)
    expected = np.array([table[3] + 2 * table[5], 4 * table[10]]) / np.array(scale)[:, None]
    got = run(lambda: sl.nn.embedding_lookup_sparse(
        sl.constant(table), sl.SparseTensor(where, sl.constant(ids), [2, 2]),
        sl.SparseTensor(where, sl.constant(weights), [2, 2]), combiner=combiner))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_a_sample_of_all_classes_gives_the_whole_softmax():
    random = np.random.RandomState(0)
    weights, biases = random.normal(size=[7, 4]).astype(np.float32), random.normal(size=7).astype(np.float32)
    inputs, labels = random.normal(size=[3, 4]).astype(np.float32), np.array([[1], [6], [0]])
    everything = (np.arange(7), np.ones([3, 1], np.float32), np.ones([7], np.float32))
    logits = inputs @ weights.T + biases
    expected = -np.log(softmax(logits))[np.arange(3), labels[:, 0]]
    for table in (sl.constant, lambda w: [w[0::2], w[1::2]]):
        got = run(lambda: sl.nn.sampled_softmax_loss(
            table(weights), table(biases), labels, sl.constant(inputs), 7, 7,
            sampled_values=[sl.constant(v) for v in everything]))
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_sampled_losses_draw_their_own_candidates():
    with sl.Graph().as_default(), sl.Session() as session:
        weights = sl.get_variable("w", [50, 8])
        biases = sl.get_variable("b", [50], initializer=sl.zeros_initializer())
        arguments = (weights, biases, np.array([[3], [7]]), sl.ones([2, 8]), 10, 50)
        losses = [sl.nn.nce_loss(*arguments), sl.nn.sampled_softmax_loss(*arguments)]
        gradients = sl.gradients(losses, weights)
        session.run(sl.global_variables_initializer())
        for loss in session.run(losses):
            assert loss.shape == (2,) and np.isfinite(loss).all() and (loss > 0).all()
        rows = session.run(gradients[0].indices)
        assert {3, 7} <= set(rows.tolist()) and len(rows) > 10
