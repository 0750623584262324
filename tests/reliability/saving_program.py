"""Trains and saves, step after step, while others make its disk fail or kill it.

usage: saving_program.py FOLDER STEPS SOCKET

It makes and saves the first step (what was there is restored), says "ready", waits for a word, and makes STEPS more.
It reports each save through SOCKET (a descriptor of its own, so that no report is taken for a write of a save):

    {"saved": 3}
    {"failed": 3, "type": ..., "text": ..., "left": [...], "kept": 2}     left: files that a save should have removed;
                                                                         kept: the step that can be restored now
"""
import json
import os
import re
import socket
import sys

import numpy as np

import sluice as sl
import state
from sluice.train._session_epoch import SessionEpoch

_LEFTOVER = re.compile(r"\.tmp|_temp")


def leftovers(folder):
    """Names of files and folders that only a save under way may have."""
    return sorted(name for name in os.listdir(folder) if _LEFTOVER.search(name))


def kept(folder, prefix=None):
    """The step of a checkpoint, by default the newest; what is wrong when there is none that is whole."""
    try:
        prefix = prefix or sl.train.latest_checkpoint(folder)
        if prefix is None:
            return "no checkpoint is there"
        reader = sl.train.load_checkpoint(prefix)
        found = {name: np.array(reader.get_tensor(name)) for name in state.values(0)}
    except (sl.errors.OpError, ValueError, OSError) as e:
        return str(e)
    return state.why_wrong(found) or int(found["global_step"])


def main(folder, steps, descriptor):
    sl.logging.set_verbosity(sl.logging.ERROR)
    channel = socket.socket(fileno=descriptor)
    say = lambda **message: channel.sendall(json.dumps(message).encode() + b"\n")
    model = state.Model(sharded=True)
    model.saver.session_epoch = SessionEpoch(folder)
    model.saver.session_epoch.acquire()
    first, newest = 0, sl.train.latest_checkpoint(folder)
    if newest is not None:
        model.saver.restore(model.session, newest)
        model.saver.recover_last_checkpoints(sl.train.get_checkpoint_state(folder).all_model_checkpoint_paths)
        first = int(model.fetch()["global_step"])
    for step in range(first + 1, first + 2 + steps):
        model.go_to(step)
        try:
            model.saver.save(model.session, os.path.join(folder, "model.ckpt"), global_step=step, write_meta_graph=False)
        except (sl.errors.OpError, OSError) as e:
            say(failed=step, type=type(e).__name__, text=str(e), left=leftovers(folder), kept=kept(folder))
        else:
            say(saved=step)
        if step == first + 1:
            say(ready=step, left=leftovers(folder))
            channel.recv(1)
    listed = sl.train.get_checkpoint_state(folder)  # none where the disk never had room for it
    prefixes = listed.all_model_checkpoint_paths if listed else []
    say(done=True, left=leftovers(folder), kept=kept(folder), all=[kept(folder, p) for p in prefixes])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
