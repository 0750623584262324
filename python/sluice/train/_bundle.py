"""Reads the index of a checkpoint: which tensors it has, their types, shapes and shards.

The index is a sorted table of blocks (the LevelDB format) from tensor names to small messages. Only names and shapes
are read here; tensor data is read by the RestoreV2 op, which also checks it.
"""
import struct

from sluice import _records, _wire

MAGIC = 0xDB4775248B80FB57


class Entry:
    """What the index says about one tensor."""
    __slots__ = ("dtype", "shape", "shard", "offset", "size", "slices", "crc")

    def __init__(self, data):
        self.dtype = self.shard = self.offset = self.size = self.slices = self.crc = 0
        self.shape = []
        for number, value in _wire.decode(data):
            if number == 1:
                self.dtype = value
            elif number == 2:
                self.shape = [_dimension(v) for n, v in _wire.decode(value) if n == 2]
            elif number in (3, 4, 5):
                setattr(self, ("shard", "offset", "size")[number - 3], value)
            elif number == 6:
                self.crc = int.from_bytes(value, "little")
            elif number == 7:
                self.slices += 1

    @property
    def is_text(self):
        """Whether its elements have lengths of their own; their checksum is then not that of its bytes."""
        return self.dtype == 7


def _dimension(data):
    for number, value in _wire.decode(data):
        if number == 1:
            return value - (1 << 64) if value >> 63 else value
    return 0


def read_index(path, slices=False):
    """({tensor name: Entry}, number of shards). Raises ValueError when the file is not a whole, sound index.

    With `slices` the parts of partitioned tensors are there, too, under names that begin with a zero byte.
    """
    with open(path, "rb") as f:
        data = f.read()
    try:
        return _parse(data, slices)
    except (ValueError, IndexError, struct.error, UnicodeDecodeError) as e:
        raise ValueError("%s is not a sound checkpoint index: %s" % (path, e)) from None


def _parse(data, slices):
    if len(data) < 48 or struct.unpack_from("<Q", data, len(data) - 8)[0] != MAGIC:
        raise ValueError("the footer is missing (the file is cut off, or of another kind)")
    footer = data[-48:]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    entries, shards = {}, 1
    for _, handle in _block(data, index):
        for key, value in _block(data, _handle(handle, 0)[0]):
            if key == b"":
                shards = dict(_wire.decode(value)).get(1, 1)
            elif not key.startswith(b"\0"):
                entries[key.decode()] = Entry(value)
            elif slices:
                entries[key.decode("latin-1")] = Entry(value)
    return entries, shards


def _handle(data, at):
    """((offset, size) of a block, position after it)."""
    offset, at = _wire.read_varint(data, at)
    size, at = _wire.read_varint(data, at)
    return (offset, size), at


def _block(data, handle):
    """The (key, value) pairs of a block; keys share prefixes with their predecessors."""
    offset, size = handle
    if offset + size + 5 > len(data):
        raise ValueError("a block reaches beyond the end of the file")
    block = data[offset:offset + size]
    kind = data[offset + size]
    stored, = struct.unpack_from("<I", data, offset + size + 1)
    if stored != _records.masked_crc(data[offset:offset + size + 1]):
        raise ValueError("the checksum of the block at offset %d does not match" % offset)
    if kind == 1:
        block = _unsnappy(block)
    elif kind != 0:
        raise ValueError("unknown block compression %d" % kind)
    restarts, = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    at, key = 0, b""
    while at < end:
        shared, at = _wire.read_varint(block, at)
        own, at = _wire.read_varint(block, at)
        length, at = _wire.read_varint(block, at)
        if shared > len(key) or at + own + length > end:
            raise ValueError("a damaged entry in the block at offset %d" % offset)
        key = key[:shared] + block[at:at + own]
        yield key, block[at + own:at + own + length]
        at += own + length


def _unsnappy(data):
    """Decompresses a Snappy block."""
    size, at = _wire.read_varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:  # a literal run
            length = (tag >> 2) + 1
            if length > 60:
                extra = length - 60
                length = int.from_bytes(data[at:at + extra], "little") + 1
                at += extra
            out += data[at:at + length]
            at += length
            continue
        if tag & 3 == 1:  # a copy of earlier output
            length, back = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | data[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            length, back = (tag >> 2) + 1, int.from_bytes(data[at:at + width], "little")
            at += width
        if not 0 < back <= len(out):
            raise ValueError("damaged Snappy data")
        for _ in range(length):
            out.append(out[-back])
    if len(out) != size:
        raise ValueError("damaged Snappy data")
    return bytes(out)
