"""Whether memory grows with what was done: a slope over many rests of a server, so that a step is no leak."""

import math
import statistics

# What a session may leave in a process for good, in bytes: less than its record takes, so that none may stay.
TOLERATED = 512


class Growth:
    """Bytes of a process against the number of things that it has done."""

    def __init__(self, name, noise):
        self.name = name
        self.noise = noise  # bytes by which two rests may differ though nothing leaks
        self.points = []

    def add(self, done, bytes):
        self.points.append((done, bytes))

    def done(self):
        return self.points[-1][0] - self.points[0][0]

    def slope(self):
        """Bytes for each thing done: the median over all pairs of points (Theil and Sen), which a single one hardly
        moves."""
        slopes = [(later[1] - earlier[1]) / (later[0] - earlier[0])
                  for number, earlier in enumerate(self.points) for later in self.points[number + 1:]
                  if later[0] > earlier[0]]
        return statistics.median(slopes) if slopes else 0.0

    def found(self):
        """The least leak for each thing done that would be found, in bytes."""
        return TOLERATED + self.noise / self.done() if self.done() else math.inf

    def leaks(self):
        return self.slope() > self.found()

    def __str__(self):
        first, last = self.points[0][1], self.points[-1][1]
        return (f"{self.name}: {first >> 10} KiB, {last >> 10} KiB after {self.done()} more, "
                f"{self.slope():.0f} B each; {self.found():.0f} B would be a leak")
