"""Makes calls to a cluster of which a task is broken; each must end in its time.

usage: calling_program.py SEED CALLS KINDS

It prints a line of JSON when a call begins and one when it has ended, from several threads: {"begins": number, ...},
{"ended": number, "seconds": ..., "wrong": null or what was wrong}.
"""
import json
import os
import random
import socket
import sys
import threading
import time
import uuid

import numpy as np

import hostile
import sluice as sl

THREADS = 4
# A peer that does not answer is given up after 10 s without a word from it; a call with its own limit ends by then.
DETECTION = 10.0
LIMIT = 2.0
_print = threading.Lock()


def say(**message):
    with _print:
        print(json.dumps(message), flush=True)


def config(seconds=LIMIT):
    return sl.ConfigProto(operation_timeout_in_ms=int(1000 * seconds))


# Calls to a master that is broken: (what is called, the limit in seconds). They get the target.
def new_session(target):
    with sl.Graph().as_default():
        c = sl.constant(1) + sl.placeholder(sl.int32)
        with sl.Session(target, config=config()) as session:
            session.run(c, {c.op.inputs[1]: 1})


def new_session_run_timeout(target):
    with sl.Graph().as_default():
        c = sl.constant(1) + sl.placeholder(sl.int32)
        with sl.Session(target, config=config()) as session:
            session.run(c, {c.op.inputs[1]: 1}, options=sl.RunOptions(timeout_in_ms=int(1000 * LIMIT)))


def list_devices(target):
    with sl.Graph().as_default():
        sl.constant(1)
        with sl.Session(target, config=config()) as session:
            session.list_devices()


def reset(target):
    sl.Session.reset(target)


def wait_for_session(target):
    with sl.Graph().as_default():
        v = sl.get_variable("v", [])
        manager = sl.train.SessionManager(ready_op=sl.report_uninitialized_variables([v]), recovery_wait_secs=0.5)
        manager.wait_for_session(target, config=config(), max_wait_secs=LIMIT)


MASTER_CALLS = (new_session, new_session_run_timeout, list_devices, reset, wait_for_session)


class Cluster:
    """A sound task 0 in this process, and a broken task 1 in its cluster."""

    def __init__(self, port):
        with socket.create_server(("localhost", 0)) as s:
            own = s.getsockname()[1]
        self.server = sl.train.Server({"worker": ["localhost:%d" % own, "localhost:%d" % port]}, "worker", 0)
        self.target = self.server.target


# Calls to a sound master whose cluster has the broken task: they get the target.
def across(target):
    with sl.Graph().as_default():
        with sl.device("/job:worker/task:1"):
            x = sl.placeholder(sl.float32, [2])
            y = x + 1
        with sl.Session(target, config=config()) as session:
            session.run(y, {x: np.zeros(2, np.float32)})


def variable_there(target):
    with sl.Graph().as_default():
        with sl.device("/job:worker/task:1"):
            v = sl.get_variable("v", [4])
        with sl.Session(target, config=config()) as session:
            session.run(v.initializer)


def devices_of_all(target):
    with sl.Graph().as_default():
        sl.constant(1)
        with sl.Session(target, config=config()) as session:
            session.list_devices()


def empty_queue(target):
    """Of the sound task alone: the wait has its own limit."""
    with sl.Graph().as_default():
        with sl.device("/job:worker/task:0"):
            word = sl.FIFOQueue(1, [sl.int32], [[]], shared_name=uuid.uuid4().hex).dequeue()
        filters = config(60)
        filters.device_filters.append("/job:worker/task:0")
        with sl.Session(target, config=filters) as session:
            session.run(word, options=sl.RunOptions(timeout_in_ms=int(1000 * LIMIT)))


def full_queue(target):
    with sl.Graph().as_default():
        with sl.device("/job:worker/task:0"):
            queue = sl.FIFOQueue(1, [sl.int32], [[]], shared_name=uuid.uuid4().hex)
            more = queue.enqueue(1)
        filters = config()
        filters.device_filters.append("/job:worker/task:0")
        with sl.Session(target, config=filters) as session:
            session.run(more)
            session.run(more)


class Live:
    """A session of a task that worked, and then stood still."""

    def __init__(self, target):
        with sl.Graph().as_default():
            self.x = sl.placeholder(sl.float32, [2])
            self.y = self.x + 1
            self.session = sl.Session(target)
            self.run()

    def run(self):
        self.session.run(self.y, {self.x: np.zeros(2, np.float32)}, options=sl.RunOptions(timeout_in_ms=int(1000 * LIMIT)))


def live_run(live):
    live.run()


def live_new_step(live):
    with live.session.graph.as_default():
        more = live.y * 2
    live.session.run(more, {live.x: np.zeros(2, np.float32)}, options=sl.RunOptions(timeout_in_ms=int(1000 * LIMIT)))


def live_devices(live):
    live.session.list_devices()


def live_close(live):
    live.session.close()


LIVE_CALLS = (live_run, live_new_step, live_devices, live_close)
CLUSTER_CALLS = (across, variable_there, devices_of_all, empty_queue, full_queue)
NO_TASK = (empty_queue, full_queue)  # the error names the operation that waits, not a task


def main(seed, calls, kinds):
    sl.logging.set_verbosity(sl.logging.FATAL)
    rng = random.Random(seed)
    broken = {kind: hostile.Hostile(kind, seed) for kind in kinds}
    live = [Live("grpc://localhost:%d" % broken["paused"].port) for _ in range(calls)] if "paused" in kinds else []
    for one in broken.values():
        one.begin()
    clusters = {kind: Cluster(one.port) for kind, one in broken.items()}
    plan = []
    for number in range(calls):
        kind = rng.choice(kinds)
        call = rng.choice(MASTER_CALLS + CLUSTER_CALLS + (LIVE_CALLS if kind == "paused" else ()))
        plan.append((number, kind, call))

    def work():
        while True:
            with _print:
                if not plan:
                    return
                number, kind, call = plan.pop()
            port = broken[kind].port
            target = "grpc://localhost:%d" % port if call in MASTER_CALLS else clusters[kind].target
            if call in LIVE_CALLS:
                target = live[number]
            say(begins=number, call=call.__name__, kind=kind)
            start, wrong = time.monotonic(), None
            try:
                call(target)
                wrong = "it succeeded"
            except sl.errors.OpError as e:
                text = str(e)
                named = str(port) in text or "task:1" in text
                if call not in NO_TASK and not named:
                    wrong = "the error names no task: %s: %s" % (type(e).__name__, text)
            except Exception as e:  # pylint: disable=broad-except
                wrong = "%s: %s" % (type(e).__name__, e)
            say(ended=number, seconds=time.monotonic() - start, wrong=wrong)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for one in broken.values():
        one.close()
    say(done=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","))
    sys.stdout.flush()
    os._exit(0)  # the masters' own sessions with broken tasks are not awaited
