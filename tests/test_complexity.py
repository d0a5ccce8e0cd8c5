"""Parameters and multiply-adds beside what the papers print of them."""

import functools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import papers
from ci import complexity
from core.networks.complexity import Complexity, Convention, Printed, layers, ptflops, thop
from papers import paper_of

ROOT = Path(__file__).parent.parent


@functools.cache
def counted() -> dict[str, list[Printed]]:
    """What each paper prints, beside ours."""
    return {paper.folder: complexity.columns(paper) for paper in papers.every()}


def of(paper: str, place: str, how: str) -> tuple[Printed, ...]:
    return tuple(line for line in counted()[paper] if place in line.place and how in line.how)


@pytest.mark.slow
def test_every_target_is_met_and_those_are_the_ones_that_there_are() -> None:
    judged = [line for lines in counted().values() for line in lines if line.met is not None]
    assert [(line.place, line.text) for line in judged if not line.met] == []
    assert sorted({(line.text, line.tolerance) for line in judged}) == [
        ("10.31 G", 0.0),
        ("10.31 G", 0.0025),
        ("11.57 M", 0.0),
        ("11.57 M", 0.0025),
        ("162.7 G", 0.0),
        ("204.7 G", 0.005),
        ("235.6 G", 0.0),
        ("35.52 G", 0.0),
        ("35.52 G", 0.0025),
        ("42.6 M", 0.0),
        ("43.24 M", 0.0),
        ("43.24 M", 0.0025),
        ("55.5 M", 0.002),
        ("59.5 M", 0.0),
    ]


@pytest.mark.parametrize(
    ("ours", "tolerance", "met"),
    [(11.574, 0.0, True), (11.576, 0.0, False), (11.59, 0.0025, True), (11.61, 0.0025, False), (99.0, None, None)],
)
def test_a_number_is_met_to_its_digits_or_within_its_tolerance(
    ours: float, tolerance: float | None, met: bool | None
) -> None:
    line = Printed("Table 4, Ours", "11.57 M", ours, tolerance, "")
    assert line.met is met
    assert ("met" in str(line)) == (met is not None)
    assert ("NOT met" in str(line)) == (met is False)


@pytest.mark.slow
def test_a_missed_target_is_the_exit_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(complexity, "recipe_lines", lambda paper: [])
    found = counted()
    monkeypatch.setattr(complexity, "columns", lambda paper: found[paper.folder])
    assert complexity.main() == 0
    missed = Printed("Table 4, Ours", "11.57 M", 12.0, 0.0, "")
    monkeypatch.setattr(complexity, "columns", lambda paper: [missed] if paper.folder == "dfdam" else [])
    assert complexity.main() == 1
    assert "DF-DAM, Table 4, Ours" in capsys.readouterr().out


def readme(paper: str) -> str:
    return (ROOT / "papers" / paper / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_readmes_say_what_is_counted() -> None:
    for place, classes in (("Table 4", 19), ("Table 6", 21)):
        parts = []
        for form in ("squeezed", "converted"):
            parameters, operations = of("dfdam", place, form)
            parts.append(f"{parameters.ours:.3f} M, {operations.ours:.3f} G")
        printed = f"{parameters.text}, {operations.text}"
        assert f"{classes} classes | {printed} | {' | '.join(parts)} |" in readme("dfdam")
    for downsampling in ((8, 4, 2, 1), (8, 8, 8, 8)):
        parameters, operations = of("sanet", "SANet (ours)", "-".join(map(str, downsampling)))
        start = f"| SANet, `downsampling={downsampling}`"
        (row,) = [line for line in readme("sanet").splitlines() if line.startswith(start)]
        assert f"| 55.5 M, 204.7 G | {parameters.ours:.3f} M, {operations.ours:.2f} G |" in row
        assert row.endswith(f"| {parameters.deviation:+.2%}, {operations.deviation:+.2%} |".replace("%", " %"))
    for how, row in (
        ("on 512 channels, 188", "| 3x3, on 512 channels | 188 |"),
        ("as released, 188", "| 3x3 | 188 |"),
        ("as released, 500", "| 3x3 | 500 |"),
        ("1x1 over representatives, 188", "| 1x1 | 188 |"),
        ("1x1 over representatives, 600", "| 1x1 | 600 |"),
    ):
        parameters, operations, _ = of("ranet", "Table 3", how)
        assert f"{row} {parameters.ours:.2f} M | {operations.ours:.1f} G |" in readme("ranet")
    *_, memory = of("ranet", "Table 3", "on 512 channels")
    assert f"are {memory.ours:.0f} MB, where 1893 are printed" in readme("ranet")


@pytest.mark.parametrize(
    ("module", "by_thop", "by_ptflops"),
    [
        (nn.Conv2d(8, 6, 3, padding=1, bias=False), 6 * 5 * 7 * 8 * 9, 6 * 5 * 7 * 8 * 9),
        (nn.Conv2d(8, 6, 3, padding=1, groups=2), 6 * 5 * 7 * (4 * 9 + 1), 6 * 5 * 7 * (4 * 9 + 1)),
        (nn.ConvTranspose2d(8, 6, 2, stride=2, bias=False), 6 * 10 * 14 * 8 * 4, 0),
        (nn.BatchNorm2d(8), 4 * 8 * 5 * 7, 2 * 8 * 5 * 7),
        (nn.AdaptiveAvgPool2d(1), 8 * 5 * 7, 8 * 5 * 7),
        (nn.ReLU(), 0, 8 * 5 * 7),
        (nn.MaxPool2d(2), 0, 8 * 5 * 7),
        (nn.Dropout2d(), 0, 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_cost_of_a_layer(module: nn.Module, by_thop: int, by_ptflops: int) -> None:
    given = torch.zeros(1, 8, 5, 7)
    returned = module.eval()(given)
    assert (thop(module, given, returned), ptflops(module, given, returned)) == (by_thop, by_ptflops)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "convolutions", "attention"),
    [
        ("danet-r50-cityscapes-pam-cam", 454.179, 9409 * 9409 * (64 + 512) + 2 * 512 * 512 * 9409),
        ("pdanet-r18-ade20k-600", 143.237, sum(n * n * (16 + 128) + 2 * 128 * 128 * n for n in (1, 4, 9, 36))),
        ("ranet-r101-cityscapes-backbone", 511.944, 0),
    ],
)
def test_products_of_convolutions_and_of_attentions_are_counted(name: str, convolutions: float, attention: int) -> None:
    paper = paper_of(name)
    counted = paper.convention.count(lambda: paper.build(paper.recipes[name]))
    assert counted.multiply_adds == pytest.approx(convolutions + attention / 1e9, abs=1e-3)


def test_every_recipe_has_a_line_equal_networks_are_counted_once_and_some_depend_on_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paper = paper_of("danet-demo")
    calls: list[int] = []

    def count(self: Convention, build: object) -> Complexity:
        calls.append(1)
        return Complexity(1.0, math.nan if len(calls) == 1 else 2.0)

    monkeypatch.setattr(Convention, "count", count)
    _, first, *rest = complexity.recipe_lines(paper)
    assert [line.split()[0] for line in (first, *rest)] == list(paper.recipes)
    assert first.endswith("depends on the image")
    assert rest[0].endswith("2.000")
    assert len(calls) == len({(recipe.data.num_classes, recipe.architecture) for recipe in paper.recipes.values()})
    assert len(calls) < len(paper.recipes)


def test_what_depends_on_the_image_is_not_a_number() -> None:
    paper = paper_of("ranet-demo")
    found = paper.convention.count(lambda: paper.build(paper.recipes["ranet-demo"]))
    assert math.isnan(found.multiply_adds)
    assert found.parameters > 0.1


def test_counting_needs_no_memory() -> None:
    seen: list[str] = []

    class Witness(nn.Conv2d):
        def forward(self, image: Tensor) -> Tensor:
            seen.append(image.device.type)
            return super().forward(image)

    counted = layers(lambda: Witness(3, 1, 1, bias=False), (10_000, 10_000), "thop")
    assert seen == ["meta"]
    assert math.isclose(counted.multiply_adds, 0.3)
    assert math.isclose(counted.parameters, 3e-6)
