"""The benchmarks as a tf.compat.v1 program: Sluice and TensorFlow run the same lines."""

import numpy as np

import models


class Suite:
    def __init__(self, tf, version, threads):
        self.tf, self.version = tf, version
        self.config = tf.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)

    def _session(self):
        graph = self.tf.Graph()
        return graph, self.tf.Session(graph=graph, config=self.config)

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
            return lambda: call(*values), lambda: float(call(*values)[0])
        feed = dict(zip(xs, values))
        return lambda: session.run(y, feed), lambda: float(session.run(y, feed)[0])

    def b03_run(self):
        return self._feeds(1, "run")

    def b03_callable(self):
        return self._feeds(1, "callable")

    def b03_run_100(self):
        return self._feeds(100, "run")

    def b03_callable_100(self):
        return self._feeds(100, "callable")

    # B06: matrix products on variables, so that nothing is folded.
    def _gemm(self, n, repeat=1):
        tf = self.tf
        graph, session = self._session()
        a, b = models.matrices(n)
        with graph.as_default():
            va, vb = tf.Variable(a), tf.Variable(b)
            product = tf.matmul(va, vb)
            for _ in range(repeat - 1):  # a chain, of which nothing can be left out
                product = tf.matmul(product, vb)
            session.run(tf.global_variables_initializer())
        check = (lambda: float(np.sum(session.run(product)))) if repeat == 1 else None
        return session.make_callable(product.op), check

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
            first = float(session.run(loss, {px: x, py: y}))
        call = session.make_callable([loss, train], [px, py])
        return lambda: call(x, y), lambda: first

    def b07(self):
        def forward(tf, h, w, b):
            for i in range(3):
                h = tf.nn.bias_add(tf.matmul(h, w[i]), b[i])
                if i < 2:
                    h = tf.nn.relu(h)
            return h
        return self._train(lambda tf: tf.train.GradientDescentOptimizer(0.1), forward, models.mlp())

    def b08(self):
        def forward(tf, h, w, b):
            for i in range(2):
                h = tf.nn.conv2d(h, w[i], strides=[1, 1, 1, 1], padding="SAME")
                h = tf.nn.relu(tf.nn.bias_add(h, b[i]))
                h = tf.nn.max_pool(h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")
            h = tf.reshape(h, [32, 3136])
            h = tf.nn.relu(tf.nn.bias_add(tf.matmul(h, w[2]), b[2]))
            return tf.nn.bias_add(tf.matmul(h, w[3]), b[3])
        return self._train(lambda tf: tf.train.AdamOptimizer(1e-3), forward, models.lenet())

    # Building a graph in Python: seconds for each op.
    def build_graph(self):
        tf = self.tf

        def step():
            with tf.Graph().as_default():
                x = tf.placeholder(tf.float32, [32, 64])
                for _ in range(200):
                    x = tf.nn.relu(x)
        return step, None
