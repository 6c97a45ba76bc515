"""PNG files of one grey value a pixel in 8 bits, without interlacing: all that the app's pictures are."""

import struct
import zlib
from pathlib import Path

import numpy

_HEAD = b"\x89PNG\r\n\x1a\n"


def read_png(path):
    """The grey values. Raises ValueError for what is no such file, or not whole."""
    data, at, packed, shape = Path(path).read_bytes(), len(_HEAD), b"", None
    if not data.startswith(_HEAD):
        raise ValueError("is no PNG file")
    try:
        while at < len(data):
            length, kind = struct.unpack(">I4s", data[at : at + 8])
            chunk, at = data[at + 8 : at + 8 + length], at + 12 + length
            if kind == b"IHDR":
                width, height, *rest = struct.unpack(">IIBBBBB", chunk)
                if rest[:2] != [8, 0] or rest[4] != 0:
                    raise ValueError("is no PNG file of 8 bits grey, without interlacing")
                shape = (height, width)
            elif kind == b"IDAT":
                packed += chunk
        rows = numpy.frombuffer(zlib.decompress(packed), numpy.uint8).reshape(shape[0], shape[1] + 1)
    except (struct.error, zlib.error, TypeError) as error:
        raise ValueError(f"is a broken PNG file: {error}") from None
    pixels = numpy.zeros((shape[0] + 1, shape[1]), numpy.uint8)
    for y, row in enumerate(rows):
        pixels[y + 1] = _unfiltered(row[0], row[1:], pixels[y])
    return pixels[1:]


def write_png(path, pixels):
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    with open(path, "wb") as file:
        file.write(_HEAD)
        for kind, chunk in chunks:
            file.write(struct.pack(">I", len(chunk)) + kind + chunk + struct.pack(">I", zlib.crc32(kind + chunk)))


def _unfiltered(kind, row, above):
    """A row's values, each told as what differs from those left of it and above."""
    if kind == 0:
        return row
    if kind == 2:
        return row + above
    now, left, corner = [], 0, 0
    for value, up in zip(row.tolist(), above.tolist()):
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + up) // 2
        else:
            guess = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
        left, corner = (value + guess) & 255, up
        now.append(left)
    return now
