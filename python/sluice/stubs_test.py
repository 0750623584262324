"""The stubs that editors and type checkers read: they parse, name every public symbol, and agree with what runs."""

import ast
import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

import sluice as sl
from sluice import raw_ops

PACKAGE = pathlib.Path(os.path.abspath(sl.__file__)).parent
ROOT = PACKAGE.parents[2]


def parsed(name):
    return ast.parse((PACKAGE / name).read_text())


def names_of(tree):
    """The names that a stub makes public: functions, variables, and imports under their own name."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            found[node.targets[0].id] = node
        elif isinstance(node, ast.ImportFrom):
            found.update({a.name: node for a in node.names if a.name == a.asname})
    return found


def public(names):
    return {n for n in names if not n.startswith("_")}


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_the_index_names_every_public_symbol():
    stub, wanted = public(names_of(parsed("__init__.pyi"))), public(dir(sl))
    for name in list(wanted):
        # Not an op or module that this build does not have, nor a module that was imported under its own name.
        if not hasattr(sl, name) or inspect.ismodule(getattr(sl, name)) and name not in sl._MODULES:
            wanted.remove(name)
    assert len(wanted) > 500
    assert wanted - stub == set()
    assert {n for n in stub if not hasattr(sl, n)} - public(dir(sl)) == set()


def test_what_the_index_imports_is_what_the_package_gives():
    tree = parsed("__init__.pyi")
    private = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.module == "typing":
            continue
        for alias in node.names:
            if node.module == "sluice":
                if importlib.util.find_spec("sluice." + alias.name) is not None:
                    assert getattr(sl, alias.name) is importlib.import_module("sluice." + alias.name)
                continue
            value = getattr(importlib.import_module(node.module), alias.name)
            if alias.asname.startswith("_"):
                private[alias.asname] = value
            else:
                assert alias.asname == alias.name and getattr(sl, alias.name) is value, alias.name
    for node in tree.body:
        if isinstance(node, ast.Assign) and node.value.id in private:
            assert getattr(sl, node.targets[0].id) is private[node.value.id], node.targets[0].id


def test_raw_ops_have_the_arguments_that_their_stubs_say():
    stubs = {n: f for n, f in names_of(parsed("raw_ops.pyi")).items() if isinstance(f, ast.FunctionDef)}
    functions = {n: f for n, f in vars(raw_ops).items() if inspect.isfunction(f) and not n.startswith("_")}
    assert set(stubs) == set(functions) and len(stubs) > 450
    for name, stub in stubs.items():
        arguments = stub.args.args
        optional = len(stub.args.defaults)
        signature = inspect.signature(functions[name]).parameters.values()
        assert [a.arg for a in arguments] == [p.name for p in signature], name
        assert [i >= len(arguments) - optional for i in range(len(arguments))] == [p.default is not p.empty for p in signature], name


@pytest.mark.parametrize("call,returns", [
    (lambda: raw_ops.Softplus([1.0]), "_Tensor"), (lambda: raw_ops.NoOp(), "_Operation"), (lambda: raw_ops.Unpack([1, 2], 2), "list[_Tensor]"),
    (lambda: raw_ops.Assert(True, [1]), "_Operation"), (lambda: raw_ops.Unique([1]), "_Any")])
def test_raw_ops_return_what_their_stubs_say(call, returns):
    with sl.Graph().as_default() as graph:
        value = call()
        op = graph.get_operations()[-1].type
    stub = names_of(parsed("raw_ops.pyi"))[op]
    assert ast.unparse(stub.returns) == returns
    assert returns == "_Any" or isinstance(value, {"_Tensor": sl.Tensor, "_Operation": sl.Operation, "list[_Tensor]": list}[returns])


needs_mypy = pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed (./dev setup lint)")


def mypy(folder, *files):
    """What mypy says of files, as lines without their folder. As for an installed package, it is silent about the package itself."""
    done = subprocess.run([sys.executable, "-m", "mypy", "--python-version", "3.11", "--follow-imports=silent", "--cache-dir", str(folder / "cache"),
                           "--ignore-missing-imports", *map(str, files)],
                          capture_output=True, text=True, timeout=600, cwd=folder, env={**os.environ, "MYPYPATH": str(PACKAGE.parent)})
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith(("Success", "Found"))]


@needs_mypy
def test_a_type_checker_knows_ops_and_finds_mistakes(tmp_path):
    (tmp_path / "program.py").write_text(textwrap.dedent("""
        import sluice as sl
        x = sl.placeholder(sl.float32, [None, 3])
        y: sl.Tensor = sl.raw_ops.Softplus(x)
        reveal_type(sl.VERSION)
        reveal_type(sl.raw_ops.Softplus(x))
        sl.raw_ops.Softplus(x, wrong=1)
        sl.raw_ops.Unpack(x, num="three")
        v = sl.Variable(1.0, name="v", use_resource=True)
        sl.matrix_inverse(x, adjoint=True)
        sl.nn.relu(x, nam="y")
        """))
    found = "\n".join(line for line in mypy(tmp_path, "program.py") if line.startswith("program"))
    assert re.sub(r"program.py:(\d+): (\w+): .*?(wrong|three|nam\b|num|str|Tensor).*", r"\1 \2 \3", found).split("\n") == [
        "5 note str", "6 note Tensor", "7 error wrong", "8 error num", "11 error nam"]


@needs_mypy
def test_a_type_checker_accepts_the_stubs_and_the_examples(tmp_path):
    examples = sorted((ROOT / "python" / "examples").glob("*.py"))
    assert examples
    assert mypy(tmp_path, *[PACKAGE / "__init__.pyi", PACKAGE / "raw_ops.pyi"]) == []
    assert mypy(tmp_path, *examples) == []
