"""Streaming metrics: two batches through the update op give the metric of all of the data."""
import numpy as np
import pytest

import sluice as sl

random = np.random.RandomState(0)
SCORES = random.uniform(size=[2, 50]).astype(np.float32)
TRUTH = random.uniform(size=[2, 50]) < SCORES
GUESS = SCORES > 0.5
CLASSES = random.randint(0, 4, [2, 50])
FOUND = np.where(random.uniform(size=[2, 50]) < 0.7, CLASSES, random.randint(0, 4, [2, 50]))
WEIGHTS = random.uniform(size=[2, 50]).astype(np.float32)


def area_under_roc():
    """The share of (positive, negative) pairs in the right order."""
    positive, negative = SCORES[TRUTH], SCORES[~TRUTH]
    return (positive[:, None] > negative[None]).mean()


TABLE = [
    ("accuracy", (CLASSES, FOUND), None, (CLASSES == FOUND).mean(), 1e-6),
    ("accuracy", (CLASSES, FOUND), WEIGHTS, np.average(CLASSES == FOUND, weights=WEIGHTS), 1e-6),
    ("mean", (SCORES,), None, SCORES.mean(), 1e-6),
    ("mean", (SCORES,), WEIGHTS, np.average(SCORES, weights=WEIGHTS), 1e-6),
    ("precision", (TRUTH, GUESS), None, (TRUTH & GUESS).sum() / GUESS.sum(), 1e-6),
    ("recall", (TRUTH, GUESS), None, (TRUTH & GUESS).sum() / TRUTH.sum(), 1e-6),
    ("true_positives", (TRUTH, GUESS), None, (TRUTH & GUESS).sum(), 0),
    ("false_positives", (TRUTH, GUESS), None, (~TRUTH & GUESS).sum(), 0),
    ("false_negatives", (TRUTH, GUESS), None, (TRUTH & ~GUESS).sum(), 0),
    ("true_negatives", (TRUTH, GUESS), None, (~TRUTH & ~GUESS).sum(), 0),
    ("mean_squared_error", (WEIGHTS, SCORES), None, ((WEIGHTS - SCORES) ** 2).mean(), 1e-6),
    ("root_mean_squared_error", (WEIGHTS, SCORES), None, np.sqrt(((WEIGHTS - SCORES) ** 2).mean()), 1e-6),
    ("mean_absolute_error", (WEIGHTS, SCORES), None, np.abs(WEIGHTS - SCORES).mean(), 1e-6),
    ("auc", (TRUTH, SCORES), None, area_under_roc(), 0.01),
]


def stream(metric, arrays, weights, **arguments):
    """(value after both batches, last result of the update op)."""
    with sl.Graph().as_default(), sl.Session() as session:
        feeds = [sl.placeholder(sl.as_dtype(a.dtype), [None]) for a in arrays]
        weight = None if weights is None else sl.placeholder(sl.float32, [None])
        value, update = metric(*feeds, weights=weight, **arguments)
        session.run(sl.local_variables_initializer())
        for batch in range(2):
            feed = {f: a[batch] for f, a in zip(feeds, arrays)}
            if weights is not None:
                feed[weight] = weights[batch]
            last = session.run(update, feed)
        return session.run(value), last


@pytest.mark.parametrize("name,arrays,weights,expected,tolerance", TABLE,
                         ids=["%s%s" % (t[0], "" if t[2] is None else "-weighted") for t in TABLE])
def test_batches_add_up_to_the_metric_of_all_data(name, arrays, weights, expected, tolerance):
    value, last = stream(getattr(sl.metrics, name), arrays, weights)
    np.testing.assert_allclose(value, expected, atol=tolerance + 1e-6, rtol=1e-5)
    np.testing.assert_allclose(last, value, rtol=1e-6)


def test_metrics_for_classes():
    value, _ = stream(sl.metrics.mean_per_class_accuracy, (CLASSES, FOUND), None, num_classes=4)
    expected = np.mean([(FOUND == CLASSES)[CLASSES == c].mean() for c in range(4)])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    value, matrix = stream(sl.metrics.mean_iou, (CLASSES, FOUND), None, num_classes=4)
    both = [((FOUND == c) & (CLASSES == c)).sum() / ((FOUND == c) | (CLASSES == c)).sum() for c in range(4)]
    np.testing.assert_allclose(value, np.mean(both), rtol=1e-5)
    assert matrix.sum() == 100


def test_a_metric_keeps_its_state_in_local_variables_and_named_nodes():
    with sl.Graph().as_default():
        value, update = sl.metrics.accuracy([1, 2], [1, 3], metrics_collections=["m"], updates_collections=["u"])
        assert [v.op.name for v in sl.local_variables()] == ["accuracy/total", "accuracy/count"]
        assert sl.global_variables() == []
        assert (value.op.name, update.op.name) == ("accuracy/value", "accuracy/update_op")
        assert sl.get_collection("m") == [value] and sl.get_collection("u") == [update]
        second, _ = sl.metrics.accuracy([1, 2], [1, 3])
        assert second.op.name == "accuracy_1/value"


def test_a_metric_without_data_is_zero():
    with sl.Graph().as_default(), sl.Session() as session:
        value, _ = sl.metrics.precision([True], [True])
        session.run(sl.local_variables_initializer())
        assert session.run(value) == 0
