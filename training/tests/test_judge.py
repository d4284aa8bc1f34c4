"""The judge's scenes are labelled truly, its targets sit where the labels say, and its verdicts are compared as described."""
import numpy as np
import pytest
import torch
import yaml

from judge.damage import NAMES
from judge.network import BOX_UNIT, CELL
from judge.scenes import COLOUR_NAMES, MOST, UNKNOWN_SUBJECT, add, empty_labels, hard_scene, plain_scene
from judge.verdict import Seen, Thresholds, compare, read
from train_judge import targets
from world.backgrounds import BACKGROUNDS
from world.scenes import HELD_OUT_COLOURS, HELD_OUT_PAIRS, SIZE, Options
from world.sprites import ANIMALS, COLOURS, OBJECTS


def perfect(labels):
    """Answers that say exactly what the labels say."""
    n = SIZE // CELL
    heat, owner, _ = targets(labels)
    centre = torch.where(heat == 1, 6.0, -6.0)
    sides, subject = torch.zeros(len(labels), n, n, 4), torch.zeros(len(labels), n, n, len(NAMES) + 1)
    colour, background = torch.zeros(len(labels), n, n, len(COLOUR_NAMES)), torch.zeros(len(labels), len(BACKGROUNDS) + 1)
    for b, label in enumerate(labels):
        background[b, label.background] = 9
        for y, x in torch.nonzero(heat[b] == 1).tolist():
            i = int(owner[b, y, x])
            cx, cy = (x + 0.5) * CELL, (y + 0.5) * CELL
            x0, y0, x1, y1 = label.box[i]
            sides[b, y, x] = torch.tensor((cx - x0, cy - y0, x1 - cx, y1 - cy)) / BOX_UNIT
            subject[b, y, x, label.subject[i]] = 9
            colour[b, y, x] = 9 * torch.from_numpy(label.colour[i])
    return centre, sides, subject, colour, background


def test_hard_scenes_repeat_and_keep_to_their_labels():
    for i in range(30):
        (a, la), (b, lb) = (hard_scene(np.random.default_rng(i)) for _ in range(2))
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(la.box, lb.box)
        assert a.shape == (SIZE, SIZE, 3) and a.dtype == np.uint8 and la.count <= MOST
        for k in range(la.count):
            x0, y0, x1, y1 = la.box[k]
            assert 0 <= x0 < x1 <= SIZE and 0 <= y0 < y1 <= SIZE
            assert la.colour[k].sum() == pytest.approx(1) and 0 <= la.subject[k] <= UNKNOWN_SUBJECT


def test_hard_scenes_show_everything():
    labels = [hard_scene(np.random.default_rng((1, i)))[1] for i in range(600)]
    subjects = [s for label in labels for s in label.subject[:label.count]]
    assert set(subjects) == set(range(UNKNOWN_SUBJECT + 1))
    assert 0.1 < np.mean(np.array(subjects) == UNKNOWN_SUBJECT) < 0.4
    tinted = {NAMES[s] for label in labels for s, c in zip(label.subject[:label.count], label.colour) if s < len(ANIMALS) and c[0] == 0}
    assert len(tinted) == len(ANIMALS), "animals wear colours too"


def test_perfect_answers_read_back_as_the_labels():
    labels = [plain_scene(7, i, Options(counts=(0.3, 0.4, 0.3)))[1] for i in range(40)]
    answers = perfect(labels)
    for row, label in enumerate(labels):
        figures = compare(*read(answers, row, Thresholds()), label)
        for key in ("found", "subject", "colour", "background"):
            assert all(figures[key]), key
        assert min(figures["iou"]) > 0.99 and figures["spurious"] == [0.0]


def test_compare_counts_what_is_wrong():
    labels = empty_labels(BACKGROUNDS.index("grass"))
    add(labels, (10, 10, 50, 50), NAMES.index("cat"), {None: 1.0})
    add(labels, (70, 10, 110, 50), NAMES.index("car"), {"red": 1.0})
    found = [Seen("cat", "own", 0.9, (10, 10, 50, 52)), Seen("car", "blue", 0.9, (70, 10, 110, 50)), Seen("owl", "own", 0.5, (0, 90, 30, 120))]
    figures = compare(found, "sand", labels)
    assert figures["found"] == [1, 1] and figures["subject"] == [1, 1] and figures["both"] == [1, 0]
    assert figures["background"] == [0] and figures["spurious"] == [1]
    assert compare([], "grass", labels)["found"] == [0, 0]


def test_the_promises_world_is_this_world():
    from pathlib import Path
    world = yaml.safe_load((Path(__file__).parents[2] / "presets" / "promises" / "emoji-world.yaml").read_text())
    assert world["own"] == list(ANIMALS) and world["painted"] == list(OBJECTS) and world["colours"] == list(COLOURS)
    assert list(world["backgrounds"]) == list(BACKGROUNDS)
    assert {tuple(p) for p in world["held_out"]["colours"]} == HELD_OUT_COLOURS
    assert {frozenset(p) for p in world["held_out"]["pairs"]} == HELD_OUT_PAIRS
