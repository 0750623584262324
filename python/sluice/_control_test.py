"""Branches, loops, grouping and gradients."""

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
  with sl.Graph().as_default() as g:
    yield g


def run(fetches, feeds=None):
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    return sess.run(fetches, feeds)


def test_cond_runs_one_branch():
  calls = []
  flag, x = sl.placeholder(sl.bool, []), sl.placeholder(sl.float32, [2])
  yes = sl.cond(flag, lambda: sl.py_func(lambda a: calls.append("yes") or a + 1, [x], sl.float32),
                lambda: sl.py_func(lambda a: calls.append("no") or a - 1, [x], sl.float32))
  with sl.Session() as sess:
    assert sess.run(yes, {flag: True, x: [1, 2]}).tolist() == [2, 3]
    assert sess.run(yes, {flag: False, x: [1, 2]}).tolist() == [0, 1]
  assert calls == ["yes", "no"]


def test_cond_keeps_structures_and_refuses_different_branches():
  flag = sl.placeholder_with_default(True, [])
  got = run(sl.cond(flag, lambda: {"a": sl.constant(1), "b": [sl.constant(2.0)]}, lambda: {"a": sl.constant(3), "b": [sl.constant(4.0)]}))
  assert got == {"a": 1, "b": [2.0]}
  assert run(sl.cond(flag, lambda: [sl.constant(1)], lambda: [sl.constant(2)])) == 1
  with pytest.raises(TypeError, match="same type"):
    sl.cond(flag, lambda: sl.constant(1), lambda: sl.constant(1.0))
  with pytest.raises(ValueError, match="same number"):
    sl.cond(flag, lambda: [sl.constant(1)] * 2, lambda: sl.constant(1))


def test_nested_cond_with_variables_and_outer_tensors():
  flag = sl.placeholder_with_default(True, [])
  v, r = sl.Variable(2.0), sl.Variable(3.0, use_resource=True)
  x = sl.constant(10.0)
  y = sl.cond(flag, lambda: sl.cond(sl.logical_not(flag), lambda: x, lambda: x * v + r), lambda: v * 0.0)
  assert run(y) == 23
  changed = sl.cond(flag, lambda: v.assign_add(1.0) + 0.0, lambda: v + 0.0)
  assert run(changed) == 3


def test_cond_has_gradients():
  flag, x = sl.placeholder(sl.bool, []), sl.constant([1.0, 2.0])
  w, u = sl.Variable([3.0, 4.0]), sl.Variable([3.0, 4.0], use_resource=True)
  y = sl.reduce_sum(sl.cond(flag, lambda: x * w * u, lambda: sl.square(x)))
  grads = sl.gradients(y, [x, w, u])
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    yes = sess.run(grads, {flag: True})
    assert [g.tolist() for g in yes] == [[9, 16], [3, 8], [3, 8]]
    no = sess.run(grads, {flag: False})
    assert [g.tolist() for g in no] == [[2, 4], [0, 0], [0, 0]]


def test_while_loop():
  i, total = sl.while_loop(lambda i, t: i < 10, lambda i, t: [i + 1, t + i], [sl.constant(0), sl.constant(0)])
  assert run([i, total]) == [10, 45]
  limit = sl.placeholder(sl.int32, [])
  k = sl.while_loop(lambda k: k < limit, lambda k: k * 2, [1])
  assert run(k, {limit: 100}) == 128
  grown = sl.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, sl.concat([a, a], 0)), (0, sl.constant([1])),
                        shape_invariants=(sl.TensorShape([]), sl.TensorShape([None])))
  assert run(grown[1]).tolist() == [1] * 8
  assert run(sl.while_loop(lambda k: True, lambda k: k + 1, [0], maximum_iterations=7)) == 7
  with pytest.raises(ValueError, match="shape_invariants"):
    sl.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, sl.concat([a, a], 0)), (0, sl.constant([1])))
  with pytest.raises(TypeError, match="the body returns"):
    sl.while_loop(lambda i: i < 3, lambda i: sl.cast(i, sl.float32), [0])


def test_case():
  x = sl.placeholder(sl.int32, [])
  y = sl.case([(x < 0, lambda: sl.constant(-1)), (x > 0, lambda: sl.constant(1))], default=lambda: sl.constant(0))
  with sl.Session() as sess:
    assert [sess.run(y, {x: v}) for v in (-5, 0, 5)] == [-1, 0, 1]


def test_variables_made_in_a_branch_belong_to_the_graph():
  flag = sl.placeholder_with_default(False, [])
  y = sl.cond(flag, lambda: sl.constant([1.0]), lambda: sl.get_variable("inside", [1], initializer=sl.ones_initializer()) * 2.0)
  assert [v.name for v in sl.global_variables()] == ["inside:0"] and run(y) == [2]


def test_print_shows_values(capfd):
  x = sl.constant([1.0, 2.5])
  with sl.Session() as sess:
    sess.run(sl.print("x is", x, "and", 3))
    sess.run(sl.Print(x, [x], message="old: "))
  shown = capfd.readouterr().err
  assert "x is [1." in shown and "2.5] and 3" in shown and "old: [1 2.5]" in shown


def test_group_tuple_and_assert():
  v = sl.Variable(0.0)
  both = sl.group(v.assign_add(1.0), [sl.no_op()])
  a, b = sl.tuple([sl.constant(1), sl.constant(2)], control_inputs=[both])
  with sl.Session() as sess:
    sess.run(v.initializer)
    sess.run(both)
    assert sess.run(b) == 2 and sess.run(v) == 2
    x = sl.placeholder(sl.float32, [])
    with sl.control_dependencies([sl.Assert(x > 0, ["x is", x])]):
      y = sl.identity(x)
    assert sess.run(y, {x: 1}) == 1
    with pytest.raises(sl.errors.InvalidArgumentError, match="x is"):
      sess.run(y, {x: -1})
    with sl.control_dependencies([sl.assert_less(x, 5.0, message="too large")]):
      z = sl.identity(x)
    with pytest.raises(sl.errors.InvalidArgumentError, match="too large"):
      sess.run(z, {x: 6})


def test_gradients_of_dense_sparse_stopped_and_unconnected():
  table, x = sl.Variable(np.ones((4, 2), "f")), sl.placeholder(sl.float32, [2])
  rows = sl.gather(table, [1, 1, 3])
  y = sl.reduce_sum(rows * x) + sl.reduce_sum(sl.stop_gradient(x))
  g_table, g_x, none = sl.gradients(y, [table, x, sl.constant(1.0)])
  assert isinstance(g_table, sl.IndexedSlices) and none is None
  zero, = sl.gradients(y, [sl.ones([3])], unconnected_gradients="zero")
  got = run([g_table, g_x, zero], {x: [2, 3]})
  assert got[0].indices.tolist() == [1, 1, 3] and got[0].values.tolist() == [[2, 3]] * 3
  assert got[1].tolist() == [3, 3] and got[2].tolist() == [0, 0, 0]
  z = sl.square(x)
  assert run(sl.gradients(z, x, grad_ys=[[1.0, 10.0]]), {x: [2, 3]})[0].tolist() == [4, 60]
  assert sl.gradients(z * 2, x, stop_gradients=[z]) == [None]


def test_second_order_gradients():
  x = sl.placeholder(sl.float32, [2])
  y = sl.reduce_sum(x * x * x)
  assert run(sl.gradients(sl.gradients(y, x), x), {x: [2, 3]})[0].tolist() == [12, 18]
  assert run(sl.hessians(y, x), {x: [2, 3]})[0].tolist() == [[12, 0], [0, 18]]


def test_gradients_written_in_python(graph):
  @sl.RegisterGradient("TenTimes")
  def _ten(op, dy):
    return dy * 10.0

  x = sl.constant(2.0)
  with graph.gradient_override_map({"Square": "TenTimes"}):
    y = sl.square(x)
  assert run(sl.gradients(y, x)) == [10]
  assert run(sl.gradients(sl.square(x), x)) == [4]
  with pytest.raises(KeyError, match="two gradient"):
    sl.RegisterGradient("TenTimes")(_ten)

  @sl.RegisterGradient("Broken")
  def _broken(op, dy):
    raise RuntimeError("my mistake")

  with graph.gradient_override_map({"Square": "Broken"}):
    z = sl.square(x)
  with pytest.raises(RuntimeError, match="my mistake"):
    sl.gradients(z, x)

  @sl.custom_gradient
  def clipped(a):
    return sl.exp(a), lambda dy: sl.minimum(dy, 1.0) * 5.0

  assert run(sl.gradients(clipped(x) * 3.0, x)) == [5]


def test_operators_match_numpy():
  a, b = np.array([[7, -8], [9, 5]], "f"), np.array([[2, 3], [-4, 5]], "f")
  x, y = sl.constant(a), sl.constant(b)
  pairs = [(x + b, a + b), (b - x, b - a), (x * 2, a * 2), (x / y, a / b), (x // y, a // b), (x % y, a % b), (x**2, a**2), (-x, -a), (abs(x), abs(a)),
           (x @ y, a @ b), (x < y, a < b), (x >= y, a >= b), (~(x < y), ~(a < b)), ((x < y) | (x > 8), (a < b) | (a > 8)), (1 / y, 1 / b),
           (x[0, 1:], a[0, 1:]), (x[..., sl.newaxis], a[..., None]), (x[::-1], a[::-1]), (x[-1], a[-1]), (x[sl.constant(1)], a[1]),
           (sl.constant([7, -8]) // 2, np.array([3, -4])), (sl.constant([7, -8]) / 2, np.array([3.5, -4])), (sl.constant([7, -8]) % 3, np.array([1, 1]))]
  got = run([p[0] for p in pairs])
  for i, (g, (_, w)) in enumerate(zip(got, pairs)):
    np.testing.assert_allclose(g, w, rtol=1e-6, err_msg=str(i))


def test_functions_match_numpy():
  a = np.arange(24, dtype="f").reshape(2, 3, 4) - 7
  x = sl.constant(a)
  m = np.arange(12, dtype="f").reshape(3, 4)
  pairs = [(sl.reduce_mean(x, [0, 2]), a.mean((0, 2))), (sl.reduce_max(x, -1, keepdims=True), a.max(-1, keepdims=True)), (sl.argmax(x, 1), a.argmax(1)),
           (sl.reduce_logsumexp(x), np.log(np.exp(a).sum())), (sl.cumsum(x, 1), a.cumsum(1)), (sl.tensordot(x, m, [[1, 2], [0, 1]]), np.tensordot(a, m, [[1, 2], [0, 1]])),
           (sl.einsum("abc,bc->a", x, m), np.einsum("abc,bc->a", a, m)), (sl.einsum("abc,dc->abd", x, m), np.einsum("abc,dc->abd", a, m)),
           (sl.einsum("...c->...", x), a.sum(-1)), (sl.norm(x), np.linalg.norm(a)), (sl.one_hot([0, 2], 3), np.eye(3, dtype="f")[[0, 2]]),
           (sl.boolean_mask(x, a[:, :, 0] > 0), a[a[:, :, 0] > 0]), (sl.sequence_mask([1, 3]), np.array([[1, 0, 0], [1, 1, 1]], bool)),
           (sl.where(x > 0, x, -x), abs(a)), (sl.pad(x[0], [[1, 0], [0, 2]], constant_values=5), np.pad(a[0], [[1, 0], [0, 2]], constant_values=5)),
           (sl.transpose(x, [2, 0, 1]), a.transpose(2, 0, 1)), (sl.reverse(x, [1]), a[:, ::-1]), (sl.gather(x, [2, 0], axis=1), a[:, [2, 0]]),
           (sl.gather_nd(x, [[0, 1], [1, 2]]), a[[0, 1], [1, 2]]), (sl.tile(x, [1, 2, 1]), np.tile(a, [1, 2, 1])), (sl.repeat(x, 2, axis=1), a.repeat(2, 1)),
           (sl.meshgrid([1, 2], [3, 4, 5])[0], np.meshgrid([1, 2], [3, 4, 5])[0]), (sl.range(3, 9, 2), np.arange(3, 9, 2)), (sl.linspace(0.0, 1.0, 5), np.linspace(0, 1, 5)),
           (sl.matmul(x, x, transpose_b=True), a @ a.transpose(0, 2, 1)), (sl.reduce_any(x > 15), True), (sl.count_nonzero(x), 23), (sl.eye(3), np.eye(3)),
           (sl.reduce_std(x, 0), a.std(0)), (sl.clip_by_value(x, -1.0, 3.0), a.clip(-1, 3)), (sl.confusion_matrix([0, 1, 1], [0, 1, 0]), [[1, 0], [1, 1]]),
           (sl.sort(x, axis=1), np.sort(a, 1)), (sl.argsort([3, 1, 2]), [1, 2, 0]), (sl.sort(sl.constant([3, 1, 2]), direction="DESCENDING"), [3, 2, 1]),
           (sl.add_n([x, x, x]), a * 3), (sl.scalar_mul(2.0, x), a * 2), (sl.unstack(x, axis=1)[2], a[:, 2]), (sl.split(x, [1, 3], 2)[1], a[:, :, 1:]),
           (sl.space_to_depth(sl.reshape(x, [1, 4, 6, 1]), 2)[0, 0, 0], a.reshape(4, 6)[:2, :2].ravel())]
  got = run([p[0] for p in pairs])
  for i, (g, (_, w)) in enumerate(zip(got, pairs)):
    np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6, err_msg=str(i))


@pytest.mark.parametrize("nested", [False, True])
def test_the_gradient_of_a_branch_uses_what_the_branch_drew(nested):
  with sl.Graph().as_default(), sl.Session() as sess:
    flag = sl.placeholder(sl.bool, [])
    x = sl.ones([40, 50])
    noisy = lambda: sl.nn.dropout(x * 2.0, rate=0.5)
    y = sl.cond(flag, (lambda: sl.cond(sl.logical_not(flag), lambda: x, noisy)) if nested else noisy, lambda: x * 3.0)
    dy, = sl.gradients(y, [x])
    value, gradient = sess.run([y, dy], {flag: True})
    np.testing.assert_array_equal(value, gradient)
    assert 0.4 < (value == 0).mean() < 0.6
    value, gradient = sess.run([y, dy], {flag: False})
    np.testing.assert_array_equal(value, gradient)


def test_branches_and_loops_travel_in_graph_defs(graph):
  x = sl.placeholder(sl.float32, [2], name="x")
  flag = sl.placeholder(sl.bool, [], name="flag")
  y = sl.cond(flag, lambda: sl.cond(x[0] > 0, lambda: x * 2.0, lambda: -x), lambda: sl.while_loop(lambda v: sl.reduce_sum(v) < 100, lambda v: v * 3.0, [x]))
  sl.identity(y, name="y")
  message = graph.as_graph_def()
  assert len(message.library.function) >= 4
  with sl.Graph().as_default():
    got, = sl.import_graph_def(message, return_elements=["y:0"], name="")
    with sl.Session() as sess:
      assert sess.run(got, {"x:0": [1, 2], "flag:0": True}).tolist() == [2, 4]
      assert sess.run(got, {"x:0": [-1, 2], "flag:0": True}).tolist() == [1, -2]
      assert sess.run(got, {"x:0": [1, 2], "flag:0": False}).tolist() == [81, 162]


@pytest.mark.parametrize("drop", [lambda x: x - 0, lambda x: x * 1, lambda x: x + 0, lambda x: x * 0,
                                  lambda x: sl.reshape(x, [])])
def test_what_changes_nothing_still_waits_for_what_it_was_told_to(drop):
  """The front end gives `x - 0` its order through the constant; dropping both lost the assignment."""
  v = sl.get_variable("v", [], sl.int64, initializer=sl.zeros_initializer())
  x = sl.placeholder_with_default(sl.constant(3, sl.int64), [])
  with sl.control_dependencies([sl.assign(v, 7)]):
    y = drop(x)
  y = sl.raw_ops.Neg(y)
  with sl.Session() as sess:
    sess.run(v.initializer)
    sess.run(y)
    assert sess.run(v) == 7
