"""A view shows any registered method: what it shows is what a recipe of it builds, several networks together too."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers import World, threefold_registered, tiny_world
from PIL import Image

from fusionlib.contracts import METHODS
from fusionlib.engine.worker import JOB
from fusionlib.errors import FusionError, UsageError
from fusionlib.merging.build import build_method
from fusionlib.recipe import Recipe, Source
from fusionlib.studio import mixture_name, mixture_words, parameters_set
from fusionlib.studio.mixtures import recipe_words
from fusionlib.studio.view import MergeView


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory):
    with tiny_world(tmp_path_factory.mktemp("world"), count=2) as opened, threefold_registered():
        yield opened


def labels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))[:, :, 0]


def built_labels(world: World, view: MergeView, mixture) -> np.ndarray:
    """The largest logit of what the recipe is built into."""
    built = world.studio.runner.builder.build(view.recipe(mixture))
    sample = view.pictures.load(0)
    logits = world.studio.worker.run(lambda: built.logits(sample.image[None], sample.image.shape[:2]), JOB)
    return logits[0].argmax(0).numpy()


GIVEN = {"task_arithmetic": {"base": 1}, "ties": {"base": 1, "density": 0.4}, "dare": {"base": 1}}


@pytest.mark.parametrize("name", [*METHODS.names(), "threefold"])
def test_every_method_is_shown_as_its_recipe_is_built(world: World, name: str) -> None:
    view = world.view()
    if METHODS.get(name).no_defaults:
        pytest.skip("has no defaults")
    method = build_method(name, GIVEN.get(name, METHODS.get(name).defaults(2)))
    if METHODS.get(name).needs == "pictures":
        with pytest.raises(UsageError, match="not known yet"):
            view.frame(0, method)
        world.studio.runner.builder.build(view.recipe(method))  # finds the statistic out, and keeps it
    assert (labels(view.frame(0, method).png) == built_labels(world, view, method)).all()


def test_a_parameter_moves_the_picture_and_its_default_is_not_written(world: World) -> None:
    view = world.view()
    frames = [view.frame(0, build_method("slerp", {"alpha": alpha})).png for alpha in (0.1, 0.5, 0.9)]
    assert len(set(frames)) == 3 and view.frame(0, build_method("slerp", {"alpha": 0.1})).png == frames[0]
    assert parameters_set(build_method("slerp", {"alpha": 0.5})) == {}
    assert view.recipe(build_method("ties", {"base": 1, "density": 0.4})).parameters == {"base": 1, "density": 0.4}


def test_names_of_files_and_words(world: World) -> None:
    ties = build_method("ties", {"base": 1, "density": 0.4})
    assert mixture_name(0.25) == "alpha0.25" and mixture_name(build_method("isotropic", {})) == "isotropic"
    assert mixture_name(ties).startswith("ties-") and mixture_name(ties) == mixture_name(ties)
    assert mixture_words(ties) == "TIES: base 1, density 0.4" and mixture_words(0.25) == "alpha 0.25"


def test_a_method_that_does_not_fit_says_so(tmp_path: Path, world: World) -> None:
    with pytest.raises(FusionError):
        world.view().frame(0, build_method("linear", {"weights": [0.2, 0.3, 0.5]}))


@pytest.mark.parametrize(
    ("names", "method", "parameters", "more", "words"),
    [
        ("ab", "linear", {"alpha": 0.75}, {}, "a + b, alpha 0.75"),
        ("ab", "linear", {}, {"buffers": "gaussian"}, "a + b, alpha 0.5, buffers gaussian"),
        ("ab", "slerp", {"alpha": 0.25}, {}, "a + b, SLERP: alpha 0.25"),
        ("abcdef", "isotropic", {}, {}, "a + b + c + d + 2 others, Isotropic: defaults"),
        ("a", "linear", {}, {"temperature": 1.5}, "a, temperature 1.5"),
    ],
)
def test_a_recipe_in_words(names: str, method: str, parameters: dict, more: dict, words: str) -> None:
    sources = tuple(Source(path=f"some/{name}.pth", fingerprint=f"{number:064x}") for number, name in enumerate(names))
    assert recipe_words(Recipe(method=method, parameters=parameters, checkpoints=sources, **more)) == words
