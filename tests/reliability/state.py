"""A model whose variables are known at every step, so that whoever reads a checkpoint of it knows whether it is right."""
import numpy as np

import sluice as sl

SHAPES = {"hidden/kernel": (64, 32), "hidden/kernel/momentum": (64, 32), "out/kernel": (32, 10), "table": (90, 116)}


def values(step):
    """{name of a variable: its value} at a step; those of two steps differ in every variable."""
    made = {"global_step": np.int64(step)}
    for i, (name, shape) in enumerate(sorted(SHAPES.items())):
        made[name] = np.random.RandomState(100 * step + i).standard_normal(shape).astype(np.float32)
    return made


class Model:
    """The variables in a session, with a saver."""

    def __init__(self, sharded=False, max_to_keep=2):
        with sl.Graph().as_default() as self.graph:
            self._variables, self._values = {}, {}
            for name, value in values(0).items():
                self._variables[name] = sl.get_variable(name, initializer=value, trainable=False)
                self._values[name] = sl.placeholder(value.dtype, np.shape(value))
            self._set = sl.group(*[sl.assign(v, self._values[n]) for n, v in self._variables.items()])
            self.saver = sl.train.Saver(max_to_keep=max_to_keep, sharded=sharded)
            self.session = sl.Session()
            self.session.run(sl.global_variables_initializer())

    def go_to(self, step):
        """Gives the variables the values of a step."""
        made = values(step)
        self.session.run(self._set, {self._values[n]: made[n] for n in made})

    def fetch(self):
        return self.session.run(self._variables)


def why_wrong(found):
    """None when `found` is what the variables are at the step that it names; else what is wrong."""
    wanted = values(int(found["global_step"]))
    wrong = [n for n in wanted if not np.array_equal(wanted[n], found[n])]
    return "these tensors are not those of step %d: %s" % (found["global_step"], ", ".join(wrong)) if wrong else None
