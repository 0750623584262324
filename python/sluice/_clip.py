"""Clipping of values and of gradients."""
import sluice as sl
from sluice import raw_ops


def clip_by_value(t, clip_value_min, clip_value_max, name=None):
    """min(max(t, clip_value_min), clip_value_max)."""
    with sl.name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = sl.convert_to_tensor(t.values if isinstance(t, sl.IndexedSlices) else t, name="t")
        upper = sl.minimum(values, clip_value_max)
        values.shape.merge_with(upper.shape)  # the limits must not broadcast the values
        result = sl.maximum(upper, clip_value_min, name=scope)
        values.shape.merge_with(result.shape)
        return sl.IndexedSlices(result, t.indices, t.dense_shape) if isinstance(t, sl.IndexedSlices) else result


def clip_by_norm(t, clip_norm, axes=None, name=None):
    """t scaled so that its l2 norm along `axes` is at most clip_norm."""
    with sl.name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = sl.convert_to_tensor(t.values if isinstance(t, sl.IndexedSlices) else t, name="t")
        squares = sl.reduce_sum(values * values, axes, keepdims=True)
        positive = squares > 0
        # sqrt has no gradient at zero: keep zero away from it on both sides.
        safe = sl.where(positive, squares, sl.ones_like(squares))
        norm = sl.where(positive, sl.sqrt(safe), squares)
        clipped = sl.identity(values * clip_norm / sl.maximum(norm, clip_norm), name=scope)
        values.shape.merge_with(clipped.shape)
        return sl.IndexedSlices(clipped, t.indices, t.dense_shape) if isinstance(t, sl.IndexedSlices) else clipped


def global_norm(t_list, name=None):
    """sqrt of the sum of the squares of all elements of all tensors; None entries are skipped."""
    t_list = _sequence(t_list)
    with sl.name_scope(name, "global_norm", [t for t in t_list if t is not None]):
        halves = []
        for t in t_list:
            if t is not None:
                values = t.values if isinstance(t, sl.IndexedSlices) else sl.convert_to_tensor(t)
                with sl.colocate_with(values):
                    halves.append(raw_ops.L2Loss(values))
        half = sl.reduce_sum(sl.stack(halves))
        return sl.sqrt(half * sl.constant(2.0, dtype=half.dtype), name="global_norm")


def clip_by_global_norm(t_list, clip_norm, use_norm=None, name=None):
    """(tensors scaled so that their joint norm is at most clip_norm, the norm before). NaN and inf give NaN."""
    t_list = _sequence(t_list)
    norm = global_norm(t_list, name) if use_norm is None else use_norm
    with sl.name_scope(name, "clip_by_global_norm", [t for t in t_list if t is not None] + [clip_norm]) as scope:
        one = sl.constant(1.0, dtype=norm.dtype)
        scale = clip_norm * sl.minimum(1.0 / norm, one / clip_norm)
        # An infinite norm would otherwise give a scale of zero and hide the overflow.
        scale = scale + (norm - norm)
        clipped = []
        for i, t in enumerate(t_list):
            if t is None:
                clipped.append(None)
                continue
            values = t.values if isinstance(t, sl.IndexedSlices) else sl.convert_to_tensor(t)
            with sl.colocate_with(values):
                result = sl.identity(values * scale, name="%s_%d" % (scope, i))
            clipped.append(sl.IndexedSlices(result, t.indices, t.dense_shape) if isinstance(t, sl.IndexedSlices)
                           else result)
        return clipped, norm


def clip_by_average_norm(t, clip_norm, name=None):
    """t scaled so that its l2 norm divided by its size is at most clip_norm."""
    with sl.name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        t = sl.convert_to_tensor(t, name="t")
        size = sl.cast(sl.size(t), sl.float32)
        inverse = sl.rsqrt(sl.reduce_sum(t * t, sl.range(sl.rank(t)), keepdims=True))
        return sl.identity(t * clip_norm * sl.minimum(inverse * size, sl.constant(1.0) / clip_norm), name=scope)


def _sequence(t_list):
    if isinstance(t_list, (str, bytes)) or not hasattr(t_list, "__iter__"):
        raise TypeError("t_list should be a sequence of tensors, got %r" % (t_list,))
    return list(t_list)
