"""The global step: one integer variable of a graph that counts training steps."""
import sluice as sl


def get_global_step(graph=None):
    """The graph's global step, or None."""
    graph = graph or sl.get_default_graph()
    found = graph.get_collection(sl.GraphKeys.GLOBAL_STEP)
    if len(found) == 1:
        step = found[0]
    elif found:
        raise RuntimeError("Multiple items found in collection 'global_step': %s" % [v.name for v in found])
    else:
        try:
            step = graph.get_tensor_by_name("global_step:0")
        except KeyError:
            return None
    assert_global_step(step)
    return step


def create_global_step(graph=None):
    """Makes the graph's global step; a graph may have one only."""
    graph = graph or sl.get_default_graph()
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default() as g, g.name_scope(None):
        return sl.get_variable(sl.GraphKeys.GLOBAL_STEP, shape=[], dtype=sl.int64,
                               initializer=sl.zeros_initializer(), trainable=False,
                               collections=[sl.GraphKeys.GLOBAL_VARIABLES, sl.GraphKeys.GLOBAL_STEP])


def get_or_create_global_step(graph=None):
    """The graph's global step, made when there is none."""
    graph = graph or sl.get_default_graph()
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def assert_global_step(global_step_tensor):
    """Raises TypeError or ValueError unless the argument is an integer scalar variable or tensor."""
    if not (isinstance(global_step_tensor, (sl.Variable, sl.Tensor)) or hasattr(global_step_tensor, "handle")):
        raise TypeError('Existing "global_step" must be a Variable or Tensor: %s.' % (global_step_tensor,))
    if not global_step_tensor.dtype.base_dtype.is_integer:
        raise TypeError('Existing "global_step" does not have integer type: %s' % global_step_tensor.dtype)
    shape = global_step_tensor.get_shape()
    if shape.ndims not in (0, None):
        raise TypeError('Existing "global_step" is not scalar: %s' % shape)


def global_step(sess, global_step_tensor):
    """The value of the global step as a Python int."""
    return int(sess.run(global_step_tensor))
