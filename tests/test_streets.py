"""The street generator: same seed same bytes, valid labels, weather changes appearance only."""

from __future__ import annotations

import numpy as np
import pytest

from fusionlib.data.streets import DOMAINS, render_scene

THINGS = (11, 12, 13, 14, 15, 16, 17, 18)
SEEDS = 30


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(seed) for seed in range(SEEDS)]


def test_shapes_and_types(scenes):
    scene = scenes[0]
    assert scene.image.shape == (256, 512, 3) and scene.image.dtype == np.uint8
    assert scene.labels.shape == (256, 512) and scene.labels.dtype == np.uint8
    assert scene.instances.shape == (256, 512) and scene.instances.dtype == np.uint16


@pytest.mark.parametrize("domain", DOMAINS)
def test_same_seed_gives_same_bytes_and_labels_do_not_depend_on_weather(scenes, domain):
    for seed in (3, 8):
        first, second = render_scene(seed, domain), render_scene(seed, domain)
        assert first.image.tobytes() == second.image.tobytes()
        assert np.array_equal(first.labels, scenes[seed].labels)
        assert np.array_equal(first.instances, scenes[seed].instances)
        assert (domain == "clear") == np.array_equal(first.image, scenes[seed].image)


def test_different_seeds_differ(scenes):
    assert len({scene.image.tobytes() for scene in scenes}) == SEEDS


def test_labels_are_train_ids_or_void_and_void_is_rare(scenes):
    labels = np.stack([scene.labels for scene in scenes])
    assert set(np.unique(labels)) <= {*range(19), 255}
    assert (labels == 255).mean() < 0.05


def test_every_class_appears_and_frequencies_have_a_long_tail(scenes):
    labels = np.stack([scene.labels for scene in scenes])
    share = np.bincount(labels.ravel(), minlength=256)[:19] / labels.size
    assert (share > 0).all()
    assert share[[0, 2]].min() > 0.1
    assert share[[12, 16, 17, 18]].max() < 0.03


def test_instances_are_things_of_one_class_and_every_thing_has_one(scenes):
    for scene in scenes:
        thing = np.isin(scene.labels, THINGS)
        assert np.array_equal(scene.instances > 0, thing)
        pairs = np.unique(np.stack([scene.instances[thing], scene.labels[thing]]), axis=1)
        assert len(np.unique(pairs[0])) == pairs.shape[1]


def test_other_sizes_render():
    assert render_scene(1, height=128, width=256).labels.shape == (128, 256)


def test_unknown_domain_lists_the_valid_ones():
    with pytest.raises(ValueError, match="clear, fog, night, rain, snow"):
        render_scene(0, "hail")
