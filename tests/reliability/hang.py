"""R10: calls to tasks that are dead, paused, out of reach or something else end in their time."""
import json
import os
import random
import select
import subprocess
import sys
import time

import calling_program
import hostile

_BATCH = 50


def no_hang(result, tier):
    """Random calls from four threads; each returns within its limit and a second with an error that names the task."""
    left = {"smoke": 12, "commit": 200, "nightly": 5000, "release": 50000}[tier]
    kinds = ("dead", "http", "random", "closing") if tier == "smoke" else hostile.KINDS
    rng = random.Random("R10 %d" % result.seed)
    while left > 0:
        _batch(result, rng.randrange(1 << 30), min(left, _BATCH), kinds)
        left -= _BATCH


def _limit(call):
    # These have no limit of their own but detection.
    return (0 if call in ("live_close", "live_devices") else calling_program.LIMIT) + calling_program.DETECTION + 1


def _batch(result, seed, calls, kinds):
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calling_program.py")
    process = subprocess.Popen([sys.executable, program, str(seed), str(calls), ",".join(kinds)], text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    begun, buffer, done = {}, b"", False
    descriptor = process.stdout.fileno()
    while not done:
        oldest = min([b["at"] for b in begun.values()] or [time.monotonic()])
        wait = oldest + 60 - time.monotonic()
        if wait <= 0 or not select.select([descriptor], [], [], wait)[0]:
            break
        data = os.read(descriptor, 1 << 16)
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "begins" in message:
                begun[message["begins"]] = dict(message, at=time.monotonic())
            elif "ended" in message:
                _judge(result, begun.pop(message["ended"]), message)
            done = done or "done" in message
    code = process.poll()
    process.kill()
    process.wait()
    process.stdout.close()
    for call in begun.values():
        what = "the program ended with %s in the midst of it" % code if code is not None else \
            "no end within %.0f s" % (time.monotonic() - call["at"])
        result.trial("%s at a %s task: %s" % (call["call"], call["kind"], what))
    if not done and not begun:
        result.trial("the calling program ended with %s" % code, faults=0)


def _judge(result, call, end):
    why = end["wrong"]
    limit = _limit(call["call"])
    if why is None and end["seconds"] > limit:
        why = "it took %.1f s, its limit is %.0f" % (end["seconds"], limit)
    result.trial(why and "%s at a %s task: %s" % (call["call"], call["kind"], why))
    result.took(end["seconds"], "call")
