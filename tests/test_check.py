"""The two gates: what holds, what falls short, and what cannot be judged and so is never green."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci import check
from ci.check import (
    Options,
    Report,
    class_differences,
    main,
    printed,
    printed_classes,
    reproduction,
    untrained,
)
from ci.golden import GOLDEN
from ci.measured import sha256, to_toml
from ci.tolerances import DEFAULT, TOLERANCES
from core.recipe import to_json
from hub.networks import PAPERS, Paper

NAME = "danet-r101-cityscapes"
PAPER = PAPERS["DANet"]
RECIPE = PAPER.recipes[NAME]
IOU = {"road": 98.0, "sidewalk": 86.0, "rider": 61.0}
SHA = "0" * 64


def score(value: float) -> dict[str, Any]:
    return {"mean_iou": value, "pixel_accuracy": value + 10, "iou": {**IOU, "train": None}}


def entry(value: float = 79.6, **more: Any) -> dict[str, Any]:
    told = {"recipe": NAME, "metric": "mIoU", "value": value, "pixel_accuracy": value + 10}
    per_class = {"road": 98.0, "sidewalk": 87.5, "rider": 60.0}
    return {**told, "per_class": per_class, "weights": SHA, "precision": "bf16", "commit": "0123abc", **more}


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judge weights whose files and score are made up: what they say of themselves, what they score, what is known."""

    def judge(
        value: float | str,
        *entries: dict[str, Any],
        recipe: str = NAME,
        gate: Any = "both",
        about: dict[str, Any] | None = None,
    ) -> Report:
        file = tmp_path / "measured.toml"
        file.write_text("".join(map(to_toml, entries)))
        describing = {"recipe": to_json(PAPER.recipes[recipe]), "changed": {}, **(about or {})}
        monkeypatch.setattr(check, "described", lambda where: check.Weights(where, SHA, describing))

        def tested(paper: Paper, name: str, weights: Any, data: Any, precision: str, workers: int) -> dict[str, Any]:
            assert precision == ("bf16" if entries else "fp32")
            if isinstance(value, str):
                raise ValueError(value)
            return score(value)

        monkeypatch.setattr(check, "tested", tested)
        return check.check(Options(recipe, "weights", gate=gate, measured=file))

    return judge


def verdicts(report: Report) -> dict[str, str]:
    return {f"{one.gate} {one.metric}": one.verdict for one in report.judgements}


def test_both_gates_hold(judged: Any) -> None:
    report = judged(79.606, entry())
    assert verdicts(report) == {
        "regression mIoU": "holds",
        "regression pixel accuracy": "holds",
        "reproduction mIoU": "holds",
    }
    assert report.exit == 0


@pytest.mark.parametrize("value", [79.589, 79.611])
def test_a_hundredth_of_a_point_is_a_regression_in_either_direction(judged: Any, value: float) -> None:
    report = judged(value, entry(), gate="regression")
    assert set(verdicts(report).values()) == {"falls short"}
    assert report.exit == 1
    assert report.judgements[0].classes == pytest.approx({"road": 0.0, "sidewalk": -1.5, "rider": 1.0})


def test_a_regression_is_not_excused_by_a_reproduction(judged: Any) -> None:
    report = judged(82.0, entry())
    assert verdicts(report)["reproduction mIoU"] == "holds"
    assert report.exit == 1


@pytest.mark.parametrize(("value", "code"), [(79.44, 0), (79.43, 1), (90.0, 0)])
def test_a_row_may_stay_half_a_point_below_what_is_reported(judged: Any, value: float, code: int) -> None:
    report = judged(value, gate="reproduction")
    assert (report.exit, report.judgements[0].tolerance) == (code, 0.5)


def test_the_latest_score_of_the_same_weights_counts(judged: Any) -> None:
    others = [entry(10.0, weights="1" * 64), entry(11.0, recipe="danet-demo")]
    assert judged(79.6, entry(70.0), entry(), *others, gate="regression").exit == 0


@pytest.mark.parametrize(
    ("gate", "entries", "about", "said"),
    [
        ("regression", (), {}, "measured.toml has no score of these weights"),
        ("reproduction", (), {"recipe": {}}, "trained by an unknown recipe, not by danet-r101-cityscapes"),
        ("reproduction", (), {"recipe": {"name": "danet-r50"}}, "trained by danet-r50"),
        ("reproduction", (), {"changed": {"optimisation.batch": [8, 4]}}, "the recipe was changed for these weights"),
        ("both", (), {}, "measured.toml has no score"),
        ("both", (entry(),), {"changed": {"optimisation.batch": [8, 4]}}, "the recipe was changed"),
    ],
)
def test_absence_is_never_green(
    judged: Any, gate: str, entries: tuple[dict[str, Any], ...], about: dict[str, Any], said: str
) -> None:
    report = judged(79.6, *entries, gate=gate, about=about)
    assert report.exit == 2
    assert any(said in one.sentence for one in report.judgements if one.verdict == "not judged")


def test_what_could_not_be_tested_is_not_judged(judged: Any) -> None:
    report = judged("the data set 'cityscapes' lies in a folder: pass --data DIR", entry())
    assert set(verdicts(report).values()) == {"not judged"}
    assert report.exit == 2
    assert "pass --data DIR" in printed(report)


def test_a_shortfall_counts_more_than_what_was_not_judged(judged: Any) -> None:
    assert judged(70.0).exit == 1


def test_a_report_without_judgements_is_not_green() -> None:
    assert Report(NAME, "weights", SHA, ()).exit == 2


def test_a_recipe_of_ours_has_nothing_to_reproduce() -> None:
    recipe = PAPER.recipes["danet-r18-camvid"]
    assert untrained(PAPER, recipe, check.Weights("weights", SHA, {})) == "no paper reports this row"


def test_a_recipe_that_has_changed_since_is_not_judged() -> None:
    told = to_json(replace(RECIPE, optimisation=replace(RECIPE.optimisation, batch=4), summary="other words"))
    said = untrained(PAPER, RECIPE, check.Weights("weights", SHA, {"recipe": told}))
    assert said == "the recipe has changed since these weights were trained: {'optimisation.batch': (8, 4)}"
    reworded = to_json(replace(RECIPE, summary="other words", reported=()))
    assert untrained(PAPER, RECIPE, check.Weights("weights", SHA, {"recipe": reworded})) is None


def test_a_row_that_tests_harder_asks_for_the_weights_of_its_lender(judged: Any) -> None:
    harder = f"{NAME}-ms"
    assert judged(81.3, recipe=harder, gate="reproduction").exit == 2
    told = {"recipe": to_json(RECIPE)}
    assert untrained(PAPER, PAPER.recipes[harder], check.Weights("weights", SHA, told)) is None


def test_converted_weights_are_judged_and_converted_weights_of_a_changed_recipe_are_not() -> None:
    """The rows of mmsegmentation can have no others."""
    recipe = PAPER.recipes["danet-r50-cityscapes-mmseg"]
    told = {"recipe": to_json(recipe), "changed": {"weights": ["trained by this recipe", "converted from a file"]}}
    assert untrained(PAPER, recipe, check.Weights("weights", SHA, told)) is None
    told["changed"]["architecture.deep_supervision"] = [False, True]
    said = untrained(PAPER, recipe, check.Weights("weights", SHA, told))
    assert said == "the recipe was changed for these weights: {'architecture.deep_supervision': [False, True]}"


def test_the_table_of_classes_is_printed_where_a_gate_falls_short(judged: Any) -> None:
    text = printed(judged(70.0, entry()))
    assert "falls short: mIoU 70.000, measured 79.600 at 0123abc: -9.600" in text
    assert "falls short: mIoU 70.00, reported 79.94 (DANet, Table 2): -9.94, at most 0.5 below" in text
    assert f"tolerance 0.5: {DEFAULT.reason}" in text
    sidewalk, road, rider = (text.index(f"  {name}") for name in ("sidewalk", "road", "rider"))
    assert sidewalk < road < rider


def test_reported_values_of_single_classes_are_compared() -> None:
    names = ["road", "sidewalk", "building"]
    found = {"mean_iou": 81.4, "pixel_accuracy": 96.0, "iou": dict.fromkeys(names, 90.0)}
    row = replace(RECIPE.reported[0], per_class=(98.6, 86.1, 93.5))
    (one,) = reproduction(replace(RECIPE, reported=(row,)), found)
    assert one.classes == pytest.approx({"road": -8.6, "sidewalk": 3.9, "building": -3.5})


def test_tables_of_voc_leave_the_background_out() -> None:
    names = ["background", "aeroplane", "bicycle", "bird"]
    assert printed_classes(names, 2) == ["aeroplane", "bicycle"]
    assert printed_classes(names, 4) == names
    assert printed_classes(["road", "sidewalk"], 1) == []
    assert class_differences({"iou": {"road": 1.0}}, {}) is None


def test_a_tolerance_has_a_reason_and_a_row() -> None:
    rows = {name for paper in PAPERS.values() for name, recipe in paper.recipes.items() if recipe.reported}
    assert TOLERANCES.keys() <= rows
    assert all(tolerance.points > 0 and len(tolerance.reason) > 20 for tolerance in (DEFAULT, *TOLERANCES.values()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["danet-r999", "--weights", "somewhere"], "no paper has a recipe 'danet-r999'"),
        ([NAME, "--weights", "no/such/folder"], "neither a folder nor the name of a repository"),
    ],
)
def test_what_is_not_there_is_exit_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["exit"] == 2
    assert {one["verdict"] for one in report["judgements"]} == {"not judged"}
    assert said in report["judgements"][0]["sentence"]


def test_the_command_of_the_paper_is_what_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A golden network under its demo recipe, tested by evaluate.py: against a wrong score, then against its own."""
    weights = GOLDEN / "dfdam"
    where = ["dfdam-demo", "--weights", str(weights), "--gate", "regression", "--json", "--workers", "0"]
    file = tmp_path / "measured.toml"
    known = {"recipe": "dfdam-demo", "weights": sha256(weights / "model.safetensors"), "precision": "fp32"}
    file.write_text(to_toml(entry(1.0, **known)))
    assert main([*where, "--measured", str(file)]) == 1
    found = json.loads(capsys.readouterr().out)["score"]
    assert (found["recipe"], found["precision"]) == ("dfdam-demo", "fp32")
    assert found["mean_iou"] > 20

    monkeypatch.setattr(check, "tested", lambda *_: found)
    entered = {**entry(found["mean_iou"], **known), "pixel_accuracy": found["pixel_accuracy"], "per_class": {}}
    file.write_text(to_toml(entered))
    assert main([*where, "--measured", str(file)]) == 0
    assert main([*where[:3], "--gate", "reproduction"]) == 2
