"""Shape rules that losses and metrics share: squeezing a last dimension of 1, and weights that broadcast."""
import sluice as sl


def squeeze_to_match(labels, predictions, weights, expected_rank_diff=0):
    """Drops a last dimension of size 1 where one of labels and predictions (then weights) has one more than wanted."""
    labels, predictions = sl.convert_to_tensor(labels), sl.convert_to_tensor(predictions)
    label_rank, rank = labels.shape.ndims, predictions.shape.ndims
    if label_rank is not None and rank is not None:
        difference = rank - label_rank
        if difference == expected_rank_diff + 1 and predictions.shape[-1:].is_compatible_with([1]):
            predictions = sl.squeeze(predictions, [-1])
        elif difference == expected_rank_diff - 1 and labels.shape[-1:].is_compatible_with([1]):
            labels = sl.squeeze(labels, [-1])
    if weights is None:
        return labels, predictions, None
    weights = weights if isinstance(weights, (int, float)) else sl.convert_to_tensor(weights)
    if isinstance(weights, (int, float)):
        return labels, predictions, weights
    rank = (labels if expected_rank_diff else predictions).shape.ndims
    weight_rank = weights.shape.ndims
    if weight_rank and rank is not None:
        if weight_rank == rank + 1 and weights.shape[-1:].is_compatible_with([1]):
            weights = sl.squeeze(weights, [-1])
        elif weight_rank == rank - 1:
            weights = sl.expand_dims(weights, -1)
    return labels, predictions, weights


def checked_weights(weights, values):
    """`weights` as a float tensor that is a scalar or has the rank of `values` with every size 1 or equal.

    Raises ValueError when the static shapes contradict that; adds an assertion when they leave it open.
    """
    weights = sl.convert_to_tensor(weights)
    have, want = weights.shape, values.shape
    if have.ndims in (0, None) or want.ndims is None:
        return weights
    message = ("weights can not be broadcast to values. values.rank=%s. weights.rank=%s. values.shape=%s. "
               "weights.shape=%s." % (want.ndims, have.ndims, want, have))
    if have.ndims != want.ndims:
        raise ValueError(message)
    sizes = list(zip(have.as_list(), want.as_list()))
    if any(w not in (None, 1) and v is not None and w != v for w, v in sizes):
        raise ValueError(message)
    if all(w == 1 or w is not None and w == v for w, v in sizes):
        return weights
    got, wanted = sl.shape(weights), sl.shape(values)
    fits = sl.reduce_all(sl.logical_or(sl.equal(got, wanted), sl.equal(got, 1)))
    with sl.control_dependencies([sl.Assert(fits, ["weights can not be broadcast to values: shapes", got, wanted])]):
        return sl.identity(weights)


def broadcast_weights(weights, values):
    """Checked weights in the shape of `values`."""
    weights = sl.cast(checked_weights(weights, values), values.dtype)
    return weights * sl.ones_like(values)
