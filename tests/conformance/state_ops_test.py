"""Variables: made, read, assigned, updated in parts, in both of TensorFlow's forms."""

import numpy as np
import pytest

import sluice as sl
from harness import F64, op_case, check, cases, rand, take_rows  # noqa: F401


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
