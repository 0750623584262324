"""Every kernel in every type that it is registered for: rows name the types that matter most, here the others follow.

The first row of an op with values that take a type runs in each type that the op's definition allows and no row of it names.
A type without a kernel is passed over; everything else must agree with the oracle of the row.
"""

import numpy as np
import pytest

import harness
import sluice as sl
from sluice.native import _sluice

# Ops whose row is about one type, so that its oracle says nothing of others.
ONE_TYPE = {"Bitcast": "the shape follows from the type", "Range": "what a fraction is cut to says where the range ends"}
TYPES = harness.REAL + harness.COMPLEX + harness.BOOL


def rows_by_op():
    harness.import_rows()
    return {op: [r for r in rows if r.error is None] for op, rows in harness.ALL_OPS.items()}


def taken_types(op):
    """The types that inputs of the op may have, in the order of its arguments."""
    inputs, _, attrs = _sluice.op_spec(op)
    allowed = {a[0]: set(a[4]) for a in attrs if a[1] in ("type", "list(type)")}
    return [allowed.get(i[2] or i[4]) if i[2] or i[4] else {i[1]} for i in inputs]


def allows(op, row, values, t):
    """Whether all inputs that would take type t may have it."""
    dtype = sl.as_dtype(harness._type_name(t)).as_datatype_enum
    for i, (value, types) in enumerate(zip(values, taken_types(op))):
        flat = value if isinstance(value, list) else [value]
        if i not in row.fixed and any(harness._takes_type(v) for v in flat) and types and dtype not in types:
            return False
    return True


def takes_a_type(row, values):
    return any(harness._takes_type(v) for i, value in enumerate(values) if i not in row.fixed for v in (value if isinstance(value, list) else [value]))


def has_kernel(row, values, t):
    """False when the node cannot run in this type at all."""
    typed = [harness._typed(v, t, i in row.fixed)[0] for i, v in enumerate(values)]
    with sl.Graph().as_default(), sl.Session() as session:
        feeds, _, result = harness._build(row, typed, t, row.attrs[0], static=False)
        try:
            session.run(harness._outputs(result), feeds)
        except (sl.errors.NotFoundError, sl.errors.InvalidArgumentError) as e:
            if "no kernel" in str(e):
                return False
            raise
    return True


ROWS = {}
for _op, _rows in rows_by_op().items():
    for _row in _rows:
        for _values in _row.inputs:
            if _op not in ONE_TYPE and takes_a_type(_row, _values):
                ROWS.setdefault(_op, (_row, _values))


@pytest.mark.parametrize("op", sorted(ROWS))
def test_types_that_no_row_names(op):
    row, values = ROWS[op]
    named = {harness._type_name(t) for r in harness.ALL_OPS[op] if r.error is None for t in r.types}
    for t in TYPES:
        if harness._type_name(t) not in named and allows(op, row, values, t) and has_kernel(row, values, t):
            harness.check(row, t, values, row.attrs[0])


def test_a_wrong_kernel_is_found():
    def wrong(x):
        return x + 1

    row = harness.Row("Neg", wrong, [(np.array([1.0, 2.0]),)], [], [{}], None, None, None, None, (), None)
    with pytest.raises(AssertionError):
        harness.check(row, np.int16, row.inputs[0], {})
