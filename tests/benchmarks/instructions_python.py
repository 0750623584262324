"""Instructions of steps from Python, counted by callgrind, beside those that instructions_python.txt allows.

    ./dev instructions            found and allowed (after those of the steps in C++)
    ./dev instructions REASON     writes what was found, with the reason beside what changed

The program runs itself under valgrind, and switches counting on and off by a library of a few lines that it compiles.
"""

import ctypes
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ALLOWED = pathlib.Path(__file__).resolve().parent / "instructions_python.txt"
STEPS = 200  # that are counted
DEADLINE = 400
NAMES = ("run", "callable", "callable_10", "callable_100", "run_100")

_SWITCH = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void end(const char* name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def steps():
    """(name, step) of each of NAMES."""
    import suite_tf1
    import sluice as sl
    suite = suite_tf1.Suite(sl, "", 1)
    for name in NAMES:
        yield name, getattr(suite, "b03_" + name)()[0]


def run_under_valgrind(library):
    import gc
    gc.disable()
    switch = ctypes.CDLL(library)
    for name, step in steps():
        for _ in range(20):
            step()
        switch.begin()
        for _ in range(20):  # translated before they are counted
            step()
        switch.begin()
        for _ in range(STEPS):
            step()
        switch.end(name.encode())


def parse_parts(texts):
    """{name: instructions of a step} from the files of callgrind."""
    found = {}
    for text in texts:
        trigger, total = re.search(r"Client Request: (\w+)", text), re.search(r"^summary: (\d+)", text, re.MULTILINE)
        if trigger and total and trigger.group(1) in NAMES:
            found[trigger.group(1)] = round(int(total.group(1)) / STEPS)
    return found


def count():
    """{name: instructions of a step}; an OSError says why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        library, out = folder + "/switch.so", folder + "/out"
        compiled = subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=_SWITCH, text=True, capture_output=True)
        if compiled.returncode:
            raise OSError("the switch does not compile (is valgrind installed? ./dev setup): " + compiled.stderr)
        environment = dict(os.environ, PYTHONHASHSEED="0", PYTHONDONTWRITEBYTECODE="1", SLUICE_ISA="avx2", OPENBLAS_NUM_THREADS="1",
                           GLIBC_TUNABLES="glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-ERMS,-FSRM")
        done = subprocess.run(["valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=" + out, sys.executable,
                               __file__, "--count", library], env=environment, capture_output=True, text=True, timeout=DEADLINE)
        if done.returncode:
            raise OSError("valgrind ended with status %d: %s" % (done.returncode, "\n".join(line for line in done.stderr.splitlines() if not line.startswith("=="))))
        return parse_parts(p.read_text() for p in pathlib.Path(folder).glob("out.*"))


def parse_allowed(text):
    """(tolerance, {name: (instructions, reason)}). A ValueError names a line that is neither."""
    tolerance, allowed = 0.03, {}
    for line in text.splitlines():
        fields, _, reason = line.partition("#")
        fields = fields.split()
        if not fields:
            continue
        if len(fields) != 2 or not re.fullmatch(r"\d+(\.\d+)?", fields[1]):
            raise ValueError("%r is no 'NAME COUNT  # reason'" % line)
        if fields[0] == "tolerance":
            tolerance = float(fields[1])
        else:
            allowed[fields[0]] = int(fields[1]), reason.strip()
    return tolerance, allowed


def allowed_text(tolerance, allowed):
    head = ("# Instructions of a warm step from Python, by callgrind (instructions_python.py). More than the tolerance above fails\n"
            "# the test; `./dev instructions REASON` writes this file.\ntolerance %g\n" % tolerance)
    return head + "".join("%s %d  # %s\n" % (n, *allowed[n]) for n in NAMES if n in allowed)


def report(reason):
    found = count()
    tolerance, allowed = parse_allowed(ALLOWED.read_text())
    for name in NAMES:
        before = allowed.get(name, (0, ""))[0]
        print("%-22s %9d found, %9d allowed" % ("Python, " + name, found[name], before))
        if reason and abs(found[name] - before) * 1000 > before:
            allowed[name] = found[name], reason
    if reason:
        ALLOWED.write_text(allowed_text(tolerance, allowed))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--count"]:
        run_under_valgrind(sys.argv[2])
    else:
        try:
            report(" ".join(sys.argv[1:]))
        except (OSError, ValueError, subprocess.TimeoutExpired) as e:
            sys.exit("instructions_python.py: %s" % e)
