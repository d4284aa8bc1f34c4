"""Sprites: emoji glyphs cut from a colour font, tinted and resized once, then kept.

A sprite is a square RGBA uint8 array. Animals keep their own colours; objects are tinted. To build another
world, replace ANIMALS and OBJECTS (any name -> text the font can draw), or replace `glyph` by a function that loads pictures.
"""
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONT = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
BITMAP_SIZE = 109  # the only size of the bitmaps inside Noto Color Emoji

ANIMALS = {
    "cat": "\U0001F431", "dog": "\U0001F436", "panda": "\U0001F43C", "fox": "\U0001F98A", "frog": "\U0001F438",
    "lion": "\U0001F981", "pig": "\U0001F437", "bear": "\U0001F43B", "owl": "\U0001F989", "penguin": "\U0001F427",
}
OBJECTS = {
    "balloon": "\U0001F388", "heart": "\u2764\ufe0f", "star": "\u2b50", "car": "\U0001F697",
    "umbrella": "\u2602\ufe0f", "apple": "\U0001F34E", "shirt": "\U0001F455", "flower": "\U0001F33C",
}
COLOURS = {
    "red": (230, 25, 30), "orange": (255, 140, 0), "yellow": (255, 225, 25), "green": (30, 165, 50),
    "cyan": (25, 215, 225), "blue": (30, 70, 235), "purple": (140, 40, 190), "pink": (255, 130, 190),
}


@lru_cache(maxsize=None)
def glyph(name: str) -> Image.Image:
    """The glyph of a subject at its native size, cropped and centred on a transparent square."""
    text = ANIMALS.get(name) or OBJECTS[name]
    font = ImageFont.truetype(FONT, BITMAP_SIZE)
    page = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
    ImageDraw.Draw(page).text((12, 12), text, font=font, embedded_color=True)
    cut = page.crop(page.getbbox())
    side = max(cut.size)
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    return square


@lru_cache(maxsize=None)
def tinted(name: str, colour: str) -> Image.Image:
    """One colour over the whole glyph, with its light and shade kept."""
    rgba = np.asarray(glyph(name)).astype(np.float32)
    light = rgba[..., :3] @ np.array([0.299, 0.587, 0.114], np.float32)
    inside = light[rgba[..., 3] > 128]
    low, middle, high = np.percentile(inside, [5, 50, 90])
    span = max(high - low, 40.0)  # a flat glyph must not have its noise stretched
    low -= 0.15 * span  # keeps some room under glyphs that are dark nearly everywhere
    shade = np.clip((light - low) / span, 0, 1.5)
    # Most of the glyph shall show the plain colour: a dark yellow is olive, a dark orange brown.
    bend = np.log(0.8) / np.log(np.clip((middle - low) / span, 0.05, 0.8))
    base = np.array(COLOURS[colour], np.float32)
    body = base * (0.45 + 0.55 * np.clip(shade, 0, 1) ** bend)[..., None]
    shine = np.clip(shade - 1, 0, 0.5)[..., None]
    rgba[..., :3] = np.clip(body + shine * (255 - body), 0, 255)
    return Image.fromarray(rgba.astype(np.uint8), "RGBA")


@lru_cache(maxsize=None)
def sprite(name: str, colour: str | None, size: int) -> np.ndarray:
    picture = glyph(name) if colour is None else tinted(name, colour)
    return np.asarray(picture.resize((size, size), Image.LANCZOS))


@lru_cache(maxsize=None)
def extent(name: str, size: int) -> tuple[int, int, int, int]:
    """Box (x0, y0, x1, y1) of the visible part inside a sprite of this size."""
    ys, xs = np.nonzero(sprite(name, None, size)[..., 3] > 64)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1
