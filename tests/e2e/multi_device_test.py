"""Graphs over several devices of one process give the bits that one device gives, in the order that was asked for."""

import itertools
import os
import re

import numpy as np
import pytest

import sluice as sl

CPUS = 4


def config(**fields):
  return sl.ConfigProto(device_count={"CPU": CPUS}, **fields)


def on_one(index):
  return sl.device("/cpu:0")


def spread(index):
  return sl.device(f"/cpu:{index % CPUS}")


def devices_of(session, fetches, feeds=()):
  return {line.split(" ", 1)[0]: re.search(r"device:(CPU:\d)", line).group(1)
          for line in session.explain_placement(fetches, list(feeds)).splitlines()}


def run_both(build, feeds=lambda step: {}, steps=3, **fields):
  """Runs `build(at)` -> (train op or None, {name: tensor}) on one device and over all; returns both lists of values."""
  results = []
  for at in (on_one, spread):
    with sl.Graph().as_default():
      sl.set_random_seed(7)
      train, outputs = build(at)
      init = sl.global_variables_initializer()
      with sl.Session(config=config(**fields)) as sess:
        sess.run(init)
        seen = []
        for step in range(steps):
          feed = {f"{name}:0": value for name, value in feeds(step).items()}
          if train is not None:
            sess.run(train, feed)
          seen.append(sess.run(outputs, feed))
        used = set(devices_of(sess, [outputs, train] if train is not None else outputs,
                              [f"{name}:0" for name in feeds(0)]).values())
        assert len(used) == (1 if at is on_one else CPUS), f"on {sorted(used)}"
        results.append(seen)
  return results


def assert_same_bits(one, many):
  for step, (a, b) in enumerate(zip(one, many)):
    assert a.keys() == b.keys()
    for name in a:
      x, y = np.asarray(a[name]), np.asarray(b[name])
      assert x.dtype == y.dtype and x.shape == y.shape, name
      assert x.tobytes() == y.tobytes(), f"{name} differs in step {step}: {np.max(np.abs(x.astype(np.float64) - y))}"


def batch(step, rows=32, columns=20, classes=5):
  rng = np.random.RandomState(step)
  return {"x": rng.randn(rows, columns).astype(np.float32), "labels": rng.randint(0, classes, rows).astype(np.int64)}


OPTIMIZERS = {
    "sgd": lambda: sl.train.GradientDescentOptimizer(0.1),
    "momentum": lambda: sl.train.MomentumOptimizer(0.1, 0.9),
    "adam": lambda: sl.train.AdamOptimizer(0.01),
    "adagrad": lambda: sl.train.AdagradOptimizer(0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("colocate", [False, True])
def test_layers_on_different_devices_train_to_the_same_bits(optimizer, use_resource, colocate):
  def build(at):
    x = sl.placeholder(sl.float32, [None, 20], name="x")
    labels = sl.placeholder(sl.int64, [None], name="labels")
    h, variables = x, []
    for layer, (rows, columns) in enumerate([(20, 16), (16, 16), (16, 16), (16, 5)]):
      with at(layer), sl.variable_scope(f"layer{layer}", use_resource=use_resource):
        w = sl.get_variable("w", [rows, columns], initializer=sl.random_normal_initializer(stddev=0.3, seed=layer))
        b = sl.get_variable("b", [columns], initializer=sl.zeros_initializer())
        variables += [w, b]
        h = sl.nn.bias_add(sl.matmul(h, w), b)
        if layer < 3:
          h = sl.nn.relu(h)
    with at(1):
      loss = sl.reduce_mean(sl.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=h))
    train = OPTIMIZERS[optimizer]().minimize(loss, colocate_gradients_with_ops=colocate)
    return train, {"loss": loss, **{v.op.name: v.read_value() if use_resource else v for v in variables}}

  assert_same_bits(*run_both(build, batch))


def test_gradients_run_where_their_forward_op_ran():
  with sl.Graph().as_default():
    x = sl.placeholder(sl.float32, [4, 4], name="x")
    h = x
    for i in range(CPUS):
      with spread(i):
        h = sl.tanh(sl.matmul(h, h, name=f"mm{i}"), name=f"tanh{i}")
    g, = sl.gradients(h, x, colocate_gradients_with_ops=True)
    with sl.Session(config=config()) as sess:
      devices = devices_of(sess, g, [x])
      found = {i: {d for n, d in devices.items() if re.match(rf"gradients/(mm|tanh){i}_grad/", n)} for i in range(CPUS)}
      assert found == {i: {f"CPU:{i}"} for i in range(CPUS)}
      assert np.isfinite(sess.run(g, {x: np.full([4, 4], 0.1, np.float32)})).all()


def test_one_layer_cut_by_columns_is_the_whole_layer():
  rng = np.random.RandomState(0)
  x, w = rng.randn(8, 32).astype(np.float32), rng.randn(32, 64).astype(np.float32)
  with sl.Graph().as_default():
    whole_x = sl.placeholder(sl.float32, [8, 32], name="x")
    parts = []
    for i, piece in enumerate(np.split(w, CPUS, axis=1)):
      with spread(i):
        parts.append(sl.matmul(whole_x, sl.constant(piece)))
    with spread(2):
      y = sl.concat(parts, axis=1)
    with on_one(0):
      whole = sl.concat([sl.matmul(whole_x, sl.constant(piece)) for piece in np.split(w, CPUS, axis=1)], axis=1)
    with sl.Session(config=config()) as sess:
      a, b = sess.run([y, whole], {whole_x: x})
  assert a.tobytes() == b.tobytes()
  np.testing.assert_allclose(a, x @ w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("use_resource", [False, True])
def test_towers_share_variables_of_one_device(use_resource):
  """Data parallel in one graph: each tower on its device, gradients averaged where the variables are."""

  def build(at):
    x = sl.placeholder(sl.float32, [32, 20], name="x")
    labels = sl.placeholder(sl.int64, [32], name="labels")
    with at(0), sl.variable_scope("shared", use_resource=use_resource):
      w = sl.get_variable("w", [20, 5], initializer=sl.random_normal_initializer(seed=1))
    optimizer = sl.train.MomentumOptimizer(0.1, 0.9)
    towers = []
    for i, (xs, ls) in enumerate(zip(sl.split(x, CPUS), sl.split(labels, CPUS))):
      with at(i), sl.name_scope(f"tower{i}"):
        loss = sl.reduce_mean(sl.nn.sparse_softmax_cross_entropy_with_logits(labels=ls, logits=sl.matmul(xs, w)))
        towers.append(optimizer.compute_gradients(loss, [w], colocate_gradients_with_ops=True)[0][0])
    with at(0):
      mean = sl.add_n(towers) / float(CPUS)
      train = optimizer.apply_gradients([(mean, w)])
    return train, {"w": w.read_value() if use_resource else w}

  assert_same_bits(*run_both(build, batch))


@pytest.mark.parametrize("use_resource", [False, True])
def test_rows_of_sharded_embeddings(use_resource):
  def build(at):
    ids = sl.placeholder(sl.int64, [None], name="ids")
    shards = []
    for i in range(CPUS):
      with at(i), sl.variable_scope("embedding", use_resource=use_resource):
        shards.append(sl.get_variable(f"shard{i}", [10, 4], initializer=sl.random_uniform_initializer(seed=i)))
    with at(1):
      rows = sl.nn.embedding_lookup(shards, ids)
      loss = sl.reduce_sum(sl.square(rows - 1.0))
    train = sl.train.AdagradOptimizer(0.5).minimize(loss)
    return train, {"loss": loss, **{f"shard{i}": s.read_value() if use_resource else s for i, s in enumerate(shards)}}

  assert_same_bits(*run_both(build, lambda step: {"ids": np.random.RandomState(step).randint(0, 40, 64)}))


def test_loops_and_branches_on_different_devices():
  def build(at):
    x = sl.placeholder(sl.float32, [6], name="x")
    with at(1):
      w = sl.get_variable("w", [6], initializer=sl.ones_initializer(), use_resource=True)
      total = sl.while_loop(lambda i, t: i < 5, lambda i, t: (i + 1, t * w + x), [0, x])[1]
    with at(2):
      chosen = sl.cond(sl.reduce_sum(x) > 0, lambda: total * 2.0, lambda: total - 1.0)
    with at(3):
      norm = sl.reduce_sum(sl.square(chosen))
    with at(0):
      scaled = chosen / (1.0 + norm)
    return w.assign_add(scaled), {"norm": norm, "w": w.read_value()}

  assert_same_bits(*run_both(build, lambda step: {"x": np.random.RandomState(step).randn(6).astype(np.float32)}))


def test_branches_and_loops_use_variables_of_several_devices():
  with sl.Graph().as_default():
    variables = []
    for i in (1, 2):
      with spread(i):
        variables.append(sl.get_variable(f"v{i}", initializer=float(i), use_resource=True))
    v, w = variables
    p = sl.placeholder(sl.bool, [])
    either = sl.cond(p, lambda: v + w, lambda: v * w)
    bump = sl.cond(p, lambda: v.assign_add(1.0) + w, lambda: w.assign_add(10.0) + v)
    total = sl.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a + v * w), [0, 0.0])[1]
    with sl.Session(config=config()) as sess:
      sess.run(sl.global_variables_initializer())
      assert sess.run([either, total], {p: True}) == [3, 6]
      assert sess.run(bump, {p: True}) == 4
      assert sess.run(bump, {p: False}) == 14
      assert sess.run(variables) == [2, 12]
      devices = devices_of(sess, bump, [p])
      assert (devices["v1"], devices["v2"], devices[bump.op.inputs[0].op.name if bump.op.type == "Identity" else bump.op.name]) == ("CPU:1", "CPU:2", "CPU:1")


def test_a_branch_writes_a_reference_variable_of_another_device():
  with sl.Graph().as_default():
    with spread(1):
      v = sl.get_variable("v", initializer=1.0, use_resource=False)
    p = sl.placeholder(sl.bool, [])
    bump = sl.cond(p, lambda: v.assign_add(1.0), lambda: sl.identity(-1.0))
    with sl.Session(config=config()) as sess:
      sess.run(v.initializer)
      assert [sess.run(bump, {p: b}) for b in (True, False, True)] == [2, -1, 3]
      assert sess.run(v) == 3


def test_random_numbers_do_not_depend_on_the_device():
  def build(at):
    draws = {}
    for i in range(CPUS):
      with at(i):
        draws[f"normal{i}"] = sl.random_normal([5], seed=i)
        draws[f"uniform{i}"] = sl.random_uniform([3])
        draws[f"dropout{i}"] = sl.nn.dropout(sl.ones([20]), rate=0.5, seed=i)
    return None, draws

  one, many = run_both(build)
  for a, b in zip(one, many):
    assert all(a[k].tobytes() == b[k].tobytes() for k in a if not k.startswith("uniform")), "op seeds are given"
  assert_same_bits(one, many)
  assert one[0]["normal1"].tobytes() != one[1]["normal1"].tobytes(), "each step draws anew"


def test_every_option_of_partitions_keeps_the_bits():
  def build(at):
    x = sl.placeholder(sl.float32, [None, 20], name="x")
    h = x
    for layer in range(8):
      with at(layer), sl.variable_scope(f"l{layer}", use_resource=True):
        w = sl.get_variable("w", [20, 20], initializer=sl.random_normal_initializer(stddev=0.2, seed=layer))
        scale = sl.cast(sl.shape(h)[1], sl.float32)
        h = sl.nn.relu(sl.matmul(h, w)) / scale + sl.constant(np.linspace(0, 1, 20).astype(np.float32))
    loss = sl.reduce_sum(h)
    return sl.train.GradientDescentOptimizer(0.1).minimize(loss), {"loss": loss, "h": h}

  feeds = lambda step: {"x": batch(step)["x"]}
  one, many = run_both(build, feeds)
  assert_same_bits(one, many)
  late = sl.GraphOptions(enable_recv_scheduling=True)
  for fields in (dict(graph_options=late), dict(placement_period=1)):
    again = []
    with sl.Graph().as_default():
      sl.set_random_seed(7)
      train, outputs = build(spread)
      init = sl.global_variables_initializer()
      with sl.Session(config=config(**fields)) as sess:
        sess.run(init)
        for step in range(3):
          feed = {f"{k}:0": v for k, v in feeds(step).items()}
          sess.run(train, feed)
          again.append(sess.run(outputs, feed))
    assert_same_bits(one, again)


# --- Order ---

@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_control_dependencies_hold_across_devices(order):
  """v becomes ((v*2)+1)*3 or any other order, each operation asked for on another device."""
  steps = [lambda v: v.assign(v.read_value() * 2.0), lambda v: v.assign_add(1.0), lambda v: v.assign(v.read_value() * 3.0)]
  with sl.Graph().as_default():
    with sl.device("/cpu:3"):
      v = sl.get_variable("v", initializer=5.0, use_resource=True)
    before, want = [], 5.0
    for at, which in enumerate(order):
      with spread(at), sl.control_dependencies(before):
        marker = sl.no_op()  # on this device, so that the order crosses twice
      with sl.control_dependencies([marker]):
        done = steps[which](v)
        before = [done.op if hasattr(done, "op") else done]
      want = [want * 2, want + 1, want * 3][which]
    with sl.control_dependencies(before):
      y = v.read_value()
    with sl.Session(config=config()) as sess:
      for _ in range(10):
        sess.run(v.initializer)
        assert sess.run(y) == want


def test_a_group_over_devices_waits_for_all_of_them():
  with sl.Graph().as_default():
    counters = []
    for i in range(CPUS):
      with spread(i):
        counters.append(sl.get_variable(f"c{i}", initializer=0, use_resource=True))
    bump = sl.group(*[c.assign_add(1) for c in counters])
    with sl.control_dependencies([bump]), sl.device("/cpu:2"):
      total = sl.add_n([c.read_value() for c in counters])
    with sl.Session(config=config()) as sess:
      sess.run(sl.global_variables_initializer())
      assert [sess.run(total) for _ in range(5)] == [4, 8, 12, 16, 20]


def test_an_assertion_on_another_device_stops_the_step():
  with sl.Graph().as_default():
    x = sl.placeholder(sl.float32, [], name="x")
    with sl.device("/cpu:1"):
      v = sl.get_variable("v", initializer=0.0, use_resource=True)
    with sl.device("/cpu:2"):
      check = sl.Assert(sl.greater(x, 0.0), ["x must be positive", x])
    with sl.control_dependencies([check]):
      update = v.assign_add(x)
    with sl.Session(config=config()) as sess:
      sess.run(v.initializer)
      assert sess.run(update, {x: 2.0}) == 2
      for _ in range(5):
        with pytest.raises(sl.errors.InvalidArgumentError, match="x must be positive"):
          sess.run(update, {x: -1.0})
      assert sess.run(v.read_value()) == 2, "and nothing was written"


# --- State ---

def test_a_checkpoint_holds_variables_of_all_devices(tmp_path):
  path = os.path.join(tmp_path, "model")

  def build(at):
    for i in range(CPUS):
      with at(i):
        sl.get_variable(f"v{i}", [3], initializer=sl.random_normal_initializer(seed=i), use_resource=i % 2 == 0)
    return sl.train.Saver(), sl.global_variables()

  with sl.Graph().as_default():
    saver, variables = build(spread)
    with sl.Session(config=config()) as sess:
      sess.run(sl.global_variables_initializer())
      saver.save(sess, path)
      saved = sess.run(variables)
  for at in (on_one, spread):
    with sl.Graph().as_default():
      saver, variables = build(at)
      with sl.Session(config=config()) as sess:
        saver.restore(sess, path)
        for a, b in zip(saved, sess.run(variables)):
          assert a.tobytes() == b.tobytes()


def test_a_queue_of_one_device_is_used_from_others():
  with sl.Graph().as_default():
    with sl.device("/cpu:1"):
      queue = sl.queue.FIFOQueue(10, [sl.float32], shapes=[[]])
    x = sl.placeholder(sl.float32, [None], name="x")
    with sl.device("/cpu:2"):
      put = queue.enqueue_many([x * 2.0])
    with sl.device("/cpu:3"):
      got = queue.dequeue() + 1.0
    with sl.Session(config=config()) as sess:
      sess.run(put, {x: [1, 2, 3]})
      assert [sess.run(got) for _ in range(3)] == [3, 5, 7]


def test_partitions_send_each_tensor_once_and_no_constants():
  with sl.Graph().as_default():
    x = sl.placeholder(sl.float32, [2], name="x")
    with sl.device("/cpu:0"):
      h = sl.square(x, name="h")
      c = sl.constant([1.0, 2.0], name="c")
    with sl.device("/cpu:1"):
      ys = [sl.add(h, c), sl.multiply(h, c), sl.subtract(h, c)]
    with sl.Session(config=config(graph_options=sl.GraphOptions(
        optimizer_options=sl.OptimizerOptions(opt_level=sl.OptimizerOptions.L0)))) as sess:
      metadata = sl.RunMetadata()
      got = sess.run(ys, {x: [3, 4]}, options=sl.RunOptions(output_partition_graphs=True), run_metadata=metadata)
      assert [v.tolist() for v in got] == [[10, 18], [9, 32], [8, 14]]
      plan = sess.explain_plan(ys, [x])
  assert len(re.findall(r"_Send '", plan)) == 1 and "_Send 'h/_send_0'" in plan


# --- Tasks ---

def test_tasks_of_a_cluster_give_the_bits_of_one_and_explain_themselves():
  import socket
  sockets = [socket.socket() for _ in range(3)]
  for s in sockets:
    s.bind(("127.0.0.1", 0))
  addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
  for s in sockets:
    s.close()
  cluster = sl.train.ClusterSpec({"ps": addresses[:2], "worker": addresses[2:]})
  servers = [sl.train.Server(cluster, job_name=job, task_index=i) for job, i in (("ps", 0), ("ps", 1), ("worker", 0))]

  def run(target, fields, devices):
    with sl.Graph().as_default():
      variables = []
      for i in range(2):
        with sl.device(devices["ps"].format(i)):
          variables.append(sl.get_variable(f"v{i}", initializer=np.random.RandomState(i).randn(3).astype(np.float32), use_resource=True))
      x = sl.placeholder(sl.float32, [3], name="x")
      with sl.device(devices["worker"]):
        y = sl.multiply(x, variables[0] + variables[1], name="y")
      train = sl.train.MomentumOptimizer(0.1, 0.9).minimize(sl.reduce_sum(sl.square(y - 1.0)))
      cond = sl.cond(sl.placeholder_with_default(True, []), lambda: variables[0] + variables[1], lambda: variables[1] + 0.0)
      init = sl.global_variables_initializer()
      with sl.Session(target, config=sl.ConfigProto(operation_timeout_in_ms=60000, **fields)) as sess:
        sess.run(init)
        for step in range(4):
          sess.run(train, {x: [step, 1, 2]})
        report = sess.explain_placement(y, [x])
        if target:
          with pytest.raises(sl.errors.InvalidArgumentError, match="'v1' .*/job:ps/.*/task:1.*functions use resources of one task"):
            sess.run(cond)
        else:
          sess.run(cond)
        return sess.run(variables + [y], {x: [1, 2, 3]}), report

  want, _ = run("", {}, {"ps": "", "worker": ""})
  for fields in ({}, {"placement_period": 1}, {"graph_options": sl.GraphOptions(enable_recv_scheduling=True)}):
    got, report = run(servers[2].target, fields, {"ps": "/job:ps/task:{}", "worker": "/job:worker"})
    assert [v.tobytes() for v in got] == [v.tobytes() for v in want]
    assert re.search(r"^v1 \(VarHandleOp\): /job:ps/replica:0/task:1/device:CPU:0 because ", report, re.M)
    assert "y (Mul): /job:worker/replica:0/task:0/device:CPU:0 because it asks for '/job:worker'" in report
