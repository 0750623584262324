"""The manifest of a folder of checkpoints: what was committed there, whole, in the order in which it was.

The file (`checkpoint.manifest` beside `checkpoint`) has one line for each checkpoint that is kept, the oldest first, after a
line about the file `checkpoint`. Each line is a masked CRC-32C of what follows it, and JSON:

    a1b2c3d4 {"checkpoint": [305419896, 2271560481]}
    9d1c7a02 {"prefix": "model.ckpt-20", "step": 20, "epoch": 3, "files": {"model.ckpt-20.index": [1480, "8f43..."], ...},
              "holds": ["optimizer", "step"]}

`files` gives the size and the SHA-256 (as sha256sum prints it) of every file. `holds` says which kinds of state beside the variables are in it:
"step", "optimizer", "random", "iterator". A line whose checksum does not match counts for nothing, the others stay.

The manifest decides which checkpoint is the newest and whether it is whole. It steps back where somebody else has written
`checkpoint` since (TensorFlow, or a person who wants an older one): it knows by the checksums of that file, as it was
before the last commit and as it is after it.
"""
import hashlib
import json
import os
import re

from sluice import _files
from sluice import errors
from sluice._native import _sluice
from sluice.train import _bundle

_KINDS = (("random", re.compile(r"(^|/)(rng_state|random_state|philox|seed_state)(_\d+)?$", re.IGNORECASE)),
          ("iterator", re.compile(r"(^|/)([a-z_]*iterator[a-z_]*|input_position)(_\d+)?(/|$)", re.IGNORECASE)))
_CHUNK = 4 << 20
_whole = {}  # (path, identity of the file) -> its hash: a file that has not changed is read once


class Manifest:
    """The lines of a manifest.

    entries: {prefix relative to the folder: its line as a dictionary}, the oldest first.
    """

    def __init__(self, folder, latest_filename=None):
        self._given = os.fspath(folder)
        self.folder = os.path.abspath(self._given)
        self._state = os.path.join(self.folder, latest_filename or "checkpoint")
        self.path = self._state + ".manifest"
        self.entries, self._states, self.damaged = {}, [], False
        try:
            with _files.naming(self.path), open(self.path, "rb") as f:
                text = f.read()
        except FileNotFoundError:
            return
        lines = text.split(b"\n")
        self.damaged = bool(lines.pop())  # the end of the last line
        for line in lines:
            fields = _read_line(line)
            if fields is None:
                self.damaged = True
            elif "checkpoint" in fields:
                self._states = fields["checkpoint"]
            else:
                self.entries[fields["prefix"]] = fields

    @property
    def epoch(self):
        """The newest epoch that has committed here; 0 where none did."""
        return max([e["epoch"] or 0 for e in self.entries.values()], default=0)

    def decides(self):
        """Whether the order of its lines is that of the checkpoints: nobody else has written `checkpoint` since."""
        if not self.entries or self.damaged:
            return False
        now = _state_checksum(self._state)
        return now is None or now in self._states

    def prefixes(self):
        """The prefixes as paths, the newest first."""
        return [os.path.join(self._given, name) for name in reversed(self.entries)]

    def why_not_whole(self, prefix):
        """What is wrong with the files of a checkpoint, or None: also when the manifest does not know it."""
        entry = self.entries.get(_name(self.folder, prefix))
        if entry is None:
            return None
        for name, (size, digest) in entry["files"].items():
            path = os.path.join(self.folder, name)
            try:
                found = os.path.getsize(path)
                if found != size:
                    return "%s has %d bytes, %d were written" % (path, found, size)
                if _hash_of(path) != digest:
                    return "%s is damaged: its SHA-256 is not the one in %s" % (path, self.path)
            except OSError as e:
                return "%s cannot be read: %s" % (path, e.strerror)
        return None

    def add(self, prefix, step, epoch, kept, state_text):
        """Notes a checkpoint as the newest one, keeps the lines of `kept` alone, and writes the file, before `checkpoint`
        gets the content `state_text`. Raises DataLossError when what is on the disk is not what was saved."""
        name = _name(self.folder, prefix)
        files, holds = verified(prefix)
        keep = {_name(self.folder, p) for p in kept}
        entries = {n: e for n, e in self.entries.items() if n in keep and n != name}
        entries[name] = {"prefix": name, "step": step, "epoch": epoch, "files": files, "holds": holds}
        states = [c for c in (_state_checksum(self._state), _sluice.crc32c(state_text.encode())) if c is not None]
        lines = [{"checkpoint": states}] + list(entries.values())
        _files.write_atomically(self.path, b"".join(_line(fields) for fields in lines))
        self.entries, self._states, self.damaged = entries, states, False


def verified(prefix):
    """({name of a file: [size, SHA-256]}, kinds of state) of a checkpoint, read back from the disk and checked: every tensor
    against its checksum in the index. Raises DataLossError that names the file."""
    prefix = os.path.abspath(prefix)
    try:
        entries, shards = _bundle.read_index(prefix + ".index", slices=True)
    except (OSError, ValueError) as e:
        raise errors.DataLossError(None, None, "the checkpoint %s does not read back: %s" % (prefix, e)) from None
    parts = [[] for _ in range(shards)]
    for name, entry in entries.items():
        if not entry.slices and entry.shard < shards:
            parts[entry.shard].append((name, entry))
    files = {}
    for path in [prefix + ".index"] + ["%s.data-%05d-of-%05d" % (prefix, i, shards) for i in range(shards)]:
        files[os.path.basename(path)] = [os.path.getsize(path), _hash_of(path)]
    for shard, tensors in enumerate(parts):
        path = "%s.data-%05d-of-%05d" % (prefix, shard, shards)
        with _files.naming(path), open(path, "rb") as f:
            for name, entry in tensors:
                f.seek(entry.offset)
                left, checksum = entry.size, 0
                while left > 0:
                    part = f.read(min(left, _CHUNK))
                    if not part:
                        break
                    left, checksum = left - len(part), _sluice.crc32c(part, checksum)
                if left or not entry.is_text and masked(checksum) != entry.crc:
                    raise errors.DataLossError(None, None, "the checkpoint %s does not read back as it was written: tensor "
                                               "'%s' in %s" % (prefix, name, path))
    return files, _kinds(entries)


def masked(checksum):
    """A CRC-32C as the file formats store it."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _kinds(names):
    """Which kinds of state beside variables a checkpoint with these tensors has."""
    found = {"step"} if "global_step" in names else set()
    for name in names:
        owner, _, rest = name.rpartition("/")
        if (rest and owner in names) or re.search(r"(^|/)beta\d_power(_\d+)?$", name):
            found.add("optimizer")  # a slot has the name of its variable and then its own
        found.update(kind for kind, pattern in _KINDS if pattern.search(name))
    return sorted(found)


def _name(folder, prefix):
    return os.path.relpath(os.path.abspath(prefix), folder)


def _line(fields):
    text = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %s\n" % (masked(_sluice.crc32c(text)), text)


def _read_line(line):
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) != masked(_sluice.crc32c(text)):
            return None
        return json.loads(text)
    except ValueError:
        return None


def _state_checksum(path):
    try:
        with open(path, "rb") as f:
            return _sluice.crc32c(f.read())
    except FileNotFoundError:
        return None


def _hash_of(path):
    status = os.stat(path)
    key = (path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key not in _whole:
        if len(_whole) > 1000:
            _whole.clear()
        digest = hashlib.sha256()
        with _files.naming(path), open(path, "rb") as f:  # read, not mapped: a file that is cut meanwhile ends no process
            for chunk in iter(lambda: f.read(_CHUNK), b""):
                digest.update(chunk)
        _whole[key] = digest.hexdigest()
    return _whole[key]
