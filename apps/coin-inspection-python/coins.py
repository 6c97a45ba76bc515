"""Finds the coins in a photograph of bright coins on dark cloth, and tells one from another."""

import numpy
from scipy import ndimage

WIDEST_COIN = 70  # pixels; what is brighter and wider is light on the cloth
LOOK_SIDE = 16


def lifted(gray):
    """`gray` less the cloth: uneven light is taken away, so that one threshold fits all of it."""
    smooth = ndimage.gaussian_filter(gray.astype(float), 1.2)
    # The cloth as it is without coins: the darkest of each neighbourhood, where no coin fills all of it.
    margin = WIDEST_COIN // 2
    wide = numpy.pad(smooth, margin, mode="edge")
    cloth = ndimage.gaussian_filter(ndimage.grey_opening(wide, size=(WIDEST_COIN + 1, WIDEST_COIN + 1)), 10)
    return numpy.clip(smooth - cloth[margin:-margin, margin:-margin], 0, 255)


def threshold_of(lifted):
    """The threshold that parts coins and cloth best (Otsu)."""
    counts = numpy.bincount(lifted.astype(int).ravel(), minlength=256).astype(float)
    below = counts.cumsum()
    weight = (counts * numpy.arange(256)).cumsum()
    both = below * (below[-1] - below)
    apart = numpy.zeros(256)
    numpy.divide((weight[-1] * below / below[-1] - weight) ** 2, both, out=apart, where=both > 0)
    return float(apart.argmax())


def find(gray, threshold, least_area):
    """The coins of at least `least_area` pixels, as JSON has them."""
    margin = 8
    mask = numpy.pad(lifted(gray) > threshold, margin)
    mask = ndimage.binary_fill_holes(ndimage.binary_closing(mask, _disk(3)))  # dark reliefs inside a coin belong to it
    mask = ndimage.binary_opening(mask, _disk(4))[margin:-margin, margin:-margin]
    labels, count = ndimage.label(mask, numpy.ones((3, 3)))
    areas = numpy.bincount(labels.ravel(), minlength=count + 1)[1:]
    found = []
    for place, area in zip(ndimage.find_objects(labels), areas):
        if area >= least_area:
            y, x = place
            found.append({
                "x": x.start, "y": y.start, "width": x.stop - x.start, "height": y.stop - y.start,
                "area": float(area), "look": look(gray, x.start, y.start, x.stop - x.start, y.stop - y.start),
            })  # fmt: skip
    return found


def centre(coin):
    return numpy.array([coin["x"] + coin["width"] / 2, coin["y"] + coin["height"] / 2])


def likeness(coin, gray, shift):
    """How much a picture shows this coin, where it should be: 1 for the same, about 0 for any other."""
    x, y = round(coin["x"] + shift[0]), round(coin["y"] + shift[1])
    first = numpy.array(coin["look"], float)
    second = numpy.array(look(gray, x, y, coin["width"], coin["height"]), float)
    first, second = first - first.mean(), second - second.mean()
    size = numpy.sqrt((first @ first) * (second @ second))
    return float(first @ second / size) if size else 0.0


def look(gray, x, y, width, height):
    """The grey values of a place, scaled down to a square; its rim is left out, which is much like any other coin's."""
    left, top = max(x + width // 6, 0), max(y + height // 6, 0)
    pixels = gray[top : y + height - height // 6, left : x + width - width // 6].astype(float)
    if 0 in pixels.shape:
        return [0] * LOOK_SIDE**2
    factors = [LOOK_SIDE / length for length in pixels.shape]
    return ndimage.zoom(ndimage.gaussian_filter(pixels, 1), factors, order=1).round().astype(int).ravel().tolist()


def _disk(radius):
    y, x = numpy.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius
