"""Layer: an object that owns variables and adds the same computation to the graph at each call."""
import re
import weakref

import sluice as sl


class InputSpec:
    """What a layer asks of its input: the rank, a least rank, and the sizes of some axes."""

    def __init__(self, dtype=None, shape=None, ndim=None, max_ndim=None, min_ndim=None, axes=None):
        self.dtype = dtype
        self.shape = None if shape is None else sl.TensorShape(shape)
        self.ndim = self.shape.ndims if shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = dict(axes or {})

    def check(self, layer_name, x):
        """Raises ValueError when the static shape of `x` contradicts this spec."""
        shape = x.get_shape()
        rank = shape.ndims
        start = "Input 0 of layer %s is incompatible with the layer: " % layer_name
        if rank is None:
            if self.ndim is not None or self.min_ndim is not None or self.axes:
                raise ValueError(start + "its rank is undefined, but the layer requires a defined rank.")
            return
        if self.ndim is not None and rank != self.ndim:
            raise ValueError(start + "expected ndim=%d, found ndim=%d. Full shape received: %s"
                             % (self.ndim, rank, shape.as_list()))
        if self.min_ndim is not None and rank < self.min_ndim:
            raise ValueError(start + "expected min_ndim=%d, found ndim=%d. Full shape received: %s"
                             % (self.min_ndim, rank, shape.as_list()))
        if self.max_ndim is not None and rank > self.max_ndim:
            raise ValueError(start + "expected max_ndim=%d, found ndim=%d" % (self.max_ndim, rank))
        sizes = shape.as_list()
        for axis, wanted in self.axes.items():
            if wanted is not None and sizes[axis] not in (wanted, None):
                raise ValueError(start + "expected axis %d of input shape to have value %d but received input with "
                                 "shape %s" % (axis, wanted, sizes))


def _snake_case(name):
    """`MaxPooling2D` as `max_pooling2d`."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


_layer_counts = weakref.WeakKeyDictionary()  # graph -> {base name: layers made}


def _unique_layer_name(base):
    counts = _layer_counts.setdefault(sl.get_default_graph(), {})
    counts[base] = counts.get(base, 0) + 1
    return base if counts[base] == 1 else "%s_%d" % (base, counts[base] - 1)


class Layer:
    """Base of all layers. A subclass makes its variables in `build(input_shape)` and its nodes in `call(inputs)`.

    Variables live in the variable scope `scope` (taken at the first call: the layer's name made unique), nodes in
    the name scope of the same name. `reuse=True` (a private argument `_reuse`) makes get_variable find existing
    variables instead of making new ones.
    """

    def __init__(self, trainable=True, name=None, dtype=None, **kwargs):
        scope = kwargs.pop("_scope", None)
        self._reuse = kwargs.pop("_reuse", None)
        if kwargs:
            raise TypeError("%s: unknown argument %s" % (type(self).__name__, ", ".join(sorted(kwargs))))
        self.trainable = trainable
        self.built = False
        self.input_spec = None
        self._graph = None
        self._dtype = None if dtype is None else sl.as_dtype(dtype).base_dtype
        self._trainable_weights, self._non_trainable_weights = [], []
        self._updates, self._losses, self._calls = [], [], []
        self._base_name = name or _snake_case(type(self).__name__)
        self._name = name or _unique_layer_name(self._base_name)
        self._scope = None
        if scope:
            with sl.variable_scope(scope) as captured:
                self._scope = captured

    # What it is.
    @property
    def name(self):
        return self._name

    @property
    def dtype(self):
        return None if self._dtype is None else self._dtype.name

    @property
    def graph(self):
        return self._graph

    @property
    def scope_name(self):
        if self._scope is None:
            raise ValueError("No name available for layer scope because the layer %r has not been used yet. The "
                             "scope name is determined the first time the layer instance is called." % self._name)
        return self._scope.name

    # What it owns.
    @property
    def trainable_weights(self):
        return self._trainable_weights if self.trainable else []

    @property
    def non_trainable_weights(self):
        return self._non_trainable_weights if self.trainable else self._trainable_weights + self._non_trainable_weights

    @property
    def weights(self):
        return self.trainable_weights + self.non_trainable_weights

    variables = weights
    trainable_variables = trainable_weights
    non_trainable_variables = non_trainable_weights

    @property
    def updates(self):
        return [op for op, _ in self._updates] if self.trainable else []

    @property
    def losses(self):
        return [loss for loss, _ in self._losses]

    def get_updates_for(self, inputs):
        """The updates that belong to a call on `inputs`; None asks for the unconditional ones."""
        return self._for(self._updates, inputs) if self.trainable else []

    def get_losses_for(self, inputs):
        """The losses that belong to a call on `inputs`; None asks for the unconditional ones."""
        return self._for(self._losses, inputs)

    @staticmethod
    def _for(entries, inputs):
        wanted = None if inputs is None else {id(x) for x in _flat(inputs)}
        return [e for e, at in entries if (at is None if wanted is None else at is not None and at & wanted)]

    @property
    def input(self):
        return self._only_call()[0]

    @property
    def output(self):
        return self._only_call()[1]

    @property
    def input_shape(self):
        return tuple(self.input.get_shape().as_list())

    @property
    def output_shape(self):
        return tuple(self.output.get_shape().as_list())

    def _only_call(self):
        if len(self._calls) != 1:
            raise AttributeError("Layer %s was called %d times: `input` and `output` need exactly one call"
                                 % (self._name, len(self._calls)))
        return self._calls[0]

    def count_params(self):
        """How many numbers the layer's variables hold."""
        if not self.built:
            raise ValueError("You tried to call `count_params` on %s, but the layer isn't built." % self._name)
        return sum(v.get_shape().num_elements() for v in self.weights)

    # What subclasses write.
    def build(self, input_shape):
        self.built = True

    def call(self, inputs, **kwargs):
        return inputs

    def compute_output_shape(self, input_shape):
        raise NotImplementedError("%s does not compute its output shape" % type(self).__name__)

    # What subclasses use.
    def add_weight(self, name, shape, dtype=None, initializer=None, regularizer=None, trainable=None, constraint=None,
                   use_resource=None, partitioner=None, **kwargs):
        """Makes (or, under reuse, finds) one variable of this layer."""
        trainable = True if trainable is None else trainable
        existed = set(map(id, sl.global_variables()))
        with sl.variable_scope(self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False) as scope, \
                sl.name_scope(scope.original_name_scope):
            variable = sl.get_variable(
                name, shape=shape, initializer=initializer, dtype=sl.as_dtype(dtype or self._dtype or sl.float32),
                constraint=constraint, trainable=trainable and self.trainable, use_resource=use_resource,
                partitioner=partitioner, **kwargs)
            parts = list(variable) if type(variable).__name__ == "PartitionedVariable" else [variable]
            if regularizer is not None and not all(id(p) in existed for p in parts):
                for part in parts:
                    with sl.colocate_with(part.op), sl.name_scope(name + "/Regularizer"):
                        loss = regularizer(part)
                    if loss is not None:
                        self.add_loss(loss)
        (self._trainable_weights if trainable else self._non_trainable_weights).extend(parts)
        return variable

    add_variable = add_weight

    def add_loss(self, losses, inputs=None):
        """Adds loss tensors to the layer and to the REGULARIZATION_LOSSES collection."""
        for loss in losses if isinstance(losses, (list, tuple)) else [losses]:
            self._losses.append((loss, _ids(inputs)))
            sl.add_to_collection(sl.GraphKeys.REGULARIZATION_LOSSES, loss)

    def add_update(self, updates, inputs=None):
        """Adds update operations to the layer and to the UPDATE_OPS collection."""
        for update in updates if isinstance(updates, (list, tuple)) else [updates]:
            self._updates.append((update, _ids(inputs)))
            sl.add_to_collection(sl.GraphKeys.UPDATE_OPS, update)

    def __call__(self, inputs, *args, **kwargs):
        scope = kwargs.pop("scope", None)
        if self._scope is None:
            self._capture_scope(scope)
        graph = sl.get_default_graph()
        if self._graph is None:
            self._graph = graph
        elif self._graph is not graph:
            raise ValueError("Layer %s belongs to another graph than the current one" % self._name)
        with sl.variable_scope(self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False) as scope, \
                sl.name_scope(scope.original_name_scope):
            first = _flat(inputs)[0]
            if not hasattr(first, "get_shape"):
                first = inputs = sl.convert_to_tensor(inputs)
            if not self.built:
                if self._dtype is None:
                    self._dtype = first.dtype.base_dtype
                self._check(first)
                self.build(first.get_shape())
                self.built = True
            self._check(first)
            outputs = self.call(inputs, *args, **kwargs)
        self._calls.append((inputs, outputs))
        return outputs

    def apply(self, inputs, *args, **kwargs):
        """The same as calling the layer."""
        return self(inputs, *args, **kwargs)

    def _capture_scope(self, scope):
        if self._reuse and scope is None:
            scope = self._base_name
        if scope is not None or self._reuse:
            with sl.variable_scope(scope) as captured:
                self._scope = captured
        else:
            with sl.variable_scope(None, default_name=self._base_name) as captured:
                self._scope = captured

    def _check(self, x):
        if self.input_spec is not None:
            self.input_spec.check(self._name, x)

    def __repr__(self):
        return "<%s '%s'%s>" % (type(self).__name__, self._name, "" if self.built else " (not built)")


def _flat(inputs):
    if isinstance(inputs, dict):
        inputs = [inputs[k] for k in sorted(inputs)]
    return list(inputs) if isinstance(inputs, (list, tuple)) and inputs and hasattr(inputs[0], "get_shape") \
        else [inputs]


def _ids(inputs):
    return None if inputs is None or inputs is True else {id(x) for x in _flat(inputs)}


def tuple_of(value, n, name):
    """`value`, an int or n ints, as a tuple of n ints."""
    if isinstance(value, int):
        return (value,) * n
    try:
        result = tuple(int(v) for v in value)
    except (TypeError, ValueError):
        raise ValueError("The `%s` argument must be a tuple of %d integers. Received: %r" % (name, n, value)) from None
    if len(result) != n:
        raise ValueError("The `%s` argument must be a tuple of %d integers. Received: %r" % (name, n, value))
    return result


def channels_first(data_format):
    """Whether a layer's data_format puts channels before the spatial dimensions."""
    data_format = data_format.lower()
    if data_format not in ("channels_first", "channels_last"):
        raise ValueError('The `data_format` argument must be one of "channels_first", "channels_last". Received: '
                         + str(data_format))
    return data_format == "channels_first"


def padding_of(padding):
    """The upper-case padding of the ops."""
    upper = padding.upper()
    if upper not in ("VALID", "SAME"):
        raise ValueError('The `padding` argument must be one of "valid", "same". Received: ' + str(padding))
    return upper


def window_length(length, size, padding, stride, dilation=1):
    """The output length of a window of `size` over `length` (None when unknown)."""
    if length is None:
        return None
    size = size + (size - 1) * (dilation - 1)
    length = length if padding == "SAME" else length - size + 1
    return (length + stride - 1) // stride
