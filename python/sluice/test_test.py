"""The test helpers fail when they should, and measure gradients."""
import numpy as np
import pytest

import sluice as sl


class Case(sl.test.TestCase):

    def test_values_of_tensors_and_structures_compare(self):
        with self.cached_session():
            self.assertAllClose({"a": sl.constant([1.0, 2.0])}, {"a": [1.0, 2.0 + 1e-7]})
            self.assertAllEqual(sl.constant([1, 2]) + 1, [2, 3])
            self.assertAllClose([[1.0], [2.0, 3.0]], [[1.0], [2.0, 3.0]])
            self.assertEqual(self.evaluate(sl.constant(3)), 3)

    def test_differences_fail(self):
        for wrong in (lambda: self.assertAllClose([1.0], [1.1]), lambda: self.assertAllEqual([1], [2]),
                      lambda: self.assertAllEqual([1], [1, 1]), lambda: self.assertNear(1, 2, 0.5),
                      lambda: self.assertAllInSet([1, 5], [1, 2]), lambda: self.assertNotAllClose([1.0], [1.0])):
            with self.assertRaises(AssertionError):
                wrong()

    def test_errors_of_ops_are_told_by_class_and_message(self):
        with self.session() as session:
            x = sl.placeholder(sl.int32, [])
            y = sl.gather([1, 2, 3], x)
            with self.assertRaisesOpError("5"):
                session.run(y, {x: 5})
            with self.assertRaises(AssertionError), self.assertRaisesOpError("something else"):
                session.run(y, {x: 5})

    def test_seeds_make_every_test_repeat(self):
        first = self._draw()
        self.setUp()
        self.assertAllEqual(first, self._draw())

    def _draw(self):
        with sl.Session() as session:
            return session.run(sl.random_uniform([4]))


@pytest.mark.parametrize("function,low,high", [
    (lambda x: sl.square(x) * sl.constant([1.0, 2.0, 3.0]), 0, 1e-2),
    (lambda x: sl.gather(x, [2, 0, 2]), 0, 1e-2),
    (lambda x: sl.stop_gradient(x) * x, 0.1, 10),
])
def test_the_gradient_error_is_small_just_when_the_gradient_is_right(function, low, high):
    with sl.Graph().as_default(), sl.Session():
        x = sl.constant([0.5, -1.0, 2.0])
        y = function(x)
        assert low <= sl.test.compute_gradient_error(x, [3], y, [3], np.array([0.5, -1.0, 2.0])) <= high
