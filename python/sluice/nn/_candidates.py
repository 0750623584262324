"""Sampled losses for large output layers, and the candidate samplers that they use."""
import sluice as sl
from sluice import raw_ops
from sluice.nn._cross_entropy import (sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2)
from sluice.nn._embedding import embedding_lookup


def _seeds(seed):
    graph_seed, op_seed = sl.get_seed(seed)
    return graph_seed or 0, op_seed or 0


def uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None):
    """Candidates drawn uniformly from [0, range_max)."""
    seed, seed2 = _seeds(seed)
    return raw_ops.UniformCandidateSampler(true_classes, num_true=num_true, num_sampled=num_sampled, unique=unique,
                                           range_max=range_max, seed=seed, seed2=seed2, name=name)


def log_uniform_candidate_sampler(true_classes, num_true, num_sampled, unique, range_max, seed=None, name=None):
    """Candidates drawn with P(class) = log((class + 2) / (class + 1)) / log(range_max + 1), as in Zipf's law."""
    seed, seed2 = _seeds(seed)
    return raw_ops.LogUniformCandidateSampler(true_classes, num_true=num_true, num_sampled=num_sampled,
                                              unique=unique, range_max=range_max, seed=seed, seed2=seed2, name=name)


def _sampled_logits(weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values,
                    remove_accidental_hits, partition_strategy, seed):
    """(logits, labels) over the true classes followed by the sampled ones, corrected by -log(expected count)."""
    labels = sl.cast(labels, sl.int64)
    flat_labels = sl.reshape(labels, [-1])
    if sampled_values is None:
        sampled_values = log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed)
    sampled, true_expected, sampled_expected = (sl.stop_gradient(v) for v in sampled_values)
    sampled = sl.cast(sampled, sl.int64)
    all_ids = sl.concat([flat_labels, sampled], 0)
    all_w = sl.cast(embedding_lookup(weights, all_ids, partition_strategy=partition_strategy), inputs.dtype)
    all_b = sl.cast(embedding_lookup(biases, all_ids, partition_strategy=partition_strategy), inputs.dtype)
    n_true = sl.size(flat_labels)
    true_w, sampled_w = all_w[:n_true], all_w[n_true:]
    true_b, sampled_b = all_b[:n_true], all_b[n_true:]
    width = sl.shape(true_w)[1]
    true_w = sl.reshape(true_w, sl.stack([-1, num_true, width]))
    true_logits = sl.reduce_sum(sl.expand_dims(inputs, 1) * true_w, 2) + sl.reshape(true_b, [-1, num_true])
    sampled_logits = sl.matmul(inputs, sampled_w, transpose_b=True) + sampled_b
    if remove_accidental_hits:
        hit = sl.reduce_any(sl.equal(sl.expand_dims(labels, 2), sl.reshape(sampled, [1, 1, -1])), 1)
        sampled_logits += sl.cast(hit, inputs.dtype) * inputs.dtype.as_numpy_dtype(-1e37)
    true_logits -= sl.log(true_expected)
    sampled_logits -= sl.log(sampled_expected)
    out_logits = sl.concat([true_logits, sampled_logits], 1)
    out_labels = sl.concat([sl.ones_like(true_logits) / num_true, sl.zeros_like(sampled_logits)], 1)
    return out_logits, out_labels


def nce_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
             remove_accidental_hits=False, partition_strategy="mod", name="nce_loss"):
    """Noise-contrastive estimation: a logistic loss over the true classes and sampled noise."""
    with sl.name_scope(name, "nce_loss"):
        logits, targets = _sampled_logits(weights, biases, labels, inputs, num_sampled, num_classes, num_true,
                                          sampled_values, remove_accidental_hits, partition_strategy, None)
        losses = sigmoid_cross_entropy_with_logits(labels=targets, logits=logits, name="sampled_losses")
        return sl.reduce_sum(losses, 1)


def sampled_softmax_loss(weights, biases, labels, inputs, num_sampled, num_classes, num_true=1, sampled_values=None,
                         remove_accidental_hits=True, partition_strategy="mod", name="sampled_softmax_loss",
                         seed=None):
    """Softmax cross entropy over the true classes and a sample of the others; for training only."""
    with sl.name_scope(name, "sampled_softmax_loss"):
        logits, targets = _sampled_logits(weights, biases, labels, inputs, num_sampled, num_classes, num_true,
                                          sampled_values, remove_accidental_hits, partition_strategy, seed)
        return softmax_cross_entropy_with_logits_v2(labels=sl.stop_gradient(targets), logits=logits)
