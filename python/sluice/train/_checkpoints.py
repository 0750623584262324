"""The `checkpoint` file, which says which checkpoints a folder has and which is the latest; finding and removing them.

The file is the text form of TensorFlow's CheckpointState, read and written here without the protobuf package.
"""
import glob
import itertools
import os
import re
import time

import sluice as sl
from sluice import _files
from sluice.train._bundle import read_index
from sluice.train._manifest import Manifest

_DATA = "[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]"
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class CheckpointState:
    """The content of a `checkpoint` file."""

    def __init__(self, model_checkpoint_path="", all_model_checkpoint_paths=(), all_model_checkpoint_timestamps=(),
                 last_preserved_timestamp=0.0):
        self.model_checkpoint_path = model_checkpoint_path
        self.all_model_checkpoint_paths = list(all_model_checkpoint_paths)
        self.all_model_checkpoint_timestamps = list(all_model_checkpoint_timestamps)
        self.last_preserved_timestamp = last_preserved_timestamp

    def __str__(self):
        lines = ["model_checkpoint_path: " + _quoted(self.model_checkpoint_path)]
        lines += ["all_model_checkpoint_paths: " + _quoted(p) for p in self.all_model_checkpoint_paths]
        lines += ["all_model_checkpoint_timestamps: %r" % float(t) for t in self.all_model_checkpoint_timestamps]
        if self.last_preserved_timestamp:
            lines.append("last_preserved_timestamp: %r" % float(self.last_preserved_timestamp))
        return "\n".join(lines) + "\n"

    __repr__ = __str__

    @classmethod
    def parse(cls, text):
        """Reads the text form; raises ValueError naming the line that it does not understand."""
        state = cls()
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            field, colon, value = line.partition(":")
            value = value.strip()
            try:
                if field in ("model_checkpoint_path", "all_model_checkpoint_paths"):
                    value = _unquoted(value)
                elif field in ("all_model_checkpoint_timestamps", "last_preserved_timestamp"):
                    value = float(value)
                else:
                    raise ValueError
            except ValueError:
                raise ValueError("line %d is not a field of a checkpoint state: %r" % (number, line)) from None
            if field.startswith("all_"):
                getattr(state, field).append(value)
            else:
                setattr(state, field, value)
        return state


def _quoted(text):
    out = []
    for byte in text.encode():
        char = chr(byte)
        if char in '\\"':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        else:
            out.append(char if 32 <= byte < 127 else "\\%03o" % byte)
    return '"%s"' % "".join(out)


def _unquoted(text):
    if len(text) < 2 or text[0] not in "\"'" or text[-1] != text[0]:
        raise ValueError
    raw = re.sub(r"\\([0-7]{1,3}|x[0-9a-fA-F]{1,2}|.)", _unescape, text[1:-1])
    return raw.encode("latin-1", "surrogateescape").decode() if all(ord(c) < 256 for c in raw) else raw


def _unescape(match):
    code = match.group(1)
    if code[0] in "01234567":
        return chr(int(code, 8) & 0xFF)
    if code[0] == "x" and len(code) > 1:
        return chr(int(code[1:], 16))
    if code not in _ESCAPES:
        raise ValueError
    return _ESCAPES[code]


def _state_path(folder, latest_filename):
    return os.path.join(os.fspath(folder), latest_filename or "checkpoint")


def get_checkpoint_state(checkpoint_dir, latest_filename=None):
    """The folder's CheckpointState with absolute (or working) paths, or None when there is none to read."""
    folder = os.fspath(checkpoint_dir)
    path = _state_path(folder, latest_filename)
    try:
        with open(path, encoding="utf-8") as f:
            state = CheckpointState.parse(f.read())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as e:
        sl.logging.warning("%s: %s", path, e)
        return None
    if not state.model_checkpoint_path:
        sl.logging.warning("%s: model_checkpoint_path is not set", path)
        return None
    whole = lambda p: p if os.path.isabs(p) else os.path.join(folder, p)
    state.model_checkpoint_path = whole(state.model_checkpoint_path)
    state.all_model_checkpoint_paths = [whole(p) for p in state.all_model_checkpoint_paths]
    return state


def generate_checkpoint_state_proto(save_dir, model_checkpoint_path, all_model_checkpoint_paths=None,
                                    all_model_checkpoint_timestamps=None, last_preserved_timestamp=None):
    """The CheckpointState of a folder; paths are relative to it when it is given as a relative path itself."""
    paths = list(all_model_checkpoint_paths or [])
    times = list(all_model_checkpoint_timestamps or [])
    if times and len(times) != len(paths):
        raise ValueError("Checkpoint timestamps, if provided, must match checkpoint paths (got %d paths and %d "
                         "timestamps)" % (len(paths), len(times)))
    if model_checkpoint_path not in paths:
        paths.append(model_checkpoint_path)
        if times:
            times.append(os.path.getmtime(model_checkpoint_path + ".index"))
    save_dir = os.fspath(save_dir)
    if not os.path.isabs(save_dir):
        rebase = lambda p: p if os.path.isabs(p) else os.path.relpath(p, save_dir)
        paths, model_checkpoint_path = [rebase(p) for p in paths], rebase(model_checkpoint_path)
    return CheckpointState(model_checkpoint_path, paths, times, last_preserved_timestamp or 0.0)


def update_checkpoint_state(save_dir, model_checkpoint_path, all_model_checkpoint_paths=None, latest_filename=None,
                            all_model_checkpoint_timestamps=None, last_preserved_timestamp=None,
                            save_relative_paths=False):
    """Writes the `checkpoint` file of a folder in one step."""
    state = _state_to_write(save_dir, model_checkpoint_path, all_model_checkpoint_paths, all_model_checkpoint_timestamps,
                            last_preserved_timestamp, save_relative_paths)
    _files.write_atomically(_path_beside(save_dir, model_checkpoint_path, latest_filename), str(state))


def _path_beside(save_dir, prefix, latest_filename):
    path = _state_path(save_dir, latest_filename)
    if path == prefix:
        raise RuntimeError("Save path '%s' conflicts with path used for checkpoint state.  Please use a different "
                           "save path." % prefix)
    return path


def commit(save_dir, prefix, kept, latest_filename=None, step=None, epoch=None, save_relative_paths=False):
    """Makes the checkpoint `prefix` the newest one of a folder: in the manifest first, once it has read back from the disk as
    it was written, then in the `checkpoint` file. `kept` are the prefixes that stay, the oldest first."""
    path = _path_beside(save_dir, prefix, latest_filename)
    state = str(_state_to_write(save_dir, prefix, kept, None, None, save_relative_paths))
    # A client of a cluster whose disks it does not see can say nothing about what was written there.
    if epoch is not None or checkpoint_exists(prefix):
        Manifest(save_dir, latest_filename).add(prefix, step, epoch, list(kept) + [prefix], state)
    _files.write_atomically(path, state)


def _state_to_write(save_dir, model_checkpoint_path, all_model_checkpoint_paths, all_model_checkpoint_timestamps,
                    last_preserved_timestamp, save_relative_paths):
    paths = all_model_checkpoint_paths
    if save_relative_paths:
        relative = lambda p: os.path.relpath(p, save_dir) if os.path.isabs(p) == os.path.isabs(save_dir) else p
        model_checkpoint_path = relative(model_checkpoint_path)
        paths = [relative(p) for p in paths or []]
        state = CheckpointState(model_checkpoint_path, paths or [model_checkpoint_path],
                                all_model_checkpoint_timestamps or [], last_preserved_timestamp or 0.0)
        if model_checkpoint_path not in state.all_model_checkpoint_paths:
            state.all_model_checkpoint_paths.append(model_checkpoint_path)
    else:
        state = generate_checkpoint_state_proto(save_dir, model_checkpoint_path, paths,
                                                all_model_checkpoint_timestamps, last_preserved_timestamp)
    return state


def checkpoint_exists(checkpoint_prefix):
    """Whether a checkpoint of that prefix is there."""
    return os.path.exists(os.fspath(checkpoint_prefix) + ".index")


def _missing_part(prefix):
    """Why the checkpoint cannot be restored, or None: its index must be sound and every data file long enough."""
    if not checkpoint_exists(prefix):
        return "%s.index does not exist" % prefix
    try:
        entries, shards = read_index(prefix + ".index")
    except (OSError, ValueError) as e:
        return str(e)
    needed = [0] * shards
    for entry in entries.values():
        if not entry.slices and entry.shard < shards:
            needed[entry.shard] = max(needed[entry.shard], entry.offset + entry.size)
    for shard, size in enumerate(needed):
        path = "%s.data-%05d-of-%05d" % (prefix, shard, shards)
        try:
            if os.path.getsize(path) < size:
                return "%s is cut off" % path
        except OSError:
            return "%s does not exist" % path
    return None


def latest_checkpoint(checkpoint_dir, latest_filename=None):
    """The prefix of the newest complete checkpoint of a folder, or None. Incomplete ones are named in a warning.

    The manifest says which one that is, and whether its files are those that were written; where it is lost or damaged, or
    another program has written the `checkpoint` file since, that file says it. Where neither names a whole checkpoint, every
    one in the folder is looked at.
    """
    return find_latest(checkpoint_dir, latest_filename)[0]


def find_latest(folder, latest_filename=None):
    """(prefix of the newest complete checkpoint or None, why newer ones were passed over: a list)."""
    folder, reasons = os.fspath(folder), []
    state = get_checkpoint_state(folder, latest_filename)
    listed = []
    if state is not None:
        listed = [p for p in reversed(state.all_model_checkpoint_paths) if p != state.model_checkpoint_path]
        listed.insert(0, state.model_checkpoint_path)
    elif os.path.exists(_state_path(folder, latest_filename)):
        reasons.append("%s cannot be read" % _state_path(folder, latest_filename))
    elif not os.path.exists(os.path.join(folder, "checkpoint.epoch")):
        return None, []  # nobody has saved here, or somebody wants it to look so
    manifest = Manifest(folder, latest_filename)
    if manifest.decides() or not listed:
        noted = [_same_place(p, listed) or p for p in manifest.prefixes()]
        listed = noted + [p for p in listed if p not in noted]
    for prefix in itertools.chain(listed, _present(folder, listed)):
        missing = _missing_part(prefix) or manifest.why_not_whole(prefix)
        if missing is None:
            if _same_place(prefix, listed) is None:
                sl.logging.warning("%s names no complete checkpoint; %s was found beside it",
                                   _state_path(folder, latest_filename), prefix)
            return prefix, reasons
        sl.logging.warning("Skipping checkpoint %s: %s", prefix, missing)
        if glob.glob(glob.escape(prefix) + ".*"):
            reasons.append(missing)
    return None, reasons


def _present(folder, listed):
    """The prefixes of the indexes in a folder that are not listed, those of later steps first."""
    prefixes = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        prefix = os.path.join(folder, name[:-len(".index")])
        if name.endswith(".index") and not re.search(r"\.tmp-\d+-\d+$", prefix) and _same_place(prefix, listed) is None:
            step = re.search(r"-(\d+)$", prefix)
            prefixes.append((int(step.group(1)) if step else -1, os.path.getmtime(prefix + ".index"), prefix))
    return [prefix for _, _, prefix in sorted(prefixes, reverse=True)]


def _same_place(prefix, prefixes):
    """The one of `prefixes` that is the same path, or None."""
    return next((p for p in prefixes if os.path.abspath(p) == os.path.abspath(prefix)), None)


def checkpoints_iterator(checkpoint_dir, min_interval_secs=0, timeout=None, timeout_fn=None):
    """Gives the newest complete checkpoint of a folder again and again, each once, as they are written.

    Args:
      checkpoint_dir: the folder.
      min_interval_secs: at least so many seconds between two of them.
      timeout: how long to wait for a new one (None: for ever, which is for evaluators that somebody stops).
      timeout_fn: called when the time is up; the iterator ends when it gives True, or when there is none.
    """
    last = None
    while True:
        deadline = None if timeout is None else time.monotonic() + timeout
        found = latest_checkpoint(checkpoint_dir)
        while found is None or found == last:
            if deadline is not None and time.monotonic() + 0.1 > deadline:
                found = None
                break
            time.sleep(0.1)
            found = latest_checkpoint(checkpoint_dir)
        if found is None:
            if timeout_fn is None or timeout_fn():
                return
            continue
        started = time.monotonic()
        last = found
        yield found
        time.sleep(max(0.0, min_interval_secs - (time.monotonic() - started)))


def get_checkpoint_mtimes(checkpoint_prefixes):
    """The times at which those checkpoints that exist were written."""
    return [os.path.getmtime(p + ".index") for p in checkpoint_prefixes if os.path.exists(p + ".index")]


def remove_checkpoint(checkpoint_prefix, checkpoint_format_version=2, meta_graph_suffix="meta"):
    """Removes the files of one checkpoint; the index goes first, so that what is left never looks complete."""
    prefix = os.fspath(checkpoint_prefix)
    paths = [prefix + ".index"] + sorted(glob.glob(glob.escape(prefix) + ".data-" + _DATA))
    for path in paths + [prefix + "." + meta_graph_suffix]:
        if os.path.exists(path):
            os.remove(path)
