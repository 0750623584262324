import numpy as np
import torch
import torch.nn.functional as F

import models


class Suite:
    def __init__(self, threads):
        self.version = torch.__version__
        torch.set_num_threads(threads)

    def b03_callable(self):
        x = np.ones(1, np.float32)
        step = lambda: (torch.from_numpy(x) + 1).numpy()  # noqa: E731
        return step, lambda: float(step()[0])

    def b03_callable_100(self):
        xs = [np.ones(1, np.float32)] * 100
        step = lambda: sum(torch.from_numpy(x) for x in xs).numpy()  # noqa: E731
        return step, lambda: float(step()[0])

    def _gemm(self, n, repeat=1):
        a, b = (torch.from_numpy(m) for m in models.matrices(n))

        def step():
            c = a
            for _ in range(repeat):
                c = torch.mm(c, b)
            return c
        return step, (lambda: float(step().sum())) if repeat == 1 else None

    def b06_16(self):
        return self._gemm(16, 100)

    def b06_32(self):
        return self._gemm(32, 100)

    def b06_64(self):
        return self._gemm(64, 100)

    def b06_1024(self):
        return self._gemm(1024)

    def b06_2048(self):
        return self._gemm(2048)

    def _train(self, optimizer, forward, data):
        weights, biases, x, y = data
        w = [torch.tensor(v, requires_grad=True) for v in weights]
        b = [torch.tensor(v, requires_grad=True) for v in biases]
        opt = optimizer(w + b)

        def loss_of():
            return F.cross_entropy(forward(torch.from_numpy(x), w, b), torch.from_numpy(y).long())

        first = float(loss_of())

        def step():
            opt.zero_grad()
            loss = loss_of()
            loss.backward()
            opt.step()
            return loss.item()
        return step, lambda: first

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


def make(threads):
    return Suite(threads)
