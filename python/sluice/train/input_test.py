"""Coordinators, queue runners, producers and batches."""
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import sluice as sl


def collect(tensors, steps=None):
    """The values of `tensors`, step by step, until the input ends; then everything is stopped and joined."""
    values = []
    with sl.Session() as session:
        session.run([sl.global_variables_initializer(), sl.local_variables_initializer()])
        coordinator = sl.train.Coordinator()
        threads = sl.train.start_queue_runners(session, coordinator)
        try:
            while not coordinator.should_stop() and (steps is None or len(values) < steps):
                values.append(session.run(tensors, options=sl.RunOptions(timeout_in_ms=60000)))
        except sl.errors.OutOfRangeError:
            pass
        finally:
            coordinator.request_stop()
            coordinator.join(threads, stop_grace_period_secs=60)
        assert not any(t.is_alive() for t in threads)
    return values


def in_graph(build):
    """Collects what `build` makes in a graph of its own."""
    with sl.Graph().as_default():
        sl.set_random_seed(11)
        return collect(*build())


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_producer_gives_each_element_once_an_epoch(shuffle):
    got = in_graph(lambda: (sl.train.range_input_producer(5, num_epochs=3, shuffle=shuffle, seed=1).dequeue(),))
    epochs = [[int(x) for x in got[i:i + 5]] for i in (0, 5, 10)]
    assert len(got) == 15 and all(sorted(e) == [0, 1, 2, 3, 4] for e in epochs)
    assert all(e == [0, 1, 2, 3, 4] for e in epochs) != shuffle


def test_producers_of_strings_slices_and_rows():
    assert in_graph(lambda: (sl.train.string_input_producer(["a", "b"], num_epochs=1, shuffle=False).dequeue(),)) == [b"a", b"b"]
    rows = in_graph(lambda: (sl.train.slice_input_producer([np.arange(6).reshape(3, 2), ["x", "y", "z"]], num_epochs=1, shuffle=False),))
    assert [(r.tolist(), s) for r, s in rows] == [([0, 1], b"x"), ([2, 3], b"y"), ([4, 5], b"z")]
    got = in_graph(lambda: (sl.train.input_producer(np.float32([[1, 2], [3, 4]]), shuffle=False).dequeue_many(3), 2))
    assert [g.tolist() for g in got] == [[[1, 2], [3, 4], [1, 2]], [[3, 4], [1, 2], [3, 4]]]
    with sl.Graph().as_default():
        with pytest.raises(ValueError, match="non-null input"):
            sl.train.string_input_producer([])
        with pytest.raises(ValueError, match="num_epochs must be > 0"):
            sl.train.limit_epochs(sl.constant(1), 0)


@pytest.mark.parametrize("final,wanted", [(False, [[0, 1, 2], [3, 4, 5]]), (True, [[0, 1, 2], [3, 4, 5], [6]])])
def test_batches_keep_the_order_and_may_end_with_a_small_one(final, wanted):
    def build():
        i = sl.train.range_input_producer(7, num_epochs=1, shuffle=False).dequeue()
        batch = sl.train.batch({"i": i, "square": i * i}, 3, allow_smaller_final_batch=final)
        assert batch["i"].shape.as_list() == ([None] if final else [3])
        return (batch,)

    got = in_graph(build)
    assert [b["i"].tolist() for b in got] == wanted
    assert [b["square"].tolist() for b in got] == [[i * i for i in b] for b in wanted]


def test_batches_of_rows_of_padded_elements_and_of_those_that_are_kept():
    def rows():
        i = sl.train.range_input_producer(3, num_epochs=2, shuffle=False).dequeue()
        return (sl.train.batch([sl.stack([i, i + 10])], 4, enqueue_many=True),)

    assert [b[0].tolist() for b in in_graph(rows)] == [[0, 10, 1, 11], [2, 12, 0, 10], [1, 11, 2, 12]]

    def padded():
        i = sl.train.range_input_producer(3, num_epochs=1, shuffle=False).dequeue()
        return (sl.train.batch(sl.range(i), 3, dynamic_pad=True),)

    assert in_graph(padded)[0].tolist() == [[0, 0], [0, 0], [0, 1]]

    def kept():
        i = sl.train.range_input_producer(8, num_epochs=1, shuffle=False).dequeue()
        return (sl.train.maybe_batch([i], sl.equal(i % 2, 1), 2),)

    assert [b[0].tolist() for b in in_graph(kept)] == [[1, 3], [5, 7]]
    with sl.Graph().as_default(), pytest.raises(ValueError, match="fully defined.*dynamic_pad"):
        sl.train.batch([sl.placeholder(sl.float32, [None])], 2)


def test_a_shuffled_batch_has_every_element_once_in_an_order_of_its_seed():
    def build():
        i = sl.train.range_input_producer(40, num_epochs=1, shuffle=False).dequeue()
        return (sl.train.shuffle_batch([i], 5, capacity=40, min_after_dequeue=20, seed=3),)

    got = [int(i) for b in in_graph(build) for i in b[0]]
    assert sorted(got) == list(range(40)) != got


def test_batches_join_several_sources():
    def build():
        sources = [[sl.train.range_input_producer(6, num_epochs=1, shuffle=False).dequeue() + 100 * k] for k in range(3)]
        return (sl.train.batch_join(sources, 2),)

    got = [int(i) for b in in_graph(build) for i in b[0]]
    assert sorted(got) == [100 * k + i for k in range(3) for i in range(6)]
    for k in range(3):
        assert [i % 100 for i in got if i // 100 == k] == list(range(6)), "each source keeps its order"


def test_an_error_of_an_enqueue_stops_everything_and_is_raised_by_join():
    with sl.Graph().as_default(), sl.Session() as session:
        i = sl.train.range_input_producer(10, shuffle=False).dequeue()
        with sl.control_dependencies([sl.Assert(sl.less(i, 4), ["number", i])]):
            i = sl.identity(i)
        batch = sl.train.batch([i], 2)
        coordinator = sl.train.Coordinator()
        threads = sl.train.start_queue_runners(session, coordinator)
        with pytest.raises((sl.errors.OutOfRangeError, sl.errors.CancelledError)):
            while True:
                session.run(batch)
        with pytest.raises(sl.errors.InvalidArgumentError, match="number"):
            coordinator.join(threads, stop_grace_period_secs=60)
        assert not any(t.is_alive() for t in threads)


def test_a_stop_ends_runners_that_wait_for_room():
    with sl.Graph().as_default(), sl.Session() as session:
        queue = sl.FIFOQueue(2, sl.int32, shapes=[[]])
        runner = sl.train.QueueRunner(queue, [queue.enqueue(1)] * 3)
        assert runner.name == queue.name
        coordinator = sl.train.Coordinator()
        threads = runner.create_threads(session, coordinator, start=True)
        assert len(threads) == 4 and runner.create_threads(session, coordinator) == []
        session.run(queue.dequeue())
        coordinator.request_stop()
        coordinator.join(threads, stop_grace_period_secs=60)
        assert not any(t.is_alive() for t in threads) and session.run(queue.is_closed())


def test_without_a_coordinator_errors_are_kept():
    with sl.Graph().as_default(), sl.Session() as session:
        queue = sl.FIFOQueue(2, sl.int32, shapes=[[]])
        bad = queue.enqueue(sl.placeholder_with_default(sl.constant([1, 2]), None))
        runner = sl.train.QueueRunner(queue, [bad])
        hook, threading.excepthook = threading.excepthook, lambda args: None
        try:
            threads = runner.create_threads(session, start=True)
            for t in threads:
                t.join(60)
        finally:
            threading.excepthook = hook
        assert [type(e) for e in runner.exceptions_raised] == [sl.errors.InvalidArgumentError]
        with pytest.raises(sl.errors.OutOfRangeError):
            session.run(queue.dequeue())


def test_a_queue_runner_survives_its_message():
    with sl.Graph().as_default():
        sl.train.range_input_producer(3, num_epochs=1, shuffle=False)
        definition = sl.get_collection(sl.GraphKeys.QUEUE_RUNNERS)[0].to_proto()
        meta = sl.train.export_meta_graph()
    assert definition.queue_name and len(definition.enqueue_op_name) == 1
    with sl.Graph().as_default() as graph:
        sl.train.import_meta_graph(meta)
        runner, = sl.get_collection(sl.GraphKeys.QUEUE_RUNNERS)
        assert runner.to_proto() == definition
        take = sl.raw_ops.QueueDequeueV2(graph.as_graph_element(definition.queue_name + ":0"), [sl.int32])[0]
        assert [int(x) for x in collect(take)] == [0, 1, 2]


def test_a_looper_thread_calls_until_the_stop():
    coordinator = sl.train.Coordinator()
    calls = []

    def call(step):
        calls.append(step)
        if len(calls) == 3:
            coordinator.request_stop()

    thread = sl.train.LooperThread.loop(coordinator, None, call, args=(7,))
    coordinator.join([thread], stop_grace_period_secs=60)
    assert calls == [7, 7, 7]

    def fail():
        raise ValueError("looped")

    coordinator = sl.train.Coordinator()
    sl.train.LooperThread.loop(coordinator, 0.01, fail)
    with pytest.raises(ValueError, match="looped"):
        coordinator.join(stop_grace_period_secs=60)


INTERRUPTED = """
import sluice as sl
i = sl.train.range_input_producer(10, shuffle=False).dequeue()
batch = sl.train.batch([i], 2, capacity=4)
never = sl.FIFOQueue(1, sl.int32).dequeue()
with sl.Session() as session:
    session.run(sl.local_variables_initializer())
    coordinator = sl.train.Coordinator()
    threads = sl.train.start_queue_runners(session, coordinator%s)
    session.run(batch)
    try:
        print("ready", flush=True)
        session.run(never)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    coordinator.request_stop()
    coordinator.join(threads)
    print("joined", sum(t.is_alive() for t in threads), flush=True)
"""


@pytest.mark.parametrize("daemon", ["", ", daemon=False"])
def test_ctrl_c_ends_a_program_with_queue_runners(daemon):
    program = subprocess.Popen([sys.executable, "-c", INTERRUPTED % daemon], stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ))
    try:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        out, _ = program.communicate(timeout=60)
    finally:
        program.kill()
    assert out.split("\n")[:2] == ["interrupted", "joined 0"] and program.returncode == 0
