"""What the documents show is true: code blocks run and print what stands under them, commands and files exist."""

import ast
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LEFT_OUT = {"build", "dist", "third_party", ".git"}
DOCUMENTS = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.md")
                   if not (LEFT_OUT & set(p.relative_to(ROOT).parts) or p.relative_to(ROOT).parts[0].startswith("bazel-")))

# What a document leaves to its reader.
BEFORE = {
    "README.md": """
        import numpy as np
        _digits = np.random.default_rng(0)
        batches = [(_digits.random((32, 784), np.float32), _digits.integers(0, 10, 32)) for _ in range(3)]
        """,
}


def blocks_of(text):
    """[(code, what it should print or None)] of the Python blocks."""
    fences = [(m.group(1), m.group(2)) for m in FENCE.finditer(text)]
    return [(code, fences[i + 1][1] if i + 1 < len(fences) and fences[i + 1][0] == "text" else None)
            for i, (kind, code) in enumerate(fences) if kind == "python"]


def run_blocks(blocks, before, folder):
    """What each block prints, run one after another in a fresh process and folder."""
    mark = "---- next block ----"
    program = [textwrap.dedent(before)]
    for code, _ in blocks:
        # Documents name files as their readers would.
        program.append(code.replace("/tmp/", f"{folder}/") + f"\nprint({mark!r}, flush=True)\n")
    file = folder / "program.py"
    file.write_text("\n".join(program))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.split(mark + "\n")[:-1]


WITH_CODE = [d for d in DOCUMENTS if blocks_of((ROOT / d).read_text())]


def test_the_documents_were_found():
    assert {"README.md", "python/docs/guide.md", "python/docs/custom_ops.md"} <= set(WITH_CODE)


@pytest.mark.parametrize("document", WITH_CODE)
def test_code_runs_and_prints_what_stands_under_it(document, tmp_path):
    blocks = blocks_of((ROOT / document).read_text())
    printed = run_blocks(blocks, BEFORE.get(document, ""), tmp_path)
    assert len(printed) == len(blocks)
    for (code, wanted), found in zip(blocks, printed):
        assert wanted is None or found == wanted, f"{document}: this prints something else:\n{code}"


def test_the_example_in_the_package_runs(tmp_path):
    doc = ast.get_docstring(ast.parse((ROOT / "python/sluice/__init__.py").read_text()))
    code = textwrap.dedent("\n".join(line for line in doc.splitlines() if line.startswith("    ") or not line))
    printed, = run_blocks([(code, None)], "", tmp_path)
    assert printed == "[12.]\n"


def test_a_block_that_fails_or_prints_something_else_is_found(tmp_path):
    assert blocks_of("```python\nprint(1)\n```\n\n```text\n2\n```\n\n```python\nx\n```\n") == [("print(1)\n", "2\n"), ("x\n", None)]
    assert run_blocks([("print(1)\n", "2\n")], "", tmp_path) == ["1\n"]
    with pytest.raises(AssertionError, match="NameError"):
        run_blocks([("unknown\n", None)], "", tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_files_that_are_named_exist(document):
    text = (ROOT / document).read_text()
    commands = set(re.findall(r"^  (\w+) +\w", subprocess.run([str(ROOT / "dev")], capture_output=True, text=True, check=True).stdout, re.MULTILINE))
    assert set(re.findall(r"(?<![\w/.])\./dev (\w+)", text)) <= commands
    missing = []
    for path in re.findall(r"`((?:core|ops|kernels|runtime|compiler|distributed|python|tests|third_party)/[\w./-]+)`", text):
        if "..." not in path and not (ROOT / path).exists():
            missing.append(path)
    assert not missing, f"{document} names files that are not there: {missing}"


def test_every_example_is_described_and_tested():
    tests = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("*_test.py"))
    described = (ROOT / "python/examples/README.md").read_text()
    for example in (ROOT / "python/examples").glob("*.py"):
        assert f"`{example.name}`" in described, f"python/examples/README.md does not describe {example.name}"
        assert example.name in tests, f"no test runs {example.name}"
