"""The world: repeatable, labelled truly, with the held-out combinations really held out."""
import numpy as np
import pytest

from world.backgrounds import BACKGROUNDS, PHRASES
from world.captions import caption
from world.scenes import HELD_OUT_COLOURS, HELD_OUT_PAIRS, SIZE, Options, render, sample_scene
from world.sprites import ANIMALS, COLOURS, OBJECTS, sprite

MIXED = Options(counts=(0.34, 0.33, 0.33))


def scenes(count=400, options=MIXED, seed=3):
    return [sample_scene(seed, i, options) for i in range(count)]


def unseen(scene):
    names = [s.name for s in scene.subjects]
    pairs = {frozenset((a, b)) for a in names for b in names if a != b}
    return bool(pairs & HELD_OUT_PAIRS) or any((s.name, s.colour) in HELD_OUT_COLOURS for s in scene.subjects)


def test_same_seed_and_index_give_the_same_pixels():
    for i in range(20):
        a, b = (render(sample_scene(4, i, MIXED)) for _ in range(2))
        assert a.shape == (SIZE, SIZE, 3) and a.dtype == np.uint8
        np.testing.assert_array_equal(a, b)
    assert (render(sample_scene(4, 0)) != render(sample_scene(5, 0))).any()


def test_the_world_has_the_size_it_claims():
    assert (len(ANIMALS), len(OBJECTS), len(COLOURS), len(BACKGROUNDS)) == (10, 8, 8, 6)
    seen = {(s.name, s.colour) for scene in scenes(4000) for s in scene.subjects}
    assert seen == {(a, None) for a in ANIMALS} | {(o, c) for o in OBJECTS for c in COLOURS} - HELD_OUT_COLOURS
    assert {scene.background for scene in scenes()} == set(BACKGROUNDS)


def test_held_out_combinations_never_meet_training():
    assert not any(unseen(s) for s in scenes(3000))
    assert all(unseen(s) for s in scenes(300, Options(MIXED.counts, held_out=True)))


def test_captions_name_every_subject_its_colour_and_the_background():
    for scene in scenes():
        words = caption(scene)
        assert words.endswith(PHRASES[scene.background])
        for s in scene.subjects:
            assert (f"{s.colour} {s.name}" if s.colour else s.name) in words
        assert sum(words.split().count(c) for c in COLOURS) == sum(s.colour is not None for s in scene.subjects)


def test_relations_are_true_of_the_boxes():
    found = set()
    for scene in scenes(1500):
        if len(scene.subjects) != 2:
            assert scene.relation is None
            continue
        (ax, ay), (bx, by) = [((s.box[0] + s.box[2]) / 2, (s.box[1] + s.box[3]) / 2) for s in scene.subjects]
        found.add(scene.relation)
        assert {"left of": ax < bx, "right of": ax > bx, "above": ay < by, "below": ay > by, "and": True}[scene.relation]
    assert found == {"left of", "right of", "above", "below", "and"}


def test_boxes_hold_the_subject_and_nothing_else():
    """Painting over the boxes leaves only the plain background: compared with a scene of the same seed without subjects."""
    for scene in scenes(60):
        bare = render(type(scene)((), None, scene.background, scene.seed)).astype(int)
        changed = np.abs(render(scene).astype(int) - bare).max(-1) > 90
        for s in scene.subjects:
            x0, y0, x1, y1 = s.box
            assert 0 <= x0 < x1 <= SIZE and 0 <= y0 < y1 <= SIZE
            changed[y0:y1, x0:x1] = False
        assert not changed.any()


@pytest.mark.parametrize("name", OBJECTS)
def test_a_tint_reads_as_its_colour(name):
    """The nearest named colour to the visible part's median is the one asked for."""
    for colour in COLOURS:
        rgba = sprite(name, colour, 60)
        middle = np.median(rgba[rgba[..., 3] > 200][:, :3], axis=0)
        hue = {c: _direction(np.array(rgb, float)) @ _direction(middle) for c, rgb in COLOURS.items()}
        assert max(hue, key=hue.get) == colour


def _direction(rgb):
    return rgb / np.linalg.norm(rgb)


def test_a_grid_places_every_subject_on_it():
    for scene in scenes(200, Options(MIXED.counts, grid=8)):
        assert all(v % 8 == 0 for s in scene.subjects for v in (*s.corner, s.size))
