"""Pictures in POSIX shared memory: whoever takes one writes it there, and the algorithm's process reads the same pages.

An image is known by its id, which goes with a call as shared_mem_id beside its image_meta. The session that is called with
it owns it from then on and removes it; until then it is its maker's to remove.
"""

from __future__ import annotations

import mmap
import os
import re
import secrets
import zlib
from typing import Any, Optional

from .codes import StepError

CHANNELS = {"gray8": 1, "rgb8": 3, "bgr8": 3, "rgba8": 4, "gray16": 1}
PIXEL_BYTES = {**CHANNELS, "gray16": 2}  # in the machine's order
LONGEST_SIDE = 65_535
IMAGE_BYTES = 1 << 30
_FOLDER = "/dev/shm/"
_ID = re.compile(r"sojourn-image-[A-Za-z0-9_-]{1,114}")
_CHECKSUM = re.compile(r"crc32:[0-9a-fA-F]{8}")

Meta = dict[str, Any]


class Image:
    """An image that was opened: `data` is a view of all its rows, read-only, without a copy, for as long as it lives."""

    def __init__(self, meta: Meta, data: memoryview) -> None:
        self.width: int = meta["width"]
        self.height: int = meta["height"]
        self.format: str = meta["format"]
        self.channels: int = CHANNELS[self.format]
        self.stride: int = meta["stride"]
        self.data = data

    def array(self) -> Any:
        """The pixels as a numpy array of height, width and channels, without a copy: of uint16 for gray16, else uint8."""
        import numpy

        kind = numpy.dtype(numpy.uint16 if self.format == "gray16" else numpy.uint8)
        rows = numpy.frombuffer(self.data, kind).reshape(self.height, self.stride // kind.itemsize)
        return rows[:, : self.width * self.channels].reshape(self.height, self.width, self.channels)


def is_image_id(id: object) -> bool:
    """Whether it is one that put_image may have made: no other shared memory is opened or removed."""
    return isinstance(id, str) and _ID.fullmatch(id) is not None


def put_image(data: Any, width: int, height: int, format: str = "rgb8", stride: Optional[int] = None) -> tuple[str, Meta]:
    """Writes an image, given as bytes (or what has a buffer) of all its rows; returns its id and its image_meta, with
    the checksum. Raises StepError for a description that does not hold together, OSError where there is no room."""
    view = memoryview(data).cast("B")
    meta = check_meta({"width": width, "height": height, "format": format, "stride": stride})
    if len(view) != meta["stride"] * height:
        raise StepError(f"the image has {len(view)} bytes; {meta['stride'] * height} are declared", "image_load_failed")
    id = f"sojourn-image-{secrets.token_hex(16)}"
    file = os.open(_FOLDER + id, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(file, 0, len(view))
        written = 0
        while written < len(view):
            written += os.pwrite(file, view[written:], written)
    except BaseException:
        remove_image(id)
        raise
    finally:
        os.close(file)
    return id, {**meta, "checksum": f"crc32:{zlib.crc32(view):08x}"}


def open_image(shared_mem_id: str, image_meta: Meta) -> Image:
    """Opens an image, and verifies its size and, where one is declared, its checksum. Raises StepError; there never is
    a picture in place of one that cannot be had."""
    _check_id(shared_mem_id)
    meta = check_meta(image_meta)
    try:
        file = os.open(_FOLDER + shared_mem_id, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise StepError(
            f"shared_mem_id: {shared_mem_id} cannot be opened: {error.strerror}", "image_not_found"
        ) from None
    try:
        size, needed = os.fstat(file).st_size, meta["stride"] * meta["height"]
        if size < needed:
            raise StepError(
                f"{shared_mem_id} has {size} bytes; its image_meta declares {needed}", "image_load_failed"
            )
        data = memoryview(mmap.mmap(file, needed, mmap.MAP_SHARED, mmap.PROT_READ))
    finally:
        os.close(file)
    if "checksum" in meta and zlib.crc32(data) != int(meta["checksum"][6:], 16):
        raise StepError(f"{shared_mem_id} has another checksum than is declared", "image_load_failed")
    return Image(meta, data)


def read_image_from_shared_memory(shared_mem_id: str, image_meta: Meta) -> Any:
    """The image as the ProcVision SDK gives it: a numpy array of height, width and 3 channels in the order R, G, B, or
    4 with alpha; gray16 has 3 of uint16. What is wrong with it is a StepError, not a black picture."""
    import numpy

    image = open_image(shared_mem_id, image_meta)
    pixels = image.array()
    if image.channels == 1:
        return numpy.repeat(pixels, 3, axis=2)
    return pixels[:, :, ::-1] if image.format == "bgr8" else pixels


def remove_image(shared_mem_id: str) -> bool:
    """Whether there was such an image. Raises StepError for what is no id of an image."""
    _check_id(shared_mem_id)
    try:
        os.unlink(_FOLDER + shared_mem_id)
    except FileNotFoundError:
        return False
    return True


def check_meta(meta: Meta) -> Meta:
    """The fields of an image_meta that say what the image is, complete. Raises StepError, which names the field."""
    width = _number(meta, "width", 1, LONGEST_SIDE)
    height = _number(meta, "height", 1, LONGEST_SIDE)
    format = meta.get("format")
    if not isinstance(format, str) or format not in CHANNELS:
        raise StepError(f"image_meta.format: must be one of {', '.join(CHANNELS)}", "unsupported_color_space")
    channels = CHANNELS[format]
    if meta.get("channels") is not None:
        _number(meta, "channels", channels, channels)
    stride = width * PIXEL_BYTES[format]
    if meta.get("stride") is not None:
        stride = _number(meta, "stride", stride, IMAGE_BYTES)
    if stride % 2 != 0 and format == "gray16":
        raise _refused("stride", "must be even: a pixel has two bytes")
    if stride * height > IMAGE_BYTES:
        raise _refused("height", f"an image has at most {IMAGE_BYTES} bytes")
    checked = {"width": width, "height": height, "channels": channels, "stride": stride, "format": format}
    if (checksum := meta.get("checksum")) is not None:
        if not (isinstance(checksum, str) and _CHECKSUM.fullmatch(checksum)):
            raise _refused("checksum", 'must be "crc32:" and eight hex digits')
        checked["checksum"] = checksum
    return checked


def _number(meta: Meta, key: str, least: int, most: int) -> int:
    value = meta.get(key)
    if type(value) is not int or not least <= value <= most:
        raise _refused(key, f"must be a whole number from {least} to {most}")
    return value


def _check_id(id: object) -> None:
    if id == "":
        raise StepError("shared_mem_id: is missing; the step was given no picture", "image_not_found")
    if not is_image_id(id):
        raise StepError(f'shared_mem_id: "{id}" is no id of an image; it starts with sojourn-image-', "image_not_found")


def _refused(key: str, reason: str) -> StepError:
    return StepError(f"image_meta.{key}: {reason}", "image_load_failed")
