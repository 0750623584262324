"""Steps that are run in parts, with the semantics and messages of TensorFlow 1: in this process and on a cluster."""
import threading

import numpy as np
import pytest

import sluice as sl


@pytest.fixture(scope="module")
def server():
    return sl.train.Server.create_local_server()


@pytest.fixture(params=["local", "cluster"])
def sess(request):
    target = request.getfixturevalue("server").target if request.param == "cluster" else ""
    with sl.Graph().as_default(), sl.Session(target) as session:
        yield session


def three():
    a, b, c = (sl.placeholder(sl.float32, [], name=n) for n in "abc")
    r1 = sl.add(a, b, name="r1")
    r2 = sl.multiply(r1, c, name="r2")
    return a, b, c, r1, r2


def test_a_feed_may_be_made_of_an_earlier_fetch(sess):
    a, b, c, r1, r2 = three()
    for _ in range(3):
        h = sess.partial_run_setup([r1, r2], [a, b, c])
        first = sess.partial_run(h, r1, feed_dict={a: 1, b: 2})
        assert first == 3 and sess.partial_run(h, r2, feed_dict={c: first * 17}) == 153


def test_several_are_open_at_once_beside_ordinary_steps(sess):
    a, b, c, r1, r2 = three()
    h1 = sess.partial_run_setup([r1], [a, b, c])
    h2 = sess.partial_run_setup([r1, r2], [a, b, c])
    assert sess.partial_run(h1, r1, {a: 1, b: 2}) == 3
    assert sess.partial_run(h2, r1, {a: 10, b: 20}) == 30
    assert sess.run([r1, r2], {a: 5, b: 6, c: 2}) == [11, 22]
    assert sess.partial_run(h2, r2, {c: 2}) == 60


def test_a_chain_of_two_hundred_parts(sess):
    a, inputs, outputs = sl.constant(2.0), [], []
    for _ in range(200):
        inputs.append(sl.placeholder(sl.float32, []))
        a = a * inputs[-1]
        outputs.append(a)
    h = sess.partial_run_setup(outputs, inputs)
    for i in range(200):
        assert sess.partial_run(h, outputs[i], {inputs[i]: 1.0}) == 2.0


def test_structures_operations_and_state(sess):
    a, b, _, r1, _ = three()
    v = sl.get_variable("v", initializer=1.0)
    add = sl.assign_add(v, r1)
    sess.run(v.initializer)
    h = sess.partial_run_setup({"x": [a], "y": (r1, r1)}, [a, b])
    assert sess.partial_run(h, {"x": [a]}, {a: 2}) == {"x": [2]}
    assert sess.partial_run(h, (r1, {"again": r1}), {b: 3}) == (5, {"again": 5})
    h = sess.partial_run_setup([r1, add.op], [a, b])  # the operation runs with it
    assert sess.partial_run(h, r1, {a: 2, b: 3}) == 5
    assert sess.run(v) == 6
    h = sess.partial_run_setup([r1, add.op], [a, b])
    with pytest.raises(RuntimeError, match="requires empty target_list"):
        sess.partial_run(h, add.op)
    sess.partial_run(h, r1, {a: 0, b: 0})


def test_arrays_may_be_changed_after_they_were_fed(sess):
    x, y = sl.placeholder(sl.float32, [1000]), sl.placeholder(sl.float32, [1000])
    both = x + y
    h = sess.partial_run_setup(both, [x, y])
    value = np.ones(1000, np.float32)
    assert sess.partial_run(h, [], {x: value}) == []
    value[:] = 7
    assert sess.partial_run(h, both, {y: value}).tolist() == [8.0] * 1000


@pytest.mark.parametrize("fetches, feeds, message", [
    (["r1"], {"a": 1}, r"The fetch r1:0 can't be computed from the feeds that have been fed so far: it also needs b:0.$"),
    (["c"], {}, r"The fetch c:0 was not specified in partial_run_setup.$"),
    ([], {"r1": 1}, r"The feed r1:0 was not specified in partial_run_setup.$"),
    ([], {"c": 1}, r"The feed c:0 has already been fed.$"),
    (["r0"], {}, r"The fetch r0:0 has already been fetched.$"),
])
def test_what_is_wrong_is_said_and_changes_nothing(sess, fetches, feeds, message):
    a, b, c, r1, r2 = three()
    r0 = sl.negative(c, name="r0")
    h = sess.partial_run_setup([r0, r1, r2], [a, b, c])
    assert sess.partial_run(h, r0, {c: 2}) == -2
    with pytest.raises(sl.errors.InvalidArgumentError, match=message):
        sess.partial_run(h, [f + ":0" for f in fetches], {f + ":0": v for f, v in feeds.items()})
    assert sess.partial_run(h, [r2, r1], {a: 1, b: 2}) == [6, 3]


def test_handles_that_are_not_open(sess):
    a, b, _, r1, _ = three()
    h = sess.partial_run_setup([r1], [a, b])
    sess.partial_run(h, r1, {a: 1, b: 1})
    for handle in (h, "nobody"):
        with pytest.raises(sl.errors.InvalidArgumentError, match="Must run 'setup' before performing partial runs!"):
            sess.partial_run(handle, r1, {a: 1, b: 1})
    with pytest.raises(TypeError, match="what partial_run_setup returned"):
        sess.partial_run(None, r1)
    with pytest.raises(sl.errors.InvalidArgumentError, match="specify at least one target to fetch or execute"):
        sess.partial_run_setup([], [a])


def test_a_placeholder_that_is_not_among_the_feeds(sess):
    x = sl.placeholder(sl.float32, [])
    h = sess.partial_run_setup([x * 2, x * 3], [])
    with pytest.raises(sl.errors.InvalidArgumentError, match="You must feed a value for placeholder"):
        sess.partial_run(h, "mul:0")


def test_an_error_ends_it_and_is_told_again(sess):
    x, y = sl.placeholder(sl.float32), sl.placeholder(sl.float32)
    checked = sl.check_numerics(x, "not a number")
    both = checked + y
    h = sess.partial_run_setup([checked, both], [x, y])
    with pytest.raises(sl.errors.InvalidArgumentError, match="not a number"):
        sess.partial_run(h, checked, {x: float("nan")})
    with pytest.raises(sl.errors.InvalidArgumentError, match="has ended: .*not a number"):
        sess.partial_run(h, both, {y: 1})


def test_closing_the_session_ends_those_that_wait(sess):
    x = sl.placeholder(sl.float32, [])
    get = sl.FIFOQueue(1, [sl.float32], [[]]).dequeue() + x
    h = sess.partial_run_setup([get], [x])
    found = []

    def wait():
        try:
            sess.partial_run(h, get, {x: 1})
        except (sl.errors.OpError, RuntimeError) as e:  # the latter when it comes too late
            found.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    sess.close()
    thread.join(60)
    assert not thread.is_alive() and isinstance(found[0], (sl.errors.CancelledError, sl.errors.AbortedError, RuntimeError))
    with pytest.raises(RuntimeError, match="closed Session"):
        sess.partial_run_setup([get], [x])


def test_a_time_limit_of_the_session_ends_it():
    with sl.Graph().as_default(), sl.Session(config=sl.ConfigProto(operation_timeout_in_ms=100)) as session:
        get = sl.FIFOQueue(1, [sl.float32], [[]]).dequeue()
        h = session.partial_run_setup([get])
        with pytest.raises(sl.errors.DeadlineExceededError, match="waiting for .*Dequeue"):
            session.partial_run(h, get)
