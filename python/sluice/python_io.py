"""TFRecord files: sequences of byte strings with checksums."""
import enum
import os
import zlib

from sluice import _records


class TFRecordCompressionType(enum.IntEnum):
    """How a record file is compressed as a whole."""
    NONE = 0
    ZLIB = 1
    GZIP = 2


class TFRecordOptions:
    """Options of record files: the compression of the whole file and its level."""

    compression_type_map = {TFRecordCompressionType.ZLIB: "ZLIB", TFRecordCompressionType.GZIP: "GZIP",
                            TFRecordCompressionType.NONE: ""}

    def __init__(self, compression_type=None, flush_mode=None, input_buffer_size=None, output_buffer_size=None,
                 window_bits=None, compression_level=None, compression_method=None, mem_level=None,
                 compression_strategy=None):
        self.get_compression_type_string(compression_type)
        self.compression_type, self.compression_level = compression_type, compression_level

    @classmethod
    def get_compression_type_string(cls, options):
        """ "", "ZLIB" or "GZIP" for options, a type or a name."""
        kind = getattr(options, "compression_type", options)
        kind = cls.compression_type_map.get(kind, kind) or ""
        if kind not in ("", "ZLIB", "GZIP"):
            raise ValueError('Not a valid compression_type: "%s"' % (kind,))
        return kind


class TFRecordWriter:
    """Writes records to a file; use it in a `with` statement."""

    def __init__(self, path, options=None):
        self._compress = None
        kind = TFRecordOptions.get_compression_type_string(options)
        if kind:
            level = getattr(options, "compression_level", None)
            self._compress = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED,
                                              31 if kind == "GZIP" else 15)
        self._file = open(os.fspath(path), "wb")

    def write(self, record):
        """Appends one record (bytes)."""
        if self._file is None:
            raise ValueError("the record file is closed")
        data = _records.frame(record.encode() if isinstance(record, str) else bytes(record))
        self._file.write(data if self._compress is None else self._compress.compress(data))

    def flush(self):
        """Hands what was written to the system."""
        if self._compress is not None:
            self._file.write(self._compress.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()

    def close(self):
        """Finishes the file."""
        if self._file is not None:
            if self._compress is not None:
                self._file.write(self._compress.flush())
            self._file.close()
            self._file = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def tf_record_iterator(path, options=None):
    """The records of a file, as bytes."""
    with _records.open_for_reading(os.fspath(path), TFRecordOptions.get_compression_type_string(options)) as f:
        yield from _records.read_records(f, os.fspath(path))
