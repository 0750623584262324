"""Hostile nodes: random types, shapes, values and attributes for every op must end in a result or an error, never in a crash.

Every op of the registry is tried `ROUNDS` times with a fixed seed. A crash ends the whole pytest process, so the rounds run in
child processes, a group of ops each, and a child that dies names the op it was at.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

import sluice as sl

ROUNDS = int(os.environ.get("SLUICE_FUZZ_ROUNDS", "60"))
GROUPS = 8
# Ops that are about the outside world, tried by tests of their own.
OUTSIDE = {"WriteFile", "ReadFile", "SaveV2", "Save", "MergeV2Checkpoints", "RestoreV2", "Restore", "RestoreSlice", "MatchingFiles",
           "PrintV2", "Print", "PyFunc", "PyFuncStateless", "EagerPyFunc", "PartitionedCall", "StatefulPartitionedCall", "If",
           "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"}

TYPES = [sl.float32, sl.float64, sl.int32, sl.int64, sl.bool, sl.string, sl.complex64, sl.float16, sl.bfloat16, sl.uint8, sl.int8]
SHAPES = [(), (0,), (1,), (2,), (3,), (2, 3), (0, 3), (1, 1, 1, 1), (2, 4, 4, 3), (3, 2, 2, 1), (2, 2, 2), (5, 1)]
INTS = [0, 1, -1, 2, 3, 7, -7, 2**31 - 1, -2**31, 100]


def _value(rng, dtype, shape):
    if dtype == sl.string:
        pool = np.array([b"", b"a", b"1", b"x" * 100, b"\xff\x00", b"-1 -"], dtype=object)
        return pool[rng.integers(0, len(pool), shape)]
    if dtype == sl.bool:
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.is_integer:
        with np.errstate(all="ignore"):
            return np.array(rng.choice(INTS, shape)).astype(dtype.as_numpy_dtype)
    values = rng.choice([0.0, 1.0, -1.0, 0.5, 1e30, np.nan, np.inf, -3.0], shape)
    if dtype.is_complex:
        return np.asarray(values + 1j * values).astype(dtype.as_numpy_dtype)
    return np.asarray(values).astype(np.float32)


def _tensor(rng, dtype):
    shape = SHAPES[rng.integers(0, len(SHAPES))]
    value = _value(rng, dtype, shape)
    if dtype == sl.bfloat16:
        return sl.cast(sl.constant(value), sl.bfloat16)
    if rng.integers(0, 2):
        return sl.constant(value, dtype)
    # Hides value and shape from shape inference.
    return sl.placeholder_with_default(sl.constant(value, dtype), None)


def _attr(rng, attr):
    kind = attr.type
    if kind.startswith("list("):
        inner = type(attr)()
        inner.CopyFrom(attr)
        inner.type = kind[5:-1]
        inner.ClearField("default_value")
        return [_attr(rng, inner) for _ in range(rng.choice([0, 1, 2, 4, 5]))]
    if kind == "int":
        return int(rng.choice(INTS))
    if kind == "float":
        return float(rng.choice([0.0, 1.0, -1.0, np.nan, 1e30]))
    if kind == "bool":
        return bool(rng.integers(0, 2))
    if kind == "string":
        allowed = [s.decode() for s in attr.allowed_values.list.s]
        return str(rng.choice(allowed + ["SAME", "VALID", "NHWC", "NCHW", "", "bogus"]))
    if kind == "type":
        return TYPES[rng.integers(0, len(TYPES))]
    if kind == "shape":
        return [None, [], [2], [None, 3], [-1], [2**40, 2**40]][rng.integers(0, 6)]
    if kind == "tensor":
        return np.float32([1, 2])
    return None


def _one(rng, op_def):
    """Builds and runs one random node of the op."""
    with sl.Graph().as_default() as graph, sl.Session() as session:
        types = {a.name: TYPES[rng.integers(0, len(TYPES))] for a in op_def.attr if a.type == "type"}
        for a in op_def.attr:
            allowed = list(a.allowed_values.list.type)
            if a.type == "type" and allowed and rng.integers(0, 4):
                types[a.name] = sl.as_dtype(int(rng.choice(allowed)))
        counts = {a.name: int(rng.choice([1, 2, 3])) for a in op_def.attr if a.type == "int"}
        inputs = []
        for arg in op_def.input_arg:
            if arg.type:
                dtypes = [sl.as_dtype(arg.type)]
            elif arg.type_attr:
                dtypes = [types[arg.type_attr]]
            else:
                dtypes = [TYPES[rng.integers(0, len(TYPES))] for _ in range(rng.integers(0, 4))]
            if arg.number_attr:
                dtypes = dtypes * counts[arg.number_attr]
            if arg.is_ref or any(d == sl.resource for d in dtypes):
                base = dtypes[0] if dtypes[0] != sl.resource else sl.float32
                if base in (sl.string, sl.bfloat16):
                    base = sl.float32
                v = sl.Variable(sl.constant(_value(rng, base, SHAPES[rng.integers(1, len(SHAPES))]), base),
                                use_resource=not arg.is_ref, validate_shape=True)
                session.run(v.initializer)
                inputs.append(v._ref() if arg.is_ref else v.handle)
                continue
            tensors = [_tensor(rng, d) for d in dtypes]
            inputs.extend(tensors)
        attrs = {}
        inferred = {n for arg in op_def.input_arg for n in (arg.type_attr, arg.number_attr, arg.type_list_attr) if n}
        for a in op_def.attr:
            if a.name not in inferred and (not a.HasField("default_value") or rng.integers(0, 2)):
                value = types.get(a.name) if a.type == "type" else _attr(rng, a)
                if value is not None:
                    attrs[a.name] = value
        op = graph.create_op(op_def.name, inputs, attrs=attrs)
        fetch = [o for o in op.outputs if o.dtype.base_dtype not in (sl.resource, sl.variant, sl.bfloat16) and not o.dtype._is_ref_dtype]
        session.run(fetch or op, options=sl.RunOptions(timeout_in_ms=20000))


def _op_defs():
    """Every op of the registry, as OpDef messages."""
    from sluice.native import _sluice
    from sluice.protos import op_def_pb2
    ops = op_def_pb2.OpList()
    ops.ParseFromString(_sluice.op_list())
    return sorted(ops.op, key=lambda o: o.name)


def _child(group):
    tried = failed = 0
    for i, op_def in enumerate(_op_defs()):
        if i % GROUPS != group or op_def.name.startswith("_") or op_def.name in OUTSIDE:
            continue
        for r in range(ROUNDS):
            print(op_def.name, r, flush=True)
            tried += 1
            try:
                _one(np.random.default_rng([i, r]), op_def)
            except (sl.errors.OpError, ValueError, TypeError):
                failed += 1
    print("DONE", tried, failed, flush=True)


@pytest.mark.parametrize("size", [2**33, 2**40])
def test_a_count_of_elements_never_wraps_into_a_small_one(size):
    # Without its axis of size 0 the tensor has more elements than an int64 can count; wrapped, they are 4 or none.
    empty = sl.fill(sl.placeholder_with_default(np.array([0, size, size]), [3]), np.float32(1))
    with sl.Session() as session:
        assert session.run(sl.shape(empty, out_type=sl.int64)).tolist() == [0, size, size]
        with pytest.raises(sl.errors.ResourceExhaustedError, match="larger than any memory"):
            session.run(sl.shape(sl.reduce_sum(empty, 0), out_type=sl.int64))


@pytest.mark.parametrize("group", range(GROUPS))
def test_hostile_nodes_end_in_a_result_or_an_error(group):
    # What asks for more memory than this gets RESOURCE_EXHAUSTED, not the machine's last byte.
    environment = dict(os.environ, SLUICE_HOST_MEMORY_LIMIT="3G")
    child = subprocess.run([sys.executable, __file__, str(group)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600,
                           text=True, env=environment)
    lines = child.stdout.strip().splitlines()
    last = lines[-1] if lines else "nothing"
    assert child.returncode == 0 and last.startswith("DONE"), f"died at: {last} (exit {child.returncode})\n{child.stderr[-3000:]}"
    _, tried, failed = last.split()
    assert int(tried) > 0 and int(failed) < int(tried), "not a single node was valid: the fuzzer tries nothing"


if __name__ == "__main__":
    _child(int(sys.argv[1]))
