"""Checks ops against oracles: one row says what an op should compute, the harness derives the tests.

    op_case("Softplus", oracle=lambda x: np.logaddexp(x, 0), x=[-1e3, -1, 0, 1, 1e3])
    op_case("AddV2", oracle=np.add, shapes=BROADCAST_PAIRS, types=REAL + COMPLEX)
    op_case("Sum", oracle=lambda x, axes, keep_dims: np.sum(x, tuple(axes), keepdims=keep_dims),
            inputs=[(rand(2, 3), np.int32([0]))], attrs=[dict(keep_dims=True)])

For every row, element type, input set and attribute set there is a test that

* feeds the inputs through placeholders without static shapes (so that nothing is folded) and compares the result with the
  oracle, within a tolerance that follows from the type;
* builds the op on constants, and compares static shapes and the (possibly folded) value with the result;
* for differentiable ops compares the gradient with central finite differences in float64.

A row with `error` wants an error whose message holds that text instead, when the graph is built or when it runs.

An op that a row cannot state (it has no outputs, or a state) has a test function, which says so with `proves`:

    @proves("WriteFile", "ReadFile")
    def test_a_file_is_read_as_it_was_written(tmp_path): ...
"""

import functools
import importlib
import inspect
import itertools
import pathlib
import zlib

import numpy as np
import pytest

import sluice as sl

F32, F64, F16 = np.float32, np.float64, np.float16
BF16 = "bfloat16"  # NumPy has no such type: values travel as float32 and are rounded by Cast
FLOATS = [F32, F64, F16, BF16]
INTS = [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64]
SIGNED = [np.int8, np.int16, np.int32, np.int64]
COMPLEX = [np.complex64, np.complex128]
REAL = FLOATS + INTS
BOOL = [np.bool_]

# Pairs of shapes that broadcast in every manner, with empty ones.
BROADCAST_PAIRS = [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), ()), ((), (4,)), ((2, 1), (1, 3)), ((4, 1, 3), (2, 1)),
                   ((0,), (1,)), ((2, 0), (1, 1)), ((5, 1, 0, 2), (3, 1, 1)), ((65,), (65,)), ((17, 33), (17, 33)),
                   ((17, 33), (33,)), ((17, 33), (17, 1))]
# Shapes for ops of one tensor.
SHAPES = [((),), ((1,),), ((7,),), ((2, 3),), ((0,),), ((3, 0, 2),), ((129,),), ((4, 5, 6),)]
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-30, -1e30]

_TOLERANCE = {"float64": 1e-12, "float32": 2e-6, "float16": 2e-3, BF16: 1.6e-2, "complex64": 3e-6, "complex128": 1e-12}


class Row:
    """What one op_case call says."""

    def __init__(self, op, oracle, inputs, types, attrs, gradient, rtol, atol, error, fixed, name):
        self.op, self.oracle, self.inputs, self.types, self.attrs = op, oracle, inputs, types, attrs
        self.gradient, self.rtol, self.atol, self.error, self.fixed, self.name = gradient, rtol, atol, error, fixed, name


ROWS = []


def rng(*key):
    """A generator that depends on the key alone, so that a failing case is the same case tomorrow."""
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def rand(*shape, low=-2.0, high=2.0, key=0):
    """Random float64 values; the harness casts them to the type under test."""
    return rng(shape, low, high, key).uniform(low, high, shape)


def randint(*shape, low=0, high=10, key=0, dtype=np.int32):
    """Random integers of a fixed type (indices and sizes, which the type under test does not change)."""
    return rng(shape, low, high, key).integers(low, high, shape).astype(dtype)


def op_case(op, oracle=None, *, x=None, shapes=None, inputs=None, types=(F32, F64), attrs=None, domain=(-2.0, 2.0), gradient=None,
            rtol=None, atol=None, error=None, fixed=(), name=None):
    """Adds a row.

    Args:
      op: the op's name.
      oracle: a function of the NumPy inputs (in float64 or complex128 for inexact types) and the attributes, that returns an
        array or a tuple of arrays (None for an output that is not compared).
      x: the elements of one vector input.
      shapes: tuples with a shape for each input, filled from `domain`.
      inputs: tuples of inputs. Floating (or complex) arrays take the type under test; other arrays, and the positions in
        `fixed`, keep their own. A list is a list input.
      types: NumPy types (or "bfloat16") that the floating inputs take.
      attrs: dictionaries of attributes; one test for each.
      gradient: whether to compare gradients with finite differences; default: when the op has one and inputs are smooth floats.
      rtol, atol: replace the type's tolerance.
      error: a text that the error must hold; then there is no oracle.
    """
    sets = list(inputs or [])
    if x is not None:
        sets.append((np.asarray(x, dtype=np.float64 if not np.iscomplexobj(x) else np.complex128),))
    for i, group in enumerate(shapes or []):
        sets.append(tuple(rand(*s, low=domain[0], high=domain[1], key=(op, i, j)) for j, s in enumerate(group)))
    ROWS.append(Row(op, oracle, sets, list(types), list(attrs or [{}]), gradient, rtol, atol, error, tuple(fixed), name))


def _type_name(t):
    return t if isinstance(t, str) else np.dtype(t).name


def _sl_type(t):
    return sl.as_dtype(_type_name(t))


def _takes_type(array):
    return isinstance(array, np.ndarray) and array.dtype in (np.float64, np.complex128)


def _typed(value, t, fixed):
    """The input in the type under test, and the exact value that it then has."""
    if isinstance(value, list):
        pairs = [_typed(v, t, fixed) for v in value]
        return [p[0] for p in pairs], [p[1] for p in pairs]
    value = np.asarray(value)
    if fixed or not _takes_type(value):
        return value, value
    if t == BF16:
        bits = value.astype(np.float32).view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
        rounded = np.where(np.isnan(value), np.float32(np.nan), rounded).astype(np.float32).reshape(value.shape)
        return rounded, rounded.astype(np.float64)
    if t is np.bool_ or t == np.bool_:
        return value > 0, value > 0
    with np.errstate(all="ignore"):
        dt = np.dtype(t)
        if dt.kind == "u":
            typed = np.abs(value).real.astype(t)
        elif dt.kind in "if":
            typed = value.real.astype(t)
        else:
            imag = np.zeros_like(value.real) if not np.iscomplexobj(value) else value.imag
            typed = (value.real + 1j * (imag if np.iscomplexobj(value) else np.roll(value.real, 1))).astype(t)
    wide = {"f": np.float64, "c": np.complex128}.get(np.dtype(t).kind)
    return typed, typed.astype(wide) if wide else typed


def _flatten(args):
    for a in args:
        if isinstance(a, list):
            yield from a
        else:
            yield a


def _feed_tensor(array, t, feeds, static):
    """A tensor that holds `array`: a constant, or a placeholder with a feed."""
    array = np.asarray(array)
    bf16 = t == BF16 and array.dtype == np.float32
    if static:
        out = sl.constant(array)
    else:
        out = sl.placeholder(array.dtype if array.dtype.kind not in "OSU" else sl.string)
        feeds[out] = array
    return sl.cast(out, sl.bfloat16) if bf16 else out


def _build(row, typed, t, attrs, static):
    feeds = {}
    tensors = []
    for i, value in enumerate(typed):
        kind = None if i in row.fixed else t
        if isinstance(value, list):
            tensors.append([_feed_tensor(v, kind, feeds, static) for v in value])
        else:
            tensors.append(_feed_tensor(value, kind, feeds, static))
    result = getattr(sl.raw_ops, row.op)(*tensors, **attrs)
    return feeds, tensors, result


def _outputs(result):
    if isinstance(result, sl.Tensor):
        return [result]
    flat = []
    for r in result:
        flat.extend(_outputs(r))
    return flat


def _as_numpy(tensor):
    return sl.cast(tensor, sl.float32) if tensor.dtype.base_dtype == sl.bfloat16 else tensor


def _wanted(row, exact, attrs):
    with np.errstate(all="ignore"):
        wanted = row.oracle(*exact, **attrs)
    return list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]


def _compare(row, t, got, wanted, what):
    assert len(got) == len(wanted), f"{what}: {len(got)} outputs, wanted {len(wanted)}"
    for i, (g, w) in enumerate(zip(got, wanted)):
        if w is None:
            continue
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape, f"{what}: output {i} has shape {g.shape}, wanted {w.shape}"
        if g.dtype.kind in "fc":
            tolerance = _TOLERANCE.get(BF16 if t == BF16 else g.dtype.name, 1e-6)
            rtol = row.rtol if row.rtol is not None and _TOLERANCE.get(_type_name(t), 0) < 1e-4 else max(tolerance, row.rtol or 0)
            atol = row.atol if row.atol is not None else tolerance
            with np.errstate(all="ignore"):
                if t == BF16:
                    w = w.astype(np.float32)
                w = w.astype(g.dtype)
            np.testing.assert_allclose(g, w, rtol=rtol, atol=atol, equal_nan=True, err_msg=f"{what}: output {i}")
        elif g.dtype.kind in "OSU":
            assert [_bytes(v) for v in g.reshape(-1)] == [_bytes(v) for v in w.reshape(-1)], what
        else:
            np.testing.assert_array_equal(g, w, err_msg=f"{what}: output {i}")


def _bytes(v):
    return v if isinstance(v, bytes) else str(v).encode()


def check(row, t, values, attrs):
    """Runs one case of a row."""
    pairs = [_typed(v, t, i in row.fixed) for i, v in enumerate(values)]
    typed, exact = [p[0] for p in pairs], [p[1] for p in pairs]
    if row.error is not None:
        _check_error(row, typed, t, attrs)
        return
    wanted = _wanted(row, exact, attrs)
    what = f"{row.op} {_type_name(t)} {attrs or ''}"
    with sl.Graph().as_default(), sl.Session() as session:
        feeds, _, result = _build(row, typed, t, attrs, static=False)
        dynamic = _outputs(result)
        got = session.run([_as_numpy(o) for o in dynamic], feeds)
        _compare(row, t, got, wanted, what)
        for o, g in zip(dynamic, got):
            assert o.shape.is_compatible_with(np.shape(g)), f"{what}: inferred {o.shape}, found {np.shape(g)}"
    with sl.Graph().as_default(), sl.Session() as session:
        _, _, result = _build(row, typed, t, attrs, static=True)
        static = _outputs(result)
        folded = session.run([_as_numpy(o) for o in static])
        for o, f, g in zip(static, folded, got):
            assert o.shape.is_compatible_with(np.shape(f)), f"{what}: inferred {o.shape}, found {np.shape(f)}"
            # Constants may be folded, planned or vectorised differently, yet the result is the same.
            np.testing.assert_array_equal(f, g, err_msg=f"{what}: with static shapes")
    if t == F64 and _wants_gradient(row, typed):
        check_gradient(row, typed, attrs)


def _check_error(row, typed, t, attrs):
    with sl.Graph().as_default(), sl.Session() as session:
        for static in (True, False):
            with pytest.raises((sl.errors.OpError, ValueError, TypeError)) as caught:
                feeds, _, result = _build(row, typed, t, attrs, static)
                session.run(_outputs(result) if not isinstance(result, sl.Operation) else result, feeds)
            assert row.error in str(caught.value), f"{row.op}: wanted '{row.error}' in: {caught.value}"
        # The session stays usable.
        assert session.run(sl.constant(1) + 1) == 2


def _wants_gradient(row, typed):
    if row.gradient is not None:
        return row.gradient
    flat = [v for v in _flatten(typed) if v.dtype == np.float64]
    if not flat or any(v.size == 0 or v.size > 40 or not np.all(np.isfinite(v)) for v in flat):
        return False
    return True


def check_gradient(row, typed, attrs, step=1e-5, rtol=2e-5, atol=2e-6):
    """Compares the gradient of a weighted sum of all floating outputs with central differences."""
    with sl.Graph().as_default(), sl.Session() as session:
        feeds, tensors, result = _build(row, typed, F64, attrs, static=False)
        outs = [o for o in _outputs(result) if o.dtype.base_dtype == sl.float64]
        if not outs:
            return
        shapes = [v.shape for v in session.run(outs, feeds)]
        weights = [rng("weights", i, s).uniform(0.5, 1.5, s) for i, s in enumerate(shapes)]
        loss = sl.add_n([sl.reduce_sum(o * w) for o, w in zip(outs, weights)])
        xs = [x for x in _flatten(tensors) if x.dtype == sl.float64]
        try:
            grads = sl.gradients(loss, xs)
        except (LookupError, sl.errors.NotFoundError) as e:
            if row.gradient is None and "has no gradient" in str(e):
                return  # the op says so
            raise
        for x, g in zip(xs, grads):
            if g is None:
                continue
            analytic = session.run(sl.convert_to_tensor(g), feeds)
            numeric = np.zeros(feeds[x].shape)
            for at in itertools.product(*[range(n) for n in feeds[x].shape]):
                moved = []
                for sign in (1, -1):
                    fed = dict(feeds)
                    fed[x] = feeds[x].copy()
                    fed[x][at] += sign * step
                    moved.append(session.run(loss, fed))
                numeric[at] = (moved[0] - moved[1]) / (2 * step)
            assert analytic.shape == numeric.shape, f"{row.op}: gradient of {x.name} has shape {analytic.shape}"
            np.testing.assert_allclose(analytic, numeric, rtol=rtol, atol=atol, err_msg=f"{row.op}: gradient of {x.name} {attrs}")


def cases(rows):
    """Every case of the rows, as pytest parameters."""
    params = []
    for row in rows:
        for (i, values), (j, attrs), t in itertools.product(enumerate(row.inputs), enumerate(row.attrs), row.types):
            label = f"{row.name or row.op}-{_type_name(t)}-{i}" + (f"-{j}" if len(row.attrs) > 1 else "")
            params.append(pytest.param(row, t, values, attrs, id=label))
    return params


def take_rows():
    """The rows added since the last call: each module of rows takes its own."""
    taken = list(ROWS)
    ROWS.clear()
    for row in taken:
        ALL_OPS.setdefault(row.op, []).append(row)
    return taken


def proves(*ops):
    """Says that a test is the test of these ops; it fails when it makes no node of one of them.

    A test with a parameter `op` proves that op in each of its cases; `ops` are then all of them.
    """

    def decorate(test):
        by_case = "op" in inspect.signature(test).parameters

        @functools.wraps(test)
        def checked(*args, **kwargs):
            graphs = []
            make = sl.Graph.__init__

            def noted(graph, *a, **k):
                make(graph, *a, **k)
                graphs.append(graph)

            sl.Graph.__init__ = noted
            try:
                test(*args, **kwargs)
            finally:
                sl.Graph.__init__ = make
            made = {op.type for g in graphs for op in g.get_operations()}
            missing = ({kwargs["op"]} if by_case else set(ops)) - made
            assert not missing, f"the test says that it proves {sorted(missing)}, and made no such node"

        return checked

    PROVED_OPS.update(ops)
    return decorate


def import_rows():
    """Imports every module of rows, after which ALL_OPS and PROVED_OPS are complete."""
    here = pathlib.Path(__file__).parent
    return [importlib.import_module(p.stem) for p in sorted(here.glob("*_ops_test.py"))]


ALL_OPS = {}  # the rows of each op
PROVED_OPS = set()
