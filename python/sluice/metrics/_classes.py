"""Metrics with one count for each class."""
import sluice as sl
from sluice.metrics._means import metric_variable, publish


def mean_per_class_accuracy(labels, predictions, num_classes, weights=None, metrics_collections=None,
                            updates_collections=None, name=None):
    """The mean over the classes of the share of each class's examples that are predicted right."""
    with sl.variable_scope(name, "mean_accuracy", (predictions, labels, weights)):
        labels = sl.reshape(sl.cast(labels, sl.int64), [-1])
        predictions = sl.reshape(sl.cast(predictions, sl.int64), [-1])
        total = metric_variable([num_classes], sl.float32, "total")
        count = metric_variable([num_classes], sl.float32, "count")
        ones = sl.ones([sl.size(labels)], sl.float32)
        correct = sl.cast(sl.equal(labels, predictions), sl.float32)
        if weights is not None:
            weights = sl.cast(weights, sl.float32)
            weights = sl.reshape(weights, [-1]) if weights.shape.ndims != 0 else weights
            ones, correct = ones * weights, correct * weights
        update_total = sl.assign_add(total, sl.unsorted_segment_sum(correct, labels, num_classes))
        update_count = sl.assign_add(count, sl.unsorted_segment_sum(ones, labels, num_classes))
        value = sl.reduce_mean(sl.div_no_nan(total, count), name="mean_accuracy")
        update = sl.div_no_nan(update_total, update_count, name="update_op")
        return publish(value, update, metrics_collections, updates_collections)


def mean_iou(labels, predictions, num_classes, weights=None, metrics_collections=None, updates_collections=None,
             name=None):
    """The mean over the classes of intersection / union; the update op gives the confusion matrix."""
    with sl.variable_scope(name, "mean_iou", (predictions, labels, weights)):
        labels = sl.reshape(sl.cast(labels, sl.int64), [-1])
        predictions = sl.reshape(sl.cast(predictions, sl.int64), [-1])
        matrix = metric_variable([num_classes, num_classes], sl.float32, "total_confusion_matrix")
        ones = sl.ones([sl.size(labels)], sl.float32)
        if weights is not None:
            weights = sl.cast(weights, sl.float32)
            ones = ones * (sl.reshape(weights, [-1]) if weights.shape.ndims != 0 else weights)
        batch = sl.unsorted_segment_sum(ones, labels * num_classes + predictions, num_classes * num_classes)
        update = sl.assign_add(matrix, sl.reshape(batch, [num_classes, num_classes]))
        diagonal = sl.diag_part(matrix)
        union = sl.reduce_sum(matrix, 0) + sl.reduce_sum(matrix, 1) - diagonal
        valid = sl.reduce_sum(sl.cast(sl.not_equal(union, 0.0), sl.float32))
        iou = sl.div_no_nan(diagonal, union)
        value = sl.div_no_nan(sl.reduce_sum(iou), valid, name="mean_iou")
        return publish(value, update, metrics_collections, updates_collections)
