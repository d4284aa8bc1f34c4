"""From the network's answers to a list of objects, and how that list compares with the truth."""
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from judge.damage import NAMES
from judge.network import BOX_UNIT, CELL
from judge.scenes import COLOUR_NAMES, Labels
from world.backgrounds import BACKGROUNDS

UNKNOWN = "unknown"


@dataclass
class Thresholds:
    centre: float = 0.35  # below it a cell holds no object
    name: float = 0.5  # below it a subject, colour or background is unknown
    overlap: float = 0.5  # of two boxes that overlap by more (intersection over union), the weaker goes


@dataclass
class Seen:
    subject: str
    colour: str
    confidence: float
    box: tuple[float, float, float, float]  # pixels


def iou(a, b) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / max((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both, 1e-6)


def named(logits: torch.Tensor, names, threshold: float) -> tuple[str, float]:
    share = logits.softmax(-1)
    best = int(share[:len(names)].argmax())
    confidence = float(share[best])
    return (names[best], confidence) if confidence >= threshold else (UNKNOWN, confidence)


def boxes(sides: torch.Tensor) -> torch.Tensor:
    """[..., h, w, 4] distances in BOX_UNIT to corners in pixels."""
    h, w = sides.shape[-3:-1]
    y, x = torch.meshgrid((torch.arange(h) + 0.5) * CELL, (torch.arange(w) + 0.5) * CELL, indexing="ij")
    left, top, right, bottom = (sides * BOX_UNIT).unbind(-1)
    return torch.stack((x - left, y - top, x + right, y + bottom), -1)


def read(answers, row: int, thresholds: Thresholds) -> tuple[list[Seen], str]:
    """The objects of one picture, strongest first, and its background."""
    centre, sides, subject, colour, background = (a[row] for a in answers)
    heat = centre.sigmoid()
    # A cell speaks only if none of its eight neighbours is surer.
    peak = heat == F.max_pool2d(heat[None], 3, 1, 1)[0]
    at = torch.nonzero(peak & (heat >= thresholds.centre))
    corners = boxes(sides)
    found: list[Seen] = []
    for y, x in sorted(at.tolist(), key=lambda c: -float(heat[c[0], c[1]])):
        name, sure = named(subject[y, x], NAMES, thresholds.name)
        shade, _ = named(colour[y, x], COLOUR_NAMES, thresholds.name)
        box = tuple(float(v) for v in corners[y, x].clamp(0, heat.shape[0] * CELL))
        if all(iou(box, other.box) <= thresholds.overlap for other in found):
            found.append(Seen(name, shade, float(heat[y, x]) * sure, box))
    return found, named(background, BACKGROUNDS, thresholds.name)[0]


def compare(found: list[Seen], background: str, labels: Labels) -> dict[str, list[float]]:
    """Per true object: found at all (IoU over a half), subject right, colour right, IoU; per picture: background, spurious objects."""
    figures = {"found": [], "subject": [], "colour": [], "both": [], "iou": [], "background": [], "spurious": []}
    figures["background"].append(float(background == (*BACKGROUNDS, UNKNOWN)[labels.background]))
    taken = set()
    for i in range(labels.count):
        best = max(range(len(found)), key=lambda k: iou(found[k].box, labels.box[i]), default=None)
        overlap = 0.0 if best is None else iou(found[best].box, labels.box[i])
        if overlap > 0.5:
            taken.add(best)
        seen = found[best] if overlap > 0.5 else None
        subject = seen is not None and seen.subject == (*NAMES, UNKNOWN)[labels.subject[i]]
        colour = seen is not None and seen.colour == COLOUR_NAMES[int(np.argmax(labels.colour[i]))]
        figures["found"].append(float(seen is not None))
        figures["subject"].append(float(subject))
        figures["both"].append(float(subject and colour))
        if labels.colour[i].max() > 0.9:  # of a mixture no colour is the right one
            figures["colour"].append(float(colour))
        if seen is not None:
            figures["iou"].append(overlap)
    figures["spurious"].append(float(len(found) - len(taken)))
    return figures
