import os
import sys

if len(sys.argv) > 2 and sys.argv[2] == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import models  # noqa: E402


class Suite:
    version = jax.__version__

    def b03_callable(self):
        f = jax.jit(lambda x: x + 1)
        x = np.ones(1, np.float32)
        return lambda: np.asarray(f(x)), lambda: float(f(x)[0])

    def b03_callable_100(self):
        f = jax.jit(lambda *xs: sum(xs))
        xs = [np.ones(1, np.float32)] * 100
        return lambda: np.asarray(f(*xs)), lambda: float(f(*xs)[0])

    def _gemm(self, n, repeat=1):
        a, b = (jnp.asarray(m) for m in models.matrices(n))
        f = jax.jit(jnp.matmul)

        def step():
            c = a
            for _ in range(repeat):
                c = f(c, b)
            return c.block_until_ready()
        return step, (lambda: float(np.sum(np.asarray(step())))) if repeat == 1 else None

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

    def _loss(self, forward):
        def loss(params, x, y):
            logits = forward(x, *params)
            return jnp.mean(jax.nn.logsumexp(logits, 1) - jnp.take_along_axis(logits, y[:, None], 1)[:, 0])
        return loss

    def b07(self):
        weights, biases, x, y = models.mlp()

        def forward(h, w, b):
            for i in range(3):
                h = h @ w[i] + b[i]
                if i < 2:
                    h = jax.nn.relu(h)
            return h
        loss = self._loss(forward)

        @jax.jit
        def update(params, x, y):
            value, grads = jax.value_and_grad(loss)(params, x, y)
            return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, grads), value

        state = [jax.tree_util.tree_map(jnp.asarray, (weights, biases))]
        first = float(loss(state[0], x, y))

        def step():
            state[0], value = update(state[0], x, y)
            return float(value)
        return step, lambda: first

    def b08(self):
        weights, biases, x, y = models.lenet()

        def forward(h, w, b):
            for i in range(2):
                h = jax.lax.conv_general_dilated(h, w[i], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
                h = jax.nn.relu(h + b[i])
                h = jax.lax.reduce_window(h, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
            h = jax.nn.relu(h.reshape(32, 3136) @ w[2] + b[2])
            return h @ w[3] + b[3]
        loss = self._loss(forward)

        @jax.jit
        def update(params, m, v, t, x, y):
            value, grads = jax.value_and_grad(loss)(params, x, y)
            rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
            m = jax.tree_util.tree_map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
            v = jax.tree_util.tree_map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
            params = jax.tree_util.tree_map(lambda p, a, s: p - rate * a / (jnp.sqrt(s) + 1e-8), params, m, v)
            return params, m, v, value

        params = jax.tree_util.tree_map(jnp.asarray, (weights, biases))
        zeros = jax.tree_util.tree_map(jnp.zeros_like, params)
        state = [params, zeros, zeros, 0.0]
        first = float(loss(params, x, y))

        def step():
            state[3] += 1.0
            state[0], state[1], state[2], value = update(state[0], state[1], state[2], state[3], x, y)
            return float(value)
        return step, lambda: first


def make(threads):
    return Suite()
