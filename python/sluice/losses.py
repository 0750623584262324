"""Loss functions that weigh, reduce and collect: `tf.compat.v1.losses`.

Every loss is added to the LOSSES collection, so that `get_total_loss()` finds it together with the regularisation
losses of the variables.
"""
import sluice as sl
from sluice import _weights


class Reduction:
    """How a loss of many elements becomes what the function returns."""
    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_OVER_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_BY_NONZERO_WEIGHTS = SUM_OVER_NONZERO_WEIGHTS

    @classmethod
    def all(cls):
        """Every way."""
        return (cls.NONE, cls.SUM, cls.MEAN, cls.SUM_OVER_BATCH_SIZE, cls.SUM_OVER_NONZERO_WEIGHTS)

    @classmethod
    def validate(cls, key):
        """Raises ValueError for anything else."""
        if key not in cls.all():
            raise ValueError("Invalid Reduction Key %s: expected one of %s" % (key, ", ".join(cls.all())))


_DEFAULT = Reduction.SUM_BY_NONZERO_WEIGHTS


def compute_weighted_loss(losses, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES, reduction=_DEFAULT):
    """losses * weights, reduced. Weights are a scalar or have the rank of the losses, each size 1 or equal."""
    Reduction.validate(reduction)
    with sl.name_scope(scope, "weighted_loss", (losses, weights)):
        losses = sl.convert_to_tensor(losses)
        dtype = losses.dtype
        losses = sl.cast(losses, sl.float32) if dtype != sl.float64 else losses
        plain = isinstance(weights, (int, float)) and not isinstance(weights, bool)
        w = sl.cast(_weights.checked_weights(weights, losses), losses.dtype)
        loss = sl.multiply(losses, w)
        if reduction != Reduction.NONE:
            loss = sl.reduce_sum(loss)
            if reduction == Reduction.MEAN:
                loss = _mean(loss, sl.reduce_sum(sl.ones_like(losses) * w))
            elif reduction == Reduction.SUM_OVER_NONZERO_WEIGHTS:
                loss = _mean(loss, _size(losses) if plain and weights != 0 else _present(losses, w))
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                loss = _mean(loss, _size(losses))
        loss = sl.cast(loss, dtype)
        add_loss(loss, loss_collection)
        return loss


def _mean(total, count):
    return sl.div_no_nan(total, sl.cast(count, total.dtype), name="value")


def _size(losses):
    with sl.name_scope(None, "num_elements"):
        return sl.cast(sl.size(losses), losses.dtype)


def _present(losses, weights):
    """How many elements have a weight other than zero."""
    with sl.name_scope(None, "num_present"):
        return sl.reduce_sum(sl.cast(sl.not_equal(weights, sl.zeros([], weights.dtype)), losses.dtype)
                             * sl.ones_like(losses))


def _pair(labels, predictions):
    if labels is None or predictions is None:
        raise ValueError("labels and predictions must not be None.")
    predictions = sl.convert_to_tensor(predictions)
    if predictions.dtype != sl.float64:
        predictions = sl.cast(predictions, sl.float32)
    labels = sl.cast(labels, predictions.dtype)
    try:
        predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    except ValueError:
        raise ValueError("Shapes %s of predictions and %s of labels are incompatible"
                         % (predictions.get_shape(), labels.get_shape())) from None
    return labels, predictions


def absolute_difference(labels, predictions, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES,
                        reduction=_DEFAULT):
    """|predictions - labels|."""
    with sl.name_scope(scope, "absolute_difference", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        return compute_weighted_loss(sl.abs(predictions - labels), weights, scope, loss_collection, reduction)


def cosine_distance(labels, predictions, axis=None, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES,
                    reduction=_DEFAULT, dim=None):
    """1 - labels . predictions along `axis`; both must be unit-normalised already."""
    axis = dim if axis is None else axis
    if axis is None:
        raise ValueError("You must specify argument `axis`.")
    with sl.name_scope(scope, "cosine_distance_loss", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = 1 - sl.reduce_sum(predictions * labels, axis=(axis,), keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def hinge_loss(labels, logits, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES, reduction=_DEFAULT):
    """max(0, 1 - (2 * labels - 1) * logits) for labels 0 and 1."""
    with sl.name_scope(scope, "hinge_loss", (logits, labels, weights)) as scope:
        labels, logits = _pair(labels, logits)
        losses = sl.nn.relu(1 - (2 * labels - 1) * logits)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(labels, predictions, weights=1.0, delta=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES,
               reduction=_DEFAULT):
    """Squared error / 2 up to `delta`, linear beyond."""
    with sl.name_scope(scope, "huber_loss", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        error = sl.abs(predictions - labels)
        quadratic = sl.minimum(error, delta)
        losses = 0.5 * quadratic * quadratic + delta * (error - quadratic)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(labels, predictions, weights=1.0, epsilon=1e-7, scope=None, loss_collection=sl.GraphKeys.LOSSES,
             reduction=_DEFAULT):
    """-labels * log(predictions) - (1 - labels) * log(1 - predictions)."""
    with sl.name_scope(scope, "log_loss", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = -labels * sl.log(predictions + epsilon) - (1 - labels) * sl.log(1 - predictions + epsilon)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_squared_error(labels, predictions, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES,
                       reduction=_DEFAULT):
    """(predictions - labels) ** 2."""
    with sl.name_scope(scope, "mean_squared_error", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        return compute_weighted_loss(sl.squared_difference(predictions, labels), weights, scope, loss_collection,
                                     reduction)


def mean_pairwise_squared_error(labels, predictions, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES):
    """The sum over the examples of the mean squared difference between the errors of all pairs of elements."""
    with sl.name_scope(scope, "mean_pairwise_squared_error", (predictions, labels, weights)) as scope:
        labels, predictions = _pair(labels, predictions)
        difference = predictions - labels
        axes = sl.range(1, sl.rank(difference))
        count = sl.reduce_sum(sl.ones_like(difference), axes, keepdims=True)
        squares = sl.reduce_sum(sl.square(difference), axes, keepdims=True)
        total = sl.reduce_sum(difference, axes, keepdims=True)
        first = 2.0 * sl.div_no_nan(squares, sl.maximum(count - 1, 0))
        second = 2.0 * sl.div_no_nan(sl.square(total), sl.maximum(count * (count - 1), 0))
        losses = first - second
        weights = sl.cast(sl.convert_to_tensor(weights), losses.dtype)
        if weights.shape.ndims != 0:
            weights = sl.reshape(weights, sl.concat([sl.shape(weights)[:1], sl.ones_like(axes)], 0))
        loss = sl.reduce_sum(losses * weights, name="value")
        add_loss(loss, loss_collection)
        return loss


def sigmoid_cross_entropy(multi_class_labels, logits, weights=1.0, label_smoothing=0, scope=None,
                          loss_collection=sl.GraphKeys.LOSSES, reduction=_DEFAULT):
    """Sigmoid cross entropy; smoothing draws the labels towards 1/2."""
    with sl.name_scope(scope, "sigmoid_cross_entropy_loss", (logits, multi_class_labels, weights)) as scope:
        logits = sl.convert_to_tensor(logits)
        labels = sl.cast(multi_class_labels, logits.dtype)
        logits.get_shape().assert_is_compatible_with(labels.get_shape())
        if label_smoothing > 0:
            labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = sl.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(onehot_labels, logits, weights=1.0, label_smoothing=0, scope=None,
                          loss_collection=sl.GraphKeys.LOSSES, reduction=_DEFAULT):
    """Softmax cross entropy; smoothing draws the labels towards 1/classes."""
    with sl.name_scope(scope, "softmax_cross_entropy_loss", (logits, onehot_labels, weights)) as scope:
        logits = sl.convert_to_tensor(logits)
        labels = sl.cast(onehot_labels, logits.dtype)
        logits.get_shape().assert_is_compatible_with(labels.get_shape())
        if label_smoothing > 0:
            classes = sl.cast(sl.shape(labels)[-1], logits.dtype)
            labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
        labels = sl.stop_gradient(labels, name="labels_stop_gradient")
        losses = sl.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(labels, logits, weights=1.0, scope=None, loss_collection=sl.GraphKeys.LOSSES,
                                 reduction=_DEFAULT):
    """Softmax cross entropy with one class number for each row."""
    with sl.name_scope(scope, "sparse_softmax_cross_entropy_loss", (logits, labels, weights)) as scope:
        labels, logits, weights = _weights.squeeze_to_match(labels, logits, weights, expected_rank_diff=1)
        losses = sl.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits, name="xentropy")
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def add_loss(loss, loss_collection=sl.GraphKeys.LOSSES):
    """Adds a loss of your own to the collection."""
    if loss_collection:
        sl.add_to_collection(loss_collection, loss)


def get_losses(scope=None, loss_collection=sl.GraphKeys.LOSSES):
    """The losses of the collection."""
    return sl.get_collection(loss_collection, scope)


def get_regularization_losses(scope=None):
    """The regularisation losses."""
    return sl.get_collection(sl.GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(scope=None, name="total_regularization_loss"):
    """The sum of the regularisation losses; 0 when there are none."""
    losses = get_regularization_losses(scope)
    return sl.add_n(losses, name=name) if losses else sl.constant(0.0)


def get_total_loss(add_regularization_losses=True, name="total_loss", scope=None):
    """The sum of all losses."""
    losses = get_losses(scope=scope)
    if add_regularization_losses:
        losses = losses + get_regularization_losses(scope=scope)
    return sl.add_n(losses, name=name)
