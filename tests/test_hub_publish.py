"""Publishing a run: what is refused, and what the folder of the repository says."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml
from hub_runs import DEMO, demo_network, finished_run, score
from huggingface_hub import ModelCard, parse_eval_result_entries

from core import files
from core.command import TrainingOptions, parse
from core.datasets.sets.scenes import CLASSES as SCENES
from core.recipe import Protocol
from core.testing.metrics import Score
from core.values import to_json
from hub import publish
from hub.history import training_command
from hub.publish import Options, gather, write
from hub.results import results
from papers.danet.recipes import RECIPES

pytestmark = pytest.mark.slow

CHANGED = replace(
    DEMO,
    optimisation=replace(DEMO.optimisation, batch=8, unit="steps"),
    protocol=Protocol(base=128, scales=(0.5, 1.0)),
    augmentation=replace(DEMO.augmentation, flip=False, scale=None),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def card_of(options: Options) -> ModelCard:
    """Write the folder as a dry run does, and read its card."""
    write(gather(options), options.run, options.run.parent / "repository")
    return ModelCard.load(options.run.parent / "repository" / "README.md")


def test_a_dry_run_writes_the_folder_and_uploads_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "HfApi", None)
    checked: list[Any] = []
    monkeypatch.setattr(publish.check, "compare", checked.append)  # test_hub_round_trip has the real one
    words = ["publish", "danet-demo", str(run), "--repo", "org/danet-demo", "--dry-run"]
    monkeypatch.setattr("sys.argv", words)
    publish.main()
    folder = run / "repository"
    assert capsys.readouterr().out == f"{folder} holds the repository\n"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    ours = {"config.json", "model.safetensors", "fingerprint.json", "score.json"}
    doors = {"modeling_danet.py", "preprocessor_config.json"}
    assert files == ours | doors | {"README.md", "picture.png", ".eval_results/scenes.yaml"}
    for name in ours - {"config.json"}:
        assert (folder / name).read_bytes() == (run / name).read_bytes()
    assert [list(each) for each in checked] == [[folder]]
    publish.main()  # and again over its own files
    (folder / "notes.txt").write_text("private")
    with pytest.raises(SystemExit):
        publish.main()
    assert "holds notes.txt, which would be uploaded too; choose another --to" in capsys.readouterr().err


def test_a_hub_that_does_not_answer_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no\nroute")

    monkeypatch.setattr(publish.HfApi, "create_repo", refuse)
    monkeypatch.setattr(publish.check, "compare", lambda _: None)
    monkeypatch.setattr("sys.argv", ["publish", "danet-demo", str(run), "--repo", "org/danet-demo"])
    with pytest.raises(SystemExit):
        publish.main()
    said = capsys.readouterr().err
    assert "can't publish https://huggingface.co/org/danet-demo (RuntimeError: no route); " in said
    assert (run / "repository" / "README.md").is_file()


def test_the_card_can_be_read_back(run: Path) -> None:
    card = card_of(Options("danet-demo", run, "org/danet-demo"))
    measured = json.loads((run / "score.json").read_text())
    results = {result.metric_type: result for result in card.data.eval_results}
    assert results["mean_iou"].metric_value == measured["mean_iou"]
    assert results["accuracy"].metric_value == measured["pixel_accuracy"]
    for result in results.values():
        assert (result.dataset_type, result.dataset_name, result.dataset_split) == ("scenes", "Scenes", "val")
        assert DEMO.protocol.in_words() in str(result.task_name)
        assert str(result.source_url).endswith("/org/danet-demo/blob/main/score.json")
    data = card.data.to_dict()
    assert (data["pipeline_tag"], data["license"]) == ("image-segmentation", "apache-2.0")
    assert {"danet", "semantic-segmentation"} <= set(data["tags"])


def test_the_results_of_the_hub_can_be_read_back(run: Path) -> None:
    card_of(Options("danet-demo", run, "org/danet-demo"))
    measured = json.loads((run / "score.json").read_text())
    text = (run.parent / "repository" / ".eval_results" / "scenes.yaml").read_text()
    entries = {entry.task_id: entry for entry in parse_eval_result_entries(yaml.safe_load(text))}
    assert set(entries) == {"mean_iou", "pixel_accuracy"}
    for key, entry in entries.items():
        assert (entry.dataset_id, entry.value, entry.date) == ("scenes", measured[key], measured["date"])
        assert entry.notes == f"danet-demo: val split, {DEMO.protocol.in_words()}"
        assert entry.source_name == "score.json"


def test_the_text_of_the_card(run: Path) -> None:
    text = card_of(Options("danet-demo", run, "org/danet-demo")).text
    measured = json.loads((run / "score.json").read_text())
    row = f"| `danet-demo` | mIoU | val | {DEMO.protocol.in_words()} | none | {measured['mean_iou']:.2f} |"
    assert row in text
    for name, value in measured["iou"].items():
        assert f"| {name} | {'absent' if value is None else f'{value:.2f}'} |" in text
    assert "| car | absent |" in text
    for part in (
        "DANet: Dual Attention Network for Scene Segmentation",
        'hub.from_pretrained("org/danet-demo")',
        "accelerate launch papers/danet/train.py danet-demo\n",
        "Nothing was changed in the published recipe.",
        "under Apache-2.0",
        "## Limits",
        "@inproceedings{fu2019dual",
        measured["hardware"],
        "commit 0123abc",
    ):
        assert part in text


def publication(finished: Path, name: str, value: float = 50.0) -> publish.Publication:
    """What a card would tell of a recipe whose data the tests do not have."""
    recipe = RECIPES[name]
    measured = {**score(recipe, split="val"), "mean_iou": value}
    base = gather(Options("danet-demo", finished, "org/danet-demo"))
    about = replace(base.about, recipe={**base.about.recipe, "data": {"name": recipe.data.name}})
    return replace(base, repository=f"org/{name}", recipe=recipe, about=about, scores=((recipe, measured),))


def test_reported_numbers_stand_beside_measured_ones(finished: Path) -> None:
    told = publication(finished, "danet-r101-cityscapes", value=12.3456)
    words = told.recipe.protocol.in_words()
    assert words == "windows of 768 every 512, mirrored, merged by exp"
    table = results(told)
    assert f"| `danet-r101-cityscapes` | mIoU | val | {words} | 79.94 (DANet, Table 2) | 12.35 |" in table
    assert f"| `danet-r101-cityscapes` | pixel accuracy | val | {words} | none | " in table
    other = replace(told, scores=((told.recipe, {**told.scores[0][1], "split": "test"}),))
    assert "| 79.94 (DANet, Table 2) |  |" in results(other)  # measured on another split
    altered = replace(told, changed={"optimisation.batch": (8, 4)})
    assert "79.94" not in results(altered)


def test_the_licence_of_the_data_is_that_of_the_weights(finished: Path) -> None:
    card = publish.card.card(publication(finished, "danet-r101-cityscapes"))
    data = card.data.to_dict()
    assert data["license"] == "other"
    assert data["license_link"] == "https://www.cityscapes-dataset.com/license/"
    assert data["base_model"] == "timm/resnet101.tv_in1k"
    assert "non-commercial" in card.text


def test_weights_from_elsewhere_say_so(finished: Path) -> None:
    told = publication(finished, "danet-r101-cityscapes")
    origin = "converted from danet.pth (mmseg, sha256 0123)"
    card = publish.card.card(replace(told, changed={"weights": ("trained by this recipe", origin)}))
    assert f"Not trained by this source tree: {origin}." in card.text
    assert "accelerate launch" not in card.text
    assert "79.94 (DANet, Table 2)" in card.text


def test_what_the_training_began_with_is_told(finished: Path) -> None:
    told = publication(finished, "danet-r101-cityscapes")
    other = replace(told, changed={"starts_from": (None, "danet-r101-coarse")})
    text = publish.card.card(other).text
    assert "beginning with the weights of `danet-r101-coarse`" in text
    assert "ImageNet" not in text
    assert "train.py danet-r101-cityscapes --data DIR --starts-from FIRST_RUN\n" in text
    second = replace(told, recipe=replace(told.recipe, starts_from="danet-r101-coarse"))
    assert "beginning with the weights of `danet-r101-coarse`" in publish.card.card(second).text
    assert "--starts-from" not in publish.card.card(second).text


def test_other_weights_of_the_backbone_are_told(finished: Path) -> None:
    told = publication(finished, "danet-r101-cityscapes")
    assert publish.card.card(told).data.base_model == "timm/resnet101.tv_in1k"
    other = replace(told, changed={"backbone_weights": ("hub", "mine.pth, sha256 0123")})
    assert publish.card.card(other).data.base_model is None
    text = publish.card.card(other).text
    assert "train.py danet-r101-cityscapes --data DIR --backbone-weights FILE\n" in text
    assert "- `backbone_weights`: hub -> mine.pth, sha256 0123" in text
    none = replace(told, changed={"backbone_weights": ("hub", "none")})
    assert "--backbone-weights none\n" in publish.card.card(none).text


def test_a_changed_recipe_is_refused_under_the_name_of_a_row(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", CHANGED)
    for name in ("danet-demo", "DANet-Demo", "danet-r101-cityscapes"):
        with pytest.raises(
            ValueError, match=r"changed its recipe \(.*optimisation\.batch: 16 -> 8.*choose another --repo"
        ):
            gather(Options("danet-demo", run, f"org/{name}"))
    card = card_of(Options("danet-demo", run, "org/mine"))
    text = card.text
    assert "This is not the published recipe" in text
    assert "recipe `danet-demo, changed`" in text
    assert {str(result.metric_name) for result in card.data.eval_results} == {
        "mIoU (%), danet-demo, changed",
        "pixel accuracy (%), danet-demo, changed",
    }
    assert "- `optimisation.batch`: 16 -> 8" in text
    assert CHANGED.protocol.in_words() in text


def test_a_recipe_that_changed_since_is_noticed(tmp_path: Path) -> None:
    """Also where the run itself believes that nothing was changed."""
    run = finished_run(tmp_path / "run", CHANGED, changed={})
    with pytest.raises(ValueError, match="changed its recipe"):
        gather(Options("danet-demo", run, "org/danet-demo"))


def test_the_training_command_of_the_card_trains_that_recipe(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", CHANGED)
    files.write_json(run / "score.json", score(CHANGED, seed=3, precision="bf16", processes=2))
    command = training_command(gather(Options("danet-demo", run, "org/mine")))
    launcher, words = command.split(" papers/danet/train.py ")
    assert launcher == "accelerate launch --num_processes 2"
    options = parse(TrainingOptions, RECIPES, DEMO.name, shlex.split(words))
    assert options.recipe == CHANGED
    assert (options.run.seed, options.run.precision) == (3, "bf16")


def edited(run: Path, **changes: Any) -> None:
    measured = {**json.loads((run / "score.json").read_text()), **changes}
    files.write_json(run / "score.json", {name: value for name, value in measured.items() if value is not None})


def test_a_run_without_a_score_is_refused(run: Path) -> None:
    (run / "score.json").unlink()
    with pytest.raises(ValueError, match=r"run has no score\.json; a run writes it when it ends, and so does evaluate"):
        gather(Options("danet-demo", run, "org/danet-demo"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "danet-r18-camvid"}, "the score is of the recipe 'danet-r18-camvid', not 'danet-demo'"),
        ({"split": "train"}, "data.test of the score of 'danet-demo' is train, but its recipe tests with val"),
        ({"hardware": None}, "the score of 'danet-demo' lacks hardware; test again"),
        ({"iou": {"sky": 1.0}}, "is of other classes than the weights: sky"),
        (
            {"protocol": to_json(Protocol(base=192))},
            "protocol.flip of the score of 'danet-demo' is False, but its recipe",
        ),
    ],
)
def test_a_score_of_something_else_is_refused(run: Path, changes: dict[str, Any], words: str) -> None:
    edited(run, **changes)
    with pytest.raises(ValueError, match=re.escape(words)):
        gather(Options("danet-demo", run, "org/danet-demo"))


@pytest.mark.parametrize(
    ("recipe", "repo", "words"),
    [
        ("danet-demon", "org/mine", "no paper has a recipe 'danet-demon'"),
        ("danet-demo", "mine", "--repo must be ORG/NAME, got 'mine'"),
        ("danet-demo", "org/danet-r101-cityscapes", "is the name of another row, this is 'danet-demo'"),
        ("danet-r18-camvid", "org/mine", "was trained by the recipe 'danet-demo', not 'danet-r18-camvid'"),
        ("danet-r101-cityscapes-ms", "org/mine", "only tests the weights of 'danet-r101-cityscapes': publish that one"),
    ],
)
def test_another_recipe_or_name_is_refused(run: Path, recipe: str, repo: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        gather(Options(recipe, run, repo))


def test_weights_that_fail_their_fingerprint_are_not_published(run: Path) -> None:
    tensors = safetensors.torch.load_file(run / "model.safetensors")
    tensors["classify.1.bias"] += 1
    safetensors.torch.save_file(tensors, run / "model.safetensors")
    with pytest.raises(ValueError, match="does not compute what its fingerprint says"):
        gather(Options("danet-demo", run, "org/danet-demo"))


def test_rows_that_test_the_same_weights_stand_beside_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harder = replace(DEMO, name="danet-demo-ms", same_weights_as=DEMO.name, protocol=Protocol(scales=(0.5, 1.0)))
    monkeypatch.setitem(RECIPES, harder.name, harder)
    files.write_json(tmp_path / "ms.json", {**score(harder), "mean_iou": 12.5})
    card = card_of(Options("danet-demo", run, "org/danet-demo", score=(tmp_path / "ms.json",)))
    assert "| `danet-demo-ms` | mIoU | val | whole image, scales 0.5 1 | none | 12.50 |" in card.text
    assert {result.metric_value for result in card.data.eval_results} >= {12.5}
    assert json.loads((tmp_path / "repository" / "score-danet-demo-ms.json").read_text())["mean_iou"] == 12.5
    with pytest.raises(ValueError, match="is of 'danet-demo', which does not test the weights of 'danet-demo'"):
        gather(Options("danet-demo", run, "org/danet-demo", score=(run / "score.json",)))


def test_the_score_of_these_tests_is_one(finished: Path) -> None:
    """`hub_runs.score` is what a test writes, not a made-up table."""
    measured = json.loads((finished / "score.json").read_text())
    again = Score(SCENES, torch.tensor(measured["confusion"])).to_json()
    assert {name: measured[name] for name in again} == again
    assert demo_network(0).about is not None
