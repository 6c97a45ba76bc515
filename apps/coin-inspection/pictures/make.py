#!/usr/bin/python3
"""Makes the production pictures from the photograph, as README.md says: pictures/make.py MOON_PNG (needs numpy)."""

import sys
from pathlib import Path

import numpy

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "coin-inspection-python"))

from png import read_png, write_png


def another_shot(photograph, seed):
    """The same scene with the camera moved by 3 and 2 pixels, a tenth more light, and noise."""
    noise = numpy.random.default_rng(seed).normal(0, 2, photograph.shape)
    moved = numpy.roll(photograph.astype(float), (2, 3), (0, 1))
    moved[:2], moved[:, :3] = moved[2], moved[:, 3:4]
    return (moved * 1.1 + noise).clip(0, 255).astype(numpy.uint8)


def cover(photograph, x, y, width, height, from_x, from_y):
    """Lays the cloth at another place over a part."""
    photograph[y : y + height, x : x + width] = photograph[from_y : from_y + height, from_x : from_x + width]


def main():
    photograph, moon = read_png(HERE / "reference.png"), read_png(sys.argv[1])
    write_png(HERE / "good.png", another_shot(photograph, 1))

    missing = photograph.copy()
    cover(missing, 129, 105, 50, 44, 129, 75)
    cover(missing, 129, 128, 50, 22, 129, 80)
    write_png(HERE / "missing.png", another_shot(missing, 2))

    damaged = photograph.copy()
    for top in (170, 194):
        cover(damaged, 100, top, 28, 24, 60, 148)
    write_png(HERE / "damaged.png", another_shot(damaged, 3))

    foreign = missing.copy()
    y, x = numpy.mgrid[-19:20, -19:20]
    disk = x * x + y * y <= 19 * 19
    foreign[108:147, 134:173][disk] = moon[64:103, 128:167][disk]
    write_png(HERE / "foreign.png", another_shot(foreign, 4))


if __name__ == "__main__":
    main()
