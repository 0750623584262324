"""Sparse gradients: word vectors (skip-gram with negative samples) from a text on this machine.

A step looks up a few rows of the embedding table, so its gradient is a few rows too (IndexedSlices), and the optimiser
touches those rows only. The size of the table does not matter to the time of a step.
"""
import argparse
import collections
import re

import numpy as np

import sluice as sl

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--text", default="/usr/share/common-licenses/GPL-3", help="a text file")
parser.add_argument("--steps", type=int, default=3000)
options = parser.parse_args()

with open(options.text, encoding="utf-8") as f:
    words = re.findall(r"[a-z]+", f.read().lower())
counts = collections.Counter(words)
vocabulary = [word for word, n in counts.most_common() if n >= 3]
number = {word: i for i, word in enumerate(vocabulary)}
text = np.array([number[word] for word in words if word in number])
frequency = np.array([counts[word] for word in vocabulary], np.float64) ** 0.75
frequency /= frequency.sum()

SIZE, BATCH, WINDOW, NOISE = 64, 256, 3, 8
sl.set_random_seed(1)
centre = sl.placeholder(sl.int32, [None])
context = sl.placeholder(sl.int32, [None])
noise = sl.placeholder(sl.int32, [None, NOISE])
table = sl.get_variable("embedding", [len(vocabulary), SIZE], initializer=sl.random_uniform_initializer(-0.5, 0.5))
output = sl.get_variable("output", [len(vocabulary), SIZE], initializer=sl.zeros_initializer())
vector = sl.nn.embedding_lookup(table, centre)
good = sl.reduce_sum(vector * sl.nn.embedding_lookup(output, context), 1)
bad = sl.reduce_sum(sl.expand_dims(vector, 1) * sl.nn.embedding_lookup(output, noise), 2)
loss = sl.reduce_mean(sl.nn.softplus(-good)) + sl.reduce_mean(sl.reduce_sum(sl.nn.softplus(bad), 1))
gradient, = sl.gradients(loss, [table])
print("the gradient of the table is an %s" % type(gradient).__name__)
train = sl.train.AdagradOptimizer(0.3).minimize(loss)
unit = sl.nn.l2_normalize(table, 1)

random = np.random.RandomState(0)
with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    with sl.progress(total=options.steps, label="training", unit="steps") as bar:
        for step in range(options.steps):
            at = random.randint(WINDOW, len(text) - WINDOW, BATCH)
            offset = random.randint(1, WINDOW + 1, BATCH) * random.choice([-1, 1], BATCH)
            feed = {centre: text[at], context: text[at + offset],
                    noise: random.choice(len(vocabulary), [BATCH, NOISE], p=frequency)}
            value, _ = session.run([loss, train], feed)
            bar.update(1, loss=float(value))
    vectors = session.run(unit)
for word in [w for w in ("software", "license", "you", "copyright", "modify") if w in number]:
    nearest = np.argsort(-vectors @ vectors[number[word]])[1:6]
    print("%-10s near: %s" % (word, ", ".join(vocabulary[i] for i in nearest)))
