"""Initial values of variables under their short names."""

from sluice._initializers import (Constant, GlorotNormal, GlorotUniform, Identity, Initializer, Ones, Orthogonal, RandomNormal, RandomUniform,
                                  TruncatedNormal, UniformUnitScaling, VarianceScaling, Zeros, he_normal, he_uniform, lecun_normal, lecun_uniform)
from sluice._initializers import (Constant as constant, GlorotNormal as glorot_normal, GlorotUniform as glorot_uniform, Identity as identity,
                                  Ones as ones, Orthogonal as orthogonal, RandomNormal as random_normal, RandomUniform as random_uniform,
                                  TruncatedNormal as truncated_normal, UniformUnitScaling as uniform_unit_scaling,
                                  VarianceScaling as variance_scaling, Zeros as zeros)
from sluice._variables import global_variables_initializer as global_variables
from sluice._variables import local_variables_initializer as local_variables
from sluice._variables import variables_initializer as variables
