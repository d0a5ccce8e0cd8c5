"""The networks that come with the repository: their recipes, their size, and how a run becomes one of them."""

from dataclasses import replace
from typing import Any

import pytest

import papers
from core.recipe import Recipe

BASELINES = {
    "danet-tiny-camvid": "danet-tiny-camvid-fcn",
    "dfdam-tiny-camvid": "dfdam-tiny-camvid-sum",
    "pdanet-tiny-camvid": "pdanet-tiny-camvid-fcn",
    "ranet-tiny-camvid": "ranet-tiny-camvid-backbone",
    "sanet-tiny-camvid": "sanet-tiny-camvid-fcn",
}


def recipe(name: str) -> Recipe[Any]:
    return papers.paper_of(name).recipes[name]


@pytest.mark.parametrize("name", [*BASELINES, *BASELINES.values()])
def test_a_tiny_network_has_less_than_a_million_weights_and_no_licence_but_that_of_camvid(name: str) -> None:
    network = papers.paper_of(name).build(recipe(name))
    assert sum(value.numel() for value in network.parameters()) < 1_000_000
    assert recipe(name).backbone_weights == "none"
    assert recipe(name).reported == ()


def test_all_tiny_networks_are_trained_and_tested_alike() -> None:
    first = recipe("danet-tiny-camvid")
    for name in (*BASELINES, *BASELINES.values()):
        other = recipe(name)
        assert replace(other, name="", summary="", architecture=None) == replace(
            first, name="", summary="", architecture=None
        )
        assert replace(other.architecture.backbone, output_stride=8) == first.architecture.backbone


@pytest.mark.parametrize(("name", "baseline"), BASELINES.items())
def test_the_baseline_is_the_same_backbone_without_the_modules(name: str, baseline: str) -> None:
    assert recipe(baseline).architecture.backbone == recipe(name).architecture.backbone
    papers_modules = {
        "danet-tiny-camvid": {"position_attention": "none", "channel_attention": "none", "reduction": 8},
        "dfdam-tiny-camvid": {"dual_attention_fusion": "none", "position_attention": False},
        "pdanet-tiny-camvid": {"head": "fcn", "reduction": 8},
        "ranet-tiny-camvid": {"context": "none"},
        "sanet-tiny-camvid": {"head": "fcn"},
    }
    assert recipe(baseline).architecture == replace(recipe(name).architecture, **papers_modules[name])
