"""Optimisers against their formulas in NumPy: dense and sparse, reference and resource variables."""
import numpy as np
import pytest

import sluice as sl

START = np.linspace(-1, 1, 12).reshape(4, 3).astype(np.float32)
GRADS = np.random.RandomState(0).normal(size=[3, 4, 3]).astype(np.float32)


def sgd(v, g, s, t):
    return v - 0.1 * g


def momentum(v, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + g
    return v - 0.1 * s["m"]


def nesterov(v, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + g
    return v - 0.1 * (g + 0.9 * s["m"])


def adagrad(v, g, s, t):
    s["a"] = s.get("a", 0.1) + g * g
    return v - 0.1 * g / np.sqrt(s["a"])


def adadelta(v, g, s, t):
    s["a"] = 0.95 * s.get("a", 0) + 0.05 * g * g
    step = g * np.sqrt(s.get("u", 0) + 1e-6) / np.sqrt(s["a"] + 1e-6)
    s["u"] = 0.95 * s.get("u", 0) + 0.05 * step * step
    return v - 0.1 * step


def rmsprop(v, g, s, t):
    s["r"] = 0.9 * s.get("r", 1) + 0.1 * g * g
    s["m"] = 0.5 * s.get("m", 0) + 0.1 * g / np.sqrt(s["r"] + 1e-10)
    return v - s["m"]


def centered(v, g, s, t):
    s["r"] = 0.9 * s.get("r", 1) + 0.1 * g * g
    s["g"] = 0.9 * s.get("g", 0) + 0.1 * g
    return v - 0.1 * g / np.sqrt(s["r"] - s["g"] ** 2 + 1e-10)


def adam(v, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["v"] = 0.999 * s.get("v", 0) + 0.001 * g * g
    return v - 0.1 * np.sqrt(1 - 0.999 ** t) / (1 - 0.9 ** t) * s["m"] / (np.sqrt(s["v"]) + 1e-8)


def ftrl(v, g, s, t):
    old = s.get("a", 0.1)
    s["a"] = old + g * g
    s["l"] = s.get("l", 0) + g - (np.sqrt(s["a"]) - np.sqrt(old)) / 0.1 * v
    return np.where(np.abs(s["l"]) > 0.01, -(s["l"] - np.sign(s["l"]) * 0.01) / (np.sqrt(s["a"]) / 0.1 + 2 * 0.02), 0)


TABLE = [
    (lambda: sl.train.GradientDescentOptimizer(0.1), sgd),
    (lambda: sl.train.MomentumOptimizer(0.1, 0.9), momentum),
    (lambda: sl.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True), nesterov),
    (lambda: sl.train.AdagradOptimizer(0.1), adagrad),
    (lambda: sl.train.AdadeltaOptimizer(0.1, epsilon=1e-6), adadelta),
    (lambda: sl.train.RMSPropOptimizer(0.1, momentum=0.5), rmsprop),
    (lambda: sl.train.RMSPropOptimizer(0.1, centered=True), centered),
    (lambda: sl.train.AdamOptimizer(0.1), adam),
    (lambda: sl.train.FtrlOptimizer(0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02), ftrl),
]
IDS = [formula.__name__ for _, formula in TABLE]


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("make,formula", TABLE, ids=IDS)
def test_dense_updates_follow_the_formula(make, formula, resource):
    with sl.Graph().as_default(), sl.Session() as session:
        v = sl.get_variable("v", initializer=START, use_resource=resource)
        g = sl.placeholder(sl.float32, [4, 3])
        step = make().apply_gradients([(g, v)])
        session.run(sl.global_variables_initializer())
        expected, state = START.astype(np.float64), {}
        for t, grad in enumerate(GRADS, 1):
            session.run(step, {g: grad})
            expected = formula(expected, grad.astype(np.float64), state, t)
        np.testing.assert_allclose(session.run(v), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("make,formula", TABLE, ids=IDS)
def test_sparse_updates_add_up_equal_rows_and_leave_the_others_alone(make, formula, resource):
    with sl.Graph().as_default(), sl.Session() as session:
        v = sl.get_variable("v", initializer=START, use_resource=resource)
        values = sl.placeholder(sl.float32, [3, 3])
        step = make().apply_gradients([(sl.IndexedSlices(values, sl.constant([2, 0, 2]), sl.constant([4, 3])), v)])
        session.run(sl.global_variables_initializer())
        expected = START.astype(np.float64)
        states = [{} for _ in range(4)]
        for t, grad in enumerate(GRADS, 1):
            session.run(step, {values: grad[:3]})
            for row, g in ((0, grad[1]), (2, grad[0] + grad[2])):
                expected[row] = formula(expected[row], g.astype(np.float64), states[row], t)
        np.testing.assert_allclose(session.run(v), expected, rtol=2e-5, atol=2e-6)


def test_sparse_adam_decays_the_means_of_rows_without_a_gradient():
    with sl.Graph().as_default(), sl.Session() as session:
        v = sl.get_variable("v", initializer=START)
        index = sl.placeholder(sl.int32, [1])
        optimizer = sl.train.AdamOptimizer(0.1)
        step = optimizer.apply_gradients([(sl.IndexedSlices(sl.ones([1, 3]), index, sl.constant([4, 3])), v)])
        session.run(sl.global_variables_initializer())
        session.run(step, {index: [1]})
        session.run(step, {index: [0]})
        np.testing.assert_allclose(session.run(optimizer.get_slot(v, "m"))[1], 0.09, rtol=1e-5)


def test_minimize_names_slots_counts_the_step_and_fills_the_train_op_collection():
    with sl.Graph().as_default() as graph, sl.Session() as session:
        w = sl.get_variable("layer/w", [3], initializer=sl.ones_initializer())
        step = sl.train.get_or_create_global_step()
        optimizer = sl.train.AdamOptimizer()
        train = optimizer.minimize(sl.reduce_sum(sl.square(w)), global_step=step)
        assert train.name == "Adam" and graph.get_collection(sl.GraphKeys.TRAIN_OP) == [train]
        assert [v.op.name for v in sl.global_variables()] == [
            "layer/w", "global_step", "beta1_power", "beta2_power", "layer/w/Adam", "layer/w/Adam_1"]
        assert graph.get_operation_by_name("Adam/update_layer/w/ApplyAdam")
        assert optimizer.get_slot_names() == ["m", "v"] and optimizer.get_slot(w, "m").op.name == "layer/w/Adam"
        assert [v.op.name for v in optimizer.variables()] == ["beta1_power", "beta2_power", "layer/w/Adam",
                                                              "layer/w/Adam_1"]
        session.run(sl.global_variables_initializer())
        for _ in range(3):
            session.run(train)
        assert sl.train.global_step(session, step) == 3


def test_slots_of_a_partitioned_variable_are_slices_too():
    with sl.Graph().as_default():
        p = sl.get_variable("p", [6, 2], partitioner=sl.fixed_size_partitioner(2))
        sl.train.MomentumOptimizer(0.1, 0.9).minimize(sl.reduce_sum(sl.square(sl.convert_to_tensor(p))))
        slots = [v for v in sl.global_variables() if "Momentum" in v.name]
        assert [s._save_slice_info.full_name for s in slots] == ["p/Momentum", "p/Momentum"]
        assert [s._save_slice_info.spec for s in slots] == ["6 2 0,3:0,2", "6 2 3,3:0,2"]


def test_a_constraint_is_applied_after_each_update():
    with sl.Graph().as_default(), sl.Session() as session:
        w = sl.get_variable("w", [2], initializer=sl.ones_initializer(), constraint=lambda v: sl.clip_by_value(v, 0., 9.))
        train = sl.train.GradientDescentOptimizer(1.0).minimize(sl.reduce_sum(w * np.array([5., -1], np.float32)))
        session.run(sl.global_variables_initializer())
        session.run(train)
        np.testing.assert_allclose(session.run(w), [0, 2])


@pytest.mark.parametrize("use,words", [
    (lambda: sl.train.GradientDescentOptimizer(1.0).minimize(sl.constant(1.0)), "No variables"),
    (lambda: sl.train.GradientDescentOptimizer(1.0).minimize(sl.constant(1.0), var_list=[sl.Variable(1.0)]),
     "No gradients"),
    (lambda: sl.train.GradientDescentOptimizer(1.0).apply_gradients([]), "No variables"),
    (lambda: sl.train.AdagradOptimizer(1.0, initial_accumulator_value=0.0), "positive"),
    (lambda: sl.train.FtrlOptimizer(1.0, learning_rate_power=1.0), "learning_rate_power"),
    (lambda: sl.train.GradientDescentOptimizer(1.0).minimize(sl.constant(1)), "Invalid type"),
])
def test_a_wrong_use_says_what_is_wrong(use, words):
    with sl.Graph().as_default(), pytest.raises(ValueError, match=words):
        use()


@pytest.mark.parametrize("schedule,steps,expected", [
    (lambda s: sl.train.exponential_decay(0.1, s, 10, 0.5), [0, 10, 15], [0.1, 0.05, 0.1 * 0.5 ** 1.5]),
    (lambda s: sl.train.exponential_decay(0.1, s, 10, 0.5, staircase=True), [9, 10, 19], [0.1, 0.05, 0.05]),
    (lambda s: sl.train.natural_exp_decay(0.1, s, 10, 0.5), [0, 20], [0.1, 0.1 * np.exp(-1)]),
    (lambda s: sl.train.inverse_time_decay(0.1, s, 10, 0.5), [0, 20], [0.1, 0.05]),
    (lambda s: sl.train.piecewise_constant(s, [10, 20], [1.0, 0.5, 0.1]), [10, 11, 20, 21], [1, 0.5, 0.5, 0.1]),
    (lambda s: sl.train.polynomial_decay(0.1, s, 10, 0.01), [0, 5, 10, 99], [0.1, 0.055, 0.01, 0.01]),
    (lambda s: sl.train.polynomial_decay(0.1, s, 10, 0.01, cycle=True), [0, 10, 15], [0.1, 0.01, 0.0325]),
    (lambda s: sl.train.cosine_decay(0.1, s, 10, 0.1), [0, 5, 10, 20], [0.1, 0.055, 0.01, 0.01]),
    (lambda s: sl.train.cosine_decay_restarts(0.1, s, 10, t_mul=1.0), [0, 5, 10], [0.1, 0.05, 0.1]),
    (lambda s: sl.train.cosine_decay_restarts(0.1, s, 10), [20, 0], [0.05, 0.1]),
    (lambda s: sl.train.linear_cosine_decay(0.1, s, 10, beta=0.0), [0, 5, 10], [0.1, 0.025, 0]),
])
def test_a_schedule_has_its_values(schedule, steps, expected):
    with sl.Graph().as_default(), sl.Session() as session:
        step = sl.placeholder(sl.int64, [])
        rate = schedule(step)
        got = [session.run(rate, {step: s}) for s in steps]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_moving_averages_follow_variables_and_restore_into_them():
    with sl.Graph().as_default(), sl.Session() as session:
        w = sl.get_variable("w", initializer=1.0)
        average = sl.train.ExponentialMovingAverage(0.9)
        update = average.apply([w])
        assert average.average(w).op.name == average.average_name(w) == "w/ExponentialMovingAverage"
        assert average.variables_to_restore() == {"w/ExponentialMovingAverage": w}
        session.run(sl.global_variables_initializer())
        session.run(w.assign(2.0))
        session.run(update)
        np.testing.assert_allclose(session.run(average.average(w)), 1.1, rtol=1e-6)


def test_a_moving_average_sees_the_update_that_it_waits_for():
    with sl.Graph().as_default(), sl.Session() as session:
        w = sl.get_variable("w", initializer=0.0)
        train = sl.train.GradientDescentOptimizer(1.0).minimize(-w)
        average = sl.train.ExponentialMovingAverage(0.5)
        with sl.control_dependencies([train]):
            update = average.apply([w])
        session.run(sl.global_variables_initializer())
        session.run(update)
        assert session.run([w, average.average(w)]) == [1.0, 0.5]
