"""Metrics from counts of true and false positives and negatives."""
import sluice as sl
from sluice import _weights
from sluice.metrics._means import mean, metric_variable, publish


def accuracy(labels, predictions, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """The share of predictions that equal their labels."""
    labels, predictions, weights = _weights.squeeze_to_match(labels, predictions, weights)
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    if labels.dtype != predictions.dtype:
        predictions = sl.cast(predictions, labels.dtype)
    return mean(sl.cast(sl.equal(predictions, labels), sl.float32), weights, metrics_collections, updates_collections,
                name or "accuracy")


def _bools(labels, predictions, weights):
    labels, predictions, weights = _weights.squeeze_to_match(sl.cast(labels, sl.bool), sl.cast(predictions, sl.bool),
                                                             weights)
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    return labels, predictions, weights


def _count(values, weights, metrics_collections=None, updates_collections=None):
    """(count, update) of the true elements of `values`."""
    count = metric_variable([], sl.float32, "count")
    values = sl.cast(values, sl.float32)
    if weights is not None:
        values = values * _weights.broadcast_weights(weights, values)
    value = sl.identity(count)
    update = sl.assign_add(count, sl.reduce_sum(values))
    return publish(value, update, metrics_collections, updates_collections)


def _counter(default, pick):
    def metric(labels, predictions, weights=None, metrics_collections=None, updates_collections=None, name=None):
        with sl.variable_scope(name, default, (predictions, labels, weights)):
            labels, predictions, weights = _bools(labels, predictions, weights)
            return _count(pick(labels, predictions), weights, metrics_collections, updates_collections)
    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = "The (weighted) number of %s so far." % default.replace("_", " ")
    return metric


true_positives = _counter("true_positives", lambda l, p: sl.logical_and(l, p))
false_positives = _counter("false_positives", lambda l, p: sl.logical_and(sl.logical_not(l), p))
false_negatives = _counter("false_negatives", lambda l, p: sl.logical_and(l, sl.logical_not(p)))
true_negatives = _counter("true_negatives", lambda l, p: sl.logical_not(sl.logical_or(l, p)))


def _ratio(numerator, other, name):
    return sl.div_no_nan(numerator, numerator + other, name=name)


def precision(labels, predictions, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """true positives / (true positives + false positives)."""
    with sl.variable_scope(name, "precision", (predictions, labels, weights)):
        labels, predictions, weights = _bools(labels, predictions, weights)
        tp, tp_update = true_positives(labels, predictions, weights)
        fp, fp_update = false_positives(labels, predictions, weights)
        return publish(_ratio(tp, fp, "value"), _ratio(tp_update, fp_update, "update_op"), metrics_collections,
                       updates_collections)


def recall(labels, predictions, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """true positives / (true positives + false negatives)."""
    with sl.variable_scope(name, "recall", (predictions, labels, weights)):
        labels, predictions, weights = _bools(labels, predictions, weights)
        tp, tp_update = true_positives(labels, predictions, weights)
        fn, fn_update = false_negatives(labels, predictions, weights)
        return publish(_ratio(tp, fn, "value"), _ratio(tp_update, fn_update, "update_op"), metrics_collections,
                       updates_collections)


_PICK = {"tp": (True, True), "fp": (False, True), "fn": (True, False), "tn": (False, False)}
_LONG = {"tp": "true_positives", "fp": "false_positives", "fn": "false_negatives", "tn": "true_negatives"}


def _at_thresholds(labels, predictions, thresholds, weights, includes=("tp", "fn", "tn", "fp")):
    """({kind: value}, {kind: update}), each a vector with one count for each threshold (predicted is above it)."""
    labels, predictions, weights = _weights.squeeze_to_match(sl.cast(labels, sl.bool),
                                                             sl.cast(predictions, sl.float32), weights)
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    if weights is not None:
        weights = sl.reshape(_weights.broadcast_weights(weights, predictions), [1, -1])
    labels, predictions = sl.reshape(labels, [1, -1]), sl.reshape(predictions, [1, -1])
    above = predictions > sl.reshape(sl.constant([float(t) for t in thresholds]), [-1, 1])
    values, updates = {}, {}
    for kind in includes:
        positive, predicted = _PICK[kind]
        hit = sl.logical_and(labels if positive else sl.logical_not(labels),
                             above if predicted else sl.logical_not(above))
        hit = sl.cast(hit, sl.float32)
        count = metric_variable([len(thresholds)], sl.float32, _LONG[kind])
        updates[kind] = sl.assign_add(count, sl.reduce_sum(hit if weights is None else hit * weights, 1))
        values[kind] = sl.identity(count)
    return values, updates


def _threshold_counter(kind):
    default = _LONG[kind] + "_at_thresholds"

    def metric(labels, predictions, thresholds, weights=None, metrics_collections=None, updates_collections=None,
               name=None):
        with sl.variable_scope(name, _LONG[kind], (predictions, labels, weights)):
            values, updates = _at_thresholds(labels, predictions, thresholds, weights, (kind,))
            return publish(values[kind], updates[kind], metrics_collections, updates_collections)
    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = "The number of %s at each threshold." % _LONG[kind].replace("_", " ")
    return metric


true_positives_at_thresholds = _threshold_counter("tp")
false_positives_at_thresholds = _threshold_counter("fp")
false_negatives_at_thresholds = _threshold_counter("fn")
true_negatives_at_thresholds = _threshold_counter("tn")


def _ratio_at_thresholds(default, other):
    def metric(labels, predictions, thresholds, weights=None, metrics_collections=None, updates_collections=None,
               name=None):
        with sl.variable_scope(name, default, (predictions, labels, weights)):
            values, updates = _at_thresholds(labels, predictions, thresholds, weights, ("tp", other))
            ratio = lambda c, n: sl.div(c["tp"], 1e-7 + c["tp"] + c[other], name=n)
            return publish(ratio(values, default.split("_")[0] + "_value"),
                           ratio(updates, default.split("_")[0] + "_update_op"), metrics_collections,
                           updates_collections)
    metric.__name__ = metric.__qualname__ = default
    metric.__doc__ = "The %s at each threshold." % default.split("_")[0]
    return metric


precision_at_thresholds = _ratio_at_thresholds("precision_at_thresholds", "fp")
recall_at_thresholds = _ratio_at_thresholds("recall_at_thresholds", "fn")


def _spread(num_thresholds):
    """Thresholds over (0, 1) with one just below 0 and one just above 1."""
    inner = [(i + 1) / (num_thresholds - 1) for i in range(num_thresholds - 2)]
    return [-1e-7] + inner + [1.0 + 1e-7]


def auc(labels, predictions, weights=None, num_thresholds=200, metrics_collections=None, updates_collections=None,
        curve="ROC", name=None, summation_method="trapezoidal", thresholds=None):
    """The area under the ROC or precision-recall curve, from counts at thresholds."""
    if curve not in ("ROC", "PR"):
        raise ValueError("curve must be either ROC or PR, %s unknown" % curve)
    if summation_method not in ("trapezoidal", "minoring", "majoring"):
        raise ValueError("Invalid summation_method: %s" % summation_method)
    with sl.variable_scope(name, "auc", (labels, predictions, weights)):
        at = _spread(num_thresholds) if thresholds is None else [-1e-7] + list(thresholds) + [1.0 + 1e-7]
        values, updates = _at_thresholds(labels, predictions, at, weights)

        def area(c, name):
            epsilon = 1e-6
            recall_ = sl.div(c["tp"] + epsilon, c["tp"] + c["fn"] + epsilon)
            if curve == "ROC":
                x, y = sl.div(c["fp"], c["fp"] + c["tn"] + epsilon), recall_
            else:
                x, y = recall_, sl.div(c["tp"] + epsilon, c["tp"] + c["fp"] + epsilon)
            n = len(at)
            width = x[:n - 1] - x[1:]
            if summation_method == "trapezoidal":
                height = (y[:n - 1] + y[1:]) / 2.0
            else:
                height = (sl.minimum if summation_method == "minoring" else sl.maximum)(y[:n - 1], y[1:])
            return sl.reduce_sum(width * height, name=name)

        return publish(area(values, "value"), area(updates, "update_op"), metrics_collections, updates_collections)


def sensitivity_at_specificity(labels, predictions, specificity, weights=None, num_thresholds=200,
                               metrics_collections=None, updates_collections=None, name=None):
    """The share of positives found at the threshold whose specificity is nearest to the one asked for."""
    return _traded(labels, predictions, specificity, weights, num_thresholds, metrics_collections,
                   updates_collections, name, "sensitivity_at_specificity", ("tn", "fp"), ("tp", "fn"))


def specificity_at_sensitivity(labels, predictions, sensitivity, weights=None, num_thresholds=200,
                               metrics_collections=None, updates_collections=None, name=None):
    """The share of negatives found at the threshold whose sensitivity is nearest to the one asked for."""
    return _traded(labels, predictions, sensitivity, weights, num_thresholds, metrics_collections,
                   updates_collections, name, "specificity_at_sensitivity", ("tp", "fn"), ("tn", "fp"))


def _traded(labels, predictions, wanted, weights, num_thresholds, metrics_collections, updates_collections, name,
            default, fixed, found):
    if not 0 <= wanted <= 1:
        raise ValueError("`%s` must be in the range [0, 1]. Found %s" % (default.rpartition("_")[2], wanted))
    with sl.variable_scope(name, default, (predictions, labels, weights)):
        values, updates = _at_thresholds(labels, predictions, _spread(num_thresholds), weights)

        def result(c, name):
            level = sl.div_no_nan(c[fixed[0]], c[fixed[0]] + c[fixed[1]])
            best = sl.cast(sl.argmin(sl.abs(level - wanted), 0), sl.int32)
            return sl.div(c[found[0]][best], c[found[0]][best] + c[found[1]][best] + 1e-7, name=name)

        return publish(result(values, "value"), result(updates, "update_op"), metrics_collections,
                       updates_collections)
