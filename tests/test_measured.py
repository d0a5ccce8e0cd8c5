"""The changelog of results: what is appended to it, and what is refused."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ci.measured import MEASURED, changes, hours, main, scores, sha256, to_toml, value_of
from core.checkpoint import read_json, write_json

ROOT = MEASURED.parent.parent
COMMAND = "train.py danet-r18-camvid --data CAMVID"
SCORE = {
    "recipe": "danet-r18-camvid",
    "mean_iou": 61.234567,
    "pixel_accuracy": 91.0,
    "iou": {"sky": 90.125, "sign symbol": None, 'a "b" é': 12.0},
    "changed": {},
    "seed": 3,
    "processes": 1,
    "precision": "bf16",
    "training_seconds": 1800,
    "hardware": "CPU, 2 threads, x86_64",
    "commit": "0123456789ab",
    "date": "2026-11-21",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder, as far as it is read, and a changelog with nothing in it."""
    folder = tmp_path / "danet-r18-camvid"
    folder.mkdir()
    write_json(folder / "score.json", SCORE)
    write_json(folder / "config.json", {"about": {"commit": "0123456789ab"}})
    (folder / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "measured.toml").write_text("# a comment\n")
    return folder


def append(run: Path, *words: str) -> list[dict[str, Any]]:
    file = run.parent / "measured.toml"
    main([str(run), "--command", COMMAND, "--file", str(file), *words])
    return scores(file)


def rewrite(file: Path, **fields: Any) -> None:
    write_json(file, {**read_json(file), **fields})


def test_an_entry_is_made_from_what_a_run_leaves(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (entry,) = append(run, "--note", "one seed")
    assert entry == {
        "recipe": "danet-r18-camvid",
        "changed": [],
        "metric": "mIoU",
        "value": 61.2346,
        "pixel_accuracy": 91.0,
        "per_class": {"sky": 90.12, 'a "b" é': 12.0},
        "weights": sha256(run / "model.safetensors"),
        "command": COMMAND,
        "commit": "0123456789ab",
        "date": "2026-11-21",
        "precision": "bf16",
        "hardware": "CPU, 2 threads, x86_64, 1 process",
        "hours": 0.5,
        "seed": 3,
        "note": "one seed",
    }
    assert capsys.readouterr().out == to_toml(entry)


def test_nothing_that_was_there_changes(run: Path) -> None:
    file = run.parent / "measured.toml"
    append(run)
    first = file.read_text()
    rewrite(run / "score.json", seed=4, mean_iou=60.0)
    assert [entry["seed"] for entry in append(run, "--hardware", "an abacus")] == [3, 4]
    assert file.read_text().startswith(first)
    assert scores(file)[1]["hardware"] == "an abacus"


def test_what_was_changed_is_recorded(run: Path) -> None:
    rewrite(run / "score.json", changed={"optimisation.batch": [16, 8], "data.name": ["camvid", "folder"]})
    (entry,) = append(run)
    assert changes(entry) == ["optimisation.batch: 16 -> 8", 'data.name: "camvid" -> "folder"']


def test_a_harder_test_of_the_same_weights(run: Path) -> None:
    rewrite(run / "score.json", commit="0123456789ab+")
    harder = run.parent / "harder.json"
    tested = {name: SCORE[name] for name in ("pixel_accuracy", "iou", "hardware", "precision", "date")}
    write_json(harder, {**tested, "recipe": "danet-r18-camvid-ms", "mean_iou": 62.0, "commit": "ba9876543210"})
    (entry,) = append(run, "--score", str(harder))
    assert (entry["recipe"], entry["value"], entry["commit"], entry["seed"]) == (
        "danet-r18-camvid-ms",
        62.0,
        "ba9876543210",
        3,
    )


@pytest.mark.parametrize("fields", [{"seed": 3}, {"seed": 4, "commit": "ba9876543210"}], ids=["run", "weights"])
def test_a_duplicate_is_refused(run: Path, fields: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    append(run)
    before = (run.parent / "measured.toml").read_text()
    rewrite(run / "score.json", **fields)
    rewrite(run / "config.json", about={"commit": fields.get("commit", "0123456789ab")})
    with pytest.raises(SystemExit) as left:
        append(run)
    assert left.value.code == 2
    assert "is there already: 61.23" in capsys.readouterr().err
    assert (run.parent / "measured.toml").read_text() == before


@pytest.mark.parametrize("commit", ["0123456789ab+", "unknown", None])
@pytest.mark.parametrize("name", ["config.json", "score.json"])
def test_code_that_is_no_commit_is_refused(
    run: Path, name: str, commit: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(run / name, **({"about": {"commit": commit}} if name == "config.json" else {"commit": commit}))
    with pytest.raises(SystemExit):
        append(run)
    assert "the code was not that of a commit when" in capsys.readouterr().err
    assert not scores(run.parent / "measured.toml")


@pytest.mark.parametrize("name", ["score.json", "config.json", "model.safetensors"])
def test_a_run_that_has_not_ended_is_refused(run: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (run / name).unlink()
    with pytest.raises(SystemExit):
        append(run)
    assert name in capsys.readouterr().err


def test_an_old_entry_is_read_as_a_new_one() -> None:
    old = {"metric": "mIoU", "value": 50.0, "pixel_accuracy": 80.0, "minutes": 30}
    assert (hours(old), changes(old), value_of(old, "pixel accuracy"), value_of(old, "mIoU")) == (0.5, [], 80.0, 50.0)
    assert value_of({"metric": "mIoU", "value": 50.0}, "pixel accuracy") is None


def test_no_entry_was_ever_changed() -> None:
    """Every version of the file that git remembers begins the one that is here; only a note may be corrected."""
    name = str(MEASURED.relative_to(ROOT))

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"git does not answer here, so nothing is known of the past: {done.stderr.strip()}")
        return done.stdout

    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout, so nothing is known of the past")
    now = scores()
    for commit in git("log", "--format=%H", "--", name).split():
        then = tomllib.loads(git("show", f"{commit}:{name}")).get("score", [])
        for old, new in zip(then, now, strict=False):
            assert {**old, "note": ""} == {**new, "note": ""}, commit
        assert len(then) <= len(now), commit
