"""The benchmarks as a tf.compat.v1 program: Sluice and TensorFlow run the same lines."""

import time

import numpy as np

import models


class Suite:
    def __init__(self, tf, version, threads):
        self.tf, self.version, self.threads = tf, version, threads
        self.config = self._config()

    def _config(self, passes=True):
        tf = self.tf
        config = tf.ConfigProto(intra_op_parallelism_threads=self.threads, inter_op_parallelism_threads=self.threads)
        if not passes:
            config.graph_options.optimizer_options.opt_level = -1
            config.graph_options.rewrite_options.disable_meta_optimizer = True
        return config

    def _session(self, passes=True):
        graph = self.tf.Graph()
        return graph, self.tf.Session(graph=graph, config=self._config(passes))

    # B01: 10,000 nodes that do nothing. Sluice's figures come from step_benchmark: its plans leave such nodes out.
    def _nulls(self, before):
        tf = self.tf
        graph, session = self._session(passes=False)
        with graph.as_default():
            nodes = []
            for i in range(10000):
                with tf.control_dependencies([nodes[k] for k in before(i)]):
                    nodes.append(tf.no_op())
            with tf.control_dependencies(nodes):
                last = tf.no_op()
        call = session.make_callable(last)
        return call, None, 10000

    def b01_chain(self):
        return self._nulls(lambda i: [i - 1] if i else [])

    def b01_layers(self):
        random = np.random.default_rng(1)
        return self._nulls(lambda i: (i // 100 - 1) * 100 + random.choice(100, 2, replace=False) if i >= 100 else [])

    b01_dataflow = b01_layers

    def b01_independent(self):
        return self._nulls(lambda i: [])

    # B02: 512 x summed up in a tree, then more of x: 1,000 additions.
    def _adds(self, passes):
        tf = self.tf
        graph, session = self._session(passes)
        with graph.as_default():
            x = tf.placeholder(tf.float32, [])
            y = models.adds(x, tf.add)
        call, one = session.make_callable(y, [x]), np.float32(1)
        return lambda: call(one), lambda: [float(call(one))], 1000

    def b02(self):
        return self._adds(True)

    def b02_unfused(self):
        return self._adds(False)

    # B03: y = x + 1 for n feeds of one float.
    def _feeds(self, n, how):
        tf = self.tf
        graph, session = self._session()
        with graph.as_default():
            xs = [tf.placeholder(tf.float32, [1]) for _ in range(n)]
            y = xs[0] + 1.0 if n == 1 else tf.add_n(xs)
        values = [np.ones(1, np.float32)] * n
        if how == "callable":
            call = session.make_callable(y, xs)
            return lambda: call(*values), lambda: [float(call(*values)[0])]
        feed = dict(zip(xs, values))
        return lambda: session.run(y, feed), lambda: [float(session.run(y, feed)[0])]

    def b03_run(self):
        return self._feeds(1, "run")

    def b03_callable(self):
        return self._feeds(1, "callable")

    def b03_callable_10(self):
        return self._feeds(10, "callable")

    def b03_run_100(self):
        return self._feeds(100, "run")

    def b03_callable_100(self):
        return self._feeds(100, "callable")

    # B05: loops.
    def b05_scalars(self):
        tf, n = self.tf, 100000
        graph, session = self._session()
        with graph.as_default():
            x = tf.placeholder(tf.float32, [])
            _, total = tf.while_loop(lambda i, s: i < n, lambda i, s: (i + 1.0, s + i * x), [0.0, 0.0])
        call, value = session.make_callable(total, [x]), np.float32(1e-4)
        return lambda: call(value), lambda: [float(call(value))], n

    def b05_cell(self):
        tf, n = self.tf, 1000
        graph, session = self._session()
        w, b, h = models.cell()
        with graph.as_default():
            vw, vb, vh = tf.Variable(w), tf.Variable(b), tf.Variable(h)
            _, last = tf.while_loop(lambda i, h: i < n, lambda i, h: (i + 1, tf.tanh(tf.matmul(vw, h) + vb)), [0, vh])
            session.run(tf.global_variables_initializer())
        call = session.make_callable(last)
        return call, lambda: call()[:, 0].tolist(), n

    # B06: matrix products on variables, so that nothing is folded.
    def _gemm(self, m, n, k, repeat=1, dtype=None):
        tf = self.tf
        graph, session = self._session()
        a, b = models.matrices(m, n, k)
        with graph.as_default():
            va, vb = (tf.Variable(x if dtype is None else tf.cast(x, dtype)) for x in (a, b))
            product = tf.matmul(va, vb)
            for _ in range(repeat - 1):  # a chain, of which nothing can be left out
                product = tf.matmul(product, vb)
            shown = tf.cast(product, tf.float32)
            session.run(tf.global_variables_initializer())
        check = (lambda: models.sample(session.run(shown))) if repeat == 1 else None
        return session.make_callable(product.op), check

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
        return self._gemm(1024, 1024, 1024, dtype=self.tf.bfloat16)

    def _train(self, optimizer, forward, data, check=True):
        tf = self.tf
        graph, session = self._session()
        weights, biases, x, y = data
        with graph.as_default():
            px = tf.placeholder(tf.float32, x.shape)
            py = tf.placeholder(tf.int32, y.shape)
            w = [tf.Variable(v) for v in weights]
            b = [tf.Variable(v) for v in biases]
            logits = forward(tf, px, w, b)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=py, logits=logits))
            train = optimizer(tf).minimize(loss)
            session.run(tf.global_variables_initializer())
            losses = []
            for _ in range(3 if check else 0):
                losses.append(float(session.run(loss, {px: x, py: y})))
                session.run(train, {px: x, py: y})
        self.explain = lambda: session.explain_plan([loss, train], [px, py])
        call = session.make_callable([loss, train], [px, py])
        return lambda: call(x, y), lambda: losses

    def b07(self):
        def forward(tf, h, w, b):
            for i in range(3):
                h = tf.nn.bias_add(tf.matmul(h, w[i]), b[i])
                if i < 2:
                    h = tf.nn.relu(h)
            return h
        return self._train(lambda tf: tf.train.GradientDescentOptimizer(0.1), forward, models.mlp())

    def b08(self, check=True):
        def forward(tf, h, w, b):
            for i in range(2):
                h = tf.nn.conv2d(h, w[i], strides=[1, 1, 1, 1], padding="SAME")
                h = tf.nn.relu(tf.nn.bias_add(h, b[i]))
                h = tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
            h = tf.reshape(h, [32, 3136])
            h = tf.nn.relu(tf.nn.bias_add(tf.matmul(h, w[2]), b[2]))
            return tf.nn.bias_add(tf.matmul(h, w[3]), b[3])
        return self._train(lambda tf: tf.train.AdamOptimizer(1e-3), forward, models.lenet(), check)

    # B13: element-wise chains, rows. The input is a variable; the result stays where it is.
    def _rows(self, arrays, compute):
        tf = self.tf
        graph, session = self._session()
        with graph.as_default():
            y = compute(tf, *[tf.Variable(a) for a in arrays])
            session.run(tf.global_variables_initializer())
        return session.make_callable(y.op), lambda: models.sample(session.run(y))

    def b13_chain(self):
        return self._rows([models.floats(1 << 16)], models.chain)

    def b13_chain_large(self):
        return self._rows([models.floats(1 << 24)], models.chain)

    def b13_norm(self):
        def norm(tf, x, r, gain, bias):
            h = x + r
            mean = tf.reduce_mean(h, axis=1, keepdims=True)
            centred = h - mean
            variance = tf.reduce_mean(tf.square(centred), axis=1, keepdims=True)
            return centred * tf.rsqrt(variance + 1e-5) * gain + bias
        return self._rows(models.norm(), norm)

    def b13_softmax(self):
        return self._rows([models.floats(512, 512)], lambda tf, x: tf.nn.softmax(x))

    def b13_softmax_wide(self):
        return self._rows([models.floats(32, 32000)], lambda tf, x: tf.nn.softmax(x))

    def b13_gelu(self):
        def gelu(tf, x, bias):
            h = x + bias
            return 0.5 * h * (1.0 + tf.tanh(0.7978845608 * (h + 0.044715 * h * h * h)))
        return self._rows([models.floats(512, 3072), models.floats(3072)], gelu)

    def b13_cold(self):
        x = models.floats(1 << 16)

        def seconds():
            start = time.perf_counter()
            graph, session = self._session()
            with graph.as_default():
                px = self.tf.placeholder(self.tf.float32, x.shape)
                y = models.chain(self.tf, px)
            session.run(y, {px: x})
            session.close()
            return time.perf_counter() - start
        return seconds, None, "measured"

    # B21: what the process grows by in steps of B08, in a fresh process.
    def b21(self):
        graph, session = self._session()
        with graph.as_default():
            session.run(self.tf.constant(1.0))  # what is loaded when first used is loaded
        session.close()
        # The graph holds the initial values. Steps that only show losses would have plans with memory of their own.
        return lambda: models.grown(lambda: self.b08(check=False), copies=4), None, "measured"

    def b21_bound(self):
        """The bytes of a step that are alive at once at the worst moment, as the plan says."""
        import re
        self.b08()
        return sum(int(n) for n in re.findall(r"lower bound (\d+)", self.explain()))

    # B24: a transformer of 23 small layers, whose nodes count and not its work: 9,936 in Sluice; TensorFlow makes more of it.
    def _transformer(self):
        tf, width, length = self.tf, 16, 4
        x = tf.placeholder(tf.float32, [length, width])

        def dense(h, n, name):
            w = tf.get_variable(name + "/w", [h.shape[1], n])
            return tf.nn.bias_add(tf.matmul(h, w), tf.get_variable(name + "/b", [n], initializer=tf.zeros_initializer()))

        def norm(h, name):
            mean = tf.reduce_mean(h, axis=1, keepdims=True)
            variance = tf.reduce_mean(tf.square(h - mean), axis=1, keepdims=True)
            return (h - mean) * tf.rsqrt(variance + 1e-5) * tf.get_variable(name + "/gain", [width], initializer=tf.ones_initializer())

        h = x
        for i in range(23):
            with tf.variable_scope("layer%d" % i):
                a = norm(h, "norm1")
                q, k, v = (dense(a, width, name) for name in "qkv")
                weights = tf.nn.softmax(tf.matmul(q, k, transpose_b=True) * 0.25)
                h = h + dense(tf.matmul(weights, v), width, "out")
                a = norm(h, "norm2")
                a = dense(a, 2 * width, "up")
                h = h + dense(0.5 * a * (1.0 + tf.tanh(0.79788 * (a + 0.044715 * a * a * a))), width, "down")
        loss = tf.reduce_mean(tf.square(h))
        return x, loss, tf.train.AdamOptimizer(1e-3).minimize(loss)

    def b24_build(self):
        def seconds():
            with self.tf.Graph().as_default():
                start = time.perf_counter()
                self._transformer()
                return time.perf_counter() - start
        return seconds, None, "measured"

    def b24_first(self):
        def seconds():
            graph, session = self._session()
            with graph.as_default():
                x, loss, train = self._transformer()
                session.run(self.tf.global_variables_initializer())
                value = np.ones(x.shape.as_list(), np.float32)
                start = time.perf_counter()
                session.run([loss, train], {x: value})
                taken = time.perf_counter() - start
            session.close()
            return taken
        return seconds, None, "measured"

    # Building a graph in Python: seconds for each op.
    def build_graph(self):
        tf = self.tf

        def step():
            with tf.Graph().as_default():
                x = tf.placeholder(tf.float32, [32, 64])
                for _ in range(200):
                    x = tf.nn.relu(x)
        return step, None
