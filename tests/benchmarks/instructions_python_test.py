"""A step from Python takes no more instructions than instructions_python.txt allows, whatever else the machine does."""
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import instructions_python as instructions  # noqa: E402


def has_avx2():
    return " avx2 " in pathlib.Path("/proc/cpuinfo").read_text()


@pytest.fixture(scope="module")
def found():
    return instructions.count()


@pytest.mark.skipif(not has_avx2(), reason="the figures are those of AVX2")
@pytest.mark.parametrize("name", instructions.NAMES)
def test_a_step_takes_no_more_than_is_allowed(found, name):
    tolerance, allowed = instructions.parse_allowed(instructions.ALLOWED.read_text())
    assert name in allowed, "no figure; ./dev instructions REASON writes it"
    limit = allowed[name][0]
    assert found[name] <= limit * (1 + tolerance), "a step of %s takes %d instructions, allowed are %d and %g %% more (%+.1f %%). Where " \
        "it is meant: ./dev instructions REASON" % (name, found[name], limit, 100 * tolerance, 100 * (found[name] / limit - 1))


def test_the_file_is_as_it_would_be_written():
    text = instructions.ALLOWED.read_text()
    tolerance, allowed = instructions.parse_allowed(text)
    assert set(allowed) == set(instructions.NAMES) and instructions.allowed_text(tolerance, allowed) == text


@pytest.mark.parametrize("line", ["run", "run many", "run -1", "run 1 2"])
def test_a_line_that_is_no_figure_is_refused(line):
    with pytest.raises(ValueError, match="is no 'NAME COUNT"):
        instructions.parse_allowed("tolerance 0.03\n" + line)


def test_parts_are_read_by_name():
    part = "desc: Trigger: Client Request: run\n\nevents: Ir\nsummary: %d\n" % (7 * instructions.STEPS)
    assert instructions.parse_parts([part, "desc: Trigger: Program termination\nsummary: 9\n"]) == {"run": 7}
