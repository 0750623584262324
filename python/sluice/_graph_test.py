"""Graphs as TF1 programs build them: names, scopes, devices, collections, errors at the line."""

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
  with sl.Graph().as_default() as g:
    yield g


def _nodes(g):
  return [(op.name, op.type) for op in g.get_operations()]


def test_default_names_are_those_of_tf1(graph):
  x = sl.placeholder(sl.float32, [2, 3], name="x")
  _ = x + 1, 1 - x, x[0], sl.reduce_sum(x), sl.transpose(x), sl.zeros([2]), sl.concat([x, x], 0), sl.Variable(1.0)
  assert [n for n, _ in _nodes(graph)] == [
      "x", "add/y", "add", "sub/x", "sub", "strided_slice/stack", "strided_slice/stack_1", "strided_slice/stack_2", "strided_slice", "Const", "Sum",
      "transpose/perm", "transpose", "zeros", "concat/axis", "concat", "Variable/initial_value", "Variable", "Variable/Assign", "Variable/read"]


def test_names_are_made_unique_without_regard_to_case(graph):
  assert [sl.no_op(n).name for n in ("a", "A", "a", "a_1")] == ["a", "A_1", "a_2", "a_1_1"]
  with sl.name_scope("s"):
    assert sl.constant(1).op.name == "s/Const"
  with sl.name_scope("s") as scope:
    assert scope == "s_1/" and sl.constant(1).op.name == "s_1/Const"
    with sl.name_scope(None):
      assert sl.constant(1).op.name == "Const"
    with sl.name_scope("s/"):
      assert sl.constant(1).op.name == "s/Const_1"
  assert sl.constant(1, name="s/").op.name == "s"
  for bad in ("a b", "-a", "$"):
    with pytest.raises(ValueError, match="not a valid"):
      sl.no_op(bad)


def test_control_dependencies_without_those_that_inputs_imply(graph):
  a, b = sl.constant(1), sl.constant(2)
  with sl.control_dependencies([a, b]):
    c = sl.identity(a)
    d = sl.identity(c)
    with sl.control_dependencies(None):
      e = sl.identity(a)
  assert c.op.control_inputs == [b.op] and d.op.control_inputs == [] and e.op.control_inputs == []


def test_devices_merge_and_functions_are_called(graph):
  with sl.device("/job:ps/task:1"):
    a = sl.constant(1)
    with sl.device("/gpu:2"):
      b = sl.constant(1)
    with sl.device(None):
      c = sl.constant(1)
  with sl.device(lambda op: "/cpu:1" if op.type == "Const" else "/cpu:0"):
    d = sl.constant(1)
    e = sl.identity(d)
  assert [t.device for t in (a, b, c, d, e)] == [
      "/job:ps/task:1", "/job:ps/task:1/device:GPU:2", "", "/device:CPU:1", "/device:CPU:0"]


def test_colocation(graph):
  with sl.device("/cpu:1"):
    a = sl.constant(1)
  with sl.colocate_with(a.op):
    b = sl.identity(a)
  assert b.op.get_attr("_class") == [b"loc:@Const"] and b.device == "/device:CPU:1"
  assert b.op.colocation_groups() == [b"loc:@Const"]
  v = sl.Variable(1.0, name="v")
  assert v.initializer.get_attr("_class") == [b"loc:@v"] and v.value().op.get_attr("_class") == [b"loc:@v"]


def test_looking_up(graph):
  a = sl.constant(1, name="a")
  assert graph.get_tensor_by_name("a:0") is a and graph.get_operation_by_name("a") is a.op
  assert graph.as_graph_element("a:0") is a
  with pytest.raises(KeyError, match="does not exist"):
    graph.get_tensor_by_name("b:0")
  with pytest.raises(KeyError, match="only has 1 outputs"):
    graph.get_tensor_by_name("a:1")
  with pytest.raises(ValueError, match="not a Tensor"):
    graph.get_tensor_by_name("a")
  with pytest.raises(ValueError, match="not an element of this graph"):
    sl.Graph().as_graph_element(a)


def test_collections(graph):
  sl.add_to_collection("c", 1)
  sl.add_to_collections(["c", "d"], 2)
  sl.get_collection_ref("c").append(3)
  assert sl.get_collection("c") == [1, 2, 3] and sl.get_collection("d") == [2]
  v, w = sl.Variable(1.0, name="s/v"), sl.Variable(1.0, name="t/v", trainable=False)
  assert sl.global_variables() == [v, w] and sl.trainable_variables() == [v] and sl.global_variables("t/") == [w]


def test_mistakes_are_told_at_the_line_that_made_them(graph):
  a, b = sl.ones([2, 3]), sl.ones([4, 3])
  with pytest.raises(ValueError, match=r"MatMul 'mm' \(_graph_test.py:\d+\)"):
    sl.matmul(a, b, name="mm")
  with pytest.raises(TypeError, match="Input 'y' of 'AddV2' Op has type float64 that does not match type float32 of argument 'x'"):
    sl.raw_ops.AddV2(a, sl.constant(1.0, sl.float64))
  with pytest.raises(TypeError, match="not in list of allowed values"):
    sl.matmul(sl.constant([["a"]]), sl.constant([["b"]]))
  with pytest.raises(ValueError, match="Tensor conversion requested dtype"):
    sl.convert_to_tensor(a, dtype=sl.int32)
  with pytest.raises(TypeError, match="is not allowed"):
    bool(a)
  assert sl.identity(a).op.type == "Identity"  # The graph is still good.


def test_a_failed_node_leaves_its_name_taken_as_in_tf1_or_free(graph):
  with pytest.raises(ValueError):
    sl.reshape(sl.ones([2]), [3], name="r")
  assert "r" not in [n for n, _ in _nodes(graph)]


def test_finalized_graphs_do_not_grow(graph):
  graph.finalize()
  with pytest.raises(RuntimeError, match="finalized"):
    sl.constant(1)


def test_graph_def_round_trip(graph):
  x = sl.placeholder(sl.float32, [None, 2], name="x")
  sl.identity(sl.concat([x, x], 1), name="y")
  message = graph.as_graph_def()
  assert [n.name for n in message.node] == ["x", "concat/axis", "concat", "y"]
  with sl.Graph().as_default() as other:
    y, = sl.import_graph_def(message, return_elements=["y:0"], name="")
    assert y.shape.as_list() == [None, 4]
    a = sl.ones([1, 2])
    z, op = sl.import_graph_def(message, input_map={"x": a}, return_elements=["y:0", "concat"], name="again")
    assert op.name == "again/concat" and z.shape.as_list() == [1, 4]
    with sl.Session() as sess:
      assert sess.run(y, {"x:0": [[1, 2]]}).tolist() == [[1, 2, 1, 2]]
      assert sess.run(z).tolist() == [[1, 1, 1, 1]]
    with pytest.raises(ValueError, match="not found in graph_def"):
      sl.import_graph_def(message, input_map={"nowhere": a})
  assert other.as_graph_def().node[0].op == "Placeholder"


def test_constants_convert_as_in_tf1(graph):
  assert sl.constant(1).dtype == sl.int32 and sl.constant(1.5).dtype == sl.float32 and sl.constant(2**40).dtype == sl.int64
  assert sl.constant(np.float64(1)).dtype == sl.float64 and sl.constant(True).dtype == sl.bool and sl.constant("a").dtype == sl.string
  assert sl.constant([1, 2.5]).dtype == sl.float32 and sl.constant(1j).dtype == sl.complex128
  assert sl.get_static_value(sl.constant(3, shape=[2, 2])).tolist() == [[3, 3], [3, 3]]
  assert sl.get_static_value(sl.constant([1, 2], shape=[3])).tolist() == [1, 2, 2]
  for bad, dtype in ((1.5, sl.int32), ("a", sl.float32), (1, sl.bool), (300, sl.uint8), (1, sl.string)):
    with pytest.raises(TypeError):
      sl.constant(bad, dtype)
  with pytest.raises(ValueError):
    sl.constant([[1, 2], [3]])
  with pytest.raises(ValueError):
    sl.constant(None)


def test_lists_with_tensors_are_packed(graph):
  a = sl.constant(1)
  t = sl.convert_to_tensor([[a, 2], [3, a]])
  assert t.op.type == "Pack" and t.shape.as_list() == [2, 2]
  with sl.Session() as sess:
    assert sess.run(t).tolist() == [[1, 2], [3, 1]]


def test_seeds_follow_tf1(graph):
  assert sl.get_seed(None) == (None, None) and sl.get_seed(5) == (87654321, 5)
  sl.set_random_seed(3)
  assert sl.get_seed(7) == (3, 7) and sl.get_seed(None) == (3, 0)
  assert sl.get_seed(None) == (3, 1)
  sl.set_random_seed(0)
  assert sl.get_seed(0) == (0, 2**31 - 1)


def test_variable_scopes(graph):
  with sl.variable_scope("a") as a:
    v = sl.get_variable("v", [2], initializer=sl.zeros_initializer())
    assert v.name == "a/v:0"
    with pytest.raises(ValueError, match="already exists"):
      sl.get_variable("v", [2])
  with sl.variable_scope(a, reuse=True):
    assert sl.get_variable("v") is v
    with pytest.raises(ValueError, match="does not exist"):
      sl.get_variable("w", [1])
    with pytest.raises(ValueError, match="specified shape"):
      sl.get_variable("v", [3])
  with sl.variable_scope("a", reuse=sl.AUTO_REUSE):
    assert sl.get_variable("v", [2]) is v
    assert sl.get_variable("w", [1]).name == "a/w:0"
    assert sl.constant(1).op.name == "a_2/Const"
  with sl.variable_scope(None, "d"):
    assert sl.get_variable("v", [1]).name == "d/v:0"
  with sl.variable_scope(None, "d"):
    assert sl.get_variable("v", [1]).name == "d_1/v:0"


def test_variable_scope_defaults_and_regularizers(graph):
  getter = lambda g, name, *args, **kwargs: g(name + "_x", *args, **kwargs)
  with sl.variable_scope("s", initializer=sl.constant_initializer(3.0), regularizer=lambda v: sl.identity(v) , custom_getter=getter):
    v = sl.get_variable("v", [2])
  assert v.name == "s/v_x:0" and len(sl.get_collection(sl.GraphKeys.REGULARIZATION_LOSSES)) == 1
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    assert sess.run(v).tolist() == [3, 3]


def test_partitioned_variables(graph):
  with sl.variable_scope("p", partitioner=sl.fixed_size_partitioner(3)):
    v = sl.get_variable("v", [7, 2], initializer=sl.ones_initializer())
  assert [p.shape.as_list() for p in v] == [[3, 2], [2, 2], [2, 2]] and [p.name for p in v][1] == "p/v/part_1:0"
  assert list(v)[1]._get_save_slice_info().spec == "7 2 3,2:0,2"
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    assert sess.run(sl.convert_to_tensor(v)).shape == (7, 2)


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables(graph, use_resource):
  v = sl.Variable([1.0, 2.0], name="v", use_resource=use_resource)
  copy = sl.Variable(v.initialized_value(), use_resource=use_resource)
  with sl.Session() as sess:
    assert sess.run(sl.report_uninitialized_variables()).tolist() == [b"v", b"Variable"]
    sess.run(sl.global_variables_initializer())
    assert sess.run(sl.report_uninitialized_variables()).tolist() == []
    assert sess.run(copy).tolist() == [1, 2]
    assert sess.run(v.assign([3, 4])).tolist() == [3, 4]
    assert sess.run(v.assign_add([1, 1])).tolist() == [4, 5]
    assert sess.run(sl.assign_sub(v, [1, 1])).tolist() == [3, 4]
    assert sess.run(sl.scatter_update(v, [0], [9.0])).tolist() == [9, 4]
    assert sess.run(v[1:].assign([7.0])).tolist() == [9, 7]
    v.load([5.0, 6.0], sess)
    assert v.eval(sess).tolist() == [5, 6]
    again = sl.Variable.from_proto(v.to_proto())
    assert sess.run(again.value()).tolist() == [5, 6] and again.name == v.name


def test_reads_are_ordered_by_control_dependencies(graph):
  v = sl.Variable(0.0, use_resource=True)
  with sl.control_dependencies([v.assign_add(1.0).op]):
    after = v.read_value()
  with sl.Session() as sess:
    sess.run(v.initializer)
    assert sess.run(after) == 1 and sess.run(after) == 2


def test_an_unknown_public_name_says_where_to_look():
  with pytest.raises(AttributeError, match="sl.layers"):
    sl.keras
  assert "matmul" in dir(sl) and sl.float32.name == "float32"


def test_namespaces_are_other_names_for_the_same_functions():
  assert sl.math.reduce_sum is sl.reduce_sum and sl.random.normal is sl.random_normal and sl.linalg.matmul is sl.matmul
  import sluice.math
  assert sluice.math is sl.math
  missing = []
  from sluice import _namespaces
  for namespace in _namespaces.NAMES:
    for name in dir(getattr(sl, namespace)):
      try:
        getattr(getattr(sl, namespace), name)
      except AttributeError:
        missing.append(f"{namespace}.{name}")
  assert len(missing) < 30, missing  # Ops that are not there yet.


def test_freezing_replaces_variables_by_their_values(graph):
  x = sl.placeholder(sl.float32, [2], name="x")
  v, r = sl.Variable([2.0, 3.0]), sl.Variable([10.0, 20.0], use_resource=True)
  sl.add(x * v, r, name="y")
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    frozen = sl.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), ["y"])
  with sl.Graph().as_default():
    y, = sl.import_graph_def(frozen, return_elements=["y:0"], name="")
    with sl.Session() as sess:
      assert sess.run(y, {"x:0": [1, 1]}).tolist() == [12, 23]
