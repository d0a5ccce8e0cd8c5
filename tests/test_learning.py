"""The gate that says whether training still learns: its threshold, its verdicts, its record."""

import statistics
import tomllib
from pathlib import Path
from typing import Any

import pytest

import papers
from ci import golden, learning
from ci.learning import RECORDED, SEEDS, command, least, main, recorded
from ci.measured import to_toml
from core import provenance

VALUES = [30.0, 31.0, 32.0, 33.0, 34.0]


def line(seed: int, value: float, **more: Any) -> dict[str, Any]:
    told = {"commit": "0123abc", "date": "2026-11-21", "hardware": "CPU"}
    return {
        "recipe": "danet-demo",
        "epochs": 8,
        "seed": seed,
        "mean_iou": value,
        "seconds": 60,
        **told,
        **more,
    }


def run(line: dict[str, Any]) -> str:
    return to_toml(line, "run")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five recorded seeds of danet's demo, which is the only network that is trained, and of its baseline."""
    demos = [(paper.demo, paper.ladders[0][1].name) for paper in papers.every()]
    monkeypatch.setattr(
        learning, "ladders", lambda chosen: [demos[papers.NAMES.index(paper.folder)] for paper in chosen]
    )
    file = tmp_path / "learning.toml"
    file.write_text("".join(run(line(seed, value)) for seed, value in enumerate(VALUES)))
    with_baseline(file, [0.1, -0.1, 0.2, -0.2, 0.0])
    return file


def with_baseline(file: Path, gains: list[float]) -> None:
    """Record a baseline that the demo of `file` exceeds by these points."""
    lines = [line(seed, VALUES[seed] - gain, recipe="danet-demo-fcn") for seed, gain in enumerate(gains)]
    file.write_text(file.read_text() + "".join(map(run, lines)))


def train_to(value: float, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Stand in for training, at a commit; the returned list says what was asked for. A value below 0 is an error."""
    asked: list[tuple[str, int]] = []

    def trained(recipe: str, seed: int) -> dict[str, Any]:
        asked.append((recipe, seed))
        if value < 0:
            raise ValueError("train.py ended with status 1: out of memory")
        return line(seed, value + seed, recipe=recipe, commit="0123abc+")

    monkeypatch.setattr(learning, "trained", trained)
    monkeypatch.setattr(learning, "committed", lambda: "0123abc")
    return asked


def test_the_least_is_three_deviations_below_the_mean() -> None:
    assert least(VALUES) == pytest.approx(32 - 3 * statistics.stdev(VALUES))
    assert least([30.0] * 5) == 30.0
    with pytest.raises(ValueError, match="4 seeds are recorded, and 5 are needed"):
        least(VALUES[1:])


def test_no_recorded_seed_could_fail_by_itself() -> None:
    assert least([0.0, 100.0, 100.0, 100.0, 100.0]) < 0.0


@pytest.mark.parametrize(("value", "code"), [(27.3, 0), (27.2, 1), (99.0, 0)])
def test_the_verdict(
    value: float, code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = train_to(value, monkeypatch)
    assert main(["danet", "--file", str(file)]) == code
    assert asked == [("danet-demo", 0)]
    assert f"danet-demo: mIoU {value:.2f} after 60 s, at least 27.26 wanted" in capsys.readouterr().out


def test_without_five_seeds_nothing_is_judged(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = train_to(99.0, monkeypatch)
    assert main(["sanet", "--file", str(file)]) == 2
    assert asked == []
    assert "sanet-demo: not judged: 0 seeds are recorded" in capsys.readouterr().out
    assert main(["danet", "sanet", "--file", str(file)]) == 2
    train_to(0.0, monkeypatch)
    assert main(["danet", "sanet", "--file", str(file)]) == 1


def test_another_budget_is_another_record(file: Path) -> None:
    file.write_text(file.read_text() + run(line(0, 90.0, epochs=9)) + run(line(1, 31.5)))
    assert recorded("danet-demo", file) == {0: 30.0, 1: 31.5, 2: 32.0, 3: 33.0, 4: 34.0}
    assert recorded("sanet-demo", file) == {}


def test_recording_goes_on_where_it_stopped(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(run(line(0, 30.0)) + run(line(2, 32.0)))
    before = file.read_text()
    asked = train_to(40.0, monkeypatch)
    assert main(["danet", "--record", "--file", str(file)]) == 0
    baselines = [("danet-demo-fcn", seed) for seed in SEEDS]
    assert sorted(asked) == [("danet-demo", 1), ("danet-demo", 3), ("danet-demo", 4), *baselines]
    assert {one["commit"] for one in tomllib.loads(file.read_text())["run"]} == {"0123abc"}
    assert file.read_text().startswith(before)
    assert recorded("danet-demo", file) == {0: 30.0, 1: 41.0, 2: 32.0, 3: 43.0, 4: 44.0}


def test_the_command_is_the_paper_s_own() -> None:
    words = " ".join(command("danet-demo", 3, Path("runs")))
    training = "papers/danet/train.py danet-demo --recipe.optimisation.length 8"
    assert words == f"{training} --run.seed 3 --run.threads 1 --to runs --name danet-demo"


def test_a_training_that_fails_is_not_judged_and_not_recorded(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_to(-1.0, monkeypatch)
    assert main(["danet", "--file", str(file)]) == 2
    assert "danet-demo: not judged: train.py ended with status 1: out of memory" in capsys.readouterr().out
    before = file.read_text()
    assert main(["sanet", "--record", "--file", str(file)]) == 2
    assert "sanet-demo: seed 4 is not recorded: train.py ended" in capsys.readouterr().out
    assert file.read_text() == before


def test_the_last_words_of_a_training_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "command", lambda *_: ["-c", "raise SystemExit('no such data')"])
    with pytest.raises(ValueError, match="status 1: no such data"):
        learning.trained("danet-demo", 0)


def test_changed_code_is_not_recorded(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = train_to(40.0, monkeypatch)
    monkeypatch.setattr(learning, "committed", golden.committed)
    for commit in ("0123abc+", "unknown"):
        monkeypatch.setattr(provenance, "commit", lambda besides, commit=commit: commit)
        with pytest.raises(SystemExit) as left:
            main(["sanet", "--record", "--file", str(file)])
        assert left.value.code == 2
        assert "commit, then record" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize(("gained", "code"), [(2.4, 0), (2.5, 0), (2.2, 1), (-1.0, 1)])
def test_a_gain_above_its_spread_is_held(
    gained: float, code: int, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_baseline(file, [3.0, 2.7, 2.8, 3.2, 3.3])  # their mean 3.0 less three times 0.255 is 2.235
    asked: list[str] = []

    def trained(recipe: str, seed: int) -> dict[str, Any]:
        asked.append(recipe)
        return line(seed, 30.0 - gained * (recipe != "danet-demo"), recipe=recipe)

    monkeypatch.setattr(learning, "trained", trained)
    assert main(["danet", "--file", str(file)]) == code
    assert sorted(asked) == ["danet-demo", "danet-demo-fcn"]
    assert f"gain over danet-demo-fcn {gained:+.2f}, at least 2.24 wanted" in capsys.readouterr().out


def test_a_gain_within_its_spread_is_told_and_not_held(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_baseline(file, [3.0, 1.0, 4.5, 1.5, 3.0])
    asked = train_to(30.0, monkeypatch)
    assert main(["danet", "--file", str(file)]) == 0
    assert asked == [("danet-demo", 0)]
    assert "not held, it is within its spread: +3.00, +1.00, +4.50, +1.50, +3.00" in capsys.readouterr().out


def test_a_gain_of_fewer_than_five_seeds_is_not_judged(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("".join(run(line(seed, value)) for seed, value in enumerate(VALUES)))
    with_baseline(file, [3.0, 3.0, 3.0, 3.0])
    asked = train_to(30.0, monkeypatch)
    assert main(["danet", "--file", str(file)]) == 2
    assert asked == [("danet-demo", 0)]
    assert "gain over danet-demo-fcn not judged: 4 seeds of both are recorded" in capsys.readouterr().out


def test_a_gain_without_its_baseline_is_not_judged(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_baseline(file, [3.0] * 5)

    def trained(recipe: str, seed: int) -> dict[str, Any]:
        if recipe == "danet-demo-fcn":
            raise ValueError("train.py ended with status 1: out of memory")
        return line(seed, 32.0)

    monkeypatch.setattr(learning, "trained", trained)
    assert main(["danet", "--file", str(file)]) == 2
    assert "gain over danet-demo-fcn not judged: train.py ended" in capsys.readouterr().out


@pytest.mark.parametrize("ladder", learning.ladders(papers.every()), ids=lambda ladder: ladder[0])
def test_the_stored_seeds_are_a_record(ladder: tuple[str, str]) -> None:
    for recipe in ladder:
        values = recorded(recipe)
        assert set(values) >= set(SEEDS), "python -m ci.learning --record"
        assert least(list(values.values())) > 10  # one class for all pixels makes 3 to 4
    lines = tomllib.loads(RECORDED.read_text(encoding="utf-8"))["run"]
    assert all({"commit", "date", "hardware", "seconds"} <= line.keys() for line in lines)
    assert not [line for line in lines if line["commit"].endswith("+")]


def test_the_ladders_on_embedded_pictures_are_trained() -> None:
    names = learning.ladders(papers.every())
    assert len(names) == 2 * len(papers.NAMES)
    assert names[:2] == [("danet-demo", "danet-demo-fcn"), ("danet-beacons", "danet-beacons-fcn")]
