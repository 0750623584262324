"""Variables: made, read, assigned, updated in parts, in both of TensorFlow's forms."""

import numpy as np
import pytest

import sluice as sl
from harness import BOOL, COMPLEX, F16, F32, F64, INTS, proves, rand, randint


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.float16])
class TestVariables:
    def test_value_survives_steps(self, use_resource, dtype):
        with sl.Graph().as_default(), sl.Session() as s:
            v = sl.Variable(np.arange(6, dtype=dtype).reshape(2, 3), use_resource=use_resource)
            s.run(sl.global_variables_initializer())
            s.run(sl.assign_add(v, np.ones((2, 3), dtype)))
            s.run(sl.assign_sub(v, np.full((2, 3), 2, dtype)))
            np.testing.assert_array_equal(s.run(v), np.arange(6, dtype=dtype).reshape(2, 3) - 1)

    @pytest.mark.parametrize("kind,oracle", [
        ("update", lambda x, u: u), ("add", lambda x, u: x + u), ("sub", lambda x, u: x - u), ("mul", lambda x, u: x * u),
        ("min", np.minimum), ("max", np.maximum)])
    def test_scatters_change_their_rows(self, use_resource, dtype, kind, oracle):
        with sl.Graph().as_default(), sl.Session() as s:
            start = np.arange(12, dtype=dtype).reshape(4, 3)
            v = sl.Variable(start, use_resource=use_resource)
            s.run(sl.global_variables_initializer())
            updates = np.full((2, 3), 5, dtype)
            s.run(getattr(sl, f"scatter_{kind}")(v, [3, 1], updates))
            wanted = start.copy()
            for row, u in zip([3, 1], updates):
                wanted[row] = oracle(wanted[row], u)
            np.testing.assert_array_equal(s.run(v), wanted)


@pytest.mark.parametrize("use_resource", [False, True])
class TestMistakes:
    def test_reading_before_the_first_assignment_names_the_variable(self, use_resource):
        with sl.Graph().as_default(), sl.Session() as s:
            v = sl.Variable([1.0], name="weights", use_resource=use_resource)
            with pytest.raises(sl.errors.FailedPreconditionError, match="weights"):
                s.run(v)
            s.run(v.initializer)
            assert s.run(v) == [1.0]

    def test_an_index_out_of_range_changes_nothing(self, use_resource):
        with sl.Graph().as_default(), sl.Session() as s:
            v = sl.Variable(np.zeros((4, 2), np.float32), use_resource=use_resource)
            s.run(sl.global_variables_initializer())
            for bad in ([0, 4], [-1, 0]):
                with pytest.raises(sl.errors.InvalidArgumentError, match=r"is not in \[0, 4\)"):
                    s.run(sl.scatter_add(v, sl.constant(bad), np.ones((2, 2), np.float32)))
            np.testing.assert_array_equal(s.run(v), np.zeros((4, 2)))

    def test_a_value_of_another_shape_is_refused(self, use_resource):
        with sl.Graph().as_default():
            v = sl.Variable(np.zeros((4, 2), np.float32), use_resource=use_resource)
            with pytest.raises((ValueError, sl.errors.InvalidArgumentError), match=r"\[4,2\]|\(4, 2\)"):
                sl.assign(v, np.zeros((3, 2), np.float32))


def test_readers_keep_the_value_they_read():
    """A read is a snapshot: the update that runs after it in the same step does not change what was read."""
    with sl.Graph().as_default(), sl.Session() as s:
        v = sl.Variable(np.zeros(1000, np.float32), use_resource=True)
        s.run(sl.global_variables_initializer())
        read = v.read_value()
        with sl.control_dependencies([read]):
            bump = sl.assign_add(v, np.ones(1000, np.float32))
        with sl.control_dependencies([bump]):
            late = sl.identity(read)
        for i in range(5):
            np.testing.assert_array_equal(s.run(late), np.full(1000, i))


def test_a_gather_of_another_type_than_the_variable_is_refused():
    with sl.Graph().as_default() as graph, sl.Session() as s:
        v = sl.Variable(np.zeros((4, 2), np.float32), use_resource=True)
        s.run(v.initializer)
        for op in ("ResourceGather", "ResourceGatherNd"):
            rows = graph.create_op(op, [v.handle, sl.constant([[1]])], attrs={"dtype": sl.string}).outputs[0]
            with pytest.raises(sl.errors.InvalidArgumentError, match="float"):
                s.run(rows)


# ---- each op in its own words

ops = sl.raw_ops
ANY = INTS + [F16, F32, F64] + COMPLEX + BOOL


def some(dtype, *shape, key=0):
    """Small whole numbers, none of them 0, in a type."""
    return np.array(randint(*shape, low=1, high=6, key=key), dtype)


def variable(value, use_resource):
    v = sl.Variable(value, use_resource=use_resource)
    sl.get_default_session().run(v.initializer)
    return v, v.handle if use_resource else v._ref()


def value_of(v):
    return sl.get_default_session().run(v.read_value())


@proves("Variable", "VariableV2", "Assign", "IsVariableInitialized")
@pytest.mark.parametrize("op", ["Variable", "VariableV2"])
def test_a_reference_variable_keeps_what_it_is_assigned(op):
    with sl.Graph().as_default(), sl.Session() as session:
        for dtype in ANY:
            ref = getattr(ops, op)([2, 3], sl.as_dtype(dtype))
            initialized = ops.IsVariableInitialized(ref)
            assert session.run(initialized) == False  # noqa: E712
            with pytest.raises(sl.errors.FailedPreconditionError, match=op):
                session.run(sl.identity(ref))
            value = some(dtype, 2, 3)
            np.testing.assert_array_equal(session.run(ops.Assign(ref, value)), value)
            assert session.run(initialized) == True  # noqa: E712
            np.testing.assert_array_equal(session.run(sl.identity(ref)), value)
        with pytest.raises(ValueError, match=r"\[3,2\]"):
            ops.Assign(ref, np.ones((3, 2), bool))
        grown = ops.Assign(ref, np.ones((3, 2), bool), validate_shape=False)
        assert session.run(grown).shape == (3, 2)
        one, two = [getattr(ops, op)([], sl.int32, shared_name="shared", name=n) for n in ("one", "two")]
        session.run(ops.Assign(one, 7))
        assert session.run(sl.identity(two)) == 7
        with pytest.raises(sl.errors.InvalidArgumentError, match="shared exists with type int32"):
            session.run(ops.Assign(getattr(ops, op)([], sl.float32, shared_name="shared"), 1.0))


@proves("VarHandleOp", "AssignVariableOp", "ReadVariableOp", "VarIsInitializedOp", "VariableShape", "DestroyResourceOp")
@pytest.mark.parametrize("dtype", ANY, ids=lambda t: np.dtype(t).name)
def test_a_resource_variable_keeps_what_it_is_assigned(dtype):
    with sl.Graph().as_default(), sl.Session() as session:
        handle = ops.VarHandleOp(sl.as_dtype(dtype), [None, 3], shared_name="v")
        read, initialized = ops.ReadVariableOp(handle, sl.as_dtype(dtype)), ops.VarIsInitializedOp(handle)
        assert session.run(initialized) == False  # noqa: E712
        with pytest.raises(sl.errors.FailedPreconditionError, match="v"):
            session.run(read)
        for rows in (2, 0, 4):
            value = some(dtype, rows, 3)
            session.run(ops.AssignVariableOp(handle, value))
            np.testing.assert_array_equal(session.run(read), value)
            for out_type in (sl.int32, sl.int64):
                found = session.run(ops.VariableShape(handle, out_type=out_type))
                assert found.tolist() == [rows, 3] and found.dtype == out_type.as_numpy_dtype
        assert session.run(initialized) == True and read.shape.as_list() == [None, 3]  # noqa: E712
        other = sl.float64 if dtype == F32 else sl.float32
        for bad in (lambda: ops.AssignVariableOp(handle, np.zeros((2, 4), dtype)), lambda: ops.ReadVariableOp(handle, other),
                    lambda: ops.AssignVariableOp(handle, sl.cast(np.zeros((2, 3)), other))):
            with pytest.raises((ValueError, sl.errors.InvalidArgumentError), match=r"\[\?,3\]|wanted"):
                session.run(bad())
        session.run(ops.DestroyResourceOp(handle))
        assert session.run(initialized) == False  # noqa: E712
        session.run(ops.DestroyResourceOp(handle))
        with pytest.raises(sl.errors.NotFoundError, match="v"):
            session.run(ops.DestroyResourceOp(handle, ignore_lookup_error=False))


@proves("AssignAdd", "AssignSub", "AssignAddVariableOp", "AssignSubVariableOp")
@pytest.mark.parametrize("dtype", [t for t in ANY if t != np.bool_], ids=lambda t: np.dtype(t).name)
@pytest.mark.parametrize("op", ["AssignAdd", "AssignSub", "AssignAddVariableOp", "AssignSubVariableOp"])
def test_a_sum_is_kept(op, dtype):
    for shape in ((2, 3), (), (0, 2)):
        with sl.Graph().as_default(), sl.Session() as session:
            start, change = some(dtype, *shape) + dtype(6), some(dtype, *shape, key=1)
            v, target = variable(start, op.endswith("Op"))
            session.run(getattr(ops, op)(target, change))
            np.testing.assert_array_equal(value_of(v), start + change if "Add" in op else start - change)
            with pytest.raises((ValueError, sl.errors.InvalidArgumentError)):
                session.run(getattr(ops, op)(target, sl.placeholder_with_default(np.ones((3, 3), dtype), None)))
            np.testing.assert_array_equal(value_of(v), start + change if "Add" in op else start - change)


@proves("TemporaryVariable", "DestroyTemporaryVariable")
def test_a_temporary_variable_lives_in_its_step():
    with sl.Graph().as_default(), sl.Session() as session:
        ref = ops.TemporaryVariable([2], sl.float32, var_name="t")
        filled = ops.AssignAdd(ops.Assign(ref, [1.0, 2.0]), [10.0, 10.0])
        last = ops.DestroyTemporaryVariable(filled, "t")
        for _ in range(3):
            assert session.run(last).tolist() == [11, 12]
        v = sl.Variable([1.0, 2.0], name="v", use_resource=False)
        session.run(v.initializer)
        for other, name in ((ref, "other"), (v._ref(), "v")):  # a variable that lasts is not cleared
            with pytest.raises(sl.errors.NotFoundError, match=f"wanted temporary variable {name}"):
                session.run(ops.DestroyTemporaryVariable(ops.Assign(other, [1.0, 2.0]), name))
        assert session.run(v).tolist() == [1, 2]
        with pytest.raises((ValueError, sl.errors.InvalidArgumentError), match="full shape"):
            session.run(ops.DestroyTemporaryVariable(ops.TemporaryVariable([None], sl.float32, var_name="u"), "u"))


@proves("CountUpTo", "ResourceCountUpTo")
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("op", ["CountUpTo", "ResourceCountUpTo"])
def test_counting_stops_at_its_limit(op, dtype):
    with sl.Graph().as_default(), sl.Session() as session:
        v, target = variable(dtype(0), op.startswith("Resource"))
        count = getattr(ops, op)(target, 3, **(dict(T=sl.as_dtype(dtype)) if op.startswith("Resource") else {}))
        assert [session.run(count) for _ in range(3)] == [0, 1, 2]
        for _ in range(2):
            with pytest.raises(sl.errors.OutOfRangeError, match="3"):
                session.run(count)
        assert value_of(v) == 3
        w, target = variable(np.zeros(2, dtype), op.startswith("Resource"))
        with pytest.raises((ValueError, sl.errors.InvalidArgumentError)):
            session.run(getattr(ops, op)(target, 3, **(dict(T=sl.as_dtype(dtype)) if op.startswith("Resource") else {})))


UPDATES = {"Update": lambda x, u: u, "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": lambda x, u: x // u if x.dtype.kind in "iu" else x / u,
           "Min": np.minimum, "Max": np.maximum}
SCATTERS = [prefix + "Scatter" + kind for prefix in ("", "Resource") for kind in UPDATES]


@proves(*SCATTERS)
@pytest.mark.parametrize("op", SCATTERS)
def test_scattered_rows_are_updated_in_order(op):
    kind = op.split("Scatter")[1]
    for dtype in INTS + [F16, F32, F64] + (COMPLEX if kind not in ("Min", "Max") else []):
        for indices in (np.int32([3, 1]), np.int64([[0, 0], [2, 0]]), np.int32(1), np.zeros((0, 2), np.int64)):
            for scalar in (False, True):
                with sl.Graph().as_default(), sl.Session() as session:
                    start = some(dtype, 4, 3) * dtype(20)
                    updates = some(dtype, *(() if scalar else indices.shape + (3,)), key=1)
                    v, target = variable(start, op.startswith("Resource"))
                    session.run(getattr(ops, op)(target, indices, updates))
                    wanted = start.copy()
                    with np.errstate(over="ignore"):
                        for at in np.ndindex(indices.shape):
                            wanted[indices[at]] = UPDATES[kind](wanted[indices[at]], updates if scalar else updates[at])
                    np.testing.assert_allclose(value_of(v), wanted, rtol=2e-3 if dtype == F16 else 1e-6, err_msg=f"{dtype} {indices}")


ND_UPDATES = [prefix + "ScatterNd" + kind for prefix in ("", "Resource") for kind in ("Update", "Add", "Sub")]


@proves(*ND_UPDATES)
@pytest.mark.parametrize("op", ND_UPDATES)
def test_scattered_parts_are_updated_in_order(op):
    kind = op.split("ScatterNd")[1]
    for dtype in INTS + [F16, F32, F64] + COMPLEX:
        for indices in (np.int32([[3, 1], [0, 2], [3, 1]]), np.int64([[[2]], [[0]]]), np.zeros((0, 1), np.int32), np.int32([[1, 1, 0]])):
            with sl.Graph().as_default(), sl.Session() as session:
                start = some(dtype, 4, 3, 2) * dtype(10)
                depth = indices.shape[-1]
                updates = some(dtype, *indices.shape[:-1], *start.shape[depth:], key=1)
                v, target = variable(start, op.startswith("Resource"))
                session.run(getattr(ops, op)(target, indices, updates))
                wanted = start.copy()
                for at in np.ndindex(indices.shape[:-1]):
                    wanted[tuple(indices[at])] = UPDATES[kind](wanted[tuple(indices[at])], updates[at])
                np.testing.assert_array_equal(value_of(v), wanted, err_msg=f"{dtype} {indices}")
                for bad, error in (([[4] + [0] * (depth - 1)], r"is not in"), ([[-1] + [0] * (depth - 1)], r"is not in")):
                    with pytest.raises(sl.errors.InvalidArgumentError, match=error):
                        session.run(getattr(ops, op)(target, bad, some(dtype, 1, *start.shape[depth:])))
                np.testing.assert_array_equal(value_of(v), wanted)


@proves("ResourceScatterDiv", "ScatterDiv")
@pytest.mark.parametrize("op", ["ResourceScatterDiv", "ScatterDiv"])
def test_a_whole_number_is_not_divided_by_zero(op):
    with sl.Graph().as_default(), sl.Session() as session:
        v, target = variable(np.int32([4, 6]), op.startswith("Resource"))
        with pytest.raises(sl.errors.InvalidArgumentError, match="division by zero"):
            session.run(getattr(ops, op)(target, [0, 1], [2, 0]))
        assert value_of(v).tolist() == [4, 6]


@proves("ResourceGather", "ResourceGatherNd")
def test_parts_are_read_without_the_whole():
    with sl.Graph().as_default(), sl.Session() as session:
        for dtype in ANY:
            x = some(dtype, 4, 3, 2)
            _, handle = variable(x, True)
            t = sl.as_dtype(dtype)
            for indices in (np.int32([3, 1, 3]), np.int64([[0], [2]]), np.int32(1), np.zeros((0, 2), np.int64)):
                np.testing.assert_array_equal(session.run(ops.ResourceGather(handle, indices, t)), x[indices])
            for indices in (np.int32([[3, 1], [0, 2]]), np.int64([2]), np.int32([[1, 1, 0]]), np.zeros((2, 0), np.int32)):
                wanted = np.zeros(indices.shape[:-1] + x.shape[indices.shape[-1]:], dtype)
                for at in np.ndindex(indices.shape[:-1]):
                    wanted[at] = x[tuple(indices[at])]
                np.testing.assert_array_equal(session.run(ops.ResourceGatherNd(handle, indices, t)), wanted)
            each = session.run(ops.ResourceGather(handle, [2, 0, 1, 1], t, batch_dims=1))
            np.testing.assert_array_equal(each, x[np.arange(4), [2, 0, 1, 1]])
            batched = session.run(ops.ResourceGather(handle, np.int32([[2, 0], [1, 1], [0, 2], [0, 0]]), t, batch_dims=1))
            np.testing.assert_array_equal(batched, np.stack([x[i][[[2, 0], [1, 1], [0, 2], [0, 0]][i]] for i in range(4)]))
        for bad, dims in (([0, 1], 1), ([0, 1, 2, 0], 3), ([0], 2), ([0], -1)):
            with pytest.raises((ValueError, sl.errors.InvalidArgumentError), match="batch_dims|rank"):
                session.run(ops.ResourceGather(handle, bad, t, batch_dims=dims))
        for bad in ([4], [-1]):
            with pytest.raises(sl.errors.InvalidArgumentError, match=r"is not in \[0, 4\)"):
                session.run(ops.ResourceGather(handle, bad, t))
            with pytest.raises(sl.errors.InvalidArgumentError, match="4"):
                session.run(ops.ResourceGatherNd(handle, [bad], t))


@proves("ResourceGather", "ResourceGatherNd")
def test_gradients_of_gathers_reach_the_variable():
    with sl.Graph().as_default(), sl.Session() as session:
        v, handle = variable(rand(4, 3), True)
        rows = ops.ResourceGather(handle, [2, 0, 2], sl.float64)
        dense = sl.convert_to_tensor(sl.gradients(sl.reduce_sum(rows * [[1.0], [2.0], [3.0]]), handle)[0])
        np.testing.assert_array_equal(session.run(dense), np.array([2, 0, 4, 0])[:, None] * np.ones(3))
        parts = ops.ResourceGatherNd(handle, [[3, 1], [0, 0], [3, 1]], sl.float64)
        found = session.run(sl.convert_to_tensor(sl.gradients(sl.reduce_sum(parts * [1.0, 2.0, 3.0]), handle)[0]))
        wanted = np.zeros((4, 3))
        wanted[3, 1], wanted[0, 0] = 4, 2
        np.testing.assert_array_equal(found, wanted)
