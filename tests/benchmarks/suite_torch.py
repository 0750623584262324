import time

import numpy as np
import torch
import torch.nn.functional as F

import models


class _Functions:
    """NumPy's names of what models.chain calls."""

    abs = staticmethod(torch.abs)
    maximum = staticmethod(lambda x, low: torch.clamp_min(x, low))
    minimum = staticmethod(lambda x, high: torch.clamp_max(x, high))


class Suite:
    def __init__(self, threads, compiled=False):
        self.version = torch.__version__
        torch.set_num_threads(threads)
        self.wrap = torch.compile if compiled else lambda f: f

    def b02(self):
        x = torch.ones(())
        return lambda: models.adds(x, torch.add), lambda: [float(models.adds(x, torch.add))], 1000

    b02_unfused = b02

    def _feeds(self, n):
        xs = [np.ones(1, np.float32)] * n
        if n == 1:
            step = lambda: (torch.from_numpy(xs[0]) + 1).numpy()  # noqa: E731
        else:
            step = lambda: sum(torch.from_numpy(x) for x in xs).numpy()  # noqa: E731
        return step, lambda: [float(step()[0])]

    def b03_callable(self):
        return self._feeds(1)

    def b03_callable_10(self):
        return self._feeds(10)

    def b03_callable_100(self):
        return self._feeds(100)

    def b05_scalars(self):
        n, x = 100000, torch.tensor(1e-4)

        def step():
            i, s = torch.tensor(0.0), torch.tensor(0.0)
            while i < n:
                i, s = i + 1.0, s + i * x
            return s
        return step, lambda: [float(step())], n

    def b05_cell(self):
        n, (w, b, h) = 1000, (torch.from_numpy(a) for a in models.cell())

        def step():
            y = h
            for _ in range(n):
                y = torch.tanh(w @ y + b)
            return y
        return step, lambda: step()[:, 0].tolist(), n

    def _gemm(self, m, n, k, repeat=1, dtype=torch.float32):
        a, b = (torch.from_numpy(x).to(dtype) for x in models.matrices(m, n, k))

        def step():
            c = a
            for _ in range(repeat):
                c = torch.mm(c, b)
            return c
        return step, (lambda: models.sample(step().float().numpy())) if repeat == 1 else None

    def b06_16(self):
        return self._gemm(16, 16, 16, 100)

    def b06_32(self):
        return self._gemm(32, 32, 32, 100)

    def b06_64(self):
        return self._gemm(64, 64, 64, 100)

    def b06_row(self):
        return self._gemm(1, 1024, 1024)

    def b06_skinny(self):
        return self._gemm(32, 1024, 1024)

    def b06_1024(self):
        return self._gemm(1024, 1024, 1024)

    def b06_2048(self):
        return self._gemm(2048, 2048, 2048)

    def b06_bf16(self):
        return self._gemm(1024, 1024, 1024, dtype=torch.bfloat16)

    def _train(self, optimizer, forward, data):
        weights, biases, x, y = data
        w = [torch.tensor(v, requires_grad=True) for v in weights]
        b = [torch.tensor(v, requires_grad=True) for v in biases]
        opt = optimizer(w + b)
        network = self.wrap(lambda x, y: F.cross_entropy(forward(x, w, b), y))

        def step():
            opt.zero_grad()
            loss = network(torch.from_numpy(x), torch.from_numpy(y).long())
            loss.backward()
            opt.step()
            return loss.item()
        losses = [step() for _ in range(3)]
        return step, lambda: losses

    def b07(self):
        def forward(h, w, b):
            for i in range(3):
                h = torch.addmm(b[i], h, w[i])
                if i < 2:
                    h = torch.relu(h)
            return h
        return self._train(lambda p: torch.optim.SGD(p, 0.1), forward, models.mlp())

    def b08(self):
        weights, biases, x, y = models.lenet()
        data = ([np.ascontiguousarray(w.transpose(3, 2, 0, 1)) if w.ndim == 4 else w for w in weights], biases,
                np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y)

        def forward(h, w, b):
            h = h.to(memory_format=torch.channels_last)
            for i in range(2):
                h = F.max_pool2d(torch.relu(F.conv2d(h, w[i], b[i], padding=2)), 2)
            h = h.permute(0, 2, 3, 1).reshape(32, 3136)
            return torch.addmm(b[3], torch.relu(torch.addmm(b[2], h, w[2])), w[3])
        return self._train(lambda p: torch.optim.Adam(p, 1e-3, eps=1e-8), forward, data)

    def _rows(self, arrays, compute):
        inputs = [torch.from_numpy(a) for a in arrays]
        f = self.wrap(compute)

        def step():
            with torch.no_grad():
                return f(*inputs)
        return step, lambda: models.sample(step().numpy())

    def b13_chain(self):
        return self._rows([models.floats(1 << 16)], lambda x: models.chain(_Functions, x))

    def b13_chain_large(self):
        return self._rows([models.floats(1 << 24)], lambda x: models.chain(_Functions, x))

    def b13_norm(self):
        return self._rows(models.norm(), lambda x, r, gain, bias: F.layer_norm(x + r, (768,), gain, bias))

    def b13_softmax(self):
        return self._rows([models.floats(512, 512)], lambda x: torch.softmax(x, 1))

    def b13_softmax_wide(self):
        return self._rows([models.floats(32, 32000)], lambda x: torch.softmax(x, 1))

    def b13_gelu(self):
        return self._rows([models.floats(512, 3072), models.floats(3072)], lambda x, b: F.gelu(x + b, approximate="tanh"))

    def cold_compilation(self):
        x = torch.from_numpy(models.floats(1 << 16))

        def seconds():
            torch._dynamo.reset()
            start = time.perf_counter()
            torch.compile(lambda x: models.chain(_Functions, x))(x)
            return time.perf_counter() - start
        return seconds, None, "measured"

    def b21(self):
        return lambda: models.grown(self.b08), None, "measured"


def make(threads):
    return Suite(threads)
