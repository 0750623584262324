"""`sl.math`, `sl.linalg`, `sl.random` and other namespaces: other names for what the package has anyway."""

import importlib
import sys
import types

# {namespace: names}. "det=MatrixDeterminant" is an op, "adjoint=_linalg:adjoint" an attribute of a module; a plain name, or
# "shuffle=random_shuffle", one of the package's own.
_TABLES = {
    "math": """abs accumulate_n acos acosh add add_n angle argmax argmin asin asinh atan atan2 atanh bincount ceil confusion_matrix
        conj cos cosh count_nonzero cumprod cumsum digamma divide divide_no_nan=div_no_nan equal erf erfc exp expm1 floor floordiv
        floormod greater greater_equal igamma igammac imag in_top_k=nn:in_top_k invert_permutation is_finite is_inf is_nan
        is_non_decreasing is_strictly_increasing l2_normalize=nn:l2_normalize less less_equal lgamma log log1p log_sigmoid
        log_softmax=nn:log_softmax logical_and logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan negative
        not_equal polygamma pow real reciprocal reduce_all reduce_any reduce_euclidean_norm reduce_logsumexp
        reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul segment_max
        segment_mean segment_min segment_prod segment_sum sigmoid sign sin sinh softmax=nn:softmax softplus=nn:softplus
        softsign=nn:softsign sqrt square squared_difference subtract tan tanh top_k=nn:top_k truediv unsorted_segment_max
        unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlogy
        zero_fraction=nn:zero_fraction zeta""",
    "linalg": """adjoint=_linalg:adjoint band_part=matrix_band_part cholesky cross det=MatrixDeterminant diag=matrix_diag
        diag_part=matrix_diag_part einsum eye global_norm inv=MatrixInverse l2_normalize=nn:l2_normalize
        logdet=_linalg:logdet matmul matrix_transpose matvec norm set_diag=matrix_set_diag solve=MatrixSolve
        tensor_diag=diag tensor_diag_part=diag_part tensordot trace transpose=matrix_transpose
        triangular_solve=MatrixTriangularSolve""",
    "random": """categorical=multinomial gamma=random_gamma get_seed
        log_uniform_candidate_sampler=nn:log_uniform_candidate_sampler multinomial normal=random_normal poisson=random_poisson
        set_random_seed shuffle=random_shuffle truncated_normal uniform=random_uniform
        uniform_candidate_sampler=nn:uniform_candidate_sampler""",
    "strings": """as_string join=string_join length=StringLength lower=StringLower reduce_join
        regex_full_match=RegexFullMatch regex_replace strip=string_strip substr=Substr to_hash_bucket_fast=string_to_hash_bucket_fast to_number=string_to_number
        upper=StringUpper""",
    "io": """TFRecordCompressionType=python_io:TFRecordCompressionType TFRecordOptions=python_io:TFRecordOptions
        TFRecordWriter=python_io:TFRecordWriter decode_base64 decode_csv decode_jpeg=DecodeJpeg
        decode_png=image:decode_png decode_raw encode_base64 encode_jpeg=EncodeJpeg
        encode_png=image:encode_png gfile matching_files parse_tensor read_file serialize_tensor
        tf_record_iterator=python_io:tf_record_iterator write_file write_graph=train:write_graph""",
    "bitwise": "bitwise_and=BitwiseAnd bitwise_or=BitwiseOr bitwise_xor=BitwiseXor invert=Invert left_shift=LeftShift right_shift=RightShift",
    "manip": "batch_to_space_nd gather_nd reshape reverse roll scatter_nd space_to_batch_nd tile",
    "debugging": """Assert assert_equal assert_greater assert_greater_equal assert_integer assert_less assert_less_equal assert_near
        assert_negative assert_non_negative assert_non_positive assert_none_equal assert_positive assert_proper_iterable assert_rank
        assert_rank_at_least assert_rank_in assert_same_float_dtype assert_scalar assert_type check_numerics is_finite is_inf is_nan
        is_non_decreasing is_numeric_tensor is_strictly_increasing""",
    "dtypes": """DType QUANTIZED_DTYPES as_dtype as_string bfloat16 bool cast complex complex64 complex128 double float16 float32 float64
        half int8 int16 int32 int64 qint8 qint16 qint32 quint8 quint16 resource saturate_cast string uint8 uint16 uint32 uint64 variant""",
    "queue": "FIFOQueue PaddingFIFOQueue PriorityQueue QueueBase RandomShuffleQueue",
    "version": "VERSION GIT_VERSION COMPILER_VERSION GRAPH_DEF_VERSION",
    "sysconfig": "CXX11_ABI_FLAG MONOLITHIC_BUILD get_compile_flags=_sysconfig:get_compile_flags get_include=_sysconfig:get_include "
                 "get_lib=_sysconfig:get_lib get_link_flags=_sysconfig:get_link_flags",
    "graph_util": """convert_variables_to_constants=_graph_util:convert_variables_to_constants
        extract_sub_graph=_graph_util:extract_sub_graph import_graph_def must_run_on_cpu=_graph_util:must_run_on_cpu
        remove_training_nodes=_graph_util:remove_training_nodes tensor_shape_from_node_def_name=_graph_util:tensor_shape_from_node_def_name""",
}
NAMES = tuple(_TABLES)


class _Namespace(types.ModuleType):
  """A module whose names are found when first used."""

  def __init__(self, name):
    super().__init__("sluice." + name, f"Other names for functions of sluice, as in tf.compat.v1.{name}.")
    self.__dict__["_names"] = dict(entry.partition("=")[::2] for entry in _TABLES[name].split())
    self.__dict__["__all__"] = sorted(self._names)

  def __getattr__(self, name):
    if name not in self._names:
      raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
    home = self._names[name] or name
    package = sys.modules["sluice"]
    if ":" in home:
      module, _, attribute = home.partition(":")
      value = getattr(importlib.import_module("sluice." + module), attribute)
    elif home[0].isupper() and home not in package._WHERE and not hasattr(package, home):
      value = getattr(package.raw_ops, home)
    else:
      value = getattr(package, home)
    self.__dict__[name] = value
    return value

  def __dir__(self):
    return list(self._names)


def make(name):
  """The namespace, registered so that it can be imported."""
  module = sys.modules["sluice." + name] = _Namespace(name)
  return module
