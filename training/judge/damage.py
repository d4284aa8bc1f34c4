"""What a young generator does to a subject, done on purpose: a sprite is bent, blurred or painted over a little and keeps
its name, or is fused, shuffled or melted and loses it.

Everything works on float32 RGBA [size, size, 4] in 0..255 and draws from the generator it is given.
"""
import numpy as np
from PIL import Image, ImageFilter

from world.sprites import ANIMALS, COLOURS, OBJECTS, sprite

NAMES = (*ANIMALS, *OBJECTS)
# Shapes that a mere silhouette names.
OUTLINES = ("heart", "star", "umbrella", "balloon", "shirt")
# And those that soft patches of colour still name.
SHAPES = (*OUTLINES, "car", "apple", "panda", "penguin")


def smooth_noise(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """[size, size], about normal, smooth over size/cells pixels."""
    coarse = rng.standard_normal((cells + 1, cells + 1)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.BICUBIC))


def blurred(rgba: np.ndarray, radius: float) -> np.ndarray:
    """Colours are blurred with their alpha, or the edge would darken."""
    alpha = rgba[..., 3:] / 255
    parts = np.concatenate([rgba[..., :3] * alpha, rgba[..., 3:]], -1)
    channels = [np.asarray(Image.fromarray(parts[..., c]).convert("L").filter(ImageFilter.GaussianBlur(radius))) for c in range(4)]
    out = np.stack(channels, -1).astype(np.float32)
    out[..., :3] /= np.maximum(out[..., 3:] / 255, 1 / 255)
    return np.clip(out, 0, 255)


def bent(rng: np.random.Generator, rgba: np.ndarray, amount: float) -> np.ndarray:
    """Each pixel taken from a place up to about `amount` of the size away, by smooth fields."""
    size = len(rgba)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32)
    cells = int(rng.integers(2, 5))
    y = np.clip(y + amount * size * smooth_noise(rng, size, cells), 0, size - 1)
    x = np.clip(x + amount * size * smooth_noise(rng, size, cells), 0, size - 1)
    return rgba[y.round().astype(int), x.round().astype(int)]


def part(rng: np.random.Generator, size: int) -> np.ndarray:
    """A mask [size, size, 1] in 0..1 of about half a square: a half plane, or a smooth random region."""
    if rng.random() < 0.6:
        angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-0.12, 0.12)
        y, x = np.mgrid[0:size, 0:size] / size - 0.5
        field = (np.cos(angle) * x + np.sin(angle) * y - shift) * size / 3
    else:
        field = 4 * smooth_noise(rng, size, int(rng.integers(2, 4)))
    return (1 / (1 + np.exp(-np.clip(field, -30, 30)))).astype(np.float32)[..., None]


def _floats(name: str, colour: str | None, size: int) -> np.ndarray:
    return sprite(name, colour, size).astype(np.float32)


def tint(rng: np.random.Generator, name: str) -> str | None:
    """Animals wear a colour now and then, because colours leak in generated pictures."""
    if name in ANIMALS and rng.random() < 0.75:
        return None
    return list(COLOURS)[rng.integers(len(COLOURS))]


def sound(rng: np.random.Generator, name: str, colour: str | None, size: int) -> np.ndarray:
    """A subject that anyone would name, as a generator draws it on a good day."""
    rgba = _floats(name, colour, size)
    if rng.random() < 0.35:
        return rgba
    if rng.random() < 0.5:
        rgba = bent(rng, rgba, rng.uniform(0.005, 0.035))
    if rng.random() < 0.25:  # a patch of another colour
        other = np.array(list(COLOURS.values())[rng.integers(len(COLOURS))], np.float32)
        spot = np.clip(smooth_noise(rng, size, 4) - 1.1, 0, 0.6)[..., None]
        rgba = np.concatenate([rgba[..., :3] + spot * (other - rgba[..., :3]), rgba[..., 3:]], -1)
    if rng.random() < 0.2:  # a hole
        rgba = np.concatenate([rgba[..., :3], rgba[..., 3:] * (1 - np.clip(3 * (smooth_noise(rng, size, 4) - 1.4), 0, 1)[..., None])], -1)
    if name in OUTLINES and rng.random() < 0.15:  # its light and shade are gone
        mean = (rgba[..., :3] * rgba[..., 3:]).sum((0, 1)) / rgba[..., 3].sum().clip(1)
        rgba = np.concatenate([rgba[..., :3] + rng.uniform(0.5, 1) * (mean - rgba[..., :3]), rgba[..., 3:]], -1)
    if rng.random() < 0.4:
        rgba = blurred(rgba, rng.uniform(0.3, 0.022 * size))
    return rgba


def fused(rng: np.random.Generator, kinds: list[tuple[str, str | None]], size: int) -> tuple[np.ndarray, float]:
    """Two subjects in one place, side by side or through each other, and the share of the first."""
    one, two = (_floats(*kind, size) for kind in kinds)
    mask = np.full((size, size, 1), rng.uniform(0.4, 0.6), np.float32) if rng.random() < 0.3 else part(rng, size)
    return mask * one + (1 - mask) * two, float(mask.mean())


def melted(rng: np.random.Generator, rgba: np.ndarray, least_bend: float) -> np.ndarray:
    """Inner details run together and the outline is soft wax: what half-trained generators draw."""
    size = len(rgba)
    soft = blurred(bent(rng, rgba, rng.uniform(least_bend, least_bend + 0.1)), rng.uniform(0.05, 0.11) * size)
    edge = np.clip((soft[..., 3:] - 110) * rng.uniform(3, 8), 0, 255)
    return np.concatenate([soft[..., :3], edge], -1)


def shuffled(rng: np.random.Generator, rgba: np.ndarray) -> np.ndarray:
    n = int(rng.integers(3, 5))
    step = len(rgba) // n
    cells = [rgba[i * step:(i + 1) * step, j * step:(j + 1) * step] for i in range(n) for j in range(n)]
    out = np.zeros_like(rgba)
    for at, of in enumerate(rng.permutation(n * n)):
        i, j = divmod(at, n)
        out[i * step:(i + 1) * step, j * step:(j + 1) * step] = cells[of]
    return blurred(out, rng.uniform(0.5, 2))


def blob(rng: np.random.Generator, rgba: np.ndarray) -> np.ndarray:
    """A patch in the subject's colours."""
    size = len(rgba)
    y, x = np.mgrid[0:size, 0:size] / (size / 2) - 1
    radius = np.sqrt((x * rng.uniform(0.8, 1.5)) ** 2 + (y * rng.uniform(0.8, 1.5)) ** 2)
    inside = np.clip(6 * (0.75 + 0.3 * smooth_noise(rng, size, 4) - radius), 0, 1) * 255
    paint = blurred(bent(rng, rgba, 0.3), size / 6)[..., :3]
    return np.concatenate([paint, inside[..., None].astype(np.float32)], -1)


def broken(rng: np.random.Generator, name: str, colour: str | None, size: int) -> np.ndarray:
    """A subject past recognition: melted, bent out of shape, shuffled, a fragment, or a patch in its colours."""
    rgba = _floats(name, colour, size)
    way = rng.random()
    if way < 0.45:
        # A plain shape is still told by its outline as long as that is only soft.
        return melted(rng, rgba, 0.09 if name in SHAPES else 0.03)
    if way < 0.6:
        return blurred(bent(rng, rgba, rng.uniform(0.09, 0.25)), rng.uniform(0.5, 2))
    if way < 0.7:
        return shuffled(rng, rgba)
    if way < 0.8 and name in ANIMALS:  # a fragment of less than a third
        keep = np.clip(4 * (part(rng, size) - 0.62), 0, 1)
        return np.concatenate([rgba[..., :3], rgba[..., 3:] * keep], -1)
    return blob(rng, rgba)
