"""The rows of the table: what is measured, in which unit, who is asked, and what the machine allows."""

import collections

# name: how workers are asked for it. mine: "python", or the name of a step in step_benchmark. parts: what the time of a step is
# divided by. limit(machine, threads): seconds (of a part) that nothing can go below, None where there is no such figure.
# rounds: at most so many, for rows that take seconds. fresh: in new processes, which have run nothing else.
Row = collections.namedtuple("Row", "name title unit scale mine limit rounds fresh", defaults=("python", None, None, False))


def flops(count):
    return lambda machine, threads: count / (1e9 * machine.peak(threads))


def matmul(m, n, k, size=4):
    """Arithmetic, or its operands once from where they lie. The limits of bfloat16 are those of float32 twice over, where
    the processor multiplies it (AVX512-BF16)."""
    def limit(machine, threads):
        moved = size * (m * k + k * n + m * n)
        return max(2 * m * n * k / (1e9 * machine.peak(threads) * (4 / size)),
                   moved / (1e9 * machine.bandwidth(moved, threads, "read_gbps")[1]))
    return limit


def copied(elements, arrays):
    """`arrays` of so many floats read or written once."""
    return lambda machine, threads: 4 * elements * arrays / (1e9 * machine.bandwidth(4 * elements * arrays, threads)[1])


def fixed(seconds):
    return lambda machine, threads: seconds


CALL = 1.5e-9  # a predicted indirect call
ROWS = [
    Row("b01_chain", "B01 null ops, chain", "ns", 1e9, "null_chain", fixed(CALL)),
    Row("b01_layers", "B01 null ops, layers", "ns", 1e9, "null_layers", fixed(CALL)),
    Row("b01_dataflow", "B01 layers, dataflow tier", "ns", 1e9, "null_layers_dataflow", fixed(CALL)),
    Row("b01_independent", "B01 null ops, independent", "ns", 1e9, "null_independent", fixed(CALL)),
    Row("b02_unfused", "B02 small additions, no passes", "ns", 1e9, "adds", fixed(2.5e-9)),
    Row("b02", "B02 small additions", "ns", 1e9, "python", fixed(1e-9)),
    Row("b03_cpp", "B03 step, C++", "us", 1e6, "feeds_1", fixed(0.1e-6)),
    Row("b03_cpp_10", "B03 10 feeds, C++", "us", 1e6, "feeds_10", None),
    Row("b03_cpp_100", "B03 100 feeds, C++", "us", 1e6, "feeds_100", None),
    Row("b03_run", "B03 step, Session.run", "us", 1e6, "python", fixed(0.18e-6)),
    Row("b03_callable", "B03 step, callable", "us", 1e6, "python", fixed(0.18e-6)),
    Row("b03_callable_10", "B03 10 feeds, callable", "us", 1e6, "python", fixed(0.7e-6)),
    Row("b03_run_100", "B03 100 feeds, Session.run", "us", 1e6, "python", fixed(5.8e-6)),
    Row("b03_callable_100", "B03 100 feeds, callable", "us", 1e6, "python", fixed(5.8e-6)),
    Row("b05_scalars", "B05a loop of scalars", "ns", 1e9, "python", fixed(2e-9)),
    Row("b05_cell", "B05b loop of h = tanh(W h + b)", "ns", 1e9, "python", lambda m, t: 8192 / (1e9 * m.peak(1)) + 15e-9),
    Row("b06_16", "B06 matmul 16", "us", 1e6 / 100, "python", lambda m, t: 100 * matmul(16, 16, 16)(m, 1)),
    Row("b06_32", "B06 matmul 32", "us", 1e6 / 100, "python", lambda m, t: 100 * matmul(32, 32, 32)(m, 1)),
    Row("b06_64", "B06 matmul 64", "us", 1e6 / 100, "python", lambda m, t: 100 * matmul(64, 64, 64)(m, 1)),
    Row("b06_row", "B06 matmul 1 x 1024 x 1024", "us", 1e6, "python", matmul(1, 1024, 1024)),
    Row("b06_skinny", "B06 matmul 32 x 1024 x 1024", "us", 1e6, "python", matmul(32, 1024, 1024)),
    Row("b06_1024", "B06 matmul 1024", "ms", 1e3, "python", matmul(1024, 1024, 1024)),
    Row("b06_2048", "B06 matmul 2048", "ms", 1e3, "python", matmul(2048, 2048, 2048)),
    Row("b06_bf16", "B06 matmul 1024, bfloat16", "ms", 1e3, "python", matmul(1024, 1024, 1024, 2)),
    Row("b07", "B07 MLP training step", "us", 1e6, "python", flops(64.5e6)),
    Row("b08", "B08 LeNet training step", "ms", 1e3, "python", flops(2.3e9)),
    Row("b13_chain", "B13a ten ops on 64 Ki floats", "us", 1e6, "python", copied(1 << 16, 2)),
    Row("b13_chain_large", "B13a ten ops on 16 Mi floats", "ms", 1e3, "python", copied(1 << 24, 2)),
    Row("b13_norm", "B13b layer norm + residual 4096 x 768", "ms", 1e3, "python", copied(4096 * 768, 3)),
    Row("b13_softmax", "B13c softmax 512 x 512", "us", 1e6, "python", copied(512 * 512, 2)),
    Row("b13_softmax_wide", "B13c softmax 32 x 32000", "ms", 1e3, "python", copied(32 * 32000, 2)),
    Row("b13_gelu", "B13d GELU of x + bias 512 x 3072", "ms", 1e3, "python", copied(512 * 3072, 2)),
    Row("b13_cold", "B13a 64 Ki, first step of a new program", "ms", 1e3, "python", None, 3),
    Row("b21", "B21 memory of B08 training, weights left out", "MB", 1e-6, "python", None, 1, True),
    Row("b24_build", "B24 building a graph of 10,000 nodes", "ms", 1e3, "python", None, 3),
    Row("b24_first", "B24 its plan and first step", "ms", 1e3, "python", None, 3),
    Row("build_graph", "building a graph", "us/op", 1e6 / 201, "python", None),
]

ABSENT = [
    ("B05c", "loops as frames: there is no executor for Enter, Exit and NextIteration"),
    ("B14", "input pipeline: there is none yet"),
    ("B01 to B06, TBB, Taskflow, ONNX Runtime, OpenBLAS", "they are not in the environment of peers"),
]
