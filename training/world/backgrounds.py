"""Backgrounds: five vertical gradients and a wall of bricks, each a little different every time."""
import numpy as np

GRADIENTS = {  # top and bottom colour
    "grass": ((150, 215, 110), (70, 150, 50)),
    "sand": ((245, 225, 165), (215, 180, 110)),
    "snow": ((225, 235, 245), (190, 205, 225)),
    "sky": ((110, 180, 245), (200, 230, 255)),
    "night": ((12, 14, 45), (45, 40, 95)),
}
BRICK, MORTAR = (176, 96, 72), (208, 196, 184)
BACKGROUNDS = (*GRADIENTS, "bricks")
PHRASES = {"grass": "on grass", "sand": "on sand", "snow": "on snow", "sky": "in the sky", "night": "at night",
           "bricks": "on bricks"}


def paint(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """float32 [size, size, 3] in 0..255."""
    shift = rng.uniform(-8, 8, 3).astype(np.float32)
    if name == "bricks":
        return _bricks(size, int(rng.integers(16)), int(rng.integers(32))) + shift
    top, bottom = (np.array(c, np.float32) for c in GRADIENTS[name])
    down = np.linspace(0, 1, size, dtype=np.float32)[:, None, None] ** np.float32(rng.uniform(0.7, 1.4))
    return np.broadcast_to(top + (bottom - top) * down + shift, (size, size, 3)).copy()


def _bricks(size: int, dy: int, dx: int) -> np.ndarray:
    y, x = np.mgrid[0:size, 0:size]
    y = y + dy
    row = y // 16
    x = x + dx + (row % 2) * 16
    joint = (y % 16 < 2) | (x % 32 < 2)
    wall = np.empty((size, size, 3), np.float32)
    wall[:] = BRICK
    wall[joint] = MORTAR
    return wall
