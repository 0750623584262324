"""How many floating-point operations and bytes a kernel takes at least, from its op and the shapes it had.

A multiply-add counts two, an element of an element-wise op one (exp and its kin too), and a tensor's bytes count once for each time
they must be read or written if nothing stays in a cache. The counts know no attributes: the shapes of what goes in and
comes out determine them. `None` means that a shape is not known. (The placer's cost model ranks nodes by traits before
any shape is certain; it is off by the size of a filter, which would not do here.)
"""
import math

# Ops that hand their input on, or look at nothing.
_FREE = frozenset("""Identity IdentityN Reshape ExpandDims Squeeze StopGradient PreventGradient Snapshot ReadVariableOp VarHandleOp
    Variable VariableV2 NoOp Const Placeholder PlaceholderWithDefault Shape ShapeN Rank Size Arg Retval ReadRef Switch Merge Enter Exit
    NextIteration LoopCond ControlTrigger BroadcastGradientArgs If StatelessIf While StatelessWhile Case PartitionedCall
    StatefulPartitionedCall Recv Send HostRecv HostSend""".split())

# Ops that move elements and calculate nothing.
_MOVES = frozenset("""Transpose ConjugateTranspose Concat ConcatV2 Split SplitV Slice StridedSlice StridedSliceGrad Pad PadV2 MirrorPad
    Tile Pack Unpack Gather GatherV2 GatherNd ResourceGather Cast Fill ZerosLike OnesLike Reverse ReverseV2 Roll BroadcastTo
    SpaceToBatchND BatchToSpaceND SpaceToDepth DepthToSpace Where OneHot Select SelectV2 Assign AssignVariableOp Copy Bitcast
    DynamicPartition DynamicStitch ScatterNd ScatterUpdate ResourceScatterUpdate Range""".split())

# FLOP for each element of the largest tensor.
_WEIGHTS = {"Softmax": 5, "LogSoftmax": 5, "SoftmaxCrossEntropyWithLogits": 8, "SparseSoftmaxCrossEntropyWithLogits": 8,
            "Sigmoid": 4, "SigmoidGrad": 3, "TanhGrad": 3, "Softplus": 4, "Elu": 3, "Selu": 3, "FusedBatchNorm": 8,
            "FusedBatchNormV2": 8, "FusedBatchNormV3": 8, "FusedBatchNormGrad": 12, "FusedBatchNormGradV2": 12,
            "FusedBatchNormGradV3": 12, "LRN": 10}

# Updates of variables: (FLOP for each element of the gradient, arrays of its size that are read or written).
_UPDATES = {"GradientDescent": (2, 3), "Momentum": (4, 5), "KerasMomentum": (4, 5), "Adam": (12, 7), "Adagrad": (5, 5),
            "AdagradV2": (6, 5), "RMSProp": (8, 7), "CenteredRMSProp": (11, 9), "Adadelta": (10, 7), "Ftrl": (12, 7), "FtrlV2": (13, 7),
            "AdaMax": (9, 7), "ProximalGradientDescent": (5, 3)}


class Value:
  """A tensor that a kernel took or made: a shape (tuple) and the bytes of an element."""

  __slots__ = ("shape", "size")

  def __init__(self, shape, size):
    self.shape, self.size = tuple(shape), size

  @property
  def elements(self):
    return math.prod(self.shape)

  @property
  def bytes(self):
    return self.elements * self.size


def cost(op, inputs, outputs):
  """(FLOP, bytes) of a kernel that took `inputs` and made `outputs`: Values, or None where a shape is not known; or None."""
  op = op.lstrip("_")
  if op in _FREE or not (inputs or outputs):
    return 0, 0
  for prefix in ("ResourceSparseApply", "SparseApply", "ResourceApply", "Apply"):
    if op.startswith(prefix):
      return _update(op[len(prefix):], inputs)
  if any(v is None for v in inputs + outputs):
    return None
  moved = sum(v.bytes for v in inputs) + sum(v.bytes for v in outputs)
  flops = _contraction(op, inputs, outputs)
  if flops is not None:
    return flops, moved
  if op in ("Gather", "GatherV2", "GatherNd", "ResourceGather"):  # reads what it picks
    return 0, 2 * sum(v.bytes for v in outputs) + inputs[1].bytes
  if op in _MOVES:
    return 0, moved
  if op.startswith(("AssignAdd", "AssignSub")):
    return inputs[-1].elements, 3 * inputs[-1].bytes
  largest = max(v.elements for v in inputs + outputs)
  return _WEIGHTS.get(op, 1) * largest, moved


def _contraction(op, inputs, outputs):
  """FLOP of matrix products and convolutions, None for anything else."""
  if "MatMul" in op and len(inputs) > 1:
    a, out = inputs[0].shape, outputs[0].shape
    if len(a) < 2 or len(out) < 2 or not out[-2]:
      return 0
    return 2 * outputs[0].elements * (a[-1] * a[-2] // out[-2])
  if "Conv" not in op or len(inputs) < 2:
    return None
  if "BackpropInput" in op and len(inputs) > 2:
    filters, image = inputs[1].shape, inputs[2]
  elif "BackpropFilter" in op and len(inputs) > 2:
    filters, image = outputs[0].shape, inputs[2]
  else:
    filters, image = inputs[1].shape, outputs[0]
  if len(filters) < 3 or not math.prod(filters):
    return None
  # Of a depthwise filter [height, width, channels, multiplier] an element of the image takes height * width.
  taps = math.prod(filters[:-2]) if "Depthwise" in op else math.prod(filters[:-1])
  return 2 * image.elements * taps


def _update(rule, inputs):
  weights = _UPDATES.get(rule.partition("With")[0])
  # The gradient is the largest of what comes in; handles of variables are scalars.
  known = [v for v in inputs if v is not None]
  if weights is None or not known:
    return None
  gradient = max(known, key=lambda v: v.elements)
  return weights[0] * gradient.elements, weights[1] * gradient.bytes
