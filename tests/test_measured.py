"""The changelog of results: what is appended to it, and what is refused."""

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ci.measured import MEASURED, changes, hours, main, scores, to_toml, value_of
from core.files import read_json, sha256, write_json
from core.values import to_json
from papers import paper_of

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
    "split": "test",
    "images": 233,
    "protocol": to_json(paper_of("danet-demo").recipes["danet-r18-camvid"].protocol),
    "device": "cpu",
    "torch": "2.15.0",
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
        "split": "test",
        "images": 233,
        "protocol": {
            "edge": "long",
            "scales": [1.0],
            "flip": False,
            "merge": "softmax",
            "multiple": 1,
            "border": "shifted",
        },
        "precision": "bf16",
        "device": "cpu",
        "torch": "2.15.0",
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


@pytest.fixture
def harder(run: Path) -> Path:
    """What evaluate.py wrote about these weights, for a row that tests them harder."""
    name = "danet-r101-cityscapes"
    rewrite(run / "score.json", recipe=name, commit="0123456789ab+")
    names = ("pixel_accuracy", "iou", "hardware", "precision", "date", "images", "device", "torch")
    row = paper_of("danet-demo").recipes[f"{name}-ms"]
    told = {"split": row.data.test, "protocol": to_json(row.protocol), "weights": sha256(run / "model.safetensors")}
    tested = {**{name: SCORE[name] for name in names}, **told, "mean_iou": 62.0, "commit": "ba9876543210"}
    write_json(run.parent / "harder.json", {**tested, "recipe": row.name})
    return run.parent / "harder.json"


def test_a_harder_test_of_the_same_weights(run: Path, harder: Path) -> None:
    (entry,) = append(run, "--score", str(harder))
    assert (entry["recipe"], entry["value"], entry["commit"], entry["seed"]) == (
        "danet-r101-cityscapes-ms",
        62.0,
        "ba9876543210",
        3,
    )
    assert changes(entry) == []


def test_a_test_by_another_protocol_is_a_change(run: Path, harder: Path) -> None:
    rewrite(harder, protocol={**read_json(harder)["protocol"], "flip": False}, split="train")
    (entry,) = append(run, "--score", str(harder))
    assert changes(entry) == ['data.test: "val" -> "train"', "protocol.flip: true -> false"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"weights": "0" * 64}, "is no score of the weights in"),
        ({"weights": None}, "is no score of the weights in"),
        ({"recipe": "danet-r18-camvid"}, "'danet-r18-camvid' tests weights of 'danet-r18-camvid', but"),
        ({"recipe": "danet-r999"}, "no paper has a recipe 'danet-r999'"),
    ],
)
def test_a_score_of_other_weights_is_refused(
    run: Path, harder: Path, fields: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(harder, **fields)
    with pytest.raises(SystemExit) as left:
        append(run, "--score", str(harder))
    assert left.value.code == 2
    assert said in capsys.readouterr().err
    assert not scores(run.parent / "measured.toml")


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


@pytest.mark.slow
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
