"""Pictures of 32 x 32 points with four coloured shapes, their descriptions, and questions about neighbours.

A question names one shape and a direction: who does not know what is where cannot answer it. That is what makes a
description worth writing.
"""

from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

SIZE = 32  # points a side
COLOURS = {"red": (220, 40, 40), "green": (40, 170, 60), "blue": (50, 80, 220), "yellow": (230, 210, 40)}
SHAPES = ("circle", "square", "triangle")
PLACES = ("top left", "top right", "bottom left", "bottom right")
DIRECTIONS = ("left of", "right of", "above", "below")

_CELL = SIZE // 2
_NEIGHBOURS = {0: {"right of": 1, "below": 2}, 1: {"left of": 0, "below": 3}, 2: {"right of": 3, "above": 0}}
_NEIGHBOURS[3] = {"left of": 2, "above": 1}
_THINGS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
_NOISE = 10  # standard deviation, of 255: no two pictures of the same things are equal


@dataclass(frozen=True)
class Scene:
    """Four different things: (colour, shape) at each of `PLACES`."""

    things: tuple[tuple[str, str], ...]

    @property
    def description(self) -> str:
        """Every thing with its place, in the order of `PLACES`."""
        return ", ".join(f"{place} {name(thing)}" for place, thing in zip(PLACES, self.things, strict=True))

    def question(self, rng: Random) -> tuple[str, str]:
        """A question about a neighbour of one of the things, and its answer."""
        asked = rng.randrange(len(self.things))
        direction, neighbour = rng.choice(list(_NEIGHBOURS[asked].items()))
        return f"what is {direction} the {name(self.things[asked])}?", name(self.things[neighbour])


def name(thing: tuple[str, str]) -> str:
    return " ".join(thing)


def draw_scene(rng: Random) -> Scene:
    return Scene(tuple(rng.sample(_THINGS, len(PLACES))))


def picture(scene: Scene, rng: Random) -> Image.Image:
    """The scene with noise of its own."""
    points = np.full((SIZE, SIZE, 3), 20.0)
    for place, (colour, shape) in enumerate(scene.things):
        row, column = divmod(place, 2)
        cell = points[_CELL * row : _CELL * (row + 1), _CELL * column : _CELL * (column + 1)]
        cell[_mask(shape)] = COLOURS[colour]
    noise = np.random.default_rng(rng.getrandbits(64)).normal(0, _NOISE, points.shape)
    return Image.fromarray(np.clip(points + noise, 0, 255).astype(np.uint8))


def _mask(shape: str) -> np.ndarray:
    """The points of a cell that the shape covers."""
    y, x = np.mgrid[:_CELL, :_CELL]
    middle = (_CELL - 1) / 2
    if shape == "square":
        return (abs(y - middle) < 5.5) & (abs(x - middle) < 5.5)
    if shape == "circle":
        return (y - middle) ** 2 + (x - middle) ** 2 < 30
    return (y > 2) & (y < 13) & (abs(x - middle) < (y - 2) * 0.5)
