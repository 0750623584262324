import os
import sys
import time

if len(sys.argv) > 2 and sys.argv[2] == "1":
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import models  # noqa: E402


class Suite:
    version = jax.__version__

    def b02(self):
        f = jax.jit(lambda x: models.adds(x, jnp.add))
        x = np.float32(1)
        return lambda: f(x).block_until_ready(), lambda: [float(f(x))], 1000

    b02_unfused = b02

    def _feeds(self, n):
        f = jax.jit(lambda x: x + 1) if n == 1 else jax.jit(lambda *xs: sum(xs))
        xs = [np.ones(1, np.float32)] * n
        return lambda: np.asarray(f(*xs)), lambda: [float(f(*xs)[0])]

    def b03_callable(self):
        return self._feeds(1)

    def b03_callable_10(self):
        return self._feeds(10)

    def b03_callable_100(self):
        return self._feeds(100)

    def b05_scalars(self):
        n = 100000
        f = jax.jit(lambda x: jax.lax.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1.0, c[1] + c[0] * x), (0.0, 0.0))[1])
        x = np.float32(1e-4)
        return lambda: f(x).block_until_ready(), lambda: [float(f(x))], n

    def b05_cell(self):
        n, (w, b, h) = 1000, (jnp.asarray(a) for a in models.cell())
        f = jax.jit(lambda w, b, h: jax.lax.fori_loop(0, n, lambda i, h: jnp.tanh(w @ h + b), h))
        return lambda: f(w, b, h).block_until_ready(), lambda: np.asarray(f(w, b, h))[:, 0].tolist(), n

    def _gemm(self, m, n, k, repeat=1, dtype=jnp.float32):
        a, b = (jnp.asarray(x, dtype) for x in models.matrices(m, n, k))
        f = jax.jit(jnp.matmul)

        def step():
            c = a
            for _ in range(repeat):
                c = f(c, b)
            return c.block_until_ready()
        return step, (lambda: models.sample(step())) if repeat == 1 else None

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
        return self._gemm(1024, 1024, 1024, dtype=jnp.bfloat16)

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

        def update(params, x, y):
            value, grads = jax.value_and_grad(loss)(params, x, y)
            return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, params, grads), value
        update = jax.jit(update, donate_argnums=0)

        state = [jax.tree_util.tree_map(jnp.asarray, (weights, biases))]

        def step():
            state[0], value = update(state[0], x, y)
            return float(value)
        losses = [step() for _ in range(3)]
        return step, lambda: losses

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

        def update(params, m, v, t, x, y):
            value, grads = jax.value_and_grad(loss)(params, x, y)
            rate = 1e-3 * jnp.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t)
            m = jax.tree_util.tree_map(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
            v = jax.tree_util.tree_map(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
            params = jax.tree_util.tree_map(lambda p, a, s: p - rate * a / (jnp.sqrt(s) + 1e-8), params, m, v)
            return params, m, v, value
        update = jax.jit(update, donate_argnums=(0, 1, 2))

        params = jax.tree_util.tree_map(jnp.asarray, (weights, biases))
        state = [params, jax.tree_util.tree_map(jnp.zeros_like, params), jax.tree_util.tree_map(jnp.zeros_like, params), 0.0]

        def step():
            state[3] += 1.0
            state[0], state[1], state[2], value = update(state[0], state[1], state[2], state[3], x, y)
            return float(value)
        losses = [step() for _ in range(3)]
        return step, lambda: losses

    def _rows(self, arrays, compute):
        inputs = [jnp.asarray(a) for a in arrays]
        f = jax.jit(compute)
        return lambda: f(*inputs).block_until_ready(), lambda: models.sample(f(*inputs))

    def b13_chain(self):
        return self._rows([models.floats(1 << 16)], lambda x: models.chain(jnp, x))

    def b13_chain_large(self):
        return self._rows([models.floats(1 << 24)], lambda x: models.chain(jnp, x))

    def b13_norm(self):
        def norm(x, r, gain, bias):
            h = x + r
            centred = h - h.mean(1, keepdims=True)
            return centred * jax.lax.rsqrt((centred * centred).mean(1, keepdims=True) + 1e-5) * gain + bias
        return self._rows(models.norm(), norm)

    def b13_softmax(self):
        return self._rows([models.floats(512, 512)], jax.nn.softmax)

    def b13_softmax_wide(self):
        return self._rows([models.floats(32, 32000)], jax.nn.softmax)

    def b13_gelu(self):
        return self._rows([models.floats(512, 3072), models.floats(3072)], lambda x, b: jax.nn.gelu(x + b, approximate=True))

    def b13_cold(self):
        x = models.floats(1 << 16)

        def seconds():
            jax.clear_caches()
            start = time.perf_counter()
            jax.jit(lambda x: models.chain(jnp, x))(x).block_until_ready()
            return time.perf_counter() - start
        return seconds, None, "measured"

    def b21(self):
        return lambda: models.grown(self.b08), None, "measured"


def make(threads):
    return Suite()
