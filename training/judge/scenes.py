"""Pictures with everything a detector is asked to say about them.

Unlike the scenes a denoiser learns from, these hold what generators get wrong: a subject twice, animals in the colours
of objects, subjects that overlap, fused and broken ones, backgrounds that change half way.
"""
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from judge.damage import NAMES, broken, fused, sound, tint
from world.backgrounds import BACKGROUNDS, paint
from world.scenes import SIZE, Options, render, sample_scene
from world.sprites import COLOURS

COLOUR_NAMES = ("own", *COLOURS)
UNKNOWN_SUBJECT = len(NAMES)
UNKNOWN_BACKGROUND = len(BACKGROUNDS)
MOST = 4  # objects in a picture


@dataclass
class Labels:
    """Of one picture; rows past `count` are empty."""
    count: int
    box: np.ndarray  # float32 [MOST, 4]: x0, y0, x1, y1
    subject: np.ndarray  # int64 [MOST]
    colour: np.ndarray  # float32 [MOST, 1 + colours]: shares
    background: int


def empty_labels(background: int) -> Labels:
    return Labels(0, np.zeros((MOST, 4), np.float32), np.zeros(MOST, np.int64), np.zeros((MOST, len(COLOUR_NAMES)), np.float32), background)


def add(labels: Labels, box, subject: int, colours: dict[str | None, float]) -> None:
    row = labels.count
    labels.box[row], labels.subject[row] = box, subject
    for colour, share in colours.items():
        labels.colour[row, COLOUR_NAMES.index(colour or "own")] += share
    labels.count += 1


def plain_scene(seed: int, index: int, options: Options) -> tuple[np.ndarray, Labels]:
    """A scene of the world as the denoiser sees it."""
    scene = sample_scene(seed, index, options)
    labels = empty_labels(BACKGROUNDS.index(scene.background))
    for s in scene.subjects:
        add(labels, s.box, NAMES.index(s.name), {s.colour: 1.0})
    return render(scene), labels


def _background(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    name = int(rng.integers(len(BACKGROUNDS)))
    canvas = paint(BACKGROUNDS[name], SIZE, rng)
    if rng.random() > 0.1:
        return canvas, name
    other = int((name + rng.integers(1, len(BACKGROUNDS))) % len(BACKGROUNDS))
    along = np.linspace(-1, 1, SIZE, dtype=np.float32)
    mask = 1 / (1 + np.exp(-rng.uniform(2, 12) * (along - rng.uniform(-0.3, 0.3))))
    mask = mask[:, None, None] if rng.random() < 0.5 else mask[None, :, None]
    return canvas + mask * (paint(BACKGROUNDS[other], SIZE, rng) - canvas), UNKNOWN_BACKGROUND


def _subject(rng: np.random.Generator, size: int) -> tuple[np.ndarray, int, dict]:
    name = NAMES[rng.integers(len(NAMES))]
    colour = tint(rng, name)
    way = rng.random()
    if way < 0.66:
        return sound(rng, name, colour, size), NAMES.index(name), {colour: 1.0}
    if way < 0.78:
        other = NAMES[rng.integers(len(NAMES))]
        shade = tint(rng, other)
        picture, share = fused(rng, [(name, colour), (other, shade)], size)
        colours = {colour: share}
        colours[shade] = colours.get(shade, 0) + 1 - share
        # One kind in two colours is still that kind.
        return picture, NAMES.index(name) if other == name else UNKNOWN_SUBJECT, colours
    return broken(rng, name, colour, size), UNKNOWN_SUBJECT, {colour: 1.0}


def _overlap(a, b) -> float:
    """Intersection as a share of the smaller box."""
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(w, 0) * max(h, 0) / max(smaller, 1)


def hard_scene(rng: np.random.Generator) -> tuple[np.ndarray, Labels]:
    """uint8 [SIZE, SIZE, 3] and its labels."""
    canvas, background = _background(rng)
    labels = empty_labels(background)
    count = int(rng.choice(MOST + 1, p=(0.04, 0.36, 0.42, 0.15, 0.03)))
    for _ in range(count):
        size = 2 * int(rng.integers(17, 28) if count > 2 else rng.integers(19, 32) if count == 2 else rng.integers(22, 47))
        picture, subject, colours = _subject(rng, size)
        ys, xs = np.nonzero(picture[..., 3] > 64)
        if len(ys) < 30:
            continue
        extent = np.array((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), np.float32)
        for _ in range(20):
            x, y = rng.integers(0, SIZE - size + 1, 2)
            box = extent + (x, y, x, y)
            if all(_overlap(box, labels.box[i]) < 0.2 for i in range(labels.count)):
                place = canvas[y:y + size, x:x + size]
                place += (picture[..., :3] - place) * (picture[..., 3:] / 255) * rng.choice((1.0, rng.uniform(0.85, 1.0)))
                add(labels, box, subject, colours)
                break
    return finish(rng, canvas), labels


def finish(rng: np.random.Generator, canvas: np.ndarray) -> np.ndarray:
    """What happens to a whole picture: light, blur, noise."""
    if rng.random() < 0.5:
        canvas = (canvas - 128) * rng.uniform(0.88, 1.1) + 128 + rng.uniform(-10, 10)
    pixels = np.clip(canvas + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        pixels = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.3))))
    if rng.random() < 0.4:
        noise = rng.standard_normal(pixels.shape) * rng.uniform(1, 16)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return pixels
