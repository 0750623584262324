"""Writes a wheel from an assembled package; needs patchelf, and no network.

usage: make_wheel.py PACKAGE_FOLDER OUTPUT_FOLDER

The wheel holds the system libraries that the native part needs, except those that every Linux has (glibc, libstdc++).
Each gets a name of its own (libprotobuf-1a2b3c4d.so.32), so that another package's library of the same name never takes
its place, and is found by $ORIGIN, so no environment variable is needed. The module uses CPython's limited API: one
wheel serves CPython 3.11 and later.
"""

import base64
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile

_TAG = "cp311-abi3-linux_x86_64"

# Every glibc system with a C++ runtime has these; a second copy in one process would do harm.
_SYSTEM = re.compile(r"^(ld-linux.*|linux-vdso|lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s))\.so")

# Loaded by name at run time, so ldd does not see them and their names must stay.
_LOADED_AT_RUN_TIME = ("libdnnl.so.2", "libgomp.so.1")

_SKIPPED = re.compile(r"(_test\.py|\.pyc|/BUILD|\.md)$|__pycache__|/testdata/")


def _run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _libraries_of(binary):
    """{soname: path} of everything that ldd says `binary` needs, the system's own left out."""
    found = {}
    for line in _run("ldd", str(binary)).splitlines():
        match = re.match(r"\s*(\S+) => (\S+)", line)
        if match and not _SYSTEM.match(match.group(1)) and "sluice" not in match.group(1):
            if match.group(2) == "not":
                sys.exit("make_wheel.py: %s needs %s, which is not installed" % (binary, match.group(1)))
            found[match.group(1)] = pathlib.Path(match.group(2)).resolve()
    return found


def _path_of(soname):
    for line in _run("ldconfig" if shutil.which("ldconfig") else "/sbin/ldconfig", "-p").splitlines():
        if line.split(" ")[0].strip() == soname and "x86-64" in line:
            return pathlib.Path(line.split("=> ")[1]).resolve()
    return None


def _bundle(native):
    """Copies the libraries that the binaries in `native` need into native/libs; returns the originals."""
    binaries = sorted(p for p in native.iterdir() if p.read_bytes()[:4] == b"\x7fELF")
    needed = {}
    for binary in binaries:
        needed.update(_libraries_of(binary))
    for soname in _LOADED_AT_RUN_TIME:
        path = _path_of(soname)
        if path is None:
            sys.exit("make_wheel.py: %s is not installed" % soname)
        needed[soname] = path
        needed.update(_libraries_of(path))

    names = {}
    for soname, path in needed.items():
        if soname in _LOADED_AT_RUN_TIME:
            names[soname] = soname
        else:
            stem, rest = soname.split(".so", 1)
            names[soname] = "%s-%s.so%s" % (stem, hashlib.sha256(path.read_bytes()).hexdigest()[:8], rest)

    libs = native / "libs"
    libs.mkdir()
    for soname, path in needed.items():
        shutil.copyfile(path, libs / names[soname])
        (libs / names[soname]).chmod(0o755)
    for file in binaries + sorted(libs.iterdir()):
        file.chmod(0o755)
        replace = []
        for soname in _run("patchelf", "--print-needed", str(file)).split():
            if names.get(soname, soname) != soname:
                replace += ["--replace-needed", soname, names[soname]]
        # One change a call: Debian's patchelf 0.14 mixes up the arguments of several.
        if replace:
            _run("patchelf", *replace, str(file))
        if file.parent == libs:
            _run("patchelf", "--set-soname", file.name, str(file))
        _run("patchelf", "--set-rpath", "$ORIGIN" if file.parent == libs else "$ORIGIN:$ORIGIN/libs", str(file))
    return sorted(set(needed.values()))


def _licences(libraries, folder):
    """Copies the copyright file of each library's Debian package."""
    folder.mkdir(parents=True)
    for library in libraries:
        for path in (library, pathlib.Path(str(library).replace("/usr/lib/", "/lib/", 1))):
            owner = subprocess.run(["dpkg", "-S", str(path)], capture_output=True, text=True).stdout
            name = owner.split(":")[0]
            copyright_file = pathlib.Path("/usr/share/doc", name, "copyright")
            if name and copyright_file.exists():
                shutil.copyfile(copyright_file, folder / (name + ".txt"))
                break


def _version_of(package):
    for name in ("_version.py", "__init__.py"):
        if (package / name).exists():
            match = re.search(r"^(?:__version__|VERSION)\s*=\s*[\"']([^\"']+)[\"']", (package / name).read_text(), re.MULTILINE)
            if match:
                return match.group(1)
    sys.exit("make_wheel.py: neither sluice/_version.py nor sluice/__init__.py sets __version__")


def _write_metadata(root, version, package):
    info = root / ("sluice-%s.dist-info" % version)
    info.mkdir()
    project = pathlib.Path(__file__).resolve().parents[2]
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\n"
        "Name: sluice\n"
        "Version: %s\n"
        "Summary: A dataflow-graph machine-learning runtime\n"
        "License: Apache-2.0\n"
        "Requires-Python: >=3.11\n"
        "Requires-Dist: numpy\n"
        "Provides-Extra: protos\n"
        "Requires-Dist: protobuf; extra == 'protos'\n"
        "Description-Content-Type: text/markdown\n\n%s" % (version, (project / "README.md").read_text())
    )
    (info / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: sluice make_wheel.py\nRoot-Is-Purelib: false\nTag: %s\n" % _TAG
    )
    if (package / "__main__.py").exists():
        (info / "entry_points.txt").write_text("[console_scripts]\nsluice = sluice.__main__:main\n")
    shutil.copyfile(project / "LICENSE", info / "LICENSE")
    return info


def _write_zip(root, info, wheel):
    records = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name, data, mode):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # one input, one wheel: no times of day
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)

        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            name, data = path.relative_to(root).as_posix(), path.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            records.append("%s,sha256=%s,%d" % (name, digest, len(data)))
            add(name, data, 0o755 if data[:4] == b"\x7fELF" else 0o644)
        record = "%s/RECORD" % info.name
        add(record, "\n".join(records + [record + ",,"]) + "\n", 0o644)


def make_wheel(package, output):
    version = _version_of(package)
    output.mkdir(parents=True, exist_ok=True)
    wheel = output / ("sluice-%s-%s.whl" % (version, _TAG))
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for path in package.rglob("*"):
            name = path.relative_to(package).as_posix()
            if path.is_file() and not _SKIPPED.search("/" + name):
                copy = root / "sluice" / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
        libraries = _bundle(root / "sluice" / "native")
        info = _write_metadata(root, version, package)
        _licences(libraries, info / "licenses")
        _write_zip(root, info, wheel)
    return wheel


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    made = make_wheel(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
    print("%s (%.1f MB)" % (made, made.stat().st_size / 1e6))
