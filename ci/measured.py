"""The measured scores, oldest first, in measured.toml: the changelog of results, which is only ever appended to.

    python -m ci.measured runs/danet-r18-camvid --command "train.py danet-r18-camvid --data CAMVID"
    python -m ci.measured runs/danet-r18-camvid --score harder.json --command "evaluate.py ... --to harder.json"

The first appends what a training run has left in its folder; the second what `evaluate.py --to` wrote about the weights
of that run under another recipe. An entry has these fields, in percent where they are scores:

    recipe          the row
    changed         what differs from the published recipe, as "field: published -> used"; such a value is not the row's
    metric, value   "mIoU"; `pixel_accuracy` stands beside it
    per_class       the IoU of each class that occurs, under its name
    weights         the sha256 of model.safetensors
    split, images   what it was tested on
    protocol        how, without what is None
    precision       in which, and so must be again
    device, torch   on what kind of device, by which release
    command, commit, date, hardware, hours, seed
    note            what a reader should know, if anything; the only field that may be corrected later

The first eleven entries have `minutes` in place of `hours`, and no `changed` (nothing was), `per_class`, `weights` or
`precision`; the first twenty-five have no `split`, `images`, `protocol`, `device` or `torch`, and do not count the
weights of the backbone as a change: what their notes say of these. The ten of 2026-11-26 have no `weights`, for these
were not kept.
"""

import json
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from core import files
from core.errors import door, require
from core.networks import repository
from core.networks.repository import CONFIG, WEIGHTS, shipped
from core.training.folder import SCORE
from core.values import differences
from papers import paper_of

MEASURED = Path(__file__).parent / "measured.toml"

Entry = dict[str, Any]


def scores(file: Path = MEASURED) -> list[Entry]:
    """The entries of a file, oldest first."""
    return tomllib.loads(file.read_text(encoding="utf-8")).get("score", [])


def value_of(entry: Entry, metric: str) -> float | None:
    """What an entry says about a metric, in percent; None if it says nothing."""
    if entry["metric"] == metric:
        return float(entry["value"])
    return float(entry["pixel_accuracy"]) if metric == "pixel accuracy" and "pixel_accuracy" in entry else None


def hours(entry: Entry) -> float:
    """How long the training took."""
    return float(entry["hours"] if "hours" in entry else entry["minutes"] / 60)


def changes(entry: Entry) -> list[str]:
    """What differs from the published recipe; empty if nothing does."""
    return list(entry.get("changed", []))


@dataclass(frozen=True)
class Options:
    """What to append; whatever can be read from the run folder is."""

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(help="run folder of a training that has ended")]
    command: Annotated[str, tyro.conf.arg(help="what was run, paths of this machine left out")]
    score: Annotated[Path | None, tyro.conf.arg(help="what evaluate.py --to wrote; None: the run's own score")] = None
    hardware: Annotated[str | None, tyro.conf.arg(help="the machine in better words than score.json has")] = None
    note: Annotated[str | None, tyro.conf.arg(help="what a reader of the number should know")] = None
    file: Annotated[Path, tyro.conf.arg(help="where to append")] = MEASURED


def entry(options: Options) -> Entry:
    """Make an entry from what a run has left.

    The commit is the one whose code trained, or with `score` the one whose code tested. A test by another protocol or
    on another split than the row's counts as a change of the recipe.

    Raises:
        ValueError: if a file is missing, two do not belong together, or the code was not exactly that of a commit.
    """
    trained, config = (_read(options.folder / name) for name in (SCORE, CONFIG))
    where = f"{options.folder} holds no {WEIGHTS}; give the folder of a training that has ended"
    require((options.folder / WEIGHTS).is_file(), where)
    about = config.get("about") or {}
    tested = trained if options.score is None else _read(options.score)
    commits = [("the run began", about.get("commit")), ("the score was written", tested["commit"])]
    for when, commit in commits if options.score is None else commits[1:]:
        require(
            commit is not None and commit != "unknown" and not commit.endswith("+"),
            f"the code was not that of a commit when {when}: {commit!r}; commit first, run in a clean tree "
            "(git worktree add), and measure again",
        )
    digest = files.sha256(options.folder / WEIGHTS)
    row = paper_of(tested["recipe"]).recipes[tested["recipe"]]
    if tested.get("weights", None if options.score is not None else digest) != digest:  # old runs don't name theirs
        raise ValueError(
            f"{options.score or options.folder / SCORE} is no score of the weights in {options.folder}, whose sha256 "
            f"is {digest}, but of {tested.get('weights', 'weights that it does not name')}; give what evaluate.py --to "
            "wrote about them"
        )
    lender = row.same_weights_as or row.name
    who = f"{row.name!r} tests weights of {lender!r}, but {options.folder} was trained by {trained['recipe']!r}"
    require(lender == trained["recipe"], who)
    protocol, changed = tested["protocol"], trained["changed"]
    if options.score is not None:
        changed = changed | differences(conditions(row.data.test, row.protocol), conditions(tested["split"], protocol))
    result = {
        "recipe": tested["recipe"],
        "changed": [f"{name}: {json.dumps(old)} -> {json.dumps(new)}" for name, (old, new) in changed.items()],
        **of_score({**tested, "weights": digest}),
        "command": options.command,
        "commit": about["commit"] if options.score is None else tested["commit"],
        "date": tested["date"],
        "hardware": options.hardware or f"{tested['hardware']}, {_count(trained['processes'])}",
        "hours": round(trained["training_seconds"] / 3600, 3),
        "seed": trained["seed"],
    }
    return result if options.note is None else {**result, "note": options.note}


def of_score(score: dict[str, Any]) -> Entry:
    """What `evaluate.py --to` wrote, under the names that an entry has for it."""
    return {
        "recipe": score["recipe"],
        "metric": "mIoU",
        "value": round(score["mean_iou"], 4),
        "pixel_accuracy": round(score["pixel_accuracy"], 4),
        "per_class": {name: round(value, 2) for name, value in score["iou"].items() if value is not None},
        "weights": score["weights"],
        "split": score["split"],
        "images": score["images"],
        "protocol": {name: value for name, value in score["protocol"].items() if value is not None},
        **{name: score[name] for name in ("precision", "device", "torch")},
    }


def of_shipped() -> list[Entry]:
    """What was measured of the bundled networks: their own score.json, for no run has left rounded weights."""
    found = [_read(repository.SHIPPED / name / SCORE) for name in shipped()]
    return [{**of_score(score), "commit": score["commit"]} for score in found]


def conditions(split: str, protocol: Any) -> dict[str, Any]:
    """On what and how weights are tested, under the names that these fields have in a recipe."""
    return {"data": {"test": split}, "protocol": protocol}


def _count(processes: int) -> str:
    return "1 process" if processes == 1 else f"{processes} processes"


def _read(file: Path) -> Any:
    content = files.read_json(file)
    require(content is not None, f"there is no {file}; train.py leaves {SCORE} and {CONFIG}, evaluate.py --to its own")
    return content


def refuse_duplicate(new: Entry, entries: list[Entry]) -> None:
    """Refuse what is already there: the same weights with the same value, or the same run again.

    Raises:
        ValueError: naming the entry that is there.
    """
    for old in entries:
        same_row = all(old.get(name) == new[name] for name in ("recipe", "metric")) and changes(old) == changes(new)
        same_weights = old.get("weights") == new["weights"] and abs(old["value"] - new["value"]) < 1e-4
        same_run = all(old[name] == new[name] for name in ("commit", "seed"))
        if same_row and (same_weights or same_run):
            raise ValueError(
                f"{new['recipe']} with seed {new['seed']} is there already: {old['value']:.2f}, measured at "
                f"{old['commit']} on {old['date']}; nothing was appended"
            )


def to_toml(new: Entry, kind: str = "score") -> str:
    """An entry as it is appended to the entries of its kind, a line for each field."""
    return f"\n[[{kind}]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in new.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def main(arguments: list[str] | None = None) -> None:
    """Append what the command line names, and print it."""
    with door():
        options = tyro.cli(Options, description=__doc__, args=arguments)
        new = entry(options)
        refuse_duplicate(new, scores(options.file))
        with options.file.open("a", encoding="utf-8") as file:
            file.write(to_toml(new))
    sys.stdout.write(to_toml(new))


if __name__ == "__main__":
    main()
