"""Lays the package out in a folder: the sources of python/sluice and, beside them, what the build made.

usage: assemble.py FOLDER BUILT_FILE...

Sources become links, so an edit is seen at once and __pycache__ stays out of the source tree. Built files are copied,
so a later build of another kind (a sanitizer, say) does not change a package that is in use:
  .../sluice/ops/x.py (generated)   to FOLDER/sluice/ops/x.py
  anything else (.so, .pb)          to FOLDER/sluice/native/
Headers that libraries of custom ops need become links in FOLDER/sluice/include.
Files that neither has any more are removed.
"""

import os
import pathlib
import shutil
import sys

_SOURCE = pathlib.Path(__file__).resolve().parents[1] / "sluice"
_HEADERS = ("core", "kernels/common", "ops/expr")
_KINDS = (".py", ".pyi", ".typed", ".json", ".html", ".js", ".css")


def _place_of(built):
    """Where a built file goes, from the package's folder."""
    parts = pathlib.Path(built).parts
    if "sluice" in parts[1:] and built.endswith(_KINDS):
        return pathlib.Path(*parts[len(parts) - parts[::-1].index("sluice"):])
    return pathlib.Path("native") / parts[-1]


def _is_current(copy, original):
    if copy.is_symlink() or not copy.exists():
        return False
    a, b = copy.stat(), original.stat()
    return (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def assemble(folder, built):
    package = pathlib.Path(folder) / "sluice"
    wanted = set()

    sources = [(original, original.relative_to(_SOURCE)) for original in _SOURCE.rglob("*")
               if original.suffix in _KINDS and "__pycache__" not in original.parts]
    root = _SOURCE.parents[1]
    sources += [(original, "include" / original.relative_to(root)) for folder in _HEADERS for original in (root / folder).rglob("*.h")
                if "testing" not in original.parts]
    for original, name in sources:
        link = package / name
        wanted.add(link)
        if not (link.is_symlink() and os.readlink(link) == str(original)):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(original)

    for name in built:
        original, copy = pathlib.Path(name), package / _place_of(name)
        if copy in wanted:
            sys.exit("assemble.py: both the sources and the build have %s" % copy.relative_to(package))
        wanted.add(copy)
        if not _is_current(copy, original):
            copy.parent.mkdir(parents=True, exist_ok=True)
            # A running program keeps the file it has mapped: the new one takes its place under the same name.
            fresh = copy.with_name(copy.name + ".new")
            shutil.copy2(original, fresh)
            os.replace(fresh, copy)

    for path in sorted(package.rglob("*"), reverse=True):
        if "__pycache__" in path.parts:
            continue
        if path.is_symlink() or path.is_file():
            if path not in wanted:
                path.unlink()
        elif not any(p.name != "__pycache__" for p in path.iterdir()):
            shutil.rmtree(path)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    assemble(sys.argv[1], sys.argv[2:])
