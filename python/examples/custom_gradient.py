"""A gradient of your own: rounding trained through by treating it as the identity (the straight-through estimator)."""
import numpy as np

import sluice as sl


@sl.RegisterGradient("StraightThrough")
def straight_through(op, gradient):
    """The gradient passes unchanged, where the true one is zero everywhere."""
    return gradient


def quantise(x):
    """x rounded to eighths."""
    with sl.get_default_graph().gradient_override_map({"Round": "StraightThrough"}):
        return sl.round(x * 8) / 8


target = np.array([0.31, -0.62, 0.9], np.float32)
weights = sl.Variable(np.zeros(3, np.float32), name="weights")
loss = sl.reduce_sum(sl.square(quantise(weights) - target))
train = sl.train.GradientDescentOptimizer(0.1).minimize(loss)

with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    for step in range(60):
        session.run(train)
    print("target     %s" % target)
    print("quantised  %s" % session.run(quantise(weights)))
