"""Recipes: frozen values that survive JSON, refuse the impossible and say what was changed."""

import math
from dataclasses import FrozenInstanceError, replace
from typing import Any

import jaxtyping
import pytest

from core.recipe import Augmentation, Data, Optimisation, Protocol, Recipe
from core.run import Run
from core.values import differences, from_json, to_json
from papers.danet.model import Architecture
from papers.danet.recipes import RECIPES


def test_a_recipe_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        RECIPES["danet-demo"].name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda json: json.update(optimiser={}), "optimiser"),
        (lambda json: json.pop("protocol"), "protocol"),
        (lambda json: json["architecture"].update(channel_attention="both"), "channel_attention"),
        (lambda json: json["architecture"]["backbone"].update(depth=9), "depth"),
    ],
)
def test_json_that_is_no_recipe_is_refused_by_name(change: Any, word: str) -> None:
    value = to_json(RECIPES["danet-r101-cityscapes"])
    change(value)
    with pytest.raises(ValueError, match=word):
        from_json(Recipe[Architecture], value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Optimisation(0.0, 8, 1), "learning_rate"),
        (lambda: Optimisation(math.nan, 8, 1), "learning_rate"),
        (lambda: Optimisation(0.1, 0, 1), r"batch must be at least 1, got 0"),
        (lambda: Optimisation(0.1, 8, 0), "length"),
        (lambda: Optimisation(0.1, 8, 1, momentum=1.0), "momentum"),
        (lambda: Optimisation(0.1, 8, 1, weight_decay=-1.0), "weight_decay"),
        (lambda: Optimisation(0.1, 8, 1, ema=1.0), "ema"),
        (lambda: Augmentation(0), "crop"),
        (lambda: Augmentation(8, scale=(2.0, 1.0)), "low <= high"),
        (lambda: Augmentation(8, scale=(0.5, 1.0, 2.0)), "set listed"),
        (lambda: Augmentation(8, scale=(0.0, 1.0), listed=True), "positive"),
        (lambda: Augmentation(8, brightness=1.0), "brightness"),
        (lambda: Protocol(crop=8), "both"),
        (lambda: Protocol(crop=8, stride=9), "missed"),
        (lambda: Protocol(scales=()), "scales"),
        (lambda: Protocol(scales=(math.inf,)), "positive factors"),
        (lambda: Data("scenes", 0), "num_classes"),
        (lambda: Run(accumulate=0), "accumulate"),
        (lambda: Run(validate_every=-1), "validate_every"),
        (lambda: Run(threads=0), "threads"),
    ],
)
def test_impossible_values_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_differences_name_each_changed_field() -> None:
    published = RECIPES["danet-r101-cityscapes"]
    used = replace(published, optimisation=replace(published.optimisation, batch=16))
    assert differences(published, published) == {}
    assert differences(published, used) == {"optimisation.batch": (8, 16)}


def test_multi_scale_row_differs_in_its_protocol_only() -> None:
    changed = differences(RECIPES["danet-r101-cityscapes"], RECIPES["danet-r101-cityscapes-ms"])
    assert {name.split(".")[0] for name in changed} == {"name", "summary", "protocol", "reported", "same_weights_as"}


def test_rate_follows_the_schedule() -> None:
    poly, linear = Optimisation(0.01, 8, 100, "steps"), Optimisation(0.01, 8, 100, "steps", schedule="linear")
    for step in (0, 1, 50, 99):
        assert poly.rate(step, 100) == pytest.approx(0.01 * (1 - step / 100) ** 0.9)
        assert linear.rate(step, 100) == pytest.approx(0.01 * (1 - step / 100))
    assert poly.rate(0, 100) == 0.01


def test_steps_count_full_batches_only() -> None:
    assert Optimisation(0.01, 8, 240).steps(2975) == 240 * 371  # the 89,040 iterations of the released schedule
    assert Optimisation(0.01, 8, 77, "steps").steps(2975) == 77
    with pytest.raises(ValueError, match="got 7; pass --recipe.optimisation.batch 7"):
        Optimisation(0.01, 8, 240).steps(7)


def test_shapes_are_checked_while_the_tests_run() -> None:
    """The whole suite leans on it: a test run without the hook would check less than it says."""
    import torch

    from core.networks.losses import cross_entropy

    assert not jaxtyping.config.jaxtyping_disable
    with pytest.raises(jaxtyping.TypeCheckError):
        cross_entropy(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 4, dtype=torch.int64))


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Protocol(), "whole image"),
        (Protocol(crop=768, stride=512, flip=True, merge="exp"), "windows of 768 every 512, mirrored, merged by exp"),
        (
            Protocol(base=600, edge="short", limit=1000, multiple=8),
            "whole image, short edge 600, longest side at most 1000, sides rounded up to multiples of 8",
        ),
        (Protocol(scales=(0.5, 2.0, 1.0), border="padded"), "whole image, scales 0.5 2 1, last windows padded"),
        (Protocol(scales=(0.75,)), "whole image, scale 0.75"),
    ],
)
def test_a_protocol_in_words(protocol: Protocol, words: str) -> None:
    assert protocol.in_words() == words
