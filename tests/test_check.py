"""The two gates: what holds, what falls short, and what cannot be judged and so is never green."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import forked
import pytest
import torch

import hub
import papers
from ci import check
from ci.check import Options, main, untrained
from ci.golden import GOLDEN
from ci.judgement import Report, class_differences, printed, printed_classes, reproduction
from ci.measured import to_toml
from core import datasets
from core.files import read_json, sha256, write_json
from core.networks.repository import SHIPPED
from core.paper import Paper
from core.recipe import ONE_RUN, SAME_WEIGHTS
from core.values import to_json
from papers import paper_of

NAME = "danet-r101-cityscapes"
PAPER = paper_of("danet-demo")
RECIPE = PAPER.recipes[NAME]
IOU = {"road": 98.0, "sidewalk": 86.0, "rider": 61.0}
SHA = "0" * 64
PROTOCOL = {name: value for name, value in to_json(RECIPE.protocol).items() if value is not None}


HERE = {"device": "cpu", "torch": "2.15.0"}


def score(value: float) -> dict[str, Any]:
    told = {"mean_iou": value, "pixel_accuracy": value + 10, "iou": {**IOU, "train": None}}
    return {**told, "images": 500, **HERE}


def entry(value: float = 79.6, **more: Any) -> dict[str, Any]:
    told = {"recipe": NAME, "metric": "mIoU", "value": value, "pixel_accuracy": value + 10}
    per_class = {"road": 98.0, "sidewalk": 87.5, "rider": 60.0}
    known = {"weights": SHA, "split": "val", "images": 500, "protocol": PROTOCOL, "precision": "bf16", **HERE}
    return {**told, "per_class": per_class, **known, "commit": "0123abc", **more}


@pytest.fixture
def judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judge weights whose files and score are made up: what they say of themselves, what they score, what is known."""

    def judge(
        value: float | str,
        *entries: dict[str, Any],
        recipe: str = NAME,
        gate: Any = "both",
        about: dict[str, Any] | None = None,
        precision: Any = None,
        **circumstances: Any,
    ) -> Report:
        file = tmp_path / "measured.toml"
        file.write_text("".join(map(to_toml, entries)))
        describing = {"recipe": to_json(PAPER.recipes[recipe]), "changed": {}, **(about or {})}
        monkeypatch.setattr(check, "described", lambda where: check.Weights(where, SHA, describing))

        def tested(paper: Paper, name: str, weights: Any, data: Any, used: str, workers: int) -> dict[str, Any]:
            assert used == precision or ("bf16" if entries else "fp32")
            if isinstance(value, str):
                raise ValueError(value)
            return {**score(value), **circumstances}

        monkeypatch.setattr(check, "tested", tested)
        return check.check(Options(recipe, "weights", gate=gate, measured=file, precision=precision))

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


@pytest.mark.parametrize("name", hub.shipped())
def test_what_comes_along_is_held_to_the_score_in_its_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read_json(SHIPPED / name / "score.json")
    mine = {**stored, "mean_iou": stored["mean_iou"] + 0.02}
    monkeypatch.setattr("ci.check.described", lambda where: check.Weights(where, stored["weights"], {}))
    for score, verdict in ((stored, "holds"), (mine, "falls short")):
        monkeypatch.setattr("ci.check.tested", lambda *_: score)  # noqa: B023 (called at once)
        report = check.check(Options(name, name, gate="regression"))
        assert verdicts(report)["regression mIoU"] == verdict


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
    told = to_json(replace(RECIPE, data=replace(RECIPE.data, name="folder", num_classes=7)))
    said = untrained(PAPER, RECIPE, check.Weights("weights", SHA, {"recipe": told}))
    assert said is not None
    assert "'data.name': ('cityscapes', 'folder'), 'data.num_classes': (19, 7)" in said
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
    assert f"tolerance 0.5: {ONE_RUN.reason}" in text
    sidewalk, road, rider = (text.index(f"  {name}") for name in ("sidewalk", "road", "rider"))
    assert sidewalk < road < rider


def test_reported_values_of_single_classes_are_compared() -> None:
    names = ["road", "sidewalk", "building"]
    found = {"mean_iou": 81.4, "pixel_accuracy": 96.0, "iou": dict.fromkeys(names, 90.0)}
    row = replace(RECIPE.reported[0], per_class=(98.6, 86.1, 93.5))
    (one,) = reproduction(replace(RECIPE, reported=(row,)), found, [])
    assert one.classes == pytest.approx({"road": -8.6, "sidewalk": 3.9, "building": -3.5})
    assert one.than == "reported in Table 2"


def test_classes_that_no_paper_prints_are_compared_with_the_last_measured(judged: Any) -> None:
    others = [entry(weights="1" * 64), entry(90.0, weights="2" * 64, changed=["optimisation.batch: 8 -> 4"])]
    (one,) = judged(70.0, *others, gate="reproduction", precision="bf16").judgements
    assert one.classes == pytest.approx({"road": 0.0, "sidewalk": -1.5, "rider": 1.0})
    assert one.than == "measured at 0123abc, of other weights"


def test_with_nothing_to_compare_with_the_classes_are_printed(judged: Any) -> None:
    text = printed(judged(70.0, gate="reproduction"))
    heading = "  IoU; there is none to compare with:\n"
    assert f"{heading}  rider       61.00\n  sidewalk    86.00\n  road        98.00\n" in text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"changed": ["protocol.flip: true -> false"]}, "measured by another test than the recipe's: protocol.flip"),
        ({"split": "train"}, "the test of the recipe has changed since"),
        ({"protocol": {**PROTOCOL, "flip": not PROTOCOL["flip"]}}, "protocol.flip"),
        ({"images": 499}, "499 images were measured, and 500 were tested now"),
        ({"precision": "fp32"}, "measured in fp32; leave out --precision bf16"),
        ({"metric": "mean IoU", "pixel_accuracy": None}, "nothing in measured.toml or in the recipe can be compared"),
    ],
)
def test_another_test_is_no_regression(judged: Any, more: dict[str, Any], said: str) -> None:
    entries = [{name: value for name, value in {**entry(), **more}.items() if value is not None}]
    report = judged(10.0, *entries, gate="regression", precision="bf16")
    assert [(one.gate, one.verdict) for one in report.judgements] == [("regression", "not judged")]
    assert said in report.judgements[0].sentence
    assert judged(79.94, *entries, precision="bf16").exit == 2  # although the other gate holds


def test_a_later_test_by_another_protocol_does_not_hide_that_of_the_row(judged: Any) -> None:
    other = entry(85.0, changed=["protocol.flip: true -> false"])
    assert judged(79.6, entry(), other, gate="regression").exit == 0
    assert judged(85.0, entry(), other, gate="regression").exit == 1


@pytest.mark.parametrize(("name", "value"), [("torch", "2.11.0"), ("device", "cuda"), ("torch", None)])
def test_on_another_machine_a_score_may_hold_but_not_fall_short(judged: Any, name: str, value: str | None) -> None:
    known = {field: said for field, said in entry(**{name: value}).items() if said is not None}
    assert judged(79.606, known, gate="regression").exit == 0
    report = judged(79.0, known, gate="regression")
    assert report.exit == 2
    assert f"{name} {value or 'that is not recorded'} then, {HERE[name]} now" in report.judgements[0].sentence


@pytest.mark.parametrize("images", [1, 499, 501])
def test_a_part_of_the_split_is_not_judged(judged: Any, images: int) -> None:
    report = judged(79.6, entry(images=images), images=images)
    assert set(verdicts(report).values()) == {"not judged"}
    assert f"{images} images of cityscapes, val, were tested, but it has 500" in report.judgements[0].sentence


def test_an_error_of_the_gate_itself_is_not_judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(where: str) -> check.Weights:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(check, "described", broken)
    assert main([NAME, "--weights", "org/name", "--json"]) == 2
    said = capsys.readouterr()
    assert "RuntimeError: out of memory" in json.loads(said.out)["judgements"][0]["sentence"]
    assert "Traceback" in said.err
    assert main([NAME, "--weights", str(GOLDEN / "danet"), "--measured", str(tmp_path / "none.toml")]) == 2


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ([], None),
        ([1], "no configuration of a network"),
        ({"recipe": "name"}, "about.recipe"),
        ({"changed": [1]}, "about.changed"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, about: Any, said: str | None) -> None:
    for file in ("config.json", "model.safetensors"):
        (tmp_path / file).write_bytes((GOLDEN / "danet" / file).read_bytes())
    write_json(tmp_path / "config.json", {**read_json(tmp_path / "config.json"), "about": about})
    if said is None:
        assert check.described(str(tmp_path)).about == {}
    else:
        with pytest.raises(ValueError, match=said):
            check.described(str(tmp_path))


def test_tables_of_voc_leave_the_background_out() -> None:
    names = ["background", "aeroplane", "bicycle", "bird"]
    assert printed_classes(names, 2) == ["aeroplane", "bicycle"]
    assert printed_classes(names, 4) == names
    assert printed_classes(["road", "sidewalk"], 1) == []
    assert class_differences({"iou": {"road": 1.0}}, {}) is None


def test_a_tolerance_has_a_reason_and_a_row() -> None:
    rows = [row for paper in papers.every() for recipe in paper.recipes.values() for row in recipe.reported]
    assert {row.tolerance for row in rows} == {ONE_RUN, SAME_WEIGHTS}
    assert {row.paper for row in rows if row.tolerance == SAME_WEIGHTS} == {"mmsegmentation", "the authors' code"}
    assert (ONE_RUN.points, SAME_WEIGHTS.points) == (0.5, 0.1)


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


@pytest.mark.slow
def test_the_command_of_the_paper_is_what_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A golden network under its demo recipe, tested by evaluate.py: against a wrong score, then against its own."""
    monkeypatch.setattr(check.subprocess, "run", forked.served)
    weights = GOLDEN / "dfdam"
    where = ["dfdam-demo", "--weights", str(weights), "--gate", "regression", "--json", "--workers", "0"]
    file = tmp_path / "measured.toml"
    known = {"recipe": "dfdam-demo", "weights": sha256(weights / "model.safetensors"), "precision": "fp32"}
    demo = paper_of("dfdam-demo").recipes["dfdam-demo"]
    here = {"protocol": {k: v for k, v in to_json(demo.protocol).items() if v is not None}, "split": demo.data.test}
    images = len(datasets.read("scenes", None, demo.data.test))
    file.write_text(to_toml(entry(1.0, **known, **here, images=images, torch=torch.__version__)))
    assert main([*where, "--measured", str(file)]) == 1
    found = json.loads(capsys.readouterr().out)["score"]
    assert (found["recipe"], found["precision"]) == ("dfdam-demo", "fp32")
    assert found["mean_iou"] > 20

    monkeypatch.setattr(check, "tested", lambda *_: found)
    of_it = {name: found[name] for name in ("pixel_accuracy", "images", "split", "device", "torch")}
    assert found["weights"] == known["weights"]
    tested_by = {name: value for name, value in found["protocol"].items() if value is not None}
    entered = entry(found["mean_iou"], **known, **of_it, protocol=tested_by, per_class={})
    file.write_text(to_toml(entered))
    assert main([*where, "--measured", str(file)]) == 0
    assert main([*where[:3], "--gate", "reproduction"]) == 2
