"""The command line: a name, then options; what is wrong is said in a sentence."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

import papers
from core.command import EvaluationOptions, TrainingOptions, listing, parse
from core.datasets.loading import loading
from core.errors import door, underway
from core.images.reading import read_image
from core.paper import Paper
from core.recipe import Recipe
from core.values import flat, to_json
from papers.danet.model import Architecture
from papers.danet.recipes import DEMO, RECIPES

Options = TrainingOptions[Architecture]


class Files(Dataset[np.ndarray]):
    """One image."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> np.ndarray:
        return read_image(self.file)


def read(*words: str) -> TrainingOptions[Architecture]:
    return parse(TrainingOptions, RECIPES, DEMO, words)


def test_no_word_means_the_demo() -> None:
    assert read() == TrainingOptions(RECIPES[DEMO])


def test_a_name_and_fields_of_recipe_and_run() -> None:
    options = read(
        *("danet-r101-cityscapes", "--data", "somewhere", "--recipe.optimisation.batch", "16"),
        *(
            "--recipe.architecture.channel-attention",
            "paper",
            "--recipe.architecture.backbone.multi-grid",
            "1",
            "2",
            "4",
        ),
        *("--run.precision", "bf16", "--to", "elsewhere", "--backbone-weights", "none", "--restart"),
    )
    assert options.recipe.name == "danet-r101-cityscapes"
    assert options.recipe.optimisation.batch == 16
    assert options.recipe.architecture.channel_attention == "paper"
    assert options.recipe.architecture.backbone.multi_grid == (1, 2, 4)
    assert (options.run.data, options.run.to) == (Path("somewhere"), Path("elsewhere"))
    assert (options.run.precision, options.run.backbone_weights, options.run.restart) == ("bf16", "none", True)


def test_another_data_set() -> None:
    assert read("danet-r18-camvid", "--dataset", "hub:org/name").recipe.data.name == "hub:org/name"


def test_evaluation_options() -> None:
    options = parse(EvaluationOptions, RECIPES, DEMO, ["danet-r18-camvid", "--weights", "org/name"])
    assert (options.recipe.name, options.weights) == ("danet-r18-camvid", "org/name")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["danet-r101-cityscape"], "did you mean danet-r101-cityscapes"),
        (["zzz"], "--help lists them"),
        (["danet-demo", "--recipe.optimisation.bach", "3"], "--recipe.optimisation.batch"),
        (["--recipe.optimisation.batch", "0"], "optimisation.batch must be at least 1, got 0"),
        (["--recipe.architecture.channel-attention", "both"], "released"),
        (["--recipe.name", "mine"], "--recipe.name"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read(*words)
    assert stop.value.code == 2
    text = capsys.readouterr()
    assert said in " ".join((text.err + text.out).replace("│", " ").split())


@pytest.mark.slow
def test_help_lists_every_row_with_its_reported_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, recipe in RECIPES.items():
        assert name in text
        for row in recipe.reported:
            assert f"{row.value:.2f} {row.metric}, {row.table}" in text


OWN_DATA = {"optimiser", "warmup", "clip", "class_weights", "freeze", "in_channels"}
"""What no recipe varies and data of one's own may need."""


def described(capsys: pytest.CaptureFixture[str], options: Callable[..., object], paper: Paper, word: str) -> list[str]:
    """The options that a help shows, with their texts."""
    with pytest.raises(SystemExit):
        parse(options, paper.recipes, paper.demo, [word])
    found: list[str] = []
    for line in capsys.readouterr().out.splitlines():
        text = line.strip("│| ")
        if re.match("--[a-z]", text) and not (found and found[-1].endswith(",")):
            found.append(text)
        elif found and text and line[1:4].isspace():
            found[-1] += f"\n{text}"
    return found


def names(options: Sequence[str]) -> set[str]:
    """The last words of the options."""
    return {re.split(r"[ ,\n]", option)[0].rpartition(".")[2].lstrip("-").replace("-", "_") for option in options}


@pytest.fixture(scope="module")
def fixed() -> set[str]:
    """The fields that have one value in all recipes of all papers."""
    values: dict[str, set[str]] = {}
    for paper in papers.every():
        for recipe in paper.recipes.values():
            for part in (recipe.architecture, recipe.augmentation, recipe.optimisation, recipe.protocol):
                for name, value in flat(to_json(part)).items():
                    values.setdefault(name.rpartition(".")[2], set()).add(str(value))
    return {name for name, found in values.items() if len(found) == 1}


@pytest.mark.slow
@pytest.mark.parametrize("paper", list(papers.every()), ids=lambda paper: paper.folder)
def test_help_shows_about_forty_options_and_says_what_they_are(
    paper: Paper, fixed: set[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no recipe of any paper varies is left out, unless data of one's own may need it."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = described(capsys, TrainingOptions, paper, "--help")
    everything = described(capsys, TrainingOptions, paper, "--help-all")
    assert 38 <= len(shown) <= 46, len(everything)
    assert len(everything) > 70
    assert set(shown) < set(everything)
    assert {"power", "momentum"} < fixed
    assert names(shown) & fixed == OWN_DATA
    for option in everything:
        assert re.search(r"\n[^-\[(].*\(default:", option, re.DOTALL), option

    tested = described(capsys, EvaluationOptions, paper, "--help")
    assert len(tested) < 16
    assert not names(tested) & {"batch", "learning_rate", "name", "reduction", "train"}


def test_what_help_leaves_out_can_be_given() -> None:
    options = read("danet-r18-camvid", "--recipe.optimisation.power", "1", "--recipe.protocol.edge", "short")
    assert options.recipe.optimisation.power == 1
    assert options.recipe.protocol.edge == "short"
    assert type(options.recipe) is Recipe


def test_listing_has_a_line_for_each_recipe() -> None:
    lines = listing(RECIPES, DEMO, {}).splitlines()
    assert [line.split()[1] for line in lines[2:]] == list(RECIPES)


def test_the_door_turns_errors_into_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop, door():
        raise ValueError("no such thing")
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: no such thing\n"


def test_a_name_that_no_disk_takes_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), door():
        (tmp_path / ("a" * 300)).write_text("")
    assert capsys.readouterr().err.endswith("a has a name that is too long for the disk; choose a shorter one\n")


def test_the_door_lets_programming_errors_pass() -> None:
    with pytest.raises(KeyError), door():
        raise KeyError("a bug")


def test_what_ends_a_program_under_way_is_a_sentence_if_this_code_found_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where a process that loads images found it, whose whole traceback PyTorch puts before it."""
    file = tmp_path / "cut.png"
    file.write_bytes(b"")
    with pytest.raises(SystemExit) as caught, underway():
        read_image(file)
    assert caught.value.code == 1
    alone = capsys.readouterr().err
    assert alone == f"error: {file} can't be read as an image: it is empty; fetch it again or remove it\n"

    with pytest.raises(SystemExit), underway(), loading(DataLoader(Files(file), num_workers=1)) as batches:
        next(batches)
    assert capsys.readouterr().err == alone

    with pytest.raises(ValueError, match="invalid literal"), underway():
        PurePath("a").relative_to(int("b"))  # a mistake of the code, which its traceback shows
