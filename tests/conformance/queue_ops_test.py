"""Queues, accumulators, barriers and stacks: each op in its forms, against what TensorFlow's documentation says."""

import numpy as np
import pytest

import sluice as sl
from harness import proves

KINDS = ["FIFOQueue", "RandomShuffleQueue", "PaddingFIFOQueue", "PriorityQueue"]
F = [sl.float32]


def _op(name, resource, *args, **attrs):
    return getattr(sl.raw_ops, name + ("V2" if resource else ""))(*args, **attrs)


def _run(build):
    """The values that build(run) gets from `run`, each call of which is a step."""
    with sl.Graph().as_default(), sl.Session() as session:
        deadline = sl.RunOptions(timeout_in_ms=30000)
        return build(lambda fetch: session.run(fetch, options=deadline))


BOTH = pytest.mark.parametrize("resource", [False, True], ids=["ref", "resource"])


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_a_queue_yields_what_was_put_in(kind, resource):
    def build(run):
        priority = kind == "PriorityQueue"
        queue = _op(kind, resource, component_types=F, shapes=[[2]], capacity=10)
        first = [sl.constant([3, 1, 2], sl.int64)] if priority else []
        rows = np.float32([[1, 2], [3, 4], [5, 6]])
        types = [sl.int64] * priority + F
        run(_op("QueueEnqueueMany", resource, queue, first + [rows]))
        assert run(_op("QueueSize", resource, queue)) == 3
        got = run(_op("QueueDequeueMany", resource, queue, 3, types))[-1]
        if priority:
            np.testing.assert_array_equal(got, rows[[1, 2, 0]])
        elif kind == "RandomShuffleQueue":
            assert sorted(got.tolist()) == rows.tolist()
        else:
            np.testing.assert_array_equal(got, rows)
        run(_op("QueueEnqueue", resource, queue, [np.int64(1)] * priority + [rows[2]]))
        np.testing.assert_array_equal(run(_op("QueueDequeue", resource, queue, types))[-1], rows[2])
        assert not run(_op("QueueIsClosed", resource, queue))
        run(_op("QueueEnqueue", resource, queue, [np.int64(1)] * priority + [rows[0]]))
        run(_op("QueueClose", resource, queue))
        assert run(_op("QueueIsClosed", resource, queue))
        np.testing.assert_array_equal(run(_op("QueueDequeueUpTo", resource, queue, 5, types))[-1], rows[:1])
        with pytest.raises(sl.errors.OutOfRangeError, match="closed and has insufficient elements"):
            run(_op("QueueDequeue", resource, queue, types))
        with pytest.raises(sl.errors.CancelledError, match="is closed"):
            run(_op("QueueEnqueue", resource, queue, [np.int64(1)] * priority + [rows[0]]))
        return [op.type for op in sl.get_default_graph().get_operations()]

    made = set(_run(build))
    assert kind + ("V2" if resource else "") in made


@proves(*[op + v for v in ("", "V2") for op in
          KINDS + ["QueueEnqueue", "QueueEnqueueMany", "QueueDequeue", "QueueDequeueMany", "QueueDequeueUpTo", "QueueClose",
                   "QueueIsClosed", "QueueSize"]])
def test_every_type_passes_through_a_queue():
    def build(run):
        values = [np.arange(4, dtype=t.as_numpy_dtype) for t in
                  (sl.float32, sl.float64, sl.float16, sl.int8, sl.uint8, sl.int16, sl.int32, sl.int64)]
        values += [np.array([True, False, True, True]), np.array([b"a", b"", b"ccc", b"\0"], object),
                   np.arange(4).astype(np.complex64)]
        for kind in KINDS:
            for resource in (False, True):
                rows = [np.arange(4)] + values if kind == "PriorityQueue" else values
                tensors = [sl.constant(v) for v in rows]
                types = [t.dtype for t in tensors]
                queue = _op(kind, resource, component_types=types[kind == "PriorityQueue":], shapes=[[]] * len(values))
                run(_op("QueueEnqueueMany", resource, queue, tensors))
                run(_op("QueueEnqueue", resource, queue, [t[3] for t in tensors]))
                assert run(_op("QueueSize", resource, queue)) == 5
                take = _op("QueueDequeueMany", resource, queue, 4, types)
                one = _op("QueueDequeue", resource, queue, types)
                if kind == "RandomShuffleQueue":
                    run(take), run(one)
                else:
                    for got, wanted in zip(run(take), rows):
                        np.testing.assert_array_equal(got, wanted)
                    for got, wanted in zip(run(one), rows):
                        assert got == wanted[3]
                run(_op("QueueClose", resource, queue))
                assert run(_op("QueueIsClosed", resource, queue))
                with pytest.raises(sl.errors.OutOfRangeError):
                    run(_op("QueueDequeueUpTo", resource, queue, 1, types))

    _run(build)


@pytest.mark.parametrize("resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, np.int64, np.complex64])
@pytest.mark.parametrize("reduction", ["MEAN", "SUM"])
def test_an_accumulator_adds_gradients_of_its_step(resource, dtype, reduction):
    prefix = "Resource" if resource else ""

    def build(run):
        def op(name, *args, **attrs):
            return getattr(sl.raw_ops, prefix + name)(*args, **attrs)

        acc = op("ConditionalAccumulator", dtype=dtype, shape=[3], reduction_type=reduction)
        grads = [np.array(g, dtype) for g in ([1, 2, 3], [5, 6, 10])]
        run(op("AccumulatorSetGlobalStep", acc, sl.constant(4, sl.int64)))
        for step, g in ((4, grads[0]), (3, grads[0]), (5, grads[1])):
            run(op("AccumulatorApplyGradient", acc, sl.constant(step, sl.int64), g))
        assert run(op("AccumulatorNumAccumulated", acc)) == 2
        total = grads[0] + grads[1]
        wanted = total if reduction == "SUM" else (total // 2 if np.issubdtype(dtype, np.integer) else total / 2)
        np.testing.assert_array_equal(run(op("AccumulatorTakeGradient", acc, 2, dtype)), wanted)
        run(op("AccumulatorApplyGradient", acc, sl.constant(4, sl.int64), grads[0]))
        assert run(op("AccumulatorNumAccumulated", acc)) == 0

    _run(build)


@proves(*[p + n for p in ("", "Resource") for n in
          ("ConditionalAccumulator", "AccumulatorApplyGradient", "AccumulatorTakeGradient", "AccumulatorNumAccumulated",
           "AccumulatorSetGlobalStep")])
def test_both_forms_of_an_accumulator_share_by_name():
    def build(run):
        r = sl.raw_ops
        a = r.ConditionalAccumulator(dtype=sl.float32, shape=[], shared_name="s")
        b = r.ResourceConditionalAccumulator(dtype=sl.float32, shape=[], shared_name="s")
        zero = sl.constant(0, sl.int64)
        run(r.AccumulatorApplyGradient(a, zero, 2.0))
        run(r.ResourceAccumulatorApplyGradient(b, zero, 4.0))
        assert run([r.AccumulatorNumAccumulated(a), r.ResourceAccumulatorNumAccumulated(b)]) == [2, 2]
        assert run(r.AccumulatorTakeGradient(a, 2, sl.float32)) == 3
        run([r.AccumulatorSetGlobalStep(a, sl.constant(8, sl.int64)), r.ResourceAccumulatorSetGlobalStep(b, sl.constant(8, sl.int64))])
        run(r.ResourceAccumulatorApplyGradient(b, sl.constant(8, sl.int64), 4.0))
        assert run(r.ResourceAccumulatorTakeGradient(b, 1, sl.float32)) == 4

    _run(build)


@proves("SparseConditionalAccumulator", "SparseAccumulatorApplyGradient", "SparseAccumulatorTakeGradient")
def test_a_sparse_accumulator_averages_each_row_over_the_gradients_that_have_it():
    def build(run):
        r = sl.raw_ops
        acc = r.SparseConditionalAccumulator(dtype=sl.float32, shape=[9, 2])
        zero = sl.constant(0, sl.int64)
        for indices, values in (([6, 1], [[1, 2], [3, 4]]), ([1, 8, 1], [[5, 5], [7, 7], [1, 1]])):
            run(r.SparseAccumulatorApplyGradient(acc, zero, sl.constant(indices, sl.int64), np.float32(values),
                                                 sl.constant([9, 2], sl.int64), has_known_shape=True))
        got = run(r.SparseAccumulatorTakeGradient(acc, 2, sl.float32))
        assert got.indices.tolist() == [1, 6, 8] and got.shape.tolist() == [9, 2]
        np.testing.assert_array_equal(got.values, [[4.5, 5], [1, 2], [7, 7]])
        with pytest.raises(sl.errors.InvalidArgumentError, match="index 9 is outside"):
            run(r.SparseAccumulatorApplyGradient(acc, sl.constant(1, sl.int64), sl.constant([9], sl.int64), np.ones((1, 2), np.float32),
                                                 sl.constant([9, 2], sl.int64), has_known_shape=True))

    _run(build)


@proves("Barrier", "BarrierInsertMany", "BarrierTakeMany", "BarrierClose", "BarrierReadySize", "BarrierIncompleteSize")
def test_a_barrier_joins_components_by_key():
    def build(run):
        r = sl.raw_ops
        b = r.Barrier(component_types=[sl.float32, sl.string], shapes=[[], [2]])
        run(r.BarrierInsertMany(b, ["x", "y", "z"], np.float32([1, 2, 3]), component_index=0))
        run(r.BarrierInsertMany(b, ["z", "y"], [["a", "b"], ["c", "d"]], component_index=1))
        assert run([r.BarrierReadySize(b), r.BarrierIncompleteSize(b)]) == [2, 1]
        got = run(r.BarrierTakeMany(b, 2, [sl.float32, sl.string]))
        assert (got.indices - np.iinfo(np.int64).min).tolist() == [1, 2]
        assert got.keys.tolist() == [b"y", b"z"]
        assert got.values[0].tolist() == [2, 3] and got.values[1].tolist() == [[b"c", b"d"], [b"a", b"b"]]
        run(r.BarrierClose(b, cancel_pending_enqueues=True))
        with pytest.raises(sl.errors.OutOfRangeError, match="closed and has insufficient elements"):
            run(r.BarrierTakeMany(b, 1, [sl.float32, sl.string]))
        with pytest.raises(sl.errors.CancelledError):
            run(r.BarrierInsertMany(b, ["x"], [["e", "f"]], component_index=1))

    _run(build)


@proves("Stack", "StackPush", "StackPop", "StackClose", "StackV2", "StackPushV2", "StackPopV2", "StackCloseV2")
def test_a_stack_yields_the_last_first():
    def build(run):
        for v, args in (("", ()), ("V2", (2,))):
            def op(name, *args, **attrs):
                return getattr(sl.raw_ops, name + v)(*args, **attrs)

            stack = op("Stack", *args, elem_type=sl.float32)
            first = op("StackPush", stack, sl.constant([1.0]))
            with sl.control_dependencies([first]):
                second = op("StackPush", stack, sl.constant([2.0, 3.0]))
            with sl.control_dependencies([second]):
                top = op("StackPop", stack, sl.float32)
            with sl.control_dependencies([top]):
                below = op("StackPop", stack, sl.float32)
            with sl.control_dependencies([below]):
                close = op("StackClose", stack)
            with sl.control_dependencies([close]):
                late = op("StackPush", stack, sl.constant([1.0]))
            got = run([top, below])
            assert got[0].tolist() == [2, 3] and got[1].tolist() == [1]
            with pytest.raises(sl.errors.InvalidArgumentError, match="was closed"):
                run(late)

    _run(build)


@proves("WorkerClock", "WorkerClockSet", "WorkerClockRead", "WorkerClockWait")
def test_a_clock_waits_for_the_slowest_worker():
    def build(run):
        r = sl.raw_ops
        clock = r.WorkerClock(num_workers=2)
        run(r.WorkerClockSet(clock, 0, sl.constant(3, sl.int64)))
        run(r.WorkerClockSet(clock, 1, sl.constant(2, sl.int64)))
        assert run(r.WorkerClockRead(clock)).tolist() == [3, 2]
        assert run(r.WorkerClockWait(clock, sl.constant(1, sl.int64))) == 2
        with pytest.raises(sl.errors.DeadlineExceededError, match="waited 1 ms.*the least clock is 2, of worker 1"):
            run(r.WorkerClockWait(clock, sl.constant(3, sl.int64), timeout_ms=1))
        with pytest.raises(sl.errors.InvalidArgumentError, match="worker 2 is not one of the 2"):
            run(r.WorkerClockSet(clock, 2, sl.constant(3, sl.int64)))

    _run(build)
