"""Restores checkpoints, one folder for each line of stdin; answers each with one line of JSON.

    {"outcome": "whole", "step": 2}      the variables are those of step 2, every one
    {"outcome": "error", ...}            an error: its type and text
    {"outcome": "nothing"}               no checkpoint was found
    {"outcome": "wrong", ...}            values that no step had
"""
import json
import sys

import numpy as np

import sluice as sl
import state


def read(model, folder):
    """What comes of restoring the newest checkpoint of `folder`."""
    try:
        prefix = sl.train.latest_checkpoint(folder)
        if prefix is None:
            return {"outcome": "nothing"}
        model.go_to(0)
        model.saver.restore(model.session, prefix)
        why = state.why_wrong(model.fetch())
        if why is None:  # and by the other way, tensor by tensor
            reader = sl.train.load_checkpoint(prefix)
            found = {name: np.array(reader.get_tensor(name)) for name in state.values(0)}
            why = state.why_wrong(found)
            if why is None:
                return {"outcome": "whole", "step": int(found["global_step"])}
        return {"outcome": "wrong", "text": why}
    except (sl.errors.OpError, ValueError, OSError) as e:
        return {"outcome": "error", "type": type(e).__name__, "text": str(e)}


def main():
    sl.logging.set_verbosity(sl.logging.ERROR)
    model = state.Model()
    for line in sys.stdin:
        print(json.dumps(read(model, line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
