"""What a card says beside its numbers: where the code is, how it is used, the training, own data, and text of users."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_runs import DEMO, demo_network, finished_run, score
from PIL import Image

import papers
from core import files
from core.datasets import read
from core.images.classes import Classes
from core.recipe import Data
from core.values import differences, to_json
from hub import history, publication
from hub.card import card, text
from hub.markdown import code, fence, plain, table
from hub.publication import Publication
from hub.publish import Options, draw, gather, write
from papers.danet import DANet

OWN = replace(DEMO, data=Data("folder", num_classes=10))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("own") / "run", OWN)


def told(finished: Path, **changes: Any) -> Publication:
    return replace(gather(Options("danet-demo", finished, "org/danet-demo")), **changes)


@pytest.mark.slow
def test_each_door_is_told_of(finished: Path) -> None:
    said = text(told(finished))
    assert 'hub.from_pretrained("org/danet-demo")' in said
    assert 'AutoModelForSemanticSegmentation.from_pretrained("org/danet-demo", trust_remote_code=True)' in said
    assert "This executes `modeling_danet.py` of this repository" in said
    assert "RGB in 0..1, less (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225)." in said
    assert "model.onnx" not in said
    assert "`model.onnx` maps such an `image`" in text(told(finished, files=("model.onnx",)))
    shipped = text(told(finished, repository="danet-demo"))
    assert "transformers" not in shipped
    assert 'hub.from_pretrained("danet-demo")' in shipped
    assert "It is bundled with the source tree (`pip install -e .` there)." in shipped


def test_a_card_says_which_channels_a_network_takes(finished: Path, tmp_path: Path) -> None:
    made = told(finished, files=("model.onnx",))
    assert "channels" not in text(made)
    bands = DANet(10, DEMO.architecture, in_channels=5)
    said = text(replace(made, network=bands))
    assert 'network.predict("image.npy")' in said
    assert "It takes images of 5 channels, in the order of those that it was trained on: " in said
    assert ".npy files h w 5 and TIFF files of 5 bands, in 8 bits or in 16, which are divided by 257" in said
    assert "5 channels in 0..1 (of 8 bits: over 255), less (0.485, 0.456, 0.406, 0.485, 0.456), over (0.229, " in said
    assert "`model.onnx` maps such an `image` (b 5 h w, float32)" in said
    grey = text(replace(made, network=DANet(10, DEMO.architecture, in_channels=1)))
    assert 'network.predict("photo.jpg")' in grey
    assert "It takes grey images: " in grey
    assert "1 channel in 0..1 (of 8 bits: over 255), less (0.449), over (0.226)." in grey
    for other in (said, grey):
        assert 'photo.jpg")  # a mask for each class' not in other
        assert "reads red, green and blue alone, so it does not serve this network." in other

    bands.save_pretrained(tmp_path)
    assert "images of 5 channels" in (tmp_path / "README.md").read_text()
    assert 'predict("image.npy")' in (tmp_path / "README.md").read_text()


def test_a_picture_of_other_channels_is_drawn(tmp_path: Path) -> None:
    values = np.full((48, 64, 5), 200, np.uint8)
    np.save(tmp_path / "bands.npy", values)
    shown = np.asarray(draw(DANet(10, DEMO.architecture, in_channels=5).eval(), tmp_path / "bands.npy"))
    assert (shown == 200).all(axis=-1).sum() > 48 * 64


@pytest.mark.parametrize(
    ("commit", "checkout"), [("0123abc", " && git checkout 0123abc"), ("0123abc+", ""), ("unknown", "")]
)
def test_the_card_says_where_the_code_is(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: str, checkout: str
) -> None:
    base = told(finished)
    made = replace(base, about=replace(base.about, commit=commit))
    (tmp_path / "CITATION.cff").write_text("title: x\nrepository-code: 'https://example.org/code.git'\n")
    monkeypatch.setattr(publication, "CITATION", tmp_path / "CITATION.cff")
    lines = f"git clone https://example.org/code.git attention-segmentation\ncd attention-segmentation{checkout}\n"
    assert lines in text(made)
    (tmp_path / "CITATION.cff").write_text("title: x\n")
    said = text(made)
    assert "git clone" not in said
    assert "(`pip install -e .` there), which had no public address when this was written: ask its publisher" in said


def test_the_address_has_one_place_to_be_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`CITATION.cff` names it, or has a comment that becomes it when its sign is taken away."""
    written = publication.CITATION.read_text()
    (line,) = re.findall(r"^(?:# )?(repository-code: .+)$", written, re.MULTILINE)
    if f"# {line}" in written:
        assert publication.clone_address() is None
    (tmp_path / "CITATION.cff").write_text(written.replace(f"# {line}", line))
    monkeypatch.setattr(publication, "CITATION", tmp_path / "CITATION.cff")
    assert publication.clone_address() == line.split()[1]
    assert yaml.safe_load(written)["cff-version"] == "1.2.0"


@pytest.mark.slow
def test_the_card_tells_of_the_training(finished: Path) -> None:
    measured = {**score(), "training_seconds": 255, "seed": 3, "precision": "bf16", "processes": 2}
    said = text(told(finished, scores=((DEMO, measured),)))
    assert f"It took 4 min 15 s on {measured['hardware']} (bf16, 2 processes). The seed was 3." in said
    elsewhere = {**measured, "training_hardware": "another machine"}
    assert "It took 4 min 15 s on another machine (" in text(told(finished, scores=((DEMO, elsewhere),)))
    without = {name: value for name, value in score().items() if name not in ("training_seconds", "seed")}
    assert "It took" not in text(told(finished, scores=((DEMO, without),)))


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (3599, "59 min 59 s"), (7261, "2 h 1 min")])
def test_a_duration_has_two_units(seconds: int, words: str) -> None:
    assert history.duration(seconds) == words


def test_the_card_says_what_was_never_seen(finished: Path) -> None:
    assert "It has learned from Scenes alone. It has never seen a photograph: its scenes are drawn. " in text(
        told(finished)
    )


@pytest.mark.slow
def test_the_card_shows_a_scene_or_a_picture_of_the_publisher(finished: Path, own: Path, tmp_path: Path) -> None:
    made = told(finished)
    write(made, finished, tmp_path / "scenes")
    shown = Image.open(tmp_path / "scenes" / "picture.png")
    assert "![an image and what the network makes of it](picture.png)" in (tmp_path / "scenes/README.md").read_text()
    assert np.array_equal(np.asarray(shown), np.asarray(draw(made.network, read("scenes", None, "test").rows[0].image)))

    assert replace(made, about=replace(made.about, recipe={"data": {"name": "beacons"}})).drawn
    assert gather(Options("danet-demo", own, "org/mine")).files == ()
    Image.fromarray(np.full((48, 64, 3), 200, np.uint8)).save(tmp_path / "mine.png")
    mine = gather(Options("danet-demo", own, "org/mine", picture=tmp_path / "mine.png"))
    write(mine, own, tmp_path / "own", tmp_path / "mine.png")
    pixels = np.asarray(Image.open(tmp_path / "own" / "picture.png"))
    assert (pixels == 200).all(axis=-1).sum() > 48 * 64  # enlarged
    write(replace(mine, files=()), own, tmp_path / "own")
    assert not (tmp_path / "own" / "picture.png").exists()


@pytest.mark.slow
def test_own_data_have_the_name_and_the_terms_that_are_given(own: Path) -> None:
    made = gather(Options("danet-demo", own, "org/mine", data_name="Lakes | of <Finland>", licence="cc-by-4.0"))
    whole = card(made)
    data = whole.data.to_dict()
    assert (data["license"], data.get("datasets"), data.get("license_link")) == ("cc-by-4.0", None, None)
    (dataset,) = {(each["dataset"]["type"], each["dataset"]["name"]) for each in data["model-index"][0]["results"]}
    assert dataset == ("lakes-of-finland", "Lakes | of <Finland>")
    title = r"Lakes \| of &lt;Finland&gt;"
    assert f"It has learned from {title} alone." in whole.text
    assert f"Trained on {title}: Its publisher gives the weights under cc-by-4.0." in whole.text
    assert "(on other data)" in whole.text
    assert "embedded scenes" not in whole.text


def test_own_data_without_a_name(own: Path) -> None:
    whole = card(gather(Options("danet-demo", own, "org/mine")))
    assert whole.data.to_dict()["license"] == "other"
    assert "It has learned from data of the publisher's own alone." in whole.text
    assert "from folder" not in whole.text
    assert "ask who published" in whole.text.lower()


@pytest.mark.parametrize("options", [{"data_name": "Mine"}, {"licence": "mit"}])
def test_a_known_data_set_has_its_own_terms(finished: Path, options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="are for data of your own; the terms of Scenes are known"):
        gather(Options("danet-demo", finished, "org/mine", **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"licence": "do what | you want"}, "--licence is a word as the Hub calls it"),
        ({"data_name": "  "}, "--data-name is empty"),
        ({"picture": Path("nowhere.png")}, "--picture nowhere.png is not a file"),
    ],
)
def test_options_that_can_not_be_meant_are_refused(finished: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Options("danet-demo", finished, "org/mine", **options)


NASTY = (
    "a|b",
    "`x`",
    "<img src=x>",
    "two\nlines",
    "[link](http://x)",
    "```",
    "*bold*",
    "back\\slash",
    "_under_",
    "&amp;",
)


@pytest.mark.slow
def test_names_of_classes_stay_in_their_cells(tmp_path: Path) -> None:
    network = demo_network(0)
    assert network.about is not None
    network.about = replace(network.about, classes=Classes.coloured(NASTY))
    network.save_pretrained(tmp_path)
    measured = {**score(), "iou": dict.fromkeys(NASTY, 12.5)}
    files.write_json(tmp_path / "score.json", measured)
    lines = text(gather(Options("danet-demo", tmp_path, "org/danet-demo"))).splitlines()
    rows = [line for line in lines if line.endswith("| 12.50 |")]
    assert len(rows) == len(NASTY)
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 3  # an unescaped one ends a cell
        assert "<" not in row
        assert not re.search(r"(?<!\\)[`*\[]", row)


def test_values_of_a_changed_recipe_stay_in_their_fence(finished: Path) -> None:
    changed = {"data.train": ("train", "a b; rm -rf ~ ```\nx"), "augmentation.scale": ([0.5, 2.0], [0.75, 1.5])}
    said = text(told(finished, changed=changed))
    command = "--recipe.data.train 'a b; rm -rf ~ ``` x' --recipe.augmentation.scale 0.75 1.5\n````\n"
    assert command in said
    assert "````bash\n" in said
    assert r"- `data.train`: train -> a b; rm -rf \~ \`\`\` x" in said


def test_markdown_of_text() -> None:
    assert plain("x86_64 _a_ | 1 < 2 & 3") == r"x86_64 \_a\_ \| 1 &lt; 2 &amp; 3"
    assert code("a|b") == r"`a\|b`"
    assert code("a ``b`` c") == "``` a ``b`` c ```"
    assert fence("one\n````", "bash") == "`````bash\none\n````\n`````"
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_the_citation_of_this_repository_is_the_one_that_is_read() -> None:
    assert Path(papers.__path__[0]).parent / "CITATION.cff" == publication.CITATION
    assert publication.CITATION.is_file()
    assert to_json(differences(DEMO, OWN)) == {"data.name": ["scenes", "folder"]}
