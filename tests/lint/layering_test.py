"""Folders depend on each other in one direction only.

Reads every `#include "..."` and every BUILD file's deps, and fails when a folder uses one that its layer may not use.
The table below is the rule. Tests and benchmarks beside the code may also use core/testing and assemble what they test.

Runs under pytest, or alone: `python3 tests/lint/layering_test.py` prints the violations.
"""

import ast
import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Layer -> the layers it names directly; what those use, it may use too. The longest matching prefix is a file's layer.
USES = {
    "core/base": [],
    "core/types": ["core/base", "core/proto"],
    "core/proto": [],
    "core/op": ["core/types", "core/proto"],
    "core/graph": ["core/op"],
    "core/device": ["core/types"],
    "core/kernel": ["core/op", "core/device"],
    "core/io": ["core/types", "core/proto"],
    "core/testing": ["core/graph", "core/kernel", "core/io"],
    "core": ["core/graph", "core/kernel", "core/io"],  # stands for all of core but its testing
    "ops": ["core"],
    "kernels": ["core"],
    "compiler": ["core", "ops"],
    "runtime": ["core"],
    "distributed": ["core", "runtime"],
}

# Places that put a program together may use everything.
ASSEMBLY = ("python", "distributed/server", "tests", "third_party")

# Tests and benchmarks may assemble what they test: definitions, kernels, and a session to run them.
TEST_FILE = re.compile(r"(_test|_benchmark|_test_util|_testing)\.(cc|cu\.cc|h)$|/testing/|/testdata/")

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
SOURCE = (".h", ".cc", ".cuh", ".inc")
SKIPPED = {"build", "dist", ".git", "third_party"}


def layer_of(folder):
    """The layer that `folder` is in, or None when it may use everything or is not ours."""
    if any(folder == place or folder.startswith(place + "/") for place in ASSEMBLY):
        return None
    parts = folder.split("/")
    for length in range(len(parts), 0, -1):
        prefix = "/".join(parts[:length])
        if prefix in USES:
            return prefix
    return None


def _closure():
    reach = {}

    def visit(layer):
        if layer not in reach:
            reach[layer] = {layer}
            for used in USES[layer]:
                reach[layer] |= visit(used)
        return reach[layer]

    for layer in USES:
        visit(layer)
    return reach


REACH = _closure()


def is_allowed(user, used):
    """Whether code in folder `user` may use code in folder `used`; both are layers, or None for 'anything'."""
    return user is None or used is None or used in REACH[user]


def _walk():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith((".", "bazel-")))
        relative = os.path.relpath(folder, ROOT).replace(os.sep, "/")
        for name in sorted(files):
            yield ("" if relative == "." else relative), name


def include_violations(path, text):
    """Messages for the includes of the file `path` (from the root) that break the rule."""
    folder = os.path.dirname(path)
    user = layer_of(folder)
    if TEST_FILE.search(path):
        return []
    found = []
    for match in INCLUDE.finditer(text):
        used = layer_of(os.path.dirname(match.group(1)))
        if "/" in match.group(1) and not is_allowed(user, used):
            line = text.count("\n", 0, match.start(1)) + 1
            found.append('%s:%d: %s may not use %s: #include "%s"' % (path, line, user, used, match.group(1)))
    return found


def _strings(node):
    """Every string in an expression: lists, sums of lists and the values of select() alike."""
    if isinstance(node, ast.Dict):
        return [s for value in node.values for s in _strings(value)]
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    return [s for child in ast.iter_child_nodes(node) for s in _strings(child)]


def build_violations(path, text):
    """Messages for the deps in the BUILD file `path` that break the rule."""
    folder = os.path.dirname(path)
    user = layer_of(folder)
    found = []
    for call in ast.walk(ast.parse(text, path)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        arguments = {k.arg: k.value for k in call.keywords}
        name = "".join(_strings(arguments["name"])) if "name" in arguments else ""
        is_test = (
            call.func.id.endswith("_test")
            or any("testonly" == k and getattr(v, "value", None) for k, v in arguments.items())
            or "benchmark" in name
        )
        for kind in ("deps", "hdrs", "srcs", "implementation_deps"):
            for label in _strings(arguments[kind]) if kind in arguments and not is_test else []:
                if label.startswith("//") and not is_allowed(user, layer_of(label[2:].split(":")[0])):
                    found.append("%s:%d: %s may not use %s: %s of '%s' has %s"
                                 % (path, call.lineno, user, layer_of(label[2:].split(":")[0]), kind, name, label))
    return found


def violations():
    found = []
    for folder, name in _walk():
        path = folder + "/" + name if folder else name
        if name.endswith(SOURCE):
            found += include_violations(path, (ROOT / path).read_text(errors="replace"))
        elif name in ("BUILD", "BUILD.bazel"):
            found += build_violations(path, (ROOT / path).read_text())
    return found


def test_no_folder_uses_one_above_it():
    assert not violations(), "\n".join(violations())


def test_an_include_of_a_higher_layer_is_reported():
    text = '#include "core/op/op.h"\n#include "kernels/math/add.h"\n'
    assert include_violations("kernels/math/add.cc", text) == []
    assert include_violations("runtime/session/session.cc", text) == [
        'runtime/session/session.cc:2: runtime may not use kernels: #include "kernels/math/add.h"'
    ]
    assert include_violations("runtime/session/session_test.cc", text) == []


def test_a_dependency_on_a_higher_layer_is_reported():
    text = 'cc_library(name = "x", deps = [":y"] + select({"//a:b": ["//runtime/session"]}))\n'
    assert build_violations("kernels/math/BUILD", text) == [
        "kernels/math/BUILD:1: kernels may not use runtime: deps of 'x' has //runtime/session"
    ]
    assert build_violations("distributed/worker/BUILD", text) == []


def test_layers_inside_core_are_ordered():
    assert is_allowed("core/graph", "core/types")
    assert not is_allowed("core/types", "core/graph")
    assert not is_allowed("core/graph", "core/kernel")
    assert not is_allowed("ops", "core/testing")


if __name__ == "__main__":
    for violation in violations():
        print(violation)
    sys.exit(1 if violations() else 0)
