"""What is worth compiling with torch.compile: networks, chains and rows."""

import suite_torch


class Suite:
    def __init__(self, threads):
        suite = suite_torch.Suite(threads, compiled=True)
        self.version = suite.version
        for name in ("b07", "b08", "b13_chain", "b13_chain_large", "b13_norm", "b13_softmax", "b13_softmax_wide", "b13_gelu"):
            setattr(self, name, getattr(suite, name))
        self.b13_cold = suite.cold_compilation


def make(threads):
    return Suite(threads)
