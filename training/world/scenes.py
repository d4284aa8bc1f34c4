"""Scenes: what is in a picture and where, drawn from (seed, index), and the renderer.

The same (seed, index, options) always gives the same scene and the same pixels.
"""
from dataclasses import dataclass

import numpy as np

from world.backgrounds import BACKGROUNDS, paint
from world.sprites import ANIMALS, COLOURS, OBJECTS, extent, sprite

SIZE = 128
SPRITE_SIZES = {1: (60, 84), 2: (46, 60), 3: (38, 44)}
RELATIONS = ("left of", "right of", "above", "below", "and")

# Never drawn in training: what a model can do with them shows whether it combines or remembers.
HELD_OUT_COLOURS = {("balloon", "purple"), ("heart", "green"), ("star", "blue"), ("car", "pink"),
                    ("umbrella", "orange"), ("apple", "cyan"), ("shirt", "yellow"), ("flower", "red")}
HELD_OUT_PAIRS = {frozenset(p) for p in (
    ("cat", "owl"), ("dog", "lion"), ("panda", "frog"), ("fox", "penguin"), ("pig", "bear"), ("cat", "star"),
    ("dog", "umbrella"), ("panda", "heart"), ("frog", "shirt"), ("owl", "apple"), ("balloon", "car"), ("star", "flower"))}


@dataclass(frozen=True)
class Subject:
    name: str
    colour: str | None  # None for animals, which have their own
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 of the visible part, in pixels
    corner: tuple[int, int]  # where the sprite's square is pasted
    size: int


@dataclass(frozen=True)
class Scene:
    subjects: tuple[Subject, ...]
    relation: str | None  # of the first subject to the second; None for one or three subjects
    background: str
    seed: tuple[int, int]


@dataclass(frozen=True)
class Options:
    counts: tuple[float, float, float] = (0.75, 0.2, 0.05)  # chances of one, two, three subjects
    object_share: float = 0.65  # objects come in eight colours each, so they need more pictures than animals
    grid: int = 1  # sizes and places are multiples of this; 8 gives a sprite the same latents wherever it stands
    wander: float = 64  # how far from the middle, in pixels, a single subject may stand
    held_out: bool = False  # True draws only scenes that training never saw

    @staticmethod
    def of(values: dict) -> "Options":
        """From a configuration's `world`."""
        return Options(**{**values, "counts": tuple(values["counts"])})


def sample_scene(seed: int, index: int, options: Options = Options()) -> Scene:
    rng = np.random.default_rng((seed, index))
    while True:
        count = 1 + int(rng.choice(3, p=options.counts))
        kinds = [_kind(rng, options) for _ in range(count)]
        if _allowed(kinds, options.held_out):
            break
    relation, cells = _layout(count, rng)
    subjects = tuple(_place(kind, cell, count, options, rng) for kind, cell in zip(kinds, cells))
    return Scene(subjects, relation, BACKGROUNDS[rng.integers(len(BACKGROUNDS))], (seed, index))


def render(scene: Scene) -> np.ndarray:
    """uint8 [SIZE, SIZE, 3]."""
    rng = np.random.default_rng((*scene.seed, 1))
    canvas = paint(scene.background, SIZE, rng)
    for s in scene.subjects:
        rgba = sprite(s.name, s.colour, s.size).astype(np.float32)
        x, y = s.corner
        part = canvas[y:y + s.size, x:x + s.size]
        part += (rgba[..., :3] - part) * (rgba[..., 3:] / 255)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def _kind(rng: np.random.Generator, options: Options) -> tuple[str, str | None]:
    if rng.random() < options.object_share:
        return list(OBJECTS)[rng.integers(len(OBJECTS))], list(COLOURS)[rng.integers(len(COLOURS))]
    return list(ANIMALS)[rng.integers(len(ANIMALS))], None


def _allowed(kinds: list[tuple[str, str | None]], held_out: bool) -> bool:
    names = [name for name, _ in kinds]
    if len(set(names)) < len(names):  # two cats would make "the cat" ambiguous
        return False
    unseen = any(kind in HELD_OUT_COLOURS for kind in kinds)
    unseen |= any(frozenset((a, b)) in HELD_OUT_PAIRS for i, a in enumerate(names) for b in names[:i])
    return unseen == held_out


def _layout(count: int, rng: np.random.Generator) -> tuple[str | None, list[tuple[float, float]]]:
    """The relation and the centre of each subject as fractions of the picture."""
    if count == 1:
        return None, [(0.5, 0.5)]
    if count == 3:
        return None, [((2 * i + 1) / 6, 0.5) for i in rng.permutation(3)]
    sideways = rng.random() < 0.7
    centres = [(0.26, 0.5), (0.74, 0.5)] if sideways else [(0.5, 0.26), (0.5, 0.74)]
    order = int(rng.integers(2))
    relation = RELATIONS[(0 if sideways else 2) + order]
    if rng.random() < 0.6:
        relation = "and"
    return relation, centres[::-1] if order else centres


def _place(kind, centre, count: int, options: Options, rng: np.random.Generator) -> Subject:
    low, high = SPRITE_SIZES[count]
    grid = options.grid
    unit = max(grid, 2)  # even sizes halve the number of sprites kept
    # Where a coarse grid has no size in the range, the next smaller one.
    size = int(rng.integers(min(-(-low // unit), high // unit), high // unit + 1)) * unit
    # One subject wanders over the picture; several keep to their places so that the relation stays true.
    jitter = min((SIZE - size) / 2, options.wander) if count == 1 else 5 if count == 2 else 2
    jitters = [jitter, jitter if count < 3 else 30]
    corner = []
    for c, j in zip(centre, jitters):
        at = c * SIZE - size / 2 + rng.uniform(-j, j)
        corner.append(int(np.clip(round(at / grid) * grid, 0, SIZE - size)))
    x0, y0, x1, y1 = extent(kind[0], size)
    x, y = corner
    return Subject(kind[0], kind[1], (x + x0, y + y0, x + x1, y + y1), (x, y), size)
