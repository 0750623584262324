import os
import pathlib
import shutil
import subprocess
import sys

import pytest

MAKE_WHEEL = pathlib.Path(__file__).with_name("make_wheel.py")

PROGRAM = """
import sluice as sl
import numpy as np
with sl.Graph().as_default():
    x = sl.placeholder(sl.float32, [None, 2])
    y = sl.matmul(x, sl.constant([[1.0], [2.0]]))
    with sl.Session() as session:
        assert session.run(y, {x: np.array([[3, 4]], np.float32)}).tolist() == [[11.0]]
        # The first convolution of a shape on a machine is timed by every means, oneDNN among them, which is loaded for it.
        images = sl.nn.conv2d(sl.fill([4, 32, 32, 16], 1.0), sl.fill([3, 3, 16, 16], 1.0), strides=[1, 1, 1, 1], padding="VALID")
        assert session.run(images)[0, 0, 0, 0] == 144
assert sl.GraphDef().ByteSize() == 0
with open("/proc/self/maps") as maps:
    print("\\n".join(sorted({line.split()[-1] for line in maps if ".so" in line})))
"""


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("patchelf"), reason="patchelf is not installed (./dev setup wheel)")
def test_the_wheel_runs_in_a_virtual_environment_with_its_own_libraries(tmp_path):
    import sluice

    package = os.path.dirname(os.path.abspath(sluice.__file__))
    subprocess.run([sys.executable, MAKE_WHEEL, package, tmp_path], check=True)
    (wheel,) = tmp_path.glob("*.whl")

    # NumPy and protobuf are Debian's, so that the test needs no network.
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-index", "--no-deps", wheel], check=True)

    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "SLUICE_TUNING")}
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    run = subprocess.run([python, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    loaded = run.stdout.splitlines()
    assert any("env" in name and "libsluice" in name for name in loaded)
    assert any("libdnnl" in name for name in loaded)
    foreign = ("libabsl", "libdnnl", "libgomp")  # libprotobuf: Debian's Python package brings its own
    assert not [name for name in loaded if any(f in name for f in foreign) and not name.startswith(str(tmp_path))]

    example = pathlib.Path(__file__).parents[1] / "examples" / "custom_op.py"  # headers and linking
    run = subprocess.run([python, example], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and "weights that are not zero: {3:" in run.stdout, run.stderr
