"""Every registered op has a row, or a test that proves it, or a reason here why it has neither."""

import pathlib
import re

import pytest

import harness
from sluice.native import _sluice

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]

# For an op that no row here can state: why, and the file whose test runs it.
ELSEWHERE = {
    "_Arg": ("the session makes it of feeds and arguments", "runtime/session/state_test.cc"),
    "_Retval": ("the session makes it of fetches and results", "runtime/session/state_test.cc"),
}


def test_every_op_has_a_row():
    assert len(harness.import_rows()) > 5
    missing = sorted(set(_sluice.op_names()) - set(harness.ALL_OPS) - harness.PROVED_OPS - set(ELSEWHERE))
    assert not missing, f"{len(missing)} ops have no row in {HERE.name}: {', '.join(missing)}"


def test_rows_are_for_ops_that_exist():
    harness.import_rows()
    unknown = sorted((set(harness.ALL_OPS) | harness.PROVED_OPS | set(ELSEWHERE)) - set(_sluice.op_names()))
    assert not unknown, f"no such ops: {', '.join(unknown)}"


def test_an_op_with_a_row_needs_no_reason():
    harness.import_rows()
    both = sorted(set(ELSEWHERE) & (set(harness.ALL_OPS) | harness.PROVED_OPS))
    assert not both, f"take these out of ELSEWHERE: {', '.join(both)}"


@pytest.mark.parametrize("op", sorted(ELSEWHERE))
def test_an_op_tested_elsewhere_is_in_that_file(op):
    reason, path = ELSEWHERE[op]
    assert reason and re.search(r"\b%s\b" % op, (ROOT / path).read_text()), f"{path} does not mention {op}"


def test_a_test_that_makes_no_node_of_its_op_proves_nothing():
    proves = harness.proves
    known = set(harness.PROVED_OPS)
    try:
        with pytest.raises(AssertionError, match="Tanh"):
            proves("Tanh")(lambda: None)()
    finally:
        harness.PROVED_OPS.intersection_update(known)
