"""Layers with the names, variables and collections of `tf.compat.v1.layers`.

Each layer exists as a class (`Dense(10)(x)`, one object, variables shared between calls) and as a function
(`dense(x, 10)`, a fresh layer, shared only through `name=` and `reuse=`).
"""
from sluice.layers._base import InputSpec, Layer
from sluice.layers._conv import (Conv1D, Conv2D, Conv2DTranspose, SeparableConv2D, conv1d, conv2d, conv2d_transpose,
                                 separable_conv2d)
from sluice.layers._core import Dense, Dropout, Flatten, dense, dropout, flatten
from sluice.layers._normalization import BatchNormalization, batch_normalization
from sluice.layers._pooling import (AveragePooling1D, AveragePooling2D, MaxPooling1D, MaxPooling2D,
                                    average_pooling1d, average_pooling2d, max_pooling1d, max_pooling2d)

__all__ = [name for name in dir() if not name.startswith("_")]
