"""Images as tensors: coding and resizing."""
import sluice as sl
from sluice import raw_ops


class ResizeMethod:
    """How resize_images finds new pixels."""
    BILINEAR = 0
    NEAREST_NEIGHBOR = 1


def encode_png(image, compression=-1, name=None):
    """PNG bytes of a [height, width, 1-4] tensor of uint8 or uint16."""
    return raw_ops.EncodePng(image, compression=compression, name=name)


def decode_png(contents, channels=0, dtype=None, name=None):
    """The pixels of a PNG, as [height, width, channels]; channels 0 means those of the file."""
    return raw_ops.DecodePng(contents, channels=channels, dtype=dtype or sl.uint8, name=name)


def decode_jpeg(contents, channels=0, name=None, **attrs):
    """The pixels of a JPEG, as [height, width, channels]."""
    return raw_ops.DecodeJpeg(contents, channels=channels, name=name, **attrs)


def encode_jpeg(image, quality=95, name=None, **attrs):
    """JPEG bytes of a [height, width, 1 or 3] tensor of uint8."""
    return raw_ops.EncodeJpeg(image, quality=quality, name=name, **attrs)


def resize_bilinear(images, size, align_corners=False, name=None, half_pixel_centers=False):
    """[batch, height, width, channels] at another size, interpolated."""
    return raw_ops.ResizeBilinear(images, size, align_corners=align_corners, half_pixel_centers=half_pixel_centers,
                                  name=name)


def resize_nearest_neighbor(images, size, align_corners=False, name=None, half_pixel_centers=False):
    """[batch, height, width, channels] at another size, from the nearest pixels."""
    return raw_ops.ResizeNearestNeighbor(images, size, align_corners=align_corners,
                                         half_pixel_centers=half_pixel_centers, name=name)


def resize_images(images, size, method=ResizeMethod.BILINEAR, align_corners=False):
    """A batch of images, or one image, at another size; float32 unless the method is nearest neighbour."""
    images = sl.convert_to_tensor(images)
    single = images.shape.ndims == 3
    batch = sl.expand_dims(images, 0) if single else images
    op = resize_nearest_neighbor if method == ResizeMethod.NEAREST_NEIGHBOR else resize_bilinear
    result = op(batch, size, align_corners=align_corners)
    return sl.squeeze(result, [0]) if single else result


resize = resize_images
