import os
import pathlib
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import assemble  # noqa: E402


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A source tree with sluice/a.py and sluice/ops/b.py, two built files, and a folder to assemble in."""
    source = tmp_path / "python" / "sluice"
    for name in ("a.py", "ops/b.py", "notes.md", "__pycache__/a.pyc"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    for name in ("bin/python/native/libsluice.so", "bin/python/gen/sluice/ops/gen_math.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(assemble, "_SOURCE", source)
    monkeypatch.chdir(tmp_path)
    return tmp_path


BUILT = ["bin/python/native/libsluice.so", "bin/python/gen/sluice/ops/gen_math.py"]


def _files(folder):
    return sorted(str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*") if p.is_file())


def test_sources_are_links_and_built_files_copies(tree):
    assemble.assemble("out", BUILT)
    assert _files("out/sluice") == ["a.py", "native/libsluice.so", "ops/b.py", "ops/gen_math.py"]
    assert os.path.islink("out/sluice/ops/b.py") and not os.path.islink("out/sluice/native/libsluice.so")


def test_what_is_gone_from_the_sources_and_the_build_is_removed(tree):
    assemble.assemble("out", BUILT)
    (tree / "python/sluice/ops/b.py").unlink()
    assemble.assemble("out", BUILT[:1])
    assert _files("out/sluice") == ["a.py", "native/libsluice.so"]
    assert not os.path.exists("out/sluice/ops")


def test_a_built_file_is_replaced_when_it_changes_and_a_process_keeps_the_old_one(tree):
    assemble.assemble("out", BUILT)
    held = open("out/sluice/native/libsluice.so")
    (tree / BUILT[0]).write_text("new contents")
    assemble.assemble("out", BUILT)
    assert pathlib.Path("out/sluice/native/libsluice.so").read_text() == "new contents"
    assert held.read() == BUILT[0]


def test_a_file_that_both_the_sources_and_the_build_have_is_an_error(tree):
    (tree / "python/sluice/ops/gen_math.py").write_text("by hand")
    with pytest.raises(SystemExit, match="ops/gen_math.py"):
        assemble.assemble("out", BUILT)


def test_headers_of_custom_ops_are_part_of_the_package(tree):
    for name in ("core/kernel/kernel.h", "core/kernel/kernel.cc", "core/testing/fake.h", "ops/expr/expr.h", "ops/math/topics.h"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    assemble.assemble("out", BUILT)
    assert [f for f in _files("out/sluice") if f.startswith("include")] == ["include/core/kernel/kernel.h", "include/ops/expr/expr.h"]
