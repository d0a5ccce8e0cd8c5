"""The commands as they are typed, from another folder."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
import tiny

from core.launch import evaluate, train
from core.paper import Paper
from papers.danet.recipes import DEMO, PAPER, RECIPES

PAPERS = Path(__file__).parents[1] / "papers"
FOLDERS = sorted(path.parent for path in PAPERS.glob("*/train.py"))
BEACONS = "danet-beacons"
SMALLEST = {
    BEACONS: None,
    "--name": BEACONS,
    "--recipe.optimisation.length": "1",
    "--recipe.optimisation.unit": "steps",
    "--recipe.optimisation.batch": "2",
    "--recipe.protocol.no-flip": None,
    "--recipe.protocol.base": "64",
    "--run.workers": "0",
}


def launch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of DANet with `accelerate launch`, which starts a process of its own."""
    words = ["python", "-m", "accelerate.commands.launch", *arguments]
    environment = {**tiny.environment(), "PYTHONPATH": "", "COLUMNS": "120"}  # nothing but the installation
    return forked.command(words, env=environment, cwd=cwd)


def words(options: dict[str, str | None]) -> list[str]:
    return [word for option, value in options.items() for word in (option, value) if word is not None]


@pytest.mark.slow
def test_help_lists_every_recipe_with_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        train(PAPER)
    lines = [line.strip(" │") for line in capsys.readouterr().out.splitlines()]
    text = " ".join(" ".join(lines).split())
    for name, recipe in RECIPES.items():
        assert name in text
        for row in recipe.reported:
            assert f"{recipe.summary} (reported" in text
            assert f"{row.value:.2f} {row.metric}, {row.table}" in text
    assert f"without one it is {DEMO}" in text
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_a_short_training_and_its_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shortest real run: one step on embedded pictures, then the score of its checkpoint once more.

    Launched by path, a script has its own folder first on sys.path, not the root of the repository.
    """
    script = str(PAPERS / "danet" / "train.py")
    trained = launch("--cpu", "--num_processes", "1", script, *words(SMALLEST), cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "changed from the published recipe: optimisation.length: 40 -> 1" in trained.stdout
    folder = tmp_path / "runs" / BEACONS
    assert (folder / "model.safetensors").is_file()

    options = ("--recipe.protocol.no-flip", "--recipe.protocol.base", "64", "--workers", "0", "--to", "again.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", BEACONS, *options])
    evaluate(PAPER)  # as a command of its own it is tried with ci.check
    tested = capsys.readouterr().out.splitlines()
    table = [line for line in trained.stdout.splitlines() if line.startswith(("ground", "mIoU", "pixel accuracy"))]
    assert len(table) == 3
    for line in table:
        assert line in tested
    assert any("these weights were not trained by the published recipe" in line for line in tested)
    first, again = (json.loads(path.read_text()) for path in (folder / "score.json", tmp_path / "again.json"))
    assert first["confusion"] == again["confusion"]
    assert first["modules"]["without"].keys() == {"position attention", "channel attention"}
    assert "modules" not in again


@pytest.mark.slow
def test_a_refused_command_says_one_sentence(tmp_path: Path) -> None:
    """Also by `accelerate launch`, with the configuration in the root: no warnings and no traceback of either."""
    quiet = ("--quiet", "--config_file", str(PAPERS.parent / "accelerate.yaml"))
    done = launch(*quiet, str(PAPERS / "danet" / "train.py"), "danet-dmo", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("error: there is no recipe 'danet-dmo': did you mean danet-demo")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Give a command line to a command, in an empty folder; return what it says as it refuses it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("core.datasets.read", tiny.small)

    def refuse(*arguments: str, command: Callable[[Paper], object] = train) -> str:
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
        with pytest.raises(SystemExit) as caught:
            command(PAPER)
        assert caught.value.code == 2
        assert not list(tmp_path.iterdir())  # nothing was written
        captured = capsys.readouterr()
        text = captured.out + captured.err
        assert "Traceback" not in text
        return " ".join(text.replace("│", " ").split())

    return refuse


def test_a_misspelt_recipe_suggests_the_right_one(said: Callable[..., str]) -> None:
    text = said("danet-r101-citiscapes")
    assert "there is no recipe 'danet-r101-citiscapes': did you mean danet-r101-cityscapes" in text
    assert "did you mean danet-demo" in said("danet-dmo", command=evaluate)
    assert f"there are {', '.join(list(RECIPES)[:4])}, " in said("xyz")


@pytest.mark.slow
def test_a_misspelt_field_suggests_the_right_one(said: Callable[..., str]) -> None:
    assert "--recipe.optimisation.batch" in said("--recipe.optimisation.bacth", "4")
    assert "--run.precision" in said("--run.precison", "bf16")
    assert "--weights" in said("--weigths", "folder", command=evaluate)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--recipe.optimisation.batch", "0"), "optimisation.batch must be at least 1, got 0"),
        (("--recipe.optimisation.batch", "four"), "four"),
        (("--recipe.optimisation.learning-rate", "-1"), "learning_rate must be a positive number, got -1"),
        (("--recipe.optimisation.learning-rate", "nan"), "learning_rate must be a positive number, got nan"),
        (("--recipe.protocol.crop", "64"), "needs both protocol.crop and protocol.stride, got 64 and None"),
        (("--recipe.architecture.backbone.name", "resnet11"), "resnet11"),
        (("--run.log-every", "0"), "run.log_every must be at least 1, got 0"),
        (("--run.precision", "fp8"), "fp8"),
        (("--run.accumulate", "3"), "a batch of 16 can't be shared equally by 1 processes x 3"),
        (("--recipe.optimisation.batch", "500"), "a batch of 500 needs at least as many training images, got 13"),
        (("--backbone-weights", "absent.pth"), "absent.pth"),
    ],
)
def test_an_impossible_value_is_refused(said: Callable[..., str], arguments: tuple[str, ...], sentence: str) -> None:
    # a batch that the few scenes of this test can fill, unless the case is about the batch
    small = (
        () if "--recipe.optimisation.batch" in arguments or "3" in arguments else ("--recipe.optimisation.batch", "4")
    )
    assert sentence in said(*arguments, *small)


def test_a_test_without_weights_is_refused(said: Callable[..., str]) -> None:
    text = said(command=evaluate)
    assert f"there are no weights in runs/{DEMO}; train them with train.py {DEMO}" in text


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_launched_folder_shadows_nothing(folder: Path) -> None:
    """Its files become importable top-level names before all others: a `types.py` there would kill the interpreter."""
    stems = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert {"train", "evaluate", "model", "loss", "recipes"} <= stems
    assert not stems & set(sys.stdlib_module_names)

    lookup = "import importlib.util, sys; print([s for s in sys.argv[1:] if importlib.util.find_spec(s)])"
    command = [sys.executable, "-P", "-c", lookup, *sorted(stems)]
    found = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr  # nothing installed has such a name
