"""The smallest training program: finds the line behind noisy points."""
import numpy as np

import sluice as sl

random = np.random.RandomState(0)
xs = random.uniform(-1, 1, [200]).astype(np.float32)
ys = (3 * xs + 2 + random.normal(0, 0.1, xs.shape)).astype(np.float32)

x = sl.placeholder(sl.float32, [None], name="x")
y = sl.placeholder(sl.float32, [None], name="y")
slope = sl.Variable(0.0, name="slope")
offset = sl.Variable(0.0, name="offset")
loss = sl.reduce_mean(sl.square(slope * x + offset - y))
train = sl.train.GradientDescentOptimizer(0.3).minimize(loss)

with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    for step in range(100):
        session.run(train, {x: xs, y: ys})
    found = session.run([slope, offset, loss], {x: xs, y: ys})
print("y = %.2f x + %.2f   (mean squared error %.4f; the points came from y = 3 x + 2)" % tuple(found))
