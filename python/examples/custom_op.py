"""An op written in C++ (custom_op.cc), compiled here with g++ and used like any other, gradient included.

Steps of gradient descent, each followed by soft thresholding, find which 3 of 20 weights matter.
"""

import os
import subprocess
import tempfile

import numpy as np

import sluice as sl

with tempfile.TemporaryDirectory() as folder:
    library = os.path.join(folder, "custom_op.so")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "custom_op.cc")
    subprocess.run(["g++", "-O2", "-shared", "-fPIC", source, "-o", library, *sl.sysconfig.get_compile_flags(), *sl.sysconfig.get_link_flags()],
                   check=True)
    ops = sl.load_op_library(library)

print("softshrink:", ops.softshrink.__doc__)

generator = np.random.default_rng(1)
truth = np.zeros((20, 1), np.float32)
truth[[3, 8, 13]] = [[2.0], [-1.5], [1.0]]
inputs = generator.standard_normal((500, 20)).astype(np.float32)
targets = inputs @ truth + 0.1 * generator.standard_normal((500, 1)).astype(np.float32)

weights = sl.get_variable("weights", [20, 1], initializer=sl.zeros_initializer())
loss = 0.5 * sl.losses.mean_squared_error(targets, sl.matmul(inputs, weights))
rate = 0.5
train = weights.assign(ops.softshrink(weights - rate * sl.gradients(loss, weights)[0], limit=0.1 * rate))

x = sl.constant([-2.0, 0.3, 2.0])
slope = sl.gradients(ops.softshrink(x), x)[0]

with sl.Session() as session:
    session.run(sl.global_variables_initializer())
    for _ in range(100):
        session.run(train)
    found = session.run(weights)[:, 0]
    print("its gradient at -2, 0.3, 2:", session.run(slope))
print("weights that are not zero:", {int(i): round(float(found[i]), 2) for i in np.flatnonzero(found)})
