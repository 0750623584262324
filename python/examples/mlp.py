"""A network of two hidden layers, written with variables and matrix products, learns to tell two spirals apart."""
import numpy as np

import sluice as sl


def spirals(count, seed):
    """Points on two intertwined spirals, and which spiral each is on."""
    random = np.random.RandomState(seed)
    labels = random.randint(0, 2, count)
    turn = random.uniform(0.5, 3.5, count) * np.pi
    points = np.stack([turn * np.cos(turn + np.pi * labels), turn * np.sin(turn + np.pi * labels)], 1) / 10
    return (points + random.normal(0, 0.02, points.shape)).astype(np.float32), labels.astype(np.int32)


def layer(x, size, name, activation=None):
    """activation(x . weights + bias)."""
    with sl.variable_scope(name):
        weights = sl.get_variable("weights", [x.shape.as_list()[1], size])
        bias = sl.get_variable("bias", [size], initializer=sl.zeros_initializer())
        y = sl.matmul(x, weights) + bias
        return activation(y) if activation else y


sl.set_random_seed(1)
points = sl.placeholder(sl.float32, [None, 2])
labels = sl.placeholder(sl.int32, [None])
hidden = layer(layer(points, 32, "hidden1", sl.tanh), 32, "hidden2", sl.tanh)
logits = layer(hidden, 2, "logits")
loss = sl.reduce_mean(sl.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
accuracy = sl.reduce_mean(sl.cast(sl.nn.in_top_k(logits, labels, 1), sl.float32))
train = sl.train.AdamOptimizer(0.01).minimize(loss)

with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    train_points, train_labels = spirals(1000, seed=0)
    for step in sl.progress(range(600), label="training", unit="steps"):
        session.run(train, {points: train_points, labels: train_labels})
    test_points, test_labels = spirals(1000, seed=1)
    print("test accuracy: %.3f" % session.run(accuracy, {points: test_points, labels: test_labels}))
