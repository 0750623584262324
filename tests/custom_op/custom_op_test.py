"""Libraries of custom ops: built as their authors build them, loaded, used; mistakes are refused and change nothing."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import sluice as sl

EXAMPLE = pathlib.Path(__file__).parents[2] / "python" / "examples" / "custom_op.cc"

# `BODY` is what SluiceRegisterOps does. To compile once, the bodies of all libraries are in each, and the environment
# says which one a library is when it is loaded.
TEMPLATE = r"""
#include <cstdlib>
#include <string>
#include "core/base/status.h"
#include "core/kernel/op_library.h"
#include "kernels/common/element_wise.h"
using namespace sluice;
struct Pass : Kernel {
  absl::Status Run(KernelContext& c) const override { c.SetOutput(0, c.input(0)); return absl::OkStatus(); }
};
struct Fail : Kernel {
  absl::Status Prepare(PrepareContext& p) override {
    ASSIGN_OR_RETURN(name_, p.Attr<std::string>("what"));
    return name_ == "early" ? InvalidArgument("prepared ", name_) : absl::OkStatus();
  }
  absl::Status Run(KernelContext& c) const override { return ResourceExhausted("ran ", name_); }
  std::string name_;
};
[[maybe_unused]] static OpBuilder Define(OpRegistry* ops, const char* name) {
  OpBuilder b = ops->Define(name, "An op of a test.");
  b.Input("x", "T").Output("y", "T").Type("T");
  return b;
}
extern "C" void SluiceRegisterOps(OpRegistry* ops, KernelRegistry* kernels) {
  const std::string which = std::getenv("SLUICE_TEST_OP_LIBRARY");
  BODY
}
"""

GOOD = {
    "good": r"""
  Define(ops, "TestPassHTTPRequest2").Shape(SameAs("x"));
  kernels->Add("TestPassHTTPRequest2", kCpu, KernelDef().Make<Pass>());
  Define(ops, "TestFail").Attr("what: string").Shape(SameAs("x"));
  kernels->Add("TestFail", kCpu, KernelDef().Make<Fail>());
""",
    "later": r'Define(ops, "TestLater").Shape(SameAs("x")); kernels->Add("TestLater", kCpu, KernelDef().Make<Pass>());',
    "folder": r'Define(ops, "TestInFolder").Shape(SameAs("x")); kernels->Add("TestInFolder", kCpu, KernelDef().Make<Pass>());',
    "relu": r'kernels->Add("Relu", kCpu, KernelDef().Types("T", {DType::kFloat}).Priority(1).Make<Pass>());',
}
# A body, and the error that it ends in.
BAD = {
    "there": (r'Define(ops, "TestOrphan").Shape(SameAs("x")); Define(ops, "Relu").Shape(SameAs("x"));', "op Relu is already defined"),
    "twice": (r'Define(ops, "TestOrphan").Shape(SameAs("x")); Define(ops, "TestOrphan").Shape(SameAs("x"));', "op TestOrphan is defined twice"),
    "shapeless": (r'Define(ops, "TestOrphan");', "TestOrphan: a shape rule is missing"),
    "typeless": (r'ops->Define("TestOrphan", "").Input("x", "Unknown").Shape(NoOutputs());', "argument 'x' names no type and no attribute: Unknown"),
    "kernels": (r'kernels->Add("Relu", kCpu, KernelDef().Make<Pass>());', "two kernels of Relu on CPU with priority 0"),
    "empty_kernel": (r'Define(ops, "TestOrphan").Shape(SameAs("x")); kernels->Add("TestOrphan", kCpu, KernelDef());', "the kernel of TestOrphan on CPU has no factory"),
}
BODIES = {**GOOD, **{name: body for name, (body, _) in BAD.items()}}
SOURCE = TEMPLATE.replace("BODY", "\n".join(f'if (which == "{name}") {{ {body} }}' for name, body in BODIES.items()))


def compiled(source, library):
    file = pathlib.Path(library).with_suffix(".cc")
    file.write_text(source)
    subprocess.run(["g++", "-shared", "-fPIC", str(file), "-o", str(library), *sl.sysconfig.get_compile_flags(), *sl.sysconfig.get_link_flags()],
                   check=True, timeout=300)
    return str(library)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The path of each library of BODIES, by its name."""
    folder = tmp_path_factory.mktemp("libraries")
    contents = pathlib.Path(compiled(SOURCE, folder / "all.so")).read_bytes()
    for name in BODIES:
        (folder / f"{name}.so").write_bytes(contents)
    return {name: str(folder / f"{name}.so") for name in BODIES}


def load(path):
    os.environ["SLUICE_TEST_OP_LIBRARY"] = pathlib.Path(path).stem
    return sl.load_op_library(path)


@pytest.fixture(scope="module")
def softshrink(tmp_path_factory):
    return sl.load_op_library(compiled(EXAMPLE.read_text(), tmp_path_factory.mktemp("example") / "softshrink.so"))


@pytest.fixture(scope="module")
def good(libraries):
    return load(libraries["good"])


def shrunk(x, limit):
    return np.sign(x) * np.maximum(np.abs(x) - limit, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_custom_op_runs_with_known_and_unknown_shapes(softshrink, dtype):
    x = np.linspace(-3, 3, 200).reshape(4, 50).astype(dtype)
    with sl.Graph().as_default(), sl.Session() as session:
        for tensor, feeds in ((sl.constant(x), {}), (lambda p: (p, {p: x}))(sl.placeholder(dtype))):
            for limit in (0.0, 1.5):
                np.testing.assert_allclose(session.run(softshrink.softshrink(tensor, limit=limit), feeds), shrunk(x, dtype(limit)), rtol=1e-6, atol=1e-6)
        assert softshrink.softshrink(sl.placeholder(dtype, [None, 3])).shape.as_list() == [None, 3]
        assert session.run(softshrink.softshrink(np.zeros((0, 2), dtype))).shape == (0, 2)
        node = softshrink.softshrink(sl.constant(x), name="mine").op
        assert (node.name, node.type, node.get_attr("limit")) == ("mine", "Softshrink", 0.5)


def test_its_gradient_is_the_one_it_defines(softshrink):
    at = np.array([-2.0, -0.4, 0.0, 0.3, 0.9])
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.constant(at)
        np.testing.assert_array_equal(session.run(sl.gradients(softshrink.softshrink(x) * [1.0, 2, 3, 4, 5], x)[0]), [1, 0, 0, 0, 5])


def test_its_graph_is_saved_and_loaded(softshrink):
    with sl.Graph().as_default() as graph:
        softshrink.softshrink(sl.constant([2.0]), limit=0.25, name="y")
        saved = graph.as_graph_def().SerializeToString()
    with sl.Graph().as_default() as graph, sl.Session() as session:
        sl.import_graph_def(sl.GraphDef.FromString(saved), name="")
        assert session.run("y:0") == [1.75]


def test_mistakes_in_calls_are_named(softshrink):
    with sl.Graph().as_default(), sl.Session() as session:
        for call, error, text in ((lambda: softshrink.softshrink([1]), (TypeError, ValueError), "int32"), (lambda: softshrink.softshrink(), TypeError, "missing argument 'x'"),
                                  (lambda: softshrink.softshrink([1.0], limits=1.0), TypeError, "unexpected argument 'limits'")):
            with pytest.raises(error, match=text):
                call()
        with pytest.raises(sl.errors.InvalidArgumentError, match="limit must not be negative, found -1"):
            session.run(softshrink.softshrink([1.0], limit=-1.0))


def test_functions_are_named_as_tensorflow_names_them(good):
    assert {n for n in dir(good) if not n.startswith("_")} == {"test_pass_http_request2", "TestPassHTTPRequest2", "test_fail", "TestFail"}
    with sl.Graph().as_default(), sl.Session() as session:
        assert session.run(good.test_pass_http_request2(b"any type")) == b"any type"


def test_errors_of_kernels_name_the_node_and_the_session_lives(good):
    with sl.Graph().as_default(), sl.Session() as session:
        x = sl.placeholder(sl.float32)
        for what, error, text in (("early", sl.errors.InvalidArgumentError, "prepared early"), ("late", sl.errors.ResourceExhaustedError, "ran late")):
            with pytest.raises(error, match=f"(?s)TestFail 'node_{what}.*{text}"):
                session.run(good.test_fail(x, what, name="node_" + what), {x: 1})
        assert session.run(x + 1.0, {x: 1}) == 2


def test_loading_twice_gives_the_same_module_and_another_copy_is_refused(libraries, good, tmp_path):
    assert load(libraries["good"]) is good
    copy = tmp_path / "good.so"
    copy.write_bytes(pathlib.Path(libraries["good"]).read_bytes())
    with pytest.raises(sl.errors.AlreadyExistsError, match="op TestFail is already defined"):
        load(str(copy))


@pytest.mark.parametrize("name", BAD)
def test_a_library_with_a_mistake_is_refused_and_changes_nothing(libraries, good, name):
    for _ in range(2):  # the second time it says the same
        with pytest.raises(sl.errors.OpError, match=BAD[name][1]) as caught:
            load(libraries[name])
        assert libraries[name] in str(caught.value)
    with sl.Graph().as_default() as graph, sl.Session() as session:
        assert session.run(sl.nn.relu([-1.0, 1.0])).tolist() == [0, 1]
        with pytest.raises((ValueError, sl.errors.NotFoundError), match="TestOrphan"):
            graph.create_op("TestOrphan", [sl.constant(1.0)])


def test_later_libraries_load_after_refused_ones(libraries):
    with pytest.raises(sl.errors.OpError):
        load(libraries["shapeless"])
    later = load(libraries["later"])
    with sl.Graph().as_default(), sl.Session() as session:
        assert session.run(later.test_later(3)) == 3


def test_a_library_may_bring_a_better_kernel_for_an_op_that_is_there(libraries):
    # Alone in a process: it changes Relu for everybody.
    program = f"""
import sluice as sl
sl.load_op_library({libraries["relu"]!r})
with sl.Session() as session:
    x = sl.placeholder(sl.float32)
    assert session.run(sl.raw_ops.Relu(x), {{x: -5.0}}) == -5
    assert session.run(sl.raw_ops.Relu(sl.cast(x, sl.float64)), {{x: -5.0}}) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, env={**os.environ, "SLUICE_TEST_OP_LIBRARY": "relu"})


@pytest.mark.parametrize("source,error,text", [
    (None, sl.errors.NotFoundError, "lib.so"),
    ("int x;", sl.errors.InvalidArgumentError, "does not export SluiceRegisterOps"),
    ('extern "C" void SluiceRegisterOps(void*, void*) {}', sl.errors.FailedPreconditionError, "include core/kernel/op_library.h"),
    ('extern "C" void missing(); extern "C" void SluiceRegisterOps(void*, void*) { missing(); }', sl.errors.NotFoundError, "undefined symbol: missing"),
])
def test_what_is_no_library_of_ops_is_refused(source, error, text, tmp_path):
    path = str(tmp_path / "lib.so")
    with pytest.raises(sl.errors.NotFoundError, match="lib.so"):
        sl.load_op_library(path)
    if source is None:
        pathlib.Path(path).write_text("not a library")
    else:
        compiled(source, path)
    with pytest.raises(error, match=text):
        sl.load_op_library(path)


def test_a_library_built_for_other_headers_is_refused_with_the_difference(tmp_path):
    # As if Tensor had another size there.
    other = r"""
#include <cstring>
#define SluiceOpLibraryAbi OriginalAbi
#include "core/kernel/op_library.h"
#undef SluiceOpLibraryAbi
extern "C" const sluice::AbiFact* SluiceOpLibraryAbi(int* count) {
  static sluice::AbiFact facts[sluice::kNumOpLibraryAbi];
  for (int i = 0; i < sluice::kNumOpLibraryAbi; ++i) {
    facts[i] = sluice::kOpLibraryAbi[i];
    if (!std::strcmp(facts[i].name, "sizeof(Tensor)")) facts[i].value = 1234;
  }
  *count = sluice::kNumOpLibraryAbi;
  return facts;
}
extern "C" void SluiceRegisterOps(sluice::OpRegistry*, sluice::KernelRegistry*) {}
"""
    with pytest.raises(sl.errors.FailedPreconditionError, match=r"compiled against other headers.*sizeof\(Tensor\) is 1234 there"):
        sl.load_op_library(compiled(other, tmp_path / "other.so"))


def test_load_library_loads_a_file_or_a_folder(libraries, tmp_path, monkeypatch):
    monkeypatch.setenv("SLUICE_TEST_OP_LIBRARY", "folder")
    (tmp_path / "ops.so").write_bytes(pathlib.Path(libraries["folder"]).read_bytes())
    (tmp_path / "notes.txt").write_text("not one")
    sl.load_library(str(tmp_path))
    with sl.Graph().as_default() as graph, sl.Session() as session:
        assert session.run(graph.create_op("TestInFolder", [sl.constant(4)]).outputs[0]) == 4
    with pytest.raises(OSError, match="nowhere"):
        sl.load_library(str(tmp_path / "nowhere"))
