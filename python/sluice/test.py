"""Helpers for tests of programs that use Sluice: TestCase with array assertions, and numeric gradients."""
import contextlib
import os
import re
import shutil
import tempfile
import unittest

import numpy as np

import sluice as sl


def main(argv=None):
    """Runs the tests of the calling module."""
    unittest.main(argv=argv)


def __getattr__(name):
    if name == "mock":
        from unittest import mock
        return mock
    raise AttributeError("module 'sluice.test' has no attribute %r" % name)


def assert_equal_graph_def(actual, expected):
    """Two GraphDefs have the same nodes, in any order."""
    nodes = lambda graph: {n.name: str(n) for n in graph.node}
    a, b = nodes(actual), nodes(expected)
    for name in sorted(set(a) | set(b)):
        if a.get(name) != b.get(name):
            raise AssertionError("The graphs differ at node %r:\n%s\nand\n%s" % (name, a.get(name), b.get(name)))


def get_temp_dir():
    """A folder for the files of this test process, removed at its end."""
    global _temporary
    if _temporary is None:
        _temporary = tempfile.mkdtemp(prefix="sluice_test")
        import atexit
        atexit.register(shutil.rmtree, _temporary, ignore_errors=True)
    return _temporary


_temporary = None


def is_gpu_available(cuda_only=False, min_cuda_compute_capability=None):
    """Whether this process has a GPU device."""
    return bool(gpu_device_name())


def gpu_device_name():
    """The name of the first GPU device, or ""."""
    with sl.Graph().as_default(), sl.Session() as sess:
        for d in sess.list_devices():
            if d.device_type == "GPU":
                return d.name
    return ""


def is_built_with_cuda():
    """Whether the library was built with CUDA."""
    return is_gpu_available()


class TestCase(unittest.TestCase):
    """unittest.TestCase with a fresh default graph and fixed seeds for every test."""

    def setUp(self):
        super().setUp()
        self._cached = None
        self._folder = None
        np.random.seed(87654321)
        sl.reset_default_graph()
        sl.set_random_seed(87654321)

    def tearDown(self):
        if self._cached is not None:
            self._cached.close()
        super().tearDown()

    def get_temp_dir(self):
        """A folder of this test's own."""
        if self._folder is None:
            self._folder = tempfile.mkdtemp(dir=get_temp_dir(), prefix=self.id().rpartition(".")[2])
        return self._folder

    # Sessions.
    @contextlib.contextmanager
    def session(self, graph=None, config=None, use_gpu=False, force_gpu=False):
        """A session for one `with` block."""
        with sl.Session(graph=graph, config=config) as sess:
            yield sess

    @contextlib.contextmanager
    def cached_session(self, graph=None, config=None, use_gpu=False, force_gpu=False):
        """A session that all `with` blocks of a test share."""
        if self._cached is None:
            self._cached = sl.Session(graph=graph, config=config)
        with self._cached.graph.as_default(), self._cached.as_default():
            yield self._cached

    @contextlib.contextmanager
    def test_session(self, graph=None, config=None, use_gpu=False, force_gpu=False):
        """The older name of both: cached when no graph is given."""
        with (self.cached_session(config=config) if graph is None else self.session(graph, config)) as sess:
            yield sess

    test_session.__test__ = False  # its name makes test collectors take it for a test

    def evaluate(self, tensors):
        """The values of tensors in the current or the cached session."""
        sess = sl.get_default_session()
        if sess is not None:
            return sess.run(tensors)
        with self.cached_session() as sess:
            return sess.run(tensors)

    # Assertions.
    def _values(self, a):
        if isinstance(a, dict):
            return {k: self._values(v) for k, v in a.items()}
        if isinstance(a, (list, tuple)) and any(isinstance(x, (sl.Tensor, sl.Variable)) for x in a):
            return type(a)(self._values(x) for x in a)
        if isinstance(a, (sl.Tensor, sl.Variable)) or type(a).__name__ in ("IndexedSlicesValue", "IndexedSlices"):
            return self.evaluate(a)
        return a

    def assertAllClose(self, a, b, rtol=1e-6, atol=1e-6, msg=None):
        """a and b (arrays, tensors, or equal structures of them) are equal within a tolerance."""
        a, b = self._values(a), self._values(b)
        if isinstance(a, dict) or isinstance(b, dict):
            self.assertEqual(sorted(a), sorted(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, "%s[%r]" % (msg or "", key))
            return
        if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and _ragged(a, b):
            self.assertEqual(len(a), len(b), msg)
            for i, (x, y) in enumerate(zip(a, b)):
                self.assertAllClose(x, y, rtol, atol, "%s[%d]" % (msg or "", i))
            return
        a, b = _array(a), _array(b)
        self.assertEqual(a.shape, b.shape, "Shape mismatch: expected %s, got %s. %s" % (a.shape, b.shape, msg or ""))
        if a.dtype == np.float16 or b.dtype == np.float16:
            rtol, atol = max(rtol, 1e-3), max(atol, 1e-3)
        np.testing.assert_allclose(b, a, rtol=rtol, atol=atol, err_msg=msg or "", equal_nan=True)

    def assertNotAllClose(self, a, b, **kwargs):
        """a and b differ by more than the tolerance."""
        try:
            self.assertAllClose(a, b, **kwargs)
        except AssertionError:
            return
        raise AssertionError("The two values are close at all elements")

    def assertAllCloseAccordingToType(self, a, b, rtol=1e-6, atol=1e-6, float_rtol=1e-6, float_atol=1e-6,
                                      half_rtol=1e-3, half_atol=1e-3, bfloat16_rtol=1e-2, bfloat16_atol=1e-2, msg=None):
        """assertAllClose with the tolerance of the less exact type."""
        a, b = _array(self._values(a)), _array(self._values(b))
        for dtype, r, t in (("float32", float_rtol, float_atol), ("float16", half_rtol, half_atol),
                            ("bfloat16", bfloat16_rtol, bfloat16_atol)):
            if dtype in (a.dtype.name, b.dtype.name):
                rtol, atol = max(rtol, r), max(atol, t)
        self.assertAllClose(a, b, rtol, atol, msg)

    def assertAllEqual(self, a, b, msg=None):
        """a and b have equal shapes and elements (NaN equals NaN)."""
        a, b = _array(self._values(a)), _array(self._values(b))
        self.assertEqual(a.shape, b.shape, "Shape mismatch: expected %s, got %s. %s" % (a.shape, b.shape, msg or ""))
        np.testing.assert_array_equal(b, a, err_msg=msg or "")

    def assertNear(self, f1, f2, err, msg=None):
        """|f1 - f2| <= err."""
        self.assertTrue(f1 == f2 or abs(f1 - f2) <= err, "%f != %f +/- %f %s" % (f1, f2, err, msg or ""))

    def assertArrayNear(self, farray1, farray2, err, msg=None):
        """assertNear for each pair."""
        self.assertEqual(len(farray1), len(farray2), msg)
        for f1, f2 in zip(farray1, farray2):
            self.assertNear(float(f1), float(f2), err, msg)

    def assertShapeEqual(self, np_array, tf_tensor, msg=None):
        """The tensor's static shape is that of the array."""
        self.assertEqual(list(np_array.shape), tf_tensor.get_shape().as_list(), msg)

    def assertDTypeEqual(self, target, expected_dtype):
        """The type of an array or tensor."""
        self.assertEqual(_array(self._values(target)).dtype, np.dtype(sl.as_dtype(expected_dtype).as_numpy_dtype))

    def assertAllInRange(self, target, lower_bound, upper_bound, open_lower_bound=False, open_upper_bound=False):
        """Every element lies between the bounds."""
        target = _array(self._values(target))
        low = target > lower_bound if open_lower_bound else target >= lower_bound
        high = target < upper_bound if open_upper_bound else target <= upper_bound
        self.assertTrue(np.all(low & high), "elements out of range: %r" % target[~(low & high)][:10])

    def assertAllInSet(self, target, expected_set):
        """Every element is one of the set."""
        found = set(_array(self._values(target)).ravel().tolist())
        self.assertTrue(found <= set(expected_set), "unexpected: %r" % sorted(found - set(expected_set)))

    def assertAllGreater(self, a, comparison_target):
        """Every element is greater."""
        self.assertTrue(np.all(_array(self._values(a)) > comparison_target))

    def assertAllLess(self, a, comparison_target):
        """Every element is less."""
        self.assertTrue(np.all(_array(self._values(a)) < comparison_target))

    def assertAllGreaterEqual(self, a, comparison_target):
        """Every element is greater or equal."""
        self.assertTrue(np.all(_array(self._values(a)) >= comparison_target))

    def assertAllLessEqual(self, a, comparison_target):
        """Every element is less or equal."""
        self.assertTrue(np.all(_array(self._values(a)) <= comparison_target))

    def assertEmpty(self, container, msg=None):
        """Nothing is in it."""
        self.assertEqual(len(container), 0, msg)

    def assertLen(self, container, expected_len, msg=None):
        """So many are in it."""
        self.assertEqual(len(container), expected_len, msg)

    def assertStartsWith(self, actual, expected_start, msg=None):
        """Text starts with text."""
        self.assertTrue(actual.startswith(expected_start), msg or "%r does not start with %r" % (actual, expected_start))

    @contextlib.contextmanager
    def assertRaisesWithPredicateMatch(self, exception_type, expected_err_re_or_predicate):
        """The block raises `exception_type` with a message that matches the expression (or predicate)."""
        try:
            yield
        except exception_type as e:
            if callable(expected_err_re_or_predicate):
                ok = expected_err_re_or_predicate(e)
            else:
                text = getattr(e, "message", None) or str(e)
                ok = re.search(expected_err_re_or_predicate, text) is not None
            if not ok:
                raise AssertionError("Exception of type %s: %s does not match %r"
                                     % (type(e).__name__, e, expected_err_re_or_predicate)) from e
            return
        raise AssertionError("%s not raised" % getattr(exception_type, "__name__", exception_type))

    def assertRaisesOpError(self, expected_err_re_or_predicate):
        """The block raises an sl.errors.OpError with such a message."""
        return self.assertRaisesWithPredicateMatch(sl.errors.OpError, expected_err_re_or_predicate)

    def assertProtoEquals(self, expected_message_maybe_ascii, message, msg=None):
        """Two messages, of which the first may be in text form, are equal."""
        expected = expected_message_maybe_ascii
        if isinstance(expected, str):
            from google.protobuf import text_format
            expected = text_format.Parse(expected, type(message)())
        self.assertEqual(str(expected), str(message), msg)


def _array(a):
    return a if isinstance(a, np.ndarray) else np.array(a)


def _ragged(a, b):
    """Whether one of two lists is no array: it holds dicts, or arrays of different shapes."""
    for x in (a, b):
        try:
            if np.array(x).dtype == object:
                return True
        except ValueError:
            return True
    return False


# Numeric gradients.
def compute_gradient(x, x_shape, y, y_shape, x_init_value=None, delta=1e-3, init_targets=None,
                     extra_feed_dict=None):
    """(symbolic, numeric) Jacobian of y with respect to x, each [elements of x, elements of y]; for lists, a list."""
    sess = sl.get_default_session()
    if sess is None:
        raise ValueError("compute_gradient needs a default session: call it in `with session:`")
    several = isinstance(x, (list, tuple))
    xs, shapes = (list(x), list(x_shape)) if several else ([x], [x_shape])
    starts = list(x_init_value) if several and x_init_value is not None else [x_init_value] * len(xs)
    grad_ys = sl.placeholder_with_default(sl.ones_like(y), y.get_shape())
    grads = sl.gradients(y, xs, grad_ys=grad_ys)
    if init_targets is not None:
        for target in init_targets if isinstance(init_targets, (list, tuple)) else [init_targets]:
            getattr(target, "initializer", target).run()
    points = [_start(t, s, v) for t, s, v in zip(xs, shapes, starts)]
    feeds = dict(extra_feed_dict or {})
    feeds.update(zip(xs, points))
    results = [(_symbolic(sess, t, p, y, y_shape, g, grad_ys, feeds), _numeric(sess, t, p, y, y_shape, delta, feeds))
               for t, p, g in zip(xs, points, grads)]
    return results if several else results[0]


def _start(x, shape, value):
    dtype = x.dtype.base_dtype.as_numpy_dtype
    if value is None:
        value = np.random.random_sample(shape)
    return np.array(value, dtype=dtype).reshape(shape)


def _symbolic(sess, x, point, y, y_shape, grad, grad_ys, feeds):
    size = int(np.prod(y_shape, dtype=int))
    jacobian = np.zeros((point.size, size), point.dtype)
    if grad is None:
        return jacobian
    dy = np.zeros(y_shape, y.dtype.base_dtype.as_numpy_dtype)
    for column in range(size):
        dy.flat[column] = 1
        value = sess.run(grad, {**feeds, grad_ys: dy})
        dy.flat[column] = 0
        if hasattr(value, "indices"):
            rows = jacobian[:, column].reshape(point.shape)
            np.add.at(rows, value.indices, value.values)
            jacobian[:, column] = rows.ravel()
        else:
            jacobian[:, column] = np.ravel(value)
    return jacobian


def _numeric(sess, x, point, y, y_shape, delta, feeds):
    size = int(np.prod(y_shape, dtype=int))
    jacobian = np.zeros((point.size, size), point.dtype)
    for row in range(point.size):
        moved = [point.copy(), point.copy()]
        moved[0].flat[row] += delta
        moved[1].flat[row] -= delta
        plus, minus = (sess.run(y, {**feeds, x: m}) for m in moved)
        jacobian[row] = np.ravel((np.asarray(plus, np.float64) - np.asarray(minus, np.float64)) / (2 * delta))
    return jacobian


def compute_gradient_error(x, x_shape, y, y_shape, x_init_value=None, delta=1e-3, init_targets=None,
                           extra_feed_dict=None):
    """The largest difference between the symbolic and the numeric Jacobian."""
    pairs = compute_gradient(x, x_shape, y, y_shape, x_init_value, delta, init_targets, extra_feed_dict)
    error = 0.0
    for symbolic, numeric in pairs if isinstance(pairs, list) else [pairs]:
        if symbolic.size:
            error = max(error, float(np.max(np.abs(symbolic - numeric))))
    return error
