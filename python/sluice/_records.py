"""Record framing (length, masked CRC-32C of the length, payload, masked CRC-32C of the payload), as used by TFRecord
and event files. The native library computes the checksum when it is there; else a table in Python does."""
import struct
import zlib

MAX_RECORD = 1 << 31


def _tables():
    first = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        first.append(crc)
    tables = [first]
    for _ in range(7):
        tables.append([first[crc & 0xFF] ^ crc >> 8 for crc in tables[-1]])
    return tables


_slices = None


def _crc32c_python(data):
    """CRC-32C, eight bytes at a time."""
    global _slices
    if _slices is None:
        _slices = _tables()
    t0, t1, t2, t3, t4, t5, t6, t7 = _slices
    crc = 0xFFFFFFFF
    view = memoryview(data).cast("B")
    whole = len(view) // 8 * 8
    for low, high in struct.iter_unpack("<II", view[:whole]):
        low ^= crc
        crc = (t7[low & 0xFF] ^ t6[low >> 8 & 0xFF] ^ t5[low >> 16 & 0xFF] ^ t4[low >> 24]
               ^ t3[high & 0xFF] ^ t2[high >> 8 & 0xFF] ^ t1[high >> 16 & 0xFF] ^ t0[high >> 24])
    for byte in view[whole:]:
        crc = t0[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def crc32c(data):
    """CRC-32C (Castagnoli) of a bytes-like object."""
    return _crc32c(data)


try:
    from sluice._sluice import crc32c as _crc32c
except ImportError:
    _crc32c = _crc32c_python


def masked_crc(data):
    """The checksum in the form that files hold: rotated and offset, so that data which contains CRCs is safe."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(payload):
    """One record, ready to be appended to a file."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, struct.pack("<I", masked_crc(length)), payload, struct.pack("<I", masked_crc(payload))))


def read_records(file, name):
    """The payloads of an open binary file. Raises DataLossError where a record is damaged or cut off."""
    from sluice import errors
    offset = 0
    while True:
        header = file.read(12)
        if not header:
            return
        if len(header) < 12:
            raise errors.DataLossError(None, None, "%s: truncated record at offset %d" % (name, offset))
        length, = struct.unpack_from("<Q", header)
        if struct.unpack_from("<I", header, 8)[0] != masked_crc(header[:8]) or length > MAX_RECORD:
            raise errors.DataLossError(None, None, "%s: corrupted record length at offset %d" % (name, offset))
        payload = file.read(length + 4)
        if len(payload) < length + 4:
            raise errors.DataLossError(None, None, "%s: truncated record at offset %d" % (name, offset))
        if struct.unpack_from("<I", payload, length)[0] != masked_crc(memoryview(payload)[:length]):
            raise errors.DataLossError(None, None, "%s: corrupted record at offset %d" % (name, offset))
        yield payload[:length]
        offset += 16 + length


def open_for_reading(path, compression):
    """An open file whose bytes are decompressed: compression is "", "GZIP" or "ZLIB"."""
    if compression in ("", None):
        return open(path, "rb")
    if compression == "GZIP":
        import gzip
        return gzip.open(path, "rb")
    if compression == "ZLIB":
        import io
        with open(path, "rb") as f:
            return io.BytesIO(zlib.decompress(f.read()))
    raise ValueError('compression must be "", "GZIP" or "ZLIB", got %r' % (compression,))
