"""Neural-network functions with the names, arguments and defaults of `tf.compat.v1.nn`.

Every function here is an ordinary client of the public API: it adds nodes to the default graph and
returns tensors. The arithmetic itself is in the ops (`sl.raw_ops`).
"""
from sluice.nn._activations import (bias_add, crelu, elu, gelu, l2_loss, leaky_relu, log_softmax, relu, relu6,
                                    relu_layer, selu, sigmoid, silu, softmax, softplus, softsign, swish, tanh,
                                    xw_plus_b, zero_fraction)
from sluice.nn._candidates import (log_uniform_candidate_sampler, nce_loss, sampled_softmax_loss,
                                   uniform_candidate_sampler)
from sluice.nn._conv import (atrous_conv2d, conv1d, conv1d_transpose, conv2d, conv2d_backprop_filter,
                             conv2d_backprop_input, conv2d_transpose, conv3d, convolution, depthwise_conv2d,
                             depthwise_conv2d_backprop_filter, depthwise_conv2d_backprop_input,
                             depthwise_conv2d_native, separable_conv2d)
from sluice.nn._cross_entropy import (log_poisson_loss, sigmoid_cross_entropy_with_logits,
                                      softmax_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2,
                                      sparse_softmax_cross_entropy_with_logits, weighted_cross_entropy_with_logits)
from sluice.nn._dropout import dropout
from sluice.nn._embedding import embedding_lookup, embedding_lookup_sparse, in_top_k, top_k
from sluice.nn._normalization import (batch_norm_with_global_normalization, batch_normalization, fused_batch_norm,
                                      l2_normalize, local_response_normalization, lrn, moments, normalize_moments,
                                      sufficient_statistics, weighted_moments)
from sluice.nn._pool import avg_pool, avg_pool1d, avg_pool2d, max_pool, max_pool1d, max_pool2d, max_pool_with_argmax, pool
from sluice._array import depth_to_space, space_to_batch, space_to_depth

__all__ = [name for name in dir() if not name.startswith("_")]
