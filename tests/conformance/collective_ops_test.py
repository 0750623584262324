"""Collectives among the devices of one session: values, types, order, errors. Between processes: tests/distributed."""
import numpy as np
import pytest

import sluice as sl
from harness import proves

DEVICES = 3
CONFIG = sl.ConfigProto(device_count={"CPU": DEVICES})
TYPES = [sl.float32, sl.float64, sl.float16, sl.int8, sl.int16, sl.int32, sl.int64, sl.uint8, sl.uint16, sl.complex64,
         sl.complex128]


def inputs(dtype, shape=(4, 5), seed=1):
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 4, (DEVICES,) + shape)
    if dtype.is_complex:
        values = values * (1 + 2j)
    return values.astype(dtype.as_numpy_dtype)


def on_devices(values):
    tensors = []
    for i, v in enumerate(values):
        with sl.device("/cpu:%d" % i):
            tensors.append(sl.identity(sl.constant(v)))
    return tensors


def run(fetches):
    with sl.Session(config=CONFIG) as session:
        return session.run(fetches, options=sl.RunOptions(timeout_in_ms=60000))


@pytest.mark.parametrize("dtype", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("merge, oracle", [("add", np.add), ("mul", np.multiply), ("max", np.maximum), ("min", np.minimum)])
@proves("CollectiveReduce")
def test_reduce(dtype, merge, oracle):
    values = inputs(dtype)
    with sl.Graph().as_default():
        results = sl.distribute.all_reduce(on_devices(values), merge_op=merge)
        if dtype.is_complex and merge in ("max", "min"):
            with pytest.raises(sl.errors.InvalidArgumentError, match="complex numbers have no"):
                run(results)
            return
        for got in run(results):
            np.testing.assert_array_equal(got, oracle(oracle(values[0], values[1]), values[2]))


@proves("CollectiveReduce")
def test_means_in_the_order_of_devices():
    values = np.array([[1e8, 7], [1, 1], [-1e8, 1]], np.float32)
    with sl.Graph().as_default():
        for got in run(sl.distribute.all_reduce(on_devices(values), mean=True)):
            np.testing.assert_array_equal(got, ((values[0] + values[1]) + values[2]) / np.float32(3))


@pytest.mark.parametrize("shape", [(1,), (0, 3), (2, 3), (40, 70, 2)], ids=str)
@proves("CollectiveGather")
def test_gather(shape):
    for dtype in (sl.float32, sl.int64, sl.bool):
        values = inputs(dtype, shape)
        with sl.Graph().as_default():
            for got in run(sl.distribute.all_gather(on_devices(values))):
                np.testing.assert_array_equal(got, np.concatenate(values))


@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=str)
@proves("CollectiveBcastSend", "CollectiveBcastRecv")
def test_broadcast(shape):
    value = inputs(sl.float32, shape)[0]
    with sl.Graph().as_default():
        results = []
        for i in range(DEVICES):
            with sl.device("/cpu:%d" % i):
                attrs = dict(group_size=DEVICES, group_key=5, instance_key=1, shape=shape)
                results.append(sl.raw_ops.CollectiveBcastSend(sl.constant(value), **attrs) if i == 1 else
                               sl.raw_ops.CollectiveBcastRecv(T=sl.float32, **attrs))
        for got in run(results):
            np.testing.assert_array_equal(got, value)


@proves("CollectiveReduce")
def test_members_that_do_not_agree():
    with sl.Graph().as_default():
        tensors = on_devices([np.zeros(4, np.float32), np.zeros(4, np.float32), np.zeros((2, 2), np.float32)])
        with pytest.raises(sl.errors.InvalidArgumentError, match=r"CPU:0 runs .*float \[4\].* and .*CPU:2 runs .*float \[2,2\]"):
            run(sl.distribute.all_reduce(tensors))


@proves("CollectiveReduce")
def test_a_group_larger_than_the_session():
    with sl.Graph().as_default():
        result = sl.distribute.all_reduce(sl.constant(1.0), members=DEVICES + 1)
        with pytest.raises(sl.errors.FailedPreconditionError, match="the group has 4 members and this session 3 devices"):
            run(result)


@proves("CollectiveReduce")
def test_a_missing_member_ends_with_the_step():
    with sl.Graph().as_default():
        results = sl.distribute.all_reduce(on_devices(inputs(sl.float32)))
        with sl.Session(config=CONFIG) as session:
            with pytest.raises(sl.errors.DeadlineExceededError):
                session.run(results[:2], options=sl.RunOptions(timeout_in_ms=200))
            session.run(results, options=sl.RunOptions(timeout_in_ms=60000))
