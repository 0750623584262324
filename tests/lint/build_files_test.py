"""BUILD files keep targets private by default, and name files that exist.

Runs under pytest, or alone: `python3 tests/lint/build_files_test.py` prints what is wrong.
"""

import ast
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Everybody may use these.
PUBLIC = ("third_party/", "tests/")


def problems_in(path, text, exists=lambda name: True):
    """Messages about the BUILD file `path` with contents `text`."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if "\t" in line:
            found.append("%s:%d: a tab" % (path, number))
        if line.rstrip() != line:
            found.append("%s:%d: blanks at the end of the line" % (path, number))
    if text and not text.endswith("\n"):
        found.append("%s: no newline at the end" % path)

    names = {}
    tree = ast.parse(text, path)
    targets = {getattr(k.value, "value", None) for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "name"}
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            continue
        arguments = {k.arg: k.value for k in call.keywords}
        where = "%s:%d" % (path, call.lineno)
        if call.func.id == "package" and "//visibility:public" in ast.unparse(call) and not path.startswith(PUBLIC):
            found.append(where + ": targets are private by default; give `visibility` to each one that others use")
        name = getattr(arguments.get("name"), "value", None)
        if call.func.id in ("cc_library", "cc_binary", "cc_test", "genrule") and name:
            if name in names:
                found.append("%s: '%s' is also the target of line %d" % (where, name, names[name]))
            names[name] = call.lineno
        if call.func.id.startswith("cc_"):
            for kind in ("srcs", "hdrs"):
                value = arguments.get(kind)
                for item in value.elts if isinstance(value, ast.List) else []:
                    file = getattr(item, "value", None)
                    is_file = isinstance(file, str) and "." in file and not file.startswith((":", "//", "@"))
                    if is_file and file not in targets and not exists(file):
                        found.append("%s: %s of '%s' names %s, which is not there" % (where, kind, name, file))
    return found


def _build_files():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in ("build", "dist") and not f.startswith((".", "bazel-")))
        path = os.path.relpath(os.path.join(folder, "BUILD"), ROOT)
        if "BUILD" in files and not path.startswith("third_party/bazel/"):
            yield path


def problems():
    found = []
    for path in _build_files():
        text = (ROOT / path).read_text()
        generated = text.count("genrule(") or ".bzl" in text
        folder = (ROOT / path).parent
        found += problems_in(path, text, lambda name, f=folder, g=generated: bool(g) or (f / name).exists())
    return found


def test_build_files_are_in_order():
    assert not problems(), "\n".join(problems())


def test_a_package_open_to_all_is_reported():
    text = 'package(default_visibility = ["//visibility:public"])\n'
    assert problems_in("core/base/BUILD", text) == [
        "core/base/BUILD:1: targets are private by default; give `visibility` to each one that others use"
    ]
    assert problems_in("third_party/debian/BUILD", text) == []


def test_a_file_that_is_not_there_is_reported():
    text = 'cc_library(\n    name = "a",\n    srcs = ["a.cc"],\n)\n'
    assert problems_in("core/BUILD", text, exists=lambda name: False) == [
        "core/BUILD:1: srcs of 'a' names a.cc, which is not there"
    ]


if __name__ == "__main__":
    for problem in problems():
        print(problem)
    sys.exit(1 if problems() else 0)
