"""The update rule of every optimiser op in its four forms, against the rule written in NumPy.

A rule is `function(x, g, s)`: `x` holds the variable and its slots by name and is changed, `g` is the gradient, `s` the
scalars. `Apply...` and `ResourceApply...` follow it on whole variables; the `Sparse` forms on one row after another.
"""

import itertools

import numpy as np
import pytest

import sluice as sl
from harness import F16, F32, F64, proves, rand
from sluice.native import _sluice

SCALARS = dict(lr=0.1, alpha=0.1, beta1=0.9, beta2=0.99, beta1_power=0.81, beta2_power=0.97, epsilon=1e-3, rho=0.9, momentum=0.5, l1=0.05, l2=0.3, lr_power=-0.5,
               l2_shrinkage=0.1, logbase=1.5, sign_decay=0.7, beta=0.9, global_step=3)


def gradient_descent(x, g, s):
    x["var"] -= s["alpha"] * g


def proximal(v, step, s):
    shrunk = np.sign(v) * np.maximum(np.abs(v) - step * s["l1"], 0) if s["l1"] > 0 else v
    return shrunk / (1 + step * s["l2"])


def proximal_gradient_descent(x, g, s):
    x["var"] = proximal(x["var"] - s["alpha"] * g, s["alpha"], s)


def proximal_adagrad(x, g, s):
    x["accum"] += g * g
    step = s["lr"] / np.sqrt(x["accum"])
    x["var"] = proximal(x["var"] - step * g, step, s)


def adadelta(x, g, s):
    x["accum"] = s["rho"] * x["accum"] + (1 - s["rho"]) * g * g
    update = np.sqrt(x["accum_update"] + s["epsilon"]) / np.sqrt(x["accum"] + s["epsilon"]) * g
    x["var"] -= s["lr"] * update
    x["accum_update"] = s["rho"] * x["accum_update"] + (1 - s["rho"]) * update * update


def adagrad(x, g, s):
    if s.get("update_slots", True):
        x["accum"] += g * g
    x["var"] -= s["lr"] * g / (np.sqrt(x["accum"]) + s["v2"] * s["epsilon"])


def adagrad_da(x, g, s):
    x["gradient_accumulator"] += g
    x["gradient_squared_accumulator"] += g * g
    total, step = x["gradient_accumulator"], s["global_step"]
    if s["l1"] > 0:
        total = np.sign(total) * np.maximum(np.abs(total) - s["l1"] * step, 0)
    x["var"] = -s["lr"] * total / (s["l2"] * step * s["lr"] + np.sqrt(x["gradient_squared_accumulator"]))


def ftrl(x, g, s):
    shrunk = g + 2 * s.get("l2_shrinkage", 0) * x["var"]
    power = -s["lr_power"]
    accum = x["accum"] + g * g
    x["linear"] += shrunk - (accum**power - x["accum"]**power) / s["lr"] * x["var"]
    pull = s["l1"] * np.sign(x["linear"]) - x["linear"]
    x["var"] = np.where(np.abs(x["linear"]) > s["l1"], pull / (accum**power / s["lr"] + 2 * s["l2"]), 0)
    x["accum"] = accum


def momentum(x, g, s):
    x["accum"] = x["accum"] * s["momentum"] + g
    x["var"] -= s["lr"] * (g + x["accum"] * s["momentum"] if s.get("use_nesterov") else x["accum"])


def keras_momentum(x, g, s):
    x["accum"] = x["accum"] * s["momentum"] - s["lr"] * g
    x["var"] += x["accum"] * s["momentum"] - s["lr"] * g if s.get("use_nesterov") else x["accum"]


def adam(x, g, s):
    x["m"] += (g - x["m"]) * (1 - s["beta1"])
    x["v"] += (g * g - x["v"]) * (1 - s["beta2"])
    rate = s["lr"] * np.sqrt(1 - s["beta2_power"]) / (1 - s["beta1_power"])
    if "vhat" in x:
        x["vhat"] = np.maximum(x["vhat"], x["v"])
    m = s["beta1"] * x["m"] + (1 - s["beta1"]) * g if s.get("use_nesterov") else x["m"]
    x["var"] -= rate * m / (np.sqrt(x.get("vhat", x["v"])) + s["epsilon"])


def ada_max(x, g, s):
    x["m"] += (g - x["m"]) * (1 - s["beta1"])
    x["v"] = np.maximum(s["beta2"] * x["v"], np.abs(g))
    x["var"] -= s["lr"] / (1 - s["beta1_power"]) * x["m"] / (x["v"] + s["epsilon"])


def rms_prop(x, g, s):
    x["ms"] += (g * g - x["ms"]) * (1 - s["rho"])
    if "mg" in x:
        x["mg"] += (g - x["mg"]) * (1 - s["rho"])
    x["mom"] = s["momentum"] * x["mom"] + s["lr"] * g / np.sqrt(x["ms"] - x.get("mg", 0)**2 + s["epsilon"])
    x["var"] -= x["mom"]


def signed(x, g, s):
    x["m"] = s["beta"] * x["m"] + (1 - s["beta"]) * g
    agreement = s["sign_decay"] * np.sign(g) * np.sign(x["m"])
    x["var"] -= s["lr"] * (s["alpha"] + agreement if s["add"] else np.exp(s["logbase"] * agreement)) * g


# For each family: its rule, its slots with a first value that the rule can start from, its attributes or scalars to vary.
NO_L1 = [{}, dict(l1=0.0)]
NESTEROV = [{}, dict(use_nesterov=True)]
FAMILIES = {
    "GradientDescent": (gradient_descent, [], [{}]),
    "ProximalGradientDescent": (proximal_gradient_descent, [], NO_L1),
    "Adadelta": (adadelta, ["accum", "accum_update"], [{}]),
    "Adagrad": (lambda x, g, s: adagrad(x, g, {**s, "v2": 0}), ["accum"], [{}, dict(update_slots=False)]),
    "AdagradV2": (lambda x, g, s: adagrad(x, g, {**s, "v2": 1}), ["accum"], [{}, dict(update_slots=False)]),
    "AdagradDA": (adagrad_da, ["gradient_accumulator", "gradient_squared_accumulator"], NO_L1),
    "ProximalAdagrad": (proximal_adagrad, ["accum"], NO_L1),
    "Ftrl": (ftrl, ["accum", "linear"], [{}, dict(l1=0.0), dict(lr_power=-0.7)]),
    "FtrlV2": (ftrl, ["accum", "linear"], [{}, dict(l1=0.0), dict(lr_power=-0.7)]),
    "Momentum": (momentum, ["accum"], NESTEROV),
    "KerasMomentum": (keras_momentum, ["accum"], NESTEROV),
    "Adam": (adam, ["m", "v"], NESTEROV),
    "AdamWithAmsgrad": (adam, ["m", "v", "vhat"], [{}]),
    "AdaMax": (ada_max, ["m", "v"], [{}]),
    "RMSProp": (rms_prop, ["ms", "mom"], [{}]),
    "CenteredRMSProp": (rms_prop, ["mg", "ms", "mom"], [{}]),
    "AddSign": (lambda x, g, s: signed(x, g, {**s, "add": True}), ["m"], [{}]),
    "PowerSign": (lambda x, g, s: signed(x, g, {**s, "add": False}), ["m"], [{}]),
}
OPS = {prefix + family: family for prefix, family in itertools.product(["Apply", "ResourceApply", "SparseApply", "ResourceSparseApply"], FAMILIES)
       if prefix + family in set(_sluice.op_names())}


class Update:
    """One node of `op` with variables of its own."""

    def __init__(self, op, dtype, shape, indices=None, **changes):
        self.op, self.dtype = op, dtype
        family = OPS[op]
        _, self.slots, _ = FAMILIES[family]
        self.state = {"var": rand(*shape, key=1)}
        for i, name in enumerate(self.slots):
            # Positive, and mg^2 < ms as it is in training.
            self.state[name] = rand(*shape, low=0.2, high=0.4, key=2 + i) if name == "mg" else rand(*shape, low=0.5, high=1.5, key=2 + i)
        self.state = {k: v.astype(dtype) for k, v in self.state.items()}
        self.variables = {k: sl.Variable(v, name=k, use_resource=op.startswith("Resource")) for k, v in self.state.items()}
        rows = shape if indices is None else (len(indices),) + tuple(shape[1:])
        self.gradient = rand(*rows, key=9).astype(dtype)
        self.indices = None if indices is None else np.array(indices)
        self.settings = {**SCALARS, **changes}

    def node(self, **replaced):
        """The node; `replaced` gives other tensors for its inputs."""
        args, inputs = {}, _sluice.op_spec(self.op)[0]
        for name in [i[0] for i in inputs]:
            if name in replaced:
                args[name] = replaced[name]
            elif name in self.variables:
                v = self.variables[name]
                args[name] = v.handle if self.op.startswith("Resource") else v._ref()
            elif name in ("grad", "delta"):
                args[name] = sl.constant(self.gradient)
            elif name == "indices":
                args[name] = sl.constant(self.indices)
            else:
                args[name] = sl.constant(self.settings[name], sl.int64 if name == "global_step" else self.dtype)
        attrs = {k: v for k, v in self.settings.items() if k in ("use_nesterov", "update_slots")}
        return getattr(sl.raw_ops, self.op)(**args, **attrs)

    def wanted(self):
        rule = FAMILIES[OPS[self.op]][0]
        state = {k: v.astype(F64) for k, v in self.state.items()}
        settings = {k: float(np.asarray(v, self.dtype)) if isinstance(v, float) else v for k, v in self.settings.items()}
        if self.op.find("Ftrl") >= 0 and not self.op.endswith("V2"):
            settings.pop("l2_shrinkage")
        g = self.gradient.astype(F64)
        if self.indices is None:
            rule(state, g, settings)
            return state
        for i, row in enumerate(self.indices):
            part = {k: v[row].copy() for k, v in state.items()}
            rule(part, g[i], settings)
            for k, v in part.items():
                state[k][row] = v
        return state


CASES = [pytest.param(op, changes, id=op + "".join(f"-{k}={v}" for k, v in changes.items())) for op, family in OPS.items() for changes in FAMILIES[family][2]]
SHAPES = {False: [((2, 3), None), ((), None), ((0,), None), ((129,), None)],
          True: [((4, 3), np.int32([2, 0])), ((4, 3), np.int64([3])), ((4, 3), np.int32([1, 1, 0])), ((4,), np.int32([0, 3])), ((4, 3), np.zeros(0, np.int32)), ((5, 40), np.int64([4, 0, 2]))]}


@proves(*OPS)
@pytest.mark.parametrize("dtype", [F32, F64, F16])
@pytest.mark.parametrize("op,changes", CASES)
def test_an_update_follows_its_rule(op, changes, dtype):
    for shape, indices in SHAPES["Sparse" in op]:
        with sl.Graph().as_default(), sl.Session() as session:
            update = Update(op, dtype, shape, indices, **changes)
            node = update.node()
            session.run(sl.global_variables_initializer())
            result = session.run(node)
            found = session.run({k: v.read_value() for k, v in update.variables.items()})
        if not op.startswith("Resource"):
            np.testing.assert_array_equal(result, found["var"])
        tolerance = {F64: 1e-12, F32: 3e-6, F16: 4e-3}[dtype]
        for name, value in update.wanted().items():
            np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=f"{op} {shape} {indices}: {name}")


@pytest.mark.parametrize("op", OPS)
def test_a_mistake_is_named_and_changes_nothing(op):
    sparse = "Sparse" in op
    shape, indices = SHAPES[sparse][0]
    wrong_rows = np.zeros((len(indices) if sparse else 2, 7), F32)
    with sl.Graph().as_default(), sl.Session() as session:
        update = Update(op, F32, shape, indices)
        hidden = sl.placeholder_with_default(wrong_rows, None)  # so that only the kernel can see its shape
        gradient = "delta" if any(i[0] == "delta" for i in _sluice.op_spec(op)[0]) else "grad"
        rate = next(i[0] for i in _sluice.op_spec(op)[0] if i[0] in ("lr", "alpha"))
        mistakes = [({gradient: hidden}, "7"), ({rate: sl.placeholder_with_default(np.float32([1, 2]), None)}, rate)]
        if sparse:
            mistakes += [({"indices": sl.placeholder_with_default(np.int32([0, bad]), None)}, str(bad)) for bad in (4, -1)]
            mistakes += [({"indices": sl.placeholder_with_default(np.int32([0, 1, 2]), None)}, "3")]
        with pytest.raises(sl.errors.FailedPreconditionError, match="var|accum|ms|m|linear"):
            session.run(update.node())
        session.run(sl.global_variables_initializer())
        for replaced, text in mistakes:
            with pytest.raises((sl.errors.InvalidArgumentError, ValueError), match=text):
                session.run(update.node(**replaced))
        for name, v in update.variables.items():
            np.testing.assert_array_equal(session.run(v.read_value()), update.state[name], err_msg=name)
