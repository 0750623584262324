"""Losses: weights, reductions and collections, against NumPy."""
import numpy as np
import pytest

import sluice as sl

LABELS = np.random.RandomState(0).uniform(size=[6, 4]).astype(np.float32)
GUESS = np.random.RandomState(1).uniform(size=[6, 4]).astype(np.float32)
ROWS = np.array([[1], [0], [2], [1], [0], [1]], np.float32)
SQUARES = (LABELS - GUESS) ** 2
R = sl.losses.Reduction


@pytest.fixture(autouse=True)
def graph():
    with sl.Graph().as_default() as g:
        yield g


def value(tensor):
    with sl.Session() as session:
        return session.run(tensor)


@pytest.mark.parametrize("weights,reduction,expected", [
    (1.0, R.SUM_BY_NONZERO_WEIGHTS, SQUARES.mean()),
    (0.5, R.SUM_BY_NONZERO_WEIGHTS, SQUARES.mean() / 2),
    (0.0, R.SUM_BY_NONZERO_WEIGHTS, 0),
    (ROWS, R.SUM_BY_NONZERO_WEIGHTS, (SQUARES * ROWS).sum() / 16),
    (ROWS, R.SUM, (SQUARES * ROWS).sum()),
    (ROWS, R.MEAN, (SQUARES * ROWS).sum() / 20),
    (ROWS, R.SUM_OVER_BATCH_SIZE, (SQUARES * ROWS).sum() / 24),
    (ROWS, R.NONE, SQUARES * ROWS),
])
def test_a_loss_is_weighed_and_reduced(weights, reduction, expected):
    loss = sl.losses.mean_squared_error(LABELS, GUESS, weights, reduction=reduction)
    np.testing.assert_allclose(value(loss), expected, rtol=1e-5)
    assert sl.losses.get_losses() == [loss]


@pytest.mark.parametrize("build,expected", [
    (lambda: sl.losses.absolute_difference(LABELS, GUESS), np.abs(LABELS - GUESS).mean()),
    (lambda: sl.losses.huber_loss(LABELS * 5, GUESS, delta=1.0),
     np.where(np.abs(5 * LABELS - GUESS) < 1, (5 * LABELS - GUESS) ** 2 / 2, np.abs(5 * LABELS - GUESS) - 0.5).mean()),
    (lambda: sl.losses.hinge_loss(LABELS > 0.5, GUESS),
     np.maximum(0, 1 - (2.0 * (LABELS > 0.5) - 1) * GUESS).mean()),
    (lambda: sl.losses.log_loss(LABELS, GUESS),
     (-LABELS * np.log(GUESS + 1e-7) - (1 - LABELS) * np.log(1 - GUESS + 1e-7)).mean()),
    (lambda: sl.losses.cosine_distance(LABELS, GUESS, axis=1), (1 - (LABELS * GUESS).sum(1)).mean()),
    (lambda: sl.losses.sigmoid_cross_entropy(np.ones_like(GUESS), GUESS, label_smoothing=0.2),
     (GUESS - 0.9 * GUESS + np.log1p(np.exp(-GUESS))).mean()),
    (lambda: sl.losses.sparse_softmax_cross_entropy(np.zeros([6, 1], np.int64), GUESS),
     (np.log(np.exp(GUESS).sum(1)) - GUESS[:, 0]).mean()),
    (lambda: sl.losses.softmax_cross_entropy(np.eye(4, dtype=np.float32)[[0] * 6], GUESS, weights=ROWS[:, 0]),
     ((np.log(np.exp(GUESS).sum(1)) - GUESS[:, 0]) * ROWS[:, 0]).sum() / 4),
])
def test_a_loss_computes_its_formula(build, expected):
    np.testing.assert_allclose(value(build()), expected, rtol=1e-5)


def test_the_total_loss_adds_losses_and_regularisation():
    sl.losses.mean_squared_error(LABELS, GUESS)
    sl.losses.add_loss(sl.constant(2.0))
    sl.add_to_collection(sl.GraphKeys.REGULARIZATION_LOSSES, sl.constant(3.0))
    np.testing.assert_allclose(value(sl.losses.get_total_loss()), SQUARES.mean() + 5, rtol=1e-5)
    np.testing.assert_allclose(value(sl.losses.get_total_loss(add_regularization_losses=False)), SQUARES.mean() + 2,
                               rtol=1e-5)


def test_the_result_of_a_loss_has_its_expected_name():
    assert sl.losses.mean_squared_error(LABELS, GUESS).op.name == "mean_squared_error/value"
    assert sl.losses.sparse_softmax_cross_entropy([0] * 6, GUESS).op.name == "sparse_softmax_cross_entropy_loss/value"


@pytest.mark.parametrize("build,words", [
    (lambda: sl.losses.mean_squared_error(LABELS, GUESS, weights=ROWS[:3]), "broadcast"),
    (lambda: sl.losses.mean_squared_error(LABELS, GUESS, weights=ROWS[:, 0]), "broadcast|rank"),
    (lambda: sl.losses.mean_squared_error(LABELS[:3], GUESS), "incompatible"),
    (lambda: sl.losses.mean_squared_error(None, GUESS), "None"),
    (lambda: sl.losses.mean_squared_error(LABELS, GUESS, reduction="most"), "Reduction"),
])
def test_what_does_not_fit_is_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()
