"""Sessions as TF1 programs use them: feeds, fetches, callables, errors, interruption."""

import collections
import os
import signal
import threading
import time

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(autouse=True)
def graph():
  with sl.Graph().as_default() as g:
    yield g


def test_fetches_keep_their_structure():
  a, b = sl.constant(1), sl.constant([2.0, 3.0])
  Pair = collections.namedtuple("Pair", "x y")
  with sl.Session() as sess:
    got = sess.run({"list": [a, b], "tuple": (a,), "pair": Pair(a, b.op), "name": "Const:0"})
  assert got["list"][0] == 1 and got["list"][1].tolist() == [2, 3]
  assert got["tuple"] == (1,) and got["pair"] == Pair(1, None) and got["name"] == 1
  assert isinstance(got["list"][0], np.int32) and got["list"][1].dtype == np.float32


def test_the_same_fetch_as_list_tuple_and_alone():
  a = sl.constant(5)
  with sl.Session() as sess:
    for _ in range(2):
      assert sess.run(a) == 5
      assert sess.run([a]) == [5]
      assert sess.run((a,)) == (5,)
      assert sess.run([[a]]) == [[5]]
      assert sess.run([]) == []
      assert sess.run(a.op) is None


@pytest.mark.parametrize("value", [
    [[1, 2], [3, 4]], np.arange(4).reshape(2, 2), np.arange(8, dtype=">f4").reshape(2, 4)[:, ::2], np.ones((2, 2), "f8"), np.zeros((0, 2), "f"),
    np.array([[np.nan, np.inf]], "f"), np.ones((2, 2), np.float16), [[True, False]]])
def test_any_array_can_be_fed(value):
  x = sl.placeholder(sl.float32, [None, 2])
  with sl.Session() as sess:
    got = sess.run(sl.identity(x), {x: value})
  np.testing.assert_array_equal(got, np.asarray(value, "f"))
  assert got.dtype == np.float32


@pytest.mark.parametrize("dtype", [sl.float32, sl.float64, sl.float16, sl.int8, sl.int16, sl.int32, sl.int64, sl.uint8, sl.uint16, sl.uint32, sl.uint64,
                                   sl.bool, sl.complex64, sl.complex128, sl.bfloat16])
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3000)])
def test_every_type_goes_in_and_comes_out(dtype, shape):
  value = (np.arange(int(np.prod(shape)) or 0).reshape(shape) % 2).astype(dtype.as_numpy_dtype) if shape else np.ones((), dtype.as_numpy_dtype)
  x = sl.placeholder(dtype, shape)
  with sl.Session() as sess:
    got = sess.run(sl.identity(x), {x: value})
  np.testing.assert_array_equal(got, value)
  assert np.asarray(got).dtype == value.dtype


def test_strings_keep_their_bytes():
  x = sl.placeholder(sl.string, [None])
  with sl.Session() as sess:
    assert sess.run(sl.identity(x), {x: ["a", b"b\x00", "\u00e9"]}).tolist() == [b"a", b"b\x00", "\u00e9".encode()]
    assert sess.run(sl.constant("hi")) == b"hi"
    assert sess.run(sl.constant([["a"], [b"\xff\x00"]])).tolist() == [[b"a"], [b"\xff\x00"]]


def test_a_fed_array_may_change_afterwards_and_a_fetched_one_is_the_users():
  big = np.zeros(5000, "f")
  x = sl.placeholder(sl.float32, [5000])
  v = sl.Variable(sl.zeros([5000]), use_resource=True)
  w = sl.Variable(sl.zeros([5000]))
  with sl.Session() as sess:
    sess.run(sl.global_variables_initializer())
    sess.run([v.assign(x), w.assign(x)], {x: big})
    big[:] = 7
    assert sess.run(v).max() == 0 and sess.run(w).max() == 0
    for variable in (v, w):
      got = sess.run(variable.value())
      got += 1
      assert sess.run(variable.value()).max() == 0


@pytest.mark.parametrize("feed,error,text", [
    (np.zeros((2, 3)), ValueError, r"Cannot feed value of shape \(2, 3\) for Tensor 'x:0', which has shape '\(\?, 2\)'"),
    ("abc", ValueError, "x:0"),
    ([["a", "b"]], ValueError, "x:0"),
    (None, (TypeError, ValueError), ""),
])
def test_a_wrong_feed_is_refused_and_the_session_goes_on(feed, error, text):
  x = sl.placeholder(sl.float32, [None, 2], name="x")
  y = sl.identity(x)
  with sl.Session() as sess:
    with pytest.raises(error, match=text):
      sess.run(y, {x: feed})
    with pytest.raises(TypeError, match="cannot be a sl.Tensor"):
      sess.run(y, {x: sl.zeros([1, 2])})
    assert sess.run(y, {x: [[1, 2]]}).tolist() == [[1, 2]]


def test_an_int_that_does_not_fit_is_refused():
  x = sl.placeholder(sl.int32)
  with sl.Session() as sess, pytest.raises(TypeError, match="not compatible"):
    sess.run(sl.identity(x), {x: 2**40})


def test_errors_of_a_step_name_the_node_and_the_users_line():
  x = sl.placeholder(sl.float32, name="x")
  y = sl.identity(x, name="y")
  with sl.Session() as sess:
    with pytest.raises(sl.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor 'x'") as e:
      sess.run(y)
    assert "_session_test.py" in str(e.value) and e.value.op is x.op
    assert e.value.error_code == sl.errors.INVALID_ARGUMENT
    v = sl.Variable(1.0, name="v")
    with pytest.raises(sl.errors.FailedPreconditionError, match="uninitialized value v") as e:
      sess.run(v.read_value())
    with pytest.raises(ValueError, match="already_gone"):
      sess.run("already_gone:0")


def test_feeds_with_several_parts_and_names():
  a, b = sl.placeholder(sl.int32, name="a"), sl.placeholder(sl.int32, name="b")
  c = sl.stack([a, b])
  with sl.Session() as sess:
    assert sess.run(c, {(a, b): (1, 2)}).tolist() == [1, 2]
    assert sess.run(c, {"a:0": 3, "b:0": 4}).tolist() == [3, 4]
    assert sess.run(c, {c: [9]}).tolist() == [9]
    sparse = sl.sparse_placeholder(sl.float32)
    value = sl.SparseTensorValue([[0, 1]], [2.0], [1, 3])
    got = sess.run(sparse, {sparse: value})
    assert got.values.tolist() == [2] and got.dense_shape.tolist() == [1, 3]


def test_callables_take_their_feeds_in_order():
  a, b = sl.placeholder(sl.int32), sl.placeholder(sl.int32)
  with sl.Session() as sess:
    assert sess.make_callable(sl.stack([a, b]), [b, a])(1, 2).tolist() == [2, 1]
    assert sess.make_callable([a, {"b": b}], [a, b])(1, 2) == [1, {"b": 2}]
    with pytest.raises(TypeError):
      sess.make_callable(a, [a])(1, 2)


def test_a_graph_that_grows_is_seen_by_the_next_step():
  with sl.Session() as sess:
    a = sl.constant(1)
    assert sess.run(a) == 1
    assert sess.run(sl.stack([a, a])).tolist() == [1, 1]


def test_a_closed_session_says_so():
  a = sl.constant(1)
  sess = sl.Session()
  sess.run(a)
  sess.close()
  with pytest.raises(RuntimeError, match="closed Session"):
    sess.run(a)


def test_default_sessions():
  a = sl.constant(3)
  with sl.Session():
    assert a.eval() == 3
  sess = sl.InteractiveSession()
  assert a.eval() == 3
  sess.close()
  with pytest.raises(ValueError, match="No default session"):
    a.eval()


def test_concurrent_steps_of_one_session():
  x = sl.placeholder(sl.int32, [])
  y = sl.identity(x)
  failures = []
  with sl.Session() as sess:
    def work(base):
      for i in range(200):
        if sess.run(y, {x: base + i}) != base + i:
          failures.append(base + i)
    threads = [threading.Thread(target=work, args=(k * 1000,)) for k in range(4)]
    for t in threads:
      t.start()
    for t in threads:
      t.join()
  assert not failures


def test_ctrl_c_ends_a_step_and_leaves_the_session_usable():
  started = threading.Event()
  release = threading.Event()

  def wait():
    started.set()
    release.wait(0.5)
    return np.float32(0)

  slow = sl.py_func(wait, [], sl.float32)
  for _ in range(50):
    with sl.control_dependencies([slow]):
      slow = sl.py_func(wait, [], sl.float32)
  ok = sl.constant(4)

  def interrupt():
    started.wait()
    os.kill(os.getpid(), signal.SIGINT)

  with sl.Session() as sess:
    thread = threading.Thread(target=interrupt)
    thread.start()
    begin = time.time()
    with pytest.raises(KeyboardInterrupt):
      sess.run(slow)
    thread.join()
    assert time.time() - begin < 5
    assert sess.run(ok) == 4


def test_py_func_passes_arrays_and_errors():
  x = sl.placeholder(sl.float32, [None])
  doubled, text = sl.py_func(lambda a: (a * 2, "n=%d" % len(a)), [x], [sl.float32, sl.string])

  def fail(a):
    raise ValueError("no good")

  bad = sl.py_func(fail, [x], sl.float32)
  with sl.Session() as sess:
    got = sess.run([doubled, text], {x: [1, 2]})
    assert got[0].tolist() == [2, 4] and got[1] == b"n=2"
    with pytest.raises(sl.errors.InvalidArgumentError, match="no good"):
      sess.run(bad, {x: [1]})
    wrong = sl.py_func(lambda a: a.astype("f8"), [x], sl.float32)
    with pytest.raises(sl.errors.InvalidArgumentError, match="wanted float32"):
      sess.run(wrong, {x: [1]})


def test_step_statistics():
  x = sl.placeholder(sl.float32, [1, 2])
  y = sl.transpose(x)
  metadata = sl.RunMetadata()
  with sl.Session() as sess:
    sess.run(y, {x: [[1, 2]]}, options=sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), run_metadata=metadata)
  assert "transpose" in [n.node_name for d in metadata.step_stats.dev_stats for n in d.node_stats]


def test_several_cpu_devices():
  with sl.device("/cpu:0"):
    a = sl.placeholder(sl.float32, [2])
  with sl.device("/cpu:1"):
    b = sl.identity(a)
  with sl.device("/cpu:0"):
    c = sl.stack([a, b])
  with sl.Session(config=sl.ConfigProto(device_count={"CPU": 2})) as sess:
    assert len(sess.list_devices()) == 2
    assert sess.run(c, {a: [1, 2]}).tolist() == [[1, 2], [1, 2]]


def test_explain_placement_says_where_and_why():
  with sl.device("/cpu:1"):
    a = sl.placeholder(sl.float32, [2], name="a")
    b = sl.nn.relu(a, name="b")
  c = sl.nn.softplus(b, name="c")
  unused = sl.constant(1.0, name="unused")
  with sl.Session(config=sl.ConfigProto(device_count={"CPU": 2})) as sess:
    text = sess.explain_placement(c, [a])
    assert "b (Relu): /job:localhost/replica:0/task:0/device:CPU:1 because it asks for '/cpu:1'" in text.replace("/device:CPU:1'", "/cpu:1'")
    assert [line for line in text.splitlines() if line.startswith("c (Softplus): ")], text
    assert "unused" not in text, "only what the step needs is placed"
    assert sess.run(c, {a: [0, 0]}).shape == (2,), "explaining changes nothing"
    with pytest.raises(sl.errors.InvalidArgumentError, match="CPU:7"):
      with sl.device("/cpu:7"):
        far = sl.identity(c)
      sess.explain_placement(far, [a])
    del unused


def test_explain_plan_shows_instructions_and_memory():
  a = sl.placeholder(sl.float32, [1000], name="a")
  b = sl.exp(a, name="b")
  c = sl.cumsum(b, name="c")  # not fused with what it reads
  with sl.Session() as sess:
    lane = sess.explain_plan(c, [a])
    assert "lane" in lane and "Exp 'b'" in lane and "Cumsum 'c'" in lane, lane
    assert lane.index("Exp 'b'") < lane.index("Cumsum 'c'")
    assert "memory: arena 4032 bytes" in lane, lane
  with sl.device("/cpu:1"):
    far = sl.identity(b, name="far")
  with sl.Session(config=sl.ConfigProto(device_count={"CPU": 2})) as sess:
    parts = sess.explain_plan(far, [a])
    assert "dataflow (_Recv" in parts and "_Send" in parts and parts.count("device:CPU:1") >= 1, parts


def test_lanes_are_had_for_the_asking_and_change_no_bit(monkeypatch):
  x = sl.placeholder(sl.float32, [300, 300])
  branches = [sl.cumsum(sl.matmul(x, x * float(k)), axis=k % 2) for k in range(1, 5)]
  y = sl.concat(branches, axis=0)
  value = np.random.RandomState(1).rand(300, 300).astype(np.float32)
  found = {}
  for lanes, tier in [("off", "static lane ("), ("2", "static lanes (no kernel waits; 2 lanes"), ("3", "static lanes (no kernel waits; 3 lanes")]:
    monkeypatch.setenv("SLUICE_STATIC_LANES", lanes)
    with sl.Session(config=sl.ConfigProto(intra_op_parallelism_threads=2)) as sess:
      assert tier in sess.explain_plan(y, [x])
      found[lanes] = [sess.run(y, {x: value}) for _ in range(20)]
  for values in found.values():
    for v in values:
      np.testing.assert_array_equal(v, found["off"][0])
  monkeypatch.setenv("SLUICE_STATIC_LANES", "many")
  with pytest.raises(sl.errors.InvalidArgumentError, match="SLUICE_STATIC_LANES='many': wanted 'auto', 'off' or a number"):
    sl.Session()


def test_small_fed_arrays_are_each_steps_own():
  """The memory of a small feed serves the next step too, but never shows in what an earlier step gave or kept."""
  with sl.Graph().as_default(), sl.Session() as sess:
    x = sl.placeholder(sl.float32, [None])
    v = sl.Variable(np.zeros(2, np.float32))
    call = sess.make_callable([x, sl.assign(v, x), x + 1], [x])
    sess.run(v.initializer)
    first = call(np.array([1, 2], np.float32))
    assert sess.run(v).tolist() == [1, 2]
    kept = sess.run(v)
    second = call(np.array([3, 4], np.float32))
    third = sess.make_callable(x, [x])(np.array([5], np.float32))
    assert [f.tolist() for f in first] == [[1, 2], [1, 2], [2, 3]] and [f.tolist() for f in second] == [[3, 4], [3, 4], [4, 5]]
    assert kept.tolist() == [1, 2] and third.tolist() == [5]
    first[0][:] = 9  # The user's to write to.
    assert call(np.array([6, 0], np.float32))[0].tolist() == [6, 0] and second[0].tolist() == [3, 4]
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
      call(np.zeros([1, 1], np.float32))
    assert call([7.0, 8.0])[0].tolist() == [7, 8] and call(np.array([0, 1], np.float32))[2].tolist() == [1, 2]


@pytest.mark.parametrize("array", [
    np.arange(6, dtype=np.float32).reshape(2, 3).T, np.arange(6, dtype=np.float32).reshape(3, 2)[::-1], np.arange(6, dtype=">f4").reshape(3, 2),
    np.arange(6, dtype=np.float64).reshape(3, 2), np.frombuffer(b"\0" + np.arange(6, dtype=np.float32).tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 2),
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2)), np.ma.array(np.arange(6, dtype=np.float32).reshape(3, 2)),
    np.zeros((3, 0, 2), np.float32).sum(1)], ids="turned backwards big_endian double unaligned fortran masked empty".split())
@pytest.mark.parametrize("times", [1, 1000])  # Small ones are copied, large ones borrowed.
def test_arrays_of_any_layout_are_fed_by_their_values(array, times):
  array = np.tile(array, (times, 1)) if times > 1 else array
  with sl.Graph().as_default(), sl.Session() as sess:
    x = sl.placeholder(sl.float32, [None, 2])
    assert sess.run(x * 2, {x: array}).tolist() == (array.astype(np.float32) * 2).tolist()


def test_threads_share_a_callable_without_sharing_feeds():
  with sl.Graph().as_default(), sl.Session() as sess:
    xs = [sl.placeholder(sl.int32, [2]) for _ in range(12)]
    call, wrong = sess.make_callable(sl.add_n(xs), xs), []

    def run(number):
      for i in range(200):
        found = call(*[np.array([number, i], np.int32)] * 12).tolist()
        if found != [12 * number, 12 * i]:
          wrong.append(found)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(4)]
    for t in threads:
      t.start()
    for t in threads:
      t.join(60)
    assert not wrong and not any(t.is_alive() for t in threads)
