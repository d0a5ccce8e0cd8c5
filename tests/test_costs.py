"""What training takes of a GPU: counted, stored, and told."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch

import papers
from ci import costs
from core.command import listing
from core.cost import Cost, read, to_json

PAPERS = {paper.folder: paper for paper in papers.every()}


@pytest.mark.slow
@pytest.mark.parametrize("folder", PAPERS)
def test_each_recipe_that_trains_has_its_cost_and_it_is_the_counted_one(folder: str) -> None:
    paper = PAPERS[folder]
    trained = {name: recipe for name, recipe in paper.recipes.items() if recipe.same_weights_as is None}
    assert list(paper.costs) == list(trained), "run python -m ci.costs"
    assert {name for name, cost in paper.costs.items() if cost.hours} == set(paper.speeds)
    first = dict(list(trained.items())[:2])
    assert costs.count(dataclasses.replace(paper, recipes=first)) == {name: paper.costs[name] for name in first}


@pytest.mark.slow
def test_what_is_counted_is_near_to_what_was_measured() -> None:
    """One H200, commit f974dca: DANet-R101, crop 768, batch 4, 19,091 MiB in float32."""
    danet = PAPERS["danet"]
    fixed, image = costs.kept(danet, danet.recipes["danet-r101-cityscapes"], torch.float32)
    assert 1024 * (fixed + 4 * image) == pytest.approx(19_091, rel=0.02)


def test_each_measured_memory_stands_beside_what_is_counted_now() -> None:
    text = (Path(costs.__file__).parent / "bench" / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(.+?)` \| (\d+) \| (\d+) \|(.+% \|.+% \|)$", text, re.MULTILINE)
    assert len(lines) == 9
    for name, crop, batch, cells in lines:
        recipe, cost = papers.paper_of(name).recipes[name], papers.paper_of(name).costs[name]
        for bf16, part in enumerate(re.findall(r"([\d.]+) \| ([\d.]+) \| (.\d+) %", cells)):
            counted, measured, more = map(float, part)
            assert measured / counted - 1 == pytest.approx(more / 100, abs=0.03)  # of rounded figures
            if recipe.augmentation.crop == int(crop):
                assert counted == round(cost.memory(int(batch), bf16=bool(bf16)), 1), name


def test_gpus_that_fit() -> None:
    cost = Cost(fixed=1.0, image=4.0, fixed_bf16=1.5, image_bf16=2.0)
    assert cost.memory(8) == 33.0
    assert cost.memory(8, bf16=True) == 17.5
    # 1.15 * 33 + 0.7 = 38.65; 1.15 * 17 + 0.7 = 20.25; 1.15 * 9 + 0.7 = 11.05; 1.15 * 5 + 0.7 = 6.45
    assert cost.gpus(8) == [(1, 40), (2, 24), (4, 12), (8, 8)]
    assert cost.gpus(2) == [(1, 12), (2, 8)]
    assert Cost(200.0, 1.0, 1.0, 1.0).gpus(8) == []
    assert cost.words(8) == "33.0 GiB, with bf16 17.5; fits 1 x 40, 2 x 24, 4 x 12, 8 x 8 GiB"
    assert dataclasses.replace(cost, hours=2.5).words(8) == f"{cost.words(8)}; 2.5 h on one H200 with bf16"


def test_the_help_says_it(tmp_path) -> None:
    danet = PAPERS["danet"]
    text = listing(danet.recipes, danet.demo, danet.costs)
    cost = danet.costs["danet-r101-cityscapes"]
    assert f"(reported 79.94 mIoU, Table 2; batch 8 takes {cost.words(8)})" in text
    assert f"{cost.hours:g} h on one H200 with bf16)" in text
    assert "If a batch does not fit on one GPU, use several; they share it." in text
    (tmp_path / "costs.json").write_text(to_json({"a": cost, "b": Cost(1.0, 2.0, 3.0, 4.0, hours=5.0)}))
    assert read(tmp_path / "costs.json") == {"a": cost, "b": Cost(1.0, 2.0, 3.0, 4.0, hours=5.0)}
    assert read(tmp_path / "absent.json") == {}


def test_hours_are_those_of_the_measured_speed() -> None:
    danet = PAPERS["danet"]
    recipe = danet.recipes["danet-r101-cityscapes"]
    assert costs.hours(danet, recipe) == round(240 * (2975 // 8) * 8 / 51.7 / 3600, 1)
    assert costs.hours(danet, danet.recipes["danet-r50-cityscapes-fcn"]) is None
