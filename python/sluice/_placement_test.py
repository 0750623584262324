"""Where nodes run: `sl.device` in all its forms, colocation, the report, errors and the options of placement."""

import re

import numpy as np
import pytest

import sluice as sl

TASK = "/job:localhost/replica:0/task:0/device:"


@pytest.fixture(autouse=True)
def graph():
  with sl.Graph().as_default() as g:
    yield g


def config(cpus=4, **fields):
  return sl.ConfigProto(device_count={"CPU": cpus}, **fields)


def places(session, fetches, feeds=()):
  """{node: (device, reason)} from the report."""
  found = {}
  for line in session.explain_placement(fetches, feeds).splitlines():
    name, device, reason = re.fullmatch(r"(\S+) \(\w+\): (\S+) because (.*)", line).groups()
    found[name] = device.removeprefix(TASK), reason
  return found


# --- sl.device ---

@pytest.mark.parametrize("asked, kept", [
    ("/cpu:1", "/device:CPU:1"),
    ("/CPU:1", "/device:CPU:1"),
    ("/device:CPU:1", "/device:CPU:1"),
    ("/device:cpu:1", "/device:CPU:1"),
    ("device:CPU:1", "/device:CPU:1"),
    ("/gpu:*", "/device:GPU:*"),
    ("/device:CPU", "/device:CPU:*"),
    ("/job:ps", "/job:ps"),
    ("/job:ps/task:3", "/job:ps/task:3"),
    ("/task:3/job:ps", "/job:ps/task:3"),
    ("/job:ps/replica:2/task:3/device:GPU:4", "/job:ps/replica:2/task:3/device:GPU:4"),
    ("", ""),
    (None, ""),
])
def test_a_scope_takes_whole_and_partial_names(asked, kept):
  with sl.device(asked):
    assert sl.constant(1).device == kept
  if asked is not None:
    with sl.device(sl.DeviceSpec.from_string(asked)):
      assert sl.constant(1).device == kept


@pytest.mark.parametrize("outer, inner, kept", [
    ("/job:ps", "/cpu:1", "/job:ps/device:CPU:1"),
    ("/job:ps/task:1", "/job:worker", "/job:worker/task:1"),
    ("/job:ps/cpu:0", "/gpu:1", "/job:ps/device:GPU:1"),
    ("/cpu:1", "", "/device:CPU:1"),
    ("/cpu:1", None, ""),
])
def test_scopes_merge_the_inner_one_first(outer, inner, kept):
  with sl.device(outer):
    with sl.device(inner):
      assert sl.constant(1).device == kept
    assert sl.constant(1).device == sl.DeviceSpec.from_string(outer).to_string(), "and the outer one is back"


def test_functions_see_the_operation_and_merge_with_scopes_around_them():
  seen = []

  def to_second(op):
    seen.append((op.type, op.device))
    return "/cpu:1" if op.type == "Add" or op.type == "AddV2" else op.device

  with sl.device("/job:ps"), sl.device(to_second):
    x = sl.constant(1.0)
    y = x + x
    with sl.device("/cpu:3"):
      z = x + x
  assert y.device == "/job:ps/device:CPU:1"
  assert x.device == "/job:ps"
  # As in TF1, functions run from the inside out, and the outer one has the last word on what it returns.
  assert z.device == "/job:ps/device:CPU:1"
  assert ("Const", "") in seen and any(device == "/device:CPU:3" for _, device in seen)


def test_a_bad_name_is_refused_where_it_is_written():
  with pytest.raises(ValueError, match="wibble"):
    with sl.device("/wibble:1"):
      sl.constant(1)


def test_steps_run_where_scopes_say():
  x = sl.placeholder(sl.float32, [2], name="x")
  parts = []
  for i in range(4):
    with sl.device(f"/cpu:{i}"):
      parts.append(sl.add(x, float(i + 1), name=f"part{i}"))
  with sl.device("/cpu:2"):
    y = sl.add_n(parts, name="y")
  with sl.Session(config=config()) as sess:
    found = places(sess, y, [x])
    for i in range(4):
      assert found[f"part{i}"][0] == f"CPU:{i}" and found[f"part{i}"][1].startswith(f"it asks for '/device:CPU:{i}'; inside")
    assert sess.run(y, {x: [1, 2]}).tolist() == [14, 18]


# --- Colocation ---

def test_colocate_with_follows_and_says_why():
  with sl.device("/cpu:2"):
    a = sl.placeholder(sl.float32, [], name="a")
  with sl.colocate_with(a):
    b = sl.square(sl.placeholder_with_default(3.0, []), name="b")
  with sl.colocate_with(b.op):
    c = sl.add(b, a, name="c")
  with sl.Session(config=config()) as sess:
    found = places(sess, [c, a])
    assert found["b"][0] == found["c"][0] == "CPU:2"
    assert "it is colocated with 'a'" in found["b"][1] and "asks for '/device:CPU:2'" in found["b"][1]


@pytest.mark.parametrize("use_resource", [False, True])
def test_users_of_a_variable_follow_it(use_resource):
  with sl.device("/cpu:3"):
    v = sl.get_variable("v", [2], initializer=sl.zeros_initializer(), use_resource=use_resource)
  with sl.device("/cpu:1"):
    if use_resource:
      update = sl.raw_ops.AssignAddVariableOp(resource=v.handle, value=[1.0, 2.0], name="update")
    else:
      update = sl.raw_ops.AssignAdd(ref=v._ref(), value=[1.0, 2.0], name="update").op
    y = sl.multiply(v, 2.0, name="y")
  # An op on a reference takes the variable's device when it is made; one on a resource when it is placed.
  assert update.device == ("/device:CPU:1" if use_resource else "/device:CPU:3")
  with sl.Session(config=config()) as sess:
    sess.run(v.initializer)
    sess.run(update)
    assert sess.run(y).tolist() == [2, 4]
    device, why = places(sess, update)["update"]
    assert device == "CPU:3"
    if use_resource:
      assert "it asked for '/device:CPU:1' itself, which gives way to the owner of what it uses" in why
    assert places(sess, y)["y"] [0] == "CPU:1", "a reader runs where it was asked to"


def test_state_stays_where_the_first_step_put_it():
  v = sl.get_variable("v", initializer=1.0, use_resource=True)
  with sl.device("/cpu:2"):
    twice = v.assign_add(1.0)
  with sl.Session(config=config()) as sess:
    sess.run(v.initializer)
    sess.run(twice)
    sess.run(twice)
    assert sess.run(v.read_value()) == 3
  with sl.Session(config=config()) as sess:  # the other way round
    with sl.device("/cpu:2"):
      init = v.assign(5.0)
    sess.run(init)
    assert sess.run(v.read_value()) == 5
    assert "since an earlier step" in sess.explain_placement(v.read_value())


# --- Errors and soft placement ---

def test_an_unknown_device_is_an_error_that_names_line_and_devices():
  with sl.device("/gpu:0"):
    y = sl.constant(1.0) + sl.placeholder_with_default(1.0, [])
  with sl.Session(config=config(2)) as sess:
    with pytest.raises(sl.errors.InvalidArgumentError) as e:
      sess.run(y)
    assert re.search(r"\(_placement_test.py:\d+\): it asks for '/device:GPU:0', but the devices are .*CPU:0, .*CPU:1", e.value.message)
  with sl.Session(config=config(2, allow_soft_placement=True)) as sess:
    assert sess.run(y) == 2
    assert "'/device:GPU:0', which cannot be had, and placement is soft" in sess.explain_placement(y)


def test_a_contradiction_names_both_nodes_and_what_ties_them(graph):
  x = sl.placeholder_with_default(1.0, [], name="x")
  with sl.device("/cpu:0"):
    a = sl.square(x, name="a")
  with sl.colocate_with(a):
    b = sl.square(x, name="b")
  c = sl.add(b, a, name="c")
  b.op._set_device("/cpu:1")
  with sl.Session(config=config(2)) as sess:
    with pytest.raises(sl.errors.InvalidArgumentError) as e:
      sess.run(c)
    message = e.value.message
    assert "Square 'a' (_placement_test.py:" in message and "asks for '/device:CPU:0'" in message
    assert "Square 'b' (_placement_test.py:" in message and "asks for '/cpu:1'" in message.replace("/device:CPU:1", "/cpu:1")
    assert "is colocated with 'a'" in message and "'c'" not in message and "'x'" not in message
  with sl.Session(config=config(2, allow_soft_placement=True)) as sess:
    assert sess.run(c) == 2


def line_of(text):
  """The line of this file that ends with a comment."""
  with open(__file__) as f:
    return next(i for i, line in enumerate(f, 1) if line.rstrip().endswith(f"# {text}"))


def test_the_report_and_the_errors_name_the_lines_of_the_scopes():
  def second(op):
    return op.device

  x = sl.placeholder(sl.float32, [], name="x")
  with sl.device("/job:localhost"):  # outer scope
    with sl.device("/cpu:1"):  # inner scope
      y = sl.square(x, name="y")
    with sl.device(second):  # a function
      z = sl.square(y, name="z")
    with sl.device(None), sl.device("/gpu:0"):  # none of the above
      w = sl.square(x, name="w")
  with sl.Session(config=config(2)) as sess:
    found = places(sess, z, [x])
    outer, inner = line_of("outer scope"), line_of("inner scope")
    assert found["y"][1].endswith(f"; inside sl.device('/job:localhost') at _placement_test.py:{outer}, "
                                  f"sl.device('/device:CPU:1') at _placement_test.py:{inner}")
    assert found["z"][1].endswith(f", sl.device(second) at _placement_test.py:{line_of('a function')}")
    assert "inside" not in found["_arg_0"][1]
    for explain in (lambda: sess.run(w, {x: 1.0}), lambda: sess.explain_placement(w, [x])):
      with pytest.raises(sl.errors.InvalidArgumentError) as e:
        explain()
      assert str(e.value).endswith(f"['w' is inside sl.device('/device:GPU:0') at _placement_test.py:{line_of('none of the above')}]")


# --- Options ---

def test_placement_by_cost_spreads_work_and_changes_no_result():
  rng = np.random.RandomState(0)
  x = sl.placeholder(sl.float32, [128, 128], name="x")
  towers = []
  for i in range(4):
    w = sl.constant(rng.randn(128, 128).astype(np.float32))
    towers.append(sl.matmul(sl.matmul(x, w, name=f"first{i}"), w, name=f"second{i}"))
  y = sl.add_n(towers, name="y")
  feed = {x: rng.randn(128, 128).astype(np.float32)}
  with sl.Session(config=config()) as sess:
    plain = sess.run(y, feed)
    assert {d for d, _ in places(sess, y, [x]).values()} == {"CPU:0"}
  with sl.Session(config=config(placement_period=1)) as sess:
    found = places(sess, y, [x])
    assert {found[f"first{i}"][0] for i in range(4)} == {"CPU:0", "CPU:1", "CPU:2", "CPU:3"}
    for i in range(4):
      assert found[f"first{i}"][0] == found[f"second{i}"][0], "a chain stays together"
    assert re.search(r"'first1' would be done there after [\d.]+ us and on .*CPU:\d, the next best, after [\d.]+ us", found["first1"][1])
    assert np.array_equal(sess.run(y, feed), plain)
    # A traced step replaces the estimates.
    sess.run(y, feed, options=sl.RunOptions(trace_level=sl.RunOptions.FULL_TRACE), run_metadata=sl.RunMetadata())
    assert np.array_equal(sess.run([y, towers[0]], feed)[0], plain)


def test_floats_cross_as_bfloat16_when_asked():
  x = sl.placeholder(sl.float32, [3], name="x")
  values = np.array([1.0, 1 + 2**-7 + 2**-8, -3.14159265], np.float32)
  cut = (values.view(np.uint32) & 0xFFFF0000).view(np.float32)
  with sl.device("/cpu:0"):
    here = sl.maximum(x, -10.0)
  with sl.device("/cpu:1"):
    there = sl.minimum(here, 10.0)
  halved = config(2)
  with sl.Session(config=halved) as sess:
    assert sess.run(there, {x: values}).tolist() == values.tolist()
  halved.graph_options.enable_bfloat16_sendrecv = True
  with sl.Session(config=halved) as sess:
    assert sess.run(there, {x: values}).tolist() == cut.tolist()
    assert sess.run(here, {x: values}).tolist() == values.tolist(), "nothing crosses here"


def test_late_receives_change_no_result():
  late = config(2)
  late.graph_options.enable_recv_scheduling = True
  a = sl.placeholder(sl.float32, [600, 600], name="a")
  with sl.device("/cpu:0"):
    big = sl.square(a, name="big")
  with sl.device("/cpu:1"):
    t = sl.constant(np.eye(600, dtype=np.float32)) + sl.random_uniform([600, 600], maxval=0.0)
    for _ in range(4):
      t = sl.matmul(t, t)
    y = t + big
  value = np.random.RandomState(1).rand(600, 600).astype(np.float32)
  with sl.Session(config=late) as sess:
    metadata = sl.RunMetadata()
    got = sess.run(y, {a: value}, options=sl.RunOptions(output_partition_graphs=True), run_metadata=metadata)
  assert np.array_equal(got, np.eye(600, dtype=np.float32) + value * value)


def test_log_device_placement_prints_the_report(capfd):
  with sl.device("/cpu:1"):
    y = sl.square(sl.placeholder_with_default(2.0, []), name="logged")
  with sl.Session(config=config(2, log_device_placement=True)) as sess:
    sess.run(y)
  assert f"logged (Square): {TASK}CPU:1 because it asks for '/device:CPU:1'" in capfd.readouterr().err
