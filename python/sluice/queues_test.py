"""Queues and accumulators from Python: arguments, structures, mistakes, several threads."""
import threading

import numpy as np
import pytest

import sluice as sl


@pytest.fixture
def run():
    """Runs a step with a deadline, in a session on a graph of its own."""
    with sl.Graph().as_default(), sl.Session() as session:
        yield lambda fetch, feeds=None: session.run(fetch, feeds, options=sl.RunOptions(timeout_in_ms=60000))


def test_elements_of_one_component_are_tensors_of_several_lists_and_of_names_dictionaries(run):
    one = sl.FIFOQueue(10, sl.float32, shapes=[[]])
    run(one.enqueue(3.0))
    assert run(one.dequeue()) == 3
    two = sl.FIFOQueue(10, [sl.float32, sl.string], shapes=[[2], []])
    run(two.enqueue_many([np.float32([[1, 2], [3, 4]]), ["a", "b"]]))
    x, text = run(two.dequeue())
    assert x.tolist() == [1, 2] and text == b"a"
    named = sl.FIFOQueue(10, [sl.int32, sl.int32], shapes=[[], []], names=["left", "right"])
    run(named.enqueue({"right": 2, "left": 1}))
    assert run(named.dequeue_many(1)) == {"left": 1, "right": 2}
    with pytest.raises(ValueError, match="must enqueue a dictionary"):
        named.enqueue([1, 2])
    with pytest.raises(ValueError, match="do not match names"):
        named.enqueue({"left": 1, "middle": 2})


def test_names_types_and_shapes_are_known_when_the_graph_is_built(run):
    queue = sl.queue.FIFOQueue(10, [sl.float32, sl.int32], shapes=[[2, 3], []], name="q")
    assert queue.name == "q" and queue.queue_ref.op.type == "FIFOQueueV2"
    assert queue.dtypes == [sl.float32, sl.int32]
    x, n = queue.dequeue()
    assert x.shape == [2, 3] and n.shape == [] and n.dtype == sl.int32 and x.op.name == "q_Dequeue"
    assert queue.dequeue_many(5)[0].shape == [5, 2, 3]
    assert queue.dequeue_many(sl.placeholder(sl.int32, []))[0].shape.as_list() == [None, 2, 3]
    assert queue.dequeue_up_to(5)[0].shape.as_list() == [None, 2, 3]
    assert queue.enqueue([np.zeros((2, 3)), 1]).name == "q_enqueue"
    for bad, message in (([np.zeros((3, 2)), 1], "not compatible|incompatible"), ([1.0], "2 components")):
        with pytest.raises(ValueError, match=message):
            queue.enqueue(bad)
    with pytest.raises(ValueError, match="same size in dimension 0"):
        queue.enqueue_many([np.zeros((4, 2, 3)), [1, 2]])
    with pytest.raises(ValueError, match="fully defined"):
        sl.FIFOQueue(10, sl.float32, shapes=[[None]])
    with pytest.raises(ValueError, match="same length"):
        sl.FIFOQueue(10, [sl.float32], shapes=[[], []])


def test_a_padding_queue_pads_its_batches(run):
    queue = sl.PaddingFIFOQueue(10, [sl.int32, sl.string], [[None], [None]])
    for row in ([1], [2, 3, 4], []):
        run(queue.enqueue([np.array(row, np.int32), np.array(["s"] * len(row), object)]))
    numbers, texts = run(queue.dequeue_many(3))
    assert numbers.tolist() == [[1, 0, 0], [2, 3, 4], [0, 0, 0]]
    assert texts.tolist() == [[b"s", b"", b""], [b"s", b"s", b"s"], [b"", b"", b""]]
    with pytest.raises(ValueError, match="of known rank"):
        sl.PaddingFIFOQueue(10, [sl.int32], [sl.TensorShape(None)])


def test_a_priority_queue_yields_the_least_first(run):
    queue = sl.PriorityQueue(10, sl.string, shapes=[[]])
    assert queue.dtypes == [sl.int64, sl.string]
    run(queue.enqueue_many([np.int64([5, -1, 5, 0]), ["a", "b", "c", "d"]]))
    assert run(queue.dequeue_many(4))[1].tolist() == [b"b", b"d", b"a", b"c"]


def test_a_random_queue_repeats_by_seed():
    def order(seed):
        with sl.Graph().as_default(), sl.Session() as session:
            queue = sl.RandomShuffleQueue(100, 0, sl.int32, shapes=[[]], seed=seed)
            session.run(queue.enqueue_many([np.arange(50)]))
            return session.run(queue.dequeue_many(50)).tolist()

    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == list(range(50)) != order(3)
    # What TensorFlow 2.21 gives.
    with sl.Graph().as_default(), sl.Session() as session:
        queue = sl.RandomShuffleQueue(100, 0, sl.int32, shapes=[[]], seed=5)
        session.run(queue.enqueue_many([np.arange(20)]))
        assert session.run(queue.dequeue_many(20)).tolist() == [11, 19, 6, 5, 8, 4, 1, 9, 15, 13, 12, 17, 14, 18, 10, 2,
                                                                16, 3, 0, 7]


def test_a_queue_of_a_list_is_chosen_when_it_is_used(run):
    queues = [sl.FIFOQueue(10, sl.float32, shapes=[[]]) for _ in range(3)]
    which = sl.placeholder(sl.int32, [])
    chosen = sl.QueueBase.from_list(which, queues)
    run(chosen.enqueue(7.0), {which: 2})
    assert run([q.size() for q in queues]) == [0, 0, 1]
    assert run(chosen.dequeue(), {which: 2}) == 7
    with pytest.raises(TypeError, match="matching component dtypes"):
        sl.QueueBase.from_list(which, [queues[0], sl.FIFOQueue(1, sl.int32)])


def test_threads_hand_elements_on_until_the_queue_is_closed(run):
    numbers = sl.FIFOQueue(3, sl.int64, shapes=[[]])
    x = sl.placeholder(sl.int64, [])
    put, take, close = numbers.enqueue(x), numbers.dequeue(), numbers.close()
    taken, lock = [], threading.Lock()

    def produce(first):
        for i in range(100):
            run(put, {x: first + i})

    def consume():
        while True:
            try:
                value = run(take)
            except sl.errors.OutOfRangeError:
                return
            with lock:
                taken.append(int(value))

    consumers = [threading.Thread(target=consume) for _ in range(3)]
    producers = [threading.Thread(target=produce, args=(100 * k,)) for k in range(3)]
    for t in consumers + producers:
        t.start()
    for t in producers:
        t.join()
    run(close)
    for t in consumers:
        t.join()
    assert sorted(taken) == list(range(300))


def test_closing_the_session_ends_a_wait():
    with sl.Graph().as_default():
        queue = sl.FIFOQueue(1, sl.float32)
        take = queue.dequeue()
        session = sl.Session()
        session.run(queue.size())
        caught = []

        def wait():
            try:
                session.run(take)
            except (sl.errors.CancelledError, RuntimeError) as e:  # RuntimeError: closed before the step began
                caught.append(e)

        thread = threading.Thread(target=wait)
        thread.start()
        session.close()
        thread.join(60)
        assert len(caught) == 1


def test_an_accumulator_drops_what_is_late(run):
    acc = sl.ConditionalAccumulator(sl.float32, shape=[2])
    run(acc.set_global_step(5))
    for step, g in ((5, [1, 2]), (4, [100, 100]), (5, [3, 6])):
        run(acc.apply_grad(np.float32(g), local_step=step))
    assert run(acc.num_accumulated()) == 2
    assert run(acc.take_grad(2)).tolist() == [2, 4]
    total = sl.ConditionalAccumulator(sl.float32, reduction_type="SUM")
    run([total.apply_grad(1.0), total.apply_grad(2.0)])
    assert run(total.take_grad(1)) == 3
    with pytest.raises(ValueError, match="not compatible|incompatible"):
        acc.apply_grad(np.zeros(3, np.float32))


def test_gradients_with_a_replica_add_up_in_the_order_of_replicas(run):
    acc = sl.ConditionalAccumulator(sl.float32, shape=[], reduction_type="SUM")
    parts = {0: 1e8, 1: -1e8, 2: 1.0}
    for step, order in enumerate(((0, 1, 2), (2, 0, 1), (1, 2, 0))):
        for r in order:
            run(acc.apply_grad(np.float32(parts[r]), local_step=step, replica=r))
        assert run(acc.take_grad(3)) == 1.0
    for r in order:
        run(acc.apply_grad(np.float32(parts[r]), local_step=3, replica=r))
    assert run(acc.take_grad([0, 2, 1])) == 0.0
    with pytest.raises(ValueError, match="must not be negative"):
        acc.apply_grad(1.0, replica=-1)


def test_a_sparse_accumulator_adds_rows(run):
    acc = sl.SparseConditionalAccumulator(sl.float32, shape=[5, 2])
    run(acc.apply_grad([3, 1], np.float32([[1, 1], [2, 2]]), grad_shape=[5, 2]))
    run(acc.apply_indexed_slices_grad(sl.IndexedSlices(np.float32([[4, 4]]), sl.constant([1], sl.int64))))
    indices, values, shape = run(acc.take_grad(2))
    assert indices.tolist() == [1, 3] and values.tolist() == [[3, 3], [1, 1]] and shape.tolist() == [5, 2]
    run(acc.apply_grad([0], np.float32([[8, 8]]), local_step=1))
    assert run(acc.take_indexed_slices_grad(1)).values.tolist() == [[8, 8]]
