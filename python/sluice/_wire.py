"""The protobuf wire format in a page: enough to write events and to read checkpoint indices without the protobuf
package. `encode` takes (field number, value) pairs; the Python type of a value says how it is written."""
import struct


def varint(value):
    """An unsigned (or 64-bit two's complement) integer, seven bits a byte."""
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class Float(float):
    """Marks a number to be written as a 32-bit float."""


def encode(*fields):
    """A message from (number, value): int and bool as varint, float as double, Float as float, str and bytes as
    length-delimited; None is left out."""
    out = bytearray()
    for number, value in fields:
        if value is None:
            continue
        if isinstance(value, (str, bytes, bytearray)):
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
        elif isinstance(value, Float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            out += varint(number << 3) + varint(int(value))
    return bytes(out)


def read_varint(data, at):
    """(value, position after it)."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a varint does not end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def decode(data):
    """The fields of a message as a list of (number, value): ints for numbers, bytes for length-delimited and fixed."""
    fields, at, size = [], 0, len(data)
    while at < size:
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
        else:
            if kind == 2:
                length, at = read_varint(data, at)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise ValueError("unknown wire type %d" % kind)
            if length > size - at:
                raise ValueError("a field reaches beyond the end of its message")
            value, at = bytes(data[at:at + length]), at + length
        fields.append((key >> 3, value))
    return fields
