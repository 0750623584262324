"""Embedding lookups (also over partitioned tables), top_k and in_top_k."""
import sluice as sl
from sluice import raw_ops


def embedding_lookup(params, ids, partition_strategy="mod", name=None, validate_indices=True, max_norm=None):
    """Rows of `params` for `ids`. `params` may be one tensor, a list of shards, or a partitioned variable.

    With several shards, `mod` puts id i into shard i % n; `div` gives each shard a run of neighbouring ids.
    `max_norm` clips each row that is looked up to that l2 norm.
    """
    if isinstance(params, sl.PartitionedVariable) or type(params).__name__ == "PartitionedVariable":
        params = list(params)
    elif not isinstance(params, (list, tuple)):
        params = [params]
    if not params:
        raise ValueError("Need at least one param")
    with sl.name_scope(name, "embedding_lookup", list(params) + [ids]) as scope:
        ids = sl.convert_to_tensor(ids, name="ids")
        if len(params) == 1:
            rows = sl.gather(params[0], ids, name=scope)
            return sl.identity(rows) if max_norm is None else _clip_rows(rows, ids, max_norm)
        params = [p if hasattr(p, "get_shape") else sl.convert_to_tensor(p) for p in params]
        return _partitioned_lookup(params, ids, partition_strategy, max_norm, scope)


def _partitioned_lookup(params, ids, strategy, max_norm, scope):
    shards = len(params)
    flat = sl.reshape(ids, [-1])
    positions = sl.range(sl.size(flat))
    if strategy == "mod":
        shard = flat % shards
        row = flat // shards
    elif strategy == "div":
        shard, row = _div_strategy(params, flat)
    else:
        raise ValueError("Unrecognized partition strategy: " + str(strategy))
    shard = sl.cast(shard, sl.int32)
    row_of = sl.dynamic_partition(row, shard, shards)
    position_of = sl.dynamic_partition(positions, shard, shards)
    parts = []
    for param, rows in zip(params, row_of):
        with sl.colocate_with(param):
            parts.append(sl.gather(param, rows))
    element = _element_shape(params)
    stitched = raw_ops.ParallelDynamicStitch(position_of, parts, name=scope)
    if element.is_fully_defined():
        shape = sl.concat([sl.shape(ids), element.as_list()], 0)
    else:
        shape = sl.concat([sl.shape(ids), sl.shape(params[0])[1:]], 0)
    result = sl.reshape(stitched, shape)
    result.set_shape(ids.shape.concatenate(element))
    return result if max_norm is None else _clip_rows(result, ids, max_norm)


def _div_strategy(params, flat):
    """(shard, row) where the first `extra` shards hold one id more than the others."""
    shards = len(params)
    rows = [sl.TensorShape(p.get_shape()).as_list()[0] for p in params]
    if None not in rows:
        total = sl.constant(sum(rows), flat.dtype)
    else:
        total = sl.cast(sl.add_n([sl.shape(p)[0] for p in params]), flat.dtype)
    each, extra = total // shards, total % shards
    shard = sl.maximum(flat // (each + 1), (flat - extra) // each)
    row = sl.where(shard < extra, flat % (each + 1), (flat - extra) % each)
    return shard, row


def _element_shape(params):
    element = sl.TensorShape(params[0].get_shape())[1:]
    for param in params[1:]:
        element = element.merge_with(sl.TensorShape(param.get_shape())[1:])
    return element


def _clip_rows(rows, ids, max_norm):
    if ids.shape.ndims is not None and rows.shape.ndims is not None:
        axes = list(range(ids.shape.ndims, rows.shape.ndims))
    else:
        axes = sl.range(sl.rank(ids), sl.rank(rows))
    return sl.clip_by_norm(rows, max_norm, axes=axes)


def top_k(input, k=1, sorted=True, name=None):
    """(values, indices) of the k largest entries along the last axis."""
    return raw_ops.TopKV2(input, k, sorted=sorted, name=name)


def in_top_k(predictions, targets, k, name=None):
    """For each row, whether its target is among the k largest predictions (ties count)."""
    with sl.name_scope(name, "in_top_k"):
        return raw_ops.InTopKV2(predictions, targets, k)


def embedding_lookup_sparse(params, sp_ids, sp_weights, partition_strategy="mod", name=None, combiner=None,
                            max_norm=None):
    """For each row of the sparse `sp_ids`, its embeddings (times `sp_weights`) combined by "mean", "sqrtn" or "sum"."""
    combiner = combiner or "mean"
    if combiner not in ("mean", "sqrtn", "sum"):
        raise ValueError("combiner must be one of 'mean', 'sqrtn' or 'sum', got %r" % (combiner,))
    if not isinstance(sp_ids, sl.SparseTensor):
        raise TypeError("sp_ids must be SparseTensor, got %r" % (sp_ids,))
    if sp_weights is not None and not isinstance(sp_weights, sl.SparseTensor):
        raise TypeError("sp_weights must be either None or SparseTensor, got %r" % (sp_weights,))
    with sl.name_scope(name, "embedding_lookup_sparse", [sp_ids]):
        segments = sl.cast(sp_ids.indices[:, 0], sl.int32)
        unique = raw_ops.Unique(sp_ids.values)
        rows = embedding_lookup(params, unique[0], partition_strategy, max_norm=max_norm)
        rows = sl.gather(rows, unique[1])
        if sp_weights is None:
            weights = sl.ones([sl.size(segments)], rows.dtype)
        else:
            weights = sl.cast(sp_weights.values, rows.dtype)
        rank = rows.shape.ndims
        spread = sl.reshape(weights, [-1] + [1] * (rank - 1))
        total = sl.segment_sum(rows * spread, segments)
        if combiner == "sum":
            return total
        size = sl.segment_sum(spread if combiner == "mean" else spread * spread, segments)
        return sl.div_no_nan(total, size if combiner == "mean" else sl.sqrt(size))
