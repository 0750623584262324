"""Sluice: a dataflow-graph machine-learning runtime with the names of `tf.compat.v1`.

    import sluice as sl

    x = sl.placeholder(sl.float32, [None, 3])
    y = sl.reduce_sum(x * 2, axis=1)
    with sl.Session() as sess:
      print(sess.run(y, {x: [[1, 2, 3]]}))

Public names are listed in `_HOMES`; each is loaded with its module when it is first used.
"""

import importlib as _importlib

__version__ = "0.1.0"

from sluice._dtypes import (DType, QUANTIZED_DTYPES, as_dtype, bfloat16, bool_, complex64, complex128, double, float16, float32, float64,
                            half, int8, int16, int32, int64, qint8, qint16, qint32, quint8, quint16, resource, string, uint8, uint16, uint32,
                            uint64, variant)
from sluice._shapes import Dimension, TensorShape, dimension_at_index, dimension_value

bool = bool_  # pylint: disable=redefined-builtin
newaxis = None
VERSION = __version__
GIT_VERSION = "v" + __version__
GRAPH_DEF_VERSION_MIN_CONSUMER = 0
GRAPH_DEF_VERSION_MIN_PRODUCER = 0
GRAPH_DEF_VERSION = 1087
COMPILER_VERSION = "C++17"
CXX11_ABI_FLAG = 1
MONOLITHIC_BUILD = 0

# Where each public name lives: {module: names}. "raw_ops" entries may rename: "matrix_inverse=MatrixInverse".
_HOMES = {
    "_graph": """Graph GraphKeys IndexedSlices NoGradient NotDifferentiable Operation RegisterGradient SparseTensor SparseTensorValue
        Tensor add_to_collection add_to_collections colocate_with container control_dependencies device
        get_all_collection_keys get_collection get_collection_ref get_default_graph get_default_session get_seed init_scope is_tensor
        name_scope op_scope reset_default_graph set_random_seed""",
    "_device": "DeviceSpec",
    "_convert": """constant convert_to_tensor convert_to_tensor_or_indexed_slices convert_to_tensor_or_sparse_tensor
        get_static_value=constant_value make_ndarray make_tensor_proto register_tensor_conversion_function""",
    "_session": "InteractiveSession Session",
    "_importer": "import_graph_def",
    "_library": "load_library load_op_library",
    "_array": """batch_gather batch_to_space boolean_mask broadcast_dynamic_shape broadcast_static_shape broadcast_to concat depth_to_space
        expand_dims fill gather gather_nd guarantee_const identity invert_permutation matrix_diag matrix_diag_part matrix_set_diag
        matrix_transpose meshgrid one_hot ones ones_like pad parallel_stack placeholder placeholder_with_default rank repeat
        required_space_to_batch_paddings reshape reverse reverse_sequence reverse_v2 scatter_nd searchsorted sequence_mask setdiff1d shape
        shape_n size slice space_to_batch space_to_depth sparse_placeholder split squeeze stack strided_slice tile transpose
        unique unique_with_counts unstack where where_v2 zeros zeros_like""",
    "_math": """abs accumulate_n add add_n angle arg_max=argmax arg_min=argmin argmax argmin argsort bincount cast complex confusion_matrix conj
        count_nonzero cumprod cumsum diag diag_part div div_no_nan divide einsum equal eye floordiv floormod imag lin_space linspace
        log_sigmoid logical_xor matmul matvec maximum minimum mod multiply multiply_no_nan negative norm not_equal pow range real reduce_all
        reduce_any reduce_euclidean_norm reduce_join reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum
        reduce_variance round saturate_cast scalar_mul sigmoid sign sort subtract tensordot to_bfloat16 to_complex128 to_complex64 to_double to_float to_int32 to_int64
        trace truediv unsorted_segment_mean unsorted_segment_sqrt_n""",
    "_random": """multinomial random_crop random_gamma random_normal random_poisson random_shuffle random_uniform truncated_normal""",
    "_variables": """AUTO_REUSE=_AUTO_REUSE Variable VariableAggregation VariableSynchronization all_variables assert_variables_initialized assign
        assign_add assign_sub batch_scatter_update count_up_to disable_resource_variables enable_resource_variables global_variables
        global_variables_initializer initialize_all_variables initialize_local_variables initialize_variables is_variable_initialized
        local_variables local_variables_initializer model_variables moving_average_variables report_uninitialized_variables
        resource_variables_enabled scatter_add scatter_div scatter_max scatter_min scatter_mul scatter_nd_add scatter_nd_sub
        scatter_nd_update scatter_sub scatter_update trainable_variables variables_initializer""",
    "_variable_scope": """VariableScope create_partitioned_variables fixed_size_partitioner get_local_variable get_variable
        get_variable_scope min_max_variable_partitioner no_regularizer variable_axis_size_partitioner variable_creator_scope
        variable_op_scope variable_scope PartitionedVariable""",
    "_initializers": """constant_initializer=Constant glorot_normal_initializer=GlorotNormal glorot_uniform_initializer=GlorotUniform
        ones_initializer=Ones orthogonal_initializer=Orthogonal random_normal_initializer=RandomNormal
        random_uniform_initializer=RandomUniform tables_initializer truncated_normal_initializer=TruncatedNormal initialize_all_tables=tables_initializer
        uniform_unit_scaling_initializer=UniformUnitScaling variance_scaling_initializer=VarianceScaling zeros_initializer=Zeros""",
    "_control": """Assert Print case cond group no_op print switch_case tuple while_loop with_dependencies""",
    "errors": "OpError",
    "_checks": """assert_equal assert_greater assert_greater_equal assert_integer assert_less assert_less_equal assert_near assert_negative
        assert_non_negative assert_non_positive assert_none_equal assert_positive assert_proper_iterable assert_rank assert_rank_at_least
        assert_rank_in assert_same_float_dtype assert_scalar assert_type ensure_shape is_non_decreasing is_numeric_tensor
        is_strictly_increasing verify_tensor_all_finite""",
    "_gradients": """AggregationMethod UnconnectedGradients custom_gradient gradients grad_pass_through hessians no_gradient=NotDifferentiable
        recompute_grad stop_gradient""",
    "_script_ops": "numpy_function py_func py_function",
    "_queues": "FIFOQueue PaddingFIFOQueue PriorityQueue QueueBase RandomShuffleQueue",
    "_accumulators": "ConditionalAccumulator ConditionalAccumulatorBase SparseConditionalAccumulator",
    "_clip": "clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value global_norm",
    "_progress": "progress",
    "_template": "make_template",
    "raw_ops": """acos=Acos acosh=Acosh asin=Asin asinh=Asinh atan=Atan atan2=Atan2 atanh=Atanh as_string=AsString
        batch_to_space_nd=BatchToSpaceND bitcast=Bitcast ceil=Ceil check_numerics=CheckNumerics cholesky=Cholesky
        cos=Cos cosh=Cosh cross=Cross decode_base64=DecodeBase64 decode_csv=DecodeCSV
        decode_raw=DecodeRaw digamma=Digamma
        dynamic_partition=DynamicPartition dynamic_stitch=DynamicStitch encode_base64=EncodeBase64 erf=Erf
        erfc=Erfc exp=Exp expm1=Expm1 extract_image_patches=ExtractImagePatches floor=Floor
        fake_quant_with_min_max_args=FakeQuantWithMinMaxArgs fake_quant_with_min_max_vars=FakeQuantWithMinMaxVars
        greater=Greater greater_equal=GreaterEqual identity_n=IdentityN igamma=Igamma igammac=Igammac is_finite=IsFinite
        is_inf=IsInf is_nan=IsNan less=Less less_equal=LessEqual lgamma=Lgamma log=Log log1p=Log1p logical_and=LogicalAnd
        logical_not=LogicalNot logical_or=LogicalOr matching_files=MatchingFiles matrix_band_part=MatrixBandPart
        matrix_determinant=MatrixDeterminant matrix_inverse=MatrixInverse matrix_solve=MatrixSolve
        matrix_triangular_solve=MatrixTriangularSolve parse_tensor=ParseTensor polygamma=Polygamma read_file=ReadFile realdiv=RealDiv reciprocal=Reciprocal regex_replace=RegexReplace rint=Rint roll=Roll rsqrt=Rsqrt
        segment_max=SegmentMax segment_mean=SegmentMean segment_min=SegmentMin segment_prod=SegmentProd segment_sum=SegmentSum
        serialize_tensor=SerializeTensor sin=Sin sinh=Sinh space_to_batch_nd=SpaceToBatchND sqrt=Sqrt square=Square
        squared_difference=SquaredDifference string_join=StringJoin
        string_strip=StringStrip string_to_hash_bucket_fast=StringToHashBucketFast
        string_to_number=StringToNumber tan=Tan tanh=Tanh
        tensor_scatter_add=TensorScatterAdd tensor_scatter_sub=TensorScatterSub tensor_scatter_update=TensorScatterUpdate
        tensor_scatter_nd_add=TensorScatterAdd tensor_scatter_nd_update=TensorScatterUpdate truncatediv=TruncateDiv truncatemod=TruncateMod
        unsorted_segment_max=UnsortedSegmentMax unsorted_segment_min=UnsortedSegmentMin
        unsorted_segment_prod=UnsortedSegmentProd unsorted_segment_sum=UnsortedSegmentSum where_v3=SelectV2 write_file=WriteFile
        substr=Substr timestamp=Timestamp floor_div=FloorDiv xdivy=Xdivy xlogy=Xlogy zeta=Zeta""",
    "_compat": """add_check_numerics_ops disable_control_flow_v2 disable_eager_execution disable_tensor_equality disable_v2_behavior
        disable_v2_tensorshape enable_control_flow_v2 executing_eagerly executing_eagerly_outside_functions control_flow_v2_enabled""",
}
_MODULES = """app bitwise compat data_files debugging distribute dtypes errors flags gfile graph_util image initializers io layers linalg logging losses manip math metrics nn
    protos python_io queue random raw_ops saved_model strings summary sysconfig test timeline train version""".split()
_PROTOS = {
    "AttrValue": "attr_value_pb2", "ConfigProto": "config_pb2", "Event": "event_pb2", "GPUOptions": "config_pb2",
    "GraphDef": "graph_pb2", "GraphOptions": "config_pb2", "HistogramProto": "summary_pb2", "MetaGraphDef": "meta_graph_pb2",
    "NameAttrList": "attr_value_pb2", "NodeDef": "node_def_pb2", "OptimizerOptions": "config_pb2", "RunMetadata": "config_pb2",
    "RunOptions": "config_pb2", "SessionLog": "event_pb2", "Summary": "summary_pb2", "SummaryMetadata": "summary_pb2",
    "TensorInfo": "meta_graph_pb2", "LogMessage": "event_pb2",
}
# Of the wrong era, or elsewhere: what to use instead.
_ABSENT = {
    "keras": "use sl.layers, or build graphs with the functions of sluice",
    "estimator": "write the training loop with sl.Session and sl.train",
    "contrib": "its parts were never stable; see sl.nn, sl.layers and sl.train",
    "function": "graphs are built directly: there is no eager execution to trace",
    "GradientTape": "use sl.gradients on the graph",
    "data": "feed arrays, or use queues; tf.data pipelines are not supported",
}


def _index():
  where = {}
  for module, names in _HOMES.items():
    for entry in names.split():
      public, _, attribute = entry.partition("=")
      where[public] = (module, attribute or public)
  return where


_WHERE = _index()


def __getattr__(name):
  home = _WHERE.get(name)
  if home is not None:
    _importlib.import_module("sluice._math")  # It gives tensors their operators; waits for another thread that loads it.
    value = getattr(_importlib.import_module("sluice." + home[0]), home[1])
  elif name in _PROTOS:
    value = getattr(_importlib.import_module("sluice.protos." + _PROTOS[name]), name)
  elif name in _MODULES:
    from sluice import _namespaces
    if name in _namespaces.NAMES:
      value = globals()[name] = _namespaces.make(name)
      return value
    try:
      value = _importlib.import_module("sluice." + name)
    except ModuleNotFoundError as e:
      if e.name != "sluice." + name:
        raise
      raise AttributeError(f"module 'sluice' has no attribute '{name}'" + (f": {_ABSENT[name]}" if name in _ABSENT else "")) from None
  elif name in _ABSENT:
    raise AttributeError(f"module 'sluice' has no attribute '{name}': {_ABSENT[name]}")
  else:
    raise AttributeError(f"module 'sluice' has no attribute '{name}'")
  globals()[name] = value
  return value


def __dir__():
  return sorted(set(globals()) | set(_WHERE) | set(_PROTOS) | set(_MODULES))
