"""Means of values that arrive in batches."""
import sluice as sl
from sluice import _weights


def metric_variable(shape, dtype, name):
    """A local variable that starts at zero and belongs to a metric."""
    return sl.Variable(lambda: sl.zeros(shape, dtype), trainable=False, name=name,
                       collections=[sl.GraphKeys.LOCAL_VARIABLES, sl.GraphKeys.METRIC_VARIABLES])


def publish(value, update, metrics_collections, updates_collections):
    """Adds both to the collections that the caller named, and returns them."""
    if metrics_collections:
        sl.add_to_collections(metrics_collections, value)
    if updates_collections:
        sl.add_to_collections(updates_collections, update)
    return value, update


def mean(values, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """The (weighted) mean of all values so far."""
    with sl.variable_scope(name, "mean", (values, weights)):
        values = sl.cast(values, sl.float32)
        total = metric_variable([], sl.float32, "total")
        count = metric_variable([], sl.float32, "count")
        if weights is None:
            number = sl.cast(sl.size(values), sl.float32)
        else:
            values, _, weights = _weights.squeeze_to_match(values, values, weights)
            weights = _weights.broadcast_weights(weights, values)
            values, number = values * weights, sl.reduce_sum(weights)
        update_total = sl.assign_add(total, sl.reduce_sum(values))
        with sl.control_dependencies([values]):
            update_count = sl.assign_add(count, number)
        value = sl.div_no_nan(total, count, name="value")
        update = sl.div_no_nan(update_total, update_count, name="update_op")
        return publish(value, update, metrics_collections, updates_collections)


def mean_tensor(values, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """The element-wise (weighted) mean of all tensors so far."""
    with sl.variable_scope(name, "mean", (values, weights)):
        values = sl.cast(values, sl.float32)
        total = metric_variable(values.get_shape(), sl.float32, "total_tensor")
        count = metric_variable(values.get_shape(), sl.float32, "count_tensor")
        number = sl.ones_like(values)
        if weights is not None:
            values, _, weights = _weights.squeeze_to_match(values, values, weights)
            weights = _weights.broadcast_weights(weights, values)
            values, number = values * weights, number * weights
        update_total = sl.assign_add(total, values)
        with sl.control_dependencies([values]):
            update_count = sl.assign_add(count, number)
        value = sl.div_no_nan(total, count, name="value")
        update = sl.div_no_nan(update_total, update_count, name="update_op")
        return publish(value, update, metrics_collections, updates_collections)


def _floats(labels, predictions, weights):
    labels, predictions, weights = _weights.squeeze_to_match(labels, predictions, weights)
    predictions = sl.cast(predictions, sl.float32)
    labels = sl.cast(labels, sl.float32)
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    return labels, predictions, weights


def mean_absolute_error(labels, predictions, weights=None, metrics_collections=None, updates_collections=None,
                        name=None):
    """The mean of |predictions - labels|."""
    labels, predictions, weights = _floats(labels, predictions, weights)
    return mean(sl.abs(predictions - labels), weights, metrics_collections, updates_collections,
                name or "mean_absolute_error")


def mean_squared_error(labels, predictions, weights=None, metrics_collections=None, updates_collections=None,
                       name=None):
    """The mean of (predictions - labels) ** 2."""
    labels, predictions, weights = _floats(labels, predictions, weights)
    return mean(sl.squared_difference(labels, predictions), weights, metrics_collections, updates_collections,
                name or "mean_squared_error")


def root_mean_squared_error(labels, predictions, weights=None, metrics_collections=None, updates_collections=None,
                            name=None):
    """The root of the mean squared error."""
    value, update = mean_squared_error(labels, predictions, weights, None, None, name or "root_mean_squared_error")
    return publish(sl.sqrt(value), sl.sqrt(update), metrics_collections, updates_collections)


def mean_relative_error(labels, predictions, normalizer, weights=None, metrics_collections=None,
                        updates_collections=None, name=None):
    """The mean of |labels - predictions| / normalizer; 0 where the normalizer is 0."""
    labels, predictions, weights = _floats(labels, predictions, weights)
    normalizer = sl.cast(normalizer, sl.float32)
    labels.get_shape().assert_is_compatible_with(normalizer.get_shape())
    errors = sl.where(sl.equal(normalizer, 0.0), sl.zeros_like(labels), sl.abs(labels - predictions) / normalizer)
    return mean(errors, weights, metrics_collections, updates_collections, name or "mean_relative_error")


def mean_cosine_distance(labels, predictions, dim, weights=None, metrics_collections=None, updates_collections=None,
                         name=None):
    """1 minus the mean of the dot products along `dim`; both arguments are unit-normalised already."""
    labels, predictions, weights = _floats(labels, predictions, weights)
    dots = sl.reduce_sum(predictions * labels, axis=[dim], keepdims=True)
    value, update = mean(dots, weights, None, None, name or "mean_cosine_distance")
    return publish(1.0 - value, 1.0 - update, metrics_collections, updates_collections)


def percentage_below(values, threshold, weights=None, metrics_collections=None, updates_collections=None, name=None):
    """The share of values below the threshold."""
    return mean(sl.cast(sl.less(values, threshold), sl.float32), weights, metrics_collections, updates_collections,
                name or "percentage_below_threshold")
