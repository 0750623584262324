"""Cross entropies of logits."""
import sluice as sl
from sluice import raw_ops


def _require_named(function, sentinel, labels, logits):
    if sentinel is not None:
        raise ValueError("Only call `%s` with named arguments (labels=..., logits=...)" % function)
    if labels is None or logits is None:
        raise ValueError("`%s` needs both `labels` and `logits`" % function)


def _same_shape(labels, logits):
    try:
        labels.shape.assert_is_compatible_with(logits.shape)
    except ValueError:
        raise ValueError("logits and labels must have the same shape (%s vs %s)"
                         % (logits.shape, labels.shape)) from None


def softmax_cross_entropy_with_logits_v2(labels=None, logits=None, axis=None, name=None, dim=None):
    """-sum(labels * log_softmax(logits)) along `axis`; gradients flow into both arguments."""
    if axis is not None and dim is not None:
        raise ValueError("Cannot specify both 'axis' and 'dim'")
    axis = dim if axis is None else axis
    axis = -1 if axis is None else axis
    if labels is None or logits is None:
        raise ValueError("`softmax_cross_entropy_with_logits_v2` needs both `labels` and `logits`")
    with sl.name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        return _softmax_cross_entropy(labels, logits, axis, scope)


def softmax_cross_entropy_with_logits(_sentinel=None, labels=None, logits=None, dim=-1, name=None, axis=None):
    """The older form: no gradient flows into `labels`."""
    _require_named("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    axis = dim if axis is None else axis
    with sl.name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        labels = sl.stop_gradient(labels, name="labels_stop_gradient")
        return _softmax_cross_entropy(labels, logits, axis, scope)


def _softmax_cross_entropy(labels, logits, axis, scope):
    logits = sl.convert_to_tensor(logits, name="logits")
    labels = sl.convert_to_tensor(labels, dtype=logits.dtype, name="labels")
    wide = logits
    if wide.dtype == sl.float16 or wide.dtype == sl.bfloat16:
        wide, labels = sl.cast(wide, sl.float32), sl.cast(labels, sl.float32)
    rank = wide.shape.ndims
    if rank is not None and not -rank <= axis < rank:
        raise ValueError("axis %d is out of range for logits of shape %s" % (axis, wide.shape))
    if rank == 2 and axis in (-1, 1):
        cost = raw_ops.SoftmaxCrossEntropyWithLogits(wide, labels, name=scope).loss
        return sl.cast(cost, logits.dtype)
    if rank is None and axis != -1:
        raise ValueError("softmax cross entropy along axis %d needs logits of a known rank" % axis)
    if rank is not None and axis not in (-1, rank - 1):
        order = list(range(rank))
        order.append(order.pop(axis))
        wide, labels = sl.transpose(wide, order), sl.transpose(labels, order)
    outer = sl.shape(wide)[:-1]
    classes = sl.shape(wide)[-1]
    flat = sl.stack([-1, classes])
    cost = raw_ops.SoftmaxCrossEntropyWithLogits(sl.reshape(wide, flat), sl.reshape(labels, flat), name=scope).loss
    cost = sl.reshape(cost, outer)
    if rank is not None:
        cost.set_shape(wide.shape[:-1])
    return sl.cast(cost, logits.dtype)


def sparse_softmax_cross_entropy_with_logits(_sentinel=None, labels=None, logits=None, name=None):
    """-log_softmax(logits)[label], one label for each row."""
    _require_named("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with sl.name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        labels = sl.convert_to_tensor(labels)
        logits = sl.convert_to_tensor(logits)
        wide = sl.cast(logits, sl.float32) if logits.dtype in (sl.float16, sl.bfloat16) else logits
        label_rank, logit_rank = labels.shape.ndims, logits.shape.ndims
        if logit_rank == 0:
            raise ValueError("Logits cannot be scalars - received shape %s." % logits.shape)
        if label_rank is not None and logit_rank is not None and label_rank != logit_rank - 1:
            raise ValueError("Rank mismatch: Rank of labels (received %d) should equal rank of logits minus 1 "
                             "(received %d)." % (label_rank, logit_rank))
        labels_shape = sl.shape(labels)
        if logit_rank == 2:
            cost = raw_ops.SparseSoftmaxCrossEntropyWithLogits(
                wide, labels, name="SparseSoftmaxCrossEntropyWithLogits").loss
            return sl.cast(cost, logits.dtype)
        classes = sl.shape(wide)[-1]
        cost = raw_ops.SparseSoftmaxCrossEntropyWithLogits(
            sl.reshape(wide, sl.stack([-1, classes])), sl.reshape(labels, [-1]),
            name="SparseSoftmaxCrossEntropyWithLogits").loss
        cost = sl.reshape(cost, labels_shape)
        cost.set_shape(labels.shape)
        return sl.cast(cost, logits.dtype)


def sigmoid_cross_entropy_with_logits(_sentinel=None, labels=None, logits=None, name=None):
    """max(x, 0) - x * z + log(1 + exp(-|x|)) for logits x and labels z, element by element."""
    _require_named("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with sl.name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = sl.convert_to_tensor(logits, name="logits")
        labels = sl.convert_to_tensor(labels, dtype=logits.dtype, name="labels")
        _same_shape(labels, logits)
        # Written with selects rather than with abs and max, whose gradients at zero are zero.
        zeros = sl.zeros_like(logits, dtype=logits.dtype)
        positive = logits >= zeros
        relu_logits = sl.where(positive, logits, zeros)
        negative_abs = sl.where(positive, -logits, logits)
        return sl.add(relu_logits - logits * labels, sl.log1p(sl.exp(negative_abs)), name=scope)


def weighted_cross_entropy_with_logits(labels=None, logits=None, pos_weight=None, name=None, targets=None):
    """Sigmoid cross entropy whose positive labels count `pos_weight` times."""
    if labels is not None and targets is not None:
        raise ValueError("Cannot specify both 'targets' and 'labels'")
    labels = targets if labels is None else labels
    with sl.name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = sl.convert_to_tensor(logits, name="logits")
        labels = sl.convert_to_tensor(labels, dtype=logits.dtype, name="labels")
        _same_shape(labels, logits)
        log_weight = 1 + (pos_weight - 1) * labels
        return sl.add((1 - labels) * logits,
                      log_weight * (sl.log1p(sl.exp(-sl.abs(logits))) + raw_ops.Relu(-logits)), name=scope)


def log_poisson_loss(targets, log_input, compute_full_loss=False, name=None):
    """exp(log_input) - log_input * targets; the full loss adds Stirling's approximation of log(targets!)."""
    with sl.name_scope(name, "log_poisson_loss", [log_input, targets]):
        log_input = sl.convert_to_tensor(log_input, name="log_input")
        targets = sl.convert_to_tensor(targets, dtype=log_input.dtype, name="targets")
        _same_shape(targets, log_input)
        result = sl.exp(log_input) - log_input * targets
        if compute_full_loss:
            two_pi = 6.283185307179586
            stirling = targets * sl.log(targets) - targets + 0.5 * sl.log(two_pi * targets)
            small = sl.logical_and(targets >= 0, targets <= 1)
            result += sl.where(small, sl.zeros_like(targets), stirling)
        return result
