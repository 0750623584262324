"""Images as tensors: reading and writing PNG."""
import sluice as sl
from sluice import raw_ops


def encode_png(image, compression=-1, name=None):
    """PNG bytes of a [height, width, 1-4] tensor of uint8 or uint16."""
    return raw_ops.EncodePng(image, compression=compression, name=name)


def decode_png(contents, channels=0, dtype=None, name=None):
    """The pixels of a PNG, as [height, width, channels]; channels 0 means those of the file."""
    return raw_ops.DecodePng(contents, channels=channels, dtype=dtype or sl.uint8, name=name)
