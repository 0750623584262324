"""Ops that pass values on, choose, repeat, call, check and print."""

import time

import numpy as np
import pytest

import sluice as sl
from harness import BOOL, COMPLEX, F32, F64, FLOATS, REAL, cases, check, op_case, proves, rand, take_rows
from sluice.protos import graph_pb2

ANY = REAL + COMPLEX + BOOL
ops = sl.raw_ops

# ---- values that pass

PASSED = [((2, 3),), ((),), ((0, 4),)]
TEXT = np.array([b"a", b"\0\xff"], object)
for op in ("Identity", "Snapshot", "StopGradient", "GuaranteeConst", "PreventGradient"):
    op_case(op, lambda x: x, shapes=PASSED, types=ANY, gradient=op in ("Identity", "Snapshot"))
    op_case(op, lambda x: x, inputs=[(TEXT,)], types=[F32], name=f"{op}-strings")
op_case("IdentityN", lambda xs: list(xs), inputs=[([rand(2, 3), np.int32([1, 2]), TEXT],), ([rand()],)])
op_case("PlaceholderWithDefault", lambda x, shape: x, shapes=[((2, 3),)], types=ANY, attrs=[dict(shape=None), dict(shape=[None, 3]), dict(shape=[2, 3])])
op_case("CheckNumerics", lambda x, message: x, shapes=PASSED, types=FLOATS, attrs=[dict(message="m")])
for bad, word in ((np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")):
    op_case("CheckNumerics", inputs=[(np.array([1.0, bad]),)], types=FLOATS, attrs=[dict(message="the loss")], error=f"the loss : tensor had {word}")
op_case("CheckNumerics", inputs=[(np.array([np.inf, np.nan]),)], attrs=[dict(message="m")], error="Inf and NaN")
op_case("Assert", inputs=[(np.bool_(False), [np.int32([1, 2, 3, 4]), np.array(b"text", object)])], attrs=[dict(summarize=2)], error="assertion failed: [1 2")
op_case("Assert", inputs=[(np.bool_([True]), [rand()])], error="scalar")
op_case("Abort", inputs=[()], attrs=[dict(error_msg="enough")], error="enough")


@proves("StopGradient", "PreventGradient", "GuaranteeConst")
def test_what_lets_no_gradient_through():
    with sl.Graph().as_default():
        x = sl.constant([1.0, 2.0])
        assert sl.gradients(ops.StopGradient(x) * 2.0, x) == [None]
        assert sl.gradients(ops.GuaranteeConst(x) * 2.0, x) == [None]
        with pytest.raises((LookupError, sl.errors.OpError, ValueError), match="stays here"):
            sl.gradients(ops.PreventGradient(x, message="stays here") * 2.0, x)


@proves("RefIdentity")
def test_a_reference_stays_a_reference():
    with sl.Graph().as_default(), sl.Session() as session:
        v = sl.Variable([1.0, 2.0], use_resource=False)
        same = ops.RefIdentity(v._ref())
        session.run(v.initializer)
        session.run(ops.AssignAdd(same, [10.0, 10.0]))
        assert session.run(v).tolist() == [11, 12] == session.run(same).tolist()


@proves("Const")
@pytest.mark.parametrize("dtype", [t for t in ANY if t != "bfloat16"], ids=lambda t: np.dtype(t).name)
def test_a_constant_is_its_value(dtype):
    for shape in ((2, 3), (), (0, 2)):
        value = rand(*shape, low=0, high=9).astype(dtype)
        with sl.Graph().as_default(), sl.Session() as session:
            found = session.run(ops.Const(value, sl.as_dtype(dtype)))
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype


@proves("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
def test_a_placeholder_is_what_is_fed():
    with sl.Graph().as_default(), sl.Session() as session:
        for p in (ops.Placeholder(sl.float32, shape=[None, 2]), ops.PlaceholderV2(sl.float32, [None, 2])):
            np.testing.assert_array_equal(session.run(p, {p: [[1, 2]]}), [[1, 2]])
            assert p.shape.as_list() == [None, 2]
            with pytest.raises(sl.errors.InvalidArgumentError, match="You must feed a value for placeholder tensor 'Placeholder"):
                session.run(p)
            with pytest.raises(ValueError, match="shape"):
                session.run(p, {p: [1, 2, 3]})
        with pytest.raises(ValueError, match=r"\[2,3\]"):
            ops.PlaceholderWithDefault(np.zeros((2, 3)), [None, 4])
        d = ops.PlaceholderWithDefault([1.0], [None])
        assert session.run([d, d * 2.0], {d: [5, 6]})[1].tolist() == [10, 12] and session.run(d) == [1]


@proves("NoOp", "ControlTrigger")
def test_nothing_is_done_in_order():
    calls = []
    with sl.Graph().as_default(), sl.Session() as session:
        first = sl.py_func(lambda: calls.append(1) or np.float32(0), [], sl.float32)
        with sl.control_dependencies([first]):
            gates = [ops.NoOp(), ops.ControlTrigger()]
        with sl.control_dependencies(gates):
            last = sl.py_func(lambda: calls.append(2) or np.float32(0), [], sl.float32)
        session.run(last)
    assert calls == [1, 2]


@proves("Timestamp")
def test_a_timestamp_is_the_time_of_its_step():
    with sl.Graph().as_default(), sl.Session() as session:
        now = ops.Timestamp()
        before, stamps, after = time.time(), [session.run(now) for _ in range(2)], time.time()
    assert before - 1 <= stamps[0] <= stamps[1] <= after + 1


# ---- checks and prints


@proves("Assert")
def test_an_assertion_that_holds_does_nothing():
    with sl.Graph().as_default(), sl.Session() as session:
        assert session.run(ops.Assert(True, [sl.constant(1)])) is None


@proves("Abort")
def test_an_abort_ends_the_step_and_not_the_process():
    with sl.Graph().as_default(), sl.Session() as session:
        with pytest.raises(sl.errors.AbortedError, match="enough"):
            session.run(ops.Abort(error_msg="enough"))
        assert session.run(sl.constant(1)) == 1


@proves("Print")
def test_print_shows_values_and_passes_its_input(capfd):
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.constant([1.5, 2.0, 3.0, 4.0])
        shown = ops.Print(x, [x, sl.constant(b"s")], message="x: ", first_n=2, summarize=2)
        assert sl.gradients(shown, x)[0] is not None
        for _ in range(3):
            np.testing.assert_array_equal(session.run(shown), [1.5, 2, 3, 4])
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1] and lines[0].startswith("x: [1.5 2") and "4" not in lines[0]


@proves("PrintV2")
def test_printv2_writes_to_a_stream_or_file(capfd, tmp_path):
    with sl.Graph().as_default(), sl.Session() as session:
        session.run([ops.PrintV2("to out", output_stream="stdout"), ops.PrintV2("to err", end="!")])
        for text in ("one", "two"):
            session.run(ops.PrintV2(text, output_stream=f"file://{tmp_path}/log"))
        for bad in ("nowhere", "file:///nowhere/at/all"):
            with pytest.raises(sl.errors.OpError, match="nowhere"):
                session.run(ops.PrintV2("x", output_stream=bad))
    found = capfd.readouterr()
    assert (found.out, found.err) == ("to out\n", "to err!")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@proves("PyFunc", "PyFuncStateless")
@pytest.mark.parametrize("stateful", [True, False])
def test_python_functions_get_and_give_arrays(stateful):
    def call(f, inputs, types):
        return sl.py_func(f, inputs, types, stateful=stateful)

    with sl.Graph().as_default(), sl.Session() as session:
        both = [sl.py_func(lambda x: x, [1.0], sl.float32, stateful=s) for s in (True, False)]
        assert session.run(both) == [1, 1]
        x = sl.constant([[1.0, 2.0]])
        total, text, none = call(lambda a, s: (a.sum(), s + b"!", np.zeros((0, 2), np.int32)), [x, b"hi"], [sl.float32, sl.string, sl.int32])
        found = session.run([total, text, none])
        assert found[0] == 3 and found[1] == b"hi!" and found[2].shape == (0, 2)
        with pytest.raises(sl.errors.OpError, match="ZeroDivisionError|division by zero"):
            session.run(call(lambda: np.float32(1 // 0), [], sl.float32))
        with pytest.raises(sl.errors.OpError, match="float|int"):
            session.run(call(lambda: np.int32(1), [], sl.float32))


# ---- ops that the runtime makes


@proves("_ReadRef")
def test_a_reference_is_read_when_its_turn_comes():
    with sl.Graph().as_default() as graph, sl.Session() as session:
        v = sl.Variable([1.0, 2.0], use_resource=False)
        session.run(v.initializer)
        change = ops.AssignAdd(v._ref(), [10.0, 10.0])
        with sl.control_dependencies([change]):
            after = graph.create_op("_ReadRef", [v._ref()], name="after").outputs[0]
        assert session.run(after).tolist() == [11, 12]
        np.testing.assert_array_equal(session.run(sl.gradients(after * [2.0, 3.0], v)[0]), [2, 3])


@proves("_Send", "_Recv", "_HostSend", "_HostRecv")
@pytest.mark.parametrize("op", ["_Send", "_HostSend", "_Recv", "_HostRecv"])
def test_a_tensor_goes_from_device_to_device(op):
    kind = op[:-4]
    one, two = ["/job:localhost/replica:0/task:0/device:CPU:%d" % i for i in range(2)]
    edge = dict(tensor_name="edge", send_device=one, send_device_incarnation=7, recv_device=two)
    with sl.Graph().as_default() as graph, sl.Session(config=sl.ConfigProto(device_count={"CPU": 2})) as session:
        x = sl.placeholder(sl.float32)
        with sl.device(one):
            y = x + 1.0
            send = graph.create_op(kind + "Send", [y * 2.0], attrs=edge, name="send")
        with sl.device(two):
            crossed = y * 10.0  # an edge that the partitioner cuts
            received = graph.create_op(kind + "Recv", [], attrs=dict(edge, tensor_type=sl.float32), name="receive").outputs[0]
            total = received + 1.0
        for value in (1.0, 4.0):
            found = session.run([total, crossed, send], {x: value})
            assert found[:2] == [(value + 1) * 2 + 1, (value + 1) * 10]
        with pytest.raises(sl.errors.DeadlineExceededError):
            session.run([total, crossed], {x: 1.0}, options=sl.RunOptions(timeout_in_ms=200))
        assert session.run(crossed, {x: 1.0}) == 20


# ---- functions


def define(name, args, results, nodes):
    """Adds a function to the default graph: arguments and results by name and type, nodes as (name, op, inputs, attributes)."""
    graph = graph_pb2.GraphDef()
    graph.versions.producer = 134
    f = graph.library.function.add()
    f.signature.name = name
    for arg, dtype in args:
        f.signature.input_arg.add(name=arg, type=dtype.as_datatype_enum)
    for out, dtype, source in results:
        f.signature.output_arg.add(name=out, type=dtype.as_datatype_enum)
        f.ret[out] = source
    for node, op, inputs, attrs in nodes:
        n = f.node_def.add(name=node, op=op, input=inputs)
        for key, value in attrs.items():
            if isinstance(value, sl.DType):
                n.attr[key].type = value.as_datatype_enum
            elif isinstance(value, str):
                n.attr[key].s = value.encode()
            else:
                n.attr[key].tensor.CopyFrom(sl.make_tensor_proto(value))
    sl.import_graph_def(graph, name="")
    return name


T = dict(T=sl.float32)


def binary(name, op):
    return define(name, [("x", sl.float32), ("y", sl.float32)], [("z", sl.float32, "z:z:0")], [("z", op, ["x", "y"], T)])


@proves("PartitionedCall", "StatefulPartitionedCall")
@pytest.mark.parametrize("op", ["PartitionedCall", "StatefulPartitionedCall"])
def test_a_call_gives_the_results_of_its_function(op):
    with sl.Graph().as_default(), sl.Session() as session:
        two = define("two", [("x", sl.float32), ("y", sl.float32)], [("s", sl.float32, "s:z:0"), ("p", sl.float32, "p:z:0"), ("x2", sl.float32, "x")],
                     [("s", "AddV2", ["x", "y"], T), ("p", "Mul", ["s:z:0", "y"], T)])
        x = sl.placeholder(sl.float32)
        found = session.run(getattr(ops, op)([x, 3.0], [sl.float32] * 3, two), {x: [1, 2]})
        assert [f.tolist() for f in found] == [[4, 5], [12, 15], [1, 2]]
        with pytest.raises((sl.errors.OpError, ValueError), match="unknown_function"):
            session.run(getattr(ops, op)([x], [sl.float32], "unknown_function"), {x: 1})
        with pytest.raises((sl.errors.OpError, ValueError), match="two"):
            session.run(getattr(ops, op)([x, x], [sl.float32], two), {x: 1})


@proves("If", "StatelessIf")
@pytest.mark.parametrize("op", ["If", "StatelessIf"])
def test_if_calls_one_branch(op):
    with sl.Graph().as_default(), sl.Session() as session:
        add, sub = binary("add", "AddV2"), binary("sub", "Sub")
        for value, chosen in ((True, 5), (False, 1), (np.int32(0), 1), (np.int64(-2), 5), (np.float32(0), 1), (0.5, 5), (b"", 1), (b"x", 5), (np.zeros(0), 1), (np.zeros(2), 5)):
            result, = getattr(ops, op)(sl.constant(value), [3.0, 2.0], [sl.float32], add, sub)
            assert session.run(result) == chosen, value
        with pytest.raises((sl.errors.OpError, ValueError), match="complex64"):
            session.run(getattr(ops, op)(np.complex64(1), [3.0, 2.0], [sl.float32], add, sub))
        shaped, = getattr(ops, op)(True, [3.0, 2.0], [sl.float32], add, sub, output_shapes=[[]])
        assert shaped.shape == []


@proves("Case", "StatelessCase")
@pytest.mark.parametrize("op", ["Case", "StatelessCase"])
def test_case_calls_the_branch_of_its_index(op):
    with sl.Graph().as_default(), sl.Session() as session:
        branches = [binary("add", "AddV2"), binary("sub", "Sub"), binary("mul", "Mul")]
        at = sl.placeholder(sl.int32)
        result, = getattr(ops, op)(at, [3.0, 2.0], [sl.float32], branches)
        assert [session.run(result, {at: i}) for i in (0, 1, 2, 3, -1)] == [5, 1, 6, 6, 6]  # out of range: the last one
        with pytest.raises(sl.errors.InvalidArgumentError, match="branch_index must be a scalar"):
            session.run(result, {at: [0]})


@proves("While", "StatelessWhile")
@pytest.mark.parametrize("op", ["While", "StatelessWhile"])
def test_while_repeats_until_its_condition_fails(op):
    with sl.Graph().as_default(), sl.Session() as session:
        args = [("x", sl.float32), ("limit", sl.float32)]
        below = define("below", args, [("yes", sl.bool, "yes:z:0")], [("yes", "Less", ["x", "limit"], T)])
        double = define("double", args, [("x2", sl.float32, "d:z:0"), ("same", sl.float32, "limit")], [("d", "AddV2", ["x", "x"], T)])
        x = sl.placeholder(sl.float32)
        last, limit = getattr(ops, op)([x, 100.0], below, double)
        assert [session.run(last, {x: v}) for v in (1, 100, 3, 1e9)] == [128, 100, 192, 1e9] and session.run(limit, {x: 1}) == 100
        forever = getattr(ops, op)([0.0, 100.0], below, double)
        with pytest.raises(sl.errors.DeadlineExceededError):
            session.run(forever, options=sl.RunOptions(timeout_in_ms=200))
        assert session.run(last, {x: 64}) == 128


@pytest.mark.parametrize("row,t,values,attrs", cases(take_rows()))
def test_op(row, t, values, attrs):
    check(row, t, values, attrs)
